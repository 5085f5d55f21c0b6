#pragma once

/*
 * The bounded queue between the thread that takes records and the threads that run them. First in,
 * first out. Besides its room it bounds how many entries are active: taken and not yet done, which
 * outlives the call of the thread that took them (a task that merely waits for a timer holds none). One
 * entry at a time may ask to be active alone.
 *
 * One thread puts; any number take. Entries belong to whoever holds them; the queue never looks inside.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/attributes.h"

struct queue; /* opaque */

/* `low` is called when queue_watch or queue_hold asked for it, by another thread than the one that puts, without a lock held. */
MUST_USE struct queue *queue_new(size_t room, size_t active_max, void (*low)(void *context), void *context);
void queue_free(struct queue *queue); /* NULL is allowed; nobody may use it any more */

/* Adds `count` entries, which must fit (queue_room), and wakes a taker. */
void queue_put(struct queue *queue, void *const *entries, size_t count);
size_t queue_room(struct queue *queue);

/*
 * While it is held nothing is taken. Returns whether nothing is active either; where it is held and something is, `low` is called
 * when that has ended.
 */
bool queue_hold(struct queue *queue, bool held);

/*
 * Adds an entry before all others, to be active with nothing beside it: nothing is taken until it is done or removed. It
 * must fit, and there must not be another one.
 */
void queue_put_alone(struct queue *queue, void *entry);

/* The next entry, now active; waits while there is none or too many are active. NULL: closed. */
void *queue_take(struct queue *queue);

/* An entry taken is no longer active. Any thread. */
void queue_done(struct queue *queue);

/* Takes out all waiting entries that `matches`, in order, into `removed`, which has room for all; returns how many. */
size_t queue_remove(struct queue *queue, bool (*matches)(void *entry, void *context), void *context, void **removed);

/* Calls `low` once when at most `level` entries wait. False, and no call, when that is so already. */
bool queue_watch(struct queue *queue, size_t level);

/* Nothing more is taken: takers return NULL. */
void queue_close(struct queue *queue);

struct queue_state {
	size_t waiting;
	size_t active;
	size_t idle;    /* threads that wait in queue_take */
	bool alone;     /* an entry is, or waits to be, active alone; or it is held */
	uint64_t taken; /* in all */
};
struct queue_state queue_state(struct queue *queue);
