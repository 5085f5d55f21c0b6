/* What becomes of single records: tasks good and bad, unusable bytes, the examples. */

#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>

#include "tests/kafka/program.h"

static const char *plain(struct json_object *object)
{
	return json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
}

static void expect_error(struct cluster *cluster, int number, int code, const char *name, const char *message)
{
	struct json_object *reply = cluster_wait_result(cluster, number);
	cr_expect_eq(integer_member(reply, "result.retcode"), code, "%s", plain(reply));
	cr_expect_str_eq(text_member(reply, "result.retval.error.name"), name);
	cr_expect_str_eq(text_member(reply, "result.retval.error.message"), message);
}

TestSuite(worker_tasks, .timeout = 60);

Test(worker_tasks, results)
{
	struct cluster cluster;
	cluster_open(&cluster, 2);
	cluster_send_task(&cluster, 0, 1, 3, "echo", "{\"text\": \"hello\"}", NULL, ", \"limit_ms\": 5000, \"queue\": \"\"");
	cluster_send_task(&cluster, 1, 2, 1, "echo", "{\"text\": \"more\", \"n\": 1}",
		"{\"uuid\": \"first\", \"retcode\": 0, \"stdout\": \"before\", \"stderr\": \"old\", \"retval\": {\"kept\": [1], \"n\": 0}}", "");
	cluster_send_task(&cluster, 0, 3, 1, "no.such", "{}", NULL, "");
	cluster_send_task(&cluster, 0, 4, 1, "sleep", "{}", NULL, "");
	cluster_send_task(&cluster, 0, 5, 1, "fail", "{\"code\": 418, \"message\": \"no\", \"retry\": true}", NULL, "");
	cluster_send_task(&cluster, 1, 6, 1, "dice", "{\"sides\": 1}", NULL, "");
	static const char unstamped[] = "{\"uuid\": \"of a stranger\", \"entrypoint\": \"echo\", \"params\": {\"text\": \"x\"}}";
	cluster_send(&cluster, 1, unstamped, strlen(unstamped));
	struct child worker = worker_start(&cluster, NULL);

	struct json_object *reply = cluster_wait_result(&cluster, 1);
	cr_expect_str_eq(plain(member(reply, "result")), "{\"uuid\":\"0190aaaa-0000-7000-8000-000000000001\",\"retcode\":0,\"stdout\":\"hello\\n\",\"stderr\":\"\",\"retval\":{\"text\":\"hello\"}}");
	cr_expect_str_eq(text_member(reply, "entrypoint"), "echo");
	cr_expect_str_eq(text_member(reply, "metadata.note"), "kept", "foreign metadata comes back");
	cr_expect_eq(integer_member(reply, "metadata.kser.gen"), -77);
	cr_expect_eq(integer_member(reply, "metadata.kser.attempt"), 3);
	cr_expect_eq(integer_member(reply, "metadata.kser.limit_ms"), 5000);
	cr_expect_null(member(reply, "metadata.kser.inherited"));

	reply = cluster_wait_result(&cluster, 2);
	cr_expect_str_eq(plain(member(reply, "result")), "{\"uuid\":\"first\",\"retcode\":0,\"stdout\":\"more\\n\",\"stderr\":\"old\",\"retval\":{\"kept\":[1],\"n\":1,\"text\":\"more\"}}");
	cr_expect_str_eq(plain(member(reply, "metadata.kser.inherited")), "{\"stderr\":true,\"retval\":[\"kept\"]}");

	expect_error(&cluster, 3, 400, "ValidationError", "Entrypoint 'no.such' not registered");
	cr_expect_str_eq(plain(member(cluster_wait_result(&cluster, 3), "result.retval.error.extra")), "{\"uuid\":\"0190aaaa-0000-7000-8000-000000000003\",\"entrypoint\":\"no.such\",\"allowed\":[\"dice\",\"echo\",\"fail\",\"sleep\"]}");
	expect_error(&cluster, 4, 400, "ValidationError", "Missing parameter: seconds");
	expect_error(&cluster, 5, 418, "Error", "no");
	cr_expect_str_eq(text_member(cluster_wait_result(&cluster, 5), "metadata.kser.outcome"), "retry");
	cr_expect_eq(integer_member(cluster_wait_result(&cluster, 6), "result.retval.roll"), 1);
	reply = cluster_wait(&cluster, "result", "of a stranger", 1, 10);
	cr_expect_str_eq(text_member(reply, "result.stdout"), "x\n");

	char mark[16];
	cluster_wait_committed(&cluster, 0, 4, 10);
	cluster_wait_committed(&cluster, 1, 3, 10);
	cluster_committed(&cluster, 0, mark);
	cr_expect_str_eq(mark, "kser1");
	cr_expect_eq(program_end(&worker, SIGTERM), 0);
	cluster_close(&cluster);
}

static const char *reason_at(struct cluster *cluster, int partition, int64_t offset, const char **bytes)
{
	(void)cluster_count(cluster, "dead", NULL);
	for (size_t i = 0; i < json_object_array_length(cluster->replies); i++) {
		struct json_object *reply = json_object_array_get_idx(cluster->replies, i);
		if (strcmp(text_member(reply, "metadata.kser.kind"), "dead") != 0 || integer_member(reply, "metadata.kser.partition") != partition ||
			integer_member(reply, "metadata.kser.offset") != offset)
			continue;
		*bytes = text_member(reply, "metadata.kser.bytes");
		cr_expect_str_eq(text_member(reply, "metadata.kser.topic"), "kser.tasks");
		return text_member(reply, "metadata.kser.reason");
	}
	return "";
}

/* Records that cannot be used become dead letters; those around them are run, and the offset passes. */
Test(worker_tasks, poison)
{
	struct cluster cluster;
	cluster_open(&cluster, 1);
	static char large[1024 * 1024 + 1];
	memset(large, ' ', sizeof large);
	memcpy(large, "{\"uuid\":\"x\"}", 12);
	cluster_send_task(&cluster, 0, 1, 1, "echo", "{}", NULL, "");
	cluster_send(&cluster, 0, "{oops", 5);
	cluster_send(&cluster, 0, NULL, 0);
	cluster_send(&cluster, 0, "\xff\0\x01", 3);
	cluster_send_task(&cluster, 0, 2, 1, "echo", "[]", NULL, "");
	cluster_send_task(&cluster, 0, 3, 1, "echo", "{}", "{\"retcode\": \"5\"}", "");
	cluster_send_task(&cluster, 0, 4, 1, "echo", "{}", NULL, ", \"kind\": \"result\", \"worker\": \"w\"");
	cluster_send(&cluster, 0, large, sizeof large);
	cluster_send_task(&cluster, 0, 5, 1, "echo", "{}", NULL, "");
	struct child worker = worker_start(&cluster, NULL);
	cluster_wait_result(&cluster, 1);
	cluster_wait_result(&cluster, 5);
	cluster_wait(&cluster, "dead", NULL, 7, 10);
	const char *bytes;
	cr_expect_not_null(strstr(reason_at(&cluster, 0, 1, &bytes), "1"));
	cr_expect_str_eq(bytes, "e29vcHM=");
	cr_expect_str_eq(reason_at(&cluster, 0, 2, &bytes), "the record is empty");
	cr_expect_str_neq(reason_at(&cluster, 0, 3, &bytes), "");
	cr_expect_str_eq(bytes, "/wAB");
	cr_expect_not_null(strstr(reason_at(&cluster, 0, 4, &bytes), "params"));
	cr_expect_not_null(strstr(reason_at(&cluster, 0, 5, &bytes), "retcode"));
	cr_expect_not_null(strstr(reason_at(&cluster, 0, 6, &bytes), "not a task"));
	cr_expect_not_null(strstr(reason_at(&cluster, 0, 7, &bytes), "1048576"));
	cluster_wait_committed(&cluster, 0, 9, 10);
	cr_expect_eq(cluster_count(&cluster, "result", NULL), 2);
	cr_expect_eq(program_end(&worker, SIGTERM), 0);
	cluster_close(&cluster);
}

Test(worker_tasks, heartbeats)
{
	struct cluster cluster;
	cluster_open(&cluster, 1);
	struct child worker = worker_start(&cluster, (const char *const[]){"--slots=3", NULL});
	struct json_object *beat = cluster_wait(&cluster, "heartbeat", NULL, 1, 10);
	cr_expect_str_eq(text_member(beat, "entrypoint"), "kser.heartbeat");
	cr_expect_eq(integer_member(beat, "metadata.kser.slots"), 3);
	cr_expect_eq(integer_member(beat, "metadata.kser.free"), 3);
	cr_expect_eq(integer_member(beat, "metadata.kser.pid"), worker.pid);
	cr_expect_str_neq(text_member(beat, "metadata.kser.worker"), "");
	cr_expect_str_eq(text_member(beat, "metadata.kser.queue"), "");
	cr_expect_str_eq(plain(member(beat, "metadata.kser.entrypoints")),
		"[{\"name\":\"dice\",\"required\":[]},{\"name\":\"echo\",\"required\":[]},{\"name\":\"fail\",\"required\":[]},{\"name\":\"sleep\",\"required\":[\"seconds\"]}]");
	cr_expect_eq(program_end(&worker, SIGTERM), 0);
	beat = cluster_wait(&cluster, "heartbeat", NULL, 2, 10);
	cr_expect(json_object_get_boolean(member(beat, "metadata.kser.leaving")));
	cluster_close(&cluster);
}

Test(worker_tasks, examples)
{
	struct cluster cluster;
	cluster_open(&cluster, 1);
	cluster_send_task(&cluster, 0, 1, 1, "hello.greet", "{\"name\": \"J\\u00f6rg\"}", NULL, "");
	cluster_send_task(&cluster, 0, 2, 1, "hello.greet", "{\"name\": \"\"}", NULL, "");
	cluster_send_task(&cluster, 0, 3, 1, "plugin.sum", "{\"numbers\": [1, 2, 3.5], \"tell\": true}", NULL, "");
	cluster_send_task(&cluster, 0, 4, 1, "disk.usage", "{\"path\": \"/etc/hostname\"}", NULL, "");
	cluster_send_task(&cluster, 0, 5, 1, "disk.report", "{\"path\": \"/tmp\"}", NULL, "");
	cluster_send_task(&cluster, 0, 6, 1, "web.ping", "{\"url\": \"http://127.0.0.1:1/\"}", NULL, "");
	struct child worker = program_start(&cluster, BUILD_FOLDER "/bin/hello-worker",
		(const char *const[]){"--plugin=" BUILD_FOLDER "/lib/example-plugin.so", "--config=" EXAMPLES_FOLDER "/worker.ini", NULL});
	cr_expect_str_eq(text_member(cluster_wait_result(&cluster, 1), "result.stdout"), "Hello, J\xc3\xb6rg!\n");
	cr_expect_eq(integer_member(cluster_wait_result(&cluster, 1), "result.retval.letters"), 5);
	expect_error(&cluster, 2, 400, "ValidationError", "name: must not be empty");
	struct json_object *sum = cluster_wait_result(&cluster, 3);
	cr_expect_float_eq(json_object_get_double(member(sum, "result.retval.sum")), 6.5, 1e-9);
	cr_expect_str_eq(plain(member(sum, "metadata.kser.tasks")), "[{\"entrypoint\":\"echo\",\"params\":{\"text\":\"the sum is known\"}}]");
	cr_expect_not_null(strstr(text_member(cluster_wait_result(&cluster, 4), "result.stdout"), "/etc/hostname"));
	cr_expect_gt(integer_member(cluster_wait_result(&cluster, 5), "result.retval.bytes"), 0);
	expect_error(&cluster, 6, 503, "ServiceUnavailable", text_member(cluster_wait_result(&cluster, 6), "result.retval.error.message"));
	cr_expect_eq(program_end(&worker, SIGINT), 0);
	cluster_close(&cluster);
}
