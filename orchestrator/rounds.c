#include "orchestrator/rounds.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>

#include "common/clock.h"
#include "common/fault.h"
#include "common/limits.h"
#include "common/log.h"
#include "common/memory.h"
#include "orchestrator/array.h"
#include "orchestrator/engine.h"
#include "orchestrator/offsets.h"
#include "orchestrator/round_rules.h"
#include "orchestrator/rows.h"
#include "orchestrator/task_topics.h"

#define ASK_TIMEOUT_MS 2000    /* for one answer of a broker */
#define PACE_MAX_MS 5000       /* between two rounds when it takes long to go over what runs: at most */
#define LEARN_MS 10000         /* between two looks at the partitions while no round does it */
#define MAKE_AGAIN_MS 1000     /* until a topic that could not be made is tried again */
#define GATE_LOOK_MS 100       /* between two looks at what the orchestrators have committed */
#define GATE_TELL_MS 10000     /* waiting for so long is told */
#define FOUND_TOLD_MAX 20      /* lines for what one round found */
#define LOOKS_MAX (OFFSETS_GROUPS_MAX - 1) /* queues in one round, each with a group; where there are more they take turns */

struct rounds {
	struct engine engine;
	struct offsets *offsets;
	struct renewal renewal;
	int64_t started_ms; /* the last round */
	int64_t took_ms;    /* the database, in it, to go over what runs */
	int64_t learned_ms; /* the partitions */
	int first;          /* the queue that is looked at first */
	bool told;          /* that rounds cannot be completed */

	/* the present round */
	int64_t epoch;
	int64_t valid;
	int64_t at_us;
	unsigned connects;
	const struct rd_kafka_metadata *metadata;

	/* of the topic that is looked at, by partition */
	char topic[250];
	int32_t count;
	bool led[PARTITIONS_MAX];
	bool marked[PARTITIONS_MAX];
	int64_t ends[PARTITIONS_MAX];
	int64_t starts[PARTITIONS_MAX];
	int64_t committed[PARTITIONS_MAX];

	struct array arrays[4];
};

/* --- Calls */

static struct parameter timestamp(char room[8], int64_t us)
{
	struct parameter parameter = parameter_int8(room, us);
	parameter.type = 1184;
	return parameter;
}

/* Whether this round still makes sense: its keeper is the keeper. */
static enum status still_wanted(const struct rounds *rounds, struct error *err)
{
	const struct cell *cell = rounds->engine.cell;
	if (cell_stopping(cell) || cell_term(cell) != rounds->renewal.last.term)
		return fail(err, E_CONFLICT, "the keeper's role has moved on");
	return E_OK;
}

/* A statement of this round. E_RETRY also when the connection is another one than at its start: what was seen before may not hold. */
static enum status call(struct rounds *rounds, const char *statement, const struct parameter *parameters, int count, PGresult **rows, struct error *err)
{
	enum status status = still_wanted(rounds, err);
	if (!status)
		status = engine_run(&rounds->engine, engine_statement(statement), parameters, count, true, rows, err);
	if (!status && rounds->connects != rounds->engine.connects)
		status = fail(err, E_RETRY, "the connection to the database was lost");
	return status;
}

static struct parameter offsets_array(struct array *array, const int64_t *offsets, int32_t count)
{
	array_begin(array, ARRAY_INT8);
	for (int32_t p = 0; p < count; p++)
		if (offsets[p] == OFFSET_UNKNOWN)
			array_add_null(array);
		else
			array_add_int8(array, offsets[p]);
	return array_parameter(array);
}

static struct parameter marks_array(struct array *array, const bool *marked, int32_t count)
{
	array_begin(array, ARRAY_BOOL);
	for (int32_t p = 0; p < count; p++)
		array_add_bool(array, marked[p]);
	return array_parameter(array);
}

/* --- Topics */

/* Makes topics that nobody has seen yet, and looks at all partitions when it is time: while no round does it. */
static void learn(struct rounds *rounds)
{
	struct error err;
	struct cell *cell = rounds->engine.cell;
	const struct rd_kafka_metadata *metadata;
	int64_t due_ms = rounds->learned_ms + (task_topics_unknown(cell) ? MAKE_AGAIN_MS : LEARN_MS);
	if (clock_monotonic_ms() < due_ms)
		return;
	rounds->learned_ms = clock_monotonic_ms();
	if (offsets_metadata(rounds->offsets, ASK_TIMEOUT_MS, &metadata, &err)) {
		log_debug("the partitions are not known", "error", err.text);
		return;
	}
	task_topics_learn(cell, offsets_client(rounds->offsets), metadata);
	rd_kafka_metadata_destroy(metadata);
	(void)offsets_close_idle(rounds->offsets, LEARN_MS / 2);
}

/* --- The steps of a round */

/* Raises the epoch. E_CONFLICT: no orchestrator is registered, so nothing can be known. */
static enum status begin(struct rounds *rounds, struct error *err)
{
	PGresult *row CLEANUP(result_clear) = NULL;
	enum status status = engine_run(&rounds->engine, engine_statement("round_begin.sql"), NULL, 0, true, &row, err);
	if (status)
		return status;
	if (PQntuples(row) != 1 || row_null(row, 0, 1))
		return fail(err, E_CONFLICT, "no orchestrator is registered");
	int64_t floor = row_int8(row, 0, 1);
	rounds->connects = rounds->engine.connects;
	rounds->epoch = row_int8(row, 0, 0);
	rounds->valid = floor < rounds->epoch ? floor : rounds->epoch;
	rounds->at_us = row_int8(row, 0, 2);
	const struct round_moment now = {rounds->at_us, clock_monotonic_ms(), cell_term(rounds->engine.cell), rounds->connects};
	if (renewal_begin(&rounds->renewal, &now))
		log_debug("all claims count as renewed");
	(void)FAULT("round.after_begin");
	return E_OK;
}

static void look_at_topic(struct rounds *rounds, int queue)
{
	topics_tasks(cell_topics(rounds->engine.cell), cell_queue_name(rounds->engine.cell, queue), rounds->topic);
	rounds->count = offsets_leaders(rounds->metadata, rounds->topic, rounds->led);
}

/* What cannot be had of one queue says nothing about the others: it stays unknown. */
static void tell_unknown(enum status status, const struct error *err)
{
	if (status)
		log_debug("a queue's offsets are not known", "error", err->text);
}

static enum status sample(struct rounds *rounds, int queue, struct error *err)
{
	char room[2][8];
	PGresult *result CLEANUP(result_clear) = NULL;
	look_at_topic(rounds, queue);
	tell_unknown(offsets_list(rounds->offsets, rounds->topic, rounds->count, rounds->led, OFFSETS_ENDS, ASK_TIMEOUT_MS, rounds->ends, err), err);
	const struct parameter parameters[] = {parameter_text(cell_queue_name(rounds->engine.cell, queue)), parameter_int8(room[0], rounds->epoch),
		parameter_int8(room[1], rounds->valid), offsets_array(&rounds->arrays[0], rounds->ends, rounds->count)};
	return call(rounds, "sample.sql", parameters, COUNT_OF(parameters), &result, err);
}

/* What the workers of a queue have before them. */
static void measure_lag(const struct rounds *rounds, const char *queue)
{
	int64_t lag = 0;
	if (!cell_measures(rounds->engine.cell)->metrics)
		return;
	for (int32_t p = 0; p < rounds->count; p++) {
		int64_t from = rounds->committed[p] == OFFSET_UNKNOWN ? rounds->starts[p] : rounds->committed[p];
		if (from != OFFSET_UNKNOWN && rounds->ends[p] != OFFSET_UNKNOWN && rounds->ends[p] > from)
			lag += rounds->ends[p] - from;
	}
	measures_set_of_queue(cell_measures(rounds->engine.cell), MEASURE_TASK_LAG, slice_of(queue), lag);
}

/* The ends are read after the committed offsets, so that only a strange offset is beyond them. */
static enum status look(struct rounds *rounds, int queue, struct error *err)
{
	struct cell *cell = rounds->engine.cell;
	char room[8], group[250];
	PGresult *result CLEANUP(result_clear) = NULL;
	const char *name = cell_queue_name(cell, queue);
	look_at_topic(rounds, queue);
	topics_workers(cell_topics(cell), name, group);
	tell_unknown(offsets_committed(rounds->offsets, group, rounds->topic, rounds->count, ASK_TIMEOUT_MS, rounds->committed, rounds->marked, err), err);
	tell_unknown(offsets_list(rounds->offsets, rounds->topic, rounds->count, rounds->led, OFFSETS_ENDS, ASK_TIMEOUT_MS, rounds->ends, err), err);
	tell_unknown(offsets_list(rounds->offsets, rounds->topic, rounds->count, rounds->led, OFFSETS_STARTS, ASK_TIMEOUT_MS, rounds->starts, err), err);
	measure_lag(rounds, name);
	const struct parameter parameters[] = {parameter_text(name), parameter_int8(room, rounds->epoch),
		offsets_array(&rounds->arrays[0], rounds->committed, rounds->count), marks_array(&rounds->arrays[1], rounds->marked, rounds->count),
		offsets_array(&rounds->arrays[2], rounds->starts, rounds->count), offsets_array(&rounds->arrays[3], rounds->ends, rounds->count)};
	return call(rounds, "look.sql", parameters, COUNT_OF(parameters), &result, err);
}

/* Notes where the replies end now. */
static enum status note_replies(struct rounds *rounds, struct error *err)
{
	topics_named(cell_topics(rounds->engine.cell), "results", rounds->topic);
	rounds->count = offsets_leaders(rounds->metadata, rounds->topic, rounds->led);
	for (int32_t p = 0; p < rounds->count; p++)
		if (!rounds->led[p])
			return fail(err, E_RETRY, "partition %d of %s has no leader", (int)p, rounds->topic);
	if (rounds->count == 0)
		return fail(err, E_RETRY, "topic %s is not there", rounds->topic);
	enum status status = offsets_list(rounds->offsets, rounds->topic, rounds->count, rounds->led, OFFSETS_ENDS, ASK_TIMEOUT_MS, rounds->ends, err);
	if (!status)
		status = offsets_list(rounds->offsets, rounds->topic, rounds->count, rounds->led, OFFSETS_STARTS, ASK_TIMEOUT_MS, rounds->starts, err);
	for (int32_t p = 0; p < rounds->count && !status; p++)
		if (rounds->ends[p] == OFFSET_UNKNOWN)
			status = fail(err, E_RETRY, "the end of partition %d of %s is not known", (int)p, rounds->topic);
	return status;
}

/* What was committed in a topic that was deleted is no promise about the one that was made after it. */
static enum status check_sane(struct rounds *rounds, struct error *err)
{
	enum status status = offsets_list(rounds->offsets, rounds->topic, rounds->count, rounds->led, OFFSETS_ENDS, ASK_TIMEOUT_MS, rounds->ends, err);
	int strange = status ? -1 : round_beyond((size_t)rounds->count, rounds->ends, rounds->committed);
	return strange < 0 ? status : fail(err, E_RETRY, "what is committed in partition %d of %s is beyond its end", strange, rounds->topic);
}

/* Waits until all orchestrators together are past the noted ends: however long the replies that wait are. */
static enum status wait_for_replies(struct rounds *rounds, struct error *err)
{
	struct cell *cell = rounds->engine.cell;
	char group[250];
	topics_named(cell_topics(cell), "orchestrators", group);
	int64_t tell_ms = clock_monotonic_ms() + GATE_TELL_MS;
	for (;;) {
		enum status status = offsets_committed(rounds->offsets, group, rounds->topic, rounds->count, ASK_TIMEOUT_MS, rounds->committed, NULL, err);
		if (!status)
			status = still_wanted(rounds, err);
		if (status)
			return status;
		if (round_passed((size_t)rounds->count, rounds->ends, rounds->starts, rounds->committed))
			return check_sane(rounds, err);
		if (task_topics_unknown(cell))
			learn(rounds);
		if (clock_monotonic_ms() >= tell_ms) {
			log_warning("replies wait to be applied, what is lost cannot be told before");
			tell_ms = INT64_MAX;
		}
		(void)cell_pause(cell, GATE_LOOK_MS);
	}
}

/* One line for each, up to a number. */
static void tell_found(const PGresult *rows, const char *what, bool worker)
{
	for (int row = 0; row < PQntuples(rows) && row < FOUND_TOLD_MAX; row++) {
		uuid_t id;
		char operation[UUID_STR_LEN], incarnation[256] = "";
		row_uuid(rows, row, 0, id);
		uuid_unparse_lower(id, operation);
		if (worker)
			snprintf(incarnation, sizeof incarnation, "%.*s", (int)row_text(rows, row, 3).length, row_text(rows, row, 3).start);
		log_warning(what, "operation", operation, "position", LOG_INT(row_int4(rows, row, 1)), "attempt", LOG_INT(row_int4(rows, row, 2)),
			"worker", worker ? incarnation : NULL);
	}
	if (PQntuples(rows) > FOUND_TOLD_MAX)
		log_warning(what, "further", LOG_INT(PQntuples(rows) - FOUND_TOLD_MAX));
}

static enum status expire(struct rounds *rounds, struct error *err)
{
	char room[2][8], lease[32];
	PGresult *rows CLEANUP(result_clear) = NULL;
	snprintf(lease, sizeof lease, "%" PRId64 " ms", cell_settings(rounds->engine.cell)->claim_lease_ms);
	const struct parameter parameters[] = {timestamp(room[0], rounds->at_us), timestamp(room[1], rounds->renewal.since_us), {.type = 1186, .bytes = lease}};
	enum status status = call(rounds, "expire.sql", parameters, COUNT_OF(parameters), &rows, err);
	if (status)
		return status;
	metric_add(cell_measures(rounds->engine.cell)->lost_workers, PQntuples(rows));
	tell_found(rows, "a claim was not renewed, its task is taken from the worker", true);
	(void)FAULT("expire.after");
	return E_OK;
}

static enum status lose(struct rounds *rounds, int queue, struct error *err)
{
	char room[8];
	PGresult *rows CLEANUP(result_clear) = NULL;
	const struct parameter parameters[] = {parameter_text(cell_queue_name(rounds->engine.cell, queue)), parameter_int8(room, rounds->epoch)};
	int64_t began_ms = clock_monotonic_ms();
	enum status status = call(rounds, "lose.sql", parameters, COUNT_OF(parameters), &rows, err);
	rounds->took_ms += clock_monotonic_ms() - began_ms;
	if (status)
		return status;
	metric_add(cell_measures(rounds->engine.cell)->lost_messages, PQntuples(rows));
	tell_found(rows, "a dispatch or its answer was lost, its task goes on with another attempt", false);
	(void)FAULT("lose.after");
	return E_OK;
}

/* --- A round */

/* Does one step for some queues, from the one whose turn it is. */
static enum status for_queues(struct rounds *rounds, int count, enum status (*step)(struct rounds *, int, struct error *), struct error *err)
{
	int queues = cell_queue_count(rounds->engine.cell);
	enum status status = E_OK;
	for (int i = 0; i < count && !status; i++)
		status = step(rounds, (rounds->first + i) % queues, err);
	return status;
}

/* All steps in their order, for all queues. */
static enum status steps(struct rounds *rounds, struct error *err)
{
	struct cell *cell = rounds->engine.cell;
	int queues = cell_queue_count(cell), looks = queues < LOOKS_MAX ? queues : LOOKS_MAX;
	task_topics_learn(cell, offsets_client(rounds->offsets), rounds->metadata);
	rounds->learned_ms = clock_monotonic_ms();
	enum status status = for_queues(rounds, queues, sample, err);
	if (!status)
		status = for_queues(rounds, looks, look, err);
	if (!status)
		(void)FAULT("round.after_look");
	if (!status)
		status = note_replies(rounds, err);
	if (!status)
		status = wait_for_replies(rounds, err);
	if (!status)
		status = expire(rounds, err);
	if (!status)
		status = for_queues(rounds, looks, lose, err);
	rounds->first = queues > looks ? (rounds->first + looks) % queues : 0;
	if (rounds->first == 0)
		metrics_age(cell_measures(cell)->metrics, MEASURE_TASK_LAG);
	return status;
}

static enum status run_round(struct rounds *rounds, struct error *err)
{
	enum status status = begin(rounds, err);
	if (!status)
		status = offsets_metadata(rounds->offsets, ASK_TIMEOUT_MS, &rounds->metadata, err);
	if (status)
		return status;
	status = steps(rounds, err);
	rd_kafka_metadata_destroy(TAKE(rounds->metadata));
	return status;
}

/* Told once, until one is completed again. */
static void round_or_tell(struct rounds *rounds)
{
	struct error err = {0};
	rounds->started_ms = clock_monotonic_ms();
	rounds->took_ms = 0;
	enum status status = run_round(rounds, &err);
	if (status) {
		renewal_fail(&rounds->renewal);
		if (!rounds->told && status != E_CONFLICT && !cell_stopping(rounds->engine.cell))
			log_warning("could not complete a round, what is lost cannot be told before", "error", err.text);
		rounds->told |= status != E_CONFLICT;
		return;
	}
	if (rounds->told)
		log_info("completed a round again");
	rounds->told = false;
}

/* --- Life */

enum status rounds_open(struct cell *cell, struct rounds **rounds, struct error *err)
{
	struct rounds *made = xcalloc(1, sizeof *made);
	made->engine = (struct engine){.cell = cell, .who = "rounds", .thread = CELL_THREADS_MAX - 2};
	enum status status = offsets_open(cell_settings(cell)->brokers, &cell_settings(cell)->kafka, &made->offsets, err);
	if (status) {
		rounds_free(made);
		return status;
	}
	*rounds = made;
	return E_OK;
}

void rounds_free(struct rounds *rounds)
{
	if (!rounds)
		return;
	offsets_close(rounds->offsets);
	engine_clear(&rounds->engine);
	for (size_t i = 0; i < COUNT_OF(rounds->arrays); i++)
		array_clear(&rounds->arrays[i]);
	free_pointer(&rounds);
}

static int64_t next_round_ms(const struct rounds *rounds)
{
	return rounds->started_ms + clock_pace(cell_settings(rounds->engine.cell)->round_ms, rounds->took_ms, PACE_MAX_MS);
}

static void wait_until_due(struct rounds *rounds)
{
	struct cell *cell = rounds->engine.cell;
	int64_t until_ms = rounds->learned_ms + (task_topics_unknown(cell) ? MAKE_AGAIN_MS : LEARN_MS);
	int64_t round_ms = next_round_ms(rounds);
	if (cell_wants_rounds(cell) && round_ms < until_ms)
		until_ms = round_ms;
	int64_t wait_ms = until_ms - clock_monotonic_ms();
	struct pollfd pollfd = {.fd = cell_rounds_fd(cell), .events = POLLIN};
	if (wait_ms > 0)
		poll(&pollfd, 1, (int)wait_ms);
	if (!pollfd.revents)
		return;
	cell_drain_rounds(cell);
	if (task_topics_unknown(cell))
		rounds->learned_ms = 0; /* a queue is new */
}

void *rounds_run(void *argument)
{
	struct rounds *rounds = argument;
	struct cell *cell = rounds->engine.cell;
	while (!cell_stopping(cell)) {
		wait_until_due(rounds);
		learn(rounds);
		if (!cell_wants_rounds(cell))
			measures_hide(cell_measures(cell), MEASURE_TASK_LAG);
		if (cell_wants_rounds(cell) && clock_monotonic_ms() >= next_round_ms(rounds))
			round_or_tell(rounds);
	}
	return NULL;
}
