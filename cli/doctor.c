#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/session.h"
#include "common/clock.h"

struct doctor_options {
	int64_t patience_ms;
};

static const struct column columns[] = {
	{.name = "severity", .heading = "SEVERITY"},
	{.name = "code", .heading = "CODE"},
	{.name = "finding", .heading = "FINDING", .bytes_max = 300},
	{.name = "remedy", .heading = "REMEDY", .bytes_max = 200},
};

static enum exit_code outcome_of(const PGresult *rows)
{
	int column = PQfnumber(rows, "severity");
	for (int row = 0; row < PQntuples(rows); row++)
		if (strcmp(PQgetvalue(rows, row, column), "info") != 0)
			return EXIT_REFUSED;
	return EXIT_OK;
}

static enum exit_code run_doctor(const struct invocation *invocation)
{
	const struct doctor_options *options = invocation->options;
	struct connection *connection CLEANUP(connection_close_pointer) = NULL;
	PGresult *rows CLEANUP(result_clear) = NULL;
	struct output output;
	struct error err = {0};
	char now[24], patience[24];
	enum exit_code code = session_open(invocation, true, &connection);
	if (code != EXIT_OK)
		return code;
	snprintf(now, sizeof now, "%" PRId64, clock_wall_ms());
	snprintf(patience, sizeof patience, "%" PRId64, options->patience_ms);
	if (session_run(connection, "doctor.sql", (const char *[]){now, patience}, 2, &rows, &err))
		return complain(&err);
	output_begin(&output, invocation->common.format, columns, COUNT_OF(columns));
	output_rows(&output, rows);
	output_end(&output);
	return outcome_of(rows);
}

static const struct option_row rows[] = {
	{.setting = {.name = "patience", .kind = SETTING_DURATION, .offset = offsetof(struct doctor_options, patience_ms), .min = 0, .max = 315360000000,
		.help = "how long something may be on its way, 1m by default"}, .argument = "TIME"},
};

const struct command command_db_doctor = {
	.name = "db doctor",
	.arguments = "",
	.summary = "say what is wrong with the installation, and what helps",
	.details =
		"Looks at the database only and changes nothing: operations that nothing lets go on,\n"
		"orchestrators, claims, queues that nobody serves, dead letters, dead rows, settings.\n"
		"Exit status 0: nothing, or only hints (info); 5: warnings or errors; 5 as well, with a\n"
		"reason on standard error, when the schema does not fit this program.\n",
	.examples = "  kser db doctor -o jsonl | jq 'select(.severity == \"error\")'\n",
	.options = rows,
	.option_count = COUNT_OF(rows),
	.defaults = &(const struct doctor_options){.patience_ms = 60000},
	.options_size = sizeof(struct doctor_options),
	.formats = true,
	.database = true,
	.run = run_doctor,
};
