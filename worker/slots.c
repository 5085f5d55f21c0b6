#include "worker/slots.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "common/clock.h"
#include "common/fault.h"
#include "common/log.h"
#include "common/memory.h"
#include "common/thread.h"
#include "worker/answer.h"
#include "worker/result.h"
#include "worker/router.h"
#include "worker/task.h"

/* Threads at the start. */
#define THREADS_FIRST 8

struct slots {
	struct slots_setup setup;
	pthread_t *threads;
	size_t count;
	uint64_t taken; /* at the last look */
};

/* ---- one task ---- */

/* A task that sleeps: its answer is kept until its time has come. */
static void send_later(const struct slots_setup *setup, struct kser_task *task, const struct answer *answer)
{
	buffer_add_slice(&task->reply.text, buffer_slice(&answer->record));
	(void)FAULT("worker.mid_run");
	later_add(setup->later, task);
}

static void send_answer(const struct slots_setup *setup, struct kser_task *task, struct answer *answer)
{
	atomic_store_explicit(&task->answered, true, memory_order_relaxed);
	if (!replies_send(setup->replies, &task->reply, buffer_slice(&answer->record))) {
		answer_make_refused(answer, task, answer->record.length, "the producer's limit", setup->worker);
		bool sent = replies_send(setup->replies, &task->reply, buffer_slice(&answer->record));
		assert(sent);
	}
	queue_done(setup->queue);
}

static bool is_too_late(const struct kser_task *task)
{
	return task->message.stamp.start_by_ms > 0 && clock_wall_ms() > task->message.stamp.start_by_ms;
}

static enum kser_outcome start_task(const struct slots_setup *setup, struct kser_task *task, struct kser_result *result)
{
	(void)FAULT("worker.before_run");
	if (kser_task_cancelled(task))
		return KSER_FAILURE;
	if (is_too_late(task))
		return kser_result_fail(result, 504, "Timeout", "not started in time");
	return router_run(setup->entrypoints, task, result);
}

/* It was told to end. One without a name is left as it is: its record comes again. */
static void release_task(const struct slots_setup *setup, struct kser_task *task, struct answer *answer)
{
	if (!task->keyed) {
		queue_done(setup->queue);
		return;
	}
	answer_make_release(answer, task, setup->worker);
	send_answer(setup, task, answer);
}

static void measure(const struct slots_setup *setup, const struct kser_task *task, enum kser_outcome outcome, int64_t started_us)
{
	if (!setup->measures->metrics)
		return;
	int64_t ended_us = task->due_ms > 0 ? task->due_ms * 1000 : clock_monotonic_us();
	enum attempt_outcome became = outcome == KSER_SUCCESS ? ATTEMPT_SUCCESS : outcome == KSER_RETRY ? ATTEMPT_RETRY : ATTEMPT_FAILURE;
	measures_note_end(setup->measures, task->entrypoint, kser_task_cancelled(task) ? ATTEMPT_CANCELLED : became, ended_us - started_us);
}

static void run_task(const struct slots_setup *setup, struct kser_task *task, struct answer *answer)
{
	struct kser_result result CLEANUP(result_clear) = {0};
	int64_t started_us = clock_monotonic_us();
	atomic_store_explicit(&task->started_ms, started_us / 1000, memory_order_relaxed);
	task->entrypoints = setup->entrypoints;
	measures_note_start(setup->measures, started_us / 1000 - task->entered_ms);
	enum kser_outcome outcome = start_task(setup, task, &result);
	measure(setup, task, outcome, started_us);
	task_forget(task);
	(void)FAULT("worker.after_run_before_produce");
	if (kser_task_cancelled(task)) {
		release_task(setup, task, answer);
		return;
	}
	answer_make(answer, task, outcome, &result, setup->worker);
	if (task->due_ms > 0)
		send_later(setup, task, answer);
	else
		send_answer(setup, task, answer);
}

static void *work(void *argument)
{
	const struct slots_setup *setup = &((struct slots *)argument)->setup;
	struct answer answer CLEANUP(answer_clear) = {.sealing = setup->sealing};
	struct kser_task *task;
	while ((task = queue_take(setup->queue)))
		run_task(setup, task, &answer);
	return NULL;
}

/* ---- the threads ---- */

/* Without signals: a command's broken pipe is an error code here. */
static void start_threads(struct slots *slots, size_t wanted)
{
	for (; slots->count < wanted && slots->count < slots->setup.threads_max; slots->count++) {
		int error = thread_start(&slots->threads[slots->count], "kser-slot", work, slots);
		if (error) {
			log_warning("could not start another thread", "threads", LOG_INT(slots->count), "error", strerror(error));
			break;
		}
	}
}

struct slots *slots_start(const struct slots_setup *setup)
{
	struct slots *slots = xcalloc(1, sizeof *slots);
	slots->setup = *setup;
	slots->threads = xcalloc(setup->threads_max, sizeof slots->threads[0]);
	start_threads(slots, THREADS_FIRST);
	return slots;
}

void slots_look(struct slots *slots)
{
	struct queue_state state = queue_state(slots->setup.queue);
	bool stuck = state.waiting > 0 && state.idle == 0 && state.taken == slots->taken;
	slots->taken = state.taken;
	if (stuck)
		start_threads(slots, slots->count + state.waiting);
}

bool slots_join(struct slots *slots, int timeout_ms)
{
	int64_t until_ms = clock_monotonic_ms() + timeout_ms;
	struct timespec until = {.tv_sec = (time_t)(until_ms / 1000), .tv_nsec = (long)(until_ms % 1000) * 1000000};
	for (size_t i = 0; i < slots->count; i++)
		if (pthread_clockjoin_np(slots->threads[i], NULL, CLOCK_MONOTONIC, &until))
			return false;
	free(slots->threads);
	free(slots);
	return true;
}
