#pragma once

/*
 * A task in the worker's hands, from its record to the acknowledgement of its reply.
 *
 * The I/O thread makes and frees it. In between it belongs to one slot thread while its entrypoint
 * runs, up to the moment when its reply is handed to the producer; what only the I/O thread may
 * touch at any time is marked so.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <uthash.h>

#include "common/buffer.h"
#include "common/error.h"
#include "common/message.h"

struct partition;

/* A record that waits for the task's reply: its own, and repeats of it that came meanwhile. */
struct hold {
	struct partition *partition;
	int64_t offset;
	struct hold *next;
};

/* One attempt of one task; compared as bytes, hence without gaps. */
struct task_key {
	uuid_t operation;
	int32_t position;
	int32_t attempt;
	int64_t generation;
};
_Static_assert(sizeof(struct task_key) == 32, "no gaps");

struct kser_task {
	/* I/O thread */
	struct hold hold;
	UT_hash_handle hh; /* of the tasks in hand, by key */
	struct kser_task *hand_next, *hand_previous;
	bool refused; /* the broker would not have its reply as it was */
	void *record;      /* what the bytes are borrowed from; freed by `release` */
	void (*release)(void *record);

	/* set before it is handed out */
	struct message message;

	/* the thread that runs it */
	int64_t started_ms; /* monotonic */
	int64_t due_ms;     /* when the reply is to be sent, monotonic; 0 = at once */
	struct buffer reply; /* only while it waits to be sent or sent again */
	struct kser_task *next; /* in a list of those that wait */
	struct json_object *params;
	struct json_object *previous_object;
	struct task_text *texts;

	atomic_bool cancelled;

	struct task_key key;
	bool keyed; /* false for a record that no orchestrator sent */
};

/*
 * Reads a record. `record` is what `bytes` live in: the task takes it over, `release` (may be NULL) ends it.
 * Never NULL: when the record is unusable, *status is E_INVALID, `err` says why, and the task stands for a record to be reported as dead.
 */
MUST_USE struct kser_task *task_new(struct slice bytes, void *record, void (*release)(void *record), enum status *status, struct error *err);

/* Frees it with its repeats' holds and its record. */
void task_free(struct kser_task *task);

/* Frees what the entrypoint asked for; the thread that ran it calls it, as json-c objects stay in their thread. */
void task_forget(struct kser_task *task);

/* Milliseconds until the smaller of `limit_ms` (0 = none), the attempt's limit and the deadline is reached, at least 0; -1 when there is none. */
int64_t task_left_ms(const struct kser_task *task, int64_t limit_ms);

/* The value of a parameter; false when there is none. */
bool task_parameter(const struct kser_task *task, const char *name, struct json_value *value);

/* The resolved text of a JSON string of the message; lives until task_forget. */
const char *task_text(struct kser_task *task, struct json_value string);
