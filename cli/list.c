#include <stdio.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/input.h"
#include "cli/operations.h"

/* Rows of one answer of the database: bounds memory whatever is listed. A task's row may hold a MiB. */
#define OPERATIONS_PAGE 1000
#define TASKS_PAGE 50

struct ls_options {
	const char *status;
	const char *name;
	const char *queue;
	int64_t limit;
	bool all;
};

static enum exit_code run_ls(const struct invocation *invocation)
{
	const struct ls_options *options = invocation->options;
	struct connection *connection CLEANUP(connection_close_pointer) = NULL;
	struct output output;
	struct error err = {0};
	char last[40] = "";
	if (operations_check_status(options->status, &err))
		return complain(&err);
	enum exit_code code = session_open(invocation, true, &connection);
	if (code != EXIT_OK)
		return code;
	output_begin(&output, invocation->common.format, operation_columns, operation_column_count);
	int64_t left = options->all ? INT64_MAX : options->limit;
	for (int page = OPERATIONS_PAGE, got = page; left > 0 && got == page; left -= got) {
		PGresult *rows CLEANUP(result_clear) = NULL;
		char limit[16];
		page = left < page ? (int)left : page;
		snprintf(limit, sizeof limit, "%d", page);
		const char *parameters[] = {NULL, options->status, options->name, last[0] ? last : NULL, limit, options->queue, NULL};
		if (session_run(connection, "operations.sql", parameters, COUNT_OF(parameters), &rows, &err))
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
	{.setting = {.name = "status", .kind = SETTING_TEXT, .offset = offsetof(struct ls_options, status),
		.help = "only PENDING, RUNNING, SUCCESS or FAILED ones"}, .letter = 's', .argument = "STATUS"},
	{.setting = {.name = "name", .kind = SETTING_TEXT, .offset = offsetof(struct ls_options, name),
		.help = "only those of this name; * is any letters, ? is one"}, .argument = "NAME"},
	{.setting = {.name = "queue", .kind = SETTING_TEXT, .offset = offsetof(struct ls_options, queue),
		.help = "only those of this queue"}, .argument = "QUEUE"},
	{.setting = {.name = "limit", .kind = SETTING_INTEGER, .offset = offsetof(struct ls_options, limit), .min = 1, .max = INT32_MAX,
		.help = "at most so many, 20 by default"}, .letter = 'n', .argument = "N"},
	{.setting = {.name = "all", .kind = SETTING_FLAG, .offset = offsetof(struct ls_options, all),
		.help = "all there are"}, .letter = 'a'},
};

const struct command command_ls = {
	.name = "ls",
	.arguments = "",
	.summary = "list operations, newest first",
	.examples =
		"  kser ls --status FAILED\n"
		"  kser ls --name 'report.*' -o jsonl | jq .seconds\n"
		"  kser ls --status RUNNING -o ids | kser wait -\n",
	.options = ls_rows,
	.option_count = COUNT_OF(ls_rows),
	.defaults = &(const struct ls_options){.limit = 20},
	.options_size = sizeof(struct ls_options),
	.formats = true,
	.database = true,
	.run = run_ls,
};

static const struct column record_columns[] = {
	{.name = "id", .heading = "Operation"},
	{.name = "name", .heading = "Name"},
	{.name = "status", .heading = "Status"},
	{.name = "held", .heading = "Held"},
	{.name = "priority", .heading = "Priority"},
	{.name = "queue", .heading = "Queue"},
	{.name = "key", .heading = "Key"},
	{.name = "created_at", .heading = "Created", .cell = CELL_TIME},
	{.name = "start_at", .heading = "Not before", .cell = CELL_TIME},
	{.name = "deadline_at", .heading = "Deadline", .cell = CELL_TIME},
	{.name = "started_at", .heading = "Started", .cell = CELL_TIME},
	{.name = "finished_at", .heading = "Finished", .cell = CELL_TIME},
	{.name = "seconds", .heading = "Seconds"},
	{.name = "retcode", .heading = "Retcode"},
	{.name = "error", .heading = "Error"},
	{.name = "message", .heading = "Message"},
	{.name = "params", .heading = "Params"},
	{.name = "stdout", .heading = "Stdout"},
	{.name = "stderr", .heading = "Stderr"},
	{.name = "retval", .heading = "Retval"},
};

static const struct column task_columns[] = {
	{.name = "position", .heading = "TASK", .cell = CELL_NUMBER},
	{.name = "entrypoint", .heading = "ENTRYPOINT", .bytes_max = 60},
	{.name = "status", .heading = "STATUS"},
	{.name = "attempt", .heading = "ATTEMPT", .cell = CELL_NUMBER},
	{.name = "dispatched_at", .heading = "STARTED", .cell = CELL_TIME},
	{.name = "seconds", .heading = "SECONDS", .cell = CELL_NUMBER},
	{.name = "retcode", .heading = "RETCODE", .cell = CELL_NUMBER},
	{.name = "stdout", .heading = "STDOUT", .bytes_max = 60},
	{.name = "error", .heading = "ERROR"},
	{.name = "message", .heading = "MESSAGE", .bytes_max = 200},
};

static enum status write_tasks(struct connection *connection, const char *id, struct output *output, struct error *err)
{
	for (int from = 0, got = TASKS_PAGE; got == TASKS_PAGE; from += got) {
		PGresult *rows CLEANUP(result_clear) = NULL;
		char first[16], limit[16];
		snprintf(first, sizeof first, "%d", from);
		snprintf(limit, sizeof limit, "%d", TASKS_PAGE);
		enum status status = session_run(connection, "tasks.sql", (const char *[]){id, first, limit}, 3, &rows, err);
		if (status)
			return status;
		output_rows(output, rows);
		got = PQntuples(rows);
	}
	return E_OK;
}

static void write_operation(const PGresult *rows, bool table)
{
	struct buffer text CLEANUP(buffer_clear) = {0};
	if (table) {
		output_record(rows, 0, record_columns, COUNT_OF(record_columns));
		putchar('\n');
		return;
	}
	output_add_object(&text, rows, 0);
	text.length--; /* the closing brace comes after the tasks */
	buffer_add_text(&text, ",\"tasks\":");
	output_write(&text);
}

static enum status show_one(struct connection *connection, const char *id, enum output_format format, struct error *err)
{
	PGresult *rows CLEANUP(result_clear) = NULL;
	struct output tasks;
	bool object = format == OUTPUT_JSON || format == OUTPUT_JSONL;
	enum status status = session_run(connection, "operation.sql", (const char *[]){id}, 1, &rows, err);
	if (status)
		return status;
	if (PQntuples(rows) == 0)
		return fail(err, E_MISSING, "there is no operation %s", id);
	if (format != OUTPUT_IDS)
		write_operation(rows, !object);
	output_begin(&tasks, object ? OUTPUT_PART : format, task_columns, COUNT_OF(task_columns));
	status = write_tasks(connection, id, &tasks, err);
	output_end(&tasks);
	if (object)
		fputs("}", stdout);
	return status;
}

static enum exit_code run_show(const struct invocation *invocation)
{
	struct buffer ids CLEANUP(buffer_clear) = {0};
	struct connection *connection CLEANUP(connection_close_pointer) = NULL;
	struct error err = {0};
	int count;
	enum output_format format = invocation->common.format;
	if (input_ids(invocation->arguments, invocation->argument_count, &ids, &count, &err))
		return complain(&err);
	enum exit_code code = session_open(invocation, true, &connection);
	if (code != EXIT_OK)
		return code;
	bool array = format == OUTPUT_JSON && count > 1;
	fputs(array ? "[\n" : "", stdout);
	for (int i = 0; i < count; i++) {
		char id[INPUT_ID_LENGTH + 1];
		input_id(&ids, i, id);
		if (i > 0)
			fputs(array ? ",\n" : "\n", stdout);
		if (show_one(connection, id, format, &err))
			return complain(&err);
	}
	fputs(array ? "\n]\n" : format == OUTPUT_JSON || format == OUTPUT_JSONL ? "\n" : "", stdout);
	return EXIT_OK;
}

const struct command command_show = {
	.name = "show",
	.arguments = "ID...",
	.summary = "show operations with their tasks and results",
	.details =
		"An ID of - reads ids from standard input, one a line. The table cuts long texts;\n"
		"json and jsonl have all of them: one object for each operation, its tasks in the key\n"
		"tasks. ids prints the uuids of the tasks.\n",
	.examples =
		"  kser show 019a1b2c-0000-7000-8000-000000000000\n"
		"  kser ls --status FAILED -o ids | kser show - -o jsonl | jq .tasks[-1].stderr\n",
	.arguments_min = 1,
	.arguments_max = INT32_MAX,
	.formats = true,
	.database = true,
	.run = run_show,
};
