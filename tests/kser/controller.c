#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "tests/kser/play.h"
#include "worker/made.h"
#include "worker/router.h"

/* What the router makes of a record; a record that is none is a dead letter, of which the log tells. */
static struct json_object *route(struct json_object *vector, struct play *play)
{
	const char *raw = vectors_text(vector, "raw");
	struct kser_result result CLEANUP(result_clear) = {0};
	struct kser_task *task = kser_task_from_message(play->worker, raw, strlen(raw), &result);
	if (task && router_run(task->entrypoints, task, &result) != KSER_SUCCESS)
		cr_assert_neq(result.retcode, 0);
	if (task && !result.whole) {
		struct result previous;
		bool has_previous = task->message.result.kind == JSON_OBJECT && result_parse(task->message.result, &previous, NULL) == E_OK;
		result_join(&result, task->message.uuid.text, has_previous ? &previous : NULL);
	}
	struct json_object *object = kser_result_object(&result);
	kser_task_free(task);
	return object;
}

static void register_all(struct json_object *vector, struct play *play)
{
	struct json_object *registered = vectors_get(vector, "registered"), *operation = json_object_new_object();
	for (size_t i = 0; i < json_object_array_length(registered); i++)
		play_register(play, json_object_array_get_idx(registered, i));
	if (vectors_get(vector, "operation")) {
		json_object_object_add(operation, "name", json_object_get(vectors_get(vector, "operation")));
		play_register_operation(play, operation);
	}
	json_object_put(operation);
}

static const char *same(struct json_object *vector)
{
	struct play play;
	play_begin(&play);
	register_all(vector, &play);
	struct json_object *result = route(vector, &play), *registered = vectors_get(vector, "registered");
	struct json_object *logs = play_wanted_logs(vectors_get(vector, "logs"), ""), *written = play_logs(&play, true);
	const char *class = json_object_array_length(registered) ? vectors_text(json_object_array_get_idx(registered, 0), "name") : "";
	struct json_object *calls = play_wanted_calls(vectors_get(vector, "triggers"), class);
	const char *differs = vectors_difference("result", vectors_get(vector, "result"), result);
	if (!differs)
		differs = vectors_difference("calls", calls, play.calls);
	if (!differs)
		differs = vectors_difference("logs", logs, written);
	struct json_object *objects[] = {result, logs, written, calls};
	for (size_t i = 0; i < COUNT_OF(objects); i++)
		json_object_put(objects[i]);
	play_end(&play);
	return differs;
}

Test(kser_controller, is_the_same)
{
	vectors_try("controller", same);
}
