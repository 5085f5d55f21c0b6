#include "worker/intake.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/clock.h"
#include "common/fault.h"
#include "common/kafka.h"
#include "common/limits.h"
#include "common/log.h"
#include "common/memory.h"

/* Commits at the latest so long, or so many records, after the last one. */
#define COMMIT_MS 250
#define COMMIT_RECORDS 1000

/* What was claimed must not be run elsewhere as well when this worker dies, so its offsets are committed sooner. */
#define COMMIT_PASSED_MS 20

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

/* Records of paused partitions that may wait for room before nothing more is polled. Pausing leaves a few at most. */
#define SPARES_MAX 1024

/* The brokers get so long to tell where the logs of new partitions end. */
#define ENDS_TIMEOUT_MS 2000
#define ENDS_PAUSE_MS 50

/* The longest wait for an assignment before joining anew, and how long leaving may take then. */
#define REJOIN_MAX_MS 60000
#define REJOIN_CLOSE_MS 500

/* A record that came although its partition was paused. */
struct spare {
	rd_kafka_message_t *record;
	struct spare *next, *previous;
};

struct intake {
	struct intake_setup setup;
	rd_kafka_t *consumer;
	rd_kafka_queue_t *records;
	rd_kafka_queue_t *commits;
	struct partition *by_number[PARTITIONS_MAX]; /* assigned; else NULL */
	struct partition *partitions[PARTITIONS_MAX]; /* the same, without gaps */
	size_t partition_count;
	struct hand *hand;     /* the setup's */
	struct gate *gate;
	struct spare *spares;  /* in the order in which they came */
	size_t spare_count;
	void *batch[BATCH_MAX]; /* taken and not yet in the queue */
	size_t batch_count;
	size_t taken;          /* in this round */
	size_t taken_max;
	int64_t round_ms;      /* when it began */
	bool drained;          /* all that had come was taken */
	bool reached_full;     /* nothing more may be taken in this round */
	bool committing;       /* a commit is on its way */
	int64_t committed_ms;  /* when the last one was sent */
	size_t finished;       /* records finished before that */
	size_t passed;         /* records passed by a claim before that */
	bool commit_failed;    /* to be tried again */
	int64_t blocked_ms;    /* since when there is no room; 0 = there is */
	bool all_paused;
	bool stopped;
	bool revoking;         /* waits for what runs before it lets partitions go */
	int64_t unassigned_ms; /* since when the group has given us no assignment, monotonic; 0: it has */
	int64_t rejoin_ms;     /* how long that is borne: grows with each time that it did not help */
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
	size_t in_hand = intake->hand->count < intake->setup.in_hand_max ? intake->setup.in_hand_max - intake->hand->count : 0;
	if (intake->hand->bytes > IN_HAND_BYTES_MAX)
		return 0;
	most = most > intake->gate->count ? most - intake->gate->count : 0;
	most = in_hand < most ? in_hand : most;
	return most < BATCH_MAX ? most : BATCH_MAX;
}

/* Once there is none, half of it must come back, so that this thread is not woken for each record. Asks to be woken then. */
static bool lacks_room(const struct intake *intake)
{
	if (intake->blocked_ms == 0 && room(intake) > 0)
		return false;
	return intake->hand->count > intake->setup.in_hand_max / 2 || intake->hand->bytes > IN_HAND_BYTES_MAX / 2 || intake->gate->count > intake->setup.queue_room / 2
		|| queue_watch(intake->setup.queue, intake->setup.queue_room / 2);
}

/* ---- pausing ---- */

static bool is_to_pause(const struct intake *intake, const struct partition *partition)
{
	return !partition->paused && (intake->all_paused || is_full(partition));
}

/* One that was full waits until half of it is finished, so that it is not paused again at once. */
static bool is_to_resume(const struct intake *intake, const struct partition *partition)
{
	return partition->paused && !intake->all_paused && !partition_is_full(partition, partition->was_full ? WORKER_AHEAD_MAX / 2 : WORKER_AHEAD_MAX);
}

static void mark_paused(struct intake *intake, const rd_kafka_topic_partition_list_t *list, bool paused)
{
	for (int i = 0; i < list->cnt; i++) {
		struct partition *partition = intake->by_number[list->elems[i].partition];
		partition->paused = paused;
		partition->was_full = paused && is_full(partition);
	}
}

static void pause_what_is_full(struct intake *intake)
{
	rd_kafka_topic_partition_list_t *list = select_partitions(intake, is_to_pause);
	if (list->cnt > 0) {
		rd_kafka_pause_partitions(intake->consumer, list);
		mark_paused(intake, list, true);
		log_debug("paused partitions", "count", LOG_INT(list->cnt), "in_hand", LOG_INT(intake->hand->count));
	}
	rd_kafka_topic_partition_list_destroy(list);
}

static void resume_what_has_room(struct intake *intake)
{
	rd_kafka_topic_partition_list_t *list = select_partitions(intake, is_to_resume);
	if (list->cnt > 0) {
		rd_kafka_resume_partitions(intake->consumer, list);
		mark_paused(intake, list, false);
		log_debug("resumed partitions", "count", LOG_INT(list->cnt), "in_hand", LOG_INT(intake->hand->count));
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
	intake->commit_failed |= error != RD_KAFKA_RESP_ERR_NO_ERROR;
	if (error)
		log_warning("could not commit offsets", "topic", intake->setup.topic, "error", rd_kafka_err2str(error));
}

static void commit(struct intake *intake, int64_t now_ms)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(4);
	for (size_t i = 0; i < intake->partition_count; i++)
		add_due(list, intake->setup.topic, intake->partitions[i]);
	intake->committed_ms = now_ms;
	intake->finished = intake->hand->finished;
	intake->passed = intake->hand->passed;
	intake->commit_failed = false;
	if (list->cnt > 0) {
		rd_kafka_resp_err_t error = rd_kafka_commit_queue(intake->consumer, list, intake->commits, on_commit, intake);
		intake->committing = !error;
		if (error)
			on_commit(intake->consumer, error, list, intake);
	}
	rd_kafka_topic_partition_list_destroy(list);
}

/* Records finished since the last commit, or something to try again. */
static bool has_finished(const struct intake *intake)
{
	return intake->hand->finished > intake->finished || intake->commit_failed;
}

/* Milliseconds that lie between commits as things are now. */
static int64_t commit_pause_ms(const struct intake *intake)
{
	return intake->hand->passed > intake->passed ? COMMIT_PASSED_MS : COMMIT_MS;
}

static void commit_when_due(struct intake *intake, int64_t now_ms)
{
	if (intake->committing || !has_finished(intake))
		return;
	if (now_ms - intake->committed_ms >= commit_pause_ms(intake) || intake->hand->finished - intake->finished >= COMMIT_RECORDS || intake->blocked_ms)
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
	(void)context;
	return hand_is_orphan(entry);
}

static void drop(struct intake *intake, struct kser_task *task)
{
	gate_forget(intake->gate, task);
	hand_drop(intake->hand, task);
}

static void drop_batch(struct intake *intake)
{
	size_t kept = 0;
	for (size_t i = 0; i < intake->batch_count; i++) {
		if (hand_is_orphan(intake->batch[i]))
			drop(intake, intake->batch[i]);
		else
			intake->batch[kept++] = intake->batch[i];
	}
	intake->batch_count = kept;
}

/* What a claim names that is on its way stays: whoever comes next would be told that it is ours. */
static void drop_gated(struct intake *intake)
{
	struct kser_task *task, *next;
	DL_FOREACH_SAFE2(intake->gate->tasks, task, next, gate_next) {
		if (task->standing <= CLAIM_ASKED && hand_is_orphan(task))
			drop(intake, task);
	}
}

/* Drops tasks of revoked partitions that nobody has started: they come again, here or elsewhere. */
static void drop_not_started(struct intake *intake)
{
	drop_batch(intake);
	drop_gated(intake);
	struct queue_state state = queue_state(intake->setup.queue);
	void **removed CLEANUP(free_pointer) = xcalloc(state.waiting + 1, sizeof *removed);
	size_t count = queue_remove(intake->setup.queue, is_orphan, NULL, removed);
	for (size_t i = 0; i < count; i++)
		drop(intake, removed[i]);
}

/* They come again with the rest of their partitions. */
static void drop_spares(struct intake *intake)
{
	struct spare *spare, *next;
	DL_FOREACH_SAFE2(intake->spares, spare, next, next) {
		struct partition *partition = find_partition(intake, spare->record->partition);
		if (partition && !partition->revoked && !intake->closing)
			continue;
		DL_DELETE2(intake->spares, spare, previous, next);
		intake->spare_count--;
		rd_kafka_message_destroy(spare->record);
		free(spare);
	}
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

/* Notes where the logs of the partitions end; an error when one is not told. */
static rd_kafka_resp_err_t ask_for_ends_once(struct intake *intake, const rd_kafka_topic_partition_list_t *list, int timeout_ms)
{
	rd_kafka_topic_partition_list_t *ends = rd_kafka_topic_partition_list_copy(list);
	for (int i = 0; i < ends->cnt; i++)
		ends->elems[i].offset = RD_KAFKA_OFFSET_END;
	rd_kafka_resp_err_t error = rd_kafka_offsets_for_times(intake->consumer, ends, timeout_ms);
	for (int i = 0; !error && i < ends->cnt; i++) {
		const rd_kafka_topic_partition_t *end = &ends->elems[i];
		struct partition *partition = find_partition(intake, end->partition);
		error = end->err;
		if (partition && !error && end->offset >= 0)
			partition->known_end = end->offset;
	}
	rd_kafka_topic_partition_list_destroy(ends);
	return error;
}

/*
 * Where the logs end that are ours now. Those of a topic just made may have no leader yet. What is not told in time stays
 * unknown, and all that comes is as if it had been there.
 */
static void ask_for_ends(struct intake *intake, const rd_kafka_topic_partition_list_t *list)
{
	int64_t until_ms = clock_monotonic_ms() + ENDS_TIMEOUT_MS;
	rd_kafka_resp_err_t error;
	while ((error = ask_for_ends_once(intake, list, (int)sooner(until_ms - clock_monotonic_ms(), ENDS_TIMEOUT_MS)))) {
		if (until_ms - clock_monotonic_ms() <= ENDS_PAUSE_MS)
			break;
		intake->setup.serve(intake->setup.context, ENDS_PAUSE_MS);
	}
	if (error)
		log_warning("could not ask where partitions end", "topic", intake->setup.topic, "error", rd_kafka_err2str(error));
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
	if (list->cnt > 0 && !error)
		ask_for_ends(intake, list);
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
	drop_spares(intake);
	claims_ask_revoked(intake->setup.claims);
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
	struct intake *intake = opaque;
	if (consumer != intake->consumer) { /* one that is being given up */
		rd_kafka_assign(consumer, NULL);
		return;
	}
	if (error == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
		intake->unassigned_ms = 0;
		intake->rejoin_ms = intake->setup.rejoin_ms;
		assign(intake, list);
		return;
	}
	intake->unassigned_ms = clock_monotonic_ms();
	if (error != RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS)
		log_error("could not rebalance", "error", rd_kafka_err2str(error));
	revoke(intake, list);
}

/* ---- the membership ---- */

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

static void close_queue(rd_kafka_queue_t *queue)
{
	watch_queue(queue, -1);
	rd_kafka_queue_destroy(queue);
}

/* A new member of the group. What goes wrong leaves none. */
static enum status join(struct intake *intake, struct error *err)
{
	const struct intake_setup *setup = &intake->setup;
	enum status status = kafka_consumer(setup->brokers, setup->properties, setup->client_id, setup->group, on_rebalance, intake, &intake->consumer, err);
	if (status)
		return status;
	intake->records = rd_kafka_queue_get_consumer(intake->consumer);
	intake->commits = rd_kafka_queue_new(intake->consumer);
	watch_queue(intake->records, setup->wake_fd);
	watch_queue(intake->commits, setup->wake_fd);
	intake->committing = false;
	intake->drained = false;
	intake->unassigned_ms = clock_monotonic_ms();
	status = subscribe(intake, err);
	if (status) {
		close_queue(intake->records);
		close_queue(intake->commits);
		kafka_consumer_close(intake->consumer, 0);
	}
	return status;
}

/*
 * A member that the group has forgotten, or a client that has lost its way, would wait for ever: a new one takes its place, if it can
 * be made. Nothing is assigned.
 */
static void rejoin_when_due(struct intake *intake)
{
	if (!intake->unassigned_ms || intake->stopped || clock_monotonic_ms() - intake->unassigned_ms < intake->rejoin_ms)
		return;
	struct error err;
	rd_kafka_t *consumer = intake->consumer;
	rd_kafka_queue_t *records = intake->records, *commits = intake->commits;
	log_warning("no assignment from the group, joining it anew", "group", intake->setup.group);
	intake->rejoin_ms = sooner(2 * intake->rejoin_ms, REJOIN_MAX_MS);
	if (join(intake, &err)) {
		log_error("could not join the group anew", "error", err.text);
		intake->consumer = consumer;
		intake->records = records;
		intake->commits = commits;
		return;
	}
	close_queue(records);
	close_queue(commits);
	kafka_consumer_close(consumer, REJOIN_CLOSE_MS);
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
	size_t spares = old->spares;
	let_go(intake, old);
	add_partition(intake, number, paused);
	intake->by_number[number]->spares = spares;
	return intake->by_number[number];
}

/* A task that another worker may have had, or whose attempt before lost its worker, leaves a trace before it starts. */
static bool is_careful(const struct partition *partition, const struct kser_task *task, int64_t offset)
{
	if (!task->keyed)
		return false;
	return task->message.stamp.flags & (STAMP_CAREFUL | STAMP_ALONE) || partition_was_elsewhere(partition, offset, WORKER_AHEAD_MAX);
}

static void admit(struct intake *intake, const struct partition *partition, struct kser_task *task, int64_t offset)
{
	task->careful = is_careful(partition, task, offset);
	if (task->careful)
		claims_ask(intake->setup.claims, task);
	if (gate_stops(intake->gate, task, partition->number))
		gate_put(intake->gate, task, partition->number);
	else
		intake->batch[intake->batch_count++] = task;
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
	task->entered_ms = intake->round_ms;
	bool joined = !hand_enter(intake->hand, task, partition, offset);
	intake->reached_full |= is_full(partition) || intake->hand->bytes > IN_HAND_BYTES_MAX;
	(void)FAULT("worker.after_poll");
	if (joined)
		return;
	intake->taken++;
	if (status)
		intake->setup.unusable(intake->setup.context, task, err.text);
	else
		admit(intake, partition, task, offset);
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

static void put_aside(struct intake *intake, struct partition *partition, rd_kafka_message_t *record)
{
	struct spare *spare = xcalloc(1, sizeof *spare);
	spare->record = record;
	DL_APPEND2(intake->spares, spare, previous, next);
	intake->spare_count++;
	partition->spares++;
}

static bool has_room(const struct intake *intake, const struct partition *partition)
{
	return intake->taken < intake->taken_max && !is_full(partition);
}

/* One record or error. Takes it over. */
static enum status take_one(struct intake *intake, rd_kafka_message_t *record, struct error *err)
{
	enum status status = record->err ? heed_error(intake, record, err) : E_OK;
	struct partition *partition = record->err ? NULL : find_partition(intake, record->partition);
	if (!partition || intake->stopped)
		rd_kafka_message_destroy(record);
	else if (partition->spares > 0 || !has_room(intake, partition))
		put_aside(intake, partition, record);
	else
		accept_record(intake, partition, record);
	return status;
}

static bool may_take_spare(const struct intake *intake, const struct spare *spare)
{
	const struct partition *partition = find_partition(intake, spare->record->partition);
	return !partition || intake->stopped || has_room(intake, partition);
}

static void take_spares(struct intake *intake)
{
	struct spare *spare, *next;
	DL_FOREACH_SAFE2(intake->spares, spare, next, next) {
		if (!may_take_spare(intake, spare))
			continue;
		struct partition *partition = find_partition(intake, spare->record->partition);
		DL_DELETE2(intake->spares, spare, previous, next);
		intake->spare_count--;
		if (partition)
			partition->spares--;
		if (partition && !intake->stopped)
			accept_record(intake, partition, spare->record);
		else
			rd_kafka_message_destroy(spare->record);
		free(spare);
	}
}

/* With all partitions paused, or leaving, only news of the group can come, which must not wait for room. */
static bool may_poll(const struct intake *intake)
{
	if (intake->spare_count >= SPARES_MAX)
		return false;
	if (intake->all_paused || intake->stopped)
		return true;
	return intake->blocked_ms == 0 && intake->taken < intake->taken_max && !intake->reached_full;
}

static void put_batch(struct intake *intake)
{
	if (intake->batch_count > 0)
		queue_put(intake->setup.queue, intake->batch, intake->batch_count);
	intake->batch_count = 0;
}

/* What waited at the gate and may go on. */
static void open_gate(struct intake *intake)
{
	struct kser_task *task;
	while (intake->gate->count > 0 && (task = gate_take(intake->gate, intake->round_ms))) {
		if (task_is_alone(task))
			queue_put_alone(intake->setup.queue, task);
		else
			intake->batch[intake->batch_count++] = task;
		if (intake->batch_count == BATCH_MAX)
			put_batch(intake);
	}
	put_batch(intake);
}

enum status intake_take(struct intake *intake, struct error *err)
{
	rejoin_when_due(intake);
	enum status status = E_OK;
	intake->round_ms = clock_monotonic_ms();
	open_gate(intake);
	intake->taken = 0;
	intake->taken_max = room(intake);
	take_spares(intake);
	intake->drained = false;
	while (!intake->drained && !status && may_poll(intake)) {
		rd_kafka_message_t *record = rd_kafka_consumer_poll(intake->consumer, 0);
		intake->drained = record == NULL;
		if (record)
			status = take_one(intake, record, err);
	}
	put_batch(intake);
	return status;
}

/* ---- the rest ---- */

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
	return !intake->drained && intake->blocked_ms == 0 && intake->spare_count < SPARES_MAX;
}

int64_t intake_next_ms(const struct intake *intake)
{
	if (has_more(intake))
		return 0;
	if (intake->hand->count == 0 && !has_finished(intake) && !intake->blocked_ms)
		return INT64_MAX;
	/* Acknowledgements wake nobody unless there is no room: they are looked for as often as offsets are committed. */
	int64_t next = clock_monotonic_ms() + COMMIT_MS;
	if (has_finished(intake) && !intake->committing)
		next = sooner(next, intake->committed_ms + commit_pause_ms(intake));
	if (intake->blocked_ms && !intake->all_paused)
		next = sooner(next, intake->blocked_ms + PATIENCE_MS);
	return next;
}

bool intake_is_waiting(const struct intake *intake)
{
	const size_t *counts = intake->hand->counts;
	return intake->blocked_ms != 0 || intake->gate->count > 0 || counts[CLAIM_SENT] > 0 || counts[RELEASE_SENT] > 0 || intake->stopped || intake->revoking;
}

bool intake_is_full(const struct intake *intake)
{
	for (size_t i = 0; i < intake->partition_count; i++)
		if (is_full(intake->partitions[i]))
			return true;
	return false;
}

size_t intake_partitions(const struct intake *intake, int32_t *numbers)
{
	for (size_t i = 0; i < intake->partition_count; i++)
		numbers[i] = intake->partitions[i]->number;
	return intake->partition_count;
}

void intake_stop(struct intake *intake)
{
	intake->stopped = true;
	intake->all_paused = true;
	pause_what_is_full(intake);
}

/* ---- the beginning and the end ---- */

enum status intake_open(const struct intake_setup *setup, struct intake **opened, struct error *err)
{
	struct intake *intake = xcalloc(1, sizeof *intake);
	intake->setup = *setup;
	intake->hand = setup->hand;
	intake->gate = setup->gate;
	intake->rejoin_ms = setup->rejoin_ms;
	enum status status = join(intake, err);
	if (status)
		free_pointer(&intake);
	*opened = intake;
	return status;
}

static void forget(struct kser_task *task, void *context)
{
	drop(context, task);
}

void intake_close(struct intake *intake, int timeout_ms, bool forget_tasks)
{
	if (!intake)
		return;
	if (!intake->stopped)
		intake_stop(intake);
	commit_and_wait(intake, clock_monotonic_ms() + timeout_ms / 2);
	intake->closing = true;
	drop_spares(intake);
	if (forget_tasks)
		hand_visit(intake->hand, forget, intake);
	close_queue(intake->records);
	close_queue(intake->commits);
	kafka_consumer_close(intake->consumer, timeout_ms / 2);
	if (!forget_tasks)
		return;
	while (intake->partition_count > 0)
		let_go(intake, intake->partitions[0]);
	free(intake);
}
