#pragma once

/*
 * Takes tasks back: those that were not started are released, or dropped; those that run are told to
 * end, and release themselves when they have. One thread.
 */

#include <stdint.h>

#include "worker/gate.h"
#include "worker/hand.h"
#include "worker/later.h"
#include "worker/queue.h"
#include "worker/release.h"

struct recall {
	struct hand *hand;
	struct gate *gate;
	struct queue *queue;
	struct later *later;
	struct releases *releases;
};

/* The attempt is not to run (any more). One that is not in hand is none of ours. */
void recall_stop(const struct recall *recall, const struct task_name *name);

/* Tasks of another generation that were not started are finished without a word; how many. */
size_t recall_generation(const struct recall *recall, int64_t generation);

/* Hands back up to `most` tasks that wait since `since_ms` or before, monotonic, those that would start last; how many. */
size_t recall_waiting(const struct recall *recall, size_t most, int64_t since_ms);

/* Hands back the tasks that were to run alone but had to wait since `since_ms` or before, monotonic. */
void recall_busy(const struct recall *recall, int64_t since_ms);

/* Nobody has heard of this worker for too long: ends or hands back the tasks that are to end then; how many. */
size_t recall_silent(const struct recall *recall);

/* Leaving: hands back all that was not started; what has no name is dropped. */
void recall_not_started(const struct recall *recall);

/* Tells all that runs to end. */
void recall_running(const struct recall *recall);
