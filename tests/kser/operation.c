#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "tests/kser/play.h"
#include "worker/made.h"
#include "worker/router.h"

struct run {
	struct play play;
	struct json_object *vector;
	struct kser_operation *operation;
	struct kser_result result;
	struct json_object *found; /* members as in the vector */
};

static void set(struct run *run, const char *key, struct json_object *value)
{
	json_object_object_add(run->found, key, value);
}

static void set_raised(struct run *run)
{
	struct json_object *object = kser_result_object(&run->result);
	set(run, "raised", json_object_get(vectors_get(vectors_get(object, "retval"), "error")));
	json_object_put(object);
}

/* ---- making ---- */

/* What each uuid does, nested ones too. */
static void take_behaviours(struct run *run, struct json_object *tasks)
{
	for (size_t i = 0; tasks && i < json_object_array_length(tasks); i++) {
		struct json_object *entry = json_object_array_get_idx(tasks, i), *inner = vectors_get(entry, "operation");
		struct json_object *behaviour = inner ? inner : entry;
		if (inner) {
			json_object_object_add(inner, "tasks", json_object_get(vectors_get(entry, "tasks")));
			take_behaviours(run, vectors_get(entry, "tasks"));
			play_register_operation(&run->play, inner);
		} else {
			play_register(&run->play, entry);
		}
		json_object_object_add(run->play.behaviours, vectors_text(behaviour, "uuid"), json_object_get(behaviour));
	}
}

static void prepare(struct run *run)
{
	struct json_object *outer = vectors_get(run->vector, "operation"), *compute = vectors_get(run->vector, "compute");
	json_object_object_add(outer, "outer", json_object_new_boolean(true));
	json_object_object_add(outer, "tasks", json_object_get(vectors_get(run->vector, "tasks")));
	if (compute)
		json_object_object_add(outer, "compute", json_object_get(compute));
	take_behaviours(run, vectors_get(run->vector, "tasks"));
	for (size_t i = 0; compute && i < json_object_array_length(compute); i++) {
		struct json_object *inner = json_object_array_get_idx(compute, i);
		take_behaviours(run, vectors_get(inner, "tasks"));
		play_register_operation(&run->play, inner);
		json_object_object_add(run->play.behaviours, vectors_text(inner, "uuid"), json_object_get(inner));
	}
	play_register_operation(&run->play, outer);
	json_object_object_add(run->play.behaviours, vectors_text(outer, "uuid"), json_object_get(outer));
}

static bool build(struct run *run)
{
	struct json_object *outer = vectors_get(run->vector, "operation");
	char name[100];
	snprintf(name, sizeof name, "jobs.%s", vectors_text(outer, "name"));
	run->operation = kser_operation_new(run->play.worker, name, vectors_text(outer, "uuid"), json_object_get(vectors_get(outer, "params")), &run->result);
	cr_assert_not_null(run->operation);
	int times = vectors_get(run->vector, "build_times") ? json_object_get_int(vectors_get(run->vector, "build_times")) : 1;
	for (int i = 0; i < times; i++)
		if (kser_operation_build(run->operation, vectors_get(run->vector, "build"), &run->result))
			return false;
	return true;
}

/* ---- executing ---- */

static void execute(struct run *run)
{
	struct json_object *given = vectors_get(run->vector, "previous");
	struct kser_task *before = NULL;
	struct kser_result previous CLEANUP(result_clear) = {0};
	if (given) {
		before = kser_task_new(run->play.worker, "jobs.Before", NULL, NULL, NULL);
		cr_assert(kser_task_set_result(before, json_object_get(given)));
		made_load_result(before, &previous);
	}
	enum kser_outcome outcome = kser_operation_execute(run->operation, given ? &previous : NULL, &run->result, NULL);
	cr_expect_eq(outcome == KSER_SUCCESS, run->result.retcode == 0, "%s", vectors_text(run->vector, "name"));
	set(run, "final", kser_result_object(&run->result));
	kser_task_free(before);
}

/* ---- a chain: sending, statuses and what follows a failure are the caller's ---- */

static struct json_object *launched(struct run *run, struct kser_result *result, enum kser_outcome outcome, size_t sent)
{
	struct json_object *wire = run->play.wire, *object = NULL;
	if (outcome || json_object_array_length(wire) > sent)
		object = kser_result_object(result);
	if (object && json_object_array_length(wire) > sent)
		json_object_object_add(object, "uuid", json_object_get(vectors_get(json_object_array_get_idx(wire, sent), "uuid")));
	return object;
}

static struct kser_task *task_of(struct run *run, const char *uuid)
{
	struct kser_task *task = NULL, *at;
	for (size_t i = 0; !task && (at = kser_operation_at(run->operation, i)); i++)
		if (strcmp(kser_task_uuid(at), uuid) == 0)
			task = at;
	cr_assert_not_null(task, "%s", uuid);
	return task;
}

static void route(struct run *run, struct json_object *message, struct kser_result *result)
{
	const char *text = json_object_to_json_string_ext(message, JSON_C_TO_STRING_PLAIN);
	struct kser_task *task = kser_task_from_message(run->play.worker, text, strlen(text), result);
	cr_assert_not_null(task);
	if (router_run(task->entrypoints, task, result) != KSER_SUCCESS)
		cr_assert_neq(result->retcode, 0);
	result_close(result);
	kser_task_free(task);
}

static struct json_object *step(struct run *run, struct json_object *message)
{
	struct json_object *found = json_object_new_object(), *wire = run->play.wire;
	struct kser_result result CLEANUP(result_clear) = {0}, next CLEANUP(result_clear) = {0};
	size_t sent = json_object_array_length(wire);
	struct kser_task *task = task_of(run, vectors_text(message, "uuid"));
	route(run, message, &result);
	bool well = result.retcode < 300;
	kser_task_set_status(task, well ? "SUCCESS" : "FAILED");
	json_object_object_add(found, "task", json_object_get(vectors_get(message, "uuid")));
	json_object_object_add(found, "result", kser_result_object(&result));
	json_object_object_add(found, "task_status", json_object_new_string(kser_task_status(task)));
	json_object_object_add(found, "sent", NULL);
	if (well || strcmp(vectors_text(run->vector, "policy"), "always") == 0) {
		enum kser_outcome outcome = kser_operation_launch_next(run->operation, task, &result, &next);
		json_object_object_add(found, "launch_next_returned", launched(run, &next, outcome, sent));
		if (json_object_array_length(wire) > sent)
			json_object_object_add(found, "sent", json_object_get(vectors_get(json_object_array_get_idx(wire, sent), "uuid")));
	} else {
		kser_operation_change_status(run->operation, "FAILED", &result);
	}
	return found;
}

static void chain(struct run *run)
{
	struct json_object *steps = json_object_new_array();
	enum kser_outcome outcome = kser_operation_launch(run->operation, &run->result);
	set(run, "launch", launched(run, &run->result, outcome, 0));
	for (size_t i = 0; i < json_object_array_length(run->play.wire); i++)
		json_object_array_add(steps, step(run, json_object_array_get_idx(run->play.wire, i)));
	set(run, "steps", steps);
}

/* ---- comparing ---- */

static void note_statuses(struct run *run)
{
	struct json_object *statuses = json_object_new_array();
	if (vectors_get(run->found, "raised")) {
		set(run, "task_status_after", statuses);
		return;
	}
	for (size_t i = 0; i < kser_operation_count(run->operation); i++) {
		struct kser_task *task = kser_operation_at(run->operation, i);
		struct json_object *pair = json_object_new_array();
		json_object_array_add(pair, json_object_new_string(kser_task_uuid(task)));
		json_object_array_add(pair, json_object_new_string(kser_task_status(task)));
		json_object_array_add(statuses, pair);
	}
	set(run, "task_status_after", statuses);
	set(run, "task_count", json_object_new_int((int)kser_operation_count(run->operation)));
	set(run, "status_after", json_object_new_string(kser_operation_status(run->operation)));
}

/* Records stand as <raw>; arguments as Python writes them. */
static struct json_object *comparable(struct json_object *logs)
{
	for (size_t i = 0; i < json_object_array_length(logs); i++) {
		struct json_object *line = json_object_array_get_idx(logs, i);
		char text[3000];
		snprintf(text, sizeof text, "%s", vectors_text(line, "message"));
		if (strncmp(text, "Controller.ReceivedFromKafka: ", 30) == 0)
			text[30] = '\0';
		char *arguments = strstr(text, ".PreBuild: ") ? strchr(text, '{') : NULL;
		size_t kept = 0;
		for (char *at = arguments; at && *at; at++)
			if (*at != ' ')
				arguments[kept++] = *at == '\'' ? '"' : *at;
		if (arguments)
			arguments[kept] = '\0';
		json_object_object_add(line, "message", json_object_new_string(text));
	}
	return logs;
}

static const char *compare(struct run *run)
{
	static const char *const members[] = {"raised", "final", "launch", "wire", "steps", "statuses", "task_count", "status_after", "task_status_after", "build_tasks_received"};
	struct json_object *calls = play_wanted_calls(vectors_get(run->vector, "triggers"), ""), *logs = comparable(play_wanted_logs(vectors_get(run->vector, "logs"), "")),
		*written = comparable(play_logs(&run->play, false));
	const char *differs = NULL;
	for (size_t i = 0; !differs && i < COUNT_OF(members); i++) {
		struct json_object *wanted = vectors_get(run->vector, members[i]), *found = vectors_get(run->found, members[i]);
		if (strcmp(members[i], "raised") == 0 && wanted && found) {
			wanted = vectors_get(wanted, "message");
			found = vectors_get(found, "message");
		}
		differs = vectors_difference(members[i], wanted, found);
	}
	if (!differs)
		differs = vectors_difference("calls", calls, run->play.calls);
	if (!differs)
		differs = vectors_difference("logs", logs, written);
	json_object_put(calls);
	json_object_put(logs);
	json_object_put(written);
	return differs;
}

static const char *same(struct json_object *vector)
{
	struct run run = {.vector = vector, .found = json_object_new_object()};
	play_begin(&run.play);
	prepare(&run);
	if (!build(&run))
		set_raised(&run);
	else if (strcmp(vectors_text(vector, "kind"), "chain") == 0)
		chain(&run);
	else
		execute(&run);
	note_statuses(&run);
	set(&run, "statuses", json_object_get(run.play.statuses));
	set(&run, "wire", json_object_get(run.play.wire));
	if (!vectors_get(run.found, "raised"))
		set(&run, "build_tasks_received", json_object_get(run.play.received));
	const char *differs = compare(&run);
	kser_operation_free(run.operation);
	result_clear(&run.result);
	json_object_put(run.found);
	play_end(&run.play);
	return differs;
}

Test(kser_operation, is_the_same)
{
	vectors_try("operation", same);
}
