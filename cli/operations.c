#include "cli/operations.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/clock.h"

#define PAUSE_FIRST_MS 20
#define PAUSE_LAST_MS 500

const struct column operation_columns[] = {
	{.name = "id", .heading = "ID"},
	{.name = "name", .heading = "NAME", .bytes_max = 60},
	{.name = "status", .heading = "STATUS"},
	{.name = "held", .heading = "HELD"},
	{.name = "priority", .heading = "PRIORITY", .cell = CELL_NUMBER},
	{.name = "created_at", .heading = "CREATED", .cell = CELL_TIME},
	{.name = "seconds", .heading = "SECONDS", .cell = CELL_NUMBER},
	{.name = "retcode", .heading = "RETCODE", .cell = CELL_NUMBER},
	{.name = "error", .heading = "ERROR"},
	{.name = "message", .heading = "MESSAGE", .bytes_max = 100},
};
const size_t operation_column_count = COUNT_OF(operation_columns);

enum status operations_check_status(const char *status, struct error *err)
{
	static const char *const known[] = {"PENDING", "RUNNING", "SUCCESS", "FAILED"};
	if (!status)
		return E_OK;
	for (size_t i = 0; i < COUNT_OF(known); i++)
		if (strcmp(status, known[i]) == 0)
			return E_OK;
	return fail(err, E_INVALID, "--status %.60s: must be PENDING, RUNNING, SUCCESS or FAILED", status);
}

void operations_pause(int64_t *pause_ms)
{
	int64_t longer = *pause_ms * 5 / 4;
	struct timespec time = {*pause_ms / 1000, *pause_ms % 1000 * 1000000};
	nanosleep(&time, NULL);
	*pause_ms = longer < PAUSE_FIRST_MS ? PAUSE_FIRST_MS : longer > PAUSE_LAST_MS ? PAUSE_LAST_MS : longer;
}

/* `context` is a buffer: the ids that are still to be waited for, before and after. */
static enum status look(struct connection *connection, void *context, struct error *err)
{
	struct buffer *unfinished = context;
	PGresult *rows CLEANUP(result_clear) = NULL;
	enum status status = session_run(connection, "unfinished.sql", (const char *[]){unfinished->bytes}, 1, &rows, err);
	if (status)
		return status;
	if (!PQgetisnull(rows, 0, 1))
		return fail(err, E_MISSING, "there is no operation %s", PQgetvalue(rows, 0, 1));
	buffer_reset(unfinished);
	buffer_add_text(unfinished, PQgetvalue(rows, 0, 0));
	return E_OK;
}

static enum exit_code wait_for_end(const struct invocation *invocation, struct connection **connection, const char *ids, int64_t timeout_ms)
{
	struct buffer unfinished CLEANUP(buffer_clear) = {0};
	struct error err = {0};
	bool away = false;
	int64_t until = clock_monotonic_ms() + timeout_ms;
	buffer_add_text(&unfinished, ids);
	for (int64_t pause = 0;; operations_pause(&pause)) {
		enum status status = session_look(invocation, connection, &away, look, &unfinished, &err);
		if (status && status != E_RETRY)
			return complain(&err);
		if (!status && strcmp(unfinished.bytes, "{}") == 0)
			return EXIT_OK;
		if (timeout_ms > 0 && clock_monotonic_ms() + pause > until)
			return EXIT_TIMED_OUT;
	}
}

static enum exit_code outcome_of(const PGresult *rows)
{
	enum exit_code code = EXIT_OK;
	int column = PQfnumber(rows, "status");
	for (int row = 0; row < PQntuples(rows); row++) {
		const char *status = PQgetvalue(rows, row, column);
		if (strcmp(status, "FAILED") == 0)
			code = EXIT_FAILED;
		else if (strcmp(status, "SUCCESS") != 0 && code == EXIT_OK)
			code = EXIT_TIMED_OUT;
	}
	return code;
}

enum exit_code operations_wait(const struct invocation *invocation, struct connection **connection, const char *ids, int64_t timeout_ms,
	PGresult **rows)
{
	struct error err = {0};
	enum exit_code code = wait_for_end(invocation, connection, ids, timeout_ms);
	if (code != EXIT_OK && (code != EXIT_TIMED_OUT || !connection_usable(*connection)))
		return code;
	enum status status = session_run(*connection, "operations.sql", (const char *[]){ids, NULL, NULL, NULL, NULL, NULL, NULL}, 7, rows, &err);
	if (status == E_RETRY && code == EXIT_TIMED_OUT)
		return code;
	return status ? complain(&err) : outcome_of(*rows);
}
