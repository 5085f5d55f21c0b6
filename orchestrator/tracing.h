#pragma once

/*
 * Exports the root span of each operation that has ended. The database notes them, however they ended and whoever ended
 * them, while somebody takes them; this thread does so twice a second, on a connection of its own. A process that dies
 * between taking and exporting loses those few.
 */

#include "common/otlp.h"
#include "orchestrator/cell.h"

struct tracing; /* opaque */

/* Starts the thread; *tracing is NULL when the settings name no receiver. E_INVALID, E_FATAL: as otlp_open. */
MUST_USE enum status tracing_open(struct cell *cell, struct tracing **tracing, struct error *err);

/* When the cell is stopping and the other threads have ended: takes what they ended, exports it within two seconds. NULL is allowed. */
void tracing_close(struct tracing *tracing);
