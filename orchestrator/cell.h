#pragma once

/*
 * What the threads of one orchestrator share: settings, the queues and their placements, what the
 * last beat told, and the wish to stop. A cell is one database with its topics.
 *
 * The fields are the cell's own; everything goes through the functions, which any thread may call.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <uuid/uuid.h>

#include "common/kafka.h"
#include "common/message.h"
#include "common/sealing.h"
#include "common/slice.h"
#include "orchestrator/measures.h"
#include "orchestrator/settings.h"
#include "sql/connection.h"

#define QUEUES_MAX 1000
#define CELL_THREADS_MAX 68 /* the lanes, retention, tracing, the rounds and the keeper */

struct cell; /* opaque */

/* Borrows both; `sealing` may be NULL. */
struct cell *cell_new(const struct settings *settings, const struct sealing *sealing);
void cell_free(struct cell *cell);

const struct settings *cell_settings(const struct cell *cell);
const struct topics *cell_topics(const struct cell *cell);
const struct sealing *cell_sealing(const struct cell *cell);
const struct measures *cell_measures(const struct cell *cell); /* of the process; off: without series */

/* Whether dispatches name the root span of their operation. */
enum dispatch_trace cell_trace(const struct cell *cell);

/* --- Stopping. Also wakes whoever waits on cell_wake_fd. Safe in a signal's thread, not in a signal handler. */
void cell_stop(struct cell *cell);
bool cell_stopping(const struct cell *cell);

/* Stops because a thread cannot go on: the process ends with failure. */
void cell_fail(struct cell *cell);
bool cell_failed(const struct cell *cell);

/* What is left of the drain limit, counted from the stop; all that leaving waits for shares it. */
int cell_drain_left_ms(const struct cell *cell);

/* Waits up to `wait_ms`, or until the cell is stopping; false when it is. For back-off. */
bool cell_pause(struct cell *cell, int64_t wait_ms);

/*
 * Opens a connection for the engine, checks the schema and whether it is still the same server; waits with back-off while the database is
 * away and says so once. E_RETRY only when the cell is stopping; others as schema_check and connection_open.
 */
MUST_USE enum status cell_connect(struct cell *cell, const char *who, struct connection **connection, struct error *err);

/*
 * --- Queues, by a small number that never changes. One that is new to this process (another one dispatched its first
 * tasks) is added with partition 0 alone, and the keeper learns how many there are. -1: there are QUEUES_MAX already.
 * Only names that came from the database are added; what a record claims is only looked up (-1: not known).
 */
int cell_known_queue(struct cell *cell, struct slice name);
int cell_queue(struct cell *cell, struct slice name);
int cell_queue_count(struct cell *cell);
const char *cell_queue_name(struct cell *cell, int queue);

/* How many partitions the queue's topic has; 0: not learned yet. */
int32_t cell_partitions(struct cell *cell, int queue);
void cell_set_partitions(struct cell *cell, int queue, int32_t partitions);

/*
 * What is known of a queue's partitions: all others are taken before those whose workers are full (the list replaces the one
 * before), and these before those without a leader (`led`: one for each of the `count` partitions).
 */
void cell_set_full(struct cell *cell, int queue, const int32_t *partitions, int32_t count);
void cell_set_led(struct cell *cell, int queue, const bool *led, int32_t count);

/* The placement of one queue, locked. For -1 the target is partition 0 and nothing is counted. */
void cell_choose(struct cell *cell, int queue, int32_t *targets, int32_t count);
void cell_sent(struct cell *cell, int queue, int32_t partition);
void cell_answered(struct cell *cell, int queue, int32_t partition);

/* --- Places that became free in a queue's window. Adding wakes the keeper; taking leaves none. */
void cell_add_free(struct cell *cell, int queue, int places);
int cell_take_free(struct cell *cell, int queue);
int cell_wake_fd(const struct cell *cell);
void cell_drain_wake(struct cell *cell);

/* --- The beat. */
struct beat {
	int64_t sent_ms;    /* monotonic, when the last good one was sent */
	int64_t epoch;      /* last seen */
	int64_t generation;
	bool role;          /* the keeper's */
	bool in_flight;     /* with the role: something is dispatched or claimed, so that rounds are needed */
};
void cell_set_beat(struct cell *cell, struct beat beat);
int64_t cell_epoch(const struct cell *cell);
int64_t cell_generation(const struct cell *cell);

/* Whether the last good beat is recent enough to hand dispatches to the broker. */
bool cell_may_dispatch(const struct cell *cell);

/* The number of this term as keeper, from 1; 0: without the role. */
uint32_t cell_term(const struct cell *cell);

/* Whether rounds are to be made: the role, something in flight, and a recent beat. */
bool cell_wants_rounds(const struct cell *cell);

/* Readable when there may be something new for the rounds: a queue, the role, the stop. */
int cell_rounds_fd(const struct cell *cell);
void cell_drain_rounds(struct cell *cell);

/*
 * --- Lives. One ends when the others have removed this instance: what it had not handed over must not be sent any more.
 * Each thread with a producer drops that and says so; only then may the instance register anew. Ending one stops all
 * dispatching until the next good beat.
 */
uint32_t cell_life(const struct cell *cell);
void cell_end_life(struct cell *cell);
void cell_set_life(struct cell *cell, int thread, uint32_t life); /* the thread has nothing left of an earlier one */
bool cell_life_begun(const struct cell *cell);                    /* all of them have */

/*
 * --- Further lanes wait until a busy one asks for another; one of them then begins, at most one in ten seconds: the one before must have taken its share.
 * False: the cell is stopping.
 */
void cell_ask_for_lane(struct cell *cell);
bool cell_wait_for_lane(struct cell *cell);

/* The floor of thread `thread` (0 …): no dispatch of its that is or will be unacknowledged has a smaller epoch. */
void cell_set_floor(struct cell *cell, int thread, int64_t floor);
int64_t cell_floor(const struct cell *cell);
