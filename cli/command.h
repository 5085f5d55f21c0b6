#pragma once

/*
 * A subcommand is one row: its name, what it takes, what its help says and the function that runs
 * it. Parsing and help are driven by the row, so that a new verb is a file with a `run` and a place
 * in the list of commands.
 *
 * Options are typed and checked before anything runs; a command reads them from a struct of its
 * own, which starts as a copy of `defaults`.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/exit.h"
#include "cli/output.h"
#include "common/attributes.h"
#include "common/buffer.h"
#include "common/settings.h"

/* The values of an option that may be given several times. */
#define OPTION_LIST_MAX 100 /* nobody types more; files take as many as they like */
struct option_list {
	const char *values[OPTION_LIST_MAX];
	int count;
};

struct option_row {
	struct setting setting; /* name, kind, bounds, help, and where it goes in the command's struct */
	char letter;            /* 'n' for -n; 0: none */
	const char *argument;   /* how the help calls the value: "N"; NULL for a flag */
	bool list;              /* may be given several times: into a struct option_list */
};

struct invocation;

struct command {
	const char *name;      /* "ls"; "worker ls" */
	const char *arguments; /* of the usage line, "" when it takes none */
	const char *summary;   /* one line without a full stop */
	const char *details;   /* paragraphs, each line at most 80 wide; may be NULL */
	const char *examples;  /* lines; may be NULL */
	const struct option_row *options;
	size_t option_count;
	const void *defaults;  /* of the options; NULL when there are none */
	size_t options_size;
	int arguments_min;
	int arguments_max;
	bool formats;  /* prints rows: understands --output */
	bool database; /* works on the database: understands --database */
	enum exit_code (*run)(const struct invocation *invocation);
};

/* What more than one command understands. */
struct common_options {
	const char *database; /* conninfo; NULL: not given as an option */
	int format;           /* enum output_format */
	bool help;
	bool version;
};

struct invocation {
	const struct command *command;
	struct common_options common;
	const char *conninfo; /* of commands that work on the database */
	const void *options;
	char **arguments;
	int argument_count;
};

/*
 * Reads the options that stand before the command's name; `*first` is the index of the name in argv
 * (argc when there is none). E_INVALID: `err` says which option is wrong.
 */
MUST_USE enum status command_read_common(int argc, char **argv, struct common_options *common, int *first, struct error *err);

/*
 * Reads the options and arguments of `command` from argv, whose first entry is (the last word of)
 * its name, into `invocation` and `options`, a copy of the defaults. argv is permuted.
 */
MUST_USE enum status command_read(const struct command *command, int argc, char **argv, struct invocation *invocation, void *options, struct error *err);

/* The help of one command, and the list of all that start with `group` (NULL: all). */
void command_add_help(struct buffer *out, const struct command *command);
void command_add_list(struct buffer *out, const struct command *const *commands, size_t count, const char *group);
