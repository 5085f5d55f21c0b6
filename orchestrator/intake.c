#include "orchestrator/intake.h"

#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/fault.h"
#include "common/limits.h"
#include "common/log.h"
#include "common/memory.h"
#include "common/watermark.h"

#define COMMIT_INTERVAL_MS 250
#define REVOKE_WAIT_MS 3000
#define LAG_MS 1000 /* between two looks at how far behind it is */
#define STARTS_WAIT_MS 100 /* for the broker to tell where the group has committed */
#define REJOIN_MAX_MS 60000 /* the longest wait for an assignment before joining anew */

/* Partitions of the topic of operations are numbered behind those of results. */
#define SUBMISSIONS_FROM PARTITIONS_MAX

#define START_UNKNOWN (-1)

struct assigned {
	struct watermark *watermark; /* NULL: not ours */
	int64_t committed;
	bool again;    /* what was committed was refused */
	int64_t start; /* where the group had committed; START_UNKNOWN, or OFFSET_BEGINNING: nowhere. Known only where metrics are on */
	int64_t last;  /* received; -1: nothing yet */
	bool paused;
	uint32_t life; /* grows whenever the watermark is another one, so that late acknowledgements are told apart */
};

struct intake {
	struct cell *cell;
	rd_kafka_t *consumer;
	rd_kafka_queue_t *commits; /* their answers */
	intake_revoked *revoked;
	void *context;
	char results[250];
	char operations[250];
	int64_t committed_ms;
	int64_t unassigned_ms; /* since when the group has given us no assignment; 0: it has */
	int64_t rejoin_ms;     /* how long that is borne: grows with each time that it did not help */
	int64_t lag_ms; /* when it was measured last, and what it was */
	int64_t lag[LAG_TOPICS];
	char client_id[32];
	bool paused; /* submissions */
	struct assigned partitions[2 * PARTITIONS_MAX];
};

static int32_t slot_of(const struct intake *intake, const char *topic, int32_t partition)
{
	return strcmp(topic, intake->operations) == 0 ? SUBMISSIONS_FROM + partition : partition;
}

static const char *topic_of(const struct intake *intake, int32_t slot)
{
	return slot >= SUBMISSIONS_FROM ? intake->operations : intake->results;
}

/* The finished prefixes that are not committed yet; NULL when there is nothing to commit. */
static rd_kafka_topic_partition_list_t *finished(struct intake *intake)
{
	rd_kafka_topic_partition_list_t *list = NULL;
	for (int32_t slot = 0; slot < 2 * PARTITIONS_MAX; slot++) {
		struct assigned *assigned = &intake->partitions[slot];
		int64_t offset = assigned->watermark ? watermark_commit(assigned->watermark) : -1;
		if (offset <= assigned->committed && !(assigned->again && offset >= 0))
			continue;
		if (!list)
			list = rd_kafka_topic_partition_list_new(4);
		rd_kafka_topic_partition_list_add(list, topic_of(intake, slot), slot % PARTITIONS_MAX)->offset = offset;
		assigned->committed = offset;
		assigned->again = false;
	}
	return list;
}

/* What could not be committed is tried again with the next commit, also when nothing else has finished. */
static void on_commit(rd_kafka_t *consumer, rd_kafka_resp_err_t error, rd_kafka_topic_partition_list_t *list, void *opaque)
{
	struct intake *intake = opaque;
	(void)consumer;
	for (int i = 0; list && i < list->cnt; i++)
		if (error || list->elems[i].err)
			intake->partitions[slot_of(intake, list->elems[i].topic, list->elems[i].partition)].again = true;
	if (error && error != RD_KAFKA_RESP_ERR__NO_OFFSET)
		log_warning("could not commit offsets, trying again", "error", rd_kafka_err2str(error));
}

static void commit(struct intake *intake, bool wait)
{
	rd_kafka_topic_partition_list_t *list = finished(intake);
	intake->committed_ms = clock_monotonic_ms();
	if (!list)
		return;
	(void)FAULT("apply.after_ack_before_commit_offset");
	rd_kafka_resp_err_t error = wait ? rd_kafka_commit(intake->consumer, list, 0) : rd_kafka_commit_queue(intake->consumer, list, intake->commits, on_commit, intake);
	if (error)
		on_commit(intake->consumer, error, list, intake);
	rd_kafka_topic_partition_list_destroy(list);
}

/* Starts a partition's bookkeeping anew; `watermark` NULL: it is not ours any more. */
static void renew(struct assigned *assigned, struct watermark *watermark)
{
	watermark_free(assigned->watermark);
	*assigned = (struct assigned){.watermark = watermark, .committed = -1, .start = START_UNKNOWN, .last = -1, .life = assigned->life + 1};
}

static void forget(struct intake *intake)
{
	for (int32_t slot = 0; slot < 2 * PARTITIONS_MAX; slot++)
		if (intake->partitions[slot].watermark)
			renew(&intake->partitions[slot], NULL);
}

/*
 * Pauses or resumes the partitions of submissions as it is wanted. Not those of which nothing has come yet: librdkafka may be starting them in its own thread, and would
 * drop that for what is asked from here at the same moment. What was paused is resumed before it is given back.
 */
static void pause_submissions(struct intake *intake)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
	for (int32_t slot = SUBMISSIONS_FROM; slot < 2 * PARTITIONS_MAX; slot++) {
		struct assigned *assigned = &intake->partitions[slot];
		if (!assigned->watermark || assigned->last < 0 || assigned->paused == intake->paused)
			continue;
		assigned->paused = intake->paused;
		rd_kafka_topic_partition_list_add(list, intake->operations, slot - SUBMISSIONS_FROM);
	}
	if (list->cnt > 0)
		(void)(intake->paused ? rd_kafka_pause_partitions(intake->consumer, list) : rd_kafka_resume_partitions(intake->consumer, list));
	rd_kafka_topic_partition_list_destroy(list);
}

static void assign(struct intake *intake, const rd_kafka_topic_partition_list_t *list)
{
	forget(intake);
	for (int i = 0; i < list->cnt; i++)
		renew(&intake->partitions[slot_of(intake, list->elems[i].topic, list->elems[i].partition)], watermark_new());
	rd_kafka_assign(intake->consumer, list);
}

static void rebalance(rd_kafka_t *consumer, rd_kafka_resp_err_t event, rd_kafka_topic_partition_list_t *list, void *opaque)
{
	struct intake *intake = opaque;
	(void)consumer;
	intake->unassigned_ms = event == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS ? 0 : clock_monotonic_ms();
	if (event == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
		intake->rejoin_ms = cell_settings(intake->cell)->rejoin_ms;
		assign(intake, list);
		log_info("partitions assigned", "count", LOG_INT(list->cnt));
		return;
	}
	bool lost = rd_kafka_assignment_lost(intake->consumer);
	intake->revoked(intake->context, clock_monotonic_ms() + (lost ? 0 : REVOKE_WAIT_MS));
	if (!lost)
		commit(intake, true);
	log_info(lost ? "partitions lost" : "partitions handed over", "count", LOG_INT(list->cnt), "open", LOG_INT(intake_open_records(intake)));
	forget(intake);
	rd_kafka_resume_partitions(intake->consumer, list);
	rd_kafka_assign(intake->consumer, NULL);
}

static enum status subscribe(struct intake *intake, struct error *err)
{
	rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(2);
	rd_kafka_topic_partition_list_add(topics, intake->results, RD_KAFKA_PARTITION_UA);
	rd_kafka_topic_partition_list_add(topics, intake->operations, RD_KAFKA_PARTITION_UA);
	rd_kafka_resp_err_t error = rd_kafka_subscribe(intake->consumer, topics);
	rd_kafka_topic_partition_list_destroy(topics);
	return error ? fail(err, E_FATAL, "cannot subscribe to %s: %s", intake->results, rd_kafka_err2str(error)) : E_OK;
}

static enum status join(struct intake *intake, struct error *err)
{
	const struct settings *settings = cell_settings(intake->cell);
	char group[250];
	topics_named(cell_topics(intake->cell), "orchestrators", group);
	intake->unassigned_ms = clock_monotonic_ms();
	enum status status = kafka_consumer(settings->brokers, &settings->kafka, intake->client_id, group, rebalance, intake, &intake->consumer, err);
	if (status)
		return status;
	intake->commits = rd_kafka_queue_new(intake->consumer);
	return subscribe(intake, err);
}

static void leave(struct intake *intake, int timeout_ms)
{
	if (intake->commits)
		rd_kafka_queue_destroy(TAKE(intake->commits));
	kafka_consumer_close(intake->consumer, timeout_ms); /* which hands the partitions over */
	intake->consumer = NULL;
	forget(intake);
}

enum status intake_open(struct cell *cell, const char *client_id, intake_revoked *revoked, void *context, struct intake **intake, struct error *err)
{
	struct intake *made = xcalloc(1, sizeof *made);
	*made = (struct intake){.cell = cell, .revoked = revoked, .context = context, .rejoin_ms = cell_settings(cell)->rejoin_ms};
	snprintf(made->client_id, sizeof made->client_id, "%s", client_id);
	topics_named(cell_topics(cell), "results", made->results);
	topics_named(cell_topics(cell), "operations", made->operations);
	enum status status = join(made, err);
	if (status) {
		intake_close(made, 1000);
		return status;
	}
	*intake = made;
	return E_OK;
}

int intake_result_partitions(const struct intake *intake)
{
	int count = 0;
	for (int32_t slot = 0; slot < SUBMISSIONS_FROM; slot++)
		count += intake->partitions[slot].watermark != NULL;
	return count;
}

void intake_rejoin(struct intake *intake)
{
	struct error err;
	leave(intake, 1000);
	if (join(intake, &err)) {
		log_error("cannot join the group", "error", err.text);
		cell_fail(intake->cell);
	}
}

void intake_close(struct intake *intake, int timeout_ms)
{
	if (!intake)
		return;
	leave(intake, timeout_ms);
	free_pointer(&intake);
}

/* An event of the consumer that is no record. */
static void tell(const rd_kafka_message_t *event)
{
	if (event->err == RD_KAFKA_RESP_ERR__PARTITION_EOF)
		return;
	log_warning("could not read from the broker", "error", rd_kafka_message_errstr(event));
}

rd_kafka_message_t *intake_next(struct intake *intake, int timeout_ms)
{
	/* A member that the group has forgotten, or a client that has lost its way, would wait for ever: a new one joins. */
	if (intake->unassigned_ms && clock_monotonic_ms() - intake->unassigned_ms >= intake->rejoin_ms) {
		log_warning("no assignment from the group, joining it anew", "client", intake->client_id);
		intake->rejoin_ms = intake->rejoin_ms < REJOIN_MAX_MS / 2 ? 2 * intake->rejoin_ms : REJOIN_MAX_MS;
		intake_rejoin(intake);
	}
	if (!intake->consumer)
		return NULL; /* it could not be made: the process ends */
	rd_kafka_message_t *record = rd_kafka_consumer_poll(intake->consumer, timeout_ms);
	if (!record)
		return NULL;
	struct assigned *assigned = record->err ? NULL : &intake->partitions[intake_origin(intake, record).partition];
	if (!assigned || !assigned->watermark) {
		if (record->err)
			tell(record);
		rd_kafka_message_destroy(record);
		return NULL;
	}
	if (record->offset <= assigned->last) {
		log_warning("the topic's offsets went back", "topic", rd_kafka_topic_name(record->rkt), "from", LOG_INT(assigned->last), "to", LOG_INT(record->offset));
		bool paused = assigned->paused;
		renew(assigned, watermark_new());
		assigned->paused = paused;
	}
	assigned->last = record->offset;
	watermark_begin(assigned->watermark, record->offset);
	if (intake->paused && !assigned->paused && assigned >= &intake->partitions[SUBMISSIONS_FROM])
		pause_submissions(intake);
	return record;
}

bool origin_is_submission(struct origin origin)
{
	return origin.partition >= SUBMISSIONS_FROM;
}

struct origin intake_origin(const struct intake *intake, const rd_kafka_message_t *record)
{
	int32_t slot = slot_of(intake, rd_kafka_topic_name(record->rkt), record->partition);
	return (struct origin){.partition = slot, .assignment = intake->partitions[slot].life, .offset = record->offset};
}

void intake_finish(struct intake *intake, struct origin origin)
{
	struct assigned *assigned = &intake->partitions[origin.partition];
	if (origin.assignment == assigned->life && assigned->watermark)
		watermark_finish(assigned->watermark, origin.offset);
}

void intake_pause_submissions(struct intake *intake, bool pause)
{
	if (intake->paused == pause)
		return;
	intake->paused = pause;
	pause_submissions(intake);
}

void intake_commit(struct intake *intake, bool now)
{
	if (intake->commits)
		rd_kafka_queue_poll_callback(intake->commits, 0);
	if (now || clock_monotonic_ms() - intake->committed_ms >= COMMIT_INTERVAL_MS)
		commit(intake, false);
}

/* Of the partitions that nothing has come from: where the group had committed. What the broker does not tell in time is asked for again. */
static void ask_starts(struct intake *intake)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(4);
	for (int32_t slot = 0; slot < 2 * PARTITIONS_MAX; slot++)
		if (intake->partitions[slot].watermark && intake->partitions[slot].start == START_UNKNOWN && intake->partitions[slot].last < 0)
			rd_kafka_topic_partition_list_add(list, topic_of(intake, slot), slot % PARTITIONS_MAX);
	if (list->cnt > 0 && !rd_kafka_committed(intake->consumer, list, STARTS_WAIT_MS))
		for (int i = 0; i < list->cnt; i++)
			if (!list->elems[i].err)
				intake->partitions[slot_of(intake, list->elems[i].topic, list->elems[i].partition)].start = list->elems[i].offset >= 0 ? list->elems[i].offset : RD_KAFKA_OFFSET_BEGINNING;
	rd_kafka_topic_partition_list_destroy(list);
}

/* From the first record that is not finished to the end, as far as the client knows it without asking. */
static int64_t lag_of(const struct intake *intake, int32_t slot)
{
	int64_t low, high, from;
	const struct assigned *assigned = &intake->partitions[slot];
	if (!assigned->watermark || rd_kafka_get_watermark_offsets(intake->consumer, topic_of(intake, slot), slot % PARTITIONS_MAX, &low, &high))
		return 0;
	from = assigned->last >= 0 ? watermark_unfinished(assigned->watermark) : assigned->start;
	if (from == START_UNKNOWN)
		return 0;
	if (from < low)
		from = low;
	return high > from && from >= 0 ? high - from : 0;
}

void intake_measure_lag(struct intake *intake)
{
	int64_t lag[LAG_TOPICS] = {0};
	const struct measures *measures = cell_measures(intake->cell);
	if (!measures->metrics || !intake->consumer || clock_monotonic_ms() - intake->lag_ms < LAG_MS)
		return;
	ask_starts(intake);
	for (int32_t slot = 0; slot < 2 * PARTITIONS_MAX; slot++)
		lag[slot >= SUBMISSIONS_FROM ? LAG_OPERATIONS : LAG_RESULTS] += lag_of(intake, slot);
	for (int topic = 0; topic < LAG_TOPICS; topic++) {
		metric_add(measures->lag[topic], lag[topic] - intake->lag[topic]);
		intake->lag[topic] = lag[topic];
	}
	intake->lag_ms = clock_monotonic_ms();
}

size_t intake_open_records(const struct intake *intake)
{
	size_t open = 0;
	for (int32_t slot = 0; slot < 2 * PARTITIONS_MAX; slot++)
		if (intake->partitions[slot].watermark)
			open += watermark_pending(intake->partitions[slot].watermark);
	return open;
}
