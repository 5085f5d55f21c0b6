/* Each step of the vectors is played by entrypoints in C; what it adds to kser's two metrics is what it adds in kser. */

#include <criterion/criterion.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/memory.h"
#include "tests/kser/page.h"
#include "tests/worker/task_text.h"
#include "worker/measures.h"
#include "worker/router.h"

static struct json_object *get(struct json_object *object, const char *key)
{
	return json_object_object_get(object, key);
}

/* --- Entrypoints: what a trigger does stands in the step. */

static enum kser_outcome play(struct json_object *script, const char *trigger, struct kser_result *result)
{
	struct json_object *what = get(script, trigger);
	if (get(what, "raise"))
		return kser_result_fail(result, 500, "InternalError", "x");
	kser_result_set_retcode(result, json_object_get_int(get(get(what, "result"), "retcode")));
	return KSER_SUCCESS;
}

#define TRIGGER(name) \
	static enum kser_outcome name(struct kser_task *task, struct kser_result *result, void *context) \
	{ \
		(void)task; \
		return play(*(struct json_object **)context, #name, result); \
	}

TRIGGER(run)
TRIGGER(postinit)

/* Says nothing of the retcode unless it fails. */
static enum kser_outcome onsuccess(struct kser_task *task, struct kser_result *result, void *context)
{
	(void)task;
	struct json_object *what = get(*(struct json_object **)context, "onsuccess");
	return get(what, "raise") ? kser_result_fail(result, 500, "InternalError", "x") : KSER_SUCCESS;
}

static const char *const names[] = {"jobs.Hello", "jobs.Code", "jobs.Boom", "jobs.Late", "jobs.Init", "jobs.T1", "jobs.T2"};
static const char *const name_required[] = {"name", NULL};

static struct entrypoints entrypoints;
static struct json_object *script;
static struct measures measures;
static struct queue *queue;

static void never(void *context)
{
	(void)context;
}

static void open_worker(void)
{
	struct error err;
	const struct worker_settings settings = {.metrics_enabled = true, .queue = "", .slots = 1};
	for (size_t i = 0; i < COUNT_OF(names); i++) {
		const struct kser_entrypoint entrypoint = {KSER_ENTRYPOINT, .name = names[i], .run = run, .required = i == 0 ? name_required : NULL, .postinit = postinit,
			.onsuccess = onsuccess, .context = &script};
		cr_assert_eq(entrypoints_add(&entrypoints, &entrypoint, &err), E_OK);
	}
	queue = queue_new(1, 1, never, NULL);
	measures_open(&measures, &settings, "here", &entrypoints, queue);
}

static void close_worker(void)
{
	measures_close(&measures);
	queue_free(queue);
	entrypoints_clear(&entrypoints);
}

static void run_task(struct json_object *played, struct json_object *params)
{
	char text[500];
	struct kser_result result CLEANUP(result_clear) = {0};
	script = played;
	snprintf(text, sizeof text, "{\"uuid\": \"" TASK_UUID "\", \"entrypoint\": \"jobs.%s\", \"params\": %s}", json_object_get_string(get(played, "name")),
		params ? json_object_to_json_string(params) : "{}");
	struct kser_task *task = make_task_of(text);
	(void)!router_run(&entrypoints, task, &result);
	task_forget(task);
	task_free(task);
}

/* An operation's tasks come one by one, and not after one that failed. */
static void take_step(struct json_object *step)
{
	struct json_object *tasks = get(step, "tasks");
	if (get(step, "entrypoint"))
		run_task(get(step, "entrypoint"), get(step, "params"));
	for (size_t i = 0; tasks && i < json_object_array_length(tasks); i++)
		run_task(json_object_array_get_idx(tasks, i), NULL);
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
