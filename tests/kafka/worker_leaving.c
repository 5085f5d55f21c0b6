/* Joining, leaving and dying: what is handed over, what is repeated. */

#include <criterion/criterion.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "tests/kafka/program.h"

TestSuite(worker_leaving, .timeout = 90);

/* An INI file with two commands: hold notes its processes and waits for ever, brief notes its own and ends after two seconds. */
static char config[] = "/tmp/kser-test-leaving-XXXXXX";
static char note[64];

static const char *write_config(void)
{
	static char flag[80];
	int fd = mkstemp(config);
	cr_assert_geq(fd, 0);
	snprintf(note, sizeof note, "%s.note", config);
	dprintf(fd, "[entrypoint hold]\ncommand = sh -c 'sleep 300 & echo $! $$ > \"$1.new\"; mv \"$1.new\" \"$1\"; wait' x %s\n"
		"[entrypoint brief]\ncommand = sh -c 'echo 0 $$ > \"$1.new\"; mv \"$1.new\" \"$1\"; sleep 2' x %s\n", note, note);
	close(fd);
	snprintf(flag, sizeof flag, "--config=%s", config);
	return flag;
}

static void wait_for_note(int *background, int *leader)
{
	int64_t until_ms = clock_monotonic_ms() + 20000;
	while (access(note, R_OK) != 0) {
		cr_assert_lt(clock_monotonic_ms(), until_ms, "the command did not start");
		poll(NULL, 0, 10);
	}
	FILE *file = fopen(note, "r");
	cr_assert_eq(fscanf(file, "%d %d", background, leader), 2);
	fclose(file);
}

static void remove_files(void)
{
	unlink(config);
	unlink(note);
}

static void expect_gone(int pid)
{
	int64_t until_ms = clock_monotonic_ms() + 5000;
	while (kill(pid, 0) == 0 && clock_monotonic_ms() < until_ms)
		poll(NULL, 0, 10);
	cr_expect_neq(kill(pid, 0), 0, "process %d is still there", pid);
}

/* SIGTERM: what runs is finished and reported, what has not started is handed back, and its offsets are passed. */
Test(worker_leaving, drains)
{
	struct cluster cluster;
	cluster_open(&cluster, 1);
	cluster_send_task(&cluster, 0, 1, 1, "brief", "{}", NULL, "");
	for (int i = 2; i <= 5; i++)
		cluster_send_task(&cluster, 0, i, 1, "echo", "{}", NULL, "");
	struct child worker = worker_start(&cluster, (const char *const[]){"--slots=1", write_config(), NULL});
	int nobody, command;
	wait_for_note(&nobody, &command);
	cr_expect_eq(program_end(&worker, SIGTERM), 0);
	cluster_wait_result(&cluster, 1);
	cr_expect_eq(cluster_count(&cluster, "result", NULL), 1);
	for (int i = 2; i <= 5; i++)
		cluster_wait_named(&cluster, "release", i, "unstarted", 1, 5);
	cr_expect_eq(cluster_committed(&cluster, 0, NULL), 5);
	remove_files();
	cluster_close(&cluster);
}

/* At the drain limit what still runs is ended and given back, all before the last commit: the worker leaves in order. */
Test(worker_leaving, drain_limit)
{
	struct cluster cluster;
	cluster_open(&cluster, 1);
	cluster_send_task(&cluster, 0, 2, 1, "sleep", "{\"seconds\": 300}", NULL, "");
	cluster_send_task(&cluster, 0, 1, 1, "hold", "{}", NULL, "");
	struct child worker = worker_start(&cluster, (const char *const[]){"--drain-timeout=300ms", write_config(), NULL});
	int background, leader;
	wait_for_note(&background, &leader);
	cr_expect_eq(program_end(&worker, SIGTERM), 0);
	expect_gone(background);
	expect_gone(leader);
	cr_expect_eq(cluster_count(&cluster, "result", NULL), 0);
	cluster_wait_named(&cluster, "release", 1, "stopped", 1, 5);
	cluster_wait_named(&cluster, "release", 2, "stopped", 1, 5);
	cr_expect_eq(cluster_committed(&cluster, 0, NULL), 2);
	remove_files();
	cluster_close(&cluster);
}

/* A second signal means now: what runs is ended at once. */
Test(worker_leaving, second_signal)
{
	struct cluster cluster;
	cluster_open(&cluster, 1);
	cluster_send_task(&cluster, 0, 1, 1, "hold", "{}", NULL, "");
	struct child worker = worker_start(&cluster, (const char *const[]){"--drain-timeout=1h", write_config(), NULL});
	int background, leader;
	wait_for_note(&background, &leader);
	kill(worker.pid, SIGINT);
	program_wait_log(&worker, "leaving", 5);
	int64_t before_ms = clock_monotonic_ms();
	cr_expect_eq(program_end(&worker, SIGTERM), 0);
	cr_expect_lt(clock_monotonic_ms() - before_ms, 10000);
	expect_gone(background);
	expect_gone(leader);
	cluster_wait_named(&cluster, "release", 1, "stopped", 1, 5);
	remove_files();
	cluster_close(&cluster);
}

/*
 * kill -9 of the worker takes its commands with it. The task was not claimed yet, so its record is still there: another worker claims it before
 * it starts it, so that one that kills its worker leaves a trace.
 */
Test(worker_leaving, killed)
{
	struct cluster cluster;
	cluster_open(&cluster, 1);
	struct child worker = worker_start(&cluster, (const char *const[]){"--claim-after=60s", write_config(), NULL});
	program_wait_log(&worker, "partitions assigned", 20);
	cluster_send_task(&cluster, 0, 1, 1, "hold", "{}", NULL, "");
	int background, leader;
	wait_for_note(&background, &leader);
	cr_expect_eq(cluster_named(&cluster, "claim", 1, NULL), 0);
	cr_expect_eq(program_end(&worker, SIGKILL), 128 + SIGKILL);
	expect_gone(background);
	expect_gone(leader);
	unlink(note);
	worker = worker_start(&cluster, (const char *const[]){"--drain-timeout=0ms", "--claim-after=60s", "--config", config, NULL});
	wait_for_note(&background, &leader);
	cluster_wait_named(&cluster, "claim", 1, NULL, 1, 5); /* long before claim-after */
	cr_expect_eq(program_end(&worker, SIGTERM), 0);
	expect_gone(leader);
	remove_files();
	cluster_close(&cluster);
}

/*
 * A second worker joins while tasks run: the first hands half of the partitions over, every task is answered. (This broker refuses commits while
 * members join, which real ones accept, so here what was not committed yet is repeated.)
 */
Test(worker_leaving, join_loses_nothing)
{
	enum { PARTITIONS = 4, EACH = 60, TASKS = PARTITIONS * EACH };
	struct cluster cluster;
	cluster_open(&cluster, PARTITIONS);
	for (int i = 0; i < TASKS; i++)
		cluster_send_task(&cluster, i % PARTITIONS, i, 1, "sleep", "{\"seconds\": 0.25}", NULL, "");
	struct child first = worker_start(&cluster, (const char *const[]){"--slots=4", NULL});
	cluster_wait(&cluster, "result", NULL, 10, 20);
	struct child second = worker_start(&cluster, (const char *const[]){"--slots=4", NULL});
	program_wait_log(&second, "partitions assigned", 30);
	program_wait_log(&first, "partitions revoked", 1);
	for (int i = 0; i < TASKS; i++)
		cluster_wait(&cluster, "result", cluster_uuid(i), 1, 40);
	cr_expect_leq(cluster_count(&cluster, "result", NULL), TASKS + 20);
	cr_expect_eq(program_end(&first, SIGTERM), 0);
	cr_expect_eq(program_end(&second, SIGTERM), 0);
	cluster_close(&cluster);
}

/* Claimed tasks do not belong to their partitions any more: another worker joins, and each still runs once, where it was. */
Test(worker_leaving, long_tasks_survive_a_join)
{
	enum { PARTITIONS = 4 };
	struct cluster cluster;
	cluster_open(&cluster, PARTITIONS);
	struct child first = worker_start(&cluster, (const char *const[]){"--claim-after=200ms", NULL});
	program_wait_log(&first, "partitions assigned", 20);
	for (int i = 0; i < PARTITIONS; i++)
		cluster_send_task(&cluster, i, i, 1, "sleep", "{\"seconds\": 12}", NULL, "");
	for (int i = 0; i < PARTITIONS; i++)
		cluster_wait_committed(&cluster, i, 1, 10);
	struct child second = worker_start(&cluster, NULL);
	program_wait_log(&second, "partitions assigned", 30);
	for (int i = 0; i < PARTITIONS; i++) {
		struct json_object *reply = cluster_wait(&cluster, "result", cluster_uuid(i), 1, 20);
		const char *worker = strchr(text_member(reply, "metadata.kser.worker"), ':');
		cr_assert_not_null(worker);
		cr_expect_eq(strtol(worker + 1, NULL, 10), first.pid);
	}
	cr_expect_eq(cluster_count(&cluster, "result", NULL), PARTITIONS);
	cr_expect_eq(program_end(&second, SIGTERM), 0);
	cr_expect_eq(program_end(&first, SIGTERM), 0);
	cluster_close(&cluster);
}

/*
 * A revocation claims what runs, long before its time, and does not end it. (That nothing of it is run again cannot be seen here, see above.)
 */
Test(worker_leaving, a_revocation_claims_what_runs)
{
	struct cluster cluster;
	cluster_open(&cluster, 2);
	struct child first = worker_start(&cluster, (const char *const[]){"--claim-after=60s", NULL});
	program_wait_log(&first, "partitions assigned", 20);
	for (int i = 0; i < 2; i++)
		cluster_send_task(&cluster, i, i, 1, "sleep", "{\"seconds\": 12}", NULL, "");
	cluster_send_task(&cluster, 0, 2, 1, "echo", "{}", NULL, "");
	cluster_wait_result(&cluster, 2);
	cr_expect_eq(cluster_named(&cluster, "claim", 0, NULL), 0);
	struct child second = worker_start(&cluster, (const char *const[]){"--claim-after=60s", NULL});
	program_wait_log(&first, "partitions revoked", 30);
	for (int i = 0; i < 2; i++) {
		cluster_wait_named(&cluster, "claim", i, NULL, 1, 5);
		struct json_object *reply = cluster_wait(&cluster, "result", cluster_uuid(i), 1, 20);
		const char *worker = strchr(text_member(reply, "metadata.kser.worker"), ':');
		cr_assert_not_null(worker);
		cr_expect_eq(strtol(worker + 1, NULL, 10), first.pid);
	}
	cr_expect_eq(program_end(&second, SIGTERM), 0);
	cr_expect_eq(program_end(&first, SIGTERM), 0);
	cluster_close(&cluster);
}
