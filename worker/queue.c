#include "worker/queue.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

#include "common/memory.h"

struct queue {
	pthread_mutex_t lock;
	pthread_cond_t ready;
	void (*low)(void *context);
	void *context;
	size_t low_level;
	bool low_wanted;
	bool closed;
	bool held;
	bool waking; /* a thread was signalled and has not come yet */
	bool alone_waits; /* the first entry is to be active alone */
	bool alone_active;
	size_t idle;
	size_t active;
	size_t active_max;
	uint64_t taken;
	size_t room;
	size_t first; /* of the ring */
	size_t waiting;
	void *entries[];
};

struct queue *queue_new(size_t room, size_t active_max, void (*low)(void *context), void *context)
{
	assert(room > 0 && active_max > 0);
	struct queue *queue = xcalloc(1, sizeof *queue + room * sizeof queue->entries[0]);
	pthread_mutex_init(&queue->lock, NULL);
	pthread_cond_init(&queue->ready, NULL);
	queue->room = room;
	queue->active_max = active_max;
	queue->low = low;
	queue->context = context;
	return queue;
}

void queue_free(struct queue *queue)
{
	if (!queue)
		return;
	pthread_cond_destroy(&queue->ready);
	pthread_mutex_destroy(&queue->lock);
	free(queue);
}

static bool may_take(const struct queue *queue)
{
	if (queue->waiting == 0 || queue->alone_active || queue->held)
		return false;
	return queue->alone_waits ? queue->active == 0 : queue->active < queue->active_max;
}

/*
 * One thread is woken at a time, and wakes the next one if there is more to take when it has come. Waking
 * takes longer than a short task, so a few of those are done by one thread.
 */
static void wake_one(struct queue *queue)
{
	if (queue->waking || queue->idle == 0 || !may_take(queue))
		return;
	queue->waking = true;
	pthread_cond_signal(&queue->ready);
}

static void wait_for_entry(struct queue *queue)
{
	queue->idle++;
	while (!queue->closed && !may_take(queue)) {
		pthread_cond_wait(&queue->ready, &queue->lock);
		queue->waking = false;
	}
	queue->idle--;
}

void queue_put(struct queue *queue, void *const *entries, size_t count)
{
	pthread_mutex_lock(&queue->lock);
	assert(count <= queue->room - queue->waiting);
	for (size_t i = 0; i < count; i++)
		queue->entries[(queue->first + queue->waiting + i) % queue->room] = entries[i];
	queue->waiting += count;
	wake_one(queue);
	pthread_mutex_unlock(&queue->lock);
}

bool queue_hold(struct queue *queue, bool held)
{
	pthread_mutex_lock(&queue->lock);
	queue->held = held;
	bool none = queue->active == 0;
	wake_one(queue);
	pthread_mutex_unlock(&queue->lock);
	return none;
}

void queue_put_alone(struct queue *queue, void *entry)
{
	pthread_mutex_lock(&queue->lock);
	assert(queue->waiting < queue->room && !queue->alone_waits); /* one may still be active: its reply can be acknowledged before it is done */
	queue->first = (queue->first + queue->room - 1) % queue->room;
	queue->entries[queue->first] = entry;
	queue->waiting++;
	queue->alone_waits = true;
	wake_one(queue);
	pthread_mutex_unlock(&queue->lock);
}

size_t queue_room(struct queue *queue)
{
	pthread_mutex_lock(&queue->lock);
	size_t room = queue->room - queue->waiting;
	pthread_mutex_unlock(&queue->lock);
	return room;
}

static bool is_low(struct queue *queue)
{
	if (!queue->low_wanted || queue->waiting > queue->low_level)
		return false;
	queue->low_wanted = false;
	return true;
}

void *queue_take(struct queue *queue)
{
	void *entry = NULL;
	bool low = false;
	pthread_mutex_lock(&queue->lock);
	wait_for_entry(queue);
	if (!queue->closed) {
		entry = queue->entries[queue->first];
		queue->first = (queue->first + 1) % queue->room;
		queue->waiting--;
		queue->active++;
		queue->taken++;
		queue->alone_active = queue->alone_waits;
		queue->alone_waits = false;
		low = is_low(queue);
		wake_one(queue);
	}
	pthread_mutex_unlock(&queue->lock);
	if (low)
		queue->low(queue->context);
	return entry;
}

void queue_done(struct queue *queue)
{
	pthread_mutex_lock(&queue->lock);
	assert(queue->active > 0);
	bool was_full = queue->active == queue->active_max || queue->alone_active;
	queue->active--;
	queue->alone_active = false;
	if (was_full || queue->alone_waits)
		wake_one(queue);
	bool still = queue->held && queue->active == 0;
	pthread_mutex_unlock(&queue->lock);
	if (still)
		queue->low(queue->context);
}

size_t queue_remove(struct queue *queue, bool (*matches)(void *entry, void *context), void *context, void **removed)
{
	pthread_mutex_lock(&queue->lock);
	size_t count = 0, kept = 0;
	for (size_t i = 0; i < queue->waiting; i++) {
		void *entry = queue->entries[(queue->first + i) % queue->room];
		if (matches(entry, context)) {
			removed[count++] = entry;
			queue->alone_waits &= i > 0;
		} else {
			queue->entries[(queue->first + kept++) % queue->room] = entry;
		}
	}
	queue->waiting = kept;
	wake_one(queue);
	pthread_mutex_unlock(&queue->lock);
	return count;
}

bool queue_watch(struct queue *queue, size_t level)
{
	pthread_mutex_lock(&queue->lock);
	queue->low_wanted = queue->waiting > level;
	queue->low_level = level;
	bool watching = queue->low_wanted;
	pthread_mutex_unlock(&queue->lock);
	return watching;
}

void queue_close(struct queue *queue)
{
	pthread_mutex_lock(&queue->lock);
	queue->closed = true;
	pthread_cond_broadcast(&queue->ready);
	pthread_mutex_unlock(&queue->lock);
}

struct queue_state queue_state(struct queue *queue)
{
	pthread_mutex_lock(&queue->lock);
	struct queue_state state = {.waiting = queue->waiting, .active = queue->active, .idle = queue->idle, .taken = queue->taken,
		.alone = queue->alone_waits || queue->alone_active || queue->held};
	pthread_mutex_unlock(&queue->lock);
	return state;
}
