#include "orchestrator/dispatcher.h"

#include <assert.h>
#include <stdio.h>
#include <utlist.h>

#include "common/log.h"
#include "common/memory.h"

/* One dispatch on its way; the opaque of its record. */
struct flight {
	struct refused identity; /* reason empty until it is refused */
	int64_t epoch;
	int queue;
	struct flight *next;
};

/* How many flights there are of one epoch; epochs come in rising order, but for what is sent again. */
struct epoch_count {
	int64_t epoch;
	size_t count;
	struct epoch_count *prev, *next;
};

struct dispatcher {
	struct cell *cell;
	rd_kafka_t *producer;
	rd_kafka_topic_t *topics[QUEUES_MAX];
	dispatcher_acknowledged *acknowledged;
	void *context;
	struct buffer record;
	size_t pending;
	struct epoch_count *epochs;
	struct flight *refused;
};

static void count_epoch(struct dispatcher *dispatcher, int64_t epoch, int change)
{
	struct epoch_count *at;
	dispatcher->pending += (size_t)change;
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
static bool produce(struct dispatcher *dispatcher, struct flight *flight, int32_t partition, const void *bytes, size_t length)
{
	return rd_kafka_produce(topic_of(dispatcher, flight->queue), partition, RD_KAFKA_MSG_F_COPY, (void *)(uintptr_t)bytes, length, NULL, 0, flight) == 0;
}

/* Errors after which the same record may well be taken. */
static bool may_heal(rd_kafka_resp_err_t error)
{
	switch (error) {
	case RD_KAFKA_RESP_ERR__MSG_TIMED_OUT:
	case RD_KAFKA_RESP_ERR__TIMED_OUT:
	case RD_KAFKA_RESP_ERR__TRANSPORT:
	case RD_KAFKA_RESP_ERR__QUEUE_FULL:
	case RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE:
	case RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION:
	case RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS:
	case RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND:
	case RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT:
	case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
	case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
	case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
		return true;
	default:
		return false;
	}
}

static void delivered(rd_kafka_t *producer, const rd_kafka_message_t *record, void *opaque)
{
	struct dispatcher *dispatcher = opaque;
	struct flight *flight = record->_private;
	(void)producer;
	if (may_heal(record->err) && !cell_stopping(dispatcher->cell) && produce(dispatcher, flight, record->partition, record->payload, record->len))
		return;
	count_epoch(dispatcher, flight->epoch, -1);
	if (record->err == RD_KAFKA_RESP_ERR__PURGE_QUEUE || record->err == RD_KAFKA_RESP_ERR__PURGE_INFLIGHT || (record->err && may_heal(record->err))) {
		free_pointer(&flight); /* dropped on purpose: the reply comes again, or the loss is noticed */
		return;
	}
	if (record->err) {
		refuse(dispatcher, flight, rd_kafka_err2str(record->err));
		return;
	}
	if (flight->identity.origin.partition >= 0)
		dispatcher->acknowledged(dispatcher->context, flight->identity.origin);
	free_pointer(&flight);
}

enum status dispatcher_open(struct cell *cell, const char *client_id, dispatcher_acknowledged *acknowledged, void *context,
	struct dispatcher **dispatcher, struct error *err)
{
	const struct settings *settings = cell_settings(cell);
	struct dispatcher *made = xcalloc(1, sizeof *made);
	*made = (struct dispatcher){.cell = cell, .acknowledged = acknowledged, .context = context};
	enum status status = kafka_producer(settings->brokers, &settings->kafka, client_id, delivered, made, &made->producer, err);
	if (status) {
		free_pointer(&made);
		return status;
	}
	*dispatcher = made;
	return E_OK;
}

void dispatcher_close(struct dispatcher *dispatcher, int timeout_ms)
{
	struct refused ignored;
	if (!dispatcher)
		return;
	rd_kafka_flush(dispatcher->producer, timeout_ms);
	rd_kafka_purge(dispatcher->producer, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
	rd_kafka_flush(dispatcher->producer, 1000);
	while (dispatcher_take_refused(dispatcher, &ignored))
		;
	for (int i = 0; i < QUEUES_MAX; i++)
		if (dispatcher->topics[i])
			rd_kafka_topic_destroy(dispatcher->topics[i]);
	kafka_producer_close(dispatcher->producer, 1000);
	buffer_clear(&dispatcher->record);
	free_pointer(&dispatcher);
}

void dispatcher_send(struct dispatcher *dispatcher, int queue, int32_t partition, const struct dispatch *dispatch, struct origin origin)
{
	struct flight *flight = xcalloc(1, sizeof *flight);
	*flight = (struct flight){.epoch = dispatch->stamp.epoch, .queue = queue,
		.identity = {.origin = origin, .position = dispatch->stamp.position, .attempt = dispatch->stamp.attempt, .generation = dispatch->stamp.generation}};
	uuid_copy(flight->identity.operation, dispatch->stamp.operation);
	uuid_copy(flight->identity.uuid, dispatch->uuid);
	buffer_reset(&dispatcher->record);
	message_add_dispatch(&dispatcher->record, dispatch);
	count_epoch(dispatcher, flight->epoch, +1);
	cell_sent(dispatcher->cell, queue, partition);
	while (!produce(dispatcher, flight, partition, dispatcher->record.bytes, dispatcher->record.length)) {
		rd_kafka_resp_err_t error = rd_kafka_last_error();
		if (error != RD_KAFKA_RESP_ERR__QUEUE_FULL || cell_stopping(dispatcher->cell)) {
			count_epoch(dispatcher, flight->epoch, -1);
			refuse(dispatcher, flight, rd_kafka_err2str(error));
			return;
		}
		dispatcher_poll(dispatcher, 50);
	}
}

void dispatcher_poll(struct dispatcher *dispatcher, int timeout_ms)
{
	rd_kafka_poll(dispatcher->producer, timeout_ms);
}

size_t dispatcher_pending(const struct dispatcher *dispatcher)
{
	return dispatcher->pending;
}

bool dispatcher_take_refused(struct dispatcher *dispatcher, struct refused *refused)
{
	struct flight *first = dispatcher->refused;
	if (!first)
		return false;
	LL_DELETE(dispatcher->refused, first);
	*refused = first->identity;
	free_pointer(&first);
	return true;
}

rd_kafka_t *dispatcher_producer(struct dispatcher *dispatcher)
{
	return dispatcher->producer;
}
