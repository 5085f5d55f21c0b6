#pragma once

/*
 * One lane's consumer: the replies and submissions that it is to apply, and which of them are
 * finished. Belongs to one thread.
 *
 * A record is open from intake_next on until it was finished; only the contiguous prefix of
 * finished ones is committed. When partitions are taken away, what is open is given a moment to
 * finish (intake_revoked tells the owner), then committed as far as it got.
 */

#include <librdkafka/rdkafka.h>
#include <stdbool.h>

#include "orchestrator/cell.h"
#include "orchestrator/dispatcher.h"

struct intake; /* opaque */

/*
 * Partitions are being taken away: drop the records that are not applied yet, serve the
 * acknowledgements until `deadline_ms` (monotonic) or until intake_open_records says 0.
 */
typedef void intake_revoked(void *context, int64_t deadline_ms);

MUST_USE enum status intake_open(struct cell *cell, const char *client_id, intake_revoked *revoked, void *context, struct intake **intake, struct error *err);
void intake_close(struct intake *intake, int timeout_ms); /* commits what is finished; NULL is allowed */

/* The next record, or NULL when none comes within `timeout_ms`. The caller destroys it. */
rd_kafka_message_t *intake_next(struct intake *intake, int timeout_ms);

/* Whether a record with that origin is a submission (of the topic of operations) and not a reply. */
bool origin_is_submission(struct origin origin);

/* Names a record for finishing it later, after the record itself is destroyed. Only of replies and submissions just received. */
struct origin intake_origin(const struct intake *intake, const rd_kafka_message_t *record);

/* The record is finished. One of a partition that was taken away meanwhile is ignored. */
void intake_finish(struct intake *intake, struct origin origin);

/* Commits what is finished, when it is time (every 250 ms) or at once. Asynchronous. */
void intake_commit(struct intake *intake, bool now);

/* Once a second, when metrics are on: how far what is committed is behind. */
void intake_measure_lag(struct intake *intake);

/* Whether submissions are left with the broker for now. Also of partitions that are assigned later, from their first record on. */
void intake_pause_submissions(struct intake *intake, bool pause);

/* How many partitions of the topic of results are assigned. */
int intake_result_partitions(const struct intake *intake);

/* Leaves the group and joins it again: all that was not committed comes once more. */
void intake_rejoin(struct intake *intake);

/* Records received and not in the committed prefix. */
size_t intake_open_records(const struct intake *intake);
