#include "sql/connection.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/memory.h"

#define CONNECT_TIMEOUT_MS 10000

/* Statements of one connection; far more than there are files. */
#define PREPARED_MAX 128

struct connection {
	PGconn *pg;
	const struct embedded_file *prepared[PREPARED_MAX];
	size_t prepared_count;
};

/*
 * Engine sessions: plans made on an empty table must not become sequential scans that stay; a lock
 * is waited for less long than a deadlock is looked for; nothing of ours runs for long.
 */
static const char engine_options[] =
	"-c plan_cache_mode=force_generic_plan -c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off -c enable_memoize=off"
	" -c jit=off -c lock_timeout=100ms -c statement_timeout=30s -c idle_in_transaction_session_timeout=10s"
	" -c synchronous_commit=on -c default_transaction_isolation=read\\ committed"
	" -c tcp_keepalives_idle=2 -c tcp_keepalives_interval=1 -c tcp_keepalives_count=3 -c tcp_user_timeout=5000";

void result_clear(PGresult **result)
{
	PQclear(*result);
	*result = NULL;
}

const struct embedded_file *embedded_find(const struct embedded_file *list, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(list[i].name, name) == 0)
			return &list[i];
	assert(false && "an embedded file of that name");
	return NULL;
}

static enum status status_of_sqlstate(const char *sqlstate)
{
	static const struct {
		const char *prefix;
		enum status status;
	} rules[] = {
		{"40001", E_RETRY}, {"40P01", E_RETRY}, {"55P03", E_RETRY}, {"57", E_RETRY}, {"08", E_RETRY}, {"25006", E_RETRY},
		{"53", E_RETRY}, {"58", E_RETRY}, {"23505", E_CONFLICT}, {"21", E_INVALID}, {"22", E_INVALID}, {"23", E_INVALID}, {"54", E_INVALID}, {"28", E_INVALID},
		{"3D000", E_INVALID}, {"42501", E_INVALID}, {"55000", E_CONFLICT}, {"P0002", E_MISSING},
	};
	for (size_t i = 0; i < COUNT_OF(rules); i++)
		if (strncmp(sqlstate, rules[i].prefix, strlen(rules[i].prefix)) == 0)
			return rules[i].status;
	return E_FATAL;
}

/* libpq's texts have several lines, some indented: one line of them, as much as fits. */
static void in_one_line(const char *lines, char *text, size_t size)
{
	size_t used = 0;
	text[0] = '\0';
	while (*(lines += strspn(lines, "\n\t ")) && used < size - 1) {
		int length = (int)strcspn(lines, "\n");
		snprintf(text + used, size - used, "%s%.*s", used ? "; " : "", length, lines);
		used += strlen(text + used);
		lines += length;
	}
}

static enum status fail_gone(struct connection *connection, const char *what, struct error *err)
{
	char reason[300];
	in_one_line(connection->pg ? PQerrorMessage(connection->pg) : "", reason, sizeof reason);
	PQfinish(connection->pg);
	connection->pg = NULL;
	return fail(err, E_RETRY, "%s%s%s", what, reason[0] ? ": " : "", reason);
}

static enum status fail_result(const PGresult *result, struct error *err)
{
	const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	const char *primary = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
	const char *detail = PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL);
	const char *hint = PQresultErrorField(result, PG_DIAG_MESSAGE_HINT);
	enum status status = fail(err, status_of_sqlstate(sqlstate ? sqlstate : "08006"), "%s%s%s%s%s", primary ? primary : PQresultErrorMessage(result),
		detail ? "; " : "", detail ? detail : "", hint ? "; " : "", hint ? hint : "");
	if (err)
		snprintf(err->sqlstate, sizeof err->sqlstate, "%s", sqlstate ? sqlstate : "08006");
	return status;
}

/* Waits until the socket is ready or the time is over. */
static bool wait_socket(const PGconn *pg, short events, int64_t until_ms)
{
	struct pollfd pollfd = {.fd = PQsocket(pg), .events = events};
	for (;;) {
		int64_t left = until_ms - clock_monotonic_ms();
		int ready = left > 0 ? poll(&pollfd, 1, (int)left) : 0;
		if (ready >= 0 || errno != EINTR)
			return ready > 0;
	}
}

static bool connect_finishes(PGconn *pg)
{
	int64_t until = clock_monotonic_ms() + CONNECT_TIMEOUT_MS;
	PostgresPollingStatusType state = PGRES_POLLING_WRITING;
	while (state != PGRES_POLLING_OK) {
		if (state == PGRES_POLLING_FAILED)
			return false;
		if (!wait_socket(pg, state == PGRES_POLLING_READING ? POLLIN : POLLOUT, until))
			return false;
		state = PQconnectPoll(pg);
	}
	return true;
}

/* libpq tells no SQLSTATE for a refused connection; these texts are stable enough to tell "never" from "not yet", and why. */
static const char *refusal_sqlstate(PGconn *pg)
{
	static const struct {
		const char *text, *sqlstate;
	} never[] = {{"authentication failed", "28P01"}, {"no password supplied", "28P01"}, {"no pg_hba.conf entry", "28000"}, {"is not permitted to log in", "28000"},
		{"\" does not exist", "3D000"}, {"invalid ", "08001"}};
	const char *message = PQerrorMessage(pg);
	if (strstr(message, "No such file"))
		return NULL; /* of a server that is not up */
	for (size_t i = 0; i < COUNT_OF(never); i++)
		if (strstr(message, never[i].text))
			return strstr(message, "role \"") ? "28000" : never[i].sqlstate;
	return NULL;
}

/* What the server warns of is worth a line, the rest of its notices is not. */
static void tell_warning(void *context, const PGresult *result)
{
	const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
	(void)context;
	if (severity && strcmp(severity, "WARNING") == 0)
		log_warning("the database warns", "text", PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY));
}

enum status connection_open(const char *conninfo, const char *application, enum connection_use use,
	struct connection **connection, struct error *err)
{
	/* What stands before "dbname" is a default that the conninfo may override; what stands behind it is not. */
	const char *keys[] = {"keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout", "fallback_application_name",
		"dbname", "client_encoding", use == CONNECTION_ENGINE ? "options" : NULL, NULL};
	const char *values[] = {"2", "1", "3", "5000", application, conninfo, "UTF8", engine_options, NULL};
	*connection = NULL;
	PGconn *pg = PQconnectStartParams(keys, values, 1);
	if (!pg)
		return fail(err, E_FATAL, "cannot connect to the database: out of memory");
	if (PQstatus(pg) == CONNECTION_BAD || !connect_finishes(pg)) {
		char reason[300];
		in_one_line(PQerrorMessage(pg), reason, sizeof reason);
		const char *sqlstate = refusal_sqlstate(pg);
		PQfinish(pg);
		enum status status = fail(err, sqlstate ? E_INVALID : E_RETRY, "could not connect to the database: %s", reason[0] ? reason : "no answer in time");
		if (err && sqlstate)
			snprintf(err->sqlstate, sizeof err->sqlstate, "%s", sqlstate);
		return status;
	}
	PQsetnonblocking(pg, 1);
	PQsetNoticeReceiver(pg, tell_warning, NULL);
	*connection = xcalloc(1, sizeof **connection);
	(*connection)->pg = pg;
	return E_OK;
}

void connection_close(struct connection *connection)
{
	if (!connection)
		return;
	PQfinish(connection->pg);
	free_pointer(&connection);
}

void connection_close_pointer(struct connection **connection)
{
	connection_close(*connection);
	*connection = NULL;
}

bool connection_usable(const struct connection *connection)
{
	return connection && connection->pg && PQstatus(connection->pg) == CONNECTION_OK;
}

int connection_socket(const struct connection *connection)
{
	return connection_usable(connection) ? PQsocket(connection->pg) : -1;
}

int connection_backend(const struct connection *connection)
{
	return connection_usable(connection) ? PQbackendPID(connection->pg) : 0;
}

/* Sends what is queued and reads one whole answer: the last result, or the first that is an error. */
static enum status answer(struct connection *connection, int64_t until_ms, PGresult **result, struct error *err)
{
	PGresult *kept = NULL;
	for (;;) {
		int unsent = PQflush(connection->pg);
		if (unsent < 0)
			break;
		if (unsent == 0 && !PQisBusy(connection->pg)) {
			PGresult *next = PQgetResult(connection->pg);
			if (!next) {
				*result = kept;
				return E_OK;
			}
			bool failed = kept && PQresultStatus(kept) == PGRES_FATAL_ERROR;
			PQclear(failed ? next : kept);
			kept = failed ? kept : next;
			continue;
		}
		if (!wait_socket(connection->pg, (short)(unsent ? POLLIN | POLLOUT : POLLIN), until_ms)) {
			PQclear(kept);
			return fail_gone(connection, "the database did not answer in time", err);
		}
		if (!PQconsumeInput(connection->pg))
			break;
	}
	PQclear(kept);
	return fail_gone(connection, "lost the connection to the database", err);
}

/* Reads the answer to what was sent; rows or a completed command are E_OK. */
static enum status finish_call(struct connection *connection, int timeout_ms, PGresult **result, struct error *err)
{
	PGresult *received = NULL;
	enum status status = answer(connection, clock_monotonic_ms() + timeout_ms, &received, err);
	if (status)
		return status;
	switch (PQresultStatus(received)) {
	case PGRES_TUPLES_OK:
	case PGRES_COMMAND_OK:
		*result = received;
		return E_OK;
	default:
		status = fail_result(received, err);
		PQclear(received);
		if (PQstatus(connection->pg) != CONNECTION_OK) {
			PQfinish(connection->pg);
			connection->pg = NULL;
		}
		return status;
	}
}

static bool is_prepared(const struct connection *connection, const struct embedded_file *statement)
{
	for (size_t i = 0; i < connection->prepared_count; i++)
		if (connection->prepared[i] == statement)
			return true;
	return false;
}

static enum status prepare(struct connection *connection, const struct embedded_file *statement, const struct parameter *parameters, int count,
	int timeout_ms, struct error *err)
{
	Oid types[32];
	assert(count <= (int)COUNT_OF(types));
	for (int i = 0; i < count; i++)
		types[i] = parameters[i].type;
	if (!PQsendPrepare(connection->pg, statement->name, statement->bytes, count, types))
		return fail_gone(connection, "could not send to the database", err);
	PGresult *result CLEANUP(result_clear) = NULL;
	enum status status = finish_call(connection, timeout_ms, &result, err);
	if (!status) {
		assert(connection->prepared_count < PREPARED_MAX);
		connection->prepared[connection->prepared_count++] = statement;
	}
	return status;
}

enum status connection_run(struct connection *connection, const struct embedded_file *statement,
	const struct parameter *parameters, int count, bool binary, int timeout_ms, PGresult **result, struct error *err)
{
	const char *values[32];
	int lengths[32], formats[32];
	*result = NULL;
	if (!connection_usable(connection))
		return fail(err, E_RETRY, "no connection to the database");
	if (!is_prepared(connection, statement)) {
		enum status status = prepare(connection, statement, parameters, count, timeout_ms, err);
		if (status)
			return status;
	}
	for (int i = 0; i < count; i++) {
		values[i] = parameters[i].bytes;
		lengths[i] = parameters[i].length;
		formats[i] = parameters[i].binary;
	}
	if (!PQsendQueryPrepared(connection->pg, statement->name, count, values, lengths, formats, binary))
		return fail_gone(connection, "could not send to the database", err);
	return finish_call(connection, timeout_ms, result, err);
}

enum status connection_script(struct connection *connection, const char *text, int timeout_ms, struct error *err)
{
	if (!connection_usable(connection))
		return fail(err, E_RETRY, "no connection to the database");
	if (!PQsendQuery(connection->pg, text))
		return fail_gone(connection, "could not send to the database", err);
	PGresult *result CLEANUP(result_clear) = NULL;
	return finish_call(connection, timeout_ms, &result, err);
}

enum status connection_listen(struct connection *connection, const char *channel, struct error *err)
{
	struct buffer text = {0};
	buffer_printf(&text, "listen %s", channel);
	enum status status = connection_script(connection, text.bytes, 5000, err);
	buffer_clear(&text);
	return status;
}

bool connection_notified(struct connection *connection)
{
	bool any = false;
	if (!connection_usable(connection))
		return false;
	PQconsumeInput(connection->pg);
	for (PGnotify *notice; (notice = PQnotifies(connection->pg)); PQfreemem(notice))
		any = true;
	return any;
}
