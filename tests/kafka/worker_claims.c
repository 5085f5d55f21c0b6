/* Claims and what orchestrators tell a worker: long tasks, careful starts, stops, silence, waiting tasks that are handed back. */

#include <criterion/criterion.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/memory.h"
#include "tests/kafka/program.h"

TestSuite(worker_claims, .timeout = 90);

/* A worker that has its partitions: what is sent from now on is new. */
static struct child start_assigned(struct cluster *cluster, const char *const *flags)
{
	struct child worker = worker_start(cluster, flags);
	program_wait_log(&worker, "partitions assigned", 30);
	return worker;
}

/* After claim-after, also for a task that holds no thread: the offset passes, heartbeats go on naming it until it ends. */
Test(worker_claims, long_tasks)
{
	struct cluster cluster;
	cluster_open(&cluster, 1);
	struct child worker = start_assigned(&cluster, (const char *const[]){"--heartbeat-interval=300ms", NULL});
	cluster_send_task(&cluster, 0, 1, 1, "sleep", "{\"seconds\": 3}", NULL, "");
	cluster_send_task(&cluster, 0, 2, 1, "echo", "{}", NULL, "");
	cluster_wait_result(&cluster, 2);
	cr_expect_eq(cluster_named(&cluster, "claim", 1, NULL), 0, "not at once");
	cluster_wait_named(&cluster, "claim", 1, NULL, 1, 10);
	cluster_wait_committed(&cluster, 0, 2, 5);
	cr_expect_eq(cluster_count(&cluster, "result", cluster_uuid(1)), 0);
	cluster_wait_named(&cluster, "claim", 1, NULL, 4, 10);
	struct json_object *beat = cluster_wait(&cluster, "heartbeat", NULL, 2, 5);
	cr_expect_eq(integer_member(beat, "metadata.kser.claims"), 1);
	cr_expect_eq(integer_member(beat, "metadata.kser.free"), 7);
	cr_expect_eq(integer_member(beat, "metadata.kser.waiting"), 0);
	cr_expect_str_eq(json_object_to_json_string_ext(member(beat, "metadata.kser.partitions"), JSON_C_TO_STRING_PLAIN), "[0]");
	cluster_wait_result(&cluster, 1);
	cr_expect_eq(cluster_named(&cluster, "claim", 2, NULL), 0);
	cr_expect_eq(program_end(&worker, SIGTERM), 0);
	cluster_close(&cluster);
}

/* What was in the log before the worker had the partition may have been in another one's hands: claimed before the start, many by one record. */
Test(worker_claims, takes_over_a_backlog_with_claims)
{
	enum { TASKS = 1000 };
	struct cluster cluster;
	cluster_open(&cluster, 1);
	cluster_send_many(&cluster, 0, TASKS, "echo", "{}");
	struct child worker = start_assigned(&cluster, NULL);
	cluster_wait(&cluster, "result", NULL, TASKS, 30);
	cluster_send_task(&cluster, 0, 1, 1, "echo", "{}", NULL, "");
	cluster_wait_result(&cluster, 1);
	for (int i = 0; i < TASKS; i += 97)
		cr_expect_geq(cluster_named(&cluster, "claim", 1000 + i, NULL), 1, "task %d", i);
	cr_expect_eq(cluster_named(&cluster, "claim", 1, NULL), 0, "what came later is new");
	cr_expect_leq(cluster_count(&cluster, "claim", NULL), TASKS / 4, "%d records", cluster_count(&cluster, "claim", NULL));
	cluster_wait_committed(&cluster, 0, TASKS + 1, 5);
	cr_expect_eq(cluster_count(&cluster, "result", NULL), TASKS + 1);
	cr_expect_eq(program_end(&worker, SIGTERM), 0);
	cluster_close(&cluster);
}

/* For some tenths of a second: each time the producer offers them again. */
static void refuse_records(struct cluster *cluster)
{
	rd_kafka_resp_err_t errors[30];
	for (size_t i = 0; i < COUNT_OF(errors); i++)
		errors[i] = RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT;
	rd_kafka_mock_push_request_errors_array(cluster->mock, 0 /* Produce */, COUNT_OF(errors), errors);
}

/* A careful one is not started before its claim is acknowledged, which takes a while here, nor is what comes behind it in its partition. */
Test(worker_claims, careful_ones_wait_for_the_broker)
{
	struct cluster cluster;
	cluster_open(&cluster, 1);
	char config[] = "/tmp/kser-test-claims-XXXXXX", flag[80], note[80];
	int fd = mkstemp(config);
	snprintf(flag, sizeof flag, "--config=%s", config);
	snprintf(note, sizeof note, "%s.note", config);
	dprintf(fd, "[entrypoint note]\ncommand = sh -c 'echo $KSER_TASK >> \"$1\"' x %s\n", note);
	close(fd);
	struct child worker = start_assigned(&cluster, (const char *const[]){"--slots=1", flag, NULL});
	kill(worker.pid, SIGSTOP);
	cluster_send_task(&cluster, 0, 1, 1, "note", "{}", NULL, ", \"flags\": 1");
	cluster_send_task(&cluster, 0, 2, 1, "note", "{}", NULL, "");
	refuse_records(&cluster);
	int64_t before = cluster_records(&cluster);
	kill(worker.pid, SIGCONT);
	/* The broker takes no record of the worker's before its claim: while there is none, nothing may have been started. */
	for (bool taken = false; !taken;) {
		bool noted = access(note, R_OK) == 0;
		taken = cluster_records(&cluster) > before;
		cr_assert(taken || !noted, "started before it was claimed");
	}
	cluster_wait_result(&cluster, 2);
	cluster_wait_result(&cluster, 1);
	cr_expect_geq(cluster_named(&cluster, "claim", 1, NULL), 1);
	cr_expect_eq(cluster_named(&cluster, "claim", 2, NULL), 0);
	char first[80] = "";
	FILE *file = fopen(note, "r");
	cr_assert_not_null(file);
	cr_expect_not_null(fgets(first, sizeof first, file));
	fclose(file);
	cr_expect_eq(strncmp(first, cluster_uuid(1), 36), 0, "the second did not overtake it: %s", first);
	cr_expect_eq(program_end(&worker, SIGTERM), 0);
	unlink(config);
	unlink(note);
	cluster_close(&cluster);
}

/* ---- stops ---- */

static void stop(struct cluster *cluster, int number)
{
	char params[400];
	snprintf(params, sizeof params, "{\"kind\": \"stop\", \"tasks\": [%s, {\"uuid\": \"0190aaaa-0000-7000-8000-00000000ffff\", \"op\": "
		"\"0190bbbb-0000-7000-8000-000000000009\", \"pos\": 0, \"attempt\": 1, \"gen\": 1}]}", cluster_name(number, 1));
	cluster_tell(cluster, params);
}

static void expect_gone(int pid)
{
	int64_t until_ms = clock_monotonic_ms() + 5000;
	while (kill(pid, 0) == 0 && clock_monotonic_ms() < until_ms)
		poll(NULL, 0, 10);
	cr_expect_neq(kill(pid, 0), 0, "process %d is still there", pid);
}

/* A timer, a command with its whole group, and one that was not started: each is released and none is answered; what has another name goes on. */
Test(worker_claims, stops)
{
	struct cluster cluster;
	cluster_open(&cluster, 1);
	char config[] = "/tmp/kser-test-claims-XXXXXX", flag[80], note[80];
	int fd = mkstemp(config), background = 0, leader = 0;
	snprintf(flag, sizeof flag, "--config=%s", config);
	snprintf(note, sizeof note, "%s.note", config);
	dprintf(fd, "[entrypoint hold]\ncommand = sh -c 'sleep 987 & echo $! $$ > \"$1.new\"; mv \"$1.new\" \"$1\"; sleep 987' x %s\n", note);
	close(fd);
	struct child worker = start_assigned(&cluster, (const char *const[]){"--slots=2", flag, NULL});
	cluster_send_task(&cluster, 0, 1, 1, "hold", "{}", NULL, "");
	cluster_send_task(&cluster, 0, 2, 1, "sleep", "{\"seconds\": 300}", NULL, "");
	cluster_send_task(&cluster, 0, 3, 1, "echo", "{}", NULL, "");
	cluster_send_task(&cluster, 0, 4, 1, "echo", "{}", NULL, "");
	cluster_wait_named(&cluster, "claim", 1, NULL, 1, 10);
	cluster_wait_named(&cluster, "claim", 2, NULL, 1, 10);
	FILE *file = fopen(note, "r");
	cr_assert_eq(fscanf(file, "%d %d", &background, &leader), 2);
	fclose(file);
	stop(&cluster, 3);
	cluster_wait_named(&cluster, "release", 3, "stopped", 1, 5);
	stop(&cluster, 2);
	cluster_wait_named(&cluster, "release", 2, "stopped", 1, 5);
	cluster_wait_result(&cluster, 4);
	cluster_wait_committed(&cluster, 0, 4, 5);
	stop(&cluster, 1);
	cluster_wait_named(&cluster, "release", 1, "stopped", 1, 5);
	expect_gone(background);
	expect_gone(leader);
	cr_expect_eq(cluster_count(&cluster, "result", NULL), 1);
	cr_expect_eq(program_end(&worker, SIGTERM), 0);
	unlink(config);
	unlink(note);
	cluster_close(&cluster);
}

/* Queued tasks of another generation are dropped without a word and their offsets pass; those of this one are run. */
Test(worker_claims, another_generation)
{
	struct cluster cluster;
	cluster_open(&cluster, 1);
	struct child worker = start_assigned(&cluster, (const char *const[]){"--slots=1", NULL});
	cluster_send_task(&cluster, 0, 1, 1, "sleep", "{\"seconds\": 3}", NULL, "");
	for (int i = 2; i <= 4; i++)
		cluster_send_task(&cluster, 0, i, 1, "echo", "{}", NULL, "");
	cluster_wait_named(&cluster, "claim", 1, NULL, 1, 10);
	cluster_tell(&cluster, "{\"kind\": \"generation\", \"gen\": -77}");
	cluster_tell(&cluster, "{\"kind\": \"not known yet\"}");
	cluster_tell(&cluster, "{\"kind\": \"stop\"}");
	program_wait_log(&worker, "a control record cannot be used", 10);
	cr_expect_eq(cluster_committed(&cluster, 0, NULL), 1);
	cluster_tell(&cluster, "{\"kind\": \"generation\", \"gen\": 5}");
	program_wait_log(&worker, "another generation", 10);
	cluster_wait_committed(&cluster, 0, 4, 10);
	cluster_wait_result(&cluster, 1);
	cr_expect_eq(cluster_count(&cluster, "result", NULL), 1);
	cr_expect_eq(cluster_count(&cluster, "release", NULL), 0);
	cr_expect_eq(program_end(&worker, SIGTERM), 0);
	cluster_close(&cluster);
}

/* ---- slots ---- */

/* Behind full slots for more than two seconds: some are handed back, the others are run. */
Test(worker_claims, hands_back_what_waits)
{
	struct cluster cluster;
	cluster_open(&cluster, 2);
	struct child worker = start_assigned(&cluster, (const char *const[]){"--slots=1", NULL});
	cluster_send_task(&cluster, 0, 1, 1, "sleep", "{\"seconds\": 8}", NULL, "");
	for (int i = 2; i <= 6; i++)
		cluster_send_task(&cluster, 0, i, 1, "echo", "{}", NULL, "");
	cluster_wait_named(&cluster, "claim", 1, NULL, 1, 10);
	for (int told = 0; cluster_count(&cluster, "release", NULL) == 0; told++) {
		cr_assert_lt(told, 100);
		cluster_tell(&cluster, "{\"kind\": \"spare\", \"queue\": \"other\", \"slots\": 100}");
		cluster_tell(&cluster, "{\"kind\": \"spare\", \"queue\": \"\", \"slots\": 2}");
		poll(NULL, 0, 50);
	}
	cluster_wait_result(&cluster, 1);
	cluster_wait_committed(&cluster, 0, 6, 10);
	for (int i = 2; i <= 6; i++)
		cr_expect_eq(cluster_named(&cluster, "release", i, "unstarted") + cluster_count(&cluster, "result", cluster_uuid(i)), 1, "task %d", i);
	cr_expect_eq(program_end(&worker, SIGTERM), 0);
	cluster_close(&cluster);
}

/* Alone: not beside a task that goes on, which is told as busy; beside nothing it runs, and what comes behind waits for it. */
Test(worker_claims, alone)
{
	struct cluster cluster;
	cluster_open(&cluster, 1);
	struct child worker = start_assigned(&cluster, NULL);
	cluster_send_task(&cluster, 0, 1, 1, "sleep", "{\"seconds\": 4}", NULL, "");
	cluster_wait_named(&cluster, "claim", 1, NULL, 1, 10);
	cluster_send_task(&cluster, 0, 2, 3, "echo", "{}", NULL, ", \"flags\": 3");
	cluster_send_task(&cluster, 0, 3, 1, "echo", "{}", NULL, "");
	cluster_wait_named(&cluster, "release", 2, "busy", 1, 10);
	cr_expect_eq(cluster_named(&cluster, "claim", 2, NULL), 0, "the other one could have killed this worker");
	cluster_wait_result(&cluster, 3);
	cr_expect_eq(cluster_count(&cluster, "result", cluster_uuid(1)), 0, "started when the other was gone, beside the first");
	cluster_wait_result(&cluster, 1);
	cluster_send_task(&cluster, 0, 4, 3, "sleep", "{\"seconds\": 1.5}", NULL, ", \"flags\": 3");
	cluster_send_task(&cluster, 0, 5, 1, "echo", "{}", NULL, "");
	cluster_wait_result(&cluster, 5);
	cr_expect_eq(cluster_count(&cluster, "result", cluster_uuid(4)), 1, "nothing ran beside it");
	cr_expect_geq(cluster_named(&cluster, "claim", 4, NULL), 1, "claimed before it ran");
	cr_expect_eq(program_end(&worker, SIGTERM), 0);
	cluster_close(&cluster);
}

/* What was to be started by a time that has passed is answered, not run. */
Test(worker_claims, not_started_in_time)
{
	struct cluster cluster;
	char further[60];
	cluster_open(&cluster, 1);
	struct child worker = start_assigned(&cluster, (const char *const[]){"--slots=1", NULL});
	cluster_send_task(&cluster, 0, 1, 1, "sleep", "{\"seconds\": 1.5}", NULL, "");
	snprintf(further, sizeof further, ", \"start_by\": %lld", (long long)clock_wall_ms() + 500);
	cluster_send_task(&cluster, 0, 2, 1, "echo", "{}", NULL, further);
	snprintf(further, sizeof further, ", \"start_by\": %lld", (long long)clock_wall_ms() + 60000);
	cluster_send_task(&cluster, 0, 3, 1, "echo", "{}", NULL, further);
	struct json_object *reply = cluster_wait_result(&cluster, 2);
	cr_expect_eq(integer_member(reply, "result.retcode"), 504);
	cr_expect_str_eq(text_member(reply, "result.retval.error.name"), "Timeout");
	cr_expect_str_eq(text_member(reply, "result.retval.error.message"), "not started in time");
	cr_expect_eq(integer_member(cluster_wait_result(&cluster, 3), "result.retcode"), 0);
	cr_expect_eq(program_end(&worker, SIGTERM), 0);
	cluster_close(&cluster);
}

/* ---- silence ---- */

/* Nobody hears the worker: the task that is to end then is ended and, once the broker is back, released; the other one goes on. */
Test(worker_claims, silence)
{
	struct cluster cluster;
	cluster_open(&cluster, 1);
	struct child worker = start_assigned(&cluster, (const char *const[]){"--claim-after=100ms", "--heartbeat-interval=200ms", "--silence-limit=1s", NULL});
	cluster_send_task(&cluster, 0, 1, 1, "sleep", "{\"seconds\": 300}", NULL, ", \"flags\": 4");
	cluster_send_task(&cluster, 0, 2, 1, "sleep", "{\"seconds\": 7}", NULL, "");
	cluster_wait_named(&cluster, "claim", 1, NULL, 3, 10);
	cluster_wait_named(&cluster, "claim", 2, NULL, 1, 10);
	rd_kafka_mock_broker_set_down(cluster.mock, 1);
	program_wait_log(&worker, "ending tasks that are to stop then", 15);
	rd_kafka_mock_broker_set_up(cluster.mock, 1);
	cluster_wait_named(&cluster, "release", 1, "stopped", 1, 20);
	cr_expect_eq(integer_member(cluster_wait_result(&cluster, 2), "result.retcode"), 0);
	cr_expect_eq(cluster_count(&cluster, "result", cluster_uuid(1)), 0);
	cr_expect_eq(program_end(&worker, SIGTERM), 0);
	cluster_close(&cluster);
}
