#include "orchestrator/keeper.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/fault.h"
#include "common/limits.h"
#include "common/log.h"
#include "common/memory.h"
#include "orchestrator/array.h"
#include "orchestrator/control.h"
#include "orchestrator/engine.h"
#include "orchestrator/redrive.h"
#include "orchestrator/rows.h"
#include "orchestrator/task_topics.h"

#define AWAKE_LOOK_MS 5   /* between two looks for due tasks while there were some */
#define AWAKE_FOR_MS 100  /* how long without any until it sleeps */
#define GATHER_PART 16    /* such a part of a window is gathered before it is filled again */
#define GATHER_MS 20      /* or as many places as become free in this time */
#define COUNT_MS 1000     /* between two counts of the windows; also the safety net: a wake-up can be missed */
#define PACE_MAX_MS 10000 /* between two counts, or two looks for gauges, that take long: at most */
#define SWEEP_MS 10000         /* between two looks for what has expired, and how much at a time */
#define SWEEP_ROWS 1000
#define BACKLOG_MS 10000       /* between two counts of what waits */
#define MEASURE_MS 5000        /* between two looks at the database for gauges, when they are on */
#define STOPS_MS 1000          /* between two times that open stops are told */
#define SPARE_MS 2000          /* between two times that a queue's free slots are told */
#define WARM_TIMEOUT_MS 1000   /* once for each queue */
#define LEAVING_LIFE_MS 100    /* between two looks whether all threads have dropped what was not sent */

/* Columns of the statements. */
enum { REGISTERED, GENERATION, EPOCH, KEEPER, IN_FLIGHT, OVERDUE, STOPS, REDRIVE };
enum { QUEUE, FREE, FULL_PARTITIONS, SPARE, WINDOW };
enum { RESULT = 14, WAITED };
enum { OF_QUEUE, OLDEST_DUE, BACKLOG, RUNNING, WORKERS, CLAIMS, DEAD };

/* What the last beat said that the keeper has to do. */
struct chores {
	bool overdue;
	bool stops;
	bool redrive;
};

struct keeper {
	struct engine engine;
	uuid_t instance;
	char name[80];
	bool joined;
	bool role;
	bool sleeping;
	int64_t beat_ms;  /* when the last one was sent */
	int64_t look_ms;  /* when due tasks were looked for last */
	int64_t count_ms; /* when the windows are counted next */
	int64_t swept_ms;   /* when what has expired was deleted last */
	int64_t backlog_ms; /* when what waits was counted last */
	int64_t measure_ms; /* when the gauges are read next */
	int64_t stops_ms;   /* when open stops were told last */
	int64_t busy_ms;  /* when something was admitted or told last */
	int free[QUEUES_MAX];     /* places in the windows: as counted, less what was admitted, more what ended here */
	int window[QUEUES_MAX];   /* as counted last */
	int64_t admitted_ms[QUEUES_MAX]; /* when the last admission began */
	bool empty[QUEUES_MAX];   /* the last look found less than there was room for */
	bool warm[QUEUES_MAX];    /* the producer knows the topic: the first dispatch does not wait for that */
	int64_t spare_ms[QUEUES_MAX]; /* when free slots were told last */
	int64_t told_generation; /* to the workers, in this term */
	struct chores chores;
	struct redrive redrive;
	struct array targets;
	int32_t partitions[BATCH_REPLIES_MAX];
};

/* Admissions have no origin: only what is sent again from the dead letters. */
static void acknowledged(void *context, struct origin origin)
{
	struct keeper *keeper = context;
	redrive_acknowledged(&keeper->redrive, origin);
}

/* --- The beat */

static void note_role(struct keeper *keeper, bool role)
{
	const struct measures *measures = cell_measures(keeper->engine.cell);
	metric_set(measures->keeper, role);
	if (keeper->role && !role)
		measures_hide_keepers(measures);
	if (role && !keeper->role)
		keeper->measure_ms = 0;
	keeper->role = role;
}

/* Others have removed this instance: nothing that it decided before may be sent any more. */
static void end_life(struct keeper *keeper)
{
	log_warning("this orchestrator was silent for too long and was removed, dropping what was not sent and joining anew");
	cell_end_life(keeper->engine.cell);
	dispatcher_purge(keeper->engine.dispatcher);
	keeper->joined = false;
	note_role(keeper, false);
	keeper->told_generation = 0;
	keeper->chores = (struct chores){0};
}

static void note_beat(struct keeper *keeper, const PGresult *row, int64_t sent_ms)
{
	bool role = row_bool(row, 0, KEEPER);
	if (role != keeper->role)
		log_info(role ? "has the keeper's role" : "another orchestrator has the keeper's role");
	if (!role)
		keeper->told_generation = 0;
	note_role(keeper, role);
	keeper->joined = true;
	keeper->chores = (struct chores){row_bool(row, 0, OVERDUE), row_bool(row, 0, STOPS), row_bool(row, 0, REDRIVE)};
	cell_set_beat(keeper->engine.cell, (struct beat){.sent_ms = sent_ms, .epoch = row_int8(row, 0, EPOCH), .generation = row_int8(row, 0, GENERATION),
		.role = role, .in_flight = row_bool(row, 0, IN_FLIGHT)});
}

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
	keeper->beat_ms = sent_ms;
	if (!row_bool(row, 0, REGISTERED)) {
		end_life(keeper);
		return E_OK;
	}
	keeper->sleeping = sleeping;
	note_beat(keeper, row, sent_ms);
	return E_OK;
}

/* --- Admission */

static void measure_admitted(const struct keeper *keeper, const PGresult *rows)
{
	const struct measures *measures = cell_measures(keeper->engine.cell);
	metric_add(measures->admitted, PQntuples(rows));
	for (int row = 0; measures->metrics && row < PQntuples(rows); row++)
		metric_observe(measures->admission_wait, row_int8(rows, row, WAITED) * 1000);
}

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
	measure_admitted(keeper, rows);
	if (PQntuples(rows) > 0)
		(void)FAULT("admit.after_commit_before_produce");
	if (!cell_may_dispatch(cell))
		log_error("admitted tasks while the sign of life was too old to dispatch them", "queue", cell_queue_name(cell, queue), "count", LOG_INT(PQntuples(rows)));
	for (int row = 0; cell_may_dispatch(cell) && row < PQntuples(rows); row++)
		engine_dispatch(&keeper->engine, rows, row, 0, queue, row_text(rows, row, RESULT), (struct origin){.partition = -1});
	dispatcher_flush(keeper->engine.dispatcher);
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
		keeper->admitted_ms[queue] = clock_monotonic_ms();
		int admitted = admit(keeper, queue, places);
		keeper->free[queue] -= admitted;
		keeper->empty[queue] = admitted < places;
		if (admitted > 0)
			keeper->busy_ms = clock_monotonic_ms();
	}
}

bool keeper_gathers(int free, int window, int64_t since_ms)
{
	return free < window / GATHER_PART && since_ms < GATHER_MS;
}

/* `look`: also where nothing was due before. Without the role only what our own lanes made free may be filled. */
static void fill_all(struct keeper *keeper, bool look)
{
	if (look)
		keeper->look_ms = clock_monotonic_ms();
	for (int queue = 0; queue < cell_queue_count(keeper->engine.cell); queue++) {
		keeper->free[queue] += cell_take_free(keeper->engine.cell, queue);
		if (!keeper->empty[queue] && keeper_gathers(keeper->free[queue], keeper->window[queue], clock_monotonic_ms() - keeper->admitted_ms[queue]))
			continue;
		if (look || !keeper->empty[queue])
			fill(keeper, queue);
		if (!keeper->role)
			keeper->free[queue] = 0;
	}
}

/* The number of a queue; -1 while its topic is not known to be there. */
static int serve_queue(struct keeper *keeper, struct slice name)
{
	struct error err;
	char topic[250];
	int partitions, queue = cell_queue(keeper->engine.cell, name);
	if (queue < 0 || cell_partitions(keeper->engine.cell, queue) == 0)
		return -1;
	/* A slow broker must not hold up the sign of life. */
	if (keeper->warm[queue] || beat_is_due(keeper))
		return queue;
	keeper->warm[queue] = true;
	topics_tasks(cell_topics(keeper->engine.cell), cell_queue_name(keeper->engine.cell, queue), topic);
	if (kafka_partitions(dispatcher_producer(keeper->engine.dispatcher), topic, WARM_TIMEOUT_MS, &partitions, &err))
		log_debug("the first dispatch of a queue may take a second", "topic", topic, "error", err.text);
	return queue;
}

static void note_full(struct keeper *keeper, int queue, const PGresult *rows, int row)
{
	int32_t partitions[PARTITIONS_MAX];
	int32_t count = row_int4_array(rows, row, FULL_PARTITIONS, partitions, PARTITIONS_MAX);
	cell_set_full(keeper->engine.cell, queue, partitions, count);
}

/* Tells the workers of a queue that others of it have free slots while somebody's tasks wait. */
static void tell_spare(struct keeper *keeper, int queue, int32_t slots)
{
	int64_t now_ms = clock_monotonic_ms();
	if (slots <= 0 || now_ms - keeper->spare_ms[queue] < SPARE_MS)
		return;
	keeper->spare_ms[queue] = now_ms;
	control_spare(keeper->engine.cell, keeper->engine.dispatcher, cell_queue_name(keeper->engine.cell, queue), slots);
}

/* When something is done again that began then and has just ended. */
static int64_t next_ms(int64_t began_ms, int64_t interval_ms)
{
	return began_ms + clock_pace(interval_ms, clock_monotonic_ms() - began_ms, PACE_MAX_MS);
}

/* Counts what each window still takes. */
static void count_windows(struct keeper *keeper)
{
	struct error err;
	PGresult *rows CLEANUP(result_clear) = NULL;
	int64_t began_ms = clock_monotonic_ms();
	enum status status = engine_run(&keeper->engine, engine_statement("window_free.sql"), NULL, 0, true, &rows, &err);
	keeper->count_ms = next_ms(began_ms, COUNT_MS);
	if (status)
		return;
	for (int row = 0; row < PQntuples(rows); row++) {
		int queue = serve_queue(keeper, row_text(rows, row, QUEUE));
		if (queue < 0)
			continue;
		note_full(keeper, queue, rows, row);
		keeper->window[queue] = row_int4(rows, row, WINDOW);
		if (!keeper->role)
			continue;
		cell_take_free(keeper->engine.cell, queue);
		keeper->free[queue] = row_int4(rows, row, FREE);
		tell_spare(keeper, queue, row_int4(rows, row, SPARE));
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

/* Counts what waits in each queue, so that submits are refused where it is too much. */
static void measure_backlog(struct keeper *keeper)
{
	struct error err;
	PGresult *row CLEANUP(result_clear) = NULL;
	keeper->backlog_ms = clock_monotonic_ms();
	if (engine_run(&keeper->engine, engine_statement("measure_backlog.sql"), NULL, 0, true, &row, &err))
		log_debug("could not count what waits", "error", err.text);
}

/* What only the database knows. */
static void measure(struct keeper *keeper)
{
	struct error err;
	PGresult *rows CLEANUP(result_clear) = NULL;
	const struct measures *measures = cell_measures(keeper->engine.cell);
	int64_t began_ms = clock_monotonic_ms();
	keeper->measure_ms = began_ms + MEASURE_MS;
	if (!measures->metrics)
		return;
	enum status status = engine_run(&keeper->engine, engine_statement("gauges.sql"), NULL, 0, true, &rows, &err);
	keeper->measure_ms = next_ms(began_ms, MEASURE_MS);
	if (status) {
		log_debug("could not read the gauges", "error", err.text);
		return;
	}
	for (int row = 0; row < PQntuples(rows); row++) {
		struct slice queue = row_text(rows, row, OF_QUEUE);
		measures_set_of_queue(measures, MEASURE_OLDEST_DUE, queue, row_int8(rows, row, OLDEST_DUE));
		measures_set_of_queue(measures, MEASURE_BACKLOG, queue, row_int8(rows, row, BACKLOG));
		measures_set_of_queue(measures, MEASURE_RUNNING, queue, row_int8(rows, row, RUNNING));
		measures_set_of_queue(measures, MEASURE_WORKERS, queue, row_int8(rows, row, WORKERS));
		measures_set(measures, MEASURE_CLAIMS, row_int8(rows, row, CLAIMS));
		measures_set(measures, MEASURE_DEAD, row_int8(rows, row, DEAD));
	}
	measures_age_keepers(measures);
}

static void end_overdue(struct keeper *keeper)
{
	struct error err;
	PGresult *row CLEANUP(result_clear) = NULL;
	keeper->chores.overdue = false;
	if (engine_run(&keeper->engine, engine_statement("overdue.sql"), NULL, 0, true, &row, &err))
		log_debug("could not end what is overdue", "error", err.text);
	else if (row_int4(row, 0, 0) > 0)
		log_info("ended what was overdue", "count", LOG_INT(row_int4(row, 0, 0)));
}

static void tell_stops(struct keeper *keeper)
{
	struct error err;
	PGresult *rows CLEANUP(result_clear) = NULL;
	keeper->stops_ms = clock_monotonic_ms();
	keeper->chores.stops = false;
	if (engine_run(&keeper->engine, engine_statement("stops_open.sql"), NULL, 0, true, &rows, &err))
		return;
	control_stop_rows(keeper->engine.cell, keeper->engine.dispatcher, rows);
}

static void tell_generation(struct keeper *keeper)
{
	int64_t generation = cell_generation(keeper->engine.cell);
	if (generation == keeper->told_generation)
		return;
	keeper->told_generation = generation;
	control_generation(keeper->engine.cell, keeper->engine.dispatcher, generation);
}

/* What only the one with the keeper's role does. `told`: somebody has submitted, or asked for a stop. */
static void do_chores(struct keeper *keeper, bool told)
{
	int64_t now_ms = clock_monotonic_ms();
	tell_generation(keeper);
	if (told || (keeper->chores.stops && now_ms - keeper->stops_ms >= STOPS_MS))
		tell_stops(keeper);
	if (keeper->chores.overdue)
		end_overdue(keeper);
	redrive_go_on(&keeper->redrive, &keeper->engine, keeper->chores.redrive);
	if (now_ms - keeper->swept_ms >= SWEEP_MS)
		sweep(keeper);
	if (now_ms - keeper->backlog_ms >= BACKLOG_MS)
		measure_backlog(keeper);
	if (now_ms >= keeper->measure_ms)
		measure(keeper);
}

/* --- Life */

/* Two prefixes on one database would take each other's tasks, and prove each other's lost. */
static enum status take_topics(struct keeper *keeper, struct error *err)
{
	const char *prefix = cell_settings(keeper->engine.cell)->topic_prefix;
	PGresult *row CLEANUP(result_clear) = NULL;
	enum status status = engine_run(&keeper->engine, engine_statement("take_topics.sql"), (struct parameter[]){parameter_text(prefix)}, 1, false, &row, err);
	if (status)
		return status;
	struct slice taken = row_text(row, 0, 0);
	if (slice_is(taken, prefix))
		return E_OK;
	return fail(err, E_INVALID, "topic-prefix: is '%s', but the tasks of this database go to the topics of '%.*s'; for other topics stop all its orchestrators and run kser db new-generation",
		prefix, (int)taken.length, taken.start);
}

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
		status = take_topics(made, err);
	if (!status)
		status = dispatcher_open(cell, "keeper", acknowledged, made, &made->engine.dispatcher, err);
	if (!status)
		status = task_topics_prepare(cell, dispatcher_producer(made->engine.dispatcher), err);
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
	redrive_clear(&keeper->redrive);
	free_pointer(&keeper);
}

/* Until a lane or a submit has something for us, or it is time to look. True: somebody submitted. */
static bool wait_for_work(struct keeper *keeper)
{
	struct pollfd fds[] = {{.fd = cell_wake_fd(keeper->engine.cell), .events = POLLIN}, {.fd = connection_socket(keeper->engine.connection), .events = POLLIN}};
	int64_t until = keeper->beat_ms + cell_settings(keeper->engine.cell)->beat_ms;
	if (keeper->count_ms < until)
		until = keeper->count_ms;
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

/* A sign of life when it is time, or when falling asleep and waking up. One that was removed joins when nothing of its old life is left. */
static enum status beat_if_due(struct keeper *keeper, bool sleepy, struct error *err)
{
	struct cell *cell = keeper->engine.cell;
	if (!keeper->joined && !cell_life_begun(cell)) {
		(void)cell_pause(cell, LEAVING_LIFE_MS);
		return fail(err, E_RETRY, "not all threads have dropped what was not sent");
	}
	if (sleepy != keeper->sleeping || !keeper->joined || beat_is_due(keeper))
		return beat(keeper, sleepy, err);
	return E_OK;
}

static void turn(struct keeper *keeper)
{
	struct error err;
	bool told = wait_for_work(keeper);
	int64_t now_ms = clock_monotonic_ms();
	if (told)
		keeper->busy_ms = now_ms;
	bool sleepy = now_ms - keeper->busy_ms >= AWAKE_FOR_MS, falls_asleep = sleepy && !keeper->sleeping;
	if (beat_if_due(keeper, sleepy, &err) || !keeper->joined)
		return;
	bool count = now_ms >= keeper->count_ms;
	if (count)
		count_windows(keeper);
	/* Whoever read `sleeping` before it was set did not tell: hence a look when falling asleep. */
	fill_all(keeper, told || count || falls_asleep || (!sleepy && now_ms - keeper->look_ms >= AWAKE_LOOK_MS));
	if (keeper->role)
		do_chores(keeper, told);
	dispatcher_poll(keeper->engine.dispatcher, 0);
	engine_settle_refused(&keeper->engine, acknowledged, keeper);
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
