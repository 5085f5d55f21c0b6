/*
 * A task is told to end while its thread lies it down or finishes, as a program of its own so that ThreadSanitizer can watch it: whenever the
 * word comes, a sleeper is due at once, and a command's descriptor is written to before it is closed or not at all.
 */

#include <assert.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/memory.h"
#include "worker/later.h"
#include "worker/task.h"

#define ROUNDS 3000

static const char text[] = "{\"uuid\": \"0190aaaa-0000-7000-8000-000000000001\", \"entrypoint\": \"e\"}";

static struct kser_task *make(void)
{
	enum status status;
	struct error err;
	struct kser_task *task = task_new(NULL, slice_of(text), NULL, NULL, &status, &err);
	assert(status == E_OK);
	return task;
}

static void nothing(void *context)
{
	(void)context;
}

struct meeting {
	struct later *later;
	struct kser_task *task;
	pthread_barrier_t start;
};

static void *lie_down(void *argument)
{
	struct meeting *meeting = argument;
	pthread_barrier_wait(&meeting->start);
	meeting->task->due_ms = INT64_MAX;
	later_add(meeting->later, meeting->task);
	return NULL;
}

/* The word comes before, while or after the task lies down: it is due. */
static void test_sleepers(void)
{
	struct meeting meeting = {.later = later_new(nothing, NULL)};
	pthread_barrier_init(&meeting.start, NULL, 2);
	for (int i = 0; i < ROUNDS; i++) {
		pthread_t thread;
		meeting.task = make();
		pthread_create(&thread, NULL, lie_down, &meeting);
		pthread_barrier_wait(&meeting.start);
		task_cancel(meeting.task);
		later_hurry(meeting.later, meeting.task);
		pthread_join(thread, NULL);
		assert(later_take(meeting.later, 1) == meeting.task);
		task_free(meeting.task);
	}
	pthread_barrier_destroy(&meeting.start);
	later_free(meeting.later);
}

static atomic_int heard;

static void *run_command(void *argument)
{
	struct meeting *meeting = argument;
	uint64_t count = 0;
	pthread_barrier_wait(&meeting->start);
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	task_set_stop_fd(meeting->task, fd);
	task_set_stop_fd(meeting->task, -1);
	if (read(fd, &count, sizeof count) == (ssize_t)sizeof count)
		atomic_fetch_add(&heard, 1);
	close(fd);
	/* Another one gets the number, which nobody may write to. */
	int other = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	poll(NULL, 0, 0);
	assert(read(other, &count, sizeof count) < 0);
	close(other);
	return NULL;
}

static void test_commands(void)
{
	struct meeting meeting = {0};
	pthread_barrier_init(&meeting.start, NULL, 2);
	for (int i = 0; i < ROUNDS; i++) {
		pthread_t thread;
		meeting.task = make();
		if (i % 10 == 0)
			task_cancel(meeting.task);
		pthread_create(&thread, NULL, run_command, &meeting);
		pthread_barrier_wait(&meeting.start);
		task_cancel(meeting.task);
		pthread_join(thread, NULL);
		task_free(meeting.task);
	}
	assert(atomic_load(&heard) >= ROUNDS / 10);
	pthread_barrier_destroy(&meeting.start);
}

int main(void)
{
	test_sleepers();
	test_commands();
	return 0;
}
