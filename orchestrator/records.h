#pragma once

/* What a lane does at once with records that are no results: submissions, signs of life, reports, and what cannot be used. */

#include <librdkafka/rdkafka.h>

#include "common/message.h"
#include "orchestrator/engine.h"

/*
 * Submits the operation that a record of the topic of operations asks for; the same record again is the same operation.
 * E_INVALID, E_CONFLICT: it is refused. E_RETRY: stopping, or somebody holds its key in an open transaction, or its queue's
 * backlog is full (engine_is_full): try again.
 */
MUST_USE enum status records_submit(struct engine *engine, const rd_kafka_message_t *record, const struct message *message, struct error *err);

/*
 * What a worker says of itself or of several tasks: a heartbeat, claims, releases, a record that it could not use. E_RETRY:
 * stopping, or a task is locked: try again.
 */
MUST_USE enum status records_note(struct engine *engine, const struct message *message, struct error *err);

/* Keeps a record that cannot be used as a dead letter. E_RETRY: stopping, it comes again. */
MUST_USE enum status records_bury(struct engine *engine, const rd_kafka_message_t *record, const char *reason);
