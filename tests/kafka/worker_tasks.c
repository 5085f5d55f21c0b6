#include <criterion/criterion.h>
#include <signal.h>

#include "tests/kafka/program.h"

Test(worker, runs_tasks_and_commits)
{
	struct cluster cluster;
	cluster_open(&cluster, 2);
	struct child worker = worker_start(&cluster, NULL);
	cluster_send_task(&cluster, 0, 1, 1, "echo", "{\"text\": \"hello\"}", NULL, ", \"flags\": 0");
	struct json_object *reply = cluster_wait_result(&cluster, 1);
	cr_expect_str_eq(text_member(reply, "result.stdout"), "hello\n");
	cr_expect_eq(integer_member(reply, "metadata.kser.gen"), -77);
	cluster_wait_committed(&cluster, 0, 1, 10);
	cr_expect_eq(program_end(&worker, SIGTERM), 0);
	cluster_close(&cluster);
}
