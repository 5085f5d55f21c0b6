/* The library within a program: made, run in a thread, stopped, freed; and what it refuses. */

#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kser/worker.h"
#include "tests/kafka/program.h"

TestSuite(worker_library, .timeout = 60);

static struct kser_worker *make_worker(const char *brokers, const char *flag)
{
	char program[] = "test", brokers_flag[300], fetch[] = "--kafka.fetch.wait.max.ms=5", further[300];
	snprintf(brokers_flag, sizeof brokers_flag, "--brokers=%s", brokers);
	snprintf(further, sizeof further, "%s", flag);
	char *argv[] = {program, brokers_flag, fetch, further, NULL};
	int status = 77;
	struct kser_worker *worker = kser_worker_new(4, argv, &status);
	cr_assert_not_null(worker, "status %d", status);
	return worker;
}

static void *run(void *worker)
{
	static int status;
	status = kser_worker_run(worker);
	return &status;
}

static enum kser_outcome count(struct kser_task *task, struct kser_result *result, void *context)
{
	__atomic_add_fetch((int *)context, 1, __ATOMIC_SEQ_CST);
	kser_result_put_text(result, "uuid", kser_task_uuid(task));
	kser_result_put_text(result, "operation", kser_task_operation(task));
	return KSER_SUCCESS;
}

Test(worker_library, runs_in_a_thread)
{
	struct cluster cluster;
	cluster_open(&cluster, 1);
	int counted = 0;
	struct kser_worker *worker = make_worker(cluster.brokers, "--stock=no");
	cr_expect(kser_worker_register(worker, &(struct kser_entrypoint){KSER_ENTRYPOINT, .name = "count", .run = count, .context = &counted}));
	pthread_t thread;
	pthread_create(&thread, NULL, run, worker);
	cluster_send_task(&cluster, 0, 1, 1, "count", "{}", NULL, "");
	cluster_send_task(&cluster, 0, 2, 1, "echo", "{}", NULL, "");
	struct json_object *reply = cluster_wait_result(&cluster, 1);
	cr_expect_str_eq(text_member(reply, "result.retval.uuid"), cluster_uuid(1));
	cr_expect_str_eq(text_member(reply, "result.retval.operation"), "0190bbbb-0000-7000-8000-000000000001");
	cr_expect_eq(integer_member(cluster_wait_result(&cluster, 2), "result.retcode"), 400, "there is no stock entrypoint");
	kser_worker_stop(worker);
	void *status;
	pthread_join(thread, &status);
	cr_expect_eq(*(int *)status, 0);
	cr_expect_eq(counted, 1);
	kser_worker_free(worker);
	cluster_close(&cluster);
}

/* When it gives up, the commands are gone before it returns, though the process goes on. */
Test(worker_library, gives_up_commands)
{
	struct cluster cluster;
	cluster_open(&cluster, 1);
	char config[] = "/tmp/kser-test-library-XXXXXX", flag[80], note[80];
	int fd = mkstemp(config);
	snprintf(flag, sizeof flag, "--config=%s", config);
	snprintf(note, sizeof note, "%s.note", config);
	dprintf(fd, "[worker]\ndrain_timeout = 100ms\nlauncher = %s/bin/kser-launch\n[entrypoint hold]\ncommand = sh -c 'echo $$ > \"$1\"; exec sleep 300' x %s\n", BUILD_FOLDER, note);
	close(fd);
	struct kser_worker *worker = make_worker(cluster.brokers, flag);
	pthread_t thread;
	pthread_create(&thread, NULL, run, worker);
	cluster_send_task(&cluster, 0, 1, 1, "hold", "{}", NULL, "");
	int pid = 0;
	for (int tries = 0; tries < 2000 && pid == 0; tries++) {
		FILE *file = fopen(note, "r");
		if (!file || fscanf(file, "%d", &pid) != 1)
			poll(NULL, 0, 10);
		if (file)
			fclose(file);
	}
	cr_assert_gt(pid, 0);
	kser_worker_stop(worker);
	void *status;
	pthread_join(thread, &status);
	cr_expect_eq(*(int *)status, 0);
	cr_expect_neq(kill(pid, 0), 0, "the command still runs");
	cr_expect_eq(cluster_count(&cluster, "result", NULL), 0);
	cluster_wait_named(&cluster, "release", 1, "stopped", 1, 5);
	kser_worker_free(worker);
	unlink(config);
	unlink(note);
	cluster_close(&cluster);
}

Test(worker_library, wrong_registrations)
{
	struct kser_worker *worker = make_worker("127.0.0.1:1", "--slots=1");
	cr_expect_not(kser_worker_register(worker, &(struct kser_entrypoint){KSER_ENTRYPOINT, .name = "", .run = count}));
	cr_expect_not(kser_worker_register(worker, &(struct kser_entrypoint){KSER_ENTRYPOINT, .name = "x"}));
	cr_expect(kser_worker_register(worker, &(struct kser_entrypoint){KSER_ENTRYPOINT, .name = "x", .run = count}));
	cr_expect_not(kser_worker_register(worker, &(struct kser_entrypoint){KSER_ENTRYPOINT, .name = "x", .run = count}));
	cr_expect_eq(kser_worker_run(worker), 2);
	kser_worker_free(worker);
}

Test(worker_library, nothing_to_serve)
{
	struct kser_worker *worker = make_worker("127.0.0.1:1", "--stock=no");
	cr_expect_eq(kser_worker_run(worker), 2);
	kser_worker_free(worker);
}

Test(worker_library, plugin_missing)
{
	struct kser_worker *worker = make_worker("127.0.0.1:1", "--plugin=/nowhere/x.so");
	cr_expect_eq(kser_worker_run(worker), 2);
	kser_worker_free(worker);
}

Test(worker_library, property_refused)
{
	struct kser_worker *worker = make_worker("127.0.0.1:1", "--kafka.acks=1");
	cr_expect_eq(kser_worker_run(worker), 2);
	kser_worker_free(worker);
}

/* Stopped before it runs, it leaves at once. */
Test(worker_library, stopped_beforehand)
{
	struct kser_worker *worker = make_worker("127.0.0.1:1", "--slots=1");
	kser_worker_stop(worker);
	cr_expect_eq(kser_worker_run(worker), 0);
	kser_worker_free(worker);
}

Test(worker_library, help_and_wrong_settings, .init = cr_redirect_stdout)
{
	char program[] = "test", help[] = "--help", wrong[] = "--slots=0";
	int status = 77;
	cr_expect_null(kser_worker_new(2, (char *[]){program, help, NULL}, &status));
	cr_expect_eq(status, 0);
	cr_expect_null(kser_worker_new(2, (char *[]){program, wrong, NULL}, &status));
	cr_expect_eq(status, 2);
}
