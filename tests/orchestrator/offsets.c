/* What the brokers are asked, on librdkafka's mock cluster. */

#include "orchestrator/offsets.h"

#include <criterion/criterion.h>
#include <librdkafka/rdkafka_mock.h>
#include <stdio.h>
#include <string.h>

#include "common/kafka.h"
#include "common/memory.h"
#include "tests/support/ignore_log.h"

#define TIMEOUT_MS 10000
#define PARTITIONS 4

enum { API_OFFSET_FETCH = 9 };

struct stage {
	rd_kafka_t *owner;
	rd_kafka_mock_cluster_t *mock;
	struct offsets *offsets;
	rd_kafka_t *member;
	rd_kafka_t *producer;
	const struct rd_kafka_metadata *metadata;
	bool led[PARTITIONS_MAX];
};

static struct stage stage;
static const struct properties none;

static void setup(void)
{
	char text[200];
	struct error err = {0};
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	rd_kafka_conf_set_log_cb(conf, ignore_log);
	stage.owner = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text);
	stage.mock = rd_kafka_mock_cluster_new(stage.owner, 2);
	rd_kafka_mock_topic_create(stage.mock, "t.tasks", PARTITIONS, 1);
	const char *brokers = rd_kafka_mock_cluster_bootstraps(stage.mock);
	cr_assert_eq(offsets_open(brokers, &none, &stage.offsets, &err), E_OK, "%s", err.text);
	cr_assert_eq(kafka_producer(brokers, &none, "producer", NULL, NULL, &stage.producer, &err), E_OK, "%s", err.text);
	cr_assert_eq(kafka_consumer(brokers, &none, "member", "t.workers", NULL, NULL, &stage.member, &err), E_OK, "%s", err.text);
}

static void teardown(void)
{
	if (stage.metadata)
		rd_kafka_metadata_destroy(stage.metadata);
	kafka_consumer_close(stage.member, 1000);
	kafka_producer_close(stage.producer, 1000);
	offsets_close(stage.offsets);
	rd_kafka_mock_cluster_destroy(stage.mock);
	rd_kafka_destroy(stage.owner);
}

static int32_t leaders(const char *topic)
{
	struct error err = {0};
	if (stage.metadata)
		rd_kafka_metadata_destroy(stage.metadata);
	cr_assert_eq(offsets_metadata(stage.offsets, TIMEOUT_MS, &stage.metadata, &err), E_OK, "%s", err.text);
	return offsets_leaders(stage.metadata, topic, stage.led);
}

static void produce(int32_t partition, int count)
{
	for (int i = 0; i < count; i++)
		cr_assert_eq(rd_kafka_producev(stage.producer, RD_KAFKA_V_TOPIC("t.tasks"), RD_KAFKA_V_PARTITION(partition), RD_KAFKA_V_VALUE((void *)(uintptr_t)"x", 1), RD_KAFKA_V_END), 0);
	cr_assert_eq(rd_kafka_flush(stage.producer, TIMEOUT_MS), 0);
}

/* `size` bytes of the mark: a client may send its terminating NUL too. */
static void commit_with(int32_t partition, int64_t offset, const char *mark, size_t size)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
	rd_kafka_topic_partition_t *one = rd_kafka_topic_partition_list_add(list, "t.tasks", partition);
	one->offset = offset;
	one->metadata = mark ? strdup(mark) : NULL;
	one->metadata_size = size;
	cr_assert_eq(rd_kafka_commit(stage.member, list, 0), 0);
	rd_kafka_topic_partition_list_destroy(list);
}

static void commit(int32_t partition, int64_t offset, const char *mark)
{
	commit_with(partition, offset, mark, mark ? strlen(mark) : 0);
}

Test(offsets, leaders_and_ends, .init = setup, .fini = teardown)
{
	struct error err = {0};
	int64_t ends[PARTITIONS], starts[PARTITIONS];
	produce(1, 3);
	produce(3, 1);
	cr_assert_eq(leaders("t.nothing"), 0);
	cr_assert_eq(leaders("t.tasks"), PARTITIONS);
	cr_assert_eq(offsets_list(stage.offsets, "t.tasks", PARTITIONS, stage.led, OFFSETS_ENDS, TIMEOUT_MS, ends, &err), E_OK, "%s", err.text);
	cr_assert_eq(offsets_list(stage.offsets, "t.tasks", PARTITIONS, stage.led, OFFSETS_STARTS, TIMEOUT_MS, starts, &err), E_OK, "%s", err.text);
	cr_assert_eq(memcmp(ends, (int64_t[]){0, 3, 0, 1}, sizeof ends), 0);
	cr_assert_eq(memcmp(starts, (int64_t[]){0, 0, 0, 0}, sizeof starts), 0);
}

Test(offsets, a_partition_without_a_leader_is_not_known, .init = setup, .fini = teardown)
{
	struct error err = {0};
	int64_t ends[PARTITIONS];
	produce(0, 2);
	produce(2, 5);
	rd_kafka_mock_partition_set_leader(stage.mock, "t.tasks", 2, -1);
	cr_assert_eq(leaders("t.tasks"), PARTITIONS);
	cr_assert(stage.led[0] && stage.led[1] && !stage.led[2] && stage.led[3]);
	cr_assert_eq(offsets_list(stage.offsets, "t.tasks", PARTITIONS, stage.led, OFFSETS_ENDS, TIMEOUT_MS, ends, &err), E_OK, "%s", err.text);
	cr_assert_eq(memcmp(ends, (int64_t[]){2, 0, OFFSET_UNKNOWN, 0}, sizeof ends), 0);
}

/* Without joining the group: it must not be given partitions. */
Test(offsets, what_a_group_has_committed_and_whether_with_the_mark, .init = setup, .fini = teardown)
{
	struct error err = {0};
	int64_t committed[PARTITIONS];
	bool marked[PARTITIONS];
	commit(0, 4, "kser1");
	commit(1, 7, NULL);
	commit_with(2, 5, "kser1", 6);
	commit(3, 0, "kser11");
	cr_assert_eq(offsets_committed(stage.offsets, "t.workers", "t.tasks", PARTITIONS, TIMEOUT_MS, committed, marked, &err), E_OK, "%s", err.text);
	cr_assert_eq(memcmp(committed, (int64_t[]){4, 7, 5, 0}, sizeof committed), 0);
	cr_assert(marked[0] && !marked[1] && marked[2] && !marked[3]);
	cr_assert_eq(offsets_committed(stage.offsets, "t.nobody", "t.tasks", PARTITIONS, TIMEOUT_MS, committed, NULL, &err), E_OK, "%s", err.text);
	for (int p = 0; p < PARTITIONS; p++)
		cr_assert_eq(committed[p], OFFSET_UNKNOWN);
}

/* A broker that is no longer the group's coordinator, or not yet: asked again, or an error, and never an end. */
Test(offsets, a_group_that_has_moved, .init = setup, .fini = teardown)
{
	struct error err = {0};
	int64_t committed[PARTITIONS];
	commit(0, 4, "kser1");
	static const rd_kafka_resp_err_t errors[] = {RD_KAFKA_RESP_ERR_NOT_COORDINATOR, RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE};
	for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
		rd_kafka_mock_push_request_errors(stage.mock, API_OFFSET_FETCH, 1, errors[i]);
		enum status status = offsets_committed(stage.offsets, "t.workers", "t.tasks", PARTITIONS, 3000, committed, NULL, &err);
		cr_assert_eq(committed[0], status ? OFFSET_UNKNOWN : 4);
		rd_kafka_mock_coordinator_set(stage.mock, "group", "t.workers", 1 + (int32_t)(i % 2));
	}
	cr_assert_eq(offsets_committed(stage.offsets, "t.workers", "t.tasks", PARTITIONS, TIMEOUT_MS, committed, NULL, &err), E_OK, "%s", err.text);
	cr_assert_eq(committed[0], 4);
}

Test(offsets, more_groups_than_are_kept, .init = setup, .fini = teardown)
{
	struct error err = {0};
	int64_t committed[PARTITIONS];
	char group[32];
	commit(0, 4, "kser1");
	for (int i = 0; i < OFFSETS_GROUPS_MAX + 2; i++) {
		snprintf(group, sizeof group, "t.workers.%d", i);
		cr_assert_eq(offsets_committed(stage.offsets, group, "t.tasks", PARTITIONS, TIMEOUT_MS, committed, NULL, &err), E_OK, "%s", err.text);
		cr_assert_eq(committed[0], OFFSET_UNKNOWN);
	}
	cr_assert_eq(offsets_committed(stage.offsets, "t.workers", "t.tasks", PARTITIONS, TIMEOUT_MS, committed, NULL, &err), E_OK, "%s", err.text);
	cr_assert_eq(committed[0], 4);
}

Test(offsets, groups_that_nobody_asks_for, .init = setup, .fini = teardown)
{
	struct error err = {0};
	int64_t committed[PARTITIONS];
	commit(0, 4, "kser1");
	cr_assert_eq(offsets_committed(stage.offsets, "t.nobody", "t.tasks", PARTITIONS, TIMEOUT_MS, committed, NULL, &err), E_OK, "%s", err.text);
	cr_assert_eq(offsets_committed(stage.offsets, "t.workers", "t.tasks", PARTITIONS, TIMEOUT_MS, committed, NULL, &err), E_OK, "%s", err.text);
	cr_assert_eq(offsets_close_idle(stage.offsets, 3600000), 2);
	cr_assert_eq(offsets_close_idle(stage.offsets, 0), 0);
	cr_assert_eq(offsets_committed(stage.offsets, "t.workers", "t.tasks", PARTITIONS, TIMEOUT_MS, committed, NULL, &err), E_OK, "%s", err.text);
	cr_assert_eq(committed[0], 4);
	cr_assert_eq(offsets_close_idle(stage.offsets, 3600000), 1);
}

Test(offsets, brokers_that_are_away_end_the_wait, .init = setup, .fini = teardown)
{
	struct error err = {0};
	int64_t committed[PARTITIONS], ends[PARTITIONS];
	cr_assert_eq(leaders("t.tasks"), PARTITIONS);
	rd_kafka_mock_broker_set_down(stage.mock, 1);
	rd_kafka_mock_broker_set_down(stage.mock, 2);
	const struct rd_kafka_metadata *metadata;
	cr_assert_eq(offsets_metadata(stage.offsets, 500, &metadata, &err), E_RETRY);
	cr_assert_eq(offsets_committed(stage.offsets, "t.workers", "t.tasks", PARTITIONS, 500, committed, NULL, &err), E_RETRY);
	cr_assert_eq(offsets_list(stage.offsets, "t.tasks", PARTITIONS, stage.led, OFFSETS_ENDS, 500, ends, &err), E_RETRY);
	cr_assert_eq(ends[0], OFFSET_UNKNOWN);
	rd_kafka_mock_broker_set_up(stage.mock, 1);
	rd_kafka_mock_broker_set_up(stage.mock, 2);
}
