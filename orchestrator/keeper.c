#include "orchestrator/keeper.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/limits.h"
#include "common/log.h"
#include "common/memory.h"
#include "orchestrator/array.h"
#include "orchestrator/engine.h"
#include "orchestrator/rows.h"

#define AWAKE_LOOK_MS 5   /* between two looks for due tasks while there were some */
#define AWAKE_FOR_MS 100  /* how long without any until it sleeps */
#define COUNT_MS 1000     /* between two counts of the windows; also the safety net: a wake-up can be missed */
#define TOPICS_TIMEOUT_MS 5000 /* at start */
#define SWEEP_MS 10000         /* between two looks for what has expired, and how much at a time */
#define SWEEP_ROWS 1000
#define LEARN_MS 30000         /* between two looks at the number of partitions */
#define NEW_TOPIC_TIMEOUT_MS 1000 /* later: the sign of life must not wait for it */

struct keeper {
	struct engine engine;
	uuid_t instance;
	char name[80];
	bool joined;
	bool role;
	bool sleeping;
	int64_t beat_ms;  /* when the last one was sent */
	int64_t look_ms;  /* when due tasks were looked for last */
	int64_t count_ms; /* when the windows were counted last */
	int64_t learned_ms; /* when the numbers of partitions were asked for last */
	int64_t swept_ms;   /* when what has expired was deleted last */
	int64_t busy_ms;  /* when something was admitted or told last */
	int free[QUEUES_MAX];     /* places in the windows: as counted, less what was admitted, more what ended here */
	bool empty[QUEUES_MAX];   /* the last look found less than there was room for */
	struct array targets;
	int32_t partitions[BATCH_REPLIES_MAX];
};

static void nothing(void *context, struct origin origin)
{
	(void)context;
	(void)origin;
}

/* --- Topics */

/* Creates what is missing and learns how many partitions the task topic of a queue has. */
static enum status make_task_topic(struct keeper *keeper, int queue, int timeout_ms, struct error *err)
{
	const struct settings *settings = cell_settings(keeper->engine.cell);
	rd_kafka_t *client = dispatcher_producer(keeper->engine.dispatcher);
	char name[250];
	int partitions = 0;
	topics_tasks(cell_topics(keeper->engine.cell), cell_queue_name(keeper->engine.cell, queue), name);
	enum status status = kafka_partitions(client, name, timeout_ms, &partitions, err);
	if (!status && partitions == 0) {
		status = kafka_create_topics(client, &(struct topic_wanted){name, (int)settings->task_partitions}, 1, timeout_ms, err);
		if (!status)
			status = kafka_partitions(client, name, timeout_ms, &partitions, err);
	}
	if (!status && partitions == 0)
		status = fail(err, E_RETRY, "topic %s is not there yet", name);
	if (!status && partitions > PARTITIONS_MAX)
		status = fail(err, E_FATAL, "topic %s has %d partitions, the limit is %d", name, partitions, PARTITIONS_MAX);
	if (!status)
		cell_set_partitions(keeper->engine.cell, queue, partitions);
	return status;
}

static enum status check_partitions(struct keeper *keeper, const char *topic, struct error *err)
{
	int partitions = 0;
	enum status status = kafka_partitions(dispatcher_producer(keeper->engine.dispatcher), topic, TOPICS_TIMEOUT_MS, &partitions, err);
	if (!status && partitions > PARTITIONS_MAX)
		status = fail(err, E_FATAL, "topic %s has %d partitions, the limit is %d", topic, partitions, PARTITIONS_MAX);
	return status;
}

static enum status make_common_topics(struct keeper *keeper, struct error *err)
{
	const struct topics *topics = cell_topics(keeper->engine.cell);
	char results[250], operations[250], control[250];
	const struct topic_wanted wanted[] = {
		{topics_named(topics, "results", results), (int)cell_settings(keeper->engine.cell)->result_partitions},
		{topics_named(topics, "operations", operations), 1},
		{topics_named(topics, "control", control), 1},
	};
	enum status status = kafka_create_topics(dispatcher_producer(keeper->engine.dispatcher), wanted, COUNT_OF(wanted), TOPICS_TIMEOUT_MS, err);
	for (size_t i = 0; i < COUNT_OF(wanted) && !status; i++)
		status = check_partitions(keeper, wanted[i].name, err);
	return status;
}

/* At start: waits for the broker as long as it takes. */
static enum status make_topics(struct keeper *keeper, struct error *err)
{
	for (int64_t wait_ms = 100;; wait_ms = wait_ms < 2000 ? wait_ms * 2 : 2000) {
		enum status status = make_common_topics(keeper, err);
		if (!status)
			status = make_task_topic(keeper, cell_queue(keeper->engine.cell, slice_of("")), TOPICS_TIMEOUT_MS, err);
		if (status != E_RETRY)
			return status;
		log_warning("could not prepare the topics, trying on", "error", err->text);
		if (!cell_pause(keeper->engine.cell, wait_ms))
			return E_RETRY;
	}
}

/* --- The beat */

static enum status beat(struct keeper *keeper, bool sleeping, struct error *err)
{
	const struct settings *settings = cell_settings(keeper->engine.cell);
	char room[3][8], lease[32], silence[32];
	PGresult *row CLEANUP(result_clear) = NULL;
	int64_t sent_ms = clock_monotonic_ms();
	snprintf(lease, sizeof lease, "%" PRId64 " ms", settings->lease_ms);
	snprintf(silence, sizeof silence, "%" PRId64 " ms", settings->silence_ms);
	const struct parameter parameters[] = {parameter_uuid(keeper->instance), parameter_text(keeper->name), parameter_text(KSER_VERSION),
		parameter_int8(room[0], cell_floor(keeper->engine.cell)), parameter_bool(room[1], sleeping), parameter_bool(room[2], !keeper->joined),
		{.type = 1186, .bytes = lease}, {.type = 1186, .bytes = silence}};
	enum status status = engine_run(&keeper->engine, engine_statement("beat.sql"), parameters, COUNT_OF(parameters), false, &row, err);
	if (status)
		return status;
	if (!row_bool(row, 0, 0)) {
		log_warning("this orchestrator was silent for too long and was removed, joining anew");
		keeper->joined = false;
		return E_OK;
	}
	bool role = row_bool(row, 0, 3);
	if (role != keeper->role)
		log_info(role ? "has the keeper's role" : "another orchestrator has the keeper's role");
	keeper->joined = true;
	keeper->role = role;
	keeper->sleeping = sleeping;
	keeper->beat_ms = sent_ms;
	cell_set_beat(keeper->engine.cell, (struct beat){.sent_ms = sent_ms, .epoch = row_int8(row, 0, 2)});
	return E_OK;
}

/* --- Admission */

/* Admits up to `places` tasks of one queue; how many it were. */
static int admit(struct keeper *keeper, int queue, int places)
{
	struct error err;
	struct cell *cell = keeper->engine.cell;
	PGresult *rows CLEANUP(result_clear) = NULL;
	cell_choose(cell, queue, keeper->partitions, places);
	array_begin(&keeper->targets, ARRAY_INT4);
	for (int i = 0; i < places; i++)
		array_add_int4(&keeper->targets, keeper->partitions[i]);
	const struct parameter parameters[] = {parameter_text(cell_queue_name(cell, queue)), array_parameter(&keeper->targets)};
	engine_begin_call(&keeper->engine);
	/* A lock that cannot be had: nothing was admitted, the next look comes soon. */
	if (engine_run(&keeper->engine, engine_statement("admit.sql"), parameters, COUNT_OF(parameters), true, &rows, &err)) {
		engine_end_call(&keeper->engine);
		return 0;
	}
	if (!cell_may_dispatch(cell))
		log_error("admitted tasks while the sign of life was too old to dispatch them", "queue", cell_queue_name(cell, queue), "count", LOG_INT(PQntuples(rows)));
	for (int row = 0; cell_may_dispatch(cell) && row < PQntuples(rows); row++)
		engine_dispatch(&keeper->engine, rows, row, 0, queue, row_text(rows, row, 14), (struct origin){.partition = -1});
	engine_end_call(&keeper->engine);
	return PQntuples(rows);
}

/* What is admitted without a fresh sign of life could not be dispatched. */
static bool beat_is_due(const struct keeper *keeper)
{
	return clock_monotonic_ms() - keeper->beat_ms >= cell_settings(keeper->engine.cell)->beat_ms;
}

/* Fills one queue's window as far as tasks are due. */
static void fill(struct keeper *keeper, int queue)
{
	keeper->empty[queue] = false;
	while (keeper->free[queue] > 0 && !keeper->empty[queue] && !beat_is_due(keeper) && !cell_stopping(keeper->engine.cell)) {
		int places = keeper->free[queue] < BATCH_REPLIES_MAX ? keeper->free[queue] : BATCH_REPLIES_MAX;
		int admitted = admit(keeper, queue, places);
		keeper->free[queue] -= admitted;
		keeper->empty[queue] = admitted < places;
		if (admitted > 0)
			keeper->busy_ms = clock_monotonic_ms();
	}
}

/* `look`: also where nothing was due before. Without the role only what our own lanes made free may be filled. */
static void fill_all(struct keeper *keeper, bool look)
{
	if (look)
		keeper->look_ms = clock_monotonic_ms();
	for (int queue = 0; queue < cell_queue_count(keeper->engine.cell); queue++) {
		keeper->free[queue] += cell_take_free(keeper->engine.cell, queue);
		if (look || !keeper->empty[queue])
			fill(keeper, queue);
		if (!keeper->role)
			keeper->free[queue] = 0;
	}
}

/* The number of a queue; -1 when it has to wait for its topic. `learn`: ask for its partitions, they may have become more. */
static int serve_queue(struct keeper *keeper, struct slice name, bool learn)
{
	struct error err;
	int queue = cell_queue(keeper->engine.cell, name);
	if (queue >= 0 && (learn || cell_partitions(keeper->engine.cell, queue) == 0) && make_task_topic(keeper, queue, NEW_TOPIC_TIMEOUT_MS, &err)) {
		log_warning("could not prepare the topic of a queue, trying on", "queue", cell_queue_name(keeper->engine.cell, queue), "error", err.text);
		return -1;
	}
	return queue;
}

/* Counts what each window still takes. */
static void count_windows(struct keeper *keeper)
{
	struct error err;
	PGresult *rows CLEANUP(result_clear) = NULL;
	keeper->count_ms = clock_monotonic_ms();
	bool learn = keeper->count_ms - keeper->learned_ms >= LEARN_MS;
	if (learn)
		keeper->learned_ms = keeper->count_ms;
	if (engine_run(&keeper->engine, engine_statement("window_free.sql"), NULL, 0, true, &rows, &err))
		return;
	for (int row = 0; row < PQntuples(rows); row++) {
		int queue = serve_queue(keeper, row_text(rows, row, 0), learn);
		if (queue < 0 || !keeper->role)
			continue;
		cell_take_free(keeper->engine.cell, queue);
		keeper->free[queue] = row_int4(rows, row, 1);
	}
}

/* --- Housekeeping */

static void sweep(struct keeper *keeper)
{
	struct error err;
	char room[8];
	PGresult *row CLEANUP(result_clear) = NULL;
	keeper->swept_ms = clock_monotonic_ms();
	if (engine_run(&keeper->engine, engine_statement("sweep.sql"), (struct parameter[]){parameter_int4(room, SWEEP_ROWS)}, 1, true, &row, &err))
		return;
	if (row_int4(row, 0, 0) == SWEEP_ROWS)
		keeper->swept_ms = 0; /* there is more */
}

/* --- Life */

enum status keeper_open(struct cell *cell, struct keeper **keeper, struct error *err)
{
	char host[64] = "";
	struct keeper *made = xcalloc(1, sizeof *made);
	gethostname(host, sizeof host - 1);
	snprintf(made->name, sizeof made->name, "%s:%d", host, (int)getpid());
	uuid_generate_random(made->instance);
	made->engine = (struct engine){.cell = cell, .who = "keeper", .thread = CELL_THREADS_MAX - 1};
	enum status status = cell_connect(cell, "keeper", &made->engine.connection, err);
	if (!status)
		status = dispatcher_open(cell, "keeper", nothing, NULL, &made->engine.dispatcher, err);
	if (!status)
		status = make_topics(made, err);
	if (!status)
		status = beat(made, false, err);
	if (status) {
		keeper_free(made);
		return status;
	}
	*keeper = made;
	return E_OK;
}

/* Signs off only when nothing of this process is on its way any more. */
static void leave(struct keeper *keeper)
{
	struct error err;
	PGresult *row CLEANUP(result_clear) = NULL;
	dispatcher_close(TAKE(keeper->engine.dispatcher), cell_drain_left_ms(keeper->engine.cell));
	if (!keeper->joined || !connection_usable(keeper->engine.connection))
		return;
	if (connection_run(keeper->engine.connection, engine_statement("leave.sql"), (struct parameter[]){parameter_uuid(keeper->instance)}, 1, true, 2000, &row, &err))
		log_warning("could not sign off", "error", err.text);
}

void keeper_free(struct keeper *keeper)
{
	if (!keeper)
		return;
	leave(keeper);
	engine_clear(&keeper->engine);
	array_clear(&keeper->targets);
	free_pointer(&keeper);
}

/* Until a lane or a submit has something for us, or it is time to look. True: somebody submitted. */
static bool wait_for_work(struct keeper *keeper)
{
	struct pollfd fds[] = {{.fd = cell_wake_fd(keeper->engine.cell), .events = POLLIN}, {.fd = connection_socket(keeper->engine.connection), .events = POLLIN}};
	int64_t until = keeper->beat_ms + cell_settings(keeper->engine.cell)->beat_ms;
	if (keeper->count_ms + COUNT_MS < until)
		until = keeper->count_ms + COUNT_MS;
	if (!keeper->sleeping && keeper->look_ms + AWAKE_LOOK_MS < until)
		until = keeper->look_ms + AWAKE_LOOK_MS;
	int64_t wait_ms = until - clock_monotonic_ms();
	poll(fds, COUNT_OF(fds), wait_ms < 0 ? 0 : (int)wait_ms);
	if (fds[0].revents)
		cell_drain_wake(keeper->engine.cell);
	return connection_notified(keeper->engine.connection);
}

/* Connects anew where the connection was lost, and listens: what was told meanwhile is found by the look. */
static enum status listen_anew(struct keeper *keeper, int *listening, struct error *err)
{
	enum status status = E_OK;
	if (!connection_usable(keeper->engine.connection)) {
		connection_close_pointer(&keeper->engine.connection);
		status = cell_connect(keeper->engine.cell, "keeper", &keeper->engine.connection, err);
	}
	int backend = connection_backend(keeper->engine.connection);
	if (!status && *listening != backend)
		status = connection_listen(keeper->engine.connection, "kser_ready", err);
	*listening = status ? 0 : backend;
	return status;
}

static void turn(struct keeper *keeper)
{
	struct error err;
	bool told = wait_for_work(keeper);
	int64_t now_ms = clock_monotonic_ms();
	if (told)
		keeper->busy_ms = now_ms;
	bool sleepy = now_ms - keeper->busy_ms >= AWAKE_FOR_MS, falls_asleep = sleepy && !keeper->sleeping;
	if (sleepy != keeper->sleeping || !keeper->joined || now_ms - keeper->beat_ms >= cell_settings(keeper->engine.cell)->beat_ms)
		if (beat(keeper, sleepy, &err))
			return;
	bool count = now_ms - keeper->count_ms >= COUNT_MS;
	if (count)
		count_windows(keeper);
	/* Whoever read `sleeping` before it was set did not tell: hence a look when falling asleep. */
	fill_all(keeper, told || count || falls_asleep || (!sleepy && now_ms - keeper->look_ms >= AWAKE_LOOK_MS));
	if (keeper->role && now_ms - keeper->swept_ms >= SWEEP_MS)
		sweep(keeper);
	dispatcher_poll(keeper->engine.dispatcher, 0);
	engine_settle_refused(&keeper->engine, nothing, NULL);
	engine_end_call(&keeper->engine);
}

void *keeper_run(void *argument)
{
	struct keeper *keeper = argument;
	int listening = 0; /* the server's process that tells us */
	struct error err;
	while (!cell_stopping(keeper->engine.cell)) {
		if (listen_anew(keeper, &listening, &err)) {
			if (err.status != E_RETRY) {
				log_error("cannot go on", "error", err.text);
				cell_fail(keeper->engine.cell);
			}
			continue;
		}
		turn(keeper);
	}
	return NULL;
}
