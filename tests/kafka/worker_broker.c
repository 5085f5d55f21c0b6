/* Brokers that are away, refuse or forget. Errors are injected into the broker's answers. */

#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>

#include "common/memory.h"
#include "tests/kafka/program.h"

enum { REQUEST_PRODUCE = 0, REQUEST_OFFSET_COMMIT = 8 };

TestSuite(worker_broker, .timeout = 90);

/* Tasks that end a while after they were sent, so that the errors meet only the worker's requests. */
static void send_sleepers(struct cluster *cluster, int from, int count)
{
	for (int i = from; i < from + count; i++)
		cluster_send_task(cluster, 0, i, 1, "sleep", "{\"seconds\": 1}", NULL, "");
}

/* One request at a time: this broker does not check the sequence numbers by which a real one keeps a later batch from overtaking a refused one. */
Test(worker_broker, passing_errors_of_produce)
{
	struct cluster cluster;
	cluster_open(&cluster, 1);
	struct child worker = worker_start(&cluster, (const char *const[]){"--kafka.max.in.flight.requests.per.connection=1", NULL});
	program_wait_log(&worker, "partitions assigned", 20);
	send_sleepers(&cluster, 1, 5);
	rd_kafka_mock_push_request_errors(cluster.mock, REQUEST_PRODUCE, 3, RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
		RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT, RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS);
	for (int i = 1; i <= 5; i++)
		cluster_wait_result(&cluster, i);
	cluster_wait_committed(&cluster, 0, 5, 10);
	cr_expect_eq(program_end(&worker, SIGTERM), 0);
	cluster_close(&cluster);
}

/* What the broker will not have for now (no rights, say) is kept and offered again; the offset waits for it. */
Test(worker_broker, lasting_errors_of_produce)
{
	struct cluster cluster;
	cluster_open(&cluster, 1);
	struct child worker = worker_start(&cluster, NULL);
	program_wait_log(&worker, "partitions assigned", 20);
	send_sleepers(&cluster, 1, 1);
	rd_kafka_mock_push_request_errors(cluster.mock, REQUEST_PRODUCE, 3, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
		RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
	program_wait_log(&worker, "could not send a reply", 10);
	cr_expect_lt(cluster_committed(&cluster, 0, NULL), 1);
	cluster_wait_result(&cluster, 1);
	cluster_wait_committed(&cluster, 0, 1, 10);
	cr_expect_eq(program_end(&worker, SIGTERM), 0);
	cluster_close(&cluster);
}

/* A reply that only the broker finds too large becomes an error result. */
Test(worker_broker, reply_too_large_for_the_broker)
{
	struct cluster cluster;
	cluster_open(&cluster, 1);
	struct child worker = worker_start(&cluster, NULL);
	program_wait_log(&worker, "partitions assigned", 20);
	char *result CLEANUP(free_pointer) = xmalloc(200100);
	memset(result, 'x', 200000);
	memcpy(result, "{\"retval\": {\"k\": \"", 18);
	memcpy(result + 200000, "\"}}", 4);
	cluster_send_task(&cluster, 0, 1, 1, "sleep", "{\"seconds\": 1}", result, "");
	rd_kafka_mock_push_request_errors(cluster.mock, REQUEST_PRODUCE, 1, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
	struct json_object *reply = cluster_wait_result(&cluster, 1);
	cr_expect_eq(integer_member(reply, "result.retcode"), 500);
	cr_expect_not_null(strstr(text_member(reply, "result.stderr"), "the broker refused the reply of 200"), "%s", text_member(reply, "result.stderr"));
	cluster_wait_committed(&cluster, 0, 1, 10);
	cr_expect_eq(program_end(&worker, SIGTERM), 0);
	cluster_close(&cluster);
}

/* An idempotent producer that can go on no more is replaced, and what it had not delivered is sent again. */
Test(worker_broker, fatal_error_of_the_producer)
{
	struct cluster cluster;
	cluster_open(&cluster, 1);
	struct child worker = worker_start(&cluster, NULL);
	program_wait_log(&worker, "partitions assigned", 20);
	send_sleepers(&cluster, 1, 5);
	rd_kafka_mock_push_request_errors(cluster.mock, REQUEST_PRODUCE, 1, RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER);
	program_wait_log(&worker, "the producer of replies broke and is replaced", 20);
	for (int i = 1; i <= 5; i++)
		cluster_wait_result(&cluster, i);
	cluster_wait_committed(&cluster, 0, 5, 10);
	send_sleepers(&cluster, 6, 1);
	cluster_wait_result(&cluster, 6);
	cr_expect_eq(program_end(&worker, SIGTERM), 0);
	cluster_close(&cluster);
}

Test(worker_broker, errors_of_commits)
{
	struct cluster cluster;
	cluster_open(&cluster, 1);
	struct child worker = worker_start(&cluster, NULL);
	program_wait_log(&worker, "partitions assigned", 20);
	rd_kafka_mock_push_request_errors(cluster.mock, REQUEST_OFFSET_COMMIT, 2, RD_KAFKA_RESP_ERR_INVALID_COMMIT_OFFSET_SIZE, RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED);
	cluster_send_task(&cluster, 0, 1, 1, "echo", "{}", NULL, "");
	cluster_wait_result(&cluster, 1);
	program_wait_log(&worker, "could not commit offsets", 10);
	cluster_wait_committed(&cluster, 0, 1, 10);
	cr_expect_eq(program_end(&worker, SIGTERM), 0);
	cluster_close(&cluster);
}

/* The broker goes away under load and comes back: all tasks are answered. */
Test(worker_broker, broker_down_and_up)
{
	struct cluster cluster;
	cluster_open(&cluster, 1);
	struct child worker = worker_start(&cluster, (const char *const[]){"--kafka.socket.timeout.ms=3000", NULL});
	program_wait_log(&worker, "partitions assigned", 20);
	send_sleepers(&cluster, 1, 20);
	rd_kafka_mock_broker_set_down(cluster.mock, 1);
	program_wait_log(&worker, "kafka client", 20);
	rd_kafka_mock_broker_set_up(cluster.mock, 1);
	for (int i = 1; i <= 20; i++)
		cluster_wait(&cluster, "result", cluster_uuid(i), 1, 60);
	cluster_wait_committed(&cluster, 0, 20, 30);
	cr_expect_eq(program_end(&worker, SIGTERM), 0);
	cluster_close(&cluster);
}

/* Away at start: it says so and waits; it ends when told to. */
Test(worker_broker, away_at_start)
{
	struct cluster nowhere = {.brokers = "127.0.0.1:1"};
	struct child worker = worker_start(&nowhere, NULL);
	program_wait_log(&worker, "could not reach the brokers, waiting", 10);
	cr_expect_eq(program_end(&worker, SIGTERM), 0);
}

/* Topics that do not exist yet are waited for, not created. */
Test(worker_broker, topics_missing_at_start)
{
	struct cluster cluster;
	cluster_open(&cluster, 1);
	struct child worker = worker_start(&cluster, (const char *const[]){"--queue=later", NULL});
	program_wait_log(&worker, "could not find the topic, waiting for an orchestrator to create it", 10);
	program_wait_log(&worker, "topic=kser.tasks.later", 10);
	rd_kafka_mock_topic_create(cluster.mock, "kser.tasks.later", 3, 1);
	program_wait_log(&worker, "topic=kser.tasks.later count=3", 20);
	cr_expect_eq(program_end(&worker, SIGTERM), 0);
	cluster_close(&cluster);
}
