#include <inttypes.h>
#include <stdio.h>

#include "cli/answers.h"
#include "cli/commands.h"
#include "cli/input.h"
#include "cli/session.h"
#include "common/limits.h"

#define DEAD_PAGE 1000

struct dead_ls_options {
	const char *topic;
	int64_t limit;
	bool all;
};

static const struct column list_columns[] = {
	{.name = "id", .heading = "ID", .cell = CELL_NUMBER},
	{.name = "at", .heading = "TIME", .cell = CELL_TIME},
	{.name = "topic", .heading = "TOPIC"},
	{.name = "partition", .heading = "PARTITION", .cell = CELL_NUMBER},
	{.name = "offset", .heading = "OFFSET", .cell = CELL_NUMBER},
	{.name = "size", .heading = "SIZE", .cell = CELL_NUMBER},
	{.name = "redrive_at", .heading = "REDRIVE", .cell = CELL_TIME},
	{.name = "reason", .heading = "REASON", .bytes_max = 200},
};

static enum exit_code run_dead_ls(const struct invocation *invocation)
{
	const struct dead_ls_options *options = invocation->options;
	struct connection *connection CLEANUP(connection_close_pointer) = NULL;
	struct output output;
	struct error err = {0};
	char last[24] = "";
	enum exit_code code = session_open(invocation, true, &connection);
	if (code != EXIT_OK)
		return code;
	output_begin(&output, invocation->common.format, list_columns, COUNT_OF(list_columns));
	int64_t left = options->limit;
	for (int page = DEAD_PAGE, got = page; left > 0 && got == page; left -= got) {
		PGresult *rows CLEANUP(result_clear) = NULL;
		char limit[16];
		page = left < page ? (int)left : page;
		snprintf(limit, sizeof limit, "%d", page);
		if (session_run(connection, "dead_letters.sql", (const char *[]){options->all ? "true" : "false", options->topic, last[0] ? last : NULL, limit}, 4, &rows, &err))
			return complain(&err);
		output_rows(&output, rows);
		got = PQntuples(rows);
		if (got > 0)
			snprintf(last, sizeof last, "%s", PQgetvalue(rows, got - 1, 0));
	}
	output_end(&output);
	return EXIT_OK;
}

static const struct option_row ls_rows[] = {
	{.setting = {.name = "topic", .kind = SETTING_TEXT, .offset = offsetof(struct dead_ls_options, topic),
		.help = "only of this topic"}, .argument = "TOPIC"},
	{.setting = {.name = "limit", .kind = SETTING_INTEGER, .offset = offsetof(struct dead_ls_options, limit), .min = 1, .max = INT32_MAX,
		.help = "at most so many, 10000 by default"}, .letter = 'n', .argument = "N"},
	{.setting = {.name = "all", .kind = SETTING_FLAG, .offset = offsetof(struct dead_ls_options, all),
		.help = "also those that are to be sent again"}, .letter = 'a'},
};

const struct command command_dead_ls = {
	.name = "dead ls",
	.arguments = "",
	.summary = "list records that could not be used, newest first",
	.examples = "  kser dead ls --topic kser.results\n",
	.options = ls_rows,
	.option_count = COUNT_OF(ls_rows),
	.defaults = &(const struct dead_ls_options){.limit = IDS_MAX},
	.options_size = sizeof(struct dead_ls_options),
	.formats = true,
	.database = true,
	.run = run_dead_ls,
};

static const struct column record_columns[] = {
	{.name = "id", .heading = "Dead letter"},
	{.name = "at", .heading = "Found", .cell = CELL_TIME},
	{.name = "worker", .heading = "By worker"},
	{.name = "topic", .heading = "Topic"},
	{.name = "partition", .heading = "Partition"},
	{.name = "offset", .heading = "Offset"},
	{.name = "size", .heading = "Size"},
	{.name = "kept", .heading = "Kept"},
	{.name = "redrive_at", .heading = "Redrive", .cell = CELL_TIME},
	{.name = "reason", .heading = "Reason"},
	{.name = "text", .heading = "Text", .bytes_max = 4000},
};

static enum status show_letter(const struct invocation *invocation, struct connection *connection, struct error *err)
{
	PGresult *rows CLEANUP(result_clear) = NULL;
	struct output output;
	enum output_format format = invocation->common.format;
	enum status status = session_run(connection, "dead_letter.sql", (const char *[]){invocation->arguments[0]}, 1, &rows, err);
	if (status)
		return status;
	if (PQntuples(rows) == 0)
		return fail(err, E_MISSING, "there is no dead letter %s", invocation->arguments[0]);
	if (format == OUTPUT_TABLE) {
		output_record(rows, 0, record_columns, COUNT_OF(record_columns));
		return E_OK;
	}
	output_begin(&output, format == OUTPUT_JSON ? OUTPUT_JSONL : format, record_columns, COUNT_OF(record_columns));
	output_rows(&output, rows);
	output_end(&output);
	return E_OK;
}

static enum exit_code run_dead_show(const struct invocation *invocation)
{
	struct connection *connection CLEANUP(connection_close_pointer) = NULL;
	struct buffer ids CLEANUP(buffer_clear) = {0};
	struct error err = {0};
	if (input_numbers(invocation->arguments, 1, &ids, &err))
		return complain(&err);
	enum exit_code code = session_open(invocation, true, &connection);
	if (code != EXIT_OK)
		return code;
	return show_letter(invocation, connection, &err) ? complain(&err) : EXIT_OK;
}

const struct command command_dead_show = {
	.name = "dead show",
	.arguments = "ID",
	.summary = "show a record that could not be used, with its bytes",
	.details = "The table shows them as text, escaped and cut; json and jsonl have all that was kept, in\nbase64 as well.\n",
	.examples = "  kser dead show 7 -o json | jq -r .base64 | base64 -d | kser message check -\n",
	.arguments_min = 1,
	.arguments_max = 1,
	.formats = true,
	.database = true,
	.run = run_dead_show,
};

struct dead_options {
	const char *reason;
};

static enum exit_code ask(const struct invocation *invocation, const char *statement)
{
	const struct dead_options *options = invocation->options;
	struct connection *connection CLEANUP(connection_close_pointer) = NULL;
	struct buffer ids CLEANUP(buffer_clear) = {0};
	PGresult *rows CLEANUP(result_clear) = NULL;
	struct output output;
	struct error err = {0};
	if (input_numbers(invocation->arguments, invocation->argument_count, &ids, &err))
		return complain(&err);
	enum exit_code code = session_open(invocation, true, &connection);
	if (code != EXIT_OK)
		return code;
	if (session_run(connection, statement, (const char *[]){ids.bytes, options->reason}, 2, &rows, &err))
		return complain(&err);
	output_begin(&output, invocation->common.format, answer_columns, answer_column_count);
	output_rows(&output, rows);
	output_end(&output);
	return answers_outcome(rows);
}

static enum exit_code run_dead_redrive(const struct invocation *invocation)
{
	return ask(invocation, "redrive.sql");
}

static enum exit_code run_dead_drop(const struct invocation *invocation)
{
	return ask(invocation, "drop.sql");
}

static const struct option_row rows[] = {
	{.setting = {.name = "reason", .kind = SETTING_TEXT, .offset = offsetof(struct dead_options, reason),
		.help = "why; kept in kser.history"}, .letter = 'r', .argument = "TEXT"},
};

const struct command command_dead_redrive = {
	.name = "dead redrive",
	.arguments = "ID...|-",
	.summary = "send records that could not be used to their topics again",
	.details =
		"Once whatever could not use them can. An orchestrator sends them, and they are dead\n"
		"letters no more. Refused (5) for those that were too large to be kept whole.\n",
	.examples = "  kser dead ls --topic kser.tasks -o ids | kser dead redrive - --reason 'worker mended'\n",
	.options = rows,
	.option_count = COUNT_OF(rows),
	.defaults = &(const struct dead_options){0},
	.options_size = sizeof(struct dead_options),
	.arguments_min = 1,
	.arguments_max = INT32_MAX,
	.formats = true,
	.database = true,
	.run = run_dead_redrive,
};

const struct command command_dead_drop = {
	.name = "dead drop",
	.arguments = "ID...|-",
	.summary = "delete records that could not be used, for good",
	.examples = "  kser dead drop 7 8 --reason 'not ours'\n",
	.options = rows,
	.option_count = COUNT_OF(rows),
	.defaults = &(const struct dead_options){0},
	.options_size = sizeof(struct dead_options),
	.arguments_min = 1,
	.arguments_max = INT32_MAX,
	.formats = true,
	.database = true,
	.run = run_dead_drop,
};
