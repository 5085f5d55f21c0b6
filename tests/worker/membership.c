/* A member of the workers' group that is given no assignment. */

#include "worker/membership.h"

#include <criterion/criterion.h>
#include <librdkafka/rdkafka_mock.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "worker/hand.h"
#include "tests/support/ignore_log.h"

#define WAIT_MS 30000

struct stage {
	rd_kafka_t *owner;
	rd_kafka_mock_cluster_t *mock;
	struct properties properties;
	struct membership_setup setup;
	struct membership *membership;
	int joined;
	rd_kafka_t *consumer; /* the last one that joined */
};

static struct stage stage;
static atomic_bool slow_to_start;
static int records[2]; /* read, by partition */
static struct property not_known = {.name = (char[]){"no.such.property"}, .value = (char[]){"1"}};
static struct property tells_of_partitions = {.name = (char[]){"debug"}, .value = (char[]){"topic"}};

void __wrap_log_event(enum log_level level, const char *message, ...);

/* The client tells that it starts a partition after it has numbered that and before it queues it. Its thread is held there for a moment. */
void __wrap_log_event(enum log_level level, const char *message, ...)
{
	va_list arguments;
	(void)level;
	va_start(arguments, message);
	for (const char *key; (key = va_arg(arguments, const char *));) {
		const char *value = va_arg(arguments, const char *);
		if (strcmp(key, "text") == 0 && strstr(value, "Start consuming t.tasks [1]") && atomic_exchange(&slow_to_start, false))
			usleep(500000);
	}
	va_end(arguments);
}

static void joined(void *context, rd_kafka_t *consumer)
{
	struct stage *mine = context;
	mine->joined++;
	mine->consumer = consumer;
}

static void revoked(void *context, const rd_kafka_topic_partition_list_t *list, bool lost)
{
	(void)context;
	(void)list;
	(void)lost;
}

static void serve(void *context, int wait_ms)
{
	(void)context;
	(void)wait_ms;
}

static void setup(void)
{
	char text[200];
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	rd_kafka_conf_set_log_cb(conf, ignore_log);
	rd_kafka_conf_set(conf, "test.mock.num.brokers", "2", text, sizeof text);
	stage = (struct stage){.owner = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text)};
	stage.mock = rd_kafka_handle_mock_cluster(stage.owner);
	rd_kafka_mock_topic_create(stage.mock, "t.tasks", 2, 1);
	stage.setup = (struct membership_setup){.brokers = rd_kafka_mock_cluster_bootstraps(stage.mock), .properties = &stage.properties, .client_id = "test",
		.group = "t.workers", .topic = "t.tasks", .wake_fd = eventfd(0, EFD_NONBLOCK), .joined = joined, .revoked = revoked, .serve = serve,
		.context = &stage};
}

static void open_membership(int64_t rejoin_ms)
{
	struct error err = {0};
	stage.setup.rejoin_ms = rejoin_ms;
	cr_assert_eq(membership_open(&stage.setup, &stage.membership, &err), E_OK, "%s", err.text);
}

static void teardown(void)
{
	membership_close(stage.membership, 2000);
	membership_free(stage.membership);
	close(stage.setup.wake_fd);
	rd_kafka_destroy(stage.owner);
}

/* Renews whenever it is due, until `done` says so. */
static void renew_until(bool (*done)(void))
{
	int64_t until_ms = clock_monotonic_ms() + WAIT_MS;
	while (!done() && clock_monotonic_ms() < until_ms) {
		membership_renew(stage.membership);
		rd_kafka_message_t *record = rd_kafka_consumer_poll(membership_consumer(stage.membership), 20);
		if (record && !record->err)
			records[record->partition]++;
		if (record)
			rd_kafka_message_destroy(record);
	}
	cr_assert(done());
}

static bool is_assigned(void)
{
	return membership_find(stage.membership, 0) && membership_find(stage.membership, 1);
}

static bool has_joined_anew(void)
{
	return stage.joined > 1;
}

/* No broker answers. A member joins a group of the mock cluster within four seconds, which is the second one's time. */
Test(membership, who_is_given_nothing_joins_anew, .init = setup, .fini = teardown, .timeout = 60)
{
	rd_kafka_mock_broker_set_rtt(stage.mock, -1, 2 * WAIT_MS);
	open_membership(2500);
	rd_kafka_t *first = stage.consumer;
	renew_until(has_joined_anew);
	cr_assert_neq(stage.consumer, first);
	cr_assert_eq(stage.consumer, membership_consumer(stage.membership));
	rd_kafka_mock_broker_set_rtt(stage.mock, -1, 0);
	renew_until(is_assigned);
}

Test(membership, who_cannot_join_at_all_is_nobody, .init = setup, .fini = teardown)
{
	struct error err = {0};
	stage.properties = (struct properties){&not_known, 1};
	stage.membership = (struct membership *)&stage; /* must not stay */
	cr_assert_eq(membership_open(&stage.setup, &stage.membership, &err), E_INVALID);
	cr_assert_null(stage.membership);
}

/* No client can be made: the member that we have stays, and still is given its partitions. */
Test(membership, who_cannot_join_anew_stays_as_it_is, .init = setup, .fini = teardown, .timeout = 60)
{
	open_membership(50);
	stage.properties = (struct properties){&not_known, 1};
	int64_t until_ms = clock_monotonic_ms() + 200;
	while (clock_monotonic_ms() < until_ms)
		cr_assert_not(membership_renew(stage.membership));
	cr_assert_eq(stage.joined, 1);
	cr_assert_eq(stage.consumer, membership_consumer(stage.membership));
	renew_until(is_assigned);
	cr_assert_eq(stage.joined, 1);
}

static bool are_both_read(void)
{
	return records[0] > 0 && records[1] > 0;
}

static void write_to_both(void)
{
	for (int partition = 0; partition < 2; partition++)
		cr_assert_eq(rd_kafka_producev(stage.owner, RD_KAFKA_V_TOPIC("t.tasks"), RD_KAFKA_V_PARTITION(partition), RD_KAFKA_V_VALUE((void *)(uintptr_t)"x", 1), RD_KAFKA_V_END), 0);
	cr_assert_eq(rd_kafka_flush(stage.owner, WAIT_MS), 0);
}

/* The group's offsets are known at once, the ends of the logs, for which the worker waits, a little later: while the client starts the second partition. */
Test(membership, nothing_that_is_asked_meanwhile_stops_the_start_of_a_partition, .init = setup, .fini = teardown, .timeout = 60)
{
	stage.properties = (struct properties){&tells_of_partitions, 1};
	rd_kafka_mock_coordinator_set(stage.mock, "group", "t.workers", 2);
	for (int partition = 0; partition < 2; partition++)
		rd_kafka_mock_partition_set_leader(stage.mock, "t.tasks", partition, 1);
	write_to_both();
	rd_kafka_mock_broker_set_rtt(stage.mock, 1, 100);
	slow_to_start = true;
	open_membership(WAIT_MS);
	renew_until(are_both_read);
	cr_assert_not(slow_to_start, "the client was not held");
}

Test(membership, a_partition_is_paused_when_it_is_read, .init = setup, .fini = teardown, .timeout = 60)
{
	open_membership(WAIT_MS);
	renew_until(is_assigned);
	membership_want_all_paused(stage.membership, true);
	membership_pause(stage.membership);
	cr_assert_not(membership_find(stage.membership, 0)->paused, "the client may be starting it");
	membership_note_read(stage.membership, membership_find(stage.membership, 0));
	cr_assert(membership_find(stage.membership, 0)->paused);
	cr_assert_not(membership_find(stage.membership, 1)->paused);
}

static bool is_given_back(void)
{
	return !membership_find(stage.membership, 0) && !membership_find(stage.membership, 1);
}

Test(membership, what_was_paused_is_read_when_it_comes_again, .init = setup, .fini = teardown, .timeout = 60)
{
	open_membership(WAIT_MS);
	renew_until(is_assigned);
	for (int partition = 0; partition < 2; partition++)
		membership_note_read(stage.membership, membership_find(stage.membership, partition));
	membership_want_all_paused(stage.membership, true);
	membership_pause(stage.membership);
	membership_want_all_paused(stage.membership, false);
	rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
	rd_kafka_topic_partition_list_add(topics, "t.tasks", RD_KAFKA_PARTITION_UA);
	cr_assert_eq(rd_kafka_unsubscribe(stage.consumer), 0);
	renew_until(is_given_back);
	cr_assert_eq(rd_kafka_subscribe(stage.consumer, topics), 0);
	rd_kafka_topic_partition_list_destroy(topics);
	write_to_both();
	renew_until(are_both_read);
}
