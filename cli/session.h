#pragma once

/*
 * The way of a command to the database: the connection that its options name, and the statements
 * of this program. One thread.
 */

#include "cli/command.h"
#include "sql/connection.h"

extern const struct embedded_file embedded_cli_statements[];
extern const size_t embedded_cli_statements_count;

/* The settings of `kser` that are not options of one command, for the reference page. */
extern const struct program session_program;

/*
 * Finds out which database is meant: that of --database, KSER_DATABASE_URL (or the file KSER_DATABASE_URL_FILE), the key
 * database of [kser] in the file KSER_CONFIG, or "" for libpq's own environment. False: said on stderr what is wrong.
 */
MUST_USE bool session_resolve(struct invocation *invocation);

/* What a conninfo says, for PQconninfoFree. E_INVALID: it is wrong. */
MUST_USE enum status session_parse(const char *conninfo, PQconninfoOption **parsed, struct error *err);

/*
 * Connects; says on stderr what is wrong if it cannot and returns the exit status for it. With `checked` the schema must be
 * the one that this program was built for. The connection belongs to the caller.
 */
MUST_USE enum exit_code session_open(const struct invocation *invocation, bool checked, struct connection **connection);

/*
 * One look of many at the database, which may be away in between: opens a lost connection again, then calls `look`. The
 * first E_RETRY in a row is told on stderr. `away` starts as false and belongs to the function.
 */
MUST_USE enum status session_look(const struct invocation *invocation, struct connection **connection, bool *away,
	enum status (*look)(struct connection *connection, void *context, struct error *err), void *context, struct error *err);

/* A transaction of several statements; one that is not committed ends with the connection. */
MUST_USE enum status session_begin(struct connection *connection, struct error *err);
MUST_USE enum status session_commit(struct connection *connection, struct error *err);

/* Runs the statement of that file; parameters are texts (NULL: null). The result belongs to the caller, NULL on error. */
MUST_USE enum status session_run(struct connection *connection, const char *file, const char *const *parameters, int count, PGresult **result,
	struct error *err);
