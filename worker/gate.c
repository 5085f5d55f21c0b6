#include "worker/gate.h"

#include <assert.h>
#include <utlist.h>

bool task_is_alone(const struct kser_task *task)
{
	return task->keyed && (task->message.stamp.flags & STAMP_ALONE);
}

bool gate_stops(const struct gate *gate, const struct kser_task *task, int32_t partition)
{
	return task->careful || gate->counts[partition] > 0;
}

void gate_put(struct gate *gate, struct kser_task *task, int32_t partition)
{
	assert(!task->gated);
	task->gated = true;
	task->gate_number = partition;
	DL_APPEND2(gate->tasks, task, gate_previous, gate_next);
	gate->counts[partition]++;
	gate->count++;
}

static void leave(struct gate *gate, struct kser_task *task)
{
	DL_DELETE2(gate->tasks, task, gate_previous, gate_next);
	gate->counts[task->gate_number]--;
	gate->count--;
	task->gated = false;
}

/* Whether it is this task's turn to run alone; since when only others keep it here is noted in the task. */
static bool has_turn(struct gate *gate, struct kser_task *task, int64_t now_ms)
{
	if (!gate->alone) {
		gate->alone = task;
		gate->alone_ms = task->ready_ms ? task->ready_ms : now_ms;
		task->ready_ms = 0;
	} else if (gate->alone != task && task->ready_ms == 0) {
		task->ready_ms = now_ms;
	}
	return gate->alone == task;
}

static bool may_pass(struct gate *gate, struct kser_task *task, int64_t now_ms)
{
	if (task_is_alone(task) && !has_turn(gate, task, now_ms))
		return false;
	return !task->careful || task->standing == CLAIMED;
}

struct kser_task *gate_take(struct gate *gate, int64_t now_ms)
{
	bool stopped[PARTITIONS_MAX] = {false};
	for (struct kser_task *task = gate->tasks; task; task = task->gate_next) {
		if (stopped[task->gate_number])
			continue;
		if (!may_pass(gate, task, now_ms)) {
			stopped[task->gate_number] = true;
			continue;
		}
		leave(gate, task);
		return task;
	}
	return NULL;
}

struct kser_task *gate_next_alone(const struct gate *gate)
{
	return gate->alone && gate->alone->gated ? gate->alone : NULL;
}

void gate_forget(struct gate *gate, struct kser_task *task)
{
	if (task->gated)
		leave(gate, task);
	if (gate->alone == task)
		gate->alone = NULL;
}

struct kser_task *gate_find_kept_out(const struct gate *gate, int64_t since_ms)
{
	for (struct kser_task *task = gate->tasks; task; task = task->gate_next)
		if (task->ready_ms > 0 && task->ready_ms <= since_ms)
			return task;
	return NULL;
}
