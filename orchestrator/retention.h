#pragma once

/*
 * Deletes operations that ended longer ago than the setting `retention`, in the process with the keeper's role. A thread and a connection of its own,
 * so that admission never waits for it; batches of one short transaction each, with pauses between them that bound what it takes of the server.
 * Which operations, and that nobody is waited for, is in SQL (kser.purge).
 *
 * A pass goes over the operations in the order of their ids, each batch where the last one ended. Every few seconds one begins shortly before the age at
 * which they are deleted, and finds what ended soon after it was submitted. At the start of a term, and every hour, one begins at the oldest, and finds what lived long; it
 * also deletes history without an operation, workers and entrypoints that nobody has heard of.
 */

#include "orchestrator/cell.h"

#define RETENTION_MS_MIN 3600000

struct retention; /* opaque */

/* Starts the thread; *retention is NULL when the settings say that nothing is deleted. E_FATAL: it cannot be started. */
MUST_USE enum status retention_open(struct cell *cell, struct retention **retention, struct error *err);

/* When the cell is stopping: waits for the batch under way. NULL is allowed. */
void retention_close(struct retention *retention);
