#include <stdio.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/input.h"
#include "cli/operations.h"

struct wait_options {
	int64_t timeout_ms;
};

static enum exit_code run_wait(const struct invocation *invocation)
{
	const struct wait_options *options = invocation->options;
	struct buffer ids CLEANUP(buffer_clear) = {0};
	struct connection *connection CLEANUP(connection_close_pointer) = NULL;
	PGresult *rows CLEANUP(result_clear) = NULL;
	struct output output;
	struct error err = {0};
	int count;
	if (input_ids(invocation->arguments, invocation->argument_count, &ids, &count, &err))
		return complain(&err);
	enum exit_code code = session_open(invocation, true, &connection);
	if (code == EXIT_OK)
		code = operations_wait(invocation, &connection, ids.bytes, options->timeout_ms, &rows);
	if (!rows)
		return code;
	output_begin(&output, invocation->common.format, operation_columns, operation_column_count);
	output_rows(&output, rows);
	output_end(&output);
	return code;
}

static const struct option_row wait_rows[] = {
	{.setting = {.name = "timeout", .kind = SETTING_DURATION, .offset = offsetof(struct wait_options, timeout_ms), .min = 1, .max = 315360000000,
		.help = "not longer than this, e.g. 30s; exit 7"}, .letter = 't', .argument = "TIME"},
};

const struct command command_wait = {
	.name = "wait",
	.arguments = "ID...",
	.summary = "wait until operations have ended",
	.details =
		"Exit status 0: all are SUCCESS, 6: one FAILED, 7: one has not ended in time. An ID\n"
		"of - reads ids from standard input. Stopping to wait changes nothing about them.\n",
	.examples =
		"  kser wait --timeout 30s $(kser submit nightly.json)\n"
		"  kser ls --status RUNNING -o ids | kser wait -\n",
	.options = wait_rows,
	.option_count = COUNT_OF(wait_rows),
	.defaults = &(const struct wait_options){0},
	.options_size = sizeof(struct wait_options),
	.arguments_min = 1,
	.arguments_max = INT32_MAX,
	.formats = true,
	.database = true,
	.run = run_wait,
};

/* A long operation that moves fast is told in pieces. */
#define CHANGES_MAX 200
#define CHANGES_MAX_TEXT "200"

static const struct column change_columns[] = {
	{.name = "at", .heading = "TIME", .cell = CELL_TIME},
	{.name = "position", .heading = "TASK", .cell = CELL_NUMBER},
	{.name = "entrypoint", .heading = "ENTRYPOINT", .bytes_max = 60},
	{.name = "status", .heading = "STATUS"},
	{.name = "attempt", .heading = "ATTEMPT", .cell = CELL_NUMBER},
	{.name = "seconds", .heading = "SECONDS", .cell = CELL_NUMBER},
	{.name = "retcode", .heading = "RETCODE", .cell = CELL_NUMBER},
	{.name = "error", .heading = "ERROR"},
	{.name = "message", .heading = "MESSAGE", .bytes_max = 200},
};

struct watch {
	char id[INPUT_ID_LENGTH + 1];
	char operation_status[16];
	char position[16], attempt[16], place[16]; /* of the row shown last: all up to it is known */
	struct output output;
};

static void remember_last(struct watch *watch, const PGresult *rows)
{
	int last = PQntuples(rows) - 1;
	if (last < 0)
		return;
	snprintf(watch->position, sizeof watch->position, "%s", PQgetvalue(rows, last, PQfnumber(rows, "position")));
	snprintf(watch->attempt, sizeof watch->attempt, "%s", PQgetvalue(rows, last, PQfnumber(rows, "attempt")));
	snprintf(watch->place, sizeof watch->place, "%s", PQgetvalue(rows, last, PQfnumber(rows, "place")));
}

static enum status tell_changes(struct connection *connection, struct watch *watch, struct error *err)
{
	for (int got = CHANGES_MAX; got == CHANGES_MAX;) {
		PGresult *rows CLEANUP(result_clear) = NULL;
		const char *parameters[] = {watch->id, watch->position, watch->attempt, watch->place, CHANGES_MAX_TEXT};
		enum status status = session_run(connection, "changes.sql", parameters, 5, &rows, err);
		if (status)
			return status;
		got = PQntuples(rows);
		if (got > 0)
			output_rows(&watch->output, rows);
		remember_last(watch, rows);
	}
	fflush(stdout);
	return E_OK;
}

/* The operation's own status is read first, so that all changes are told when it has ended. */
static enum status look(struct connection *connection, void *context, struct error *err)
{
	struct watch *watch = context;
	PGresult *rows CLEANUP(result_clear) = NULL;
	enum status status = session_run(connection, "status.sql", (const char *[]){watch->id}, 1, &rows, err);
	if (status)
		return status;
	if (PQntuples(rows) == 0)
		return fail(err, E_MISSING, "there is no operation %s", watch->id);
	snprintf(watch->operation_status, sizeof watch->operation_status, "%s", PQgetvalue(rows, 0, 0));
	return tell_changes(connection, watch, err);
}

static enum exit_code follow(const struct invocation *invocation, struct connection **connection, struct watch *watch)
{
	struct error err = {0};
	bool away = false;
	for (int64_t pause = 0;; operations_pause(&pause)) {
		enum status status = session_look(invocation, connection, &away, look, watch, &err);
		if (status && status != E_RETRY)
			return complain(&err);
		bool success = strcmp(watch->operation_status, "SUCCESS") == 0;
		if (status || (!success && strcmp(watch->operation_status, "FAILED") != 0))
			continue;
		if (watch->output.format == OUTPUT_TABLE)
			printf("operation %s\n", watch->operation_status);
		return success ? EXIT_OK : EXIT_FAILED;
	}
}

static enum exit_code run_watch(const struct invocation *invocation)
{
	struct buffer ids CLEANUP(buffer_clear) = {0};
	struct connection *connection CLEANUP(connection_close_pointer) = NULL;
	struct watch watch = {.position = "-1", .attempt = "0", .place = "PENDING"};
	struct error err = {0};
	int count;
	if (input_ids(invocation->arguments, 1, &ids, &count, &err))
		return complain(&err);
	input_id(&ids, 0, watch.id);
	enum exit_code code = session_open(invocation, true, &connection);
	if (code != EXIT_OK)
		return code;
	output_begin(&watch.output, invocation->common.format, change_columns, COUNT_OF(change_columns));
	code = follow(invocation, &connection, &watch);
	output_end(&watch.output);
	return code;
}

const struct command command_watch = {
	.name = "watch",
	.arguments = "ID",
	.summary = "follow an operation, a line for each change, until its end",
	.details =
		"Starts with what has happened so far. An attempt that did not end its task has what\n"
		"became of it as its status: failed, lost, expired, released. Exit status as of kser\n"
		"wait. ids prints the positions of the tasks that changed.\n",
	.examples =
		"  kser watch 019a1b2c-0000-7000-8000-000000000000\n"
		"  kser submit nightly.json | kser watch - -o jsonl\n",
	.arguments_min = 1,
	.arguments_max = 1,
	.formats = true,
	.database = true,
	.run = run_watch,
};
