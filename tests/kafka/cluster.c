#include "tests/kafka/cluster.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/memory.h"
#include "tests/kafka/program.h"

#define GROUP "kser.workers"

#define LOG_SHOWN_BYTES 30000

static rd_kafka_t *make(struct cluster *cluster, rd_kafka_type_t type, const char *const *properties)
{
	char text[300];
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	for (; *properties; properties += 2)
		cr_assert_eq(rd_kafka_conf_set(conf, properties[0], properties[1], text, sizeof text), RD_KAFKA_CONF_OK, "%s", text);
	if (cluster->brokers)
		rd_kafka_conf_set(conf, "bootstrap.servers", cluster->brokers, NULL, 0);
	rd_kafka_t *client = rd_kafka_new(type, conf, text, sizeof text);
	cr_assert_not_null(client, "%s", text);
	return client;
}

static void assign_results(struct cluster *cluster)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(2);
	for (int i = 0; i < 2; i++)
		rd_kafka_topic_partition_list_add(list, "kser.results", i)->offset = RD_KAFKA_OFFSET_BEGINNING;
	rd_kafka_assign(cluster->reader, list);
	rd_kafka_topic_partition_list_destroy(list);
}

void cluster_open(struct cluster *cluster, int partitions)
{
	static const char *const host[] = {"client.id", "mock", "log_level", "0", NULL};
	static const char *const producer[] = {"linger.ms", "0", "acks", "all", "message.max.bytes", "2000000", NULL};
	static const char *const reader[] = {"group.id", GROUP, "enable.auto.commit", "false", "auto.offset.reset", "earliest", "fetch.wait.max.ms", "5", "fetch.message.max.bytes", "2000000", "socket.timeout.ms", "5000", NULL};
	*cluster = (struct cluster){.partitions = partitions};
	cluster->host = make(cluster, RD_KAFKA_PRODUCER, host);
	cluster->mock = rd_kafka_mock_cluster_new(cluster->host, 1);
	cr_assert_not_null(cluster->mock);
	cluster->brokers = rd_kafka_mock_cluster_bootstraps(cluster->mock);
	rd_kafka_mock_topic_create(cluster->mock, "kser.tasks", partitions, 1);
	rd_kafka_mock_topic_create(cluster->mock, "kser.results", 2, 1);
	rd_kafka_mock_topic_create(cluster->mock, "kser.control", 1, 1);
	cluster->producer = make(cluster, RD_KAFKA_PRODUCER, producer);
	cluster->reader = make(cluster, RD_KAFKA_CONSUMER, reader);
	rd_kafka_poll_set_consumer(cluster->reader);
	assign_results(cluster);
	cluster->replies = json_object_new_array();
}

void cluster_close(struct cluster *cluster)
{
	json_object_put(cluster->replies);
	rd_kafka_consumer_close(cluster->reader);
	rd_kafka_destroy(cluster->reader);
	rd_kafka_destroy(cluster->producer);
	rd_kafka_mock_cluster_destroy(cluster->mock);
	rd_kafka_destroy(cluster->host);
}

/* ---- sending ---- */

static void send_to(struct cluster *cluster, const char *topic, int partition, const void *bytes, size_t length)
{
	rd_kafka_resp_err_t error = rd_kafka_producev(cluster->producer, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION(partition),
		RD_KAFKA_V_VALUE((void *)(uintptr_t)bytes, length), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
	cr_assert_eq(error, 0, "%s", rd_kafka_err2str(error));
	cr_assert_eq(rd_kafka_flush(cluster->producer, 10000), 0);
}

void cluster_send(struct cluster *cluster, int partition, const void *bytes, size_t length)
{
	send_to(cluster, "kser.tasks", partition, bytes, length);
}

void cluster_tell(struct cluster *cluster, const char *params)
{
	char *text = NULL;
	int length = asprintf(&text, "{\"uuid\": \"c\", \"entrypoint\": \"kser.control\", \"params\": %s, \"metadata\": {\"kser\": {\"kind\": \"control\"}}}", params);
	send_to(cluster, "kser.control", 0, text, (size_t)length);
	free(text);
}

const char *cluster_name(int number, int attempt)
{
	static char text[200];
	snprintf(text, sizeof text, "{\"uuid\": \"%s\", \"op\": \"0190bbbb-0000-7000-8000-000000000001\", \"pos\": %d, \"attempt\": %d, \"gen\": -77}",
		cluster_uuid(number), number, attempt);
	return text;
}

const char *cluster_uuid(int number)
{
	static char text[40];
	snprintf(text, sizeof text, "0190aaaa-0000-7000-8000-%012d", number);
	return text;
}

void cluster_send_task(struct cluster *cluster, int partition, int number, int attempt, const char *entrypoint, const char *params, const char *result,
	const char *further)
{
	char *text = NULL;
	int length = asprintf(&text,
		"{\"uuid\": \"%s\", \"entrypoint\": \"%s\", \"params\": %s, \"result\": %s, \"metadata\": {\"note\": \"kept\", \"kser\": {"
		"\"op\": \"0190bbbb-0000-7000-8000-000000000001\", \"pos\": %d, \"attempt\": %d, \"gen\": -77, \"epoch\": 5%s}}}",
		cluster_uuid(number), entrypoint, params, result ? result : "null", number, attempt, further);
	cluster_send(cluster, partition, text, (size_t)length);
	free(text);
}

void cluster_send_many(struct cluster *cluster, int partition, int count, const char *entrypoint, const char *params)
{
	for (int i = 0; i < count; i++) {
		char *text CLEANUP(free_pointer) = NULL;
		int length = asprintf(&text,
			"{\"uuid\": \"%s\", \"entrypoint\": \"%s\", \"params\": %s, \"metadata\": {\"kser\": {"
			"\"op\": \"0190bbbb-0000-7000-8000-000000000001\", \"pos\": %d, \"attempt\": 1, \"gen\": 1, \"epoch\": 5}}}",
			cluster_uuid(1000 + i), entrypoint, params, 1000 + i);
		cr_assert_eq(rd_kafka_producev(cluster->producer, RD_KAFKA_V_TOPIC("kser.tasks"), RD_KAFKA_V_PARTITION(partition),
			RD_KAFKA_V_VALUE(text, (size_t)length), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END), 0);
		rd_kafka_poll(cluster->producer, 0);
	}
	cr_assert_eq(rd_kafka_flush(cluster->producer, 30000), 0);
}

/* ---- reading ---- */

/* Whether there is time left; shows the log when there is none. */
static bool may_wait(const struct cluster *cluster, int64_t until_ms)
{
	if (clock_monotonic_ms() < until_ms)
		return true;
	if (cluster->log[0])
		fprintf(stderr, "--- the end of the program's log\n%s---\n", program_log_end(cluster->log, LOG_SHOWN_BYTES));
	return false;
}

static void read_replies(struct cluster *cluster, int wait_ms)
{
	rd_kafka_message_t *record;
	while ((record = rd_kafka_consumer_poll(cluster->reader, wait_ms))) {
		wait_ms = 0;
		if (!record->err) {
			char *text CLEANUP(free_pointer) = xstrndup(record->payload, record->len);
			struct json_object *message = json_tokener_parse(text);
			cr_assert_not_null(message, "a reply is no JSON: %s", text);
			json_object_array_add(cluster->replies, message);
		}
		rd_kafka_message_destroy(record);
	}
}

int64_t cluster_records(struct cluster *cluster)
{
	int64_t records = 0;
	for (int partition = 0; partition < 2; partition++) {
		int64_t low, high;
		rd_kafka_resp_err_t error;
		for (int64_t until_ms = clock_monotonic_ms() + 20000; (error = rd_kafka_query_watermark_offsets(cluster->reader, "kser.results", partition, &low, &high, 5000));)
			cr_assert(may_wait(cluster, until_ms), "the ends of the results: %s", rd_kafka_err2str(error)); /* of a broker that has just come back */
		records += high;
	}
	return records;
}

/* All that the topic holds now: of a reply that was read, what was sent before it may be in the other partition and still come. */
static void read_all(struct cluster *cluster)
{
	int64_t records = cluster_records(cluster), until_ms = clock_monotonic_ms() + 10000;
	while ((int64_t)json_object_array_length(cluster->replies) < records) {
		cr_assert(may_wait(cluster, until_ms), "read %zu of %lld records", json_object_array_length(cluster->replies), (long long)records);
		read_replies(cluster, 50);
	}
}

struct json_object *member(struct json_object *object, const char *path)
{
	char *names CLEANUP(free_pointer) = xstrdup(path);
	char *rest = names;
	for (char *name = strsep(&rest, "."); name && object; name = strsep(&rest, "."))
		if (!json_object_object_get_ex(object, name, &object))
			return NULL;
	return object;
}

const char *text_member(struct json_object *object, const char *path)
{
	struct json_object *found = member(object, path);
	return found ? json_object_get_string(found) : "";
}

int64_t integer_member(struct json_object *object, const char *path)
{
	return json_object_get_int64(member(object, path));
}

static struct json_object *find(struct cluster *cluster, const char *kind, const char *uuid, int *count)
{
	struct json_object *last = NULL;
	*count = 0;
	for (size_t i = 0; i < json_object_array_length(cluster->replies); i++) {
		struct json_object *reply = json_object_array_get_idx(cluster->replies, i);
		if (strcmp(text_member(reply, "metadata.kser.kind"), kind) != 0 || (uuid && strcmp(text_member(reply, "uuid"), uuid) != 0))
			continue;
		last = reply;
		(*count)++;
	}
	return last;
}

int cluster_count(struct cluster *cluster, const char *kind, const char *uuid)
{
	int count;
	read_all(cluster);
	(void)find(cluster, kind, uuid, &count);
	return count;
}

struct json_object *cluster_wait(struct cluster *cluster, const char *kind, const char *uuid, int wanted, int seconds)
{
	int64_t until_ms = clock_monotonic_ms() + 1000 * (int64_t)seconds;
	int count;
	struct json_object *last;
	while (!(last = find(cluster, kind, uuid, &count)) || count < wanted) {
		cr_assert(may_wait(cluster, until_ms), "%d of %d replies of kind %s for %s", count, wanted, kind, uuid ? uuid : "any");
		read_replies(cluster, 100);
	}
	return last;
}

struct json_object *cluster_wait_result(struct cluster *cluster, int number)
{
	return cluster_wait(cluster, "result", cluster_uuid(number), 1, 20);
}

static int count_names(struct json_object *reply, const char *kind, const char *uuid, const char *reason)
{
	struct json_object *names = member(reply, strcmp(kind, "claim") == 0 ? "metadata.kser.claims" : "metadata.kser.tasks");
	int count = 0;
	for (size_t i = 0; i < json_object_array_length(names); i++) {
		struct json_object *name = json_object_array_get_idx(names, i);
		count += strcmp(text_member(name, "uuid"), uuid) == 0 && (!reason || strcmp(text_member(name, "reason"), reason) == 0);
	}
	return count;
}

int cluster_named(struct cluster *cluster, const char *kind, int number, const char *reason)
{
	int count = 0;
	read_all(cluster);
	for (size_t i = 0; i < json_object_array_length(cluster->replies); i++) {
		struct json_object *reply = json_object_array_get_idx(cluster->replies, i);
		if (strcmp(text_member(reply, "metadata.kser.kind"), kind) == 0)
			count += count_names(reply, kind, cluster_uuid(number), reason);
	}
	return count;
}

void cluster_wait_named(struct cluster *cluster, const char *kind, int number, const char *reason, int count, int seconds)
{
	int64_t until_ms = clock_monotonic_ms() + 1000 * (int64_t)seconds;
	while (cluster_named(cluster, kind, number, reason) < count) {
		cr_assert(may_wait(cluster, until_ms), "task %d was named %d of %d times in a %s", number, cluster_named(cluster, kind, number, reason), count, kind);
		read_replies(cluster, 50);
	}
}

/* ---- commits ---- */

int64_t cluster_committed(struct cluster *cluster, int partition, char mark[16])
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
	rd_kafka_topic_partition_list_add(list, "kser.tasks", partition);
	rd_kafka_resp_err_t error = RD_KAFKA_RESP_ERR__TIMED_OUT;
	for (int tries = 0; tries < 5 && error == RD_KAFKA_RESP_ERR__TIMED_OUT; tries++)
		error = rd_kafka_committed(cluster->reader, list, 6000);
	cr_assert_eq(error, 0, "%s", rd_kafka_err2str(error));
	const rd_kafka_topic_partition_t *found = &list->elems[0];
	int64_t offset = found->offset;
	if (mark)
		snprintf(mark, 16, "%.*s", (int)found->metadata_size, found->metadata ? (const char *)found->metadata : "");
	rd_kafka_topic_partition_list_destroy(list);
	return offset;
}

void cluster_wait_committed(struct cluster *cluster, int partition, int64_t offset, int seconds)
{
	int64_t until_ms = clock_monotonic_ms() + 1000 * (int64_t)seconds;
	for (;;) {
		int64_t committed = cluster_committed(cluster, partition, NULL);
		if (committed == offset)
			return;
		cr_assert(may_wait(cluster, until_ms), "partition %d is committed at %lld instead of %lld", partition, (long long)committed, (long long)offset);
		read_replies(cluster, 50);
	}
}
