#include "cli/commands.h"
#include "cli/session.h"

struct worker_options {
	bool all;
};

static const struct column columns[] = {
	{.name = "worker", .heading = "WORKER"},
	{.name = "state", .heading = "STATE"},
	{.name = "queue", .heading = "QUEUE"},
	{.name = "slots", .heading = "SLOTS", .cell = CELL_NUMBER},
	{.name = "free", .heading = "FREE", .cell = CELL_NUMBER},
	{.name = "version", .heading = "VERSION"},
	{.name = "started_at", .heading = "STARTED", .cell = CELL_TIME},
	{.name = "seen_at", .heading = "SEEN", .cell = CELL_TIME},
	{.name = "serves", .heading = "ENTRYPOINTS"},
};

static enum exit_code run_worker_ls(const struct invocation *invocation)
{
	const struct worker_options *options = invocation->options;
	struct connection *connection CLEANUP(connection_close_pointer) = NULL;
	PGresult *rows CLEANUP(result_clear) = NULL;
	struct output output;
	struct error err = {0};
	enum exit_code code = session_open(invocation, true, &connection);
	if (code != EXIT_OK)
		return code;
	if (session_run(connection, "workers.sql", (const char *[]){options->all ? "true" : "false"}, 1, &rows, &err))
		return complain(&err);
	output_begin(&output, invocation->common.format, columns, COUNT_OF(columns));
	output_rows(&output, rows);
	output_end(&output);
	return EXIT_OK;
}

static const struct option_row rows[] = {
	{.setting = {.name = "all", .kind = SETTING_FLAG, .offset = offsetof(struct worker_options, all),
		.help = "also those that left or fell silent in the last day"}, .letter = 'a'},
};

const struct command command_worker_ls = {
	.name = "worker ls",
	.arguments = "",
	.summary = "list the workers and what they serve",
	.details =
		"A worker reports every 10 seconds; silent is one that has not for 30. FREE are the\n"
		"slots that had nothing to do when it reported last.\n",
	.examples = "  kser worker ls -o jsonl | jq '{worker, entrypoints}'\n",
	.options = rows,
	.option_count = COUNT_OF(rows),
	.defaults = &(const struct worker_options){0},
	.options_size = sizeof(struct worker_options),
	.formats = true,
	.database = true,
	.run = run_worker_ls,
};
