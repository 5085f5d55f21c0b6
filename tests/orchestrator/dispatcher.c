/* The dispatcher on librdkafka's mock cluster, with errors that the broker is told to give. */

#include "orchestrator/dispatcher.h"

#include <criterion/criterion.h>
#include <librdkafka/rdkafka_mock.h>
#include <string.h>

#include "common/clock.h"
#include "common/limits.h"
#include "common/seal.h"
#include "tests/support/ignore_log.h"

#define WAIT_MS 20000

enum { API_PRODUCE = 0 };

struct stage {
	rd_kafka_t *owner;
	rd_kafka_mock_cluster_t *mock;
	struct settings settings;
	struct sealing *sealing;
	struct cell *cell;
	struct dispatcher *dispatcher;
	int acknowledged;
	struct origin last;
};

static struct stage stage;

static void acknowledged(void *context, struct origin origin)
{
	struct stage *mine = context;
	mine->acknowledged++;
	mine->last = origin;
}

static void set_up(struct sealing *sealing)
{
	char text[200];
	struct error err = {0};
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	rd_kafka_conf_set_log_cb(conf, ignore_log);
	stage.owner = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text);
	stage.mock = rd_kafka_mock_cluster_new(stage.owner, 1);
	rd_kafka_mock_topic_create(stage.mock, "t.tasks", 2, 1);
	stage.settings = (struct settings){.brokers = rd_kafka_mock_cluster_bootstraps(stage.mock), .topic_prefix = "t", .lease_ms = 4000};
	stage.sealing = sealing;
	stage.cell = cell_new(&stage.settings, sealing);
	cell_set_partitions(stage.cell, cell_queue(stage.cell, slice_of("")), 2);
	cr_assert_eq(dispatcher_open(stage.cell, "test", acknowledged, &stage, &stage.dispatcher, &err), E_OK, "%s", err.text);
}

static void setup(void)
{
	set_up(NULL);
}

static void set_up_sealed(void)
{
	struct sealing *sealing;
	struct sealing_settings keys = {.key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="};
	cr_assert_eq(sealing_open(&keys, &sealing, NULL), E_OK);
	set_up(sealing);
}

static void teardown(void)
{
	dispatcher_close(stage.dispatcher, 2000);
	cell_free(stage.cell);
	sealing_free(stage.sealing);
	rd_kafka_mock_cluster_destroy(stage.mock);
	rd_kafka_destroy(stage.owner);
}

static void dispatch_to(int32_t partition, int64_t epoch, int64_t offset, struct slice params)
{
	struct dispatch dispatch = {.entrypoint = {"e", 1}, .params = params, .stamp = {.attempt = 3, .generation = 7, .epoch = epoch}};
	dispatcher_send(stage.dispatcher, 0, partition, &dispatch, (struct origin){.partition = 2, .assignment = 1, .offset = offset});
}

static void dispatch_one(int64_t epoch, int64_t offset, struct slice params)
{
	dispatch_to(1, epoch, offset, params);
}

static int64_t end_of(int32_t partition)
{
	int64_t low, high;
	cr_assert_eq(rd_kafka_query_watermark_offsets(dispatcher_producer(stage.dispatcher), "t.tasks", partition, &low, &high, WAIT_MS), 0);
	return high;
}

static void settle(void)
{
	int64_t until_ms = clock_monotonic_ms() + WAIT_MS;
	while (dispatcher_pending(stage.dispatcher) > 0 && clock_monotonic_ms() < until_ms)
		dispatcher_poll(stage.dispatcher, 50);
	cr_assert_eq(dispatcher_pending(stage.dispatcher), 0);
}

static void settle_forwarded(void)
{
	int64_t until_ms = clock_monotonic_ms() + WAIT_MS;
	while (dispatcher_forwarding(stage.dispatcher) > 0 && clock_monotonic_ms() < until_ms)
		dispatcher_poll(stage.dispatcher, 50);
	cr_assert_eq(dispatcher_forwarding(stage.dispatcher), 0);
}

Test(dispatcher, an_acknowledged_dispatch_names_its_origin, .init = setup, .fini = teardown)
{
	cr_assert_eq(dispatcher_floor(stage.dispatcher), INT64_MAX);
	dispatch_one(5, 41, (struct slice){"{}", 2});
	dispatch_one(4, 42, (struct slice){"{}", 2});
	cr_assert_eq(dispatcher_pending(stage.dispatcher), 2);
	cr_assert_eq(dispatcher_floor(stage.dispatcher), 4);
	settle();
	cr_assert_eq(stage.acknowledged, 2);
	cr_assert_eq(stage.last.offset, 42);
	cr_assert_eq(dispatcher_floor(stage.dispatcher), INT64_MAX);
}

Test(dispatcher, what_may_heal_is_sent_until_it_is_taken, .init = setup, .fini = teardown)
{
	rd_kafka_mock_push_request_errors(stage.mock, API_PRODUCE, 3, RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
		RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS);
	struct refused refused;
	dispatch_one(1, 1, (struct slice){"{}", 2});
	settle();
	cr_assert_eq(stage.acknowledged, 1);
	cr_assert_not(dispatcher_take_refused(stage.dispatcher, &refused));
}

Test(dispatcher, what_the_broker_refuses_for_good_is_told_once, .init = setup, .fini = teardown)
{
	rd_kafka_mock_push_request_errors(stage.mock, API_PRODUCE, 1, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
	struct refused refused;
	dispatch_one(1, 9, (struct slice){"{}", 2});
	settle();
	cr_assert_eq(stage.acknowledged, 0);
	cr_assert(dispatcher_take_refused(stage.dispatcher, &refused));
	cr_assert_eq(refused.origin.offset, 9);
	cr_assert_eq(refused.attempt, 3);
	cr_assert_eq(refused.generation, 7);
	cr_assert(strstr(refused.reason, "authoriz"), "%s", refused.reason);
	cr_assert_not(dispatcher_take_refused(stage.dispatcher, &refused));
}

Test(dispatcher, what_is_too_large_is_refused_at_once, .init = setup, .fini = teardown)
{
	struct buffer params = {0};
	struct refused refused;
	buffer_add_text(&params, "{\"x\":\"");
	memset(buffer_reserve(&params, 2 << 20), 'x', 2 << 20);
	params.length += 2 << 20;
	buffer_add_text(&params, "\"}");
	dispatch_one(1, 3, buffer_slice(&params));
	buffer_clear(&params);
	cr_assert_eq(dispatcher_pending(stage.dispatcher), 0);
	cr_assert(dispatcher_take_refused(stage.dispatcher, &refused));
	cr_assert_eq(refused.origin.offset, 3);
}

/* An idempotent producer may meet an error after which it takes nothing any more. */
Test(dispatcher, a_producer_with_a_fatal_error_is_replaced, .init = setup, .fini = teardown)
{
	struct refused refused;
	dispatch_one(1, 1, (struct slice){"{}", 2});
	settle();
	rd_kafka_test_fatal_error(dispatcher_producer(stage.dispatcher), RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, "as asked for");
	dispatch_one(2, 2, (struct slice){"{}", 2});
	dispatch_one(2, 3, (struct slice){"{}", 2});
	settle();
	cr_assert_eq(stage.acknowledged, 3);
	cr_assert_not(dispatcher_take_refused(stage.dispatcher, &refused));
	cr_assert_eq(rd_kafka_fatal_error(dispatcher_producer(stage.dispatcher), NULL, 0), RD_KAFKA_RESP_ERR_NO_ERROR);
}

/* Whoever was removed must not send later what it had decided before. */
Test(dispatcher, what_is_purged_is_never_sent_nor_reported, .init = setup, .fini = teardown)
{
	struct refused refused;
	struct dispatch none = {.entrypoint = {"e", 1}};
	rd_kafka_mock_broker_set_down(stage.mock, 1);
	dispatch_one(3, 1, (struct slice){"{}", 2});
	dispatcher_flush(stage.dispatcher);
	dispatch_one(3, 2, (struct slice){"{}", 2}); /* not the producer's yet */
	dispatcher_tell(stage.dispatcher, "t.tasks", (struct slice){"told", 4});
	dispatcher_refuse(stage.dispatcher, &none, (struct origin){.partition = 0}, "for the test");
	cr_assert_eq(dispatcher_floor(stage.dispatcher), 3);
	dispatcher_purge(stage.dispatcher);
	cr_assert_eq(dispatcher_pending(stage.dispatcher), 0);
	cr_assert_eq(dispatcher_forwarding(stage.dispatcher), 0);
	cr_assert_eq(dispatcher_floor(stage.dispatcher), INT64_MAX);
	cr_assert_not(dispatcher_take_refused(stage.dispatcher, &refused));
	rd_kafka_mock_broker_set_up(stage.mock, 1);
	dispatch_one(4, 9, (struct slice){"{}", 2});
	settle();
	cr_assert_eq(stage.acknowledged, 1);
	cr_assert_eq(stage.last.offset, 9);
	cr_assert_eq(end_of(1), 1);
}

/* More than a burst holds, to two partitions in turn; the first is handed over when it is full, the rest by the poll. */
Test(dispatcher, a_burst_goes_where_each_of_it_belongs, .init = setup, .fini = teardown)
{
	enum { EACH = 100, PARTS = 12 };
	for (int part = 0; part < PARTS; part++)
		for (int i = 0; i < EACH; i++)
			dispatch_to(part % 3 == 0, 1, part * EACH + i, (struct slice){"{}", 2});
	cr_assert_eq(dispatcher_pending(stage.dispatcher), EACH * PARTS);
	settle();
	cr_assert_eq(stage.acknowledged, EACH * PARTS);
	cr_assert_eq(end_of(1), EACH * PARTS / 3);
	cr_assert_eq(end_of(0), EACH * PARTS * 2 / 3);
}

Test(dispatcher, records_of_its_own_hold_nothing_back, .init = setup, .fini = teardown)
{
	dispatcher_forward(stage.dispatcher, "t.tasks", (struct slice){"again", 5}, (struct origin){.partition = 0, .offset = 77});
	dispatcher_tell(stage.dispatcher, "t.tasks", (struct slice){"told", 4});
	cr_assert_eq(dispatcher_floor(stage.dispatcher), INT64_MAX);
	cr_assert_eq(dispatcher_pending(stage.dispatcher), 0);
	settle_forwarded();
	cr_assert_eq(stage.acknowledged, 1, "what is only told is reported to nobody");
	cr_assert_eq(stage.last.offset, 77);
}

/* All records of the topic; how many. Each is an envelope that opens. */
static size_t read_sealed(struct buffer *texts)
{
	char text[200];
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	rd_kafka_conf_set_log_cb(conf, ignore_log);
	rd_kafka_conf_set(conf, "bootstrap.servers", stage.settings.brokers, text, sizeof text);
	rd_kafka_conf_set(conf, "group.id", "reader", text, sizeof text);
	rd_kafka_conf_set(conf, "enable.partition.eof", "true", text, sizeof text);
	rd_kafka_t *consumer = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof text);
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(2);
	for (int partition = 0; partition < 2; partition++)
		rd_kafka_topic_partition_list_add(list, "t.tasks", partition)->offset = RD_KAFKA_OFFSET_BEGINNING;
	rd_kafka_assign(consumer, list);
	rd_kafka_topic_partition_list_destroy(list);
	size_t count = 0;
	for (int ends = 0; ends < 2;) {
		rd_kafka_message_t *record = rd_kafka_consumer_poll(consumer, WAIT_MS);
		cr_assert_not_null(record);
		ends += record->err == RD_KAFKA_RESP_ERR__PARTITION_EOF;
		if (!record->err) {
			struct buffer opened = {0};
			struct message message;
			struct error err = {0};
			cr_expect_eq(sealing_read(stage.sealing, (struct slice){record->payload, record->len}, &opened, &message, &err), E_OK, "%s", err.text);
			buffer_add_slice(texts, buffer_slice(&opened));
			buffer_clear(&opened);
			count++;
		}
		rd_kafka_message_destroy(record);
	}
	rd_kafka_consumer_close(consumer);
	rd_kafka_destroy(consumer);
	return count;
}

/* Dispatches, also those that are sent again, words of its own, and what was on a topic before, which may be sealed already. */
Test(dispatcher, everything_is_sealed_once, .init = set_up_sealed, .fini = teardown)
{
	struct buffer sealed = {0}, texts = {0};
	struct slice record;
	rd_kafka_mock_push_request_errors(stage.mock, API_PRODUCE, 1, RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR);
	dispatch_one(1, 1, slice_of("{\"word\":\"one\"}"));
	settle();
	dispatcher_tell(stage.dispatcher, "t.tasks", slice_of("{\"uuid\":\"two\",\"entrypoint\":\"e\"}"));
	dispatcher_forward(stage.dispatcher, "t.tasks", slice_of("{\"uuid\":\"three\",\"entrypoint\":\"e\"}"), (struct origin){.partition = -1});
	cr_assert_eq(sealing_write(stage.sealing, slice_of("{\"uuid\":\"four\",\"entrypoint\":\"e\"}"), &sealed, &record, NULL), E_OK);
	dispatcher_forward(stage.dispatcher, "t.tasks", record, (struct origin){.partition = -1});
	settle_forwarded();
	cr_expect_eq(read_sealed(&texts), 4);
	const char *const words[] = {"one", "two", "three", "four"};
	for (size_t i = 0; i < COUNT_OF(words); i++)
		cr_expect_not_null(strstr(texts.bytes, words[i]), "%s", words[i]);
	buffer_clear(&sealed);
	buffer_clear(&texts);
}

/* What fits as plaintext and not sealed can never be delivered: told at once. */
Test(dispatcher, what_is_too_large_when_sealed_is_refused_at_once, .init = set_up_sealed, .fini = teardown)
{
	struct buffer params = {0};
	struct refused refused;
	size_t length = sealing_text_max(stage.sealing, MESSAGE_BYTES_MAX);
	buffer_add_text(&params, "{\"x\":\"");
	memset(buffer_reserve(&params, length), 'x', length);
	params.length += length;
	buffer_add_text(&params, "\"}");
	dispatch_one(1, 3, buffer_slice(&params));
	buffer_clear(&params);
	cr_assert_eq(dispatcher_pending(stage.dispatcher), 0);
	cr_assert(dispatcher_take_refused(stage.dispatcher, &refused));
	cr_expect_eq(refused.origin.offset, 3);
	cr_expect_not_null(strstr(refused.reason, "cannot be sealed: sealed, 1048576 are the limit"), "%s", refused.reason);
}
