#include "cli/commands.h"
#include "cli/session.h"
#include "common/json.h"
#include "common/limits.h"

struct policy_options {
	const char *reason;
};

static const struct column columns[] = {
	{.name = "entrypoint", .heading = "ENTRYPOINT", .bytes_max = 60},
	{.name = "policy", .heading = "POLICY"},
	{.name = "set_at", .heading = "SET", .cell = CELL_TIME},
	{.name = "actor", .heading = "BY"},
};

static enum exit_code run_policy_ls(const struct invocation *invocation)
{
	struct connection *connection CLEANUP(connection_close_pointer) = NULL;
	PGresult *rows CLEANUP(result_clear) = NULL;
	struct output output;
	struct error err = {0};
	enum exit_code code = session_open(invocation, true, &connection);
	if (code != EXIT_OK)
		return code;
	if (session_run(connection, "policies.sql", NULL, 0, &rows, &err))
		return complain(&err);
	output_begin(&output, invocation->common.format, columns, COUNT_OF(columns));
	output_rows(&output, rows);
	output_end(&output);
	return EXIT_OK;
}

const struct command command_policy_ls = {
	.name = "policy ls",
	.arguments = "",
	.summary = "list the default policies of entrypoints",
	.formats = true,
	.database = true,
	.run = run_policy_ls,
};

static enum exit_code change(const struct invocation *invocation, const char *statement, const char *const *parameters, int count)
{
	struct connection *connection CLEANUP(connection_close_pointer) = NULL;
	PGresult *rows CLEANUP(result_clear) = NULL;
	struct error err = {0};
	enum exit_code code = session_open(invocation, true, &connection);
	if (code != EXIT_OK)
		return code;
	return session_run(connection, statement, parameters, count, &rows, &err) ? complain(&err) : EXIT_OK;
}

static enum exit_code run_policy_set(const struct invocation *invocation)
{
	const struct policy_options *options = invocation->options;
	struct json_value policy;
	struct error reason, err = {0};
	if (json_validate(slice_of(invocation->arguments[1]), MESSAGE_BYTES_MAX, &policy, &reason)) {
		fail(&err, E_INVALID, "the policy: %s", reason.text);
		return complain(&err);
	}
	return change(invocation, "policy_set.sql", (const char *[]){invocation->arguments[0], invocation->arguments[1], options->reason}, 3);
}

static enum exit_code run_policy_drop(const struct invocation *invocation)
{
	const struct policy_options *options = invocation->options;
	return change(invocation, "policy_drop.sql", (const char *[]){invocation->arguments[0], options->reason}, 2);
}

static const struct option_row rows[] = {
	{.setting = {.name = "reason", .kind = SETTING_TEXT, .offset = offsetof(struct policy_options, reason),
		.help = "why; kept in kser.history"}, .letter = 'r', .argument = "TEXT"},
};

const struct command command_policy_set = {
	.name = "policy set",
	.arguments = "NAME JSON",
	.summary = "set the default policy of an entrypoint",
	.details =
		"For tasks submitted from now on. Keys that an operation or a task has in its own policy\n"
		"win. It replaces the policy that the entrypoint had.\n",
	.examples = "  kser policy set backup.dump '{\"max_attempts\": 3, \"timeout\": \"1h\"}'\n",
	.options = rows,
	.option_count = COUNT_OF(rows),
	.defaults = &(const struct policy_options){0},
	.options_size = sizeof(struct policy_options),
	.arguments_min = 2,
	.arguments_max = 2,
	.database = true,
	.run = run_policy_set,
};

const struct command command_policy_drop = {
	.name = "policy drop",
	.arguments = "NAME",
	.summary = "drop the default policy of an entrypoint",
	.details = "What was submitted keeps what it took from it.\n",
	.options = rows,
	.option_count = COUNT_OF(rows),
	.defaults = &(const struct policy_options){0},
	.options_size = sizeof(struct policy_options),
	.arguments_min = 1,
	.arguments_max = 1,
	.database = true,
	.run = run_policy_drop,
};
