#pragma once

/*
 * Sends dispatches to the task topics and knows which are not acknowledged yet. It owns a producer and
 * belongs to one thread: reports arrive in dispatcher_poll.
 *
 * A dispatch that the broker refuses for good waits in a list until the owner takes it; any other error may
 * heal: it is sent again, by a new producer when the old one can take nothing any more.
 *
 * All that it sends is sealed here when the cell has a key.
 *
 * It also sends records that are no dispatches, to any topic: once, and they hold nothing back.
 */

#include <librdkafka/rdkafka.h>
#include <uuid/uuid.h>

#include "common/message.h"
#include "orchestrator/cell.h"

struct dispatcher; /* opaque */

/* Where the reply came from that caused a dispatch; its offset may pass when the dispatch is acknowledged. */
struct origin {
	int32_t partition; /* of the topic of results; -1: no reply (admission) */
	uint32_t assignment;
	int64_t offset;
};

/* A dispatch that can never be delivered. */
struct refused {
	struct origin origin;
	uuid_t operation;
	uuid_t uuid;
	int32_t position;
	int32_t attempt;
	int64_t generation;
	char reason[200];
};

/* Called in dispatcher_poll for each acknowledged dispatch that has an origin. */
typedef void dispatcher_acknowledged(void *context, struct origin origin);

MUST_USE enum status dispatcher_open(struct cell *cell, const char *client_id, dispatcher_acknowledged *acknowledged, void *context,
	struct dispatcher **dispatcher, struct error *err);

/* Waits up to `timeout_ms` for what is under way, then drops it. NULL is allowed. */
void dispatcher_close(struct dispatcher *dispatcher, int timeout_ms);

/*
 * Takes a dispatch; never fails: what cannot be sent ends in the list of refused ones. It is pending from now on, and goes to the producer when the
 * burst is flushed: at the latest when dispatcher_poll is called. Waits while the producer's queue is full.
 *
 * A burst is written first and handed over as a whole: else the client's thread wakes at its first record, and sends many small requests while
 * the others are being written.
 */
void dispatcher_flush(struct dispatcher *dispatcher);
void dispatcher_send(struct dispatcher *dispatcher, int queue, int32_t partition, const struct dispatch *dispatch, struct origin origin);

/* Puts a dispatch that cannot be sent at all into the list of refused ones. */
void dispatcher_refuse(struct dispatcher *dispatcher, const struct dispatch *dispatch, struct origin origin, const char *reason);

/*
 * Sends a message of its own to partition 0 of a topic, or again to any partition the bytes that were on one before, which may be
 * sealed already. It is lost when the broker does not take it; when it does and `origin` has a partition (>= 0), `acknowledged`
 * is called.
 */
void dispatcher_tell(struct dispatcher *dispatcher, const char *topic, struct slice text);
void dispatcher_forward(struct dispatcher *dispatcher, const char *topic, struct slice bytes, struct origin origin);

/*
 * Drops all that is not acknowledged, for good: the broker gets none of it any more, nothing of it is reported, and none of the
 * refused ones is left.
 */
void dispatcher_purge(struct dispatcher *dispatcher);

/* Serves reports, and sends again what the broker could not take; blocks up to `timeout_ms` (0: not at all). */
void dispatcher_poll(struct dispatcher *dispatcher, int timeout_ms);

/* How many are not acknowledged, refused or dropped yet; of the other records as well. */
size_t dispatcher_pending(const struct dispatcher *dispatcher);
size_t dispatcher_forwarding(const struct dispatcher *dispatcher);

/* The smallest epoch among them; INT64_MAX when there is none. */
int64_t dispatcher_floor(const struct dispatcher *dispatcher);

/* Takes one refused dispatch; false when there is none. */
bool dispatcher_take_refused(struct dispatcher *dispatcher, struct refused *refused);

/* The producer, for metadata requests and topics. */
rd_kafka_t *dispatcher_producer(struct dispatcher *dispatcher);
