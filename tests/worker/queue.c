/*
 * The queue between threads, as a program of its own so that ThreadSanitizer can watch it: every entry put is
 * taken once, in order per thread that takes, no more are active than allowed, and nobody sleeps while there is work.
 */

#include <assert.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "common/attributes.h"
#include "worker/queue.h"

#define ROOM 64
#define ACTIVE_MAX 3
#define TAKERS 6
#define ENTRIES 30000

static int entries[ENTRIES];
static atomic_int seen[ENTRIES];
static atomic_int active;
static atomic_int most_active;
static atomic_int lows;

static pthread_mutex_t room_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t room_came = PTHREAD_COND_INITIALIZER;
static bool low_told;

static void on_low(void *context)
{
	assert(strcmp(context, "context") == 0);
	atomic_fetch_add(&lows, 1);
	pthread_mutex_lock(&room_lock);
	low_told = true;
	pthread_cond_signal(&room_came);
	pthread_mutex_unlock(&room_lock);
}

static void *take_all(void *argument)
{
	struct queue *queue = argument;
	const int *entry;
	const int *last = NULL;
	while ((entry = queue_take(queue))) {
		int now = atomic_fetch_add(&active, 1) + 1;
		int most = atomic_load(&most_active);
		while (now > most && !atomic_compare_exchange_weak(&most_active, &most, now))
			;
		assert(!last || entry > last);
		last = entry;
		atomic_fetch_add(&seen[entry - entries], 1);
		atomic_fetch_sub(&active, 1);
		queue_done(queue);
	}
	return NULL;
}

/* Sleeps until the queue is half empty; only its own word wakes it, so a lost one would hang the test. */
static void wait_for_room(struct queue *queue)
{
	pthread_mutex_lock(&room_lock);
	low_told = false;
	pthread_mutex_unlock(&room_lock);
	if (!queue_watch(queue, ROOM / 2))
		return;
	pthread_mutex_lock(&room_lock);
	while (!low_told)
		pthread_cond_wait(&room_came, &room_lock);
	pthread_mutex_unlock(&room_lock);
}

static void put_all(struct queue *queue)
{
	void *batch[7];
	for (size_t at = 0; at < ENTRIES;) {
		size_t room = queue_room(queue);
		if (room == 0) {
			wait_for_room(queue);
			continue;
		}
		size_t count = 0;
		for (; count < COUNT_OF(batch) && count < room && at < ENTRIES; at++)
			batch[count++] = &entries[at];
		queue_put(queue, batch, count);
	}
}

static void test_threads(void)
{
	static char context[] = "context";
	struct queue *queue = queue_new(ROOM, ACTIVE_MAX, on_low, context);
	pthread_t takers[TAKERS];
	for (int i = 0; i < TAKERS; i++)
		pthread_create(&takers[i], NULL, take_all, queue);
	put_all(queue);
	while (queue_state(queue).taken < ENTRIES || queue_state(queue).active > 0)
		poll(NULL, 0, 1);
	queue_close(queue);
	for (int i = 0; i < TAKERS; i++)
		pthread_join(takers[i], NULL);
	for (int i = 0; i < ENTRIES; i++)
		assert(atomic_load(&seen[i]) == 1);
	assert(atomic_load(&most_active) <= ACTIVE_MAX);
	assert(atomic_load(&lows) > 0);
	queue_free(queue);
}

static bool is_odd(void *entry, void *context)
{
	(void)context;
	return *(int *)entry % 2 == 1;
}

static void test_remove(void)
{
	struct queue *queue = queue_new(8, 8, on_low, NULL);
	int numbers[8] = {0, 1, 2, 3, 4, 5, 6, 7};
	void *all[8], *removed[8];
	for (int i = 0; i < 8; i++)
		all[i] = &numbers[i];
	queue_put(queue, all, 3);
	assert(queue_take(queue) == &numbers[0]); /* so that the ring turns over its end */
	assert(queue_take(queue) == &numbers[1]);
	queue_put(queue, all + 3, 5);
	assert(queue_remove(queue, is_odd, NULL, removed) == 3);
	assert(removed[0] == &numbers[3] && removed[1] == &numbers[5] && removed[2] == &numbers[7]);
	assert(queue_state(queue).waiting == 3);
	assert(queue_take(queue) == &numbers[2]);
	assert(queue_take(queue) == &numbers[4]);
	assert(queue_take(queue) == &numbers[6]);
	assert(queue_state(queue).active == 5);
	queue_close(queue);
	assert(queue_take(queue) == NULL);
	queue_free(queue);
}

/* An entry that is held without a thread still counts as active. */
static void *take_one(void *argument)
{
	return queue_take(argument);
}

static void test_active_without_thread(void)
{
	struct queue *queue = queue_new(4, 1, on_low, NULL);
	int numbers[2] = {1, 2};
	void *all[2] = {&numbers[0], &numbers[1]};
	queue_put(queue, all, 2);
	assert(queue_take(queue) == &numbers[0]);
	pthread_t taker;
	pthread_create(&taker, NULL, take_one, queue);
	while (queue_state(queue).idle == 0)
		poll(NULL, 0, 1);
	assert(queue_state(queue).taken == 1);
	queue_done(queue);
	void *taken;
	pthread_join(taker, &taken);
	assert(taken == &numbers[1]);
	queue_free(queue);
}

static pthread_barrier_t all_have_one;

static void *take_and_meet(void *argument)
{
	assert(queue_take(argument));
	pthread_barrier_wait(&all_have_one);
	return NULL;
}

/* Entries put at once wake as many threads as they need: each here waits until all have one. */
static void test_all_are_woken(void)
{
	enum { THREADS = 5 };
	struct queue *queue = queue_new(THREADS, THREADS, on_low, NULL);
	pthread_t threads[THREADS];
	void *all[THREADS];
	pthread_barrier_init(&all_have_one, NULL, THREADS);
	for (int i = 0; i < THREADS; i++) {
		all[i] = &entries[i];
		pthread_create(&threads[i], NULL, take_and_meet, queue);
	}
	while (queue_state(queue).idle < THREADS)
		poll(NULL, 0, 1);
	queue_put(queue, all, THREADS);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	pthread_barrier_destroy(&all_have_one);
	queue_free(queue);
}

static void *taken_by(pthread_t taker)
{
	void *taken;
	pthread_join(taker, &taken);
	return taken;
}

static void wait_until_idle(struct queue *queue, pthread_t *taker)
{
	pthread_create(taker, NULL, take_one, queue);
	while (queue_state(queue).idle == 0)
		poll(NULL, 0, 1);
}

/* It is taken before all others, when nothing is active any more, and nothing is taken until it is done. */
static void test_alone(void)
{
	struct queue *queue = queue_new(4, 2, on_low, NULL);
	int numbers[3] = {1, 2, 3};
	void *all[3] = {&numbers[0], &numbers[1], &numbers[2]};
	pthread_t taker;
	queue_put(queue, all, 2);
	assert(queue_take(queue) == &numbers[0]);
	queue_put_alone(queue, &numbers[2]);
	wait_until_idle(queue, &taker);
	assert(queue_state(queue).taken == 1 && queue_state(queue).alone);
	queue_done(queue);
	assert(taken_by(taker) == &numbers[2]);
	wait_until_idle(queue, &taker);
	assert(queue_state(queue).taken == 2 && queue_state(queue).alone);
	queue_done(queue);
	assert(taken_by(taker) == &numbers[1]);
	assert(!queue_state(queue).alone);
	queue_free(queue);
}

static bool is_same(void *entry, void *context)
{
	return entry == context;
}

/* The reply of one may be acknowledged, and the next one be put, before the thread that ran it says that it is done. */
static void test_alone_behind_alone(void)
{
	struct queue *queue = queue_new(4, 2, on_low, NULL);
	int numbers[2] = {1, 2};
	pthread_t taker;
	queue_put_alone(queue, &numbers[0]);
	assert(queue_take(queue) == &numbers[0]);
	queue_put_alone(queue, &numbers[1]);
	wait_until_idle(queue, &taker);
	assert(queue_state(queue).taken == 1);
	queue_done(queue);
	assert(taken_by(taker) == &numbers[1]);
	queue_free(queue);
}

/* Taken out again it keeps nobody waiting. */
static void test_alone_removed(void)
{
	struct queue *queue = queue_new(4, 2, on_low, NULL);
	int numbers[3] = {1, 2, 3};
	void *all[2] = {&numbers[0], &numbers[1]}, *removed[1];
	pthread_t taker;
	queue_put(queue, all, 2);
	assert(queue_take(queue) == &numbers[0]);
	queue_put_alone(queue, &numbers[2]);
	wait_until_idle(queue, &taker);
	assert(queue_remove(queue, is_same, &numbers[2], removed) == 1);
	assert(taken_by(taker) == &numbers[1]);
	assert(!queue_state(queue).alone);
	queue_free(queue);
}

/* Held, it gives nothing; whoever waits for it to be still is told. */
static void test_hold(void)
{
	static char context[] = "context";
	struct queue *queue = queue_new(4, 2, on_low, context);
	int numbers[3] = {1, 2, 3};
	void *all[2] = {&numbers[0], &numbers[1]};
	pthread_t taker;
	queue_put(queue, all, 2);
	assert(queue_take(queue) == &numbers[0]);
	assert(!queue_hold(queue, true) && queue_state(queue).alone);
	wait_until_idle(queue, &taker);
	int before = lows;
	queue_done(queue);
	assert(lows == before + 1 && queue_state(queue).taken == 1);
	assert(queue_hold(queue, true));
	queue_put_alone(queue, &numbers[2]);
	assert(queue_state(queue).taken == 1);
	assert(queue_hold(queue, false));
	assert(taken_by(taker) == &numbers[2]);
	queue_done(queue);
	assert(queue_take(queue) == &numbers[1] && lows == before + 1);
	queue_free(queue);
}

int main(void)
{
	test_hold();
	test_alone();
	test_alone_behind_alone();
	test_alone_removed();
	test_all_are_woken();
	test_remove();
	test_active_without_thread();
	test_threads();
	puts("queue: ok");
	return 0;
}
