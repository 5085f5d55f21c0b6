#pragma once

/*
 * Tasks whose reply is ready and waits for its time: a task that sleeps holds a place in this heap,
 * not a thread. Any thread adds, one takes. One that is cancelled is due at once.
 */

#include <stdint.h>

#include "common/attributes.h"

struct kser_task;
struct later; /* opaque */

/* `earlier` is called, by the adding thread, when a task is due before all others. */
MUST_USE struct later *later_new(void (*earlier)(void *context), void *context);
void later_free(struct later *later); /* NULL is allowed; the tasks are not freed */

/* By task->due_ms, monotonic. */
void later_add(struct later *later, struct kser_task *task);

/* The task was cancelled: if it is here, it is due now. */
void later_hurry(struct later *later, struct kser_task *task);

/* A task that is due, or NULL. */
struct kser_task *later_take(struct later *later, int64_t now_ms);

/* When the next one is due; INT64_MAX: there is none. */
int64_t later_next_ms(struct later *later);
