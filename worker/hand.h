#pragma once

/*
 * The tasks in a worker's hands, from their record to the acknowledgement of their answer, and the
 * partitions whose records they hold. One thread.
 *
 * A record whose (operation, position, attempt, generation) is in hand already joins that task instead of
 * being run again: both records are finished by the one answer. Once a claim is acknowledged the task's
 * records are finished though it stays in hand; it belongs to no partition any more.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/watermark.h"
#include "worker/task.h"

/* A partition assigned to this worker, or one that was and whose tasks still run. */
struct partition {
	int32_t number;
	struct watermark *watermark;
	int64_t first;      /* the first record taken; -1: none yet */
	int64_t end;        /* one past the last record taken; -1: none yet */
	int64_t committed;  /* acknowledged by the broker, or where we began */
	int64_t asked;      /* the last commit sent */
	int64_t known_end;  /* the log's end when it was assigned; INT64_MAX: not known */
	size_t holds;       /* records of it in hand */
	size_t spares;      /* records of it that came and wait for room */
	bool revoked;       /* nothing of it may be started any more */
	bool let_go;        /* freed with the last hold */
	bool read;          /* a record of it has come since it was assigned */
	bool paused;
	bool was_full;      /* when it was paused */
};

struct partition *partition_new(int32_t number);

/* No longer ours, and no longer touched by the caller: freed when nothing of it is in hand. NULL is allowed. */
void partition_let_go(struct partition *partition);

/* Whether the next record would be more than `most` past the committed offset. */
bool partition_is_full(const struct partition *partition, int64_t most);

/* Whether another worker may have had this record in hand: it was there when the partition was assigned, and within `most` of our first one. */
bool partition_was_elsewhere(const struct partition *partition, int64_t offset, int64_t most);

/* The offset to commit now, or -1 when all that is finished has been asked for. */
int64_t partition_due(const struct partition *partition);

struct hand {
	struct kser_task *by_key;
	struct kser_task *lists[STANDINGS]; /* each in the order in which they came */
	size_t counts[STANDINGS];
	size_t count;    /* of all */
	size_t bytes;    /* of their records */
	size_t finished; /* records, so far */
	size_t passed;   /* of these, by a claim */
};

/* A record comes into hand with its task. False: it has joined another task and `task` was freed. */
bool hand_enter(struct hand *hand, struct kser_task *task, struct partition *partition, int64_t offset);

/* The task of that name, NULL when it is not in hand. */
struct kser_task *hand_find(const struct hand *hand, const struct task_name *name);

/* Puts it at the end of the list of another standing. */
void hand_move(struct hand *hand, struct kser_task *task, enum standing standing);

/* Its claim is acknowledged: its records are finished, it stays in hand. */
void hand_pass(struct hand *hand, struct kser_task *task);

/* The task is answered: its records are finished. Frees it; returns how many records that were. */
size_t hand_finish(struct hand *hand, struct kser_task *task);

/* The task leaves unfinished: its records will come again, to whoever has their partitions. Frees it. */
void hand_drop(struct hand *hand, struct kser_task *task);

/* Whether the task holds records, and every one of them is of a revoked partition. */
bool hand_is_orphan(const struct kser_task *task);

/* Whether one of its records keeps a partition back that may read no further than `most` ahead. */
bool hand_keeps_back(const struct kser_task *task, int64_t most);

/* Calls `visit` for each task; it may move or drop that one. */
void hand_visit(struct hand *hand, void (*visit)(struct kser_task *task, void *context), void *context);
