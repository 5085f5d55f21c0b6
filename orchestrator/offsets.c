#include "orchestrator/offsets.h"

#include <string.h>

#include "common/kafka.h"
#include "common/memory.h"

enum status offsets_client(const char *brokers, const struct properties *user, const char *client_id, rd_kafka_t **client, struct error *err)
{
	struct properties all = {.list = xcalloc(user->count + 1, sizeof *all.list), .count = user->count + 1};
	for (size_t i = 0; i < user->count; i++)
		all.list[i] = (struct property){xstrdup(user->list[i].name), xstrdup(user->list[i].value)};
	all.list[user->count] = (struct property){xstrdup("isolation.level"), xstrdup("read_uncommitted")};
	/* A producer, since where there are no admin calls only a producer can create topics. */
	enum status status = kafka_producer(brokers, &all, client_id, NULL, NULL, client, err);
	properties_clear(&all);
	return status;
}

enum status offsets_metadata(rd_kafka_t *client, int timeout_ms, const struct rd_kafka_metadata **metadata, struct error *err)
{
	/* All topics, since asking for one may create it. */
	rd_kafka_resp_err_t error = rd_kafka_metadata(client, 1, NULL, metadata, timeout_ms);
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

static void forget(int64_t *offsets, int32_t count)
{
	for (int32_t p = 0; p < count; p++)
		offsets[p] = OFFSET_UNKNOWN;
}

enum status offsets_list(rd_kafka_t *client, const char *topic, int32_t count, const bool *led, enum offsets_which which, int timeout_ms,
	int64_t *offsets, struct error *err)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(count);
	rd_kafka_resp_err_t error = RD_KAFKA_RESP_ERR_NO_ERROR;
	forget(offsets, count);
	for (int32_t p = 0; p < count; p++)
		if (led[p])
			rd_kafka_topic_partition_list_add(list, topic, p)->offset = which; /* in place of a time */
	if (list->cnt > 0)
		error = rd_kafka_offsets_for_times(client, list, timeout_ms);
	for (int i = 0; !error && i < list->cnt; i++)
		if (!list->elems[i].err && list->elems[i].offset >= 0)
			offsets[list->elems[i].partition] = list->elems[i].offset;
	rd_kafka_topic_partition_list_destroy(list);
	return error ? fail(err, E_RETRY, "could not read the %s of %s: %s", which == OFFSETS_ENDS ? "ends" : "starts", topic, rd_kafka_err2str(error)) : E_OK;
}

static bool has_mark(const rd_kafka_topic_partition_t *partition)
{
	return partition->metadata && partition->metadata_size == strlen(COMMIT_MARK) && memcmp(partition->metadata, COMMIT_MARK, strlen(COMMIT_MARK)) == 0;
}

/* The one group of the answer; NULL: `err` says why there is none. */
static const rd_kafka_topic_partition_list_t *answer_of(rd_kafka_event_t *event, const char *group, struct error *err)
{
	const char *reason = !event ? "no answer in time" : rd_kafka_event_error(event) ? rd_kafka_event_error_string(event) : NULL;
	const rd_kafka_topic_partition_list_t *list = NULL;
	size_t count = 0;
	if (!reason) {
		const rd_kafka_group_result_t **groups = rd_kafka_ListConsumerGroupOffsets_result_groups(rd_kafka_event_ListConsumerGroupOffsets_result(event), &count);
		const rd_kafka_error_t *error = count == 1 ? rd_kafka_group_result_error(groups[0]) : NULL;
		reason = error ? rd_kafka_error_string(error) : NULL;
		list = count == 1 && !error ? rd_kafka_group_result_partitions(groups[0]) : NULL;
	}
	if (!list)
		(void)fail(err, E_RETRY, "could not read what %s has committed: %s", group, reason ? reason : "no answer");
	return list;
}

/* Asks the group's coordinator. */
static rd_kafka_event_t *ask(rd_kafka_t *client, const char *group, const rd_kafka_topic_partition_list_t *partitions, int timeout_ms)
{
	char ignored[200];
	rd_kafka_queue_t *queue = rd_kafka_queue_new(client);
	rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(client, RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS);
	rd_kafka_ListConsumerGroupOffsets_t *request = rd_kafka_ListConsumerGroupOffsets_new(group, partitions);
	rd_kafka_AdminOptions_set_request_timeout(options, timeout_ms, ignored, sizeof ignored);
	rd_kafka_ListConsumerGroupOffsets(client, &request, 1, options, queue);
	rd_kafka_event_t *event = rd_kafka_queue_poll(queue, timeout_ms + 500);
	rd_kafka_ListConsumerGroupOffsets_destroy(request);
	rd_kafka_AdminOptions_destroy(options);
	rd_kafka_queue_destroy(queue);
	return event;
}

enum status offsets_committed(rd_kafka_t *client, const char *group, const char *topic, int32_t count, int timeout_ms,
	int64_t *committed, bool *marked, struct error *err)
{
	forget(committed, count);
	for (int32_t p = 0; marked && p < count; p++)
		marked[p] = false;
	if (count == 0)
		return E_OK;
	rd_kafka_topic_partition_list_t *wanted = rd_kafka_topic_partition_list_new(count);
	for (int32_t p = 0; p < count; p++)
		rd_kafka_topic_partition_list_add(wanted, topic, p);
	rd_kafka_event_t *event = ask(client, group, wanted, timeout_ms);
	const rd_kafka_topic_partition_list_t *answer = answer_of(event, group, err);
	for (int i = 0; answer && i < answer->cnt; i++) {
		const rd_kafka_topic_partition_t *one = &answer->elems[i];
		if (one->err || one->offset < 0 || one->partition < 0 || one->partition >= count)
			continue;
		committed[one->partition] = one->offset;
		if (marked)
			marked[one->partition] = has_mark(one);
	}
	if (event)
		rd_kafka_event_destroy(event);
	rd_kafka_topic_partition_list_destroy(wanted);
	return answer ? E_OK : E_RETRY;
}
