#include "tests/budget/lane.h"

#include <arpa/inet.h>
#include <endian.h>
#include <string.h>

#include "common/clock.h"
#include "common/kafka.h"
#include "common/limits.h"
#include "orchestrator/batch.h"
#include "orchestrator/lane.h"
#include "tests/budget/path.h"

#pragma GCC diagnostic ignored "-Wunused-parameter" /* of the stand-ins */

#define PARTITIONS 4
#define STATEMENT_MS 25

/* The one stage on which the stand-ins play. */
static struct {
	struct cell *cell;
	PGresult *answer;
	int64_t now_ms;
	int left;  /* results to come */
	int given; /* of this batch */
	rd_kafka_message_t records[PATH_BATCH];
	int64_t offsets[PARTITIONS]; /* the next record's */
	int64_t committed[PARTITIONS];
	void (*report)(rd_kafka_t *, const rd_kafka_message_t *, void *);
	void (*rebalance)(rd_kafka_t *, rd_kafka_resp_err_t, rd_kafka_topic_partition_list_t *, void *);
	void *report_to;
	void *rebalance_to;
	void *flights[BATCH_REPLIES_MAX]; /* produced, not acknowledged */
	int flying;
	int dispatched;
} stage;

static char handle; /* of all that is opaque */

/* --- The clock. */

int64_t clock_monotonic_ms(void)
{
	return stage.now_ms;
}

int64_t clock_monotonic_us(void)
{
	return stage.now_ms * 1000;
}

/* --- The database. Its answer is the same to each batch: what differs, the lane knows. */

static void set(int row, int column, const void *bytes, int length)
{
	must(PQsetvalue(stage.answer, row, column, (char *)(uintptr_t)bytes, length) ? E_OK : E_FATAL);
}

static void set_text(int row, int column, const char *text)
{
	set(row, column, text, (int)strlen(text));
}

static void set_int4(int row, int column, int32_t number)
{
	set(row, column, &(uint32_t){htonl((uint32_t)number)}, sizeof number);
}

static void set_int8(int row, int column, int64_t number)
{
	set(row, column, &(uint64_t){htobe64((uint64_t)number)}, sizeof number);
}

/* Columns of the statement for plain successes. */
enum { INPUT, FREED, ENDED_PARTITION, QUEUE, UUID, ATTEMPT, EPOCH, ENTRYPOINT, PARAMS, METADATA, DEADLINE, LIMIT, START_BY, FLAGS, COLUMNS };

static void set_successor(int row)
{
	set_text(row, QUEUE, "");
	set(row, UUID, "0123456789abcdef", 16);
	set_int4(row, ATTEMPT, 1);
	set_int8(row, EPOCH, PATH_EPOCH);
	set_text(row, ENTRYPOINT, "images.store");
	set_text(row, PARAMS, "{\"bucket\": \"thumbnails\", \"public\": true}");
	set_text(row, METADATA, "{\"tenant\": \"north\"}");
	set_int8(row, DEADLINE, 0);
	set_int8(row, LIMIT, 60000);
	set_int8(row, START_BY, 0);
	set_int4(row, FLAGS, 0);
}

static void make_answer(void)
{
	PGresAttDesc columns[COLUMNS] = {{.name = (char[]){""}, .format = 1}};
	for (int column = 1; column < COLUMNS; column++)
		columns[column] = columns[0];
	stage.answer = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
	must(PQsetResultAttrs(stage.answer, COLUMNS, columns) ? E_OK : E_FATAL);
	for (int row = 0; row < PATH_BATCH; row++) {
		set_int4(row, INPUT, row + 1);
		set_int4(row, ENDED_PARTITION, row % PARTITIONS);
		if (row % 10 == 9)
			set_text(row, FREED, "");
		else
			set_successor(row);
	}
}

bool connection_usable(const struct connection *connection)
{
	return true;
}

enum status connection_run(struct connection *connection, const struct embedded_file *statement, const struct parameter *parameters, int count, bool binary,
	int timeout_ms, PGresult **result, struct error *err)
{
	must(count == APPLY_PLAIN_PARAMETERS && strcmp(statement->name, "apply_plain.sql") == 0 ? E_OK : E_INVALID);
	stage.now_ms += STATEMENT_MS;
	*result = stage.answer;
	return E_OK;
}

void result_clear(PGresult **result)
{
	*result = NULL;
}

/* --- The Kafka client. */

enum status kafka_producer(const char *brokers, const struct properties *user, const char *client_id, void (*report)(rd_kafka_t *, const rd_kafka_message_t *, void *),
	void *opaque, rd_kafka_t **producer, struct error *err)
{
	stage.report = report;
	stage.report_to = opaque;
	*producer = (rd_kafka_t *)(void *)&handle;
	return E_OK;
}

enum status kafka_consumer(const char *brokers, const struct properties *user, const char *client_id, const char *group,
	void (*rebalance)(rd_kafka_t *, rd_kafka_resp_err_t, rd_kafka_topic_partition_list_t *, void *), void *opaque, rd_kafka_t **consumer, struct error *err)
{
	stage.rebalance = rebalance;
	stage.rebalance_to = opaque;
	*consumer = (rd_kafka_t *)(void *)&handle;
	return E_OK;
}

rd_kafka_resp_err_t rd_kafka_subscribe(rd_kafka_t *consumer, const rd_kafka_topic_partition_list_t *topics)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(PARTITIONS);
	for (int i = 0; i < PARTITIONS; i++)
		rd_kafka_topic_partition_list_add(list, "t.results", i);
	stage.rebalance(consumer, RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS, list, stage.rebalance_to);
	rd_kafka_topic_partition_list_destroy(list);
	return RD_KAFKA_RESP_ERR_NO_ERROR;
}

/* Nothing more has arrived whenever a batch is full. */
rd_kafka_message_t *rd_kafka_consumer_poll(rd_kafka_t *consumer, int timeout_ms)
{
	if (stage.left == 0)
		cell_stop(stage.cell);
	if (stage.left == 0 || stage.given == PATH_BATCH) {
		stage.given = 0;
		return NULL;
	}
	struct slice reply = path_reply(stage.given);
	rd_kafka_message_t *record = &stage.records[stage.given];
	record->partition = stage.given % PARTITIONS;
	record->payload = (void *)(uintptr_t)reply.start;
	record->len = reply.length;
	record->offset = stage.offsets[record->partition]++;
	stage.given++;
	stage.left--;
	return record;
}

int rd_kafka_produce_batch(rd_kafka_topic_t *topic, int32_t partition, int flags, rd_kafka_message_t *records, int count)
{
	for (int i = 0; i < count; i++)
		stage.flights[stage.flying++] = records[i]._private;
	return count;
}

/* All that was produced is acknowledged, in its order. */
int rd_kafka_poll(rd_kafka_t *producer, int timeout_ms)
{
	for (int i = 0; i < stage.flying; i++)
		stage.report(producer, &(rd_kafka_message_t){._private = stage.flights[i]}, stage.report_to);
	stage.dispatched += stage.flying;
	stage.flying = 0;
	return 0;
}

rd_kafka_resp_err_t rd_kafka_commit_queue(rd_kafka_t *consumer, const rd_kafka_topic_partition_list_t *list, rd_kafka_queue_t *queue,
	void (*done)(rd_kafka_t *, rd_kafka_resp_err_t, rd_kafka_topic_partition_list_t *, void *), void *opaque)
{
	for (int i = 0; i < list->cnt; i++)
		stage.committed[list->elems[i].partition] = list->elems[i].offset;
	return RD_KAFKA_RESP_ERR_NO_ERROR;
}

/* These do nothing, or always the same. */
void kafka_producer_close(rd_kafka_t *producer, int timeout_ms) {}
void kafka_consumer_close(rd_kafka_t *consumer, int timeout_ms) {}
rd_kafka_resp_err_t rd_kafka_assign(rd_kafka_t *consumer, const rd_kafka_topic_partition_list_t *list) { return RD_KAFKA_RESP_ERR_NO_ERROR; }
void rd_kafka_message_destroy(rd_kafka_message_t *record) {}
const char *rd_kafka_topic_name(const rd_kafka_topic_t *topic) { return "t.results"; }
rd_kafka_topic_t *rd_kafka_topic_new(rd_kafka_t *client, const char *name, rd_kafka_topic_conf_t *conf) { return (rd_kafka_topic_t *)(void *)&handle; }
void rd_kafka_topic_destroy(rd_kafka_topic_t *topic) {}
rd_kafka_resp_err_t rd_kafka_flush(rd_kafka_t *producer, int timeout_ms) { return RD_KAFKA_RESP_ERR_NO_ERROR; }
rd_kafka_resp_err_t rd_kafka_purge(rd_kafka_t *producer, int flags) { return RD_KAFKA_RESP_ERR_NO_ERROR; }
rd_kafka_queue_t *rd_kafka_queue_new(rd_kafka_t *client) { return (rd_kafka_queue_t *)(void *)&handle; }
void rd_kafka_queue_destroy(rd_kafka_queue_t *queue) {}
int rd_kafka_queue_poll_callback(rd_kafka_queue_t *queue, int timeout_ms) { return 0; }

/* --- The walk. */

static void check(int steps)
{
	int64_t committed = 0;
	for (int i = 0; i < PARTITIONS; i++)
		committed += stage.committed[i];
	must(committed == steps && stage.dispatched == steps / 10 * 9 ? E_OK : E_INVALID);
}

void path_walk_lane(int steps)
{
	struct lane *lane;
	struct settings settings = {.topic_prefix = "t", .batch = BATCH_REPLIES_MAX, .lease_ms = INT64_MAX / 2};
	stage.left = steps;
	stage.cell = cell_new(&settings, NULL);
	make_answer();
	cell_set_partitions(stage.cell, cell_queue(stage.cell, slice_of("")), PARTITIONS);
	cell_set_beat(stage.cell, (struct beat){.epoch = PATH_EPOCH, .generation = PATH_GENERATION});
	must(lane_open(stage.cell, 0, &lane, NULL));
	lane_run(lane);
	check(steps);
	lane_free(lane);
	cell_free(stage.cell);
	PQclear(stage.answer);
}
