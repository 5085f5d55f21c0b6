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
#include "common/sealing.h"
#include "common/task_name.h"
#include "worker/outgoing.h"

struct entrypoint;
struct entrypoints;
struct made;
struct partition;

/* A record that waits for the task's answer: its own, and repeats of it that came meanwhile. */
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

/* What has been told of a task in hand, and is to be. Those of each standing are in a list of their own. */
enum standing {
	STANDING_OPEN, /* nothing: only its record's offset keeps it from being run elsewhere */
	CLAIM_ASKED,   /* the next claim is to name it */
	CLAIM_SENT,    /* a claim that names it is not acknowledged yet */
	CLAIMED,       /* its records are finished, heartbeats name it */
	RELEASE_ASKED, /* it will not be run here: the next release is to name it */
	RELEASE_SENT,
	STANDINGS,
};

/* Why a task is released. */
enum release_reason { RELEASE_UNSTARTED, RELEASE_BUSY, RELEASE_STOPPED };

struct kser_task {
	struct outgoing reply; /* the first member; of the thread that sends */

	/* I/O thread */
	struct hold hold; /* without a partition: all its records are finished */
	UT_hash_handle hh; /* of the tasks in hand, by key */
	struct kser_task *hand_next, *hand_previous; /* in the list of its standing */
	enum standing standing;
	enum release_reason reason;
	uint64_t named_in;   /* the number of the claim or release that names it */
	int64_t entered_ms;  /* when it came into hand, monotonic */
	struct kser_task *gate_next, *gate_previous;
	bool gated;          /* waits at the gate */
	bool careful;        /* not to be started before its claim is acknowledged */
	int32_t gate_number; /* the partition that it came from */
	int64_t ready_ms;    /* since when it waits at the gate only to be alone, monotonic; 0 = it does not */
	void *record;      /* what the bytes are borrowed from, unless they were opened; freed by `release` */
	void (*release)(void *record);

	/* set before it is handed out */
	struct buffer opened; /* the text of a sealed record */
	struct message message;

	/* the thread that runs it; the I/O thread looks */
	atomic_int_least64_t started_ms; /* monotonic; 0 = not yet */
	atomic_bool answered;            /* its reply, or release, is on its way */

	/* the thread that runs it */
	int64_t due_ms;     /* when the reply is to be sent, monotonic; 0 = at once */
	const struct entrypoint *entrypoint; /* that runs it; NULL: none yet, or there is none of its name */
	struct json_object *params;
	struct json_object *previous_object;
	struct task_text *texts;
	struct task_trace *trace;      /* while its spans are made; else NULL */
	struct buffer own_params; /* what message.params points to once a parameter was set */

	const struct entrypoints *entrypoints; /* what it runs among; NULL in tests */
	struct made *made;       /* of a task that code made; else NULL */
	struct kser_task *inner; /* the one that runs within it now; guarded by what guards stop_fd */

	/* any thread */
	atomic_bool cancelled; /* what it returns does not count, it is released */
	int stop_fd;           /* an eventfd written by task_cancel, while a command runs; else -1 */

	struct task_key key;
	bool keyed; /* false for a record that no orchestrator sent */
};

/*
 * Reads a record. `record` is what `bytes` live in: the task takes it over, `release` (may be NULL) ends it. `sealing`: how records travel.
 * Never NULL: when the record is unusable, *status is E_INVALID, `err` says why, and the task stands for a record to be reported as dead,
 * its message's text the bytes as they came.
 */
MUST_USE struct kser_task *task_new(const struct sealing *sealing, struct slice bytes, void *record, void (*release)(void *record),
	enum status *status, struct error *err);

/* Frees it with its repeats' holds and its record. */
void task_free(struct kser_task *task);

/* Frees the holds of its repeats, which hold nothing any more. */
void task_free_repeats(struct kser_task *task);

/* The attempt's name. Only of a keyed task. */
void task_name_of(const struct kser_task *task, struct task_name *name);

/* Whether it is to be ended when the worker's heartbeats are not acknowledged. */
bool task_stops_on_silence(const struct kser_task *task);

/* Its entrypoint is to end, as kser_task_cancelled tells it, and the command that it waits for. */
void task_cancel(struct kser_task *task);

/* `inner` (NULL: nothing more) runs within it: task_cancel tells it too, also when it was called before. */
void task_set_inner(struct kser_task *task, struct kser_task *inner);

/* From now on task_cancel writes to `fd` (-1: no more), also when it was called before. */
void task_set_stop_fd(struct kser_task *task, int fd);

/* Frees what the entrypoint asked for; the thread that ran it calls it, as json-c objects stay in their thread. */
void task_forget(struct kser_task *task);

struct time_left {
	int64_t ms;          /* at least 0; -1 = no limit */
	bool until_deadline; /* what comes first is the operation's deadline */
};

/* Until the first of `limit_ms` (0 = none), the attempt's limit and the deadline is reached. */
struct time_left task_time_left(const struct kser_task *task, int64_t limit_ms);

/* The value of a parameter; false when there is none. */
bool task_parameter(const struct kser_task *task, const char *name, struct json_value *value);

/* The resolved text of a JSON string of the message; lives until task_forget. */
const char *task_text(struct kser_task *task, struct json_value string);
