#pragma once

/*
 * The tasks in a worker's hands, from their record to the acknowledgement of their reply, and the
 * partitions whose records they hold. One thread.
 *
 * A record whose (uuid, attempt) is in hand already joins that task instead of being run again: both
 * records are finished when the one reply is acknowledged.
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
	int64_t end;        /* one past the last record taken; -1: none yet */
	int64_t committed;  /* acknowledged by the broker, or where we began */
	int64_t asked;      /* the last commit sent */
	size_t holds;       /* records of it in hand */
	bool revoked;       /* nothing of it may be started any more */
	bool let_go;        /* freed with the last hold */
	bool paused;
};

struct partition *partition_new(int32_t number);

/* No longer ours, and no longer touched by the caller: freed when nothing of it is in hand. NULL is allowed. */
void partition_let_go(struct partition *partition);

/* Whether the next record would be more than `most` past the committed offset. */
bool partition_is_full(const struct partition *partition, int64_t most);

/* The offset to commit now, or -1 when all that is finished has been asked for. */
int64_t partition_due(const struct partition *partition);

struct hand {
	struct kser_task *by_key;
	struct kser_task *tasks;
	size_t count;
	size_t bytes; /* of their records */
};

/* A record comes into hand with its task. False: it has joined another task and `task` was freed. */
bool hand_enter(struct hand *hand, struct kser_task *task, struct partition *partition, int64_t offset);

/* The task's reply is acknowledged: its records are finished. Frees it; returns how many records that were. */
size_t hand_finish(struct hand *hand, struct kser_task *task);

/* The task leaves unfinished: its records will come again, to whoever has their partitions. Frees it. */
void hand_drop(struct hand *hand, struct kser_task *task);

/* Whether every record of the task is of a revoked partition. */
bool hand_is_orphan(const struct kser_task *task);
