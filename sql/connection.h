#pragma once

/*
 * The one door to libpq. A connection belongs to one thread. Every call has a deadline of its own:
 * a server that is silent for longer counts as gone (E_RETRY) and the connection is closed.
 *
 * After E_RETRY the outcome of the call is unknown: open again and call again, every function of
 * ours is safe to repeat.
 */

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/attributes.h"
#include "common/buffer.h"
#include "common/error.h"
#include "sql/embedded.h"

struct connection; /* opaque */

enum connection_use {
	CONNECTION_ENGINE, /* plan settings, lock and statement time limits of the engine */
	CONNECTION_USER,   /* as the server is configured */
};

/*
 * `conninfo`: a libpq URI or key=value text; "" = libpq's environment. Keepalives and time limits are
 * added unless given. E_RETRY: not reachable; E_INVALID: refused, with SQLSTATE
 * 28P01 or 28000 (authentication), 3D000 (no such database), 08001 (the text is wrong).
 */
MUST_USE enum status connection_open(const char *conninfo, const char *application, enum connection_use use,
	struct connection **connection, struct error *err);
void connection_close(struct connection *connection); /* NULL is allowed */
void connection_close_pointer(struct connection **connection); /* for CLEANUP */

/* False once a call found it broken. */
bool connection_usable(const struct connection *connection);

/* The socket, for poll(); -1 when broken. */
int connection_socket(const struct connection *connection);

/* A value of a statement. Text: `bytes` is NUL-terminated and `length` is ignored. */
struct parameter {
	Oid type; /* 0: the server decides */
	const char *bytes; /* NULL: null */
	int length;
	bool binary;
};

/*
 * Runs one embedded statement, prepared at its first use in this connection; a transaction of its own
 * unless one is open. Status by SQLSTATE: 40001, 40P01, 55P03, 57P0x, 08xxx, 25006, 53xxx → E_RETRY (still
 * usable unless connection_usable says no); 21xxx, 22xxx, 23xxx, 54xxx → E_INVALID; 55000, 23505 → E_CONFLICT; P0002 → E_MISSING; others → E_FATAL.
 * `binary`: format of the rows. `result` belongs to the caller (PQclear); NULL on error.
 */
MUST_USE enum status connection_run(struct connection *connection, const struct embedded_file *statement,
	const struct parameter *parameters, int count, bool binary, int timeout_ms, PGresult **result, struct error *err);

/* Runs a whole text of several statements (migrations, functions); a transaction unless it says otherwise. */
MUST_USE enum status connection_script(struct connection *connection, const char *text, int timeout_ms, struct error *err);

/* LISTEN once; connection_notified takes what has arrived and says whether anything had. Never blocks. */
MUST_USE enum status connection_listen(struct connection *connection, const char *channel, struct error *err);
bool connection_notified(struct connection *connection);

/* Server process id, for logs and tests. */
int connection_backend(const struct connection *connection);

/* The embedded file of that base name; aborts when there is none (a bug). */
const struct embedded_file *embedded_find(const struct embedded_file *list, size_t count, const char *name);

void result_clear(PGresult **result); /* for CLEANUP */
