#include "worker/membership.h"

#include <stdlib.h>

#include "common/clock.h"
#include "common/kafka.h"
#include "common/limits.h"
#include "common/log.h"
#include "common/memory.h"

/* The brokers get so long to tell where the logs of new partitions end. */
#define ENDS_TIMEOUT_MS 2000
#define ENDS_PAUSE_MS 50

/* The longest wait for an assignment before joining anew, and how long leaving may take then. */
#define REJOIN_MAX_MS 60000
#define REJOIN_CLOSE_MS 500

struct member {
	rd_kafka_t *consumer;
	rd_kafka_queue_t *records;
};

struct membership {
	struct membership_setup setup;
	struct member member;
	struct partition *by_number[PARTITIONS_MAX]; /* assigned; else NULL */
	struct partition *partitions[PARTITIONS_MAX]; /* the same, without gaps */
	size_t partition_count;
	bool all_paused;
	int64_t unassigned_ms; /* since when the group has given us no assignment, monotonic; 0: it has */
	int64_t rejoin_ms;     /* how long that is borne: grows with each time that it did not help */
};

/* ---- the partitions ---- */

struct partition *membership_find(const struct membership *membership, int32_t number)
{
	return number >= 0 && number < PARTITIONS_MAX ? membership->by_number[number] : NULL;
}

size_t membership_partitions(const struct membership *membership, struct partition *const **partitions)
{
	*partitions = membership->partitions;
	return membership->partition_count;
}

static struct partition *add_partition(struct membership *membership, int32_t number)
{
	struct partition *partition = partition_new(number);
	membership->by_number[number] = partition;
	membership->partitions[membership->partition_count++] = partition;
	return partition;
}

static void let_go(struct membership *membership, struct partition *partition)
{
	size_t at = 0;
	while (membership->partitions[at] != partition)
		at++;
	membership->partitions[at] = membership->partitions[--membership->partition_count];
	membership->by_number[partition->number] = NULL;
	partition_let_go(partition);
}

struct partition *membership_begin_again(struct membership *membership, struct partition *partition)
{
	int32_t number = partition->number;
	bool paused = partition->paused;
	size_t spares = partition->spares;
	let_go(membership, partition);
	partition = add_partition(membership, number);
	partition->read = true;
	partition->paused = paused;
	partition->spares = spares;
	return partition;
}

bool membership_reads_full(const struct membership *membership)
{
	for (size_t i = 0; i < membership->partition_count; i++)
		if (!membership->partitions[i]->paused && partition_is_full(membership->partitions[i], WORKER_AHEAD_MAX))
			return true;
	return false;
}

bool membership_holds(const struct membership *membership, const rd_kafka_topic_partition_list_t *list)
{
	for (int i = 0; i < list->cnt; i++) {
		const struct partition *partition = membership_find(membership, list->elems[i].partition);
		if (partition && partition->holds > 0)
			return true;
	}
	return false;
}

/* ---- pausing ---- */

/*
 * librdkafka (2.0 at least) numbers what is to be done with a partition before it queues it, and drops what comes to its turn behind a higher number. What an application's
 * thread asks for while the client's own thread is starting a partition may so cancel the start: the partition stays assigned and is never read. Hence none is paused or resumed
 * between its assignment and its first record, and what was paused is resumed before it is given back, when a start that is cancelled does not matter, not when it comes again.
 */

static bool is_to_pause(const struct membership *membership, const struct partition *partition)
{
	return !partition->paused && partition->read && (membership->all_paused || partition_is_full(partition, WORKER_AHEAD_MAX));
}

static bool is_to_resume(const struct membership *membership, const struct partition *partition)
{
	return partition->paused && !membership->all_paused && !partition_is_full(partition, partition->was_full ? WORKER_AHEAD_MAX / 2 : WORKER_AHEAD_MAX);
}

static rd_kafka_topic_partition_list_t *select_partitions(const struct membership *membership,
	bool (*wanted)(const struct membership *, const struct partition *))
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(4);
	for (size_t i = 0; i < membership->partition_count; i++)
		if (wanted(membership, membership->partitions[i]))
			rd_kafka_topic_partition_list_add(list, membership->setup.topic, membership->partitions[i]->number);
	return list;
}

static void mark_paused(struct membership *membership, const rd_kafka_topic_partition_list_t *list, bool paused)
{
	for (int i = 0; i < list->cnt; i++) {
		struct partition *partition = membership->by_number[list->elems[i].partition];
		partition->paused = paused;
		partition->was_full = paused && partition_is_full(partition, WORKER_AHEAD_MAX);
	}
}

void membership_want_all_paused(struct membership *membership, bool all)
{
	membership->all_paused = all;
}

bool membership_is_all_paused(const struct membership *membership)
{
	return membership->all_paused;
}

void membership_pause(struct membership *membership)
{
	rd_kafka_topic_partition_list_t *list = select_partitions(membership, is_to_pause);
	if (list->cnt > 0) {
		rd_kafka_pause_partitions(membership->member.consumer, list);
		mark_paused(membership, list, true);
		log_debug("paused partitions", "count", LOG_INT(list->cnt));
	}
	rd_kafka_topic_partition_list_destroy(list);
}

void membership_resume(struct membership *membership)
{
	rd_kafka_topic_partition_list_t *list = select_partitions(membership, is_to_resume);
	if (list->cnt > 0) {
		rd_kafka_resume_partitions(membership->member.consumer, list);
		mark_paused(membership, list, false);
		log_debug("resumed partitions", "count", LOG_INT(list->cnt));
	}
	rd_kafka_topic_partition_list_destroy(list);
}

void membership_note_read(struct membership *membership, struct partition *partition)
{
	if (partition->read)
		return;
	partition->read = true;
	if (membership->all_paused)
		membership_pause(membership);
}

/* ---- what the group gives and takes ---- */

/* Notes where the logs of the partitions end; an error when one is not told. */
static rd_kafka_resp_err_t ask_for_ends_once(struct membership *membership, const rd_kafka_topic_partition_list_t *list, int timeout_ms)
{
	rd_kafka_topic_partition_list_t *ends = rd_kafka_topic_partition_list_copy(list);
	for (int i = 0; i < ends->cnt; i++)
		ends->elems[i].offset = RD_KAFKA_OFFSET_END;
	rd_kafka_resp_err_t error = rd_kafka_offsets_for_times(membership->member.consumer, ends, timeout_ms);
	for (int i = 0; !error && i < ends->cnt; i++) {
		const rd_kafka_topic_partition_t *end = &ends->elems[i];
		struct partition *partition = membership_find(membership, end->partition);
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
static void ask_for_ends(struct membership *membership, const rd_kafka_topic_partition_list_t *list)
{
	const struct membership_setup *setup = &membership->setup;
	int64_t until_ms = clock_monotonic_ms() + ENDS_TIMEOUT_MS;
	rd_kafka_resp_err_t error;
	while ((error = ask_for_ends_once(membership, list, (int)clock_sooner(until_ms - clock_monotonic_ms(), ENDS_TIMEOUT_MS)))) {
		if (until_ms - clock_monotonic_ms() <= ENDS_PAUSE_MS)
			break;
		setup->serve(setup->context, ENDS_PAUSE_MS);
	}
	if (error)
		log_warning("could not ask where partitions end", "topic", setup->topic, "error", rd_kafka_err2str(error));
}

static void assign(struct membership *membership, rd_kafka_topic_partition_list_t *list)
{
	for (int i = 0; i < list->cnt; i++) {
		int32_t number = list->elems[i].partition;
		if (number >= PARTITIONS_MAX)
			log_error("a partition is beyond the limit and is left alone", "partition", LOG_INT(number));
		else if (!membership_find(membership, number))
			add_partition(membership, number);
	}
	rd_kafka_resp_err_t error = rd_kafka_assign(membership->member.consumer, list);
	if (error)
		log_error("could not take up partitions", "error", rd_kafka_err2str(error));
	if (list->cnt > 0 && !error)
		ask_for_ends(membership, list);
	log_info("partitions assigned", "topic", membership->setup.topic, "count", LOG_INT(list->cnt));
}

static void revoke(struct membership *membership, rd_kafka_topic_partition_list_t *list)
{
	const struct membership_setup *setup = &membership->setup;
	bool lost = rd_kafka_assignment_lost(membership->member.consumer) != 0;
	for (int i = 0; i < list->cnt; i++)
		if (membership_find(membership, list->elems[i].partition))
			membership_find(membership, list->elems[i].partition)->revoked = true;
	setup->revoked(setup->context, list, lost);
	bool left = membership_holds(membership, list);
	/* All: of one that a rebalance found being resumed the client may not have heard it. */
	rd_kafka_resume_partitions(membership->member.consumer, list);
	rd_kafka_assign(membership->member.consumer, NULL);
	for (int i = 0; i < list->cnt; i++)
		if (membership_find(membership, list->elems[i].partition))
			let_go(membership, membership_find(membership, list->elems[i].partition));
	log_info("partitions revoked", "topic", setup->topic, "count", LOG_INT(list->cnt), "lost", lost ? "yes" : NULL, "unfinished", left ? "yes" : NULL);
}

static void on_rebalance(rd_kafka_t *consumer, rd_kafka_resp_err_t error, rd_kafka_topic_partition_list_t *list, void *opaque)
{
	struct membership *membership = opaque;
	if (consumer != membership->member.consumer) { /* one that is being given up */
		rd_kafka_assign(consumer, NULL);
		return;
	}
	if (error == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
		membership->unassigned_ms = 0;
		membership->rejoin_ms = membership->setup.rejoin_ms;
		assign(membership, list);
		return;
	}
	membership->unassigned_ms = clock_monotonic_ms();
	if (error != RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS)
		log_error("could not rebalance", "error", rd_kafka_err2str(error));
	revoke(membership, list);
}

/* ---- joining and leaving ---- */

static enum status subscribe(rd_kafka_t *consumer, const char *topic, struct error *err)
{
	rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
	rd_kafka_topic_partition_list_add(topics, topic, RD_KAFKA_PARTITION_UA);
	rd_kafka_resp_err_t error = rd_kafka_subscribe(consumer, topics);
	rd_kafka_topic_partition_list_destroy(topics);
	return error ? fail(err, E_INVALID, "cannot subscribe to %s: %s", topic, rd_kafka_err2str(error)) : E_OK;
}

static void member_leave(struct member *member, int timeout_ms)
{
	if (member->records)
		kafka_queue_close(member->records);
	kafka_consumer_close(member->consumer, timeout_ms);
	member->records = NULL;
	member->consumer = NULL;
}

/* A new member of the group takes the place of the one we have, if any. What goes wrong changes nothing. */
static enum status join(struct membership *membership, struct error *err)
{
	const struct membership_setup *setup = &membership->setup;
	struct member fresh = {0}, old = membership->member;
	enum status status = kafka_consumer(setup->brokers, setup->properties, setup->client_id, setup->group, on_rebalance, membership, &fresh.consumer, err);
	if (!status)
		status = subscribe(fresh.consumer, setup->topic, err);
	if (status) {
		member_leave(&fresh, 0);
		return status;
	}
	fresh.records = rd_kafka_queue_get_consumer(fresh.consumer);
	kafka_queue_watch(fresh.records, setup->wake_fd);
	membership->member = fresh;
	membership->unassigned_ms = clock_monotonic_ms();
	setup->joined(setup->context, fresh.consumer);
	member_leave(&old, REJOIN_CLOSE_MS);
	return E_OK;
}

bool membership_renew(struct membership *membership)
{
	if (!membership->unassigned_ms || clock_monotonic_ms() - membership->unassigned_ms < membership->rejoin_ms)
		return false;
	struct error err;
	log_warning("no assignment from the group, joining it anew", "group", membership->setup.group);
	membership->rejoin_ms = clock_sooner(2 * membership->rejoin_ms, REJOIN_MAX_MS);
	enum status status = join(membership, &err);
	if (status)
		log_error("could not join the group anew", "error", err.text);
	return status == E_OK;
}

enum status membership_open(const struct membership_setup *setup, struct membership **opened, struct error *err)
{
	struct membership *membership = xcalloc(1, sizeof *membership);
	membership->setup = *setup;
	membership->rejoin_ms = setup->rejoin_ms;
	enum status status = join(membership, err);
	if (status)
		free_pointer(&membership);
	*opened = membership;
	return status;
}

rd_kafka_t *membership_consumer(const struct membership *membership)
{
	return membership->member.consumer;
}

void membership_close(struct membership *membership, int timeout_ms)
{
	if (membership)
		member_leave(&membership->member, timeout_ms);
}

void membership_free(struct membership *membership)
{
	if (!membership)
		return;
	while (membership->partition_count > 0)
		let_go(membership, membership->partitions[0]);
	free(membership);
}
