#include "orchestrator/cell.h"

#include <assert.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/limits.h"
#include "common/log.h"
#include "common/memory.h"
#include "orchestrator/placement.h"
#include "orchestrator/rows.h"
#include "sql/schema.h"

struct queue {
	char name[QUEUE_BYTES_MAX + 1];
	atomic_int partitions; /* 0: not learned yet */
	struct placement placement;
	atomic_int free_places;
};

struct cell {
	const struct settings *settings;
	const struct sealing *sealing;
	struct topics topics;
	struct measures measures;
	atomic_bool stopping;
	int wake_fd;
	int rounds_fd;
	int stop_fd; /* readable for ever once stopping */
	int lanes_fd; /* counts the lanes that are to begin */
	atomic_llong lane_asked_ms;
	atomic_bool failed;
	atomic_llong stopped_ms;
	pthread_mutex_t lock; /* of the placements and of adding a queue */
	struct queue *queues[QUEUES_MAX];
	atomic_int queue_count;
	atomic_llong beat_sent_ms;
	atomic_llong epoch;
	atomic_llong generation;
	atomic_uint terms; /* as keeper, so far */
	atomic_bool role;
	atomic_bool in_flight;
	atomic_uint life;
	atomic_uint lives[CELL_THREADS_MAX]; /* NO_THREAD, or the life that the thread is in */
	atomic_llong floors[CELL_THREADS_MAX];
};

#define NO_THREAD UINT32_MAX

struct cell *cell_new(const struct settings *settings, const struct sealing *sealing)
{
	struct cell *cell = xcalloc(1, sizeof *cell);
	cell->settings = settings;
	cell->sealing = sealing;
	snprintf(cell->topics.prefix, sizeof cell->topics.prefix, "%s", settings->topic_prefix);
	measures_open(&cell->measures, settings);
	cell->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	cell->rounds_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	cell->stop_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	cell->lanes_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC | EFD_SEMAPHORE);
	assert(cell->lanes_fd >= 0 && cell->wake_fd >= 0 && cell->rounds_fd >= 0 && cell->stop_fd >= 0);
	pthread_mutex_init(&cell->lock, NULL);
	for (int i = 0; i < CELL_THREADS_MAX; i++) {
		atomic_store(&cell->floors[i], INT64_MAX);
		atomic_store(&cell->lives[i], NO_THREAD);
	}
	return cell;
}

void cell_free(struct cell *cell)
{
	if (!cell)
		return;
	for (int i = 0; i < atomic_load(&cell->queue_count); i++)
		free_pointer(&cell->queues[i]);
	close(cell->wake_fd);
	close(cell->rounds_fd);
	close(cell->stop_fd);
	close(cell->lanes_fd);
	pthread_mutex_destroy(&cell->lock);
	measures_close(&cell->measures);
	free_pointer(&cell);
}

const struct settings *cell_settings(const struct cell *cell)
{
	return cell->settings;
}

const struct topics *cell_topics(const struct cell *cell)
{
	return &cell->topics;
}

enum dispatch_trace cell_trace(const struct cell *cell)
{
	if (!otlp_is_wanted(&cell->settings->otlp))
		return DISPATCH_UNTRACED;
	return cell->settings->short_trace_ids ? DISPATCH_TRACED_SHORT : DISPATCH_TRACED;
}

const struct sealing *cell_sealing(const struct cell *cell)
{
	return cell->sealing;
}

const struct measures *cell_measures(const struct cell *cell)
{
	return &cell->measures;
}

static void signal_fd(int fd)
{
	ssize_t written = write(fd, &(uint64_t){1}, sizeof(uint64_t));
	(void)written; /* a full counter is readable as well */
}

void cell_stop(struct cell *cell)
{
	if (!cell_stopping(cell))
		atomic_store(&cell->stopped_ms, clock_monotonic_ms());
	atomic_store(&cell->stopping, true);
	signal_fd(cell->stop_fd);
	signal_fd(cell->wake_fd);
	signal_fd(cell->rounds_fd);
}

void cell_fail(struct cell *cell)
{
	atomic_store(&cell->failed, true);
	cell_stop(cell);
}

bool cell_failed(const struct cell *cell)
{
	return atomic_load(&cell->failed);
}

int cell_drain_left_ms(const struct cell *cell)
{
	int64_t left_ms = atomic_load(&cell->stopped_ms) + cell->settings->drain_ms - clock_monotonic_ms();
	return left_ms > 0 ? (int)left_ms : 0;
}

bool cell_stopping(const struct cell *cell)
{
	return atomic_load(&cell->stopping);
}

bool cell_pause(struct cell *cell, int64_t wait_ms)
{
	struct pollfd pollfd = {.fd = cell->stop_fd, .events = POLLIN};
	poll(&pollfd, 1, (int)wait_ms);
	return !cell_stopping(cell);
}

#define IDENTITY_TIMEOUT_MS 35000

/* Each connection may be to a server that was restored, or to another one: then everything that was sent before is of another life. */
static enum status check_identity(struct connection *connection, const char *who, struct error *err)
{
	PGresult *row CLEANUP(result_clear) = NULL;
	const struct embedded_file *statement = embedded_find(embedded_statements, embedded_statements_count, "check_identity.sql");
	enum status status = connection_run(connection, statement, NULL, 0, true, IDENTITY_TIMEOUT_MS, &row, err);
	if (!status && row_bool(row, 0, 0))
		log_warning("the database's server is another one, all unfinished tasks are dispatched anew", "thread", who);
	return status;
}

enum status cell_connect(struct cell *cell, const char *who, struct connection **connection, struct error *err)
{
	bool told = false;
	for (int64_t wait_ms = 100; !cell_stopping(cell); wait_ms = wait_ms < 2000 ? wait_ms * 2 : 2000) {
		enum status status = connection_open(cell->settings->database, orchestrator_program.name, CONNECTION_ENGINE, connection, err);
		if (!status)
			status = schema_check(*connection, err);
		if (!status)
			status = check_identity(*connection, who, err);
		if (!status && told)
			log_info("reached the database again", "thread", who);
		if (!status)
			return E_OK;
		connection_close_pointer(connection);
		if (status != E_RETRY)
			return status;
		if (!told)
			log_warning("could not reach the database, trying on", "thread", who, "error", err->text);
		told = true;
		cell_pause(cell, wait_ms);
	}
	return fail(err, E_RETRY, "stopping");
}

int cell_queue_count(struct cell *cell)
{
	return atomic_load(&cell->queue_count);
}

const char *cell_queue_name(struct cell *cell, int queue)
{
	return cell->queues[queue]->name;
}

int cell_known_queue(struct cell *cell, struct slice name)
{
	int count = atomic_load(&cell->queue_count);
	for (int i = 0; i < count; i++)
		if (slice_is(name, cell->queues[i]->name))
			return i;
	return -1;
}

/* Called with the lock held: the new queue is complete before it is counted. */
static int add_queue(struct cell *cell, struct slice name)
{
	int count = atomic_load(&cell->queue_count);
	if (count == QUEUES_MAX || name.length > QUEUE_BYTES_MAX)
		return -1;
	struct queue *queue = xcalloc(1, sizeof *queue);
	memcpy(queue->name, name.start, name.length);
	placement_resize(&queue->placement, 1);
	cell->queues[count] = queue;
	atomic_store(&cell->queue_count, count + 1);
	signal_fd(cell->rounds_fd); /* its topic is asked for there */
	return count;
}

int cell_queue(struct cell *cell, struct slice name)
{
	int queue = cell_known_queue(cell, name);
	if (queue >= 0)
		return queue;
	pthread_mutex_lock(&cell->lock);
	queue = cell_known_queue(cell, name);
	if (queue < 0)
		queue = add_queue(cell, name);
	pthread_mutex_unlock(&cell->lock);
	if (queue < 0)
		log_error("cannot serve one more queue", "limit", LOG_INT(QUEUES_MAX));
	return queue;
}

int32_t cell_partitions(struct cell *cell, int queue)
{
	return atomic_load(&cell->queues[queue]->partitions);
}

void cell_set_partitions(struct cell *cell, int queue, int32_t partitions)
{
	pthread_mutex_lock(&cell->lock);
	placement_resize(&cell->queues[queue]->placement, partitions);
	atomic_store(&cell->queues[queue]->partitions, partitions);
	pthread_mutex_unlock(&cell->lock);
}

void cell_set_full(struct cell *cell, int queue, const int32_t *partitions, int32_t count)
{
	pthread_mutex_lock(&cell->lock);
	placement_set_full(&cell->queues[queue]->placement, partitions, count);
	pthread_mutex_unlock(&cell->lock);
}

void cell_set_led(struct cell *cell, int queue, const bool *led, int32_t count)
{
	pthread_mutex_lock(&cell->lock);
	placement_set_led(&cell->queues[queue]->placement, led, count);
	pthread_mutex_unlock(&cell->lock);
}

void cell_choose(struct cell *cell, int queue, int32_t *targets, int32_t count)
{
	if (queue < 0) {
		memset(targets, 0, (size_t)count * sizeof *targets);
		return;
	}
	pthread_mutex_lock(&cell->lock);
	placement_choose(&cell->queues[queue]->placement, clock_monotonic_ms(), targets, count);
	pthread_mutex_unlock(&cell->lock);
}

void cell_sent(struct cell *cell, int queue, int32_t partition)
{
	pthread_mutex_lock(&cell->lock);
	placement_sent(&cell->queues[queue]->placement, partition);
	pthread_mutex_unlock(&cell->lock);
}

void cell_answered(struct cell *cell, int queue, int32_t partition)
{
	if (queue < 0)
		return;
	pthread_mutex_lock(&cell->lock);
	placement_answered(&cell->queues[queue]->placement, partition);
	pthread_mutex_unlock(&cell->lock);
}

void cell_add_free(struct cell *cell, int queue, int places)
{
	if (queue < 0)
		return;
	atomic_fetch_add(&cell->queues[queue]->free_places, places);
	signal_fd(cell->wake_fd);
}

int cell_take_free(struct cell *cell, int queue)
{
	return atomic_exchange(&cell->queues[queue]->free_places, 0);
}

int cell_wake_fd(const struct cell *cell)
{
	return cell->wake_fd;
}

static void drain_fd(int fd)
{
	uint64_t count;
	ssize_t got = read(fd, &count, sizeof count);
	(void)got; /* nothing to read is fine */
}

void cell_drain_wake(struct cell *cell)
{
	drain_fd(cell->wake_fd);
}

int cell_rounds_fd(const struct cell *cell)
{
	return cell->rounds_fd;
}

void cell_drain_rounds(struct cell *cell)
{
	drain_fd(cell->rounds_fd);
}

void cell_set_beat(struct cell *cell, struct beat beat)
{
	bool begins = beat.in_flight && !atomic_load(&cell->in_flight);
	if (beat.role && !atomic_load(&cell->role))
		atomic_fetch_add(&cell->terms, 1);
	atomic_store(&cell->role, beat.role);
	atomic_store(&cell->in_flight, beat.in_flight);
	atomic_store(&cell->generation, beat.generation);
	atomic_store(&cell->epoch, beat.epoch);
	atomic_store(&cell->beat_sent_ms, beat.sent_ms);
	if (begins)
		signal_fd(cell->rounds_fd);
}

uint32_t cell_term(const struct cell *cell)
{
	return atomic_load(&cell->role) ? atomic_load(&cell->terms) : 0;
}

bool cell_wants_rounds(const struct cell *cell)
{
	return atomic_load(&cell->role) && atomic_load(&cell->in_flight) && cell_may_dispatch(cell);
}

uint32_t cell_life(const struct cell *cell)
{
	return atomic_load(&cell->life);
}

void cell_end_life(struct cell *cell)
{
	atomic_store(&cell->role, false);
	atomic_store(&cell->in_flight, false);
	atomic_store(&cell->beat_sent_ms, INT64_MIN / 2);
	atomic_fetch_add(&cell->life, 1);
}

void cell_set_life(struct cell *cell, int thread, uint32_t life)
{
	atomic_store(&cell->lives[thread], life);
}

bool cell_life_begun(const struct cell *cell)
{
	uint32_t life = cell_life(cell);
	for (int i = 0; i < CELL_THREADS_MAX; i++) {
		uint32_t one = atomic_load(&cell->lives[i]);
		if (one != NO_THREAD && one != life)
			return false;
	}
	return true;
}

int64_t cell_generation(const struct cell *cell)
{
	return atomic_load(&cell->generation);
}

int64_t cell_epoch(const struct cell *cell)
{
	return atomic_load(&cell->epoch);
}

bool cell_may_dispatch(const struct cell *cell)
{
	return clock_monotonic_ms() - atomic_load(&cell->beat_sent_ms) < cell->settings->lease_ms;
}

void cell_set_floor(struct cell *cell, int thread, int64_t floor)
{
	atomic_store(&cell->floors[thread], floor);
}

int64_t cell_floor(const struct cell *cell)
{
	int64_t floor = atomic_load(&cell->epoch);
	for (int i = 0; i < CELL_THREADS_MAX; i++) {
		int64_t one = atomic_load(&cell->floors[i]);
		floor = one < floor ? one : floor;
	}
	return floor;
}

#define LANE_EVERY_MS 10000

void cell_ask_for_lane(struct cell *cell)
{
	long long before = atomic_load(&cell->lane_asked_ms), now_ms = clock_monotonic_ms();
	if ((before == 0 || now_ms - before >= LANE_EVERY_MS) && atomic_compare_exchange_strong(&cell->lane_asked_ms, &before, now_ms))
		signal_fd(cell->lanes_fd);
}

bool cell_wait_for_lane(struct cell *cell)
{
	struct pollfd waited[] = {{.fd = cell->stop_fd, .events = POLLIN}, {.fd = cell->lanes_fd, .events = POLLIN}};
	uint64_t one;
	while (!cell_stopping(cell)) {
		poll(waited, COUNT_OF(waited), -1);
		if (!cell_stopping(cell) && read(cell->lanes_fd, &one, sizeof one) == sizeof one)
			return true;
	}
	return false;
}
