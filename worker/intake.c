#include "worker/intake.h"

#include <assert.h>
#include <stdlib.h>
#include <utlist.h>

#include "common/clock.h"
#include "common/fault.h"
#include "common/limits.h"
#include "common/log.h"
#include "common/memory.h"
#include "worker/commits.h"
#include "worker/membership.h"

/* A revocation waits so long for what runs; the group waits for us meanwhile. */
#define REVOKE_WAIT_MS 3000

/*
 * Without room for longer than this, partitions are paused. Pausing throws away what was fetched ahead, so a short lack
 * of room only stops the polling.
 */
#define PATIENCE_MS 50

/* With all paused room is looked for so often, should nobody tell that there is some. */
#define FULL_LOOK_MS 250

/* Bytes of the records in hand, but for one batch more: what waits in this process must not grow with the size of messages. */
#define IN_HAND_BYTES_MAX (64 * 1024 * 1024)

/* Between two looks at how far behind it is. */
#define LAG_MS 1000

/* Records handed to the queue at a time. */
#define BATCH_MAX 256

/* Records of paused partitions that may wait for room before nothing more is polled. Pausing leaves a few at most, and a partition that comes is paused at its first record. */
#define SPARES_MAX 1024

/* A record that came although its partition was, or was to be, paused. */
struct spare {
	rd_kafka_message_t *record;
	struct spare *next, *previous;
};

struct intake {
	struct intake_setup setup;
	struct membership *membership;
	struct commits commits;
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
	bool holding;          /* the queue is held for one that is to run alone */
	int64_t blocked_ms;    /* since when there is no room; 0 = there is */
	bool stopped;
	bool revoking;         /* waits for what runs before it lets partitions go */
	int64_t lag_ms;        /* when it was measured last, and what it was */
	int64_t lag;
	bool closing;          /* all that could be committed is; a revocation waits for nobody */
};

/* ---- room ---- */

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

static void keep_room(struct intake *intake, int64_t now_ms)
{
	bool lacking = lacks_room(intake);
	intake->reached_full = membership_reads_full(intake->membership);
	if (!lacking && !intake->reached_full)
		intake->blocked_ms = 0;
	else if (intake->blocked_ms == 0)
		intake->blocked_ms = now_ms;
	if (intake->stopped)
		return;
	bool for_long = intake->blocked_ms && now_ms - intake->blocked_ms >= PATIENCE_MS;
	if (!lacking || for_long)
		membership_want_all_paused(intake->membership, lacking);
	if (for_long)
		membership_pause(intake->membership);
	membership_resume(intake->membership);
}

/* ---- revocations ---- */

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
		struct partition *partition = membership_find(intake->membership, spare->record->partition);
		if (partition && !partition->revoked && !intake->closing)
			continue;
		DL_DELETE2(intake->spares, spare, previous, next);
		intake->spare_count--;
		rd_kafka_message_destroy(spare->record);
		free(spare);
	}
}

/* Waits for what runs, up to a limit; then commits, so that whoever comes next repeats nothing of it. */
static void finish_revoked(struct intake *intake, const rd_kafka_topic_partition_list_t *list)
{
	int64_t until_ms = clock_monotonic_ms() + REVOKE_WAIT_MS;
	intake->revoking = true;
	while (membership_holds(intake->membership, list) && clock_monotonic_ms() < until_ms)
		intake->setup.serve(intake->setup.context, (int)clock_sooner(until_ms - clock_monotonic_ms(), 100));
	intake->revoking = false;
	commits_settle(&intake->commits, clock_monotonic_ms() + REVOKE_WAIT_MS);
}

static void on_revoked(void *context, const rd_kafka_topic_partition_list_t *list, bool lost)
{
	struct intake *intake = context;
	drop_not_started(intake);
	drop_spares(intake);
	claims_ask_revoked(intake->setup.claims);
	if (!lost && !intake->closing)
		finish_revoked(intake, list);
}

/* ---- taking ---- */

static void release_record(void *record)
{
	rd_kafka_message_destroy(record);
}

/* The topic was made anew, or its end was lost: what we knew of the partition is of another life. */
static struct partition *begin_again(struct intake *intake, struct partition *old, int64_t offset)
{
	log_warning("offsets went back, the partition is taken as new", "partition", LOG_INT(old->number), "from", LOG_INT(old->end), "to", LOG_INT(offset));
	return membership_begin_again(intake->membership, old);
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
	if (task->careful && !task_is_alone(task))
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
	struct kser_task *task = task_new(intake->setup.sealing, bytes, record, release_record, &status, &err);
	task->entered_ms = intake->round_ms;
	bool joined = !hand_enter(intake->hand, task, partition, offset);
	intake->reached_full |= partition_is_full(partition, WORKER_AHEAD_MAX) || intake->hand->bytes > IN_HAND_BYTES_MAX;
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
	if (rd_kafka_fatal_error(membership_consumer(intake->membership), text, sizeof text))
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
	return intake->taken < intake->taken_max && !partition_is_full(partition, WORKER_AHEAD_MAX);
}

/* One record or error. Takes it over. */
static enum status take_one(struct intake *intake, rd_kafka_message_t *record, struct error *err)
{
	enum status status = record->err ? heed_error(intake, record, err) : E_OK;
	struct partition *partition = record->err ? NULL : membership_find(intake->membership, record->partition);
	if (partition)
		membership_note_read(intake->membership, partition);
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
	const struct partition *partition = membership_find(intake->membership, spare->record->partition);
	return !partition || intake->stopped || has_room(intake, partition);
}

static void take_spares(struct intake *intake)
{
	struct spare *spare, *next;
	DL_FOREACH_SAFE2(intake->spares, spare, next, next) {
		if (!may_take_spare(intake, spare))
			continue;
		struct partition *partition = membership_find(intake->membership, spare->record->partition);
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

/* With all partitions paused, or leaving, only news of the group can come, which must not wait for room, and one record of each partition that was not read yet. */
static bool may_poll(const struct intake *intake)
{
	if (intake->spare_count >= SPARES_MAX)
		return false;
	if (membership_is_all_paused(intake->membership) || intake->stopped)
		return true;
	return intake->blocked_ms == 0 && intake->taken < intake->taken_max && !intake->reached_full;
}

static void put_batch(struct intake *intake)
{
	if (intake->batch_count > 0)
		queue_put(intake->setup.queue, intake->batch, intake->batch_count);
	intake->batch_count = 0;
}

/* One that is to run alone is claimed when nothing else runs here any more. */
static void make_way(struct intake *intake)
{
	struct kser_task *alone = gate_next_alone(intake->gate);
	if (!alone && !intake->holding)
		return;
	intake->holding = alone != NULL;
	if (queue_hold(intake->setup.queue, intake->holding) && alone)
		claims_ask(intake->setup.claims, alone);
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
	make_way(intake);
}

enum status intake_take(struct intake *intake, struct error *err)
{
	if (!intake->stopped)
		membership_renew(intake->membership);
	enum status status = E_OK;
	intake->round_ms = clock_monotonic_ms();
	open_gate(intake);
	intake->taken = 0;
	intake->taken_max = room(intake);
	take_spares(intake);
	intake->drained = false;
	while (!intake->drained && !status && may_poll(intake)) {
		rd_kafka_message_t *record = rd_kafka_consumer_poll(membership_consumer(intake->membership), 0);
		intake->drained = record == NULL;
		if (record)
			status = take_one(intake, record, err);
	}
	put_batch(intake);
	open_gate(intake);
	return status;
}

/* ---- the rest ---- */

/* Records behind the committed offset, by what the client knows without asking anybody. */
static int64_t lag_of(const struct intake *intake, const struct partition *partition)
{
	int64_t low, high;
	rd_kafka_t *consumer = membership_consumer(intake->membership);
	if (!consumer || partition->committed < 0 || rd_kafka_get_watermark_offsets(consumer, intake->setup.topic, partition->number, &low, &high))
		return 0;
	return high > partition->committed ? high - partition->committed : 0;
}

static void measure_lag(struct intake *intake, int64_t now_ms)
{
	struct partition *const *partitions;
	if (!intake->setup.lag || now_ms - intake->lag_ms < LAG_MS)
		return;
	size_t count = membership_partitions(intake->membership, &partitions);
	intake->lag = 0;
	for (size_t i = 0; i < count; i++)
		intake->lag += lag_of(intake, partitions[i]);
	metric_set(intake->setup.lag, intake->lag);
	intake->lag_ms = now_ms;
}

void intake_keep_up(struct intake *intake)
{
	int64_t now_ms = clock_monotonic_ms();
	commits_serve(&intake->commits);
	keep_room(intake, now_ms);
	commits_keep_up(&intake->commits, now_ms, intake->blocked_ms != 0);
	measure_lag(intake, now_ms);
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
	int64_t now_ms = clock_monotonic_ms();
	int64_t next_ms = commits_next_ms(&intake->commits, now_ms);
	if (intake->lag > 0)
		next_ms = clock_sooner(next_ms, intake->lag_ms + LAG_MS);
	if (intake->blocked_ms && !membership_is_all_paused(intake->membership))
		return clock_sooner(next_ms, intake->blocked_ms + PATIENCE_MS);
	return intake->blocked_ms ? clock_sooner(next_ms, now_ms + FULL_LOOK_MS) : next_ms;
}

bool intake_is_waiting(const struct intake *intake)
{
	const size_t *counts = intake->hand->counts;
	return intake->blocked_ms != 0 || intake->gate->count > 0 || counts[CLAIM_SENT] > 0 || counts[RELEASE_SENT] > 0 || intake->stopped || intake->revoking;
}

bool intake_is_full(const struct intake *intake)
{
	struct partition *const *partitions;
	size_t count = membership_partitions(intake->membership, &partitions);
	for (size_t i = 0; i < count; i++)
		if (partition_is_full(partitions[i], WORKER_AHEAD_MAX))
			return true;
	return false;
}

size_t intake_partitions(const struct intake *intake, int32_t *numbers)
{
	struct partition *const *partitions;
	size_t count = membership_partitions(intake->membership, &partitions);
	for (size_t i = 0; i < count; i++)
		numbers[i] = partitions[i]->number;
	return count;
}

void intake_stop(struct intake *intake)
{
	intake->stopped = true;
	membership_want_all_paused(intake->membership, true);
	membership_pause(intake->membership);
}

/* ---- the beginning and the end ---- */

static void on_serve(void *context, int wait_ms)
{
	const struct intake *intake = context;
	intake->setup.serve(intake->setup.context, wait_ms);
}

static void on_joined(void *context, rd_kafka_t *consumer)
{
	struct intake *intake = context;
	commits_attach(&intake->commits, consumer);
	intake->drained = false;
}

static enum status join(struct intake *intake, struct error *err)
{
	const struct intake_setup *setup = &intake->setup;
	struct membership_setup member = {.brokers = setup->brokers, .properties = setup->properties, .client_id = setup->client_id, .group = setup->group,
		.topic = setup->topic, .wake_fd = setup->wake_fd, .rejoin_ms = setup->rejoin_ms, .joined = on_joined, .revoked = on_revoked, .serve = on_serve,
		.context = intake};
	return membership_open(&member, &intake->membership, err);
}

enum status intake_open(const struct intake_setup *setup, struct intake **opened, struct error *err)
{
	struct intake *intake = xcalloc(1, sizeof *intake);
	intake->setup = *setup;
	intake->hand = setup->hand;
	intake->gate = setup->gate;
	intake->commits = (struct commits){.hand = setup->hand, .topic = setup->topic, .wake_fd = setup->wake_fd};
	enum status status = join(intake, err);
	intake->commits.membership = intake->membership;
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
	commits_settle(&intake->commits, clock_monotonic_ms() + timeout_ms / 2);
	intake->closing = true;
	drop_spares(intake);
	if (forget_tasks)
		hand_visit(intake->hand, forget, intake);
	commits_detach(&intake->commits);
	membership_close(intake->membership, timeout_ms / 2);
	if (!forget_tasks)
		return;
	membership_free(intake->membership);
	free(intake);
}
