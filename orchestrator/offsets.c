#include "orchestrator/offsets.h"

#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/kafka.h"
#include "common/memory.h"

#define CLOSE_MS 500

/* A client of one group. */
struct member {
	rd_kafka_t *client; /* NULL: none */
	char group[250];
	int64_t used_ms;
};

struct offsets {
	const char *brokers;
	const struct properties *user;
	rd_kafka_t *client;
	struct member members[OFFSETS_GROUPS_MAX];
};

static enum status open_client(struct offsets *offsets, struct error *err)
{
	static struct property read_all = {(char *)"isolation.level", (char *)"read_uncommitted"};
	struct properties all CLEANUP(properties_clear) = properties_joined(offsets->user, &(struct properties){&read_all, 1});
	return kafka_producer(offsets->brokers, &all, "rounds", NULL, NULL, &offsets->client, err);
}

enum status offsets_open(const char *brokers, const struct properties *user, struct offsets **offsets, struct error *err)
{
	struct offsets *made = xcalloc(1, sizeof *made);
	*made = (struct offsets){.brokers = brokers, .user = user};
	enum status status = open_client(made, err);
	if (status) {
		offsets_close(made);
		return status;
	}
	*offsets = made;
	return E_OK;
}

void offsets_close(struct offsets *offsets)
{
	if (!offsets)
		return;
	for (size_t i = 0; i < OFFSETS_GROUPS_MAX; i++)
		kafka_consumer_close(offsets->members[i].client, CLOSE_MS);
	kafka_producer_close(offsets->client, CLOSE_MS);
	free_pointer(&offsets);
}

rd_kafka_t *offsets_client(struct offsets *offsets)
{
	return offsets->client;
}

enum status offsets_metadata(struct offsets *offsets, int timeout_ms, const struct rd_kafka_metadata **metadata, struct error *err)
{
	rd_kafka_poll(offsets->client, 0);
	/* All topics, since asking for one may create it. */
	rd_kafka_resp_err_t error = rd_kafka_metadata(offsets->client, 1, NULL, metadata, timeout_ms);
	return error ? fail(err, E_RETRY, "could not reach the brokers: %s", rd_kafka_err2str(error)) : E_OK;
}

int32_t offsets_leaders(const struct rd_kafka_metadata *metadata, const char *topic, bool led[PARTITIONS_MAX])
{
	for (int i = 0; i < metadata->topic_cnt; i++) {
		const rd_kafka_metadata_topic_t *found = &metadata->topics[i];
		if (strcmp(found->topic, topic) != 0)
			continue;
		int32_t count = found->partition_cnt < PARTITIONS_MAX ? found->partition_cnt : PARTITIONS_MAX;
		for (int32_t p = 0; p < count; p++)
			led[p] = false;
		for (int j = 0; j < found->partition_cnt; j++)
			if (found->partitions[j].id < count)
				led[found->partitions[j].id] = found->partitions[j].leader >= 0;
		return count;
	}
	return 0;
}

static void forget(int64_t *found, int32_t count)
{
	for (int32_t p = 0; p < count; p++)
		found[p] = OFFSET_UNKNOWN;
}

enum status offsets_list(struct offsets *offsets, const char *topic, int32_t count, const bool *led, enum offsets_which which, int timeout_ms,
	int64_t *found, struct error *err)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(count);
	rd_kafka_resp_err_t error = RD_KAFKA_RESP_ERR_NO_ERROR;
	forget(found, count);
	for (int32_t p = 0; p < count; p++)
		if (led[p])
			rd_kafka_topic_partition_list_add(list, topic, p)->offset = which; /* in place of a time */
	if (list->cnt > 0)
		error = rd_kafka_offsets_for_times(offsets->client, list, timeout_ms);
	for (int i = 0; !error && i < list->cnt; i++)
		if (!list->elems[i].err && list->elems[i].offset >= 0)
			found[list->elems[i].partition] = list->elems[i].offset;
	rd_kafka_topic_partition_list_destroy(list);
	return error ? fail(err, E_RETRY, "could not read the %s of %s: %s", which == OFFSETS_ENDS ? "ends" : "starts", topic, rd_kafka_err2str(error)) : E_OK;
}

/* --- Groups */

/* The group's client, or the place for one: a free one, or that of the group that was not asked for longest. */
static struct member *member_of(struct offsets *offsets, const char *group)
{
	struct member *oldest = &offsets->members[0];
	for (struct member *member = offsets->members; member < offsets->members + OFFSETS_GROUPS_MAX; member++) {
		if (member->client && strcmp(member->group, group) == 0)
			return member;
		if (oldest->client && (!member->client || member->used_ms < oldest->used_ms))
			oldest = member;
	}
	kafka_consumer_close(TAKE(oldest->client), CLOSE_MS);
	return oldest;
}

static enum status use_member(struct offsets *offsets, const char *group, struct member **member, struct error *err)
{
	*member = member_of(offsets, group);
	(*member)->used_ms = clock_monotonic_ms();
	if ((*member)->client) {
		rd_kafka_message_t *event = rd_kafka_consumer_poll((*member)->client, 0); /* errors that nobody else takes */
		if (event)
			rd_kafka_message_destroy(event);
		return E_OK;
	}
	snprintf((*member)->group, sizeof (*member)->group, "%s", group);
	return kafka_consumer(offsets->brokers, offsets->user, "rounds", group, NULL, NULL, &(*member)->client, err);
}

/* Some clients (confluent-kafka in Python) commit the text's terminating NUL with it. */
static bool has_mark(const rd_kafka_topic_partition_t *partition)
{
	const char *text = partition->metadata;
	size_t length = text ? partition->metadata_size : 0;
	while (length > 0 && text[length - 1] == '\0')
		length--;
	return length == strlen(COMMIT_MARK) && memcmp(text, COMMIT_MARK, length) == 0;
}

enum status offsets_committed(struct offsets *offsets, const char *group, const char *topic, int32_t count, int timeout_ms,
	int64_t *committed, bool *marked, struct error *err)
{
	struct member *member = NULL;
	forget(committed, count);
	for (int32_t p = 0; marked && p < count; p++)
		marked[p] = false;
	enum status status = count > 0 ? use_member(offsets, group, &member, err) : E_OK;
	if (status || count == 0)
		return status;
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(count);
	for (int32_t p = 0; p < count; p++)
		rd_kafka_topic_partition_list_add(list, topic, p);
	rd_kafka_resp_err_t error = rd_kafka_committed(member->client, list, timeout_ms);
	for (int i = 0; !error && i < list->cnt; i++) {
		const rd_kafka_topic_partition_t *one = &list->elems[i];
		if (one->err || one->offset < 0)
			continue;
		committed[one->partition] = one->offset;
		if (marked)
			marked[one->partition] = has_mark(one);
	}
	rd_kafka_topic_partition_list_destroy(list);
	return error ? fail(err, E_RETRY, "could not read what %s has committed: %s", group, rd_kafka_err2str(error)) : E_OK;
}

size_t offsets_close_idle(struct offsets *offsets, int64_t idle_ms)
{
	size_t left = 0;
	for (struct member *member = offsets->members; member < offsets->members + OFFSETS_GROUPS_MAX; member++) {
		if (member->client && clock_monotonic_ms() - member->used_ms >= idle_ms)
			kafka_consumer_close(TAKE(member->client), CLOSE_MS);
		left += member->client != NULL;
	}
	return left;
}
