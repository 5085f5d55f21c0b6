#pragma once

/*
 * Settings of a program: one table drives the flags, the environment, the INI file, --help,
 * --print-config and the generated page docs/settings.md.
 *
 * Precedence: flag, environment, file, default. All are checked before anything starts and all
 * errors are told at once. The only place that reads the environment. Before threads start.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/attributes.h"
#include "common/buffer.h"
#include "common/error.h"

enum setting_kind {
	SETTING_TEXT,     /* const char * */
	SETTING_SECRET,   /* const char *; masked wherever it is printed; also from KSER_X_FILE */
	SETTING_URL,      /* const char *; printed without user, password and query */
	SETTING_KEY,      /* const char *; masked as well, and refused as a flag, which others can read */
	SETTING_INTEGER,  /* int64_t, min to max */
	SETTING_DURATION, /* int64_t, milliseconds: 250ms, 2s, 5m, 1h, a bare number is refused */
	SETTING_SIZE,     /* int64_t, bytes: 64k, 1m, or a bare number */
	SETTING_FLAG,     /* bool: yes or no; as a flag without a value */
	SETTING_CHOICE,   /* int: index into `choices` */
};

struct setting {
	const char *name;          /* "group-session": --group-session, KSER_GROUP_SESSION, group_session in the file; NULL: a heading, its text in help */
	const char *environment;   /* another name than the derived one, or NULL */
	enum setting_kind kind;
	size_t offset;             /* of the member in the program's struct */
	const char *fallback;      /* the default as text; NULL: none (texts only: NULL) */
	int64_t min, max;          /* numbers; both 0: no check. Durations in ms, sizes in bytes */
	const char *const *choices; /* NULL-terminated */
	const char *help;          /* one line: what it is, unit, limit */
};

/* A librdkafka property given by the user: --kafka.NAME=VALUE, [kafka] NAME = VALUE, KSER_KAFKA_NAME (dots as _). */
struct property {
	char *name;
	char *value;
};
struct properties {
	struct property *list;
	size_t count;
};
void properties_clear(struct properties *properties);

/* Copies of both, `second` behind `first`: of one that is there twice the last one counts. The caller's, for properties_clear. */
MUST_USE struct properties properties_joined(const struct properties *first, const struct properties *second);

struct program {
	const char *name;    /* kser-worker */
	const char *summary; /* one line for --help */
	const char *usage;   /* "[options]" */
	const char *section; /* the section of the INI file that holds the settings, e.g. "worker" */
	const struct setting *settings;
	size_t count;
};

enum settings_answer {
	SETTINGS_RUN,    /* all is well, go on */
	SETTINGS_DONE,   /* --help, --version or --print-config was answered on stdout: exit 0 */
	SETTINGS_WRONG,  /* `errors` has one line each: exit 2 */
};

/*
 * Fills the struct at `into` from flags, environment, the file of --config (or KSER_CONFIG) and
 * defaults. Texts live as long as the process. `section` (may be NULL) is called for each key of
 * the file outside [section] and [kafka], and with a key of NULL where such a section begins; returning E_INVALID adds
 * its error to the list.
 * Arguments that are not flags are left in argv[*first_argument …]; a program that takes none checks.
 */
typedef enum status settings_section(void *context, const char *section, const char *key, const char *value, int line, struct error *err);
MUST_USE enum settings_answer settings_read(const struct program *program, int argc, char **argv, void *into,
	struct properties *kafka, settings_section *section, void *context, int *first_argument, struct buffer *errors);

/* What to add to the refusal of an argument: how a flag gets its value, where that is what was meant; else "". */
const char *settings_argument_hint(const char *argument);

/* The reference page of one program: a Markdown table. */
void settings_add_reference(struct buffer *out, const struct program *program);

/* An environment variable that is not a setting (HOME, PATH, PGHOST …); NULL when unset or empty. */
const char *settings_environment(const char *name);
