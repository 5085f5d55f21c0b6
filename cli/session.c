#include "cli/session.h"

#include <assert.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <string.h>

#include "common/settings.h"
#include "sql/schema.h"

#define STATEMENT_TIMEOUT_MS 60000
#define PARAMETERS_MAX 8

struct session_settings {
	const char *database;
};

static const struct setting session_rows[] = {
	{.name = "database", .environment = "KSER_DATABASE_URL", .kind = SETTING_SECRET, .offset = offsetof(struct session_settings, database), .fallback = "",
		.help = "PostgreSQL, as URI or key=value text; empty: libpq's own environment (PGHOST, PGSERVICE ...)"},
};

const struct program session_program = {
	.name = "kser",
	.summary = "Submits operations and looks at them.",
	.usage = "COMMAND [OPTIONS] [ARGUMENTS]",
	.section = "kser",
	.settings = session_rows,
	.count = COUNT_OF(session_rows),
};

/* The file is everybody's: what is said there to the other programs is none of our business. */
static enum status ignore_section(void *context, const char *section, const char *key, const char *value, int line, struct error *err)
{
	(void)context, (void)section, (void)key, (void)value, (void)line, (void)err;
	return E_OK;
}

bool session_resolve(struct invocation *invocation)
{
	struct session_settings settings = {0};
	struct buffer errors CLEANUP(buffer_clear) = {0};
	struct properties kafka CLEANUP(properties_clear) = {0};
	char *no_flags[] = {(char[]){"kser"}, NULL};
	int first;
	invocation->conninfo = invocation->common.database;
	if (invocation->conninfo)
		return true;
	enum settings_answer answer = settings_read(&session_program, 1, no_flags, &settings, &kafka, ignore_section, NULL, &first, &errors);
	invocation->conninfo = settings.database;
	if (answer == SETTINGS_WRONG)
		fwrite(errors.bytes, 1, errors.length, stderr);
	return answer == SETTINGS_RUN;
}

enum status session_parse(const char *conninfo, PQconninfoOption **parsed, struct error *err)
{
	char *reason = NULL;
	*parsed = PQconninfoParse(conninfo, &reason);
	if (*parsed)
		return E_OK;
	enum status status = fail(err, E_INVALID, "the database URL is wrong: %.*s", reason ? (int)strcspn(reason, "\n") : 0, reason ? reason : "");
	PQfreemem(reason);
	return status;
}

/* A text that is neither a URI nor key=value is the name of a database to libpq. */
static enum status check_conninfo(const char *conninfo, struct error *err)
{
	PQconninfoOption *parsed = NULL;
	if (!strchr(conninfo, '=') && !strstr(conninfo, "://"))
		return E_OK;
	enum status status = session_parse(conninfo, &parsed, err);
	PQconninfoFree(parsed);
	return status;
}

static enum status open_quietly(const struct invocation *invocation, struct connection **connection, struct error *err)
{
	return connection_open(invocation->conninfo, "kser", CONNECTION_USER, connection, err);
}

enum exit_code session_open(const struct invocation *invocation, bool checked, struct connection **connection)
{
	struct error err = {0};
	if (check_conninfo(invocation->conninfo, &err))
		return complain(&err);
	enum status status = open_quietly(invocation, connection, &err);
	if (!status && checked)
		status = schema_check(*connection, &err);
	if (!status)
		return EXIT_OK;
	connection_close_pointer(connection);
	return complain(&err);
}

enum status session_look(const struct invocation *invocation, struct connection **connection, bool *away,
	enum status (*look)(struct connection *connection, void *context, struct error *err), void *context, struct error *err)
{
	enum status status = E_OK;
	if (!connection_usable(*connection)) {
		connection_close_pointer(connection);
		status = open_quietly(invocation, connection, err);
	}
	if (!status)
		status = look(*connection, context, err);
	if (status == E_RETRY && !*away)
		fprintf(stderr, "kser: %s; trying again\n", err->text);
	*away = status == E_RETRY;
	return status;
}

enum status session_run(struct connection *connection, const char *file, const char *const *parameters, int count, PGresult **result,
	struct error *err)
{
	struct parameter values[PARAMETERS_MAX] = {0};
	assert(count <= PARAMETERS_MAX);
	for (int i = 0; i < count; i++)
		values[i].bytes = parameters[i];
	const struct embedded_file *statement = embedded_find(embedded_cli_statements, embedded_cli_statements_count, file);
	return connection_run(connection, statement, values, count, false, STATEMENT_TIMEOUT_MS, result, err);
}

enum status session_begin(struct connection *connection, struct error *err)
{
	return connection_script(connection, "begin", STATEMENT_TIMEOUT_MS, err);
}

enum status session_commit(struct connection *connection, struct error *err)
{
	return connection_script(connection, "commit", STATEMENT_TIMEOUT_MS, err);
}
