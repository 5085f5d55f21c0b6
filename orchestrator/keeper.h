#pragma once

/*
 * The keeper: one thread in each orchestrator. It gives the signs of life, admits waiting tasks into the places
 * that its lanes made free, and, while this instance has the keeper's role (one at a time, a row with
 * a lease), fills the windows, ends what is overdue, and tells the workers what is to be stopped. Every job of it is safe to run
 * twice. It never waits for a broker: the rounds do.
 */

#include "orchestrator/cell.h"

struct keeper; /* opaque */

/* Connects, joins, and creates the topics that are missing: on E_OK lanes may be opened. E_RETRY: stopping. */
MUST_USE enum status keeper_open(struct cell *cell, struct keeper **keeper, struct error *err);

/* The thread's function: runs until the cell stops, then leaves. `keeper` stays the caller's. */
void *keeper_run(void *keeper);

void keeper_free(struct keeper *keeper);

/*
 * Whether the next admission may wait when more tasks wait than there are places: of a window of `window` places less than a sixteenth,
 * `free`, has become free in the `since_ms` since the last one, and these are less than 20. An admission of a hundred costs the server a quarter less for each
 * task than one of forty. A number only; any thread.
 */
bool keeper_gathers(int free, int window, int64_t since_ms);
