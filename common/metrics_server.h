#pragma once

/*
 * Serves a registry by HTTP: /metrics, and /healthz with 200 or 503. One thread of its own that only reads; it answers one request for each
 * connection. Whatever comes in, a connection is gone after five seconds, there are 32 at most, and a request of more than a few kB
 * is refused; what comes beyond waits in the socket's backlog.
 */

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "common/metrics.h"

struct metrics_server; /* opaque */

struct metrics_server_setup {
	const char *address; /* a number or a name of this host */
	int64_t port;        /* 0: one that is free */
	struct metrics *metrics;
	bool (*healthy)(void *context); /* called by the server's thread */
	void *context;
	int64_t visit_ms; /* for a connection; 0: five seconds */
};

/* Listens, and tells in the log where. E_INVALID: there is no such address; E_FATAL: it cannot be listened on. */
MUST_USE enum status metrics_server_start(const struct metrics_server_setup *setup, struct metrics_server **server, struct error *err);

/* The port that it listens on. */
int metrics_server_port(const struct metrics_server *server);

/* Ends the thread and all connections. NULL is allowed. */
void metrics_server_stop(struct metrics_server *server);
