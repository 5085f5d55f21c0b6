#pragma once

/*
 * The way in: takes records of the tasks topic as a member of the workers' group, hands tasks to the
 * queue, and commits offsets when replies are acknowledged.
 *
 * Invariants: the committed offset never passes a record whose reply is not acknowledged; at most
 * WORKER_AHEAD_MAX offsets of a partition are taken past the committed one; what is in hand is
 * bounded. Records of a partition enter the queue in their order. All calls in one thread.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/settings.h"
#include "worker/queue.h"

struct kser_task;
struct intake; /* opaque */

struct intake_setup {
	const char *brokers;
	const struct properties *properties;
	const char *client_id;
	const char *group;
	const char *topic;
	int wake_fd;         /* an eventfd, not blocking: written when something has come */
	size_t in_hand_max;  /* tasks in hand at once, replies not yet acknowledged included */
	struct queue *queue; /* where tasks go */
	size_t queue_room;   /* as it was made */
	/* The record cannot be used; a report is to be sent as the task's reply. */
	void (*unusable)(void *context, struct kser_task *task, const char *reason);
	/* Lets acknowledgements come in (intake_acknowledged) for at most `wait_ms`: called while a revocation waits for them. */
	void (*serve)(void *context, int wait_ms);
	void *context;
};

/* Joins the group. E_INVALID: the properties are wrong. The setup's texts and properties must outlive it. */
MUST_USE enum status intake_open(const struct intake_setup *setup, struct intake **intake, struct error *err);

/* Takes what has arrived, as far as there is room. E_FATAL: the consumer cannot go on. */
MUST_USE enum status intake_take(struct intake *intake, struct error *err);

/* The task's reply is acknowledged. Frees the task. */
void intake_acknowledged(struct intake *intake, struct kser_task *task);

/* Commits when it is time, pauses partitions that have no room for long and resumes them. */
void intake_keep_up(struct intake *intake);

/* When intake_keep_up wants to be called next, monotonic; INT64_MAX: only after something has happened. */
int64_t intake_next_ms(const struct intake *intake);

/* Whether it waits for acknowledgements, so that each is to be served at once. */
bool intake_is_waiting(const struct intake *intake);

size_t intake_in_hand(const struct intake *intake);

/* Takes nothing more and drops what has not been started. */
void intake_stop(struct intake *intake);

/* Calls `visit` for each task in hand. */
void intake_visit(struct intake *intake, void (*visit)(struct kser_task *task));

/*
 * Commits what is finished, leaves the group and closes, within about `timeout_ms`. `forget`: nobody uses
 * the tasks left in hand any more, they are freed. NULL is allowed.
 */
void intake_close(struct intake *intake, int timeout_ms, bool forget);
