#pragma once

/* What several commands do with operations. One thread. */

#include "cli/session.h"

extern const struct column operation_columns[];
extern const size_t operation_column_count;

/*
 * Waits until all operations of `ids` (the text of a uuid[]) have ended, but not longer than `timeout_ms` (0: no limit), and reads
 * them into `rows` (caller's). EXIT_OK: all are SUCCESS; EXIT_FAILED or EXIT_TIMED_OUT by the worst of them; else it has said why on
 * stderr. `rows` is NULL when they could not be read: also with EXIT_TIMED_OUT, when the database is away at the end of the time.
 * A lost connection is opened again.
 */
MUST_USE enum exit_code operations_wait(const struct invocation *invocation, struct connection **connection, const char *ids, int64_t timeout_ms,
	PGresult **rows);

/* E_INVALID, which names those there are: `status` (NULL: none given) is not one that an operation can have. */
MUST_USE enum status operations_check_status(const char *status, struct error *err);

/* A pause between two looks: none at first (*pause_ms is 0), then longer and longer, so that a long wait costs the database little. */
void operations_pause(int64_t *pause_ms);
