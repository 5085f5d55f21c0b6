/* Each step of the vectors is played by entrypoints in C; what it adds to kser's two metrics is what it adds in kser. */

#include <criterion/criterion.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/memory.h"
#include "kser/operation.h"
#include "tests/kser/page.h"
#include "tests/worker/task_text.h"
#include "worker/measures.h"
#include "worker/router.h"

static struct json_object *get(struct json_object *object, const char *key)
{
	return json_object_object_get(object, key);
}

/* --- Entrypoints: what a trigger does stands in the step, for the class of that name. */

static const char *const classes[] = {"Hello", "Code", "Boom", "Late", "Init", "T1", "T2"};
static struct json_object *scripts[COUNT_OF(classes)];

static enum kser_outcome play(struct json_object *const *script, const char *trigger, struct kser_result *result)
{
	struct json_object *what = get(*script, trigger);
	if (get(what, "raise"))
		return kser_result_fail(result, 500, "InternalError", "x");
	if (get(what, "result"))
		kser_result_set_retcode(result, json_object_get_int(get(get(what, "result"), "retcode")));
	return KSER_SUCCESS;
}

#define TRIGGER(name) \
	static enum kser_outcome name(struct kser_task *task, struct kser_result *result, void *context) \
	{ \
		(void)task; \
		return play(context, #name, result); \
	}

TRIGGER(postinit)
TRIGGER(run)
TRIGGER(onsuccess)

static void register_classes(struct kser_worker *worker)
{
	static const char *const name_required[] = {"name", NULL};
	for (size_t i = 0; i < COUNT_OF(classes); i++) {
		char name[50];
		snprintf(name, sizeof name, "jobs.%s", classes[i]);
		const struct kser_entrypoint entrypoint = {KSER_ENTRYPOINT, .name = name, .run = run, .required = i == 0 ? name_required : NULL, .postinit = postinit,
			.onsuccess = onsuccess, .context = &scripts[i]};
		cr_assert(kser_worker_register(worker, &entrypoint));
	}
}

static enum kser_outcome build_tasks(struct kser_operation *operation, struct json_object *arguments, struct kser_result *result, void *context)
{
	(void)arguments;
	(void)context;
	return kser_operation_add(operation, "jobs.T1", NULL, result) && kser_operation_add(operation, "jobs.T2", NULL, result) ? KSER_SUCCESS : KSER_FAILURE;
}

/* --- The worker */

static struct kser_worker *worker;
static struct measures measures;
static struct queue *queue;

static void never(void *context)
{
	(void)context;
}

static void open_worker(void)
{
	int status;
	const struct worker_settings settings = {.metrics_enabled = true, .queue = "", .slots = 1};
	worker = kser_worker_new(0, NULL, &status);
	register_classes(worker);
	cr_assert(kser_worker_register_operation(worker, &(struct kser_operation_class){KSER_OPERATION, .name = "jobs.Op", .build_tasks = build_tasks}));
	queue = queue_new(1, 1, never, NULL);
	measures_open(&measures, &settings, "here", worker_entrypoints(worker), queue);
}

static void close_worker(void)
{
	measures_close(&measures);
	queue_free(queue);
	kser_worker_free(worker);
}

/* --- Steps */

static void set_script(struct json_object *script)
{
	for (size_t i = 0; i < COUNT_OF(classes); i++)
		if (strcmp(classes[i], json_object_get_string(get(script, "name"))) == 0)
			scripts[i] = script;
}

static void run_task(struct json_object *script, struct json_object *params)
{
	char text[500];
	struct kser_result result CLEANUP(result_clear) = {0};
	set_script(script);
	snprintf(text, sizeof text, "{\"uuid\": \"" TASK_UUID "\", \"entrypoint\": \"jobs.%s\", \"params\": %s}", json_object_get_string(get(script, "name")),
		params ? json_object_to_json_string(params) : "{}");
	struct kser_task *task = make_task_of(text);
	(void)!router_run(worker_entrypoints(worker), task, &result);
	task_forget(task);
	task_free(task);
}

static void run_operation(struct json_object *tasks)
{
	struct kser_result result CLEANUP(result_clear) = {0};
	for (size_t i = 0; i < json_object_array_length(tasks); i++)
		set_script(json_object_array_get_idx(tasks, i));
	struct kser_operation *operation = kser_operation_new(worker, "jobs.Op", NULL, NULL, &result);
	cr_assert_eq(kser_operation_build(operation, NULL, &result), KSER_SUCCESS);
	(void)!kser_operation_execute(operation, NULL, &result, NULL);
	kser_operation_free(operation);
}

static void take_step(struct json_object *step)
{
	if (get(step, "entrypoint"))
		run_task(get(step, "entrypoint"), get(step, "params"));
	if (get(step, "tasks"))
		run_operation(get(step, "tasks"));
}

/* --- Expositions */

/* Adds `sign` times the value of a line that is one of kser's two metrics. */
static void add_line(struct json_object *sums, struct slice line, int sign)
{
	char key[500];
	struct json_object *before;
	snprintf(key, sizeof key, "%.*s", (int)line.length, line.start);
	char *space = strrchr(key, ' ');
	if ((strncmp(key, "kser_task_count ", 16) != 0 && strncmp(key, "kser_task_result_total{", 23) != 0) || !space)
		return;
	*space = '\0';
	char *host = strstr(key, "<hostname>");
	if (host) {
		memcpy(host, "here", 4);
		memmove(host + 4, host + 10, strlen(host + 10) + 1);
	}
	int value = (int)strtod(space + 1, NULL) * sign;
	int sum = value + (json_object_object_get_ex(sums, key, &before) ? json_object_get_int(before) : 0);
	if (sum == 0)
		json_object_object_del(sums, key);
	else
		json_object_object_add(sums, key, json_object_new_int(sum));
}

static void add_vector(struct json_object *sums, struct json_object *step, int sign)
{
	struct json_object *lines = get(step, "exposition");
	for (size_t i = 0; lines && i < json_object_array_length(lines); i++)
		add_line(sums, slice_of(json_object_get_string(json_object_array_get_idx(lines, i))), sign);
}

static void add_ours(struct json_object *sums, int sign)
{
	struct buffer out CLEANUP(buffer_clear) = {0};
	metrics_write(measures.metrics, &out);
	for (char *rest = out.bytes, *line; (line = strsep(&rest, "\n"));)
		add_line(sums, slice_of(line), sign);
}

/* Whether the step adds the same to both. */
static bool compare(struct json_object *before, struct json_object *step)
{
	struct json_object *theirs = json_object_new_object(), *ours = json_object_new_object();
	add_vector(theirs, step, 1);
	add_vector(theirs, before, -1);
	add_ours(ours, -1);
	take_step(step);
	add_ours(ours, 1);
	bool equal = json_object_equal(theirs, ours);
	if (!equal)
		printf("%s: kser adds %s, here %s\n", json_object_get_string(get(step, "do")), json_object_to_json_string(theirs), json_object_to_json_string(ours));
	json_object_put(theirs);
	json_object_put(ours);
	return equal;
}

Test(kser_task_metrics, are_counted_alike, .init = open_worker, .fini = close_worker)
{
	struct json_object *file = json_object_from_file(TEST_DATA "/metrics.json"), *before = NULL;
	struct json_object *steps = get(file, "cases");
	int alike = 0;
	for (size_t i = 0; i < json_object_array_length(steps); i++) {
		struct json_object *step = json_object_array_get_idx(steps, i);
		const char *name = json_object_get_string(get(step, "do"));
		bool equal = compare(before, step);
		alike += equal;
		cr_expect_neq(equal, page_lists("metrics", name), "%s", name);
		before = step;
	}
	page_expect_counts("metrics", (int)json_object_array_length(steps), alike);
	json_object_put(file);
}

/* What a worker that plans an operation does is no task of kser's: neither metric counts it. */
Test(kser_task_metrics, operations_never_count, .init = open_worker, .fini = close_worker)
{
	struct json_object *sums = json_object_new_object();
	struct kser_result result CLEANUP(result_clear) = {0};
	struct kser_task *task = make_task_of("{\"uuid\": \"" TASK_UUID "\", \"entrypoint\": \"jobs.Op\"}");
	task->entrypoints = worker_entrypoints(worker);
	cr_expect_eq(router_run(worker_entrypoints(worker), task, &result), KSER_SUCCESS);
	task_forget(task);
	task_free(task);
	add_ours(sums, 1);
	cr_expect_eq(json_object_object_length(sums), 0, "%s", json_object_to_json_string(sums));
	json_object_put(sums);
}
