#include "worker/later.h"

#include <pthread.h>
#include <stdlib.h>

#include "common/memory.h"
#include "worker/task.h"

struct later {
	pthread_mutex_t lock;
	void (*earlier)(void *context);
	void *context;
	size_t count;
	size_t capacity;
	struct kser_task **heap; /* the earliest first */
};

struct later *later_new(void (*earlier)(void *context), void *context)
{
	struct later *later = xcalloc(1, sizeof *later);
	pthread_mutex_init(&later->lock, NULL);
	later->earlier = earlier;
	later->context = context;
	return later;
}

void later_free(struct later *later)
{
	if (!later)
		return;
	pthread_mutex_destroy(&later->lock);
	free(later->heap);
	free(later);
}

static void rise(struct later *later, size_t at)
{
	struct kser_task *task = later->heap[at];
	for (; at > 0 && later->heap[(at - 1) / 2]->due_ms > task->due_ms; at = (at - 1) / 2)
		later->heap[at] = later->heap[(at - 1) / 2];
	later->heap[at] = task;
}

static void sink(struct later *later)
{
	struct kser_task *task = later->heap[0];
	size_t at = 0;
	for (size_t child = 1; child < later->count; child = 2 * at + 1) {
		if (child + 1 < later->count && later->heap[child + 1]->due_ms < later->heap[child]->due_ms)
			child++;
		if (later->heap[child]->due_ms >= task->due_ms)
			break;
		later->heap[at] = later->heap[child];
		at = child;
	}
	later->heap[at] = task;
}

void later_add(struct later *later, struct kser_task *task)
{
	pthread_mutex_lock(&later->lock);
	if (later->count == later->capacity) {
		later->capacity = later->capacity ? 2 * later->capacity : 64;
		later->heap = xrealloc(later->heap, later->capacity * sizeof later->heap[0]);
	}
	later->heap[later->count] = task;
	if (atomic_load(&task->cancelled))
		task->due_ms = 0;
	rise(later, later->count++);
	bool first = later->heap[0] == task;
	pthread_mutex_unlock(&later->lock);
	if (first)
		later->earlier(later->context);
}

void later_hurry(struct later *later, struct kser_task *task)
{
	pthread_mutex_lock(&later->lock);
	size_t at = 0;
	while (at < later->count && later->heap[at] != task)
		at++;
	if (at < later->count) {
		task->due_ms = 0;
		rise(later, at);
	}
	pthread_mutex_unlock(&later->lock);
}

struct kser_task *later_take(struct later *later, int64_t now_ms)
{
	struct kser_task *task = NULL;
	pthread_mutex_lock(&later->lock);
	if (later->count > 0 && later->heap[0]->due_ms <= now_ms) {
		task = later->heap[0];
		later->heap[0] = later->heap[--later->count];
		if (later->count > 0)
			sink(later);
	}
	pthread_mutex_unlock(&later->lock);
	return task;
}

int64_t later_next_ms(struct later *later)
{
	pthread_mutex_lock(&later->lock);
	int64_t next = later->count > 0 ? later->heap[0]->due_ms : INT64_MAX;
	pthread_mutex_unlock(&later->lock);
	return next;
}
