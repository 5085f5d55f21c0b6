/* Order, repeats and room: what is committed when tasks finish in any order, and that each record is run once. */

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

TestSuite(worker_order, .timeout = 90);

/* One reply for each of them. */
static void expect_each_once(struct cluster *cluster, int count)
{
	int *seen CLEANUP(free_pointer) = xcalloc((size_t)count, sizeof *seen);
	for (size_t i = 0; i < json_object_array_length(cluster->replies); i++) {
		struct json_object *reply = json_object_array_get_idx(cluster->replies, i);
		const char *uuid = text_member(reply, "uuid");
		if (strcmp(text_member(reply, "metadata.kser.kind"), "result") != 0 || strlen(uuid) != strlen(cluster_uuid(1)))
			continue; /* the one that cannot be claimed has no uuid of a task */
		int number = (int)strtol(uuid + strlen("0190aaaa-0000-7000-8000-"), NULL, 10) - 1000;
		if (number >= 0 && number < count)
			seen[number]++;
	}
	for (int i = 0; i < count; i++)
		cr_assert_eq(seen[i], 1, "task %d was answered %d times", i, seen[i]);
}

/* What comes later finishes first; the offset waits for the first, which is not claimed. */
Test(worker_order, offset_waits_for_the_first)
{
	struct cluster cluster;
	cluster_open(&cluster, 1);
	struct child worker = worker_start(&cluster, (const char *const[]){"--claim-after=60s", NULL});
	program_wait_log(&worker, "partitions assigned", 20);
	cluster_send_task(&cluster, 0, 1, 1, "sleep", "{\"seconds\": 3}", NULL, "");
	cluster_send_many(&cluster, 0, 20, "echo", "{}");
	cluster_wait(&cluster, "result", NULL, 20, 20);
	int looks = 0;
	for (;; looks++) {
		int64_t committed = cluster_committed(&cluster, 0, NULL);
		if (cluster_count(&cluster, "result", cluster_uuid(1)) > 0)
			break;
		cr_assert_lt(committed, 1, "passed a task that runs");
		poll(NULL, 0, 20);
	}
	cr_expect_gt(looks, 20, "long enough for several commits");
	cluster_wait_committed(&cluster, 0, 21, 10);
	cr_expect_eq(program_end(&worker, SIGTERM), 0);
	cluster_close(&cluster);
}

/* The same dispatch again, while the first is in hand, is not run again; another attempt is. */
Test(worker_order, repeats_in_hand_join)
{
	struct cluster cluster;
	cluster_open(&cluster, 2);
	cluster_send_task(&cluster, 0, 1, 1, "sleep", "{\"seconds\": 1.5}", NULL, "");
	cluster_send_task(&cluster, 0, 1, 1, "sleep", "{\"seconds\": 1.5}", NULL, "");
	cluster_send_task(&cluster, 1, 1, 1, "sleep", "{\"seconds\": 1.5}", NULL, "");
	cluster_send_task(&cluster, 1, 1, 2, "echo", "{}", NULL, "");
	struct child worker = worker_start(&cluster, NULL);
	cluster_wait(&cluster, "result", cluster_uuid(1), 2, 20);
	cluster_wait_committed(&cluster, 0, 2, 10);
	cluster_wait_committed(&cluster, 1, 2, 10);
	cr_expect_eq(cluster_count(&cluster, "result", cluster_uuid(1)), 2);
	cr_expect_eq(program_end(&worker, SIGTERM), 0);
	cluster_close(&cluster);
}

/* A stranger's task has no name to claim it by. It ends after so many seconds. */
static void send_unclaimable(struct cluster *cluster, int partition, int seconds)
{
	char text[200];
	int length = snprintf(text, sizeof text, "{\"uuid\": \"unclaimable\", \"entrypoint\": \"sleep\", \"params\": {\"seconds\": %d}}", seconds);
	cluster_send(cluster, partition, text, (size_t)length);
}

/*
 * One that cannot be claimed and does not end holds its partition back at the bound, not beyond, while others go on; then all goes on and nothing
 * is run twice.
 */
Test(worker_order, reads_no_further_than_the_bound)
{
	struct cluster cluster;
	cluster_open(&cluster, 2);
	send_unclaimable(&cluster, 0, 15);
	cluster_send_many(&cluster, 0, 3000, "echo", "{}");
	struct child worker = worker_start(&cluster, NULL);
	cluster_wait(&cluster, "result", NULL, 2047, 30);
	program_wait_log(&worker, "paused partitions", 10);
	cluster_send_task(&cluster, 1, 1, 1, "echo", "{}", NULL, "");
	cluster_wait_result(&cluster, 1);
	cr_expect_eq(cluster_count(&cluster, "result", NULL), 2048, "%d", cluster_count(&cluster, "result", NULL));
	cluster_wait(&cluster, "result", NULL, 3002, 30);
	cluster_wait_committed(&cluster, 0, 3001, 10);
	expect_each_once(&cluster, 3000);
	cr_expect_eq(program_end(&worker, SIGTERM), 0);
	cluster_close(&cluster);
}

/* A task that would hold its partition back is claimed because of it, long before its time: everything behind it is run meanwhile. */
Test(worker_order, a_full_partition_claims_what_keeps_it_back)
{
	struct cluster cluster;
	cluster_open(&cluster, 1);
	struct child worker = worker_start(&cluster, (const char *const[]){"--claim-after=60s", NULL});
	program_wait_log(&worker, "partitions assigned", 20);
	cluster_send_task(&cluster, 0, 1, 1, "sleep", "{\"seconds\": 40}", NULL, "");
	cluster_send_many(&cluster, 0, 3000, "echo", "{}");
	cluster_wait(&cluster, "result", NULL, 3000, 30);
	cluster_wait_committed(&cluster, 0, 3001, 10);
	expect_each_once(&cluster, 3000);
	cr_expect_geq(cluster_named(&cluster, "claim", 1, NULL), 1);
	cr_expect_eq(cluster_count(&cluster, "result", cluster_uuid(1)), 0);
	kill(worker.pid, SIGTERM);
	program_wait_log(&worker, "leaving", 5);
	cr_expect_eq(program_end(&worker, SIGTERM), 0);
	cluster_wait_named(&cluster, "release", 1, "stopped", 1, 5);
	cluster_close(&cluster);
}

/* More than the queue between the threads holds: partitions are paused and resumed, nothing is lost, repeated or out of order. */
Test(worker_order, full_queue)
{
	struct cluster cluster;
	cluster_open(&cluster, 2);
	cluster_send_many(&cluster, 0, 900, "sleep", "{\"seconds\": 0.004}");
	cluster_send_task(&cluster, 1, 1, 1, "echo", "{}", NULL, "");
	struct child worker = worker_start(&cluster, (const char *const[]){"--slots=2", NULL});
	cluster_wait(&cluster, "result", NULL, 901, 60);
	program_wait_log(&worker, "paused partitions", 1);
	program_wait_log(&worker, "resumed partitions", 1);
	cluster_wait_committed(&cluster, 0, 900, 10);
	cluster_wait_committed(&cluster, 1, 1, 10);
	expect_each_once(&cluster, 900);
	cr_expect_eq(program_end(&worker, SIGTERM), 0);
	cluster_close(&cluster);
}

static int threads_of(pid_t pid)
{
	char path[40], line[200];
	int threads = 0;
	snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
	FILE *file = fopen(path, "r");
	while (file && fgets(line, sizeof line, file))
		if (sscanf(line, "Threads: %d", &threads) == 1)
			break;
	if (file)
		fclose(file);
	return threads;
}

static int64_t cpu_ms_of(pid_t pid)
{
	char path[40];
	unsigned long user = 0, system = 0;
	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	FILE *file = fopen(path, "r");
	cr_assert_eq(fscanf(file, "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system), 2);
	fclose(file);
	return (int64_t)(user + system) * 1000 / sysconf(_SC_CLK_TCK);
}

/* While it waits for a task to end, and for room, it sleeps: a loop that spins would take all of the time. */
Test(worker_order, waits_quietly)
{
	struct cluster cluster;
	cluster_open(&cluster, 1);
	send_unclaimable(&cluster, 0, 12);
	cluster_send_many(&cluster, 0, 2500, "sleep", "{\"seconds\": 0}");
	struct child worker = worker_start(&cluster, NULL);
	cluster_wait(&cluster, "result", NULL, 2047, 30);
	int64_t before_ms = cpu_ms_of(worker.pid), from_ms = clock_monotonic_ms();
	while (cluster_count(&cluster, "result", "unclaimable") == 0)
		poll(NULL, 0, 50);
	int64_t cpu_ms = cpu_ms_of(worker.pid) - before_ms, elapsed_ms = clock_monotonic_ms() - from_ms;
	cr_expect_lt(cpu_ms, elapsed_ms / 4, "%lld of %lld ms", (long long)cpu_ms, (long long)elapsed_ms);
	cr_expect_eq(program_end(&worker, SIGTERM), 0);
	cluster_close(&cluster);
}

/* Tasks that sleep hold a timer each, not a thread: thousands at once. */
Test(worker_order, many_sleepers)
{
	struct cluster cluster;
	cluster_open(&cluster, 1);
	cluster_send_many(&cluster, 0, 2000, "sleep", "{\"seconds\": 3}");
	struct child worker = worker_start(&cluster, (const char *const[]){"--slots=10000", NULL});
	cluster_wait(&cluster, "result", NULL, 1, 20);
	cr_expect_lt(threads_of(worker.pid), 40);
	cluster_wait(&cluster, "result", NULL, 2000, 10);
	cluster_wait_committed(&cluster, 0, 2000, 10);
	expect_each_once(&cluster, 2000);
	cr_expect_eq(program_end(&worker, SIGTERM), 0);
	cluster_close(&cluster);
}

/* As many commands at once as there are slots, also more than the threads of the start: each waits until it sees the others. */
Test(worker_order, all_slots_at_once)
{
	enum { SLOTS = 20 };
	struct cluster cluster;
	cluster_open(&cluster, 1);
	char folder[] = "/tmp/kser-test-order-XXXXXX", config[80], flag[100];
	cr_assert_not_null(mkdtemp(folder));
	snprintf(config, sizeof config, "%s.ini", folder);
	snprintf(flag, sizeof flag, "--config=%s", config);
	FILE *file = fopen(config, "w");
	fprintf(file, "[worker]\nslots = %d\n[entrypoint meet]\ncommand = sh -c 'touch \"$1/$$\"; while [ $(ls \"$1\" | wc -l) -lt %d ]; do sleep 0.1; done' x %s\ntimeout = 40s\n",
		SLOTS, SLOTS, folder);
	fclose(file);
	cluster_send_many(&cluster, 0, SLOTS, "meet", "{}");
	struct child worker = worker_start(&cluster, (const char *const[]){flag, NULL});
	cluster_wait(&cluster, "result", NULL, SLOTS, 60);
	for (int i = 0; i < SLOTS; i++)
		cr_expect_eq(integer_member(cluster_wait(&cluster, "result", cluster_uuid(1000 + i), 1, 1), "result.retcode"), 0);
	cr_expect_eq(program_end(&worker, SIGTERM), 0);
	char *remove = NULL;
	cr_assert_gt(asprintf(&remove, "rm -r %s %s", folder, config), 0);
	cr_expect_eq(system(remove), 0);
	free(remove);
	cluster_close(&cluster);
}
