#include "cli/command.h"

#include <assert.h>
#include <getopt.h>
#include <string.h>

#include "common/setting.h"

/* More than any command has; checked when they are read. */
#define OPTIONS_MAX 32

/* Values that getopt_long returns for options without a letter. */
#define LONG_ONLY 1000

/* Where the descriptions start in a help text. */
#define HELP_COLUMN 26

static const char *const format_names[] = {[OUTPUT_TABLE] = "table", [OUTPUT_JSON] = "json", [OUTPUT_JSONL] = "jsonl", [OUTPUT_IDS] = "ids", NULL};

#define AT(member) offsetof(struct common_options, member)

static const struct option_row format_row = {
	.setting = {.name = "output", .kind = SETTING_CHOICE, .offset = AT(format), .choices = format_names, .help = "table (default), json, jsonl or ids"},
	.letter = 'o', .argument = "FORMAT"};
static const struct option_row database_row = {
	.setting = {.name = "database", .kind = SETTING_TEXT, .offset = AT(database),
		.help = "libpq URI or key=value text (KSER_DATABASE_URL; default: PGHOST …)"},
	.argument = "URL"};
static const struct option_row general_rows[] = {
	{.setting = {.name = "help", .kind = SETTING_FLAG, .offset = AT(help), .help = "show this help"}, .letter = 'h'},
	{.setting = {.name = "version", .kind = SETTING_FLAG, .offset = AT(version), .help = "show the version"}, .letter = 'V'},
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
		set->longs[set->count] = (struct option){rows[i].setting.name, rows[i].argument ? required_argument : no_argument, NULL, LONG_ONLY + (int)set->count};
		if (rows[i].letter) {
			char letter[3] = {rows[i].letter, rows[i].argument ? ':' : '\0', '\0'};
			memcpy(set->letters + strlen(set->letters), letter, sizeof letter);
		}
		set->count++;
	}
}

static void add_common_rows(struct option_set *set, bool formats, bool database, struct common_options *into)
{
	add_rows(set, &format_row, formats, into);
	add_rows(set, &database_row, database, into);
	add_rows(set, general_rows, COUNT_OF(general_rows), into);
}

static enum status store(const struct option_row *row, void *into, const char *text, struct error *err)
{
	struct option_list *list = (struct option_list *)(void *)((char *)into + row->setting.offset);
	if (!row->list)
		return setting_store(&row->setting, text ? text : "yes", into, err);
	if (list->count == OPTION_LIST_MAX)
		return fail(err, E_INVALID, "given more than %d times", OPTION_LIST_MAX);
	list->values[list->count++] = text;
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
			return fail(err, E_INVALID, "--%s: %s", row->setting.name, reason.text);
	}
	return E_OK;
}

enum status command_read_common(int argc, char **argv, struct common_options *common, int *first, struct error *err)
{
	struct option_set set = {0};
	add_common_rows(&set, true, true, common);
	enum status status = read_options(&set, "+", argc, argv, err);
	*first = optind;
	return status;
}

enum status command_read(const struct command *command, int argc, char **argv, struct invocation *invocation, void *options, struct error *err)
{
	struct option_set set = {0};
	add_rows(&set, command->options, command->option_count, options);
	add_common_rows(&set, command->formats, command->database, &invocation->common);
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
		buffer_printf(out, "  -%c, --%s", row->letter, row->setting.name);
	else
		buffer_printf(out, "      --%s", row->setting.name);
	if (row->argument)
		buffer_printf(out, " %s", row->argument);
	add_padding(out, start, HELP_COLUMN);
	buffer_printf(out, "%s\n", row->setting.help);
}

void command_add_help(struct buffer *out, const struct command *command)
{
	struct option_set set = {0};
	add_rows(&set, command->options, command->option_count, NULL);
	add_common_rows(&set, command->formats, command->database, NULL);
	buffer_printf(out, "kser %s: %s\n\nUsage: kser %s [OPTIONS]%s%s\n", command->name, command->summary, command->name,
		command->arguments[0] ? " " : "", command->arguments);
	if (command->details)
		buffer_printf(out, "\n%s", command->details);
	buffer_add_text(out, "\nOptions:\n");
	for (size_t i = 0; i < set.count; i++)
		add_option_help(out, set.rows[i]);
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
