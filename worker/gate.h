#pragma once

/*
 * Tasks that may not enter the queue yet: until their claim is acknowledged, until another task that is to
 * run alone is done, or because one of their partition waits here before them. One thread.
 *
 * A task to run alone is one of those that may have killed their workers, and the next worker that it loses under
 * claim ends it. So it must not be claimed while anything else could kill this worker: first its turn comes, then
 * nothing else runs, then it is claimed, then it passes.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/limits.h"
#include "worker/task.h"

struct gate {
	struct kser_task *tasks; /* in the order in which they came */
	size_t count;
	size_t counts[PARTITIONS_MAX]; /* by partition */
	struct kser_task *alone;  /* whose turn it is to run with nothing beside it: waits here for its claim, or has passed */
	int64_t alone_ms;         /* since when it waits to be alone, monotonic */
};

/* Whether a task has to wait here: it is careful, or one of its partition waits. */
bool gate_stops(const struct gate *gate, const struct kser_task *task, int32_t partition);

void gate_put(struct gate *gate, struct kser_task *task, int32_t partition);

/* The next task that may go on, or NULL; it is out of the gate. Call it until there is none. */
struct kser_task *gate_take(struct gate *gate, int64_t now_ms);

/* The task whose turn it is to run alone and that waits here for its claim, or NULL. */
struct kser_task *gate_next_alone(const struct gate *gate);

/* The task is not to be run here any more, or has ended: it is out of the gate, and alone no more. */
void gate_forget(struct gate *gate, struct kser_task *task);

/* A task that has waited here for another one that runs alone since `since_ms` or before; NULL: there is none. */
struct kser_task *gate_find_kept_out(const struct gate *gate, int64_t since_ms);

/* Whether it is to run with nothing beside it. */
bool task_is_alone(const struct kser_task *task);
