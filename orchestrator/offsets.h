#pragma once

/*
 * What the brokers say about topics and groups: leaders, the ends of partitions, what a group has committed. Each call waits for
 * an answer, up to its limit: for a thread that may. What one partition cannot tell is OFFSET_UNKNOWN.
 *
 * The client must read uncommitted, since the end of what is committed stands still while a stranger's transaction is open.
 */

#include <librdkafka/rdkafka.h>
#include <stdbool.h>

#include "common/error.h"
#include "common/limits.h"
#include "common/settings.h"
#include "orchestrator/round_rules.h"

/* The metadata text with which kser's workers commit: who commits without it may commit before the work. */
#define COMMIT_MARK "kser1"

/* A client for the calls below. */
MUST_USE enum status offsets_client(const char *brokers, const struct properties *user, const char *client_id, rd_kafka_t **client, struct error *err);

/* All topics, fresh. Free with rd_kafka_metadata_destroy. E_RETRY: brokers away. */
MUST_USE enum status offsets_metadata(rd_kafka_t *client, int timeout_ms, const struct rd_kafka_metadata **metadata, struct error *err);

/* How many partitions a topic has (at most PARTITIONS_MAX are looked at) and which of them have a leader. 0: no such topic. */
int32_t offsets_leaders(const struct rd_kafka_metadata *metadata, const char *topic, bool led[PARTITIONS_MAX]);

/* The ends, or the starts, of the partitions that are `led`. E_RETRY: no answer; then all are unknown. */
enum offsets_which { OFFSETS_ENDS = -1, OFFSETS_STARTS = -2 };
MUST_USE enum status offsets_list(rd_kafka_t *client, const char *topic, int32_t count, const bool *led, enum offsets_which which, int timeout_ms,
	int64_t *offsets, struct error *err);

/* What a group has committed, without joining it; OFFSET_UNKNOWN: nothing. `marked` (may be NULL): with the mark. E_RETRY: no answer; then all are unknown. */
MUST_USE enum status offsets_committed(rd_kafka_t *client, const char *group, const char *topic, int32_t count, int timeout_ms,
	int64_t *committed, bool *marked, struct error *err);
