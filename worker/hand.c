#include "worker/hand.h"

#include <stdlib.h>
#include <utlist.h>

#include "common/memory.h"

struct partition *partition_new(int32_t number)
{
	struct partition *partition = xcalloc(1, sizeof *partition);
	partition->number = number;
	partition->watermark = watermark_new();
	partition->end = partition->committed = partition->asked = -1;
	return partition;
}

static void free_if_unused(struct partition *partition)
{
	if (!partition->let_go || partition->holds > 0)
		return;
	watermark_free(partition->watermark);
	free(partition);
}

void partition_let_go(struct partition *partition)
{
	if (!partition)
		return;
	partition->revoked = true;
	partition->let_go = true;
	free_if_unused(partition);
}

bool partition_is_full(const struct partition *partition, int64_t most)
{
	return partition->end - partition->committed >= most;
}

int64_t partition_due(const struct partition *partition)
{
	int64_t offset = watermark_commit(partition->watermark);
	return offset > partition->asked ? offset : -1;
}

static void take_hold(struct hold *hold, struct partition *partition, int64_t offset)
{
	hold->partition = partition;
	hold->offset = offset;
	watermark_begin(partition->watermark, offset);
	if (partition->end < 0)
		partition->committed = offset;
	partition->end = offset + 1;
	partition->holds++;
}

static void release_hold(const struct hold *hold)
{
	hold->partition->holds--;
	free_if_unused(hold->partition);
}

bool hand_enter(struct hand *hand, struct kser_task *task, struct partition *partition, int64_t offset)
{
	struct kser_task *same = NULL;
	if (task->keyed)
		HASH_FIND(hh, hand->by_key, &task->key, sizeof task->key, same);
	if (same) {
		struct hold *hold = xcalloc(1, sizeof *hold);
		take_hold(hold, partition, offset);
		LL_PREPEND(same->hold.next, hold);
		task_free(task);
		return false;
	}
	take_hold(&task->hold, partition, offset);
	if (task->keyed)
		HASH_ADD(hh, hand->by_key, key, sizeof task->key, task);
	DL_APPEND2(hand->tasks, task, hand_previous, hand_next);
	hand->count++;
	hand->bytes += task->message.text.length;
	return true;
}

static void leave(struct hand *hand, struct kser_task *task)
{
	if (task->keyed)
		HASH_DEL(hand->by_key, task);
	DL_DELETE2(hand->tasks, task, hand_previous, hand_next);
	hand->count--;
	hand->bytes -= task->message.text.length;
	task_free(task);
}

size_t hand_finish(struct hand *hand, struct kser_task *task)
{
	size_t records = 0;
	for (const struct hold *hold = &task->hold; hold; hold = hold->next) {
		watermark_finish(hold->partition->watermark, hold->offset);
		release_hold(hold);
		records++;
	}
	leave(hand, task);
	return records;
}

void hand_drop(struct hand *hand, struct kser_task *task)
{
	for (const struct hold *hold = &task->hold; hold; hold = hold->next)
		release_hold(hold);
	leave(hand, task);
}

bool hand_is_orphan(const struct kser_task *task)
{
	for (const struct hold *hold = &task->hold; hold; hold = hold->next)
		if (!hold->partition->revoked)
			return false;
	return true;
}
