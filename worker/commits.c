#include "worker/commits.h"

#include <string.h>

#include "common/clock.h"
#include "common/kafka.h"
#include "common/log.h"
#include "common/memory.h"

/* Commits at the latest so long, or so many records, after the last one. */
#define COMMIT_MS 250
#define COMMIT_RECORDS 1000

/* What was claimed must not be run elsewhere as well when this worker dies, so its offsets are committed sooner. */
#define COMMIT_PASSED_MS 20

void commits_attach(struct commits *commits, rd_kafka_t *consumer)
{
	commits_detach(commits);
	commits->answers = rd_kafka_queue_new(consumer);
	kafka_queue_watch(commits->answers, commits->wake_fd);
}

void commits_detach(struct commits *commits)
{
	if (commits->answers)
		kafka_queue_close(commits->answers);
	commits->answers = NULL;
	commits->on_way = false;
}

static void add_due(rd_kafka_topic_partition_list_t *list, const char *topic, struct partition *partition)
{
	int64_t offset = partition_due(partition);
	if (offset < 0)
		return;
	rd_kafka_topic_partition_t *element = rd_kafka_topic_partition_list_add(list, topic, partition->number);
	element->offset = offset;
	element->metadata = xstrdup(COMMIT_MARK);
	element->metadata_size = strlen(COMMIT_MARK);
	partition->asked = offset;
}

static void on_commit(rd_kafka_t *consumer, rd_kafka_resp_err_t error, rd_kafka_topic_partition_list_t *offsets, void *opaque)
{
	(void)consumer;
	struct commits *commits = opaque;
	commits->on_way = false;
	for (int i = 0; offsets && i < offsets->cnt; i++) {
		const rd_kafka_topic_partition_t *element = &offsets->elems[i];
		struct partition *partition = membership_find(commits->membership, element->partition);
		if (!partition)
			continue;
		if (error || element->err)
			partition->asked = partition->committed;
		else if (element->offset > partition->committed)
			partition->committed = element->offset;
	}
	commits->failed |= error != RD_KAFKA_RESP_ERR_NO_ERROR;
	if (error)
		log_warning("could not commit offsets", "topic", commits->topic, "error", rd_kafka_err2str(error));
}

static void commit(struct commits *commits, int64_t now_ms)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(4);
	struct partition *const *partitions;
	size_t count = membership_partitions(commits->membership, &partitions);
	for (size_t i = 0; i < count; i++)
		add_due(list, commits->topic, partitions[i]);
	commits->sent_ms = now_ms;
	commits->finished = commits->hand->finished;
	commits->passed = commits->hand->passed;
	commits->failed = false;
	if (list->cnt > 0) {
		rd_kafka_t *consumer = membership_consumer(commits->membership);
		rd_kafka_resp_err_t error = rd_kafka_commit_queue(consumer, list, commits->answers, on_commit, commits);
		commits->on_way = !error;
		if (error)
			on_commit(consumer, error, list, commits);
	}
	rd_kafka_topic_partition_list_destroy(list);
}

/* Records finished since the last commit, or something to try again. */
static bool has_finished(const struct commits *commits)
{
	return commits->hand->finished > commits->finished || commits->failed;
}

/* Milliseconds that lie between commits as things are now. */
static int64_t pause_ms(const struct commits *commits)
{
	return commits->hand->passed > commits->passed ? COMMIT_PASSED_MS : COMMIT_MS;
}

void commits_serve(struct commits *commits)
{
	rd_kafka_queue_poll_callback(commits->answers, 0);
}

void commits_keep_up(struct commits *commits, int64_t now_ms, bool hurry)
{
	if (commits->on_way || !has_finished(commits))
		return;
	if (hurry || now_ms - commits->sent_ms >= pause_ms(commits) || commits->hand->finished - commits->finished >= COMMIT_RECORDS)
		commit(commits, now_ms);
}

int64_t commits_next_ms(const struct commits *commits, int64_t now_ms)
{
	bool finished = has_finished(commits);
	if (commits->hand->count == 0 && !finished)
		return INT64_MAX;
	/* Acknowledgements wake nobody unless there is no room: they are looked for as often as offsets are committed. */
	int64_t next_ms = now_ms + COMMIT_MS;
	int64_t due_ms = commits->sent_ms + pause_ms(commits);
	return finished && !commits->on_way && due_ms < next_ms ? due_ms : next_ms;
}

void commits_settle(struct commits *commits, int64_t until_ms)
{
	for (int rounds = 0; rounds < 2; rounds++) {
		for (int64_t left_ms; commits->on_way && (left_ms = until_ms - clock_monotonic_ms()) > 0;)
			rd_kafka_queue_poll_callback(commits->answers, (int)left_ms);
		if (!commits->on_way && rounds == 0)
			commit(commits, clock_monotonic_ms());
	}
}
