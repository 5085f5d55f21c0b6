#include "orchestrator/task_topics.h"

#include "common/log.h"
#include "orchestrator/offsets.h"

#define START_TIMEOUT_MS 5000
#define LATER_TIMEOUT_MS 1000

/* Creates the task topic of a queue where it is missing, and learns how many partitions it has. */
static enum status make(struct cell *cell, rd_kafka_t *client, int queue, int timeout_ms, struct error *err)
{
	char name[250];
	int partitions = 0;
	topics_tasks(cell_topics(cell), cell_queue_name(cell, queue), name);
	enum status status = kafka_partitions(client, name, timeout_ms, &partitions, err);
	if (!status && partitions == 0) {
		status = kafka_create_topics(client, &(struct topic_wanted){name, (int)cell_settings(cell)->task_partitions}, 1, timeout_ms, err);
		if (!status)
			status = kafka_partitions(client, name, timeout_ms, &partitions, err);
	}
	if (!status && partitions == 0)
		status = fail(err, E_RETRY, "topic %s is not there yet", name);
	if (!status && partitions > PARTITIONS_MAX)
		status = fail(err, E_FATAL, "topic %s has %d partitions, the limit is %d", name, partitions, PARTITIONS_MAX);
	if (!status)
		cell_set_partitions(cell, queue, partitions);
	return status;
}

static enum status check_partitions(rd_kafka_t *client, const char *topic, struct error *err)
{
	int partitions = 0;
	enum status status = kafka_partitions(client, topic, START_TIMEOUT_MS, &partitions, err);
	if (!status && partitions > PARTITIONS_MAX)
		status = fail(err, E_FATAL, "topic %s has %d partitions, the limit is %d", topic, partitions, PARTITIONS_MAX);
	return status;
}

static enum status make_common(struct cell *cell, rd_kafka_t *client, struct error *err)
{
	const struct topics *topics = cell_topics(cell);
	char results[250], operations[250], control[250];
	const struct topic_wanted wanted[] = {
		{topics_named(topics, "results", results), (int)cell_settings(cell)->result_partitions},
		{topics_named(topics, "operations", operations), 1},
		{topics_named(topics, "control", control), 1},
	};
	enum status status = kafka_create_topics(client, wanted, COUNT_OF(wanted), START_TIMEOUT_MS, err);
	for (size_t i = 0; i < COUNT_OF(wanted) && !status; i++)
		status = check_partitions(client, wanted[i].name, err);
	return status;
}

enum status task_topics_prepare(struct cell *cell, rd_kafka_t *client, struct error *err)
{
	for (int64_t wait_ms = 100;; wait_ms = wait_ms < 2000 ? wait_ms * 2 : 2000) {
		enum status status = make_common(cell, client, err);
		if (!status)
			status = make(cell, client, cell_queue(cell, slice_of("")), START_TIMEOUT_MS, err);
		if (status != E_RETRY)
			return status;
		log_warning("could not prepare the topics, trying on", "error", err->text);
		if (!cell_pause(cell, wait_ms))
			return E_RETRY;
	}
}

void task_topics_learn(struct cell *cell, rd_kafka_t *client, const struct rd_kafka_metadata *metadata)
{
	struct error err;
	char name[250];
	bool led[PARTITIONS_MAX];
	for (int queue = 0; queue < cell_queue_count(cell) && !cell_stopping(cell); queue++) {
		int32_t count = offsets_leaders(metadata, topics_tasks(cell_topics(cell), cell_queue_name(cell, queue), name), led);
		if (count > 0) {
			if (count != cell_partitions(cell, queue))
				cell_set_partitions(cell, queue, count);
			cell_set_led(cell, queue, led, count);
		} else if (make(cell, client, queue, LATER_TIMEOUT_MS, &err))
			log_warning("could not prepare the topic of a queue, trying on", "queue", cell_queue_name(cell, queue), "error", err.text);
	}
}

bool task_topics_unknown(struct cell *cell)
{
	for (int queue = 0; queue < cell_queue_count(cell); queue++)
		if (cell_partitions(cell, queue) == 0)
			return true;
	return false;
}
