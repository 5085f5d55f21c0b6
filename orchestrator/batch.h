#pragma once

/*
 * Results on their way into the database: a list of records, the parameters that they make for the
 * two statements that apply them, and the rows that come back. Owns the records; lives as long as its lane
 * and is reset for each batch. One thread.
 *
 * A statement is given a part of the batch, chosen before: first the plain successes, then what is left.
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
	int queue;
	bool settled;     /* it was handed over, or set aside */
	int64_t retry_ms; /* busy: not before (monotonic); 0: it never was */
};

#define APPLY_PARAMETERS 19
#define APPLY_PLAIN_PARAMETERS 14

struct batch {
	size_t count;
	struct reply_record replies[BATCH_REPLIES_MAX];
	size_t chosen;                   /* how many of them the next statement is given */
	size_t order[BATCH_REPLIES_MAX]; /* input number - 1 → index in replies: the chosen ones, sorted by operation and position */
	int32_t targets[BATCH_REPLIES_MAX];
	struct array arrays[APPLY_PARAMETERS - 1];
	char single[2][8]; /* room for parameters that are no arrays */
	struct buffer scratch, own; /* emptied by whoever uses them */
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

/*
 * Chooses what is not settled: all of it, or of it the plain successes: nothing but a success of this generation is said, it is the only reply
 * to its task, and it has not been busy. How many there are.
 */
size_t batch_choose(struct batch *batch);
size_t batch_choose_plain(struct batch *batch, int64_t generation);

/* Builds a statement's parameters of the chosen ones; they live until the batch changes or others are chosen. */
void batch_parameters(struct batch *batch, struct cell *cell, bool careful, struct parameter parameters[APPLY_PARAMETERS]);
void batch_plain_parameters(struct batch *batch, struct cell *cell, int64_t generation, struct parameter parameters[APPLY_PLAIN_PARAMETERS]);

/* The partition for the successor of an input number (from 1), as the parameters have it. */
int32_t batch_target(const struct batch *batch, int32_t input);

/* The reply of an input number (from 1). */
struct reply_record *batch_reply(struct batch *batch, int32_t input);

/* Destroys one reply's record and leaves the rest as it is. */
void reply_record_drop(struct reply_record *reply);
