#include <stdio.h>

#include "cli/commands.h"
#include "cli/session.h"
#include "sql/schema.h"

static enum exit_code run_migrate(const struct invocation *invocation)
{
	struct connection *connection CLEANUP(connection_close_pointer) = NULL;
	struct schema_status before;
	struct error err = {0};
	enum exit_code code = session_open(invocation, false, &connection);
	if (code != EXIT_OK)
		return code;
	if (schema_migrate(connection, &before, &err))
		return complain(&err);
	if (before.installed == before.wanted)
		printf("schema version %d: %s\n", before.wanted, before.functions_same ? "nothing to do" : "functions replaced");
	else
		printf("schema version %d: brought up from %d\n", before.wanted, before.installed);
	return EXIT_OK;
}

const struct command command_db_migrate = {
	.name = "db migrate",
	.arguments = "",
	.summary = "create the schema, or bring it up to this version",
	.details =
		"All in one transaction, one at a time: run it as often and from as many places as\n"
		"you like. Needs a user who may create a schema (and the roles kser_read, kser_submit,\n"
		"kser_operate and kser_engine, unless they exist). Refuses (5) a newer schema.\n",
	.examples = "  kser db migrate --database postgresql://admin@db.example/shop\n",
	.database = true,
	.run = run_migrate,
};

static const char *state_of(const struct schema_status *schema)
{
	if (schema->installed > schema->wanted)
		return "newer than this program: install a newer kser";
	if (schema->installed == schema->wanted && schema->functions_same)
		return "up to date";
	return schema->installed == 0 ? "not installed: run kser db migrate" : "older than this program: run kser db migrate";
}

static void print_status(const struct schema_status *schema, enum output_format format)
{
	struct buffer text CLEANUP(buffer_clear) = {0};
	if (format == OUTPUT_TABLE || format == OUTPUT_IDS) {
		printf("installed  %d\nwanted     %d\nfunctions  %s\nstate      %s\n", schema->installed, schema->wanted,
			schema->functions_same ? "of this program" : "other", state_of(schema));
		return;
	}
	buffer_printf(&text, "{\"installed\":%d,\"wanted\":%d,\"functions_same\":%s,\"state\":", schema->installed, schema->wanted,
		schema->functions_same ? "true" : "false");
	buffer_add_json_string(&text, slice_of(state_of(schema)));
	buffer_add_text(&text, "}\n");
	output_write(&text);
}

static enum exit_code run_status(const struct invocation *invocation)
{
	struct connection *connection CLEANUP(connection_close_pointer) = NULL;
	struct schema_status schema;
	struct error err = {0};
	enum exit_code code = session_open(invocation, false, &connection);
	if (code != EXIT_OK)
		return code;
	if (schema_status(connection, &schema, &err))
		return complain(&err);
	print_status(&schema, invocation->common.format);
	return schema.installed == schema.wanted && schema.functions_same ? EXIT_OK : EXIT_REFUSED;
}

const struct command command_db_status = {
	.name = "db status",
	.arguments = "",
	.summary = "say whether the schema fits this program",
	.details = "Exit status 0: it does; 5: not, and the state says what to do.\n",
	.formats = true,
	.database = true,
	.run = run_status,
};

struct generation_options {
	const char *reason;
};

static enum exit_code run_new_generation(const struct invocation *invocation)
{
	const struct generation_options *options = invocation->options;
	struct connection *connection CLEANUP(connection_close_pointer) = NULL;
	PGresult *rows CLEANUP(result_clear) = NULL;
	struct error err = {0};
	if (!options->reason || !options->reason[0]) {
		fail(&err, E_INVALID, "expected --reason TEXT: why everything that runs is to be started again");
		return complain(&err);
	}
	enum exit_code code = session_open(invocation, true, &connection);
	if (code != EXIT_OK)
		return code;
	if (session_run(connection, "new_generation.sql", (const char *[]){options->reason}, 1, &rows, &err))
		return complain(&err);
	printf("generation %s\n", PQgetvalue(rows, 0, 0));
	return EXIT_OK;
}

static const struct option_row generation_rows[] = {
	{.setting = {.name = "reason", .kind = SETTING_TEXT, .offset = offsetof(struct generation_options, reason),
		.help = "why; kept in kser.history"}, .letter = 'r', .argument = "TEXT"},
};

const struct command command_db_new_generation = {
	.name = "db new-generation",
	.arguments = "",
	.summary = "after a restore: forget what was sent, start again what runs",
	.details =
		"Replies to everything dispatched until now count no more, and each task that runs is\n"
		"started again: it may run twice. Needed when kser db doctor says that nothing is\n"
		"dispatched (the database was set back). Another server is noticed without it.\n",
	.examples = "  kser db new-generation --reason 'restored the backup of Monday'\n",
	.options = generation_rows,
	.option_count = COUNT_OF(generation_rows),
	.defaults = &(const struct generation_options){0},
	.options_size = sizeof(struct generation_options),
	.database = true,
	.run = run_new_generation,
};
