#include "common/kafka.h"

#include <criterion/criterion.h>
#include <librdkafka/rdkafka_mock.h>

#include "common/clock.h"
#include "common/limits.h"
#include "tests/support/ignore_log.h"

/* ---- names ---- */

Test(kafka, names)
{
	const struct topics topics = {"my.kser"};
	char name[250];
	cr_expect_str_eq(topics_tasks(&topics, NULL, name), "my.kser.tasks");
	cr_expect_str_eq(topics_tasks(&topics, "", name), "my.kser.tasks");
	cr_expect_str_eq(topics_tasks(&topics, "slow", name), "my.kser.tasks.slow");
	cr_expect_str_eq(topics_named(&topics, "results", name), "my.kser.results");
}

static void check_length(size_t prefix_bytes, size_t queue_bytes, enum status expected)
{
	char prefix[200] = "";
	char queue[200] = "";
	memset(prefix, 'p', prefix_bytes);
	memset(queue, 'q', queue_bytes);
	struct error err = {0};
	cr_expect_eq(topics_check(prefix, queue, &err), expected, "%zu %zu: %s", prefix_bytes, queue_bytes, err.text);
}

Test(kafka, prefix_and_queue_limits)
{
	check_length(0, 0, E_INVALID);
	check_length(1, 0, E_OK);
	check_length(60, QUEUE_BYTES_MAX, E_OK);
	check_length(61, 0, E_INVALID);
	check_length(1, QUEUE_BYTES_MAX + 1, E_INVALID);
	struct error err;
	cr_expect_eq(topics_check("azAZ09._-", NULL, &err), E_OK);
	cr_expect_eq(topics_check("a b", NULL, &err), E_INVALID);
	cr_expect_eq(topics_check("a/b", NULL, &err), E_INVALID);
	cr_expect_eq(topics_check(NULL, NULL, &err), E_INVALID);
	cr_expect_eq(topics_check("a", "é", &err), E_INVALID);
	cr_expect_not_null(strstr(err.text, "the queue \"é\" must be"), "%s", err.text);
}

/* ---- properties ---- */

static enum status open_both(char *name, char *value, struct error *err)
{
	struct property list[] = {{name, value}};
	const struct properties user = {list, 1};
	rd_kafka_t *producer;
	rd_kafka_t *consumer = NULL;
	enum status status = kafka_producer("127.0.0.1:1", &user, "test", NULL, NULL, &producer, err);
	if (!status)
		status = kafka_consumer("127.0.0.1:1", &user, "test", "group", NULL, NULL, &consumer, err);
	cr_expect(status == E_OK || consumer == NULL);
	kafka_producer_close(producer, 2000);
	kafka_consumer_close(consumer, 2000);
	return status;
}

Test(kafka, properties_that_correctness_needs_are_not_the_users)
{
	char *const names[] = {"enable.auto.commit", "auto.commit.enable", "enable.auto.offset.store", "acks", "request.required.acks",
		"enable.idempotence", "partition.assignment.strategy", "group.id", "group.instance.id", "bootstrap.servers", "metadata.broker.list"};
	for (size_t i = 0; i < COUNT_OF(names); i++) {
		struct error err = {0};
		cr_expect_eq(open_both(names[i], "1", &err), E_INVALID, "%s", names[i]);
		cr_expect_not_null(strstr(err.text, names[i]), "%s", err.text);
		cr_expect_not_null(strstr(err.text, "cannot be set"), "%s", err.text);
	}
}

Test(kafka, other_properties_override_ours)
{
	struct error err = {0};
	cr_expect_eq(open_both("linger.ms", "7", &err), E_OK, "%s", err.text);
	cr_expect_eq(open_both("fetch.wait.max.ms", "7", &err), E_OK, "%s", err.text);
	cr_expect_eq(open_both("session.timeout.ms", "9000", &err), E_OK, "%s", err.text);
	cr_expect_eq(open_both("allow.auto.create.topics", "true", &err), E_OK, "%s", err.text);
}

Test(kafka, wrong_properties_are_named)
{
	struct error err = {0};
	cr_expect_eq(open_both("no.such.property", "1", &err), E_INVALID);
	cr_expect_not_null(strstr(err.text, "no.such.property"), "%s", err.text);
	cr_expect_eq(open_both("linger.ms", "soon", &err), E_INVALID);
	cr_expect_not_null(strstr(err.text, "linger.ms"), "%s", err.text);
	/* Each is fine alone, and librdkafka finds them wrong together. */
	cr_expect_eq(open_both("max.poll.interval.ms", "1000", &err), E_INVALID);
	cr_expect_not_null(strstr(err.text, "max.poll.interval.ms"), "%s", err.text);
}

Test(kafka, ports_of_brokers)
{
	static const struct { const char *brokers, *wrong; } cases[] = {
		{"foo:99999", "foo:99999"}, {"foo:1,bar:0", "bar:0"}, {"PLAINTEXT://foo:65536", "PLAINTEXT://foo:65536"}, {"foo:99999999999999999999", "foo:9999"},
		{"127.0.0.1:65535,127.0.0.1,[::1]:9092", NULL}, {"127.0.0.1:1,", NULL}};
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct error err = {0};
		rd_kafka_t *client;
		enum status status = kafka_producer(cases[i].brokers, NULL, "test", NULL, NULL, &client, &err);
		cr_expect_eq(status, cases[i].wrong ? E_INVALID : E_OK, "%s: %s", cases[i].brokers, err.text);
		cr_expect(!cases[i].wrong || (strstr(err.text, cases[i].wrong) && strstr(err.text, "a port is 1 to 65535")), "%s", err.text);
		kafka_producer_close(client, 0);
	}
}

Test(kafka, no_brokers_given)
{
	struct error err = {0};
	rd_kafka_t *client;
	cr_expect_eq(kafka_producer("", NULL, "test", NULL, NULL, &client, &err), E_INVALID);
	cr_expect_null(client);
	cr_expect_eq(kafka_consumer(NULL, NULL, "test", NULL, NULL, NULL, &client, &err), E_INVALID);
	cr_expect_null(client);
}

/* ---- with a mock cluster, which lives in this process ---- */

struct cluster {
	rd_kafka_t *owner;
	rd_kafka_mock_cluster_t *mock;
	const char *brokers;
};

static struct cluster cluster_open(void)
{
	struct cluster cluster;
	char text[200];
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	rd_kafka_conf_set_log_cb(conf, ignore_log);
	cluster.owner = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text);
	cluster.mock = rd_kafka_mock_cluster_new(cluster.owner, 1);
	cluster.brokers = rd_kafka_mock_cluster_bootstraps(cluster.mock);
	return cluster;
}

static void cluster_close(struct cluster *cluster)
{
	rd_kafka_mock_cluster_destroy(cluster->mock);
	rd_kafka_destroy(cluster->owner);
}

static rd_kafka_t *producer_open(const struct cluster *cluster, void (*report)(rd_kafka_t *, const rd_kafka_message_t *, void *), void *opaque)
{
	struct error err = {0};
	rd_kafka_t *producer;
	cr_assert_eq(kafka_producer(cluster->brokers, NULL, "test", report, opaque, &producer, &err), E_OK, "%s", err.text);
	return producer;
}

static int partitions_of(rd_kafka_t *client, const char *topic)
{
	struct error err = {0};
	int partitions = -1;
	cr_assert_eq(kafka_partitions(client, topic, 5000, &partitions, &err), E_OK, "%s", err.text);
	return partitions;
}

/* The mock cluster has no admin calls and names a controller that it does not have. */
Test(kafka, topics_are_made_where_there_are_no_admin_calls)
{
	struct cluster cluster = cluster_open();
	rd_kafka_t *producer = producer_open(&cluster, NULL, NULL);
	cr_assert_eq(rd_kafka_mock_topic_create(cluster.mock, "there", 3, 1), RD_KAFKA_RESP_ERR_NO_ERROR);
	cr_expect_eq(partitions_of(producer, "missing"), 0);
	cr_expect_eq(partitions_of(producer, "missing"), 0, "asking did not make it");
	const struct topic_wanted wanted[] = {{"there", 12}, {"missing", 12}, {"missing.too", 1}};
	struct error err = {0};
	cr_assert_eq(kafka_create_topics(producer, wanted, COUNT_OF(wanted), 5000, &err), E_OK, "%s", err.text);
	cr_expect_eq(partitions_of(producer, "there"), 3, "left as it was");
	cr_expect_gt(partitions_of(producer, "missing"), 0);
	cr_expect_gt(partitions_of(producer, "missing.too"), 0);
	cr_assert_eq(kafka_create_topics(producer, wanted, COUNT_OF(wanted), 5000, &err), E_OK, "again: %s", err.text);
	kafka_producer_close(producer, 2000);
	cluster_close(&cluster);
}

Test(kafka, a_broker_that_is_away_may_come_back)
{
	struct error err = {0};
	rd_kafka_t *producer;
	cr_assert_eq(kafka_producer("127.0.0.1:1", NULL, "test", NULL, NULL, &producer, &err), E_OK);
	const struct topic_wanted wanted[] = {{"a", 1}};
	int partitions;
	cr_expect_eq(kafka_create_topics(producer, wanted, 1, 300, &err), E_RETRY);
	cr_expect_eq(kafka_partitions(producer, "a", 300, &partitions, &err), E_RETRY);
	cr_expect_not_null(strstr(err.text, "could not reach the brokers"), "%s", err.text);
	kafka_producer_close(producer, 1000);
}

static void count_report(rd_kafka_t *producer, const rd_kafka_message_t *record, void *opaque)
{
	(void)producer;
	int *reports = opaque;
	reports[record->err ? 1 : 0]++;
}

static void produce(rd_kafka_t *producer, const char *topic)
{
	cr_assert_eq(rd_kafka_producev(producer, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION(0), RD_KAFKA_V_VALUE("x", 1), RD_KAFKA_V_END), 0);
}

/* Whoever waits for a report of each record must get one, so that it can free what belongs to it. */
Test(kafka, closing_a_producer_reports_what_was_delivered_and_what_not)
{
	struct cluster cluster = cluster_open();
	int reports[2] = {0};
	rd_kafka_mock_topic_create(cluster.mock, "t", 1, 1);
	rd_kafka_t *producer = producer_open(&cluster, count_report, reports);
	for (int i = 0; i < 3; i++)
		produce(producer, "t");
	kafka_producer_close(producer, 5000);
	cr_expect_eq(reports[0], 3);
	producer = producer_open(&cluster, count_report, reports);
	cr_assert_gt(partitions_of(producer, "t"), 0);
	rd_kafka_mock_broker_set_rtt(cluster.mock, 1, 60000);
	produce(producer, "t");
	int64_t start_ms = clock_monotonic_ms();
	kafka_producer_close(producer, 500);
	cr_expect_eq(reports[1], 1);
	cr_expect_lt(clock_monotonic_ms() - start_ms, 5000);
	cluster_close(&cluster);
}

/* What was fetched and not read yet must not end the process. */
Test(kafka, closing_a_consumer_drops_what_was_fetched)
{
	struct cluster cluster = cluster_open();
	struct error err = {0};
	rd_kafka_t *consumer, *producer = producer_open(&cluster, NULL, NULL);
	rd_kafka_mock_topic_create(cluster.mock, "t", 1, 1);
	for (int i = 0; i < 100; i++)
		produce(producer, "t");
	cr_assert_eq(rd_kafka_flush(producer, 5000), RD_KAFKA_RESP_ERR_NO_ERROR);
	cr_assert_eq(kafka_consumer(cluster.brokers, NULL, "test", "g", NULL, NULL, &consumer, &err), E_OK, "%s", err.text);
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
	rd_kafka_topic_partition_list_add(list, "t", 0)->offset = 0;
	cr_assert_eq(rd_kafka_assign(consumer, list), RD_KAFKA_RESP_ERR_NO_ERROR);
	rd_kafka_topic_partition_list_destroy(list);
	rd_kafka_message_t *first = rd_kafka_consumer_poll(consumer, 10000);
	cr_assert_not_null(first);
	rd_kafka_message_destroy(first);
	kafka_consumer_close(consumer, 5000);
	kafka_producer_close(producer, 2000);
	cluster_close(&cluster);
}

struct member {
	rd_kafka_t *consumer;
	int assigned;
	int revoked;
	bool commits; /* when its partitions are revoked */
	rd_kafka_resp_err_t committed;
};

static rd_kafka_resp_err_t commit_now(rd_kafka_t *consumer)
{
	rd_kafka_topic_partition_list_t *offsets = rd_kafka_topic_partition_list_new(1);
	rd_kafka_topic_partition_list_add(offsets, "t", 0)->offset = 1;
	rd_kafka_resp_err_t error = rd_kafka_commit(consumer, offsets, 0);
	rd_kafka_topic_partition_list_destroy(offsets);
	return error;
}

static void rebalance(rd_kafka_t *consumer, rd_kafka_resp_err_t event, rd_kafka_topic_partition_list_t *list, void *opaque)
{
	struct member *member = opaque;
	if (event == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
		member->assigned++;
		rd_kafka_assign(consumer, list);
		return;
	}
	member->revoked++;
	if (member->commits)
		member->committed = commit_now(consumer);
	rd_kafka_assign(consumer, NULL);
}

static void join(const struct cluster *cluster, struct member *member)
{
	struct error err = {0};
	cr_assert_eq(kafka_consumer(cluster->brokers, NULL, "test", "group", rebalance, member, &member->consumer, &err), E_OK, "%s", err.text);
	rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
	rd_kafka_topic_partition_list_add(topics, "t", RD_KAFKA_PARTITION_UA);
	cr_assert_eq(rd_kafka_subscribe(member->consumer, topics), RD_KAFKA_RESP_ERR_NO_ERROR);
	rd_kafka_topic_partition_list_destroy(topics);
	int64_t until_ms = clock_monotonic_ms() + 20000;
	while (!member->assigned && clock_monotonic_ms() < until_ms) {
		rd_kafka_message_t *record = rd_kafka_consumer_poll(member->consumer, 100);
		if (record)
			rd_kafka_message_destroy(record);
	}
	cr_assert_eq(member->assigned, 1);
}

Test(kafka, closing_a_consumer_revokes_first_and_can_still_commit)
{
	struct cluster cluster = cluster_open();
	rd_kafka_mock_topic_create(cluster.mock, "t", 1, 1);
	struct member member = {.commits = true, .committed = RD_KAFKA_RESP_ERR__FAIL};
	join(&cluster, &member);
	kafka_consumer_close(member.consumer, 5000);
	cr_expect_eq(member.revoked, 1);
	cr_expect_eq(member.committed, RD_KAFKA_RESP_ERR_NO_ERROR, "%s", rd_kafka_err2str(member.committed));
	cluster_close(&cluster);
}

Test(kafka, closing_a_consumer_ends_when_the_broker_does_not_answer)
{
	struct cluster cluster = cluster_open();
	rd_kafka_mock_topic_create(cluster.mock, "t", 1, 1);
	struct member member = {0};
	join(&cluster, &member);
	rd_kafka_mock_broker_set_rtt(cluster.mock, 1, 60000);
	int64_t start_ms = clock_monotonic_ms();
	kafka_consumer_close(member.consumer, 300);
	cr_expect_eq(member.revoked, 1);
	cr_expect_lt(clock_monotonic_ms() - start_ms, 5000);
	cluster_close(&cluster);
}

/* Without a group: for partitions that the program assigns itself. */
Test(kafka, a_consumer_for_assign_only)
{
	struct cluster cluster = cluster_open();
	rd_kafka_mock_topic_create(cluster.mock, "t", 1, 1);
	rd_kafka_t *producer = producer_open(&cluster, NULL, NULL);
	produce(producer, "t");
	struct error err = {0};
	rd_kafka_t *consumer;
	cr_assert_eq(kafka_consumer(cluster.brokers, NULL, "test", NULL, NULL, NULL, &consumer, &err), E_OK, "%s", err.text);
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
	rd_kafka_topic_partition_list_add(list, "t", 0)->offset = RD_KAFKA_OFFSET_BEGINNING;
	cr_assert_eq(rd_kafka_assign(consumer, list), RD_KAFKA_RESP_ERR_NO_ERROR);
	rd_kafka_topic_partition_list_destroy(list);
	rd_kafka_message_t *record = rd_kafka_consumer_poll(consumer, 10000);
	cr_assert(record && !record->err);
	rd_kafka_message_destroy(record);
	kafka_consumer_close(consumer, 5000);
	kafka_producer_close(producer, 5000);
	cluster_close(&cluster);
}

Test(kafka, closing_nothing)
{
	kafka_consumer_close(NULL, 100);
	kafka_producer_close(NULL, 100);
}
