#include "worker/intake.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/kafka.h"
#include "common/limits.h"
#include "common/log.h"
#include "common/memory.h"
#include "worker/hand.h"

/* Commits at the latest so long, or so many records, after the last one. */
#define COMMIT_MS 250
#define COMMIT_RECORDS 1000

/* A revocation waits so long for what runs; the group waits for us meanwhile. */
#define REVOKE_WAIT_MS 3000

/*
 * Without room for longer than this, partitions are paused. Pausing throws away what was fetched ahead, so a short lack
 * of room only stops the polling.
 */
#define PATIENCE_MS 50

/* Bytes of the records in hand, but for one batch more: what waits in this process must not grow with the size of messages. */
#define IN_HAND_BYTES_MAX (64 * 1024 * 1024)

/* Records handed to the queue at a time. */
#define BATCH_MAX 256

/* Whose commits these are: the proof of loss trusts only offsets with this mark. */
#define COMMIT_MARK "kser1"

struct intake {
	struct intake_setup setup;
	rd_kafka_t *consumer;
	rd_kafka_queue_t *records;
	rd_kafka_queue_t *commits;
	struct partition *by_number[PARTITIONS_MAX]; /* assigned; else NULL */
	struct partition *partitions[PARTITIONS_MAX]; /* the same, without gaps */
	size_t partition_count;
	struct hand hand;
	rd_kafka_message_t *spare; /* came although its partition was paused: waits for room */
	void *batch[BATCH_MAX]; /* taken and not yet in the queue */
	size_t batch_count;
	size_t batch_room;     /* so many may be taken in this round */
	bool drained;          /* all that had come was taken */
	bool reached_full;     /* nothing more may be taken in this round */
	bool committing;       /* a commit is on its way */
	int64_t committed_ms;  /* when the last one was sent */
	size_t finished;       /* records since then */
	int64_t blocked_ms;    /* since when there is no room; 0 = there is */
	bool all_paused;
	bool stopped;
	bool revoking;         /* waits for what runs before it lets partitions go */
	bool closing;          /* all that could be committed is; a revocation waits for nobody */
};

static int64_t sooner(int64_t one, int64_t other)
{
	return one < other ? one : other;
}

/* ---- the partitions ---- */

static struct partition *find_partition(const struct intake *intake, int32_t number)
{
	return number >= 0 && number < PARTITIONS_MAX ? intake->by_number[number] : NULL;
}

static void add_partition(struct intake *intake, int32_t number, bool paused)
{
	struct partition *partition = partition_new(number);
	partition->paused = paused;
	intake->by_number[number] = partition;
	intake->partitions[intake->partition_count++] = partition;
}

static void let_go(struct intake *intake, struct partition *partition)
{
	size_t at = 0;
	while (intake->partitions[at] != partition)
		at++;
	intake->partitions[at] = intake->partitions[--intake->partition_count];
	intake->by_number[partition->number] = NULL;
	partition_let_go(partition);
}

static rd_kafka_topic_partition_list_t *select_partitions(const struct intake *intake, bool (*wanted)(const struct intake *, const struct partition *))
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(4);
	for (size_t i = 0; i < intake->partition_count; i++)
		if (wanted(intake, intake->partitions[i]))
			rd_kafka_topic_partition_list_add(list, intake->setup.topic, intake->partitions[i]->number);
	return list;
}

/* ---- room ---- */

static bool is_full(const struct partition *partition)
{
	return partition_is_full(partition, WORKER_AHEAD_MAX);
}

static bool any_full(const struct intake *intake)
{
	for (size_t i = 0; i < intake->partition_count; i++)
		if (!intake->partitions[i]->paused && is_full(intake->partitions[i]))
			return true;
	return false;
}

/* How many records may be taken, but for what single partitions allow. */
static size_t room(const struct intake *intake)
{
	size_t most = queue_room(intake->setup.queue) - intake->batch_count;
	size_t in_hand = intake->hand.count < intake->setup.in_hand_max ? intake->setup.in_hand_max - intake->hand.count : 0;
	if (intake->hand.bytes > IN_HAND_BYTES_MAX)
		return 0;
	most = in_hand < most ? in_hand : most;
	return most < BATCH_MAX ? most : BATCH_MAX;
}

/* Once there is none, half of it must come back, so that this thread is not woken for each record. Asks to be woken then. */
static bool lacks_room(const struct intake *intake)
{
	if (intake->blocked_ms == 0 && room(intake) > 0)
		return false;
	return intake->hand.count > intake->setup.in_hand_max / 2 || intake->hand.bytes > IN_HAND_BYTES_MAX / 2 || queue_watch(intake->setup.queue, intake->setup.queue_room / 2);
}

/* ---- pausing ---- */

static bool is_to_pause(const struct intake *intake, const struct partition *partition)
{
	return !partition->paused && (intake->all_paused || is_full(partition));
}

static bool is_to_resume(const struct intake *intake, const struct partition *partition)
{
	return partition->paused && !intake->all_paused && !partition_is_full(partition, WORKER_AHEAD_MAX / 2);
}

static void mark_paused(struct intake *intake, const rd_kafka_topic_partition_list_t *list, bool paused)
{
	for (int i = 0; i < list->cnt; i++)
		intake->by_number[list->elems[i].partition]->paused = paused;
}

static void pause_what_is_full(struct intake *intake)
{
	rd_kafka_topic_partition_list_t *list = select_partitions(intake, is_to_pause);
	if (list->cnt > 0) {
		rd_kafka_pause_partitions(intake->consumer, list);
		mark_paused(intake, list, true);
		log_debug("paused partitions", "count", LOG_INT(list->cnt), "in_hand", LOG_INT(intake->hand.count));
	}
	rd_kafka_topic_partition_list_destroy(list);
}

static void resume_what_has_room(struct intake *intake)
{
	rd_kafka_topic_partition_list_t *list = select_partitions(intake, is_to_resume);
	if (list->cnt > 0) {
		rd_kafka_resume_partitions(intake->consumer, list);
		mark_paused(intake, list, false);
		log_debug("resumed partitions", "count", LOG_INT(list->cnt), "in_hand", LOG_INT(intake->hand.count));
	}
	rd_kafka_topic_partition_list_destroy(list);
}

static void keep_room(struct intake *intake, int64_t now_ms)
{
	bool lacking = lacks_room(intake);
	intake->reached_full = any_full(intake);
	if (!lacking && !intake->reached_full)
		intake->blocked_ms = 0;
	else if (intake->blocked_ms == 0)
		intake->blocked_ms = now_ms;
	if (intake->stopped)
		return;
	if (!lacking)
		intake->all_paused = false;
	else if (now_ms - intake->blocked_ms >= PATIENCE_MS)
		intake->all_paused = true;
	if (intake->blocked_ms && now_ms - intake->blocked_ms >= PATIENCE_MS)
		pause_what_is_full(intake);
	resume_what_has_room(intake);
}

/* ---- committing ---- */

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
	struct intake *intake = opaque;
	intake->committing = false;
	for (int i = 0; offsets && i < offsets->cnt; i++) {
		const rd_kafka_topic_partition_t *element = &offsets->elems[i];
		struct partition *partition = find_partition(intake, element->partition);
		if (!partition)
			continue;
		if (error || element->err)
			partition->asked = partition->committed;
		else if (element->offset > partition->committed)
			partition->committed = element->offset;
	}
	if (error)
		intake->finished++; /* try again */
	if (error)
		log_warning("could not commit offsets", "topic", intake->setup.topic, "error", rd_kafka_err2str(error));
}

static void commit(struct intake *intake, int64_t now_ms)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(4);
	for (size_t i = 0; i < intake->partition_count; i++)
		add_due(list, intake->setup.topic, intake->partitions[i]);
	intake->committed_ms = now_ms;
	intake->finished = 0;
	if (list->cnt > 0) {
		rd_kafka_resp_err_t error = rd_kafka_commit_queue(intake->consumer, list, intake->commits, on_commit, intake);
		intake->committing = !error;
		if (error)
			on_commit(intake->consumer, error, list, intake);
	}
	rd_kafka_topic_partition_list_destroy(list);
}

static void commit_when_due(struct intake *intake, int64_t now_ms)
{
	if (intake->committing || intake->finished == 0)
		return;
	if (now_ms - intake->committed_ms >= COMMIT_MS || intake->finished >= COMMIT_RECORDS || intake->blocked_ms)
		commit(intake, now_ms);
}

/* Waits for the answer, so that whoever gets the partitions next starts behind what we did. */
static void commit_and_wait(struct intake *intake, int64_t until_ms)
{
	for (int rounds = 0; rounds < 2; rounds++) {
		for (int64_t left_ms; intake->committing && (left_ms = until_ms - clock_monotonic_ms()) > 0;)
			rd_kafka_queue_poll_callback(intake->commits, (int)left_ms);
		if (!intake->committing && rounds == 0)
			commit(intake, clock_monotonic_ms());
	}
}

/* ---- the assignment ---- */

static bool is_orphan(void *entry, void *context)
{
	const struct intake *intake = context;
	return intake->stopped || hand_is_orphan(entry);
}

/* Drops tasks that nobody has started, of revoked partitions or all: they come again, here or elsewhere. */
static void drop_not_started(struct intake *intake)
{
	size_t kept = 0;
	for (size_t i = 0; i < intake->batch_count; i++) {
		if (is_orphan(intake->batch[i], intake))
			hand_drop(&intake->hand, intake->batch[i]);
		else
			intake->batch[kept++] = intake->batch[i];
	}
	intake->batch_count = kept;
	struct queue_state state = queue_state(intake->setup.queue);
	void **removed CLEANUP(free_pointer) = xcalloc(state.waiting + 1, sizeof *removed);
	size_t count = queue_remove(intake->setup.queue, is_orphan, intake, removed);
	for (size_t i = 0; i < count; i++)
		hand_drop(&intake->hand, removed[i]);
}

static bool anything_held(const struct intake *intake, const rd_kafka_topic_partition_list_t *list)
{
	for (int i = 0; i < list->cnt; i++) {
		const struct partition *partition = find_partition(intake, list->elems[i].partition);
		if (partition && partition->holds > 0)
			return true;
	}
	return false;
}

static void assign(struct intake *intake, const rd_kafka_topic_partition_list_t *list)
{
	for (int i = 0; i < list->cnt; i++) {
		int32_t number = list->elems[i].partition;
		if (number >= PARTITIONS_MAX)
			log_error("a partition is beyond the limit and is left alone", "partition", LOG_INT(number));
		else if (!find_partition(intake, number))
			add_partition(intake, number, false);
	}
	rd_kafka_resp_err_t error = rd_kafka_assign(intake->consumer, list);
	if (error)
		log_error("could not take up partitions", "error", rd_kafka_err2str(error));
	/* One that we had paused and got again may still be. */
	rd_kafka_resume_partitions(intake->consumer, (rd_kafka_topic_partition_list_t *)(uintptr_t)list);
	if (intake->all_paused)
		pause_what_is_full(intake);
	log_info("partitions assigned", "topic", intake->setup.topic, "count", LOG_INT(list->cnt));
}

/* Waits for what runs, up to a limit; then commits, so that whoever comes next repeats nothing of it. */
static void finish_revoked(struct intake *intake, const rd_kafka_topic_partition_list_t *list)
{
	int64_t until_ms = clock_monotonic_ms() + REVOKE_WAIT_MS;
	intake->revoking = true;
	while (anything_held(intake, list) && clock_monotonic_ms() < until_ms)
		intake->setup.serve(intake->setup.context, (int)sooner(until_ms - clock_monotonic_ms(), 100));
	intake->revoking = false;
	commit_and_wait(intake, clock_monotonic_ms() + REVOKE_WAIT_MS);
}

static void revoke(struct intake *intake, const rd_kafka_topic_partition_list_t *list)
{
	bool lost = rd_kafka_assignment_lost(intake->consumer) != 0;
	for (int i = 0; i < list->cnt; i++)
		if (find_partition(intake, list->elems[i].partition))
			find_partition(intake, list->elems[i].partition)->revoked = true;
	drop_not_started(intake);
	if (!lost && !intake->closing)
		finish_revoked(intake, list);
	bool left = anything_held(intake, list);
	rd_kafka_assign(intake->consumer, NULL);
	for (int i = 0; i < list->cnt; i++)
		if (find_partition(intake, list->elems[i].partition))
			let_go(intake, find_partition(intake, list->elems[i].partition));
	log_info("partitions revoked", "topic", intake->setup.topic, "count", LOG_INT(list->cnt), "lost", lost ? "yes" : NULL, "unfinished", left ? "yes" : NULL);
}

static void on_rebalance(rd_kafka_t *consumer, rd_kafka_resp_err_t error, rd_kafka_topic_partition_list_t *list, void *opaque)
{
	(void)consumer;
	struct intake *intake = opaque;
	if (error == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
		assign(intake, list);
		return;
	}
	if (error != RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS)
		log_error("could not rebalance", "error", rd_kafka_err2str(error));
	revoke(intake, list);
}

/* ---- taking ---- */

static void release_record(void *record)
{
	rd_kafka_message_destroy(record);
}

/* The topic was made anew, or its end was lost: what we knew of the partition is of another life. */
static struct partition *begin_again(struct intake *intake, struct partition *old, int64_t offset)
{
	int32_t number = old->number;
	bool paused = old->paused;
	log_warning("offsets went back, the partition is taken as new", "partition", LOG_INT(number), "from", LOG_INT(old->end), "to", LOG_INT(offset));
	let_go(intake, old);
	add_partition(intake, number, paused);
	return intake->by_number[number];
}

static void accept_record(struct intake *intake, struct partition *partition, rd_kafka_message_t *record)
{
	int64_t offset = record->offset;
	if (offset < partition->end)
		partition = begin_again(intake, partition, offset);
	enum status status;
	struct error err;
	struct slice bytes = {record->payload ? record->payload : "", record->payload ? record->len : 0};
	struct kser_task *task = task_new(bytes, record, release_record, &status, &err);
	bool joined = !hand_enter(&intake->hand, task, partition, offset);
	intake->reached_full |= is_full(partition) || intake->hand.bytes > IN_HAND_BYTES_MAX;
	if (joined)
		return;
	if (status)
		intake->setup.unusable(intake->setup.context, task, err.text);
	else
		intake->batch[intake->batch_count++] = task;
}

static enum status heed_error(struct intake *intake, const rd_kafka_message_t *record, struct error *err)
{
	char text[300];
	if (rd_kafka_fatal_error(intake->consumer, text, sizeof text))
		return fail(err, E_FATAL, "the consumer cannot go on: %s", text);
	if (record->err != RD_KAFKA_RESP_ERR__PARTITION_EOF)
		log_warning("could not read records", "topic", intake->setup.topic, "error", rd_kafka_message_errstr(record));
	return E_OK;
}

/* Whether a record of this partition may come into hand now; one of a partition that is not ours is only thrown away. */
static bool has_place(const struct intake *intake, const rd_kafka_message_t *record)
{
	const struct partition *partition = find_partition(intake, record->partition);
	return !partition || intake->stopped || (intake->batch_count < intake->batch_room && !is_full(partition));
}

/* One record or error. Takes it over. */
static enum status take_one(struct intake *intake, rd_kafka_message_t *record, struct error *err)
{
	enum status status = record->err ? heed_error(intake, record, err) : E_OK;
	struct partition *partition = record->err ? NULL : find_partition(intake, record->partition);
	if (!partition || intake->stopped)
		rd_kafka_message_destroy(record);
	else if (has_place(intake, record))
		accept_record(intake, partition, record);
	else
		intake->spare = record;
	return status;
}

/* With all partitions paused, or leaving, only news of the group can come, which must not wait for room. */
static bool may_poll(const struct intake *intake)
{
	if (intake->spare || intake->batch_count == BATCH_MAX)
		return false;
	if (intake->all_paused || intake->stopped)
		return true;
	return intake->blocked_ms == 0 && intake->batch_count < intake->batch_room && !intake->reached_full;
}

enum status intake_take(struct intake *intake, struct error *err)
{
	enum status status = E_OK;
	intake->batch_room = room(intake);
	if (intake->spare && has_place(intake, intake->spare))
		status = take_one(intake, TAKE(intake->spare), err);
	intake->drained = false;
	while (!intake->drained && !status && may_poll(intake)) {
		rd_kafka_message_t *record = rd_kafka_consumer_poll(intake->consumer, 0);
		intake->drained = record == NULL;
		if (record)
			status = take_one(intake, record, err);
	}
	if (intake->batch_count > 0)
		queue_put(intake->setup.queue, intake->batch, intake->batch_count);
	intake->batch_count = 0;
	return status;
}

/* ---- the rest ---- */

void intake_acknowledged(struct intake *intake, struct kser_task *task)
{
	intake->finished += hand_finish(&intake->hand, task);
}

void intake_keep_up(struct intake *intake)
{
	int64_t now_ms = clock_monotonic_ms();
	rd_kafka_queue_poll_callback(intake->commits, 0);
	keep_room(intake, now_ms);
	commit_when_due(intake, now_ms);
}

/* The broker's client tells of records only when there were none, so what was left there must be fetched without being told. */
static bool has_more(const struct intake *intake)
{
	if (intake->spare)
		return has_place(intake, intake->spare);
	return !intake->drained && intake->blocked_ms == 0;
}

int64_t intake_next_ms(const struct intake *intake)
{
	if (has_more(intake))
		return 0;
	if (intake->hand.count == 0 && intake->finished == 0)
		return INT64_MAX;
	/* Acknowledgements wake nobody unless there is no room: they are looked for as often as offsets are committed. */
	int64_t next = clock_monotonic_ms() + COMMIT_MS;
	if (intake->finished > 0 && !intake->committing)
		next = sooner(next, intake->committed_ms + COMMIT_MS);
	if (intake->blocked_ms && !intake->all_paused)
		next = sooner(next, intake->blocked_ms + PATIENCE_MS);
	return next;
}

bool intake_is_waiting(const struct intake *intake)
{
	return intake->blocked_ms != 0 || intake->stopped || intake->revoking;
}

size_t intake_in_hand(const struct intake *intake)
{
	return intake->hand.count;
}

void intake_stop(struct intake *intake)
{
	intake->stopped = true;
	intake->all_paused = true;
	pause_what_is_full(intake);
	drop_not_started(intake);
}

void intake_visit(struct intake *intake, void (*visit)(struct kser_task *task))
{
	for (struct kser_task *task = intake->hand.tasks; task; task = task->hand_next)
		visit(task);
}

/* ---- the beginning and the end ---- */

static void watch_queue(rd_kafka_queue_t *queue, int wake_fd)
{
	static const uint64_t one = 1;
	rd_kafka_queue_io_event_enable(queue, wake_fd, &one, sizeof one);
}

static enum status subscribe(struct intake *intake, struct error *err)
{
	rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
	rd_kafka_topic_partition_list_add(topics, intake->setup.topic, RD_KAFKA_PARTITION_UA);
	rd_kafka_resp_err_t error = rd_kafka_subscribe(intake->consumer, topics);
	rd_kafka_topic_partition_list_destroy(topics);
	return error ? fail(err, E_INVALID, "cannot subscribe to %s: %s", intake->setup.topic, rd_kafka_err2str(error)) : E_OK;
}

enum status intake_open(const struct intake_setup *setup, struct intake **opened, struct error *err)
{
	struct intake *intake = xcalloc(1, sizeof *intake);
	intake->setup = *setup;
	enum status status = kafka_consumer(setup->brokers, setup->properties, setup->client_id, setup->group, on_rebalance, intake, &intake->consumer, err);
	if (status) {
		free(intake);
		return status;
	}
	intake->records = rd_kafka_queue_get_consumer(intake->consumer);
	intake->commits = rd_kafka_queue_new(intake->consumer);
	watch_queue(intake->records, setup->wake_fd);
	watch_queue(intake->commits, setup->wake_fd);
	status = subscribe(intake, err);
	if (status)
		intake_close(TAKE(intake), 0, true);
	*opened = intake;
	return status;
}

static void forget_all(struct intake *intake)
{
	while (intake->hand.tasks)
		hand_drop(&intake->hand, intake->hand.tasks);
}

void intake_close(struct intake *intake, int timeout_ms, bool forget)
{
	if (!intake)
		return;
	if (!intake->stopped)
		intake_stop(intake);
	commit_and_wait(intake, clock_monotonic_ms() + timeout_ms / 2);
	intake->closing = true;
	if (intake->spare)
		rd_kafka_message_destroy(intake->spare);
	if (forget)
		forget_all(intake);
	watch_queue(intake->records, -1);
	watch_queue(intake->commits, -1);
	rd_kafka_queue_destroy(intake->records);
	rd_kafka_queue_destroy(intake->commits);
	kafka_consumer_close(intake->consumer, timeout_ms / 2);
	if (!forget)
		return;
	while (intake->partition_count > 0)
		let_go(intake, intake->partitions[0]);
	free(intake);
}
