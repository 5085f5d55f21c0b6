#pragma once

/*
 * What the brokers say about topics and groups: leaders, the ends of partitions, what a group has committed. Each call waits for
 * an answer, up to its limit: for a thread that may. What one partition cannot tell is OFFSET_UNKNOWN.
 *
 * Ends are those of the log, not of what is committed: that stands still while a stranger's transaction is open. What a group has
 * committed is asked by a client of that group, which never joins it; so many of them are kept as OFFSETS_GROUPS_MAX says.
 * (librdkafka's admin call needs no such client, but ends the process when the group's coordinator moves or is away.)
 */

#include <librdkafka/rdkafka.h>
#include <stdbool.h>

#include "common/error.h"
#include "common/limits.h"
#include "common/settings.h"
#include "orchestrator/round_rules.h"

#define OFFSETS_GROUPS_MAX 32

struct offsets; /* opaque */

/* `brokers` and `user` must live as long. E_INVALID: the settings of Kafka are wrong. */
MUST_USE enum status offsets_open(const char *brokers, const struct properties *user, struct offsets **offsets, struct error *err);
void offsets_close(struct offsets *offsets); /* NULL is allowed */

/* Its client for all but groups, a producer: where there are no admin calls only a producer can create topics. */
rd_kafka_t *offsets_client(struct offsets *offsets);

/* All topics, fresh. Free with rd_kafka_metadata_destroy. E_RETRY: brokers away. */
MUST_USE enum status offsets_metadata(struct offsets *offsets, int timeout_ms, const struct rd_kafka_metadata **metadata, struct error *err);

/* How many partitions a topic has (at most PARTITIONS_MAX are looked at) and which of them have a leader. 0: no such topic. */
int32_t offsets_leaders(const struct rd_kafka_metadata *metadata, const char *topic, bool led[PARTITIONS_MAX]);

/* The ends, or the starts, of the partitions that are `led`. E_RETRY: no answer; then all are unknown. */
enum offsets_which { OFFSETS_ENDS = -1, OFFSETS_STARTS = -2 };
MUST_USE enum status offsets_list(struct offsets *offsets, const char *topic, int32_t count, const bool *led, enum offsets_which which, int timeout_ms,
	int64_t *found, struct error *err);

/* What a group has committed; OFFSET_UNKNOWN: nothing. `marked` (may be NULL): with the mark. E_RETRY: no answer; then all are unknown. */
MUST_USE enum status offsets_committed(struct offsets *offsets, const char *group, const char *topic, int32_t count, int timeout_ms,
	int64_t *committed, bool *marked, struct error *err);

/* Closes the clients of groups that were not asked for since `idle_ms` milliseconds, and opens them anew when they are: each costs CPU also when it is idle. How many are left. */
size_t offsets_close_idle(struct offsets *offsets, int64_t idle_ms);
