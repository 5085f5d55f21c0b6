#include "cli/command.h"

#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

/* More than any command has; checked when they are read. */
#define OPTIONS_MAX 32

/* Values that getopt_long returns for options without a letter. */
#define LONG_ONLY 1000

/* Where the descriptions start in a help text. */
#define HELP_COLUMN 26

/* The first one is only for commands that print rows. */
static const struct option_row common_rows[] = {
	{.name = "output", .letter = 'o', .kind = OPTION_FORMAT, .argument = "FORMAT", .offset = offsetof(struct common_options, format),
		.help = "table (default), json, jsonl or ids"},
	{.name = "database", .kind = OPTION_TEXT, .argument = "URL", .offset = offsetof(struct common_options, database),
		.help = "libpq URI or key=value text (KSER_DATABASE_URL; default: PGHOST …)"},
	{.name = "help", .letter = 'h', .kind = OPTION_FLAG, .offset = offsetof(struct common_options, help), .help = "show this help"},
	{.name = "version", .letter = 'V', .kind = OPTION_FLAG, .offset = offsetof(struct common_options, version), .help = "show the version"},
};

/* Options of a command and the common ones, side by side for getopt_long. */
struct option_set {
	const struct option_row *rows[OPTIONS_MAX];
	void *structs[OPTIONS_MAX];
	size_t count;
	struct option longs[OPTIONS_MAX + 1];
	char letters[2 * OPTIONS_MAX + 3];
};

static void add_rows(struct option_set *set, const struct option_row *rows, size_t count, void *into)
{
	for (size_t i = 0; i < count; i++) {
		assert(set->count < OPTIONS_MAX);
		set->rows[set->count] = &rows[i];
		set->structs[set->count] = into;
		set->longs[set->count] = (struct option){rows[i].name, rows[i].argument ? required_argument : no_argument, NULL, LONG_ONLY + (int)set->count};
		if (rows[i].letter) {
			char letter[3] = {rows[i].letter, rows[i].argument ? ':' : '\0', '\0'};
			memcpy(set->letters + strlen(set->letters), letter, sizeof letter);
		}
		set->count++;
	}
}

static enum status parse_integer(const char *text, int64_t min, int64_t max, int64_t *number, struct error *err)
{
	char *end;
	errno = 0;
	long long value = strtoll(text, &end, 10);
	if (errno || end == text || *end || value < min || value > max)
		return fail(err, E_INVALID, "\"%.100s\" is not a whole number from %lld to %lld", text, (long long)min, (long long)max);
	*number = value;
	return E_OK;
}

static enum status parse_duration(const char *text, int64_t *ms, struct error *err)
{
	static const struct {
		const char *unit;
		int64_t ms;
	} units[] = {{"ms", 1}, {"s", 1000}, {"m", 60 * 1000}, {"h", 3600 * 1000}, {"d", 86400 * 1000}};
	char *unit;
	errno = 0;
	long long number = strtoll(text, &unit, 10);
	for (size_t i = 0; i < COUNT_OF(units) && !errno && unit != text && number >= 0; i++)
		if (strcmp(unit, units[i].unit) == 0 && number <= INT64_C(1) << 40) {
			*ms = number * units[i].ms;
			return E_OK;
		}
	return fail(err, E_INVALID, "\"%.100s\" is not a duration (e.g. 250ms, 2s, 5m, 1h)", text);
}

static enum status parse_format(const char *text, enum output_format *format, struct error *err)
{
	static const char *const names[] = {[OUTPUT_TABLE] = "table", [OUTPUT_JSON] = "json", [OUTPUT_JSONL] = "jsonl", [OUTPUT_IDS] = "ids"};
	for (size_t i = 0; i < COUNT_OF(names); i++)
		if (strcmp(text, names[i]) == 0) {
			*format = (enum output_format)i;
			return E_OK;
		}
	return fail(err, E_INVALID, "\"%.100s\" is not one of table, json, jsonl, ids", text);
}

static enum status add_value(struct option_list *list, const char *text, struct error *err)
{
	if (list->count == OPTION_LIST_MAX)
		return fail(err, E_INVALID, "given more than %d times", OPTION_LIST_MAX);
	list->values[list->count++] = text;
	return E_OK;
}

static enum status store(const struct option_row *row, void *into, const char *text, struct error *err)
{
	void *member = (char *)into + row->offset;
	switch (row->kind) {
	case OPTION_TEXT:
		*(const char **)member = text;
		return E_OK;
	case OPTION_FLAG:
		*(bool *)member = true;
		return E_OK;
	case OPTION_INTEGER:
		return parse_integer(text, row->min, row->max, member, err);
	case OPTION_DURATION:
		return parse_duration(text, member, err);
	case OPTION_FORMAT:
		return parse_format(text, member, err);
	case OPTION_LIST:
		return add_value(member, text, err);
	}
	return E_OK;
}

static const struct option_row *row_of(const struct option_set *set, int found, void **into)
{
	for (size_t i = 0; i < set->count; i++)
		if (found == LONG_ONLY + (int)i || found == set->rows[i]->letter) {
			*into = set->structs[i];
			return set->rows[i];
		}
	return NULL;
}

static enum status refuse_option(int found, char **argv, struct error *err)
{
	const char *given = argv[optind - 1];
	char letter[3] = {'-', (char)optopt, '\0'};
	bool by_letter = optopt > 0 && optopt < LONG_ONLY;
	if (found == ':')
		return fail(err, E_INVALID, "option %.100s needs a value", by_letter ? letter : given);
	return fail(err, E_INVALID, "unknown option %.100s", by_letter ? letter : given);
}

/* Takes all options out of argv; optind is then the first argument. */
static enum status read_options(struct option_set *set, const char *mode, int argc, char **argv, struct error *err)
{
	char letters[sizeof set->letters + 2];
	snprintf(letters, sizeof letters, "%s:%s", mode, set->letters);
	opterr = 0;
	optind = 0; /* tells glibc to start afresh */
	for (int found; (found = getopt_long(argc, argv, letters, set->longs, NULL)) != -1;) {
		void *into = NULL;
		const struct option_row *row = row_of(set, found, &into);
		if (!row)
			return refuse_option(found, argv, err);
		struct error reason;
		if (store(row, into, optarg, &reason))
			return fail(err, E_INVALID, "--%s: %s", row->name, reason.text);
	}
	return E_OK;
}

enum status command_read_common(int argc, char **argv, struct common_options *common, int *first, struct error *err)
{
	struct option_set set = {0};
	add_rows(&set, common_rows, COUNT_OF(common_rows), common);
	enum status status = read_options(&set, "+", argc, argv, err);
	*first = optind;
	return status;
}

enum status command_read(const struct command *command, int argc, char **argv, struct invocation *invocation, void *options, struct error *err)
{
	struct option_set set = {0};
	add_rows(&set, command->options, command->option_count, options);
	add_rows(&set, common_rows + !command->formats, COUNT_OF(common_rows) - !command->formats, &invocation->common);
	enum status status = read_options(&set, "", argc, argv, err);
	invocation->command = command;
	invocation->options = options;
	invocation->arguments = argv + optind;
	invocation->argument_count = argc - optind;
	if (status || invocation->common.help || invocation->common.version)
		return status;
	if (invocation->argument_count < command->arguments_min)
		return fail(err, E_INVALID, "expected %s", command->arguments);
	if (invocation->argument_count > command->arguments_max)
		return fail(err, E_INVALID, "unexpected argument \"%.100s\"", invocation->arguments[command->arguments_max]);
	return E_OK;
}

/* Adds spaces up to `column`, two at least. */
static void add_padding(struct buffer *out, size_t line_start, size_t column)
{
	do
		buffer_add_char(out, ' ');
	while (out->length - line_start < column || out->bytes[out->length - 2] != ' ');
}

static void add_option_help(struct buffer *out, const struct option_row *row)
{
	size_t start = out->length;
	if (row->letter)
		buffer_printf(out, "  -%c, --%s", row->letter, row->name);
	else
		buffer_printf(out, "      --%s", row->name);
	if (row->argument)
		buffer_printf(out, " %s", row->argument);
	add_padding(out, start, HELP_COLUMN);
	buffer_printf(out, "%s\n", row->help);
}

void command_add_help(struct buffer *out, const struct command *command)
{
	buffer_printf(out, "kser %s: %s\n\nUsage: kser %s [OPTIONS]%s%s\n", command->name, command->summary, command->name,
		command->arguments[0] ? " " : "", command->arguments);
	if (command->details)
		buffer_printf(out, "\n%s", command->details);
	buffer_add_text(out, "\nOptions:\n");
	for (size_t i = 0; i < command->option_count; i++)
		add_option_help(out, &command->options[i]);
	for (size_t i = !command->formats; i < COUNT_OF(common_rows); i++)
		add_option_help(out, &common_rows[i]);
	if (command->examples)
		buffer_printf(out, "\nExamples:\n%s", command->examples);
}

void command_add_list(struct buffer *out, const struct command *const *commands, size_t count, const char *group)
{
	for (size_t i = 0; i < count; i++) {
		size_t start = out->length;
		size_t length = group ? strlen(group) : 0;
		if (group && (strncmp(commands[i]->name, group, length) != 0 || commands[i]->name[length] != ' '))
			continue;
		buffer_printf(out, "  %s%s%s", commands[i]->name, commands[i]->arguments[0] ? " " : "", commands[i]->arguments);
		add_padding(out, start, HELP_COLUMN);
		buffer_printf(out, "%s\n", commands[i]->summary);
	}
}
