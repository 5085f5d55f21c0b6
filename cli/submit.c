#include <stdio.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/input.h"
#include "cli/operations.h"
#include "common/fault.h"
#include "common/json.h"
#include "common/limits.h"

struct submit_options {
	const char *name;
	const char *params;
	struct option_list param;
	const char *key;
	const char *queue;
	int64_t priority;
	bool wait;
	int64_t timeout_ms;
};

static void add_member(struct buffer *json, const char *key, const char *text)
{
	if (!text)
		return;
	buffer_printf(json, ",\"%s\":", key);
	buffer_add_json_string(json, slice_of(text));
}

static enum status add_params(struct buffer *json, const struct option_list *list, struct error *err)
{
	buffer_add_text(json, ",\"params\":{");
	for (int i = 0; i < list->count; i++) {
		const char *equals = strchr(list->values[i], '=');
		if (!equals)
			return fail(err, E_INVALID, "--param \"%.100s\": expected NAME=TEXT", list->values[i]);
		buffer_add_text(json, i ? "," : "");
		buffer_add_json_string(json, (struct slice){list->values[i], (size_t)(equals - list->values[i])});
		buffer_add_char(json, ':');
		buffer_add_json_string(json, slice_of(equals + 1));
	}
	buffer_add_char(json, '}');
	return E_OK;
}

/* A submission from options. The params are checked for themselves, so that they cannot close their own object. */
static enum status add_from_options(struct buffer *json, const struct submit_options *options, struct error *err)
{
	struct error reason;
	struct json_value params;
	if (options->params && options->param.count)
		return fail(err, E_INVALID, "--params and --param exclude each other");
	if (options->params && json_validate(slice_of(options->params), SUBMIT_BYTES_MAX, &params, &reason))
		return fail(err, E_INVALID, "--params: %s", reason.text);
	buffer_add_text(json, "{\"name\":");
	buffer_add_json_string(json, slice_of(options->name));
	add_member(json, "key", options->key);
	add_member(json, "queue", options->queue);
	buffer_printf(json, ",\"priority\":%lld", (long long)options->priority);
	enum status status = E_OK;
	if (options->params)
		buffer_printf(json, ",\"params\":%s", options->params);
	else
		status = add_params(json, &options->param, err);
	buffer_add_char(json, '}');
	return status;
}

static enum status read_submission(const struct invocation *invocation, struct buffer *json, struct json_value *root, struct error *err)
{
	const struct submit_options *options = invocation->options;
	bool with_file = invocation->argument_count > 0;
	bool with_options = options->name || options->params || options->param.count || options->key || options->queue || options->priority;
	if (options->timeout_ms && !options->wait)
		return fail(err, E_INVALID, "--timeout: needs --wait");
	if (with_file == !!with_options || (with_options && !options->name))
		return fail(err, E_INVALID, "expected a FILE (or -), or --name NAME and what belongs to it");
	enum status status = with_file ? input_read(invocation->arguments[0], SUBMIT_BYTES_MAX, json, err) : add_from_options(json, options, err);
	if (!status)
		status = json_validate(buffer_slice(json), SUBMIT_BYTES_MAX, root, err);
	if (status)
		return status;
	if (root->kind != JSON_OBJECT && root->kind != JSON_ARRAY)
		return fail(err, E_INVALID, "expected an object or an array of objects, not %s", json_kind_name(root->kind));
	return E_OK;
}

static void print_ids(enum output_format format, bool single, const PGresult *rows)
{
	static const struct column columns[] = {{.name = "id", .heading = "ID"}};
	struct buffer text CLEANUP(buffer_clear) = {0};
	struct output output;
	if (format == OUTPUT_JSON && single) {
		output_add_object(&text, rows, 0);
		buffer_add_char(&text, '\n');
		output_write(&text);
		return;
	}
	output_begin(&output, format == OUTPUT_TABLE ? OUTPUT_IDS : format, columns, COUNT_OF(columns));
	output_rows(&output, rows);
	output_end(&output);
}

/* Ids are printed already and stand alone on stdout; what went wrong goes to stderr. */
static void tell_unsuccessful(const PGresult *rows)
{
	struct buffer text CLEANUP(buffer_clear) = {0};
	for (int row = 0; row < PQntuples(rows); row++) {
		const char *status = PQgetvalue(rows, row, PQfnumber(rows, "status"));
		if (strcmp(status, "SUCCESS") == 0)
			continue;
		buffer_printf(&text, "kser: operation %s is %s", PQgetvalue(rows, row, 0), status);
		for (int i = 0; i < 2; i++) {
			const char *why = PQgetvalue(rows, row, PQfnumber(rows, i == 0 ? "error" : "message"));
			buffer_add_text(&text, why[0] ? ": " : "");
			output_add_printable(&text, slice_of(why));
		}
		buffer_add_char(&text, '\n');
	}
	fputs(text.length ? text.bytes : "", stderr);
}

static enum exit_code wait_for(const struct invocation *invocation, struct connection **connection, const PGresult *submitted)
{
	const struct submit_options *options = invocation->options;
	struct buffer ids CLEANUP(buffer_clear) = {0};
	PGresult *rows CLEANUP(result_clear) = NULL;
	for (int row = 0; row < PQntuples(submitted); row++)
		buffer_printf(&ids, "%c%s", row ? ',' : '{', PQgetvalue(submitted, row, 0));
	buffer_add_text(&ids, PQntuples(submitted) ? "}" : "{}");
	fflush(stdout);
	enum exit_code code = operations_wait(invocation, connection, ids.bytes, options->timeout_ms, &rows);
	if (rows)
		tell_unsuccessful(rows);
	return code;
}

/* Without a key nobody can tell whether a submission without an answer was stored. */
static void add_doubt(struct connection *connection, struct error *err)
{
	struct error reason = *err;
	if (err->status == E_RETRY && !connection_usable(connection))
		fail(err, E_RETRY, "%s; it may have been submitted all the same: give it a key to submit it safely again", reason.text);
}

static enum status submit(struct connection *connection, const char *list, PGresult **rows, struct error *err)
{
	enum status status = session_begin(connection, err);
	if (!status)
		status = session_run(connection, "submit.sql", (const char *[]){list}, 1, rows, err);
	if (!status && FAULT("submit.before_commit"))
		status = fail(err, E_FATAL, "the submission was broken off by a test");
	return status ? status : session_commit(connection, err);
}

static enum exit_code run_submit(const struct invocation *invocation)
{
	const struct submit_options *options = invocation->options;
	struct buffer json CLEANUP(buffer_clear) = {0}, list CLEANUP(buffer_clear) = {0};
	struct connection *connection CLEANUP(connection_close_pointer) = NULL;
	PGresult *rows CLEANUP(result_clear) = NULL;
	struct json_value root;
	struct error err = {0};
	if (read_submission(invocation, &json, &root, &err))
		return complain(&err);
	bool single = root.kind == JSON_OBJECT;
	buffer_add_text(&list, single ? "[" : "");
	buffer_add_slice(&list, root.text);
	buffer_add_text(&list, single ? "]" : "");
	enum exit_code code = session_open(invocation, true, &connection);
	if (code != EXIT_OK)
		return code;
	if (submit(connection, list.bytes, &rows, &err)) {
		add_doubt(connection, &err);
		return complain(&err);
	}
	print_ids(invocation->common.format, single, rows);
	if (PQntuples(rows) == 0)
		fputs("kser: there was nothing to submit: the array is empty\n", stderr);
	return options->wait ? wait_for(invocation, &connection, rows) : EXIT_OK;
}

static const struct option_row options[] = {
	{.setting = {.name = "wait", .kind = SETTING_FLAG, .offset = offsetof(struct submit_options, wait),
		.help = "wait for the end; exit 6 if it FAILED"}, .letter = 'w'},
	{.setting = {.name = "timeout", .kind = SETTING_DURATION, .offset = offsetof(struct submit_options, timeout_ms), .min = 1, .max = 315360000000,
		.help = "with --wait: not longer than this; exit 7"}, .argument = "TIME"},
	{.setting = {.name = "name", .kind = SETTING_TEXT, .offset = offsetof(struct submit_options, name),
		.help = "instead of FILE: run this entrypoint as the only task"}, .argument = "NAME"},
	{.setting = {.name = "params", .kind = SETTING_TEXT, .offset = offsetof(struct submit_options, params),
		.help = "its params, a JSON object"}, .argument = "JSON"},
	{.setting = {.name = "param", .kind = SETTING_TEXT, .offset = offsetof(struct submit_options, param),
		.help = "one of its params, as text; may be given several times"}, .letter = 'p', .argument = "NAME=TEXT", .list = true},
	{.setting = {.name = "key", .kind = SETTING_TEXT, .offset = offsetof(struct submit_options, key),
		.help = "idempotency key: the same again gives the same id until the operation ends"}, .argument = "KEY"},
	{.setting = {.name = "queue", .kind = SETTING_TEXT, .offset = offsetof(struct submit_options, queue),
		.help = "queue of its task"}, .argument = "QUEUE"},
	{.setting = {.name = "priority", .kind = SETTING_INTEGER, .offset = offsetof(struct submit_options, priority), .min = -1000000, .max = 1000000,
		.help = "higher first, 0 by default"}, .argument = "N"},
};

const struct command command_submit = {
	.name = "submit",
	.arguments = "FILE|-",
	.summary = "submit operations and print their ids",
	.details =
		"FILE (- for standard input) is a JSON object, or an array of them that is submitted\n"
		"as a whole or not at all:\n"
		"\n"
		"  {\"name\": \"nightly\", \"tasks\": [{\"entrypoint\": \"dump\", \"params\": {\"db\": \"shop\"}},\n"
		"                                {\"entrypoint\": \"verify\"}]}\n"
		"\n"
		"Keys: name, tasks, params, key, key_for, priority, queue, start_at, deadline, policy,\n"
		"metadata.\n"
		"Without tasks the name itself is the entrypoint of the only task. When the id is\n"
		"printed, the operation is stored and runs as soon as its turn comes.\n",
	.examples =
		"  kser submit nightly.json --wait\n"
		"  kser submit --name echo -p text=hello --wait\n"
		"  id=$(kser submit --name sleep --params '{\"seconds\": 2}')\n",
	.options = options,
	.option_count = COUNT_OF(options),
	.defaults = &(const struct submit_options){0},
	.options_size = sizeof(struct submit_options),
	.arguments_max = 1,
	.formats = true,
	.database = true,
	.run = run_submit,
};
