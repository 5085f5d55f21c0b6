#include "cli/commands.h"
#include "cli/input.h"
#include "cli/session.h"

static const struct column columns[] = {
	{.name = "code", .heading = "CODE"},
	{.name = "finding", .heading = "FINDING"},
	{.name = "remedy", .heading = "REMEDY"},
};

static enum exit_code run_explain(const struct invocation *invocation)
{
	struct buffer ids CLEANUP(buffer_clear) = {0};
	struct connection *connection CLEANUP(connection_close_pointer) = NULL;
	PGresult *rows CLEANUP(result_clear) = NULL;
	struct output output;
	struct error err = {0};
	char id[INPUT_ID_LENGTH + 1];
	int count;
	if (input_ids(invocation->arguments, 1, &ids, &count, &err))
		return complain(&err);
	input_id(&ids, 0, id);
	enum exit_code code = session_open(invocation, true, &connection);
	if (code != EXIT_OK)
		return code;
	if (session_run(connection, "explain.sql", (const char *[]){id}, 1, &rows, &err))
		return complain(&err);
	if (PQntuples(rows) == 0) {
		fail(&err, E_MISSING, "there is no operation %s", id);
		return complain(&err);
	}
	output_begin(&output, invocation->common.format, columns, COUNT_OF(columns));
	output_rows(&output, rows);
	output_end(&output);
	return EXIT_OK;
}

const struct command command_explain = {
	.name = "explain",
	.arguments = "ID",
	.summary = "say why an operation stands where it stands",
	.details = "What its next step waits for: its time, a worker, a resume, the queue before it ...\n",
	.examples = "  kser explain 019a1b2c-0000-7000-8000-000000000000\n",
	.arguments_min = 1,
	.arguments_max = 1,
	.formats = true,
	.database = true,
	.run = run_explain,
};
