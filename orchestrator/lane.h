#pragma once

/*
 * A lane: one thread, one loop. It drains what has arrived on the topics of results and operations,
 * applies it in one transaction, and produces the dispatches that come back once that is committed.
 * It owns a consumer, a producer and a database connection; more lanes and more processes share the
 * partitions and nothing else.
 */

#include "orchestrator/cell.h"

struct lane; /* opaque */

/* Makes lane `number` (from 0). The topics must exist. E_FATAL: the settings of Kafka are wrong. */
MUST_USE enum status lane_open(struct cell *cell, int number, struct lane **lane, struct error *err);

/* The thread's function: runs until the cell stops, then finishes its batch, commits and leaves. `lane` stays the caller's. */
void *lane_run(void *lane);

void lane_free(struct lane *lane);

/*
 * The thread's function of a further lane: waits until it is needed, makes it, runs it as lane_run does and frees it. `place`: a struct
 * lane_place, which must outlive the thread.
 */
struct lane_place {
	struct cell *cell;
	int number;
};
void *lane_run_when_needed(void *place);
