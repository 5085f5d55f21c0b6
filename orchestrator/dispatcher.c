#include "orchestrator/dispatcher.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <utlist.h>

#include "common/limits.h"
#include "common/log.h"
#include "common/memory.h"

/* One dispatch on its way; the opaque of its record. */
struct flight {
	struct refused identity; /* reason empty until it is refused */
	int64_t epoch;
	int queue; /* -1: no dispatch, a record of another topic */
	int32_t partition;
	struct buffer record; /* only while it waits to be sent again */
	struct flight *next;
};

/* A burst ends before it holds more than this and one record. */
#define BURST_BYTES (1024 * 1024)

/* Records that are written and not in the producer's queue yet. */
struct burst {
	size_t count;
	struct flight *flights[BATCH_REPLIES_MAX];
	size_t ends[BATCH_REPLIES_MAX]; /* of each one's record in `bytes` */
	struct buffer bytes;
	rd_kafka_message_t messages[BATCH_REPLIES_MAX]; /* as the producer is given them */
};

/* How many flights there are of one epoch; epochs come in rising order, but for what is sent again. */
struct epoch_count {
	int64_t epoch;
	size_t count;
	struct epoch_count *prev, *next;
};

struct dispatcher {
	struct cell *cell;
	char client_id[32];
	rd_kafka_t *producer;
	rd_kafka_topic_t *topics[QUEUES_MAX];
	dispatcher_acknowledged *acknowledged;
	void *context;
	struct buffer text;
	struct buffer sealed;
	struct burst burst;
	uint32_t life; /* of the cell, in which its flights began */
	bool purging;
	size_t pending;
	size_t forwarding; /* records that are no dispatches */
	struct epoch_count *epochs;
	struct flight *refused;
	struct flight *again; /* the broker could not take them */
};

static void flight_free(struct flight *flight)
{
	buffer_clear(&flight->record);
	free_pointer(&flight);
}

static void count_epoch(struct dispatcher *dispatcher, int64_t epoch, int change)
{
	struct epoch_count *at;
	dispatcher->pending += (size_t)change;
	metric_add(cell_measures(dispatcher->cell)->unacknowledged, change);
	DL_FOREACH(dispatcher->epochs, at) {
		if (at->epoch != epoch)
			continue;
		at->count += (size_t)change;
		if (at->count == 0) {
			DL_DELETE(dispatcher->epochs, at);
			free_pointer(&at);
		}
		return;
	}
	assert(change > 0);
	at = xcalloc(1, sizeof *at);
	*at = (struct epoch_count){.epoch = epoch, .count = 1};
	DL_APPEND(dispatcher->epochs, at);
}

int64_t dispatcher_floor(const struct dispatcher *dispatcher)
{
	int64_t floor = INT64_MAX;
	const struct epoch_count *at;
	DL_FOREACH(dispatcher->epochs, at)
		floor = at->epoch < floor ? at->epoch : floor;
	return floor;
}

static void refuse(struct dispatcher *dispatcher, struct flight *flight, const char *reason)
{
	snprintf(flight->identity.reason, sizeof flight->identity.reason, "%s", reason);
	LL_APPEND(dispatcher->refused, flight);
}

static rd_kafka_topic_t *topic_of(struct dispatcher *dispatcher, int queue)
{
	char name[250];
	if (!dispatcher->topics[queue])
		dispatcher->topics[queue] = rd_kafka_topic_new(dispatcher->producer,
			topics_tasks(cell_topics(dispatcher->cell), cell_queue_name(dispatcher->cell, queue), name), NULL);
	return dispatcher->topics[queue];
}

/* Puts a record into the producer's queue. False: it is not there; `flight` is still the caller's. */
static bool produce(struct dispatcher *dispatcher, struct flight *flight, int32_t partition, struct slice record)
{
	return rd_kafka_produce(topic_of(dispatcher, flight->queue), partition, RD_KAFKA_MSG_F_COPY, (void *)(uintptr_t)record.start, record.length, NULL, 0, flight) == 0;
}

/* Errors after which this very record will never be taken. All others may heal. */
static bool is_permanent(rd_kafka_resp_err_t error)
{
	switch (error) {
	case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
	case RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE:
	case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE:
	case RD_KAFKA_RESP_ERR_INVALID_RECORD:
	case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
	case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
	case RD_KAFKA_RESP_ERR_POLICY_VIOLATION:
		return true;
	default:
		return false;
	}
}

/* A record that is no dispatch has ended. */
static void land_forwarded(struct dispatcher *dispatcher, struct flight *flight, const char *topic, rd_kafka_resp_err_t error)
{
	dispatcher->forwarding--;
	if (error && !dispatcher->purging)
		log_warning("could not send a record", "topic", topic, "error", rd_kafka_err2str(error));
	else if (!error && flight->identity.origin.partition >= 0)
		dispatcher->acknowledged(dispatcher->context, flight->identity.origin);
	flight_free(flight);
}

/* The flight has ended, one way or another. */
static void land(struct dispatcher *dispatcher, struct flight *flight, rd_kafka_resp_err_t error)
{
	count_epoch(dispatcher, flight->epoch, -1);
	if (is_permanent(error) && !dispatcher->purging) {
		refuse(dispatcher, flight, rd_kafka_err2str(error));
		return;
	}
	/* Dropped on purpose, when leaving: the reply comes again, or the loss is noticed. */
	if (!error && flight->identity.origin.partition >= 0)
		dispatcher->acknowledged(dispatcher->context, flight->identity.origin);
	flight_free(flight);
}

static void send_later(struct dispatcher *dispatcher, struct flight *flight, struct slice record)
{
	buffer_reset(&flight->record);
	buffer_add_slice(&flight->record, record);
	LL_APPEND(dispatcher->again, flight);
}

static void delivered(rd_kafka_t *producer, const rd_kafka_message_t *record, void *opaque)
{
	struct dispatcher *dispatcher = opaque;
	struct flight *flight = record->_private;
	struct metric_series *took = cell_measures(dispatcher->cell)->produce_ack;
	(void)producer;
	if (took && !record->err && flight->queue >= 0)
		metric_observe(took, rd_kafka_message_latency(record));
	if (flight->queue < 0)
		land_forwarded(dispatcher, flight, rd_kafka_topic_name(record->rkt), record->err);
	else if (record->err && !is_permanent(record->err) && !dispatcher->purging && !cell_stopping(dispatcher->cell))
		send_later(dispatcher, flight, (struct slice){record->payload, record->len});
	else
		land(dispatcher, flight, record->err);
}

static enum status open_producer(struct dispatcher *dispatcher, struct error *err)
{
	const struct settings *settings = cell_settings(dispatcher->cell);
	return kafka_producer(settings->brokers, &settings->kafka, dispatcher->client_id, delivered, dispatcher, &dispatcher->producer, err);
}

enum status dispatcher_open(struct cell *cell, const char *client_id, dispatcher_acknowledged *acknowledged, void *context,
	struct dispatcher **dispatcher, struct error *err)
{
	struct dispatcher *made = xcalloc(1, sizeof *made);
	*made = (struct dispatcher){.cell = cell, .acknowledged = acknowledged, .context = context, .life = cell_life(cell)};
	snprintf(made->client_id, sizeof made->client_id, "%s", client_id);
	enum status status = open_producer(made, err);
	if (status) {
		free_pointer(&made);
		return status;
	}
	*dispatcher = made;
	return E_OK;
}

/* Ends the producer; what it had not delivered is reported, so that each flight is with us again. */
static void close_producer(struct dispatcher *dispatcher, int timeout_ms)
{
	rd_kafka_purge(dispatcher->producer, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
	for (int i = 0; i < QUEUES_MAX; i++) {
		if (dispatcher->topics[i])
			rd_kafka_topic_destroy(dispatcher->topics[i]);
		dispatcher->topics[i] = NULL;
	}
	kafka_producer_close(dispatcher->producer, timeout_ms);
	dispatcher->producer = NULL;
}

/* Drops what waits here, outside the producer. */
static void drop_waiting(struct dispatcher *dispatcher)
{
	struct refused ignored;
	struct burst *burst = &dispatcher->burst;
	while (dispatcher_take_refused(dispatcher, &ignored))
		;
	while (burst->count > 0)
		land(dispatcher, burst->flights[--burst->count], RD_KAFKA_RESP_ERR__PURGE_QUEUE);
	buffer_reset(&burst->bytes);
	for (struct flight *flight; (flight = dispatcher->again);) {
		LL_DELETE(dispatcher->again, flight);
		land(dispatcher, flight, RD_KAFKA_RESP_ERR__PURGE_QUEUE);
	}
}

void dispatcher_close(struct dispatcher *dispatcher, int timeout_ms)
{
	if (!dispatcher)
		return;
	dispatcher_flush(dispatcher);
	rd_kafka_flush(dispatcher->producer, timeout_ms);
	close_producer(dispatcher, 1000);
	drop_waiting(dispatcher);
	buffer_clear(&dispatcher->text);
	buffer_clear(&dispatcher->sealed);
	buffer_clear(&dispatcher->burst.bytes);
	free_pointer(&dispatcher);
}

static void replace_producer(struct dispatcher *dispatcher)
{
	struct error err;
	close_producer(dispatcher, 1000);
	if (open_producer(dispatcher, &err)) {
		log_error("cannot make a producer", "error", err.text);
		abort(); /* the settings were good for the one before */
	}
}

/* An idempotent producer that has met a fatal error takes nothing any more: a new one sends what it had not delivered. */
static void replace_if_fatal(struct dispatcher *dispatcher)
{
	char reason[200];
	if (rd_kafka_fatal_error(dispatcher->producer, reason, sizeof reason) == RD_KAFKA_RESP_ERR_NO_ERROR)
		return;
	log_warning("the producer met a fatal error, making a new one", "client", dispatcher->client_id, "error", reason);
	replace_producer(dispatcher);
}

/* A new producer, so that nothing of what the old one was about to send or to repeat can follow. */
void dispatcher_purge(struct dispatcher *dispatcher)
{
	dispatcher->purging = true;
	replace_producer(dispatcher);
	drop_waiting(dispatcher);
	dispatcher->purging = false;
	dispatcher->life = cell_life(dispatcher->cell);
}

static void send_again(struct dispatcher *dispatcher)
{
	struct flight *waiting = dispatcher->again, *flight, *next;
	dispatcher->again = NULL;
	LL_FOREACH_SAFE(waiting, flight, next) {
		flight->next = NULL;
		if (!produce(dispatcher, flight, flight->partition, buffer_slice(&flight->record))) {
			rd_kafka_resp_err_t error = rd_kafka_last_error();
			if (is_permanent(error))
				land(dispatcher, flight, error);
			else
				LL_APPEND(dispatcher->again, flight);
		}
	}
}

static void identify(struct flight *flight, const struct dispatch *dispatch, struct origin origin)
{
	flight->identity = (struct refused){.origin = origin, .position = dispatch->stamp.position, .attempt = dispatch->stamp.attempt, .generation = dispatch->stamp.generation};
	uuid_copy(flight->identity.operation, dispatch->stamp.operation);
	uuid_copy(flight->identity.uuid, dispatch->uuid);
}

void dispatcher_refuse(struct dispatcher *dispatcher, const struct dispatch *dispatch, struct origin origin, const char *reason)
{
	struct flight *flight = xcalloc(1, sizeof *flight);
	identify(flight, dispatch, origin);
	refuse(dispatcher, flight, reason);
}

/* Puts a record into the producer's queue, alone; waits while that is full. */
static void hand_over(struct dispatcher *dispatcher, struct flight *flight, struct slice record)
{
	while (!produce(dispatcher, flight, flight->partition, record)) {
		rd_kafka_resp_err_t error = rd_kafka_last_error();
		/* Of a life that has ended: all of it is about to be purged. */
		if (is_permanent(error) || cell_stopping(dispatcher->cell) || dispatcher->life != cell_life(dispatcher->cell)) {
			land(dispatcher, flight, error);
			return;
		}
		if (error != RD_KAFKA_RESP_ERR__QUEUE_FULL) {
			send_later(dispatcher, flight, record);
			return;
		}
		rd_kafka_poll(dispatcher->producer, 50);
	}
}

static struct slice burst_record(const struct burst *burst, size_t index)
{
	size_t begin = index > 0 ? burst->ends[index - 1] : 0;
	return (struct slice){burst->bytes.bytes + begin, burst->ends[index] - begin};
}

/* The part of the burst that goes to one partition, in one call. */
static void hand_over_part(struct dispatcher *dispatcher, size_t from, size_t to)
{
	struct burst *burst = &dispatcher->burst;
	const struct flight *first = burst->flights[from];
	for (size_t i = from; i < to; i++) {
		struct slice record = burst_record(burst, i);
		burst->messages[i] = (rd_kafka_message_t){.payload = (void *)(uintptr_t)record.start, .len = record.length, ._private = burst->flights[i]};
	}
	(void)rd_kafka_produce_batch(topic_of(dispatcher, first->queue), first->partition, RD_KAFKA_MSG_F_COPY, burst->messages + from, (int)(to - from));
	for (size_t i = from; i < to; i++)
		if (burst->messages[i].err)
			hand_over(dispatcher, burst->flights[i], burst_record(burst, i));
}

void dispatcher_flush(struct dispatcher *dispatcher)
{
	struct burst *burst = &dispatcher->burst;
	for (size_t from = 0, to; from < burst->count; from = to) {
		const struct flight *first = burst->flights[from];
		for (to = from + 1; to < burst->count && burst->flights[to]->queue == first->queue && burst->flights[to]->partition == first->partition; to++)
			;
		hand_over_part(dispatcher, from, to);
	}
	burst->count = 0;
	buffer_reset(&burst->bytes);
}

void dispatcher_send(struct dispatcher *dispatcher, int queue, int32_t partition, const struct dispatch *dispatch, struct origin origin)
{
	struct slice record;
	struct error err;
	struct burst *burst = &dispatcher->burst;
	buffer_reset(&dispatcher->text);
	message_add_dispatch(&dispatcher->text, dispatch);
	if (dispatcher->text.length > MESSAGE_BYTES_MAX) {
		dispatcher_refuse(dispatcher, dispatch, origin, "the message is larger than a record may be");
		return;
	}
	if (sealing_write(cell_sealing(dispatcher->cell), buffer_slice(&dispatcher->text), &dispatcher->sealed, &record, &err)) {
		dispatcher_refuse(dispatcher, dispatch, origin, err.text);
		return;
	}
	struct flight *flight = xcalloc(1, sizeof *flight);
	*flight = (struct flight){.epoch = dispatch->stamp.epoch, .queue = queue, .partition = partition};
	identify(flight, dispatch, origin);
	count_epoch(dispatcher, flight->epoch, +1);
	cell_sent(dispatcher->cell, queue, partition);
	buffer_add_slice(&burst->bytes, record);
	burst->ends[burst->count] = burst->bytes.length;
	burst->flights[burst->count++] = flight;
	if (burst->count == COUNT_OF(burst->flights) || burst->bytes.length >= BURST_BYTES)
		dispatcher_flush(dispatcher);
}

static void forward(struct dispatcher *dispatcher, const char *topic, int32_t partition, struct slice record, struct origin origin)
{
	struct flight *flight = xcalloc(1, sizeof *flight);
	*flight = (struct flight){.identity = {.origin = origin}, .queue = -1};
	dispatcher->forwarding++;
	rd_kafka_resp_err_t error = rd_kafka_producev(dispatcher->producer, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION(partition),
		RD_KAFKA_V_VALUE((void *)(uintptr_t)record.start, record.length), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_OPAQUE(flight), RD_KAFKA_V_END);
	if (error)
		land_forwarded(dispatcher, flight, topic, error);
}

static void tell_unsealable(const char *topic, const struct error *err)
{
	log_warning("could not send a record", "topic", topic, "error", err->text);
}

void dispatcher_tell(struct dispatcher *dispatcher, const char *topic, struct slice text)
{
	struct slice record;
	struct error err;
	if (sealing_write(cell_sealing(dispatcher->cell), text, &dispatcher->sealed, &record, &err))
		tell_unsealable(topic, &err);
	else
		forward(dispatcher, topic, 0, record, (struct origin){.partition = -1});
}

void dispatcher_forward(struct dispatcher *dispatcher, const char *topic, struct slice bytes, struct origin origin)
{
	struct slice record;
	struct error err;
	if (sealing_write_again(cell_sealing(dispatcher->cell), bytes, &dispatcher->sealed, &record, &err))
		tell_unsealable(topic, &err);
	else
		forward(dispatcher, topic, RD_KAFKA_PARTITION_UA, record, origin);
}

void dispatcher_poll(struct dispatcher *dispatcher, int timeout_ms)
{
	dispatcher_flush(dispatcher);
	rd_kafka_poll(dispatcher->producer, timeout_ms);
	if (!dispatcher->again)
		return;
	replace_if_fatal(dispatcher);
	send_again(dispatcher);
}

size_t dispatcher_pending(const struct dispatcher *dispatcher)
{
	return dispatcher->pending;
}

size_t dispatcher_forwarding(const struct dispatcher *dispatcher)
{
	return dispatcher->forwarding;
}

bool dispatcher_take_refused(struct dispatcher *dispatcher, struct refused *refused)
{
	struct flight *first = dispatcher->refused;
	if (!first)
		return false;
	LL_DELETE(dispatcher->refused, first);
	*refused = first->identity;
	flight_free(first);
	return true;
}

rd_kafka_t *dispatcher_producer(struct dispatcher *dispatcher)
{
	return dispatcher->producer;
}
