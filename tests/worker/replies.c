/* Replies on librdkafka's mock cluster. */

#include "worker/replies.h"

#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/clock.h"
#include "common/kafka.h"
#include "tests/support/ignore_log.h"
#include "worker/outgoing.h"

#include <librdkafka/rdkafka_mock.h> /* behind rdkafka.h */

#define WAIT_MS 20000

enum { API_PRODUCE = 0, MANY = 64, ALL = 1000 };

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

/* So many at once, looked at before any of them is acknowledged; again until the second producer knows the topic. How many were sent. */
static int send_until_they_are_gathered(void)
{
	int count = 0;
	send_replies(count, MANY - 1);
	replies_serve(stage.replies);
	cr_assert_not(replies_are_gathered(stage.replies), "few were under way");
	settle(count += MANY - 1);
	for (int64_t until_ms = clock_monotonic_ms() + WAIT_MS; !replies_are_gathered(stage.replies) && clock_monotonic_ms() < until_ms;) {
		cr_assert(count + 2 * MANY < ALL);
		send_replies(count, MANY);
		replies_serve(stage.replies);
		settle(count += MANY);
		if (!replies_are_gathered(stage.replies))
			(void)nanosleep(&(struct timespec){.tv_nsec = 500 * 1000 * 1000}, NULL);
	}
	cr_assert(replies_are_gathered(stage.replies), "many were under way");
	return count;
}

/* librdkafka names the client in its log lines: which producer met the error. */
static bool log_has(FILE *log, const char *text)
{
	char line[2000];
	while (fgets(line, sizeof line, log))
		if (strstr(line, text))
			return true;
	return false;
}

Test(replies, are_gathered_while_many_are_under_way, .init = setup, .fini = teardown)
{
	int count = send_until_they_are_gathered();
	send_replies(count, MANY);
	settle(count += MANY);
	int64_t until_ms = clock_monotonic_ms() + WAIT_MS;
	while (replies_are_gathered(stage.replies) && clock_monotonic_ms() < until_ms)
		replies_serve(stage.replies);
	cr_assert_not(replies_are_gathered(stage.replies), "nothing is under way any more");
	send_replies(count, 1);
	settle(count + 1);
}

/* The second producer breaks, not the first: nothing is lost, and another one takes its place. */
Test(replies, a_gathering_producer_that_broke_is_replaced, .init = setup, .fini = teardown)
{
	cr_redirect_stderr();
	int count = send_until_they_are_gathered();
	rd_kafka_mock_push_request_errors(stage.mock, API_PRODUCE, 1, RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER);
	send_replies(count, MANY);
	settle(count += MANY);
	FILE *log = cr_get_redirected_stderr();
	cr_assert(log_has(log, "client=test#producer-3"), "the owner of the mock cluster is the first one");
	cr_assert(log_has(log, "the producer of replies broke and is replaced"));
}

Test(replies, a_close_sends_what_is_gathered, .init = setup)
{
	int count = send_until_they_are_gathered();
	send_replies(count, 10);
	replies_close(stage.replies, WAIT_MS);

	rd_kafka_t *reader;
	int64_t low, high, records = 0;
	cr_assert_eq(kafka_producer(stage.setup.brokers, NULL, "reader", NULL, NULL, &reader, NULL), E_OK);
	for (int32_t partition = 0; partition < 2; partition++, records += high)
		cr_assert_eq(rd_kafka_query_watermark_offsets(reader, "t.results", partition, &low, &high, WAIT_MS), 0);
	kafka_producer_close(reader, 0);
	cr_assert_eq(records, count + 10);
	stage.replies = NULL;
	teardown();
}
