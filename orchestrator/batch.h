#pragma once

/*
 * Results on their way into the database: a list of records, the parameters that they make for the
 * apply statement, and the rows that come back. Owns the records; lives as long as its lane and is
 * reset for each batch. One thread.
 */

#include <librdkafka/rdkafka.h>

#include "common/limits.h"
#include "common/message.h"
#include "orchestrator/array.h"
#include "orchestrator/cell.h"
#include "orchestrator/dispatcher.h"

struct reply_record {
	rd_kafka_message_t *record; /* NULL once it was handed over or dropped */
	struct origin origin;
	struct buffer opened;   /* the text of a sealed record; as `record`, empty once it was handed over */
	struct message message; /* borrows its bytes, or the record's */
	struct result result;
	uuid_t uuid;
	int queue;
	int64_t retry_ms; /* busy: not before (monotonic) */
};

#define APPLY_PARAMETERS 19

struct batch {
	size_t count;
	struct reply_record replies[BATCH_REPLIES_MAX];
	size_t order[BATCH_REPLIES_MAX]; /* input number - 1 → index in replies: sorted by operation and position */
	int32_t targets[BATCH_REPLIES_MAX];
	struct array arrays[APPLY_PARAMETERS - 1];
	char careful[8]; /* the last parameter's room */
	struct buffer scratch;
};

struct batch *batch_new(void);
void batch_free(struct batch *batch);

/* Destroys the records and empties the batch. */
void batch_reset(struct batch *batch);

/*
 * Adds a reply of kind result; takes the record over, and what was opened of it. E_INVALID: it is no usable answer to a task
 * (`err` says why) and both are still the caller's. Full is a bug.
 */
MUST_USE enum status batch_add(struct batch *batch, struct cell *cell, rd_kafka_message_t *record, struct buffer *opened, const struct message *message,
	struct origin origin, struct error *err);

/* Sorts the replies and builds the parameters; they live until the batch changes. */
void batch_parameters(struct batch *batch, struct cell *cell, bool careful, struct parameter parameters[APPLY_PARAMETERS]);

/* The reply of an input number (from 1). */
struct reply_record *batch_reply(struct batch *batch, int32_t input);

/* Destroys one reply's record and leaves the rest as it is. */
void reply_record_drop(struct reply_record *reply);
