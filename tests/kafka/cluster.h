#pragma once

/*
 * A broker in the test's own process (librdkafka's mock cluster), the topics of one prefix on it, and
 * what a test does with them: send tasks, read replies, look at commits. Waits are bounded; what does not come fails the test.
 */

#include <json-c/json.h>
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <stdbool.h>
#include <stddef.h>

struct cluster {
	rd_kafka_t *host;
	rd_kafka_mock_cluster_t *mock;
	const char *brokers;
	int partitions; /* of the tasks topic */
	rd_kafka_t *producer;
	rd_kafka_t *reader; /* of the results topic, from its beginning */
	struct json_object *replies; /* array of the messages read so far */
	char log[64]; /* of the program that was started on it last: shown when a wait is in vain */
};

/* Topics kser.tasks with so many partitions, kser.results with two, kser.control. */
void cluster_open(struct cluster *cluster, int partitions);
void cluster_close(struct cluster *cluster);

/* Sends bytes to a partition of the tasks topic; NULL: a record without a value. Waits for the acknowledgement. */
void cluster_send(struct cluster *cluster, int partition, const void *bytes, size_t length);

/* A dispatch: task `number` of the test, whose uuid ends in it. `params`, `result`: JSON; result NULL: none. `further`: more members of metadata.kser, or "". */
void cluster_send_task(struct cluster *cluster, int partition, int number, int attempt, const char *entrypoint, const char *params, const char *result,
	const char *further);

/* `count` dispatches at once, of tasks 1000 and following. */
void cluster_send_many(struct cluster *cluster, int partition, int count, const char *entrypoint, const char *params);

/* A record on the control topic with these params. */
void cluster_tell(struct cluster *cluster, const char *params);

/* "{…}", the name of a task's attempt, static. */
const char *cluster_name(int number, int attempt);

/* Its uuid, static. */
const char *cluster_uuid(int number);

/* How many replies of that kind have come for this uuid (NULL: any). All that is in the topic counts. */
int cluster_count(struct cluster *cluster, const char *kind, const char *uuid);

/* Waits for `count` replies of the kind; returns the last one that matches. Borrowed. */
struct json_object *cluster_wait(struct cluster *cluster, const char *kind, const char *uuid, int count, int seconds);

/* The reply to a task. */
struct json_object *cluster_wait_result(struct cluster *cluster, int number);

/* How many records the results topic holds, whether they were read or not. */
int64_t cluster_records(struct cluster *cluster);

/* How many claims ("claim") or releases ("release") name the task; `reason` NULL: any. All that is in the topic counts. */
int cluster_named(struct cluster *cluster, const char *kind, int number, const char *reason);
void cluster_wait_named(struct cluster *cluster, const char *kind, int number, const char *reason, int count, int seconds);

/* The committed offset of a partition, -1001 when there is none; `mark` (may be NULL, 16 bytes) gets its metadata. */
int64_t cluster_committed(struct cluster *cluster, int partition, char mark[16]);

/* Waits until the partition's committed offset is `offset`. */
void cluster_wait_committed(struct cluster *cluster, int partition, int64_t offset, int seconds);

/* A member by its path, "result.retval.error.code"; NULL when it is not there. */
struct json_object *member(struct json_object *object, const char *path);
const char *text_member(struct json_object *object, const char *path); /* "" when it is not there */
int64_t integer_member(struct json_object *object, const char *path);
