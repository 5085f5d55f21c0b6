#pragma once

/*
 * The rounds: one thread in each orchestrator, for all that has to wait for brokers without holding up the signs of life. It makes
 * topics and learns about partitions; and while this instance has the keeper's role and something is in flight, it finds every
 * second and a half what was lost.
 *
 * A round: the epoch is raised; the ends of all task partitions are noted with it (a sample); what the workers' groups have
 * committed is compared with earlier samples (a look); the ends of the results are noted, and when all orchestrators are past
 * them, every answer that the look has counted on is applied. What is then still running without an answer or a claim, in two
 * rounds, is lost, and a claim that was not renewed for its lease is dead. The rules themselves are in SQL.
 */

#include "orchestrator/cell.h"

struct rounds; /* opaque */

/* E_INVALID: the settings of Kafka are wrong. */
MUST_USE enum status rounds_open(struct cell *cell, struct rounds **rounds, struct error *err);

/* The thread's function: runs until the cell stops. `rounds` stays the caller's. */
void *rounds_run(void *rounds);

void rounds_free(struct rounds *rounds);
