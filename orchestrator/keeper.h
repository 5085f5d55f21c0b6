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
 * Whether a queue in which more tasks wait than there are places is left for a moment, so that the next admission is of many: while `free` is less than a sixteenth of `window`
 * and the last admission is less than 20 ms ago (`since_ms`). Decides by numbers only; any thread.
 */
bool keeper_gathers(int free, int window, int64_t since_ms);
