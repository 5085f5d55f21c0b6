#include "worker/hand.h"

#include <assert.h>
#include <stdlib.h>
#include <utlist.h>

#include "common/memory.h"

/* ---- partitions ---- */

struct partition *partition_new(int32_t number)
{
	struct partition *partition = xcalloc(1, sizeof *partition);
	partition->number = number;
	partition->watermark = watermark_new();
	partition->first = partition->end = partition->committed = partition->asked = -1;
	partition->known_end = INT64_MAX;
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

bool partition_was_elsewhere(const struct partition *partition, int64_t offset, int64_t most)
{
	return offset < partition->known_end && offset - partition->first < most;
}

int64_t partition_due(const struct partition *partition)
{
	int64_t offset = watermark_commit(partition->watermark);
	return offset > partition->asked ? offset : -1;
}

/* ---- holds ---- */

static void take_hold(struct hold *hold, struct partition *partition, int64_t offset)
{
	hold->partition = partition;
	hold->offset = offset;
	watermark_begin(partition->watermark, offset);
	if (partition->end < 0)
		partition->committed = partition->first = offset;
	partition->end = offset + 1;
	partition->holds++;
}

static void release_hold(struct hold *hold)
{
	struct partition *partition = TAKE(hold->partition);
	if (!partition)
		return;
	partition->holds--;
	free_if_unused(partition);
}

/* Returns how many records that were. */
static size_t finish_holds(struct hand *hand, struct kser_task *task)
{
	size_t records = 0;
	for (struct hold *hold = &task->hold; hold && hold->partition; hold = hold->next) {
		watermark_finish(hold->partition->watermark, hold->offset);
		release_hold(hold);
		records++;
	}
	task_free_repeats(task);
	hand->finished += records;
	return records;
}

/* ---- the hand ---- */

static void enter_list(struct hand *hand, struct kser_task *task, enum standing standing)
{
	task->standing = standing;
	DL_APPEND2(hand->lists[standing], task, hand_previous, hand_next);
	hand->counts[standing]++;
}

static void leave_list(struct hand *hand, struct kser_task *task)
{
	DL_DELETE2(hand->lists[task->standing], task, hand_previous, hand_next);
	hand->counts[task->standing]--;
}

static void join(struct hand *hand, struct kser_task *task, struct partition *partition, int64_t offset)
{
	struct hold *hold = &task->hold;
	if (hold->partition) {
		hold = xcalloc(1, sizeof *hold);
		LL_PREPEND(task->hold.next, hold);
	}
	take_hold(hold, partition, offset);
	if (task->standing == CLAIMED)
		finish_holds(hand, task);
}

bool hand_enter(struct hand *hand, struct kser_task *task, struct partition *partition, int64_t offset)
{
	struct kser_task *same = NULL;
	if (task->keyed)
		HASH_FIND(hh, hand->by_key, &task->key, sizeof task->key, same);
	if (same) {
		join(hand, same, partition, offset);
		task_free(task);
		return false;
	}
	take_hold(&task->hold, partition, offset);
	if (task->keyed)
		HASH_ADD(hh, hand->by_key, key, sizeof task->key, task);
	enter_list(hand, task, STANDING_OPEN);
	hand->count++;
	hand->bytes += task->message.text.length;
	return true;
}

struct kser_task *hand_find(const struct hand *hand, const struct task_name *name)
{
	struct kser_task *task;
	struct task_name found;
	struct task_key key = {.position = name->position, .attempt = name->attempt, .generation = name->generation};
	memcpy(key.operation, name->operation, sizeof key.operation);
	HASH_FIND(hh, hand->by_key, &key, sizeof key, task);
	if (!task)
		return NULL;
	task_name_of(task, &found);
	return uuid_compare(found.uuid, name->uuid) == 0 ? task : NULL;
}

void hand_move(struct hand *hand, struct kser_task *task, enum standing standing)
{
	leave_list(hand, task);
	enter_list(hand, task, standing);
}

void hand_pass(struct hand *hand, struct kser_task *task)
{
	hand->passed += finish_holds(hand, task);
	hand_move(hand, task, CLAIMED);
}

static void leave(struct hand *hand, struct kser_task *task)
{
	assert(!task->gated);
	if (task->keyed)
		HASH_DEL(hand->by_key, task);
	leave_list(hand, task);
	hand->count--;
	hand->bytes -= task->message.text.length;
	task_free(task);
}

size_t hand_finish(struct hand *hand, struct kser_task *task)
{
	size_t records = finish_holds(hand, task);
	leave(hand, task);
	return records;
}

void hand_drop(struct hand *hand, struct kser_task *task)
{
	for (struct hold *hold = &task->hold; hold; hold = hold->next)
		release_hold(hold);
	leave(hand, task);
}

bool hand_is_orphan(const struct kser_task *task)
{
	for (const struct hold *hold = &task->hold; hold; hold = hold->next)
		if (!hold->partition || !hold->partition->revoked)
			return false;
	return true;
}

bool hand_keeps_back(const struct kser_task *task, int64_t most)
{
	for (const struct hold *hold = &task->hold; hold; hold = hold->next)
		if (hold->partition && partition_is_full(hold->partition, most))
			return true;
	return false;
}

void hand_visit(struct hand *hand, void (*visit)(struct kser_task *task, void *context), void *context)
{
	/* From the last standing to the first, since tasks move the other way: none is visited twice. */
	for (int standing = STANDINGS - 1; standing >= 0; standing--) {
		struct kser_task *task, *next;
		DL_FOREACH_SAFE2(hand->lists[standing], task, next, hand_next)
			visit(task, context);
	}
}
