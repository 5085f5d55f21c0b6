#include <criterion/criterion.h>
#include <json-c/json.h>
#include <stdio.h>

#include "common/clock.h"
#include "tests/kser/page.h"
#include "tests/worker/task_text.h"
#include "worker/lifecycle.h"
#include "worker/spans.h"

/* ---- what would be exported: the linker gives the exporter's calls to us ---- */

struct seen {
	struct trace_span at;
	uint8_t parent[8];
	bool has_parent;
	bool failed;
	int64_t start_us, end_us;
	char name[100];
	char error[50];
	char operation[50]; /* of its attributes; "" = none */
};

static struct seen seen[8];
static size_t seen_count;

void __wrap_otlp_add(struct otlp *otlp, const struct span *span);
void __wrap_otlp_add(struct otlp *otlp, const struct span *span)
{
	(void)otlp;
	cr_assert_lt(seen_count, COUNT_OF(seen));
	struct seen *one = &seen[seen_count++];
	*one = (struct seen){.at = span->at, .has_parent = span->parent, .failed = span->failed, .start_us = span->start_us, .end_us = span->end_us};
	if (span->parent)
		memcpy(one->parent, span->parent, sizeof one->parent);
	snprintf(one->name, sizeof one->name, "%.*s", (int)span->name.length, span->name.start);
	if (span->failed)
		snprintf(one->error, sizeof one->error, "%.*s", (int)span->error.length, span->error.start);
	for (size_t i = 0; i < span->attribute_count; i++)
		if (strcmp(span->attributes[i].key, "kser.operation") == 0)
			snprintf(one->operation, sizeof one->operation, "%.*s", (int)span->attributes[i].text.length, span->attributes[i].text.start);
}

/* ---- an entrypoint ---- */

enum way { RUN_WELL, RUN_FAILS, RUN_SAYS_ONE, RUN_SLEEPS, RUN_IS_STOPPED, RUN_EXECUTES };

static struct entrypoints entrypoints;
static struct spans spans;
static enum way way;
static char told[4][TRACEPARENT_SIZE]; /* what the steps are told */

static void note_step(struct kser_task *task, size_t step)
{
	snprintf(told[step], sizeof told[step], "%s", kser_task_traceparent(task));
}

static enum kser_outcome prerun(struct kser_task *task, struct kser_result *result, void *context)
{
	(void)result, (void)context;
	note_step(task, 0);
	return KSER_SUCCESS;
}

static enum kser_outcome postrun(struct kser_task *task, struct kser_result *result, void *context)
{
	(void)result, (void)context;
	note_step(task, 2);
	return KSER_SUCCESS;
}

static enum kser_outcome onsuccess(struct kser_task *task, struct kser_result *result, void *context)
{
	(void)result, (void)context;
	note_step(task, 3);
	return KSER_SUCCESS;
}

static void execute(const char *message)
{
	struct kser_task *task = make_task_of(message);
	struct kser_result result = {0};
	enum kser_outcome outcome = lifecycle_run(&entrypoints, entrypoints.table, task, &result, ERRORS_CAUGHT);
	(void)outcome;
	result_clear(&result);
	task_forget(task);
	task_free(task);
}

static enum kser_outcome run(struct kser_task *task, struct kser_result *result, void *context)
{
	(void)context;
	note_step(task, 1);
	if (way == RUN_FAILS)
		return kser_result_fail(result, 500, "KeyError", "'x'");
	if (way == RUN_SAYS_ONE)
		kser_result_set_retcode(result, 1);
	if (way == RUN_SLEEPS)
		task->due_ms = clock_monotonic_ms() + 60000;
	if (way == RUN_IS_STOPPED)
		task_cancel(task);
	if (way == RUN_EXECUTES) {
		way = RUN_WELL;
		execute("{\"uuid\":\"inner\",\"entrypoint\":\"__main__.DiceRoll\",\"params\":{\"size\":6},\"metadata\":{\"traceparent\":\"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\"}}");
	}
	return KSER_SUCCESS;
}

static void setup(void)
{
	static const char *const required[] = {"size", NULL};
	struct error err;
	struct kser_entrypoint entrypoint = {KSER_ENTRYPOINT, .name = "__main__.DiceRoll", .run = run, .required = required, .prerun = prerun, .postrun = postrun, .onsuccess = onsuccess};
	cr_assert_eq(entrypoints_add(&entrypoints, &entrypoint, &err), E_OK);
	spans_init(&spans, NULL, slice_of("worker"));
	lifecycle_observe(&entrypoints, &spans.observer);
}

static void teardown(void)
{
	entrypoints_clear(&entrypoints);
}

TestSuite(kser_tracing, .init = setup, .fini = teardown);

static void execute_with(const char *uuid, const char *params, const char *metadata)
{
	char text[500];
	snprintf(text, sizeof text, "{\"uuid\":\"%s\",\"entrypoint\":\"__main__.DiceRoll\",\"params\":%s,\"metadata\":%s}", uuid, params, metadata);
	seen_count = 0;
	execute(text);
}

/* ---- kser's vectors ---- */

static struct json_object *get(struct json_object *object, const char *key)
{
	return json_object_object_get(object, key);
}

static bool has_exception(struct json_object *span)
{
	struct json_object *logs = get(span, "logs");
	for (size_t i = 0; i < json_object_array_length(logs); i++)
		if (get(json_object_array_get_idx(logs, i), "python.exception.type"))
			return true;
	return false;
}

static bool ends_with(const char *text, const char *end)
{
	return strlen(text) >= strlen(end) && strcmp(text + strlen(text) - strlen(end), end) == 0;
}

/* One span as kser has it. What is above a task's Execute is `above`, or nothing. */
static void compare(struct json_object *wanted, const struct seen *got, const struct seen *execution, const struct trace_span *above)
{
	const char *name = json_object_get_string(get(wanted, "name"));
	cr_expect_str_eq(got->name, name);
	cr_expect_eq(got->failed, has_exception(wanted), "%s", name);
	cr_expect_arr_eq(got->at.trace, execution->at.trace, sizeof got->at.trace);
	if (got != execution)
		cr_expect(got->has_parent && memcmp(got->parent, execution->at.id, sizeof got->parent) == 0, "%s", name);
	else if (above)
		cr_expect(got->has_parent && memcmp(got->parent, above->id, sizeof got->parent) == 0 && memcmp(got->at.trace, above->trace, sizeof above->trace) == 0, "%s", name);
	else
		cr_expect(!got->has_parent, "%s", name);
}

/* The task whose spans begin at `at`: run as they say, in the metadata that carries its parent. Where its next one begins. */
static size_t play(struct json_object *wanted, size_t at, const char *metadata, const struct trace_span *above)
{
	size_t end = at;
	way = RUN_WELL;
	const char *params = "{\"size\":6}";
	for (;; end++) {
		struct json_object *span = json_object_array_get_idx(wanted, end);
		const char *name = json_object_get_string(get(span, "name"));
		if (has_exception(span) && ends_with(name, " Run"))
			way = RUN_FAILS;
		if (has_exception(span) && ends_with(name, " PreRun"))
			params = "{}";
		if (ends_with(name, " Execute"))
			break;
	}
	char uuid[50];
	const char *bracket = strchr(json_object_get_string(get(json_object_array_get_idx(wanted, at), "name")), '[') + 1;
	snprintf(uuid, sizeof uuid, "%.*s", (int)strcspn(bracket, "]"), bracket);
	execute_with(uuid, params, metadata);
	cr_assert_eq(seen_count, end - at + 1);
	for (size_t i = 0; i < seen_count; i++)
		compare(json_object_array_get_idx(wanted, at + i), &seen[i], &seen[seen_count - 1], above);
	return end + 1;
}

static bool is_tasks(struct json_object *span)
{
	return strncmp(json_object_get_string(get(span, "name")), "DiceRoll[", strlen("DiceRoll[")) == 0;
}

/*
 * The tasks' spans are kser's, all of them. An operation's are not: it has a single one, made by the orchestrator, which is the
 * parent of every task's Execute also where an operation stood in between. Whether there is none of an operation.
 */
static bool same(struct json_object *vector)
{
	struct json_object *wanted = get(vector, "spans_in_finishing_order");
	const char *name = json_object_get_string(get(vector, "name"));
	bool has_operation = strncmp(name, "task", 4) != 0, has_parent = strstr(name, "parent in metadata");
	struct trace_span parent, root;
	char metadata[200] = "{}", text[TRACEPARENT_SIZE];
	cr_assert(trace_read_uber(slice_of("abc:def:0:1"), &parent));
	trace_begin(has_parent ? &parent : NULL, &root);
	trace_write_traceparent(&root, text);
	if (has_operation)
		snprintf(metadata, sizeof metadata, "{\"traceparent\":\"%s\"}", text);
	else if (has_parent)
		snprintf(metadata, sizeof metadata, "{\"__parent-span__\":{\"uber-trace-id\":\"abc:def:0:1\"}}");
	size_t of_operations = 0;
	for (size_t at = 0; at < json_object_array_length(wanted);) {
		if (is_tasks(json_object_array_get_idx(wanted, at))) {
			at = play(wanted, at, metadata, has_operation ? &root : has_parent ? &parent : NULL);
		} else {
			of_operations++;
			at++;
		}
	}
	return of_operations == 0;
}

Test(kser_tracing, tasks_have_the_same_spans)
{
	struct json_object *file = json_object_from_file(TEST_DATA "/tracing.json");
	struct json_object *cases = get(file, "cases");
	int alike = 0;
	for (size_t i = 0; i < json_object_array_length(cases); i++) {
		struct json_object *vector = json_object_array_get_idx(cases, i);
		bool equal = same(vector);
		alike += equal;
		cr_expect_neq(equal, page_lists("tracing", json_object_get_string(get(vector, "name"))), "%s", json_object_get_string(get(vector, "name")));
	}
	page_expect_counts("tracing", (int)json_object_array_length(cases), alike);
	json_object_put(file);
}

/* ---- what kser has not ---- */

Test(kser_tracing, each_step_is_told_its_own_span)
{
	char text[TRACEPARENT_SIZE];
	way = RUN_WELL;
	execute_with("one", "{\"size\":6}", "{}");
	for (size_t i = 0; i < COUNT_OF(told); i++) {
		trace_write_traceparent(&seen[i].at, text);
		cr_expect_str_eq(told[i], text);
	}
}

/* Where nobody else exports, the operation's id is the trace's. */
Test(kser_tracing, without_a_parent_it_is_in_the_operations_trace)
{
	uuid_t operation;
	way = RUN_WELL;
	execute_with("0190aaaa-0000-7000-8000-000000000001", "{\"size\":6}", "{\"kser\":{\"op\":\"" OPERATION_UUID "\",\"pos\":0,\"attempt\":1,\"gen\":1,\"epoch\":1}}");
	cr_assert_eq(uuid_parse(OPERATION_UUID, operation), 0);
	cr_expect_arr_eq(seen[3].at.trace, operation, sizeof operation);
	cr_expect(!seen[3].has_parent);
	cr_expect_str_eq(seen[3].operation, OPERATION_UUID);
}

Test(kser_tracing, a_retcode_alone_is_a_failure_too)
{
	way = RUN_SAYS_ONE;
	execute_with("one", "{\"size\":6}", "{}");
	cr_assert_eq(seen_count, 4);
	cr_expect(!seen[1].failed && !seen[2].failed && seen[3].failed);
}

Test(kser_tracing, a_task_that_sleeps_without_a_thread_takes_its_time)
{
	way = RUN_SLEEPS;
	execute_with("one", "{\"size\":6}", "{}");
	cr_expect_gt(seen[1].end_us - seen[1].start_us, 59000000);
	cr_expect_geq(seen[2].start_us, seen[1].end_us);
	cr_expect_geq(seen[3].end_us, seen[2].end_us);
}

Test(kser_tracing, one_that_was_told_to_end_says_so)
{
	way = RUN_IS_STOPPED;
	execute_with("one", "{\"size\":6}", "{}");
	cr_expect(!seen[0].failed && seen[1].failed && seen[3].failed);
	cr_expect_str_eq(seen[3].error, "Stopped");
}

Test(kser_tracing, what_code_executes_is_below_its_step)
{
	way = RUN_EXECUTES;
	execute_with("outer", "{\"size\":6}", "{}");
	cr_assert_eq(seen_count, 8);
	cr_expect_str_eq(seen[4].name, "DiceRoll[inner] - Execute");
	cr_expect_str_eq(seen[5].name, "DiceRoll[outer] - Run");
	cr_expect_arr_eq(seen[4].parent, seen[5].at.id, sizeof seen[4].parent);
	cr_expect_arr_eq(seen[4].at.trace, seen[7].at.trace, sizeof seen[4].at.trace);
}

/* This worker exports nothing: what the message says goes on. */
Test(kser_tracing, without_spans_the_message_is_passed_on)
{
	way = RUN_WELL;
	entrypoints.observer_count = 0;
	execute_with("one", "{\"size\":6}", "{\"traceparent\":\"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00\"}");
	cr_expect_str_eq(told[1], "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00");
	execute_with("one", "{\"size\":6}", "{\"__parent-span__\":{\"uber-trace-id\":\"abc:def:0:1\"}}");
	cr_expect_str_eq(told[1], "00-00000000000000000000000000000abc-0000000000000def-01");
	execute_with("one", "{\"size\":6}", "{}");
	cr_expect_str_eq(told[1], "");
	cr_expect_eq(seen_count, 0);
}
