/* Replies on librdkafka's mock cluster, whose broker is as slow as it is told to be. */

#include "worker/replies.h"

#include <criterion/criterion.h>

#include "common/clock.h"
#include "common/kafka.h"
#include "tests/support/ignore_log.h"
#include "worker/outgoing.h"

#include <librdkafka/rdkafka_mock.h> /* behind rdkafka.h */

#define WAIT_MS 20000

enum { API_PRODUCE = 0, MANY = 64, ALL = 500 };

struct stage {
	rd_kafka_t *owner;
	rd_kafka_mock_cluster_t *mock;
	struct properties properties;
	struct replies_setup setup;
	struct replies *replies;
	struct outgoing outgoing[ALL];
	int times[ALL]; /* acknowledged */
	int acknowledged;
};

static struct stage stage;

static void acknowledged(void *context, struct outgoing *outgoing)
{
	struct stage *mine = context;
	mine->times[outgoing - mine->outgoing]++;
	mine->acknowledged++;
}

static void unexpected(void *context, struct outgoing *outgoing)
{
	(void)context;
	cr_assert_fail("reply %td was given up", outgoing - stage.outgoing);
}

static void refused(void *context, struct outgoing *outgoing, size_t bytes, const char *reason)
{
	(void)bytes;
	(void)reason;
	unexpected(context, outgoing);
}

static void no_wake(void *context)
{
	(void)context;
}

static void setup(void)
{
	char text[200];
	struct error err = {0};
	int partitions;
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	rd_kafka_conf_set_log_cb(conf, ignore_log);
	stage.owner = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text);
	stage.mock = rd_kafka_mock_cluster_new(stage.owner, 1);
	rd_kafka_mock_topic_create(stage.mock, "t.results", 2, 1);
	stage.setup = (struct replies_setup){.brokers = rd_kafka_mock_cluster_bootstraps(stage.mock), .properties = &stage.properties, .client_id = "test", .topic = "t.results",
		.acknowledged = acknowledged, .given_up = unexpected, .refused = refused, .wake = no_wake, .context = &stage};
	cr_assert_eq(replies_open(&stage.setup, &stage.replies, &err), E_OK, "%s", err.text);
	cr_assert_eq(replies_find_topic(stage.replies, "t.results", WAIT_MS, &partitions, &err), E_OK, "%s", err.text);
	cr_assert_eq(partitions, 2);
}

static void teardown(void)
{
	replies_close(stage.replies, 2000);
	for (size_t i = 0; i < ALL; i++)
		buffer_clear(&stage.outgoing[i].text);
	rd_kafka_mock_cluster_destroy(stage.mock);
	rd_kafka_destroy(stage.owner);
}

static void send_replies(int from, int count)
{
	for (int i = from; i < from + count; i++)
		cr_assert(replies_send(stage.replies, &stage.outgoing[i], (struct slice){"{}", 2}));
}

/* Serves until so many are acknowledged, each of them once. */
static void settle(int count)
{
	int64_t until_ms = clock_monotonic_ms() + WAIT_MS;
	while (stage.acknowledged < count && clock_monotonic_ms() < until_ms)
		replies_serve(stage.replies);
	for (int i = 0; i < count; i++)
		cr_assert_eq(stage.times[i], 1, "reply %d was acknowledged %d times", i, stage.times[i]);
	cr_assert_eq(stage.acknowledged, count);
}

static bool gathers_after_serving(void)
{
	replies_serve(stage.replies);
	return replies_gather(stage.replies);
}

/* Nobody is acknowledged meanwhile: the broker takes its time. */
static void send_until_they_gather(void)
{
	rd_kafka_mock_broker_set_rtt(stage.mock, 1, 300);
	send_replies(0, MANY - 1);
	cr_assert_not(gathers_after_serving(), "few under way");
	send_replies(MANY - 1, 1);
	cr_assert(gathers_after_serving(), "many under way");
}

Test(replies, are_gathered_while_many_are_under_way, .init = setup, .fini = teardown)
{
	send_until_they_gather();
	send_replies(MANY, MANY);
	rd_kafka_mock_broker_set_rtt(stage.mock, 1, 0);
	settle(2 * MANY);
	int64_t until_ms = clock_monotonic_ms() + WAIT_MS;
	while (gathers_after_serving() && clock_monotonic_ms() < until_ms)
		continue;
	cr_assert_not(replies_gather(stage.replies), "nothing is under way any more");
	send_replies(2 * MANY, 1);
	settle(2 * MANY + 1);
}

/* What was gathered by a producer that can go on no more is sent by another one, whichever. */
Test(replies, nothing_is_lost_with_a_gathering_producer_that_broke, .init = setup, .fini = teardown)
{
	send_until_they_gather();
	rd_kafka_mock_broker_set_rtt(stage.mock, 1, 0);
	settle(MANY);
	cr_assert(replies_gather(stage.replies));
	rd_kafka_mock_push_request_errors(stage.mock, API_PRODUCE, 1, RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER);
	send_replies(MANY, ALL - MANY);
	settle(ALL);
}

Test(replies, a_close_sends_what_is_gathered, .init = setup)
{
	send_until_they_gather();
	rd_kafka_mock_broker_set_rtt(stage.mock, 1, 0);
	settle(MANY);
	cr_assert(replies_gather(stage.replies));
	send_replies(MANY, 10);
	replies_close(stage.replies, WAIT_MS);

	rd_kafka_t *reader;
	int64_t low, high, records = 0;
	cr_assert_eq(kafka_producer(stage.setup.brokers, NULL, "reader", NULL, NULL, &reader, NULL), E_OK);
	for (int32_t partition = 0; partition < 2; partition++, records += high)
		cr_assert_eq(rd_kafka_query_watermark_offsets(reader, "t.results", partition, &low, &high, WAIT_MS), 0);
	kafka_producer_close(reader, 0);
	cr_assert_eq(records, MANY + 10);
	stage.replies = NULL;
	teardown();
}
