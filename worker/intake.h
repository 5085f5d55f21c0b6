#pragma once

/*
 * The way in: takes records of the tasks topic as a member of the workers' group, hands tasks to the
 * queue, and commits offsets when their records are finished.
 *
 * Invariants: the committed offset never passes a record that is not finished; at most WORKER_AHEAD_MAX
 * offsets of a partition are taken past the committed one; what is in hand is bounded. Records of a
 * partition enter the queue in their order; those that another worker may have had only when their
 * claim is acknowledged. After an assignment was lost nothing of it is committed. All calls in one thread.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/metrics.h"
#include "common/settings.h"
#include "worker/claims.h"
#include "worker/gate.h"
#include "worker/hand.h"
#include "worker/queue.h"

struct intake; /* opaque */

struct intake_setup {
	const char *brokers;
	const struct properties *properties;
	const char *client_id;
	const char *group;
	const char *topic;
	const struct sealing *sealing; /* NULL: there is no key */
	int wake_fd;         /* an eventfd, not blocking: written when something has come */
	size_t in_hand_max;  /* tasks in hand at once, replies not yet acknowledged included */
	struct hand *hand;
	struct gate *gate;
	struct claims *claims;
	struct queue *queue; /* where tasks go */
	size_t queue_room;   /* as it was made */
	struct metric_series *lag; /* NULL: not measured */
	int64_t rejoin_ms;   /* without an assignment for so long it joins the group anew */
	/* The record cannot be used; a report is to be sent as the task's reply. */
	void (*unusable)(void *context, struct kser_task *task, const char *reason);
	/* Lets acknowledgements come in, and what is asked of `claims` go out, for at most `wait_ms`: called while a revocation waits for them. */
	void (*serve)(void *context, int wait_ms);
	void *context;
};

/* Joins the group. E_INVALID: the properties are wrong. The setup's texts and properties must outlive it. */
MUST_USE enum status intake_open(const struct intake_setup *setup, struct intake **intake, struct error *err);

/* Takes what has arrived, as far as there is room. E_FATAL: the consumer cannot go on. */
MUST_USE enum status intake_take(struct intake *intake, struct error *err);

/* Commits when it is time, pauses partitions that have no room for long and resumes them. */
void intake_keep_up(struct intake *intake);

/* When intake_keep_up wants to be called next, monotonic; INT64_MAX: only after something has happened. */
int64_t intake_next_ms(const struct intake *intake);

/* Whether it waits for acknowledgements, so that each is to be served at once. */
bool intake_is_waiting(const struct intake *intake);

/* Whether some partition may be read no further before something of it is finished. */
bool intake_is_full(const struct intake *intake);

/* The partitions that are assigned, into `numbers` (PARTITIONS_MAX); how many. */
size_t intake_partitions(const struct intake *intake, int32_t *numbers);

/* Takes nothing more. */
void intake_stop(struct intake *intake);

/*
 * Commits what is finished, leaves the group and closes, within about `timeout_ms`. `forget_tasks`:
 * nobody uses the tasks left in hand any more, they are freed. NULL is allowed.
 */
void intake_close(struct intake *intake, int timeout_ms, bool forget_tasks);
