#include <criterion/criterion.h>
#include <json-c/json.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/limits.h"
#include "tests/worker/nested.h"
#include "tests/worker/task_text.h"
#include "worker/made.h"
#include "worker/router.h"
#include "worker/stock.h"

static struct kser_worker *worker;

static enum kser_outcome say(struct kser_task *task, struct kser_result *result, void *context)
{
	(void)context;
	kser_result_print(result, "%s", kser_task_text(task, "word", "nothing"));
	kser_result_put_text(result, "of", kser_task_operation(task));
	return KSER_SUCCESS;
}

static enum kser_outcome fail_always(struct kser_task *task, struct kser_result *result, void *context)
{
	(void)task;
	(void)context;
	return kser_result_fail(result, 404, "NotFound", "gone");
}

static enum kser_outcome inner_tasks(struct kser_operation *operation, struct json_object *arguments, struct kser_result *result, void *context)
{
	(void)context;
	struct json_object *params = json_object_new_object();
	json_object_object_add(params, "word", json_object_get(json_object_object_get(arguments, "word")));
	return kser_operation_add(operation, "say", params, result) ? KSER_SUCCESS : KSER_FAILURE;
}

static enum kser_outcome add_nested(struct kser_operation *operation, struct json_object *arguments, struct kser_result *result)
{
	struct kser_operation *nested = kser_operation_new(worker, "inner", NULL, json_object_get(arguments), result);
	kser_operation_add_task(operation, kser_operation_task(nested));
	return kser_operation_build(nested, arguments, result);
}

static enum kser_outcome outer_tasks(struct kser_operation *operation, struct json_object *arguments, struct kser_result *result, void *context)
{
	(void)context;
	struct kser_task *task = kser_operation_add(operation, "elsewhere", NULL, result);
	cr_assert(kser_task_set_option(task, "queue", json_object_new_string("cpu")));
	cr_assert(kser_task_set_option(task, "queue", json_object_new_string("gpu"))); /* the last one counts */
	cr_assert_not(kser_task_set_option(task, "queue", json_object_new_int(7)));
	cr_assert_not(kser_task_set_option(task, "colour", json_object_new_string("red")));
	cr_assert(kser_task_set_metadata(task, json_tokener_parse("{\"ticket\": 7}")));
	enum kser_outcome outcome = kser_operation_add_tasks_of(operation, "inner", json_object_get(arguments), result);
	return outcome ? outcome : add_nested(operation, arguments, result);
}

static enum kser_outcome too_many(struct kser_operation *operation, struct json_object *arguments, struct kser_result *result, void *context)
{
	(void)arguments;
	(void)context;
	for (int i = 0; i <= OPERATION_TASKS_MAX; i++)
		if (!kser_operation_add(operation, "say", NULL, result))
			return KSER_FAILURE;
	return KSER_SUCCESS;
}

static enum kser_outcome bad_name(struct kser_operation *operation, struct json_object *arguments, struct kser_result *result, void *context)
{
	(void)arguments;
	(void)context;
	kser_operation_add(operation, "", NULL, result);
	return KSER_SUCCESS;
}

static int errors_told; /* by operations and by the entrypoint `lose` */

static enum kser_outcome fail_at_birth(struct kser_operation *operation, struct kser_result *result, void *context)
{
	(void)operation;
	(void)context;
	return kser_result_fail(result, 409, "Conflict", "not today");
}

static enum kser_outcome note_operation_error(struct kser_operation *operation, struct kser_result *result, void *context)
{
	(void)operation;
	(void)result;
	(void)context;
	errors_told++;
	return KSER_SUCCESS;
}

static enum kser_outcome note_error(struct kser_task *task, struct kser_result *result, void *context)
{
	(void)task;
	(void)result;
	(void)context;
	errors_told++;
	return KSER_SUCCESS;
}

/* Runs another entrypoint in its own run: params entrypoint, params. */
static enum kser_outcome delegate(struct kser_task *task, struct kser_result *result, void *context)
{
	(void)context;
	struct kser_result *made = kser_result_new();
	struct json_object *params = json_object_object_get(kser_task_params(task), "params");
	struct kser_task *inner = kser_task_new(kser_task_worker(task), kser_task_text(task, "entrypoint", ""), NULL, json_object_get(params), result);
	enum kser_outcome outcome = inner ? kser_execute(inner, NULL, made, task) : KSER_FAILURE;
	kser_result_add(result, made);
	kser_task_free(inner);
	kser_result_free(made);
	return outcome;
}

static void setup(void)
{
	int status;
	struct error err;
	static const char *const required[] = {"word", NULL};
	worker = kser_worker_new(0, NULL, &status);
	cr_assert_eq(stock_add(worker_entrypoints(worker), &err), E_OK);
	cr_assert(kser_worker_register(worker, &(struct kser_entrypoint){KSER_ENTRYPOINT, .name = "say", .run = say}));
	cr_assert(kser_worker_register(worker, &(struct kser_entrypoint){KSER_ENTRYPOINT, .name = "lose", .run = fail_always, .onerror = note_error}));
	cr_assert(kser_worker_register(worker, &(struct kser_entrypoint){KSER_ENTRYPOINT, .name = "delegate", .run = delegate}));
	cr_assert(kser_worker_register_operation(worker, &(struct kser_operation_class){KSER_OPERATION, .name = "inner", .build_tasks = inner_tasks, .required = required}));
	cr_assert(kser_worker_register_operation(worker, &(struct kser_operation_class){KSER_OPERATION, .name = "outer", .build_tasks = outer_tasks}));
	cr_assert(kser_worker_register_operation(worker, &(struct kser_operation_class){KSER_OPERATION, .name = "many", .build_tasks = too_many}));
	cr_assert(kser_worker_register_operation(worker, &(struct kser_operation_class){KSER_OPERATION, .name = "born", .build_tasks = inner_tasks,
		.postinit = fail_at_birth, .onerror = note_operation_error}));
	cr_assert(kser_worker_register_operation(worker, &(struct kser_operation_class){KSER_OPERATION, .name = "bad", .build_tasks = bad_name}));
}

static void teardown(void)
{
	kser_worker_free(worker);
}

TestSuite(operation, .init = setup, .fini = teardown, .timeout = 30);

/* The reply of a task that an orchestrator sent; its params as text. */
static struct json_object *reply_to(const char *entrypoint, const char *params)
{
	struct kser_task *task = make_task(params, NULL, "");
	struct kser_result result CLEANUP(result_clear) = {0};
	struct answer answer CLEANUP(answer_clear) = {0};
	char quoted[100];
	snprintf(quoted, sizeof quoted, "\"%s\"", entrypoint);
	task->message.entrypoint = (struct json_value){JSON_STRING, slice_of(quoted)};
	task->entrypoints = worker_entrypoints(worker);
	enum kser_outcome outcome = router_run(task->entrypoints, task, &result);
	answer_make(&answer, task, outcome, &result, slice_of("w"));
	struct json_object *reply = json_tokener_parse(answer.record.bytes);
	cr_assert_not_null(reply, "%s", answer.record.bytes);
	task_forget(task);
	task_free(task);
	return reply;
}

static struct json_object *result_of(struct json_object *reply, const char *member)
{
	return json_object_object_get(json_object_object_get(reply, "result"), member);
}

static struct json_object *plan_of(struct json_object *reply)
{
	return json_object_object_get(json_object_object_get(json_object_object_get(reply, "metadata"), "kser"), "tasks");
}

/* Tasks of other classes and of nested operations stand in the one list, behind what was there. */
Test(operation, a_plan_is_flat)
{
	struct json_object *reply = reply_to("outer", "{\"word\": \"hello\"}");
	cr_expect_str_eq(json_object_to_json_string_ext(plan_of(reply), JSON_C_TO_STRING_PLAIN),
		"[{\"entrypoint\":\"elsewhere\",\"params\":{},\"metadata\":{\"ticket\":7},\"queue\":\"gpu\"},"
		"{\"entrypoint\":\"say\",\"params\":{\"word\":\"hello\"}},{\"entrypoint\":\"say\",\"params\":{\"word\":\"hello\"}}]");
	cr_expect_eq(json_object_get_int(result_of(reply, "retcode")), 0);
	json_object_put(reply);
}

static void expect_failure(const char *entrypoint, const char *params, int retcode, const char *text)
{
	struct json_object *reply = reply_to(entrypoint, params);
	cr_expect_eq(json_object_get_int(result_of(reply, "retcode")), retcode, "%s", entrypoint);
	cr_expect_str_eq(json_object_get_string(result_of(reply, "stderr")), text);
	cr_expect_null(plan_of(reply));
	json_object_put(reply);
}

Test(operation, plans_that_cannot_be)
{
	expect_failure("inner", "{}", 400, "Missing parameter: word for inner");
	expect_failure("outer", "{}", 400, "Missing parameter: word for inner");
	expect_failure("many", "{}", 400, "the operation has more than 10000 tasks");
	expect_failure("born", "{}", 409, "not today");
	expect_failure("bad", "{}", 400, "entrypoint: must have 1 to 255 bytes, not 0");
}

Test(operation, an_entrypoint_runs_another_one)
{
	struct json_object *reply = reply_to("delegate", "{\"entrypoint\": \"say\", \"params\": {\"word\": \"inner\"}}");
	cr_expect_str_eq(json_object_get_string(result_of(reply, "stdout")), "inner\n");
	cr_expect_str_eq(json_object_to_json_string_ext(result_of(reply, "retval"), JSON_C_TO_STRING_PLAIN), "{\"of\":\"" OPERATION_UUID "\"}");
	json_object_put(reply);
	expect_failure("delegate", "{\"entrypoint\": \"lose\", \"params\": {}}", 404, "gone");
	expect_failure("delegate", "{\"entrypoint\": \"nobody\", \"params\": {}}", 400, "Entrypoint 'nobody' not registered");
}

static void *cancel_soon(void *task)
{
	while (!atomic_load(&((struct kser_task *)task)->started_ms))
		;
	task_cancel(task);
	return NULL;
}

/* Who is told to end tells what runs within it: the inner task would sleep for an hour. */
Test(operation, a_cancelled_task_ends_the_inner_one)
{
	pthread_t thread;
	struct kser_task *task = make_task("{\"entrypoint\": \"sleep\", \"params\": {\"seconds\": 3600}}", NULL, "");
	struct kser_result result CLEANUP(result_clear) = {0};
	task->message.entrypoint = (struct json_value){JSON_STRING, slice_of("\"delegate\"")};
	task->entrypoints = worker_entrypoints(worker);
	cr_assert_eq(pthread_create(&thread, NULL, cancel_soon, task), 0);
	cr_expect_eq(router_run(task->entrypoints, task, &result), KSER_SUCCESS);
	cr_expect(kser_task_cancelled(task));
	pthread_join(thread, NULL);
	task_forget(task);
	task_free(task);
}

Test(operation, a_message_and_back)
{
	struct kser_result result CLEANUP(result_clear) = {0};
	struct kser_task *task = kser_task_new(worker, "say", "872c3be0-51ac-457f-a4d9-12c2f7667b80", json_tokener_parse("{\"word\": \"h\u00e9\"}"), &result);
	cr_assert(kser_task_set_metadata(task, json_tokener_parse("{\"a\": 1}")));
	cr_expect_eq(kser_execute(task, NULL, &result, NULL), KSER_SUCCESS);
	char *text = kser_task_to_message(task, &result);
	cr_expect_str_eq(text, "{\"uuid\":\"872c3be0-51ac-457f-a4d9-12c2f7667b80\",\"entrypoint\":\"say\",\"params\":{\"word\":\"h\u00e9\"},"
		"\"result\":{\"uuid\":\"872c3be0-51ac-457f-a4d9-12c2f7667b80\",\"retcode\":0,\"stdout\":\"h\u00e9\\n\",\"stderr\":\"\",\"retval\":{\"of\":\"\"}},\"metadata\":{\"a\":1}}");
	struct kser_task *again = kser_task_from_message(worker, text, strlen(text), &result);
	char *twice = kser_task_to_message(again, NULL);
	cr_expect_str_eq(twice, text);
	cr_expect_null(kser_task_from_message(worker, "{}", 2, &result));
	cr_expect_eq(result.retcode, 400);
	free(text);
	free(twice);
	kser_task_free(task);
	kser_task_free(again);
}

Test(operation, registrations_that_cannot_be)
{
	cr_expect_not(kser_worker_register_operation(worker, &(struct kser_operation_class){KSER_OPERATION, .name = "nothing"}));
	cr_expect_not(kser_worker_register_operation(worker, &(struct kser_operation_class){KSER_OPERATION, .name = "say", .build_tasks = inner_tasks}));
	cr_expect_not(kser_worker_register_operation(worker, &(struct kser_operation_class){KSER_OPERATION, .name = "", .build_tasks = inner_tasks}));
	/* A control character in UTF-8: no message can name it. */
	cr_expect_not(kser_worker_register_operation(worker, &(struct kser_operation_class){KSER_OPERATION, .name = "next\xC2\x85line", .build_tasks = inner_tasks}));
	struct kser_result result CLEANUP(result_clear) = {0};
	cr_expect_null(kser_operation_new(worker, "say", NULL, NULL, &result));
	cr_expect_str_eq(kser_result_stderr(&result), "'say' is not registered as an operation");
}

/* Planned, what becomes of it is the orchestrator's; in process its onerror is told, and nothing goes on. */
Test(operation, whose_postinit_fails)
{
	struct kser_result result CLEANUP(result_clear) = {0};
	expect_failure("born", "{}", 409, "not today");
	cr_expect_eq(errors_told, 0);
	struct kser_operation *operation = kser_operation_new(worker, "born", NULL, NULL, NULL);
	cr_expect_eq(errors_told, 1);
	cr_expect_eq(kser_operation_build(operation, NULL, &result), KSER_FAILURE);
	cr_expect_eq(result.retcode, 409);
	cr_expect_eq(kser_operation_count(operation), 0);
	result_clear(&result);
	cr_expect_eq(kser_operation_launch(operation, &result), KSER_FAILURE);
	cr_expect_eq(result.retcode, 409);
	cr_expect_eq(errors_told, 1);
	kser_operation_free(operation);
}

/* Between tasks, too, the time limit and the cancellation of the task hold in whose run it is executed. */
Test(operation, ends_with_the_task_that_it_is_within)
{
	struct kser_result result CLEANUP(result_clear) = {0};
	struct kser_task *within = make_task("{}", NULL, ", \"limit_ms\": 1000");
	struct kser_operation *operation = kser_operation_new(worker, "many", NULL, NULL, &result);
	cr_assert(kser_operation_add(operation, "say", NULL, &result));
	cr_expect_eq(kser_operation_execute(operation, NULL, &result, within), KSER_SUCCESS);
	within->started_ms -= 2000;
	cr_expect_eq(kser_operation_execute(operation, NULL, &result, within), KSER_FAILURE);
	cr_expect_eq(result.retcode, 504);
	task_cancel(within);
	cr_expect_neq(kser_operation_execute(operation, NULL, &result, within), KSER_SUCCESS);
	cr_expect_eq(result.retcode, 503);
	cr_expect_str_eq(kser_operation_status(operation), "FAILED");
	kser_operation_free(operation);
	task_forget(within);
	task_free(within);
}

/* Its stamp lies in the outer one's record, which is gone when the task is executed again. */
Test(operation, nothing_of_the_outer_task_stays)
{
	struct kser_result result CLEANUP(result_clear) = {0};
	struct kser_task *within = make_task("{}", NULL, ", \"queue\": \"q\""), *task = kser_task_new(worker, "say", NULL, NULL, &result);
	task_cancel(within);
	(void)kser_execute(task, NULL, &result, within);
	task_forget(within);
	task_free(within);
	cr_expect_str_eq(kser_task_operation(task), "");
	cr_expect_eq(task->message.stamp.queue.length, 0);
	cr_expect_not(kser_task_cancelled(task));
	cr_expect_eq(kser_execute(task, NULL, &result, NULL), KSER_SUCCESS);
	kser_task_free(task);
}

/* A value that is as deep as one may be is still a value, but no message holds it with what is around it. */
Test(operation, results_that_are_too_deep_are_not_lost_in_silence)
{
	struct kser_result previous CLEANUP(result_clear) = {0}, result CLEANUP(result_clear) = {0};
	struct kser_task *task = kser_task_new(worker, "say", NULL, NULL, &result);
	kser_result_put(&previous, "deep", nested_arrays(JSON_DEPTH_MAX));
	struct json_object *whole = kser_result_object(&previous);
	cr_expect_not_null(whole);
	json_object_put(whole);
	cr_expect_eq(kser_execute(task, &previous, &result, NULL), KSER_FAILURE);
	cr_expect_eq(result.retcode, 500);
	cr_expect_not_null(strstr(kser_result_stderr(&result), "levels"), "%s", kser_result_stderr(&result));
	cr_expect_str_empty(kser_result_stdout(&result));
	kser_task_free(task);
}

/* Adding is refused at the limit, so that no number makes a worker run out of memory. */
Test(operation, takes_no_more_than_a_plan_may_have)
{
	struct kser_result result CLEANUP(result_clear) = {0}, other CLEANUP(result_clear) = {0};
	struct kser_operation *operation = kser_operation_new(worker, "many", NULL, NULL, &result);
	for (int i = 0; i < OPERATION_TASKS_MAX; i++)
		cr_assert(kser_operation_add(operation, "say", NULL, &result));
	struct kser_task *task = kser_task_new(worker, "say", NULL, NULL, &result);
	cr_expect_not(kser_operation_add_task(operation, task));
	cr_expect_eq(kser_operation_execute(operation, NULL, &other, NULL), KSER_FAILURE);
	cr_expect_eq(other.retcode, 400);
	cr_expect_str_eq(kser_result_stderr(&other), "the operation has more than 10000 tasks");
	result_clear(&other);
	for (int i = 0; i < OPERATION_TASKS_MAX; i++)
		kser_result_add_task(&other, "say", NULL);
	kser_result_add_task(&result, "say", NULL);
	kser_result_add(&result, &other);
	cr_expect_eq(result.retcode, 400);
	cr_expect_eq(result.task_count, 1);
	kser_task_free(task);
	kser_operation_free(operation);
}

/* A task that an orchestrator sent is not one's own. */
Test(operation, tasks_from_the_broker_are_left_alone)
{
	struct kser_result result CLEANUP(result_clear) = {0};
	struct kser_task *task = make_task("{}", NULL, "");
	task->entrypoints = worker_entrypoints(worker);
	cr_expect_not(kser_task_set_metadata(task, json_object_new_object()));
	cr_expect_not(kser_task_set_result(task, json_object_new_object()));
	cr_expect_not(kser_task_set_option(task, "queue", json_object_new_string("q")));
	cr_expect_eq(kser_execute(task, NULL, &result, NULL), KSER_FAILURE);
	cr_expect_eq(result.retcode, 400);
	task_free(task);
}

/* What becomes of it is decided elsewhere. */
Test(operation, onerror_is_not_told_of_a_cancelled_task)
{
	struct kser_result result CLEANUP(result_clear) = {0};
	struct kser_task *task = make_task("{}", NULL, "");
	task->message.entrypoint = (struct json_value){JSON_STRING, slice_of("\"lose\"")};
	task_cancel(task);
	cr_expect_eq(router_run(worker_entrypoints(worker), task, &result), KSER_FAILURE);
	cr_expect_eq(errors_told, 0);
	task_forget(task);
	task_free(task);
}
