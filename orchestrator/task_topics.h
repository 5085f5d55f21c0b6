#pragma once

/*
 * Makes the topics that are missing, and tells the cell how many partitions the queues have and which of them have a leader.
 * Waits for brokers: not for the thread that gives the signs of life.
 */

#include <librdkafka/rdkafka.h>

#include "orchestrator/cell.h"

/* At start: all topics that every cell has. Waits for the brokers as long as it takes. E_RETRY: stopping. */
MUST_USE enum status task_topics_prepare(struct cell *cell, rd_kafka_t *client, struct error *err);

/* Takes from fresh metadata what it says of all queues, and makes the topics that are not there. */
void task_topics_learn(struct cell *cell, rd_kafka_t *client, const struct rd_kafka_metadata *metadata);

/* Whether a queue's topic was never seen. */
bool task_topics_unknown(struct cell *cell);
