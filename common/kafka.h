#pragma once

/*
 * What both sides do with librdkafka: configurations with our defaults and the user's properties,
 * topic names, errors as struct error, a close that ends. Handles belong to the thread that made
 * them unless librdkafka says otherwise.
 */

#include <librdkafka/rdkafka.h>

#include "common/buffer.h"
#include "common/error.h"
#include "common/settings.h"

/* Names: <prefix>.tasks, <prefix>.tasks.<queue>, <prefix>.results, .operations, .control; groups <prefix>.workers … */
struct topics {
	char prefix[64];
};
/* Writes the name into `name` (250 bytes) and returns it. `queue` "" or NULL: the default queue. */
const char *topics_tasks(const struct topics *topics, const char *queue, char name[250]);
/* The group of a queue's workers, likewise. */
const char *topics_workers(const struct topics *topics, const char *queue, char name[250]);
const char *topics_named(const struct topics *topics, const char *what, char name[250]);

/* The metadata text with which kser's workers commit offsets: who commits without it may commit before the work, and proves nothing. */
#define COMMIT_MARK "kser1"

/* A prefix or queue name: 1 to 60 (QUEUE_BYTES_MAX) of a-z A-Z 0-9 . _ - */
MUST_USE enum status topics_check(const char *prefix, const char *queue, struct error *err);

/* A producer: acks=all, idempotent, linger 0; delivery reports go to `report`, served by rd_kafka_poll in the calling thread. */
MUST_USE enum status kafka_producer(const char *brokers, const struct properties *user, const char *client_id,
	void (*report)(rd_kafka_t *, const rd_kafka_message_t *, void *), void *opaque, rd_kafka_t **producer, struct error *err);

/* A consumer: earliest, no automatic commit or store, eager assignor, bounded prefetch; `group` NULL: for assign only. */
MUST_USE enum status kafka_consumer(const char *brokers, const struct properties *user, const char *client_id, const char *group,
	void (*rebalance)(rd_kafka_t *, rd_kafka_resp_err_t, rd_kafka_topic_partition_list_t *, void *), void *opaque,
	rd_kafka_t **consumer, struct error *err);

/*
 * Creates what is missing; a topic that exists is left as it is. Waits up to `timeout_ms` until each has leaders.
 * E_RETRY: broker away; E_INVALID: not allowed. Where there are no admin calls (librdkafka's mock cluster) only a
 * producer can create, and the broker chooses the number of partitions.
 */
struct topic_wanted {
	const char *name;
	int partitions;
};
MUST_USE enum status kafka_create_topics(rd_kafka_t *client, const struct topic_wanted *wanted, size_t count, int timeout_ms, struct error *err);

/* Partitions of a topic; 0 when it does not exist. E_RETRY: broker away. */
MUST_USE enum status kafka_partitions(rd_kafka_t *client, const char *topic, int timeout_ms, int *partitions, struct error *err);

/* Writes an eight-byte one to `wake_fd`, not blocking, whenever something comes into the empty queue. */
void kafka_queue_watch(rd_kafka_queue_t *queue, int wake_fd);

/* The end of a queue that was watched: before its client is closed. */
void kafka_queue_close(rd_kafka_queue_t *queue);

/*
 * Leaves the group and destroys, but never longer than `timeout_ms` and half a second: then the handle is leaked on purpose.
 * NULL is allowed. The rebalance callback runs meanwhile, in this thread, and what it waits for comes on top. What a
 * producer could not deliver is reported as failed.
 */
void kafka_consumer_close(rd_kafka_t *consumer, int timeout_ms);
void kafka_producer_close(rd_kafka_t *producer, int timeout_ms);
