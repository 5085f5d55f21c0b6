#include "worker/recall.h"

#include <stdlib.h>
#include <utlist.h>

#include "common/log.h"
#include "common/memory.h"

/* ---- one task ---- */

static bool is_this(void *entry, void *context)
{
	return entry == context;
}

/* Out of the gate or the queue; false: a thread has it. */
static bool take_back(const struct recall *recall, struct kser_task *task)
{
	void *removed[1];
	bool waited = task->gated || queue_remove(recall->queue, is_this, task, removed) > 0;
	if (waited)
		gate_forget(recall->gate, task);
	return waited;
}

static bool is_leaving(const struct kser_task *task)
{
	return task->standing >= RELEASE_ASKED || atomic_load(&task->cancelled);
}

static void end(const struct recall *recall, struct kser_task *task)
{
	task_cancel(task);
	later_hurry(recall->later, task);
}

static void stop(const struct recall *recall, struct kser_task *task, enum release_reason reason)
{
	if (is_leaving(task))
		return;
	if (take_back(recall, task))
		release_ask(recall->releases, task, reason);
	else
		end(recall, task);
}

void recall_stop(const struct recall *recall, const struct task_name *name)
{
	struct kser_task *task = hand_find(recall->hand, name);
	if (task)
		stop(recall, task, RELEASE_STOPPED);
}

/* ---- those that were not started ---- */

struct choice {
	bool (*matches)(const struct kser_task *task, int64_t than);
	int64_t than;
	size_t skip; /* so many that match are left */
};

static bool is_chosen(void *entry, void *context)
{
	struct choice *choice = context;
	if (!choice->matches(entry, choice->than))
		return false;
	if (choice->skip == 0)
		return true;
	choice->skip--;
	return false;
}

static bool counts_it(void *entry, void *context)
{
	struct choice *choice = context;
	choice->skip += choice->matches(entry, choice->than);
	return false;
}

/* Takes what matches out of the queue and the gate and gives each to `use`; how many. At most `most`, the last ones of the queue. */
static size_t take_all(const struct recall *recall, struct choice choice, size_t most, void (*use)(const struct recall *recall, struct kser_task *task))
{
	void **removed CLEANUP(free_pointer) = xcalloc(queue_state(recall->queue).waiting + 1, sizeof *removed);
	if (most < SIZE_MAX)
		(void)queue_remove(recall->queue, counts_it, &choice, removed);
	choice.skip = choice.skip > most ? choice.skip - most : 0;
	size_t count = queue_remove(recall->queue, is_chosen, &choice, removed);
	for (size_t i = 0; i < count; i++) {
		gate_forget(recall->gate, removed[i]);
		use(recall, removed[i]);
	}
	struct kser_task *task, *next;
	DL_FOREACH_SAFE2(recall->gate->tasks, task, next, gate_next) {
		if (count == most || !choice.matches(task, choice.than))
			continue;
		gate_forget(recall->gate, task);
		use(recall, task);
		count++;
	}
	return count;
}

static bool is_of_another_generation(const struct kser_task *task, int64_t generation)
{
	return task->keyed && task->key.generation != generation;
}

static bool waits_since(const struct kser_task *task, int64_t since_ms)
{
	return task->keyed && task->entered_ms <= since_ms;
}

static bool any(const struct kser_task *task, int64_t nothing)
{
	(void)task;
	(void)nothing;
	return true;
}

static void finish(const struct recall *recall, struct kser_task *task)
{
	hand_finish(recall->hand, task);
}

static void hand_back(const struct recall *recall, struct kser_task *task)
{
	if (task->keyed)
		release_ask(recall->releases, task, RELEASE_UNSTARTED);
	else
		hand_drop(recall->hand, task);
}

size_t recall_generation(const struct recall *recall, int64_t generation)
{
	return take_all(recall, (struct choice){.matches = is_of_another_generation, .than = generation}, SIZE_MAX, finish);
}

size_t recall_waiting(const struct recall *recall, size_t most, int64_t since_ms)
{
	return take_all(recall, (struct choice){.matches = waits_since, .than = since_ms}, most, hand_back);
}

void recall_not_started(const struct recall *recall)
{
	(void)take_all(recall, (struct choice){.matches = any}, SIZE_MAX, hand_back);
}

/* ---- alone, silent, leaving ---- */

void recall_busy(const struct recall *recall, int64_t since_ms)
{
	struct kser_task *task = recall->gate->alone;
	if (task && recall->gate->alone_ms <= since_ms && atomic_load(&task->started_ms) == 0 && take_back(recall, task))
		release_ask(recall->releases, task, RELEASE_BUSY);
	while ((task = gate_find_kept_out(recall->gate, since_ms))) {
		gate_forget(recall->gate, task);
		release_ask(recall->releases, task, RELEASE_BUSY);
	}
}

struct ending {
	const struct recall *recall;
	size_t count;
};

static void stop_if_silent(struct kser_task *task, void *context)
{
	struct ending *ending = context;
	if (!task_stops_on_silence(task) || is_leaving(task))
		return;
	stop(ending->recall, task, RELEASE_UNSTARTED);
	ending->count++;
}

size_t recall_silent(const struct recall *recall)
{
	struct ending ending = {.recall = recall};
	hand_visit(recall->hand, stop_if_silent, &ending);
	return ending.count;
}

static void end_if_running(struct kser_task *task, void *context)
{
	if (!is_leaving(task))
		end(context, task);
}

void recall_running(const struct recall *recall)
{
	hand_visit(recall->hand, end_if_running, (void *)(uintptr_t)recall);
}
