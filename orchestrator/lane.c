#include "orchestrator/lane.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <utlist.h>

#include "common/clock.h"
#include "common/fault.h"
#include "common/log.h"
#include "common/memory.h"
#include "orchestrator/array.h"
#include "orchestrator/batch.h"
#include "orchestrator/engine.h"
#include "orchestrator/intake.h"
#include "orchestrator/records.h"
#include "orchestrator/rows.h"

#define LEAVE_MS 1000 /* the group is always told good-bye, also when the drain limit is used up */
#define IDLE_POLL_MS 200
#define BUSY_WAIT_MS 100
#define FULL_WAIT_MS 1000 /* until a submission that found the backlog full is tried again */
#define AHEAD_WAIT_MS 2000 /* until a reply of an epoch that the database does not know is tried again */
#define OPEN_AGAIN_MS 5000 /* after another lane could not be made */

/*
 * A lane is busy that within a second deals with so many results, in batches of so many or more on average (or of half of what a batch may have):
 * then two of them fill the cores better than one (docs/decisions/0016-another-lane-when-one-is-busy.md).
 */
#define LOAD_MS 1000
#define BUSY_RESULTS 4000
#define BUSY_BATCH 200

#define WAITING_MAX 1000 /* submissions and claims set aside: beyond this their topics wait */

/* Columns of the apply statement, and of the one for plain successes. */
enum { INPUT, VERDICT, FREED, ENDED_PARTITION, DISPATCH, QUEUE = DISPATCH + 14 };
enum { PLAIN_INPUT, PLAIN_FREED, PLAIN_ENDED_PARTITION, PLAIN_QUEUE, PLAIN_NEXT };

/* A submission whose key or queue somebody holds in an open transaction, or whose queue is full; a claim or release of a locked task. */
struct waiting {
	rd_kafka_message_t *record;
	struct origin origin;
	int64_t retry_ms;
	struct waiting *next;
};

struct lane {
	struct engine engine;
	struct intake *intake;
	struct batch *batch;
	struct reply_record *busy; /* their task was locked: tried again, in the careful way */
	size_t busy_count;
	bool careful; /* the batch waits for nobody: it has such ones, or its plain successes met a row that was locked or changed */
	struct waiting *waiting;
	size_t waiting_count;
	int64_t full_until_ms;  /* submissions are left where they are until then; 0: there is room */
	int64_t halted;         /* the generation that this lane has halted */
	uint32_t life;          /* of the cell, that this lane is in */
	struct {
		int64_t since_ms;
		size_t batches, results;
	} load; /* of the last second */
	char name[24];
};

static void acknowledged(void *context, struct origin origin)
{
	struct lane *lane = context;
	intake_finish(lane->intake, origin);
}

static void drop_waiting(struct lane *lane)
{
	for (struct waiting *waiting; (waiting = lane->waiting);) {
		LL_DELETE(lane->waiting, waiting);
		rd_kafka_message_destroy(waiting->record);
		free_pointer(&waiting);
	}
	lane->waiting_count = 0;
}

static void drop_busy(struct lane *lane)
{
	for (size_t i = 0; i < lane->busy_count; i++)
		reply_record_drop(&lane->busy[i]);
	lane->busy_count = 0;
}

/* What was not applied yet comes to the next owner; what was is given time until its dispatches are acknowledged. */
static void revoked(void *context, int64_t deadline_ms)
{
	struct lane *lane = context;
	batch_reset(lane->batch);
	drop_busy(lane);
	drop_waiting(lane);
	while (dispatcher_pending(lane->engine.dispatcher) > 0 && clock_monotonic_ms() < deadline_ms)
		dispatcher_poll(lane->engine.dispatcher, 10);
}

enum status lane_open(struct cell *cell, int number, struct lane **lane, struct error *err)
{
	struct lane *made = xcalloc(1, sizeof *made);
	snprintf(made->name, sizeof made->name, "lane-%d", number);
	made->engine = (struct engine){.cell = cell, .who = made->name, .thread = number};
	made->life = cell_life(cell); /* before the dispatcher reads it: one that ends meanwhile ends for both */
	made->batch = batch_new();
	made->busy = xcalloc(BATCH_REPLIES_MAX, sizeof *made->busy);
	enum status status = dispatcher_open(cell, made->name, acknowledged, made, &made->engine.dispatcher, err);
	if (!status)
		status = intake_open(cell, made->name, revoked, made, &made->intake, err);
	if (status) {
		lane_free(made);
		return status;
	}
	cell_set_life(cell, number, made->life);
	metric_add(cell_measures(cell)->lanes, 1);
	*lane = made;
	return E_OK;
}

void lane_free(struct lane *lane)
{
	if (!lane)
		return;
	intake_close(lane->intake, cell_drain_left_ms(lane->engine.cell) + LEAVE_MS);
	engine_clear(&lane->engine);
	drop_busy(lane);
	drop_waiting(lane);
	free_pointer(&lane->busy);
	batch_free(lane->batch);
	free_pointer(&lane);
}

static void set_aside(struct lane *lane, rd_kafka_message_t *record, struct origin origin, int64_t retry_ms)
{
	struct waiting *waiting = xcalloc(1, sizeof *waiting);
	*waiting = (struct waiting){.record = record, .origin = origin, .retry_ms = retry_ms};
	LL_APPEND(lane->waiting, waiting);
	lane->waiting_count++;
}

/* A queue has as many waiting tasks as it may: submissions wait with the broker, and one of those here tries now and then. */
static void note_full(struct lane *lane, const struct error *err)
{
	if (lane->full_until_ms == 0)
		log_warning("the backlog of a queue is full, submissions by topic wait", "thread", lane->name, "error", err->text);
	lane->full_until_ms = clock_monotonic_ms() + FULL_WAIT_MS;
	intake_pause_submissions(lane->intake, true);
}

static void note_room(struct lane *lane)
{
	if (lane->full_until_ms != 0)
		log_info("the backlog of the queue has room again", "thread", lane->name);
	lane->full_until_ms = 0;
}

static enum status submit(struct lane *lane, const rd_kafka_message_t *record, const struct message *message, struct error *err)
{
	if (lane->full_until_ms > clock_monotonic_ms())
		return E_RETRY;
	enum status status = records_submit(&lane->engine, record, message, err);
	if (status == E_RETRY && engine_is_full(err))
		note_full(lane, err);
	else if (status != E_RETRY)
		note_room(lane);
	return status;
}

/* All but results is done at once. E_RETRY: stopping, or set it aside. */
static enum status note(struct lane *lane, const rd_kafka_message_t *record, const struct message *message, struct origin origin, struct error *err)
{
	if (origin_is_submission(origin))
		return submit(lane, record, message, err);
	return records_note(&lane->engine, message, err);
}

static bool is_result(const struct message *message, struct origin origin)
{
	return !origin_is_submission(origin) && (!message->stamped || message->stamp.kind == MESSAGE_RESULT);
}

/* One record: a result goes into the batch, all else is done at once. Takes the record over. */
static void take(struct lane *lane, rd_kafka_message_t *record, struct origin origin)
{
	struct error err = {0};
	struct buffer opened CLEANUP(buffer_clear) = {0};
	struct message message;
	enum status status = sealing_read(cell_sealing(lane->engine.cell), (struct slice){record->payload, record->len}, &opened, &message, &err);
	if (!status && is_result(&message, origin)) {
		status = batch_add(lane->batch, lane->engine.cell, record, &opened, &message, origin, &err);
		if (!status)
			return;
	} else if (!status) {
		status = note(lane, record, &message, origin, &err);
		if (status == E_RETRY && !cell_stopping(lane->engine.cell)) {
			int64_t retry_ms = clock_monotonic_ms() + BUSY_WAIT_MS;
			set_aside(lane, record, origin, origin_is_submission(origin) && lane->full_until_ms > retry_ms ? lane->full_until_ms : retry_ms);
			return;
		}
	}
	if (status == E_INVALID || status == E_CONFLICT)
		status = records_bury(&lane->engine, record, err.text);
	if (!status)
		intake_finish(lane->intake, origin);
	rd_kafka_message_destroy(record);
}

/* Puts the busy ones whose time has come at the head of the batch. */
static void take_busy(struct lane *lane)
{
	size_t kept = 0;
	int64_t now_ms = clock_monotonic_ms();
	for (size_t i = 0; i < lane->busy_count; i++) {
		if (lane->busy[i].retry_ms <= now_ms)
			lane->batch->replies[lane->batch->count++] = lane->busy[i];
		else
			lane->busy[kept++] = lane->busy[i];
	}
	lane->careful = kept < lane->busy_count;
	lane->busy_count = kept;
}

/* Tries the submissions again whose time has come. */
static void take_waiting(struct lane *lane)
{
	struct waiting *all = lane->waiting, *waiting, *next;
	lane->waiting = NULL;
	lane->waiting_count = 0;
	LL_FOREACH_SAFE(all, waiting, next) {
		if (waiting->retry_ms > clock_monotonic_ms()) {
			waiting->next = NULL;
			LL_APPEND(lane->waiting, waiting);
			lane->waiting_count++;
			continue;
		}
		take(lane, waiting->record, waiting->origin);
		free_pointer(&waiting);
	}
	intake_pause_submissions(lane->intake, lane->full_until_ms > clock_monotonic_ms() || lane->waiting_count >= WAITING_MAX / 2);
}

static bool has_room(const struct lane *lane)
{
	return lane->batch->count < (size_t)cell_settings(lane->engine.cell)->batch && lane->batch->count + lane->busy_count < BATCH_REPLIES_MAX
		&& lane->waiting_count < WAITING_MAX;
}

/* Whatever has arrived is the batch: one wait for the first record, none for more. */
static void collect(struct lane *lane)
{
	take_busy(lane);
	take_waiting(lane);
	int wait_ms = lane->batch->count ? 0 : lane->busy_count || lane->waiting ? BUSY_WAIT_MS / 2 : IDLE_POLL_MS;
	if (!has_room(lane) && lane->batch->count == 0)
		cell_pause(lane->engine.cell, wait_ms);
	while (has_room(lane)) {
		rd_kafka_message_t *record = intake_next(lane->intake, wait_ms);
		if (!record)
			return;
		take(lane, record, intake_origin(lane->intake, record));
		wait_ms = 0;
	}
}

static void keep_busy(struct lane *lane, struct reply_record *reply, int64_t wait_ms)
{
	assert(lane->busy_count < BATCH_REPLIES_MAX);
	reply->retry_ms = clock_monotonic_ms() + wait_ms;
	lane->busy[lane->busy_count++] = *reply;
	reply->record = NULL;
	reply->opened = (struct buffer){0};
	reply->settled = true;
}

/*
 * The database was set back, and nothing tells which of its tasks have run since: it dispatches no more until an administrator
 * has drawn a new generation. Then the reply is of another one, and finished; one that is dealt with later than that halts nothing.
 */
static void halt(struct lane *lane, const struct reply_record *reply)
{
	struct error err;
	char reason[200], room[8];
	PGresult *result CLEANUP(result_clear) = NULL;
	int64_t generation = reply->message.stamp.generation;
	if (lane->halted == generation)
		return;
	snprintf(reason, sizeof reason, "a reply is of epoch %" PRId64 ", which this database has not seen: it was set back without a new generation", reply->message.stamp.epoch);
	log_error("the database was set back, nothing is dispatched any more; when all workers and orchestrators are on this database: kser db new-generation", "reason", reason);
	if (engine_run(&lane->engine, engine_statement("halt.sql"), (struct parameter[]){parameter_text(reason), parameter_int8(room, generation)}, 2, true, &result, &err) == E_OK)
		lane->halted = generation;
}

static void dispatch(struct lane *lane, const PGresult *rows, int row, const struct reply_record *reply)
{
	metric_add(cell_measures(lane->engine.cell)->succeeding, 1);
	engine_dispatch(&lane->engine, rows, row, DISPATCH, cell_queue(lane->engine.cell, row_text(rows, row, QUEUE)), reply->message.result.text, reply->origin);
}

/* A reply that is applied and has caused no dispatch. One that has is finished when that is acknowledged. */
static void finish_reply(struct lane *lane, struct reply_record *reply)
{
	reply->settled = true;
	intake_finish(lane->intake, reply->origin);
}

/* One row of the answer. */
static void hand_over_row(struct lane *lane, const PGresult *rows, int row)
{
	struct reply_record *reply = batch_reply(lane->batch, row_int4(rows, row, INPUT));
	struct slice verdict = row_text(rows, row, VERDICT);
	measures_note_result(cell_measures(lane->engine.cell), verdict, reply->message.parts.retcode);
	if (slice_is(verdict, "busy")) {
		keep_busy(lane, reply, BUSY_WAIT_MS);
		return;
	}
	if (slice_is(verdict, "ahead")) {
		halt(lane, reply);
		keep_busy(lane, reply, AHEAD_WAIT_MS);
		return;
	}
	if (slice_is(verdict, "won"))
		cell_answered(lane->engine.cell, reply->queue, row_int4(rows, row, ENDED_PARTITION));
	if (row_null(rows, row, DISPATCH)) {
		finish_reply(lane, reply);
		return;
	}
	reply->settled = true;
	dispatch(lane, rows, row, reply);
}

/* False: its operation has ended. */
static bool hand_over_plain_row(struct lane *lane, const PGresult *rows, int row)
{
	int32_t input = row_int4(rows, row, PLAIN_INPUT);
	struct reply_record *reply = batch_reply(lane->batch, input);
	cell_answered(lane->engine.cell, reply->queue, row_int4(rows, row, PLAIN_ENDED_PARTITION));
	if (row_null(rows, row, PLAIN_NEXT)) {
		finish_reply(lane, reply);
		return false;
	}
	reply->settled = true;
	engine_dispatch_next(&lane->engine, rows, row, PLAIN_NEXT, &reply->message.stamp, cell_queue(lane->engine.cell, row_text(rows, row, PLAIN_QUEUE)),
		batch_target(lane->batch, input), reply->message.result.text, reply->origin);
	return true;
}

static void add_free_places(struct lane *lane, const PGresult *rows, int column)
{
	int places = 0, queue = -1;
	for (int row = 0; row < PQntuples(rows); row++) {
		if (row_null(rows, row, column))
			continue;
		int freed = cell_known_queue(lane->engine.cell, row_text(rows, row, column));
		if (freed != queue && places > 0)
			cell_add_free(lane->engine.cell, queue, places);
		places = freed == queue ? places + 1 : 1;
		queue = freed;
	}
	if (places > 0)
		cell_add_free(lane->engine.cell, queue, places);
}

/* A row is a result that was dealt with: what a plain success left alone is counted by the call that deals with it. */
static void note_applied(const struct lane *lane, int64_t began_us, const PGresult *rows)
{
	const struct measures *measures = cell_measures(lane->engine.cell);
	metric_observe(measures->apply_time, clock_monotonic_us() - began_us);
	if (PQntuples(rows) > 0)
		metric_observe(measures->apply_size, PQntuples(rows));
}

/* One transaction. E_RETRY also when this lane was removed meanwhile: its replies come again when it has joined anew. */
static enum status run_apply(struct lane *lane, const char *statement, const struct parameter *parameters, int count, bool once, PGresult **rows, struct error *err)
{
	engine_begin_call(&lane->engine);
	(void)FAULT("apply.before_commit");
	int64_t began_us = clock_monotonic_us();
	enum status status = engine_run(&lane->engine, engine_statement(statement), parameters, count, once, rows, err);
	if (status)
		return status;
	note_applied(lane, began_us, *rows);
	(void)FAULT("apply.after_commit_before_produce");
	return lane->life == cell_life(lane->engine.cell) ? E_OK : E_RETRY;
}

/*
 * The plain successes. What it leaves unsettled is for apply: those that gave no row, all of them when a row is locked or was changed meanwhile or one is refused, and
 * those that may not be dispatched now.
 */
static void apply_plain(struct lane *lane)
{
	struct error err;
	struct parameter parameters[APPLY_PLAIN_PARAMETERS];
	PGresult *rows CLEANUP(result_clear) = NULL;
	int64_t generation = cell_generation(lane->engine.cell), started = 0;
	if (batch_choose_plain(lane->batch, generation) == 0)
		return;
	batch_plain_parameters(lane->batch, lane->engine.cell, generation, parameters);
	enum status status = run_apply(lane, "apply_plain.sql", parameters, APPLY_PLAIN_PARAMETERS, true, &rows, &err);
	lane->careful |= status == E_RETRY;
	if (status || !cell_may_dispatch(lane->engine.cell))
		return;
	for (int row = 0; row < PQntuples(rows); row++)
		started += hand_over_plain_row(lane, rows, row);
	dispatcher_flush(lane->engine.dispatcher);
	measures_note_successes(cell_measures(lane->engine.cell), PQntuples(rows), started);
	(void)FAULT("apply.after_produce_before_ack");
	add_free_places(lane, rows, PLAIN_FREED);
}

/* What is chosen, of any kind. With a stale beat its dispatches may not be sent: the same replies are applied again, which gives them anew. */
static enum status apply(struct lane *lane, struct error *err)
{
	struct parameter parameters[APPLY_PARAMETERS];
	PGresult *rows CLEANUP(result_clear) = NULL;
	bool careful = lane->careful;
	for (;;) {
		batch_parameters(lane->batch, lane->engine.cell, careful, parameters);
		enum status status = run_apply(lane, "apply.sql", parameters, APPLY_PARAMETERS, !careful, &rows, err);
		bool removed = lane->life != cell_life(lane->engine.cell);
		if (status == E_RETRY && !removed && !cell_stopping(lane->engine.cell)) {
			careful = true;
			continue;
		}
		if (status)
			return status;
		if (cell_may_dispatch(lane->engine.cell))
			break;
		log_warning("the last sign of life is too old to dispatch, applying again", "thread", lane->name);
		result_clear(&rows);
		if (!cell_pause(lane->engine.cell, BUSY_WAIT_MS))
			return E_RETRY;
	}
	for (int row = 0; row < PQntuples(rows); row++)
		hand_over_row(lane, rows, row);
	dispatcher_flush(lane->engine.dispatcher);
	(void)FAULT("apply.after_produce_before_ack");
	add_free_places(lane, rows, FREED);
	return E_OK;
}

/* A reply that the database refuses for what is in it: a dead letter, and its task cannot be answered by another one. */
static void bury_reply(struct lane *lane, const struct reply_record *reply, const char *reason)
{
	struct refused refused = {.origin = reply->origin, .position = reply->message.stamp.position, .attempt = reply->message.stamp.attempt,
		.generation = reply->message.stamp.generation};
	uuid_copy(refused.operation, reply->message.stamp.operation);
	uuid_copy(refused.uuid, reply->message.stamp.task);
	snprintf(refused.reason, sizeof refused.reason, "the reply cannot be used: %.150s", reason);
	if (records_bury(&lane->engine, reply->record, reason) == E_OK && engine_end_task(&lane->engine, &refused) != E_RETRY)
		intake_finish(lane->intake, reply->origin);
}

static bool is_refusal(enum status status)
{
	return status == E_INVALID || status == E_CONFLICT;
}

/* The database refuses the whole batch for something in one of its replies: each alone, and the culprit is buried. */
static void apply_one_by_one(struct lane *lane)
{
	size_t count = lane->batch->count;
	struct reply_record *replies = xcalloc(count, sizeof *replies);
	memcpy(replies, lane->batch->replies, count * sizeof *replies);
	for (size_t i = 0; i < count; i++) {
		struct error err = {0};
		lane->batch->replies[0] = replies[i];
		lane->batch->count = 1;
		if (batch_choose(lane->batch) > 0 && is_refusal(apply(lane, &err)))
			bury_reply(lane, &replies[i], err.text);
		batch_reset(lane->batch);
	}
	free_pointer(&replies);
}

/* Whether another lane would help, and would be given partitions. */
static bool is_busy(const struct lane *lane)
{
	size_t half = (size_t)cell_settings(lane->engine.cell)->batch / 2, least = half < BUSY_BATCH ? half : BUSY_BATCH;
	return lane->load.results >= BUSY_RESULTS && lane->load.results >= least * lane->load.batches && intake_result_partitions(lane->intake) > 1;
}

/* Looks once a second whether another lane is to be asked for; a load that was interrupted does not count. */
static void note_load(struct lane *lane)
{
	int64_t now_ms = clock_monotonic_ms();
	lane->load.batches++;
	lane->load.results += lane->batch->count;
	if (now_ms - lane->load.since_ms < LOAD_MS)
		return;
	if (now_ms - lane->load.since_ms < 2 * LOAD_MS && is_busy(lane))
		cell_ask_for_lane(lane->engine.cell);
	lane->load.since_ms = now_ms;
	lane->load.batches = lane->load.results = 0;
}

static void apply_batch(struct lane *lane)
{
	struct error err = {0};
	if (lane->batch->count == 0)
		return;
	note_load(lane);
	apply_plain(lane);
	/* Of a life that has ended: its replies come again. */
	bool removed = lane->life != cell_life(lane->engine.cell);
	if (!removed && batch_choose(lane->batch) > 0 && is_refusal(apply(lane, &err)))
		apply_one_by_one(lane);
	batch_reset(lane->batch);
	engine_end_call(&lane->engine);
}

/* This instance was removed: what it had not handed over is dropped, and the replies that caused it come again. */
static void begin_life(struct lane *lane, uint32_t life)
{
	batch_reset(lane->batch);
	drop_busy(lane);
	drop_waiting(lane);
	dispatcher_purge(lane->engine.dispatcher);
	engine_end_call(&lane->engine);
	intake_rejoin(lane->intake);
	lane->life = life;
	cell_set_life(lane->engine.cell, lane->engine.thread, life);
}

void *lane_run(void *argument)
{
	struct lane *lane = argument;
	while (!cell_stopping(lane->engine.cell)) {
		uint32_t life = cell_life(lane->engine.cell);
		if (life != lane->life)
			begin_life(lane, life);
		collect(lane);
		apply_batch(lane);
		dispatcher_poll(lane->engine.dispatcher, 0);
		engine_settle_refused(&lane->engine, acknowledged, lane);
		engine_end_call(&lane->engine);
		intake_commit(lane->intake, false);
		intake_measure_lag(lane->intake);
	}
	revoked(lane, clock_monotonic_ms() + cell_drain_left_ms(lane->engine.cell));
	intake_commit(lane->intake, true);
	return NULL;
}

void *lane_run_when_needed(void *argument)
{
	const struct lane_place *place = argument;
	struct lane *lane = NULL;
	struct error err;
	if (!cell_wait_for_lane(place->cell))
		return NULL;
	while (lane_open(place->cell, place->number, &lane, &err)) {
		log_error("cannot make another lane", "error", err.text);
		if (!cell_pause(place->cell, OPEN_AGAIN_MS))
			return NULL;
	}
	log_info("another lane begins, one is busy", "lane", LOG_INT(place->number));
	lane_run(lane);
	lane_free(lane);
	return NULL;
}
