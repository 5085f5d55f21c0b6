#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "tests/kser/play.h"
#include "worker/result.h"

static struct json_object *object_of(const char *key, struct json_object *value)
{
	struct json_object *object = json_object_new_object();
	json_object_object_add(object, key, value);
	return object;
}

/* The results that onsuccess and onerror were given, in their order. */
static struct json_object *results_given(struct json_object *triggers, struct json_object *calls, struct json_object *seen)
{
	struct json_object *given = json_object_new_array();
	struct json_object *list = triggers ? triggers : calls;
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		struct json_object *entry = json_object_array_get_idx(list, i);
		const char *call = triggers ? vectors_text(entry, "call") : json_object_get_string(json_object_array_get_idx(entry, 1));
		if (strcmp(call, "onsuccess") == 0 || strcmp(call, "onerror") == 0)
			json_object_array_add(given, json_object_get(triggers ? vectors_get(entry, "result") : json_object_array_get_idx(seen, i)));
	}
	return given;
}

static const char *compare(struct json_object *vector, struct play *play, struct json_object *found)
{
	const char *class = vectors_text(vectors_get(vector, "entrypoint"), "name"), *uuid = vectors_text(vector, "uuid");
	struct json_object *calls = play_wanted_calls(vectors_get(vector, "triggers"), class), *logs = play_wanted_logs(vectors_get(vector, "logs"), uuid),
		*written = play_logs(play, false), *given = results_given(NULL, play->calls, play->seen), *wanted = results_given(vectors_get(vector, "triggers"), NULL, NULL);
	const char *differs = vectors_difference("final", vectors_get(vector, "final"), vectors_get(found, "final"));
	if (!differs && (vectors_get(vector, "raised") != NULL) != (vectors_get(found, "raised") != NULL))
		differs = "one of them raised";
	if (!differs && vectors_get(vector, "raised"))
		differs = vectors_difference("raised", vectors_get(vectors_get(vector, "raised"), "message"), vectors_get(vectors_get(found, "raised"), "message"));
	if (!differs)
		differs = vectors_difference("calls", calls, play->calls);
	if (!differs)
		differs = vectors_difference("given", wanted, given);
	if (!differs)
		differs = vectors_difference("logs", logs, written);
	struct json_object *objects[] = {calls, logs, written, given, wanted};
	for (size_t i = 0; i < COUNT_OF(objects); i++)
		json_object_put(objects[i]);
	return differs;
}

/* The result, or the error that was passed on. */
static struct json_object *run(struct json_object *vector, struct play *play)
{
	char name[100];
	struct kser_result previous CLEANUP(result_clear) = {0}, result CLEANUP(result_clear) = {0};
	snprintf(name, sizeof name, "jobs.%s", vectors_text(vectors_get(vector, "entrypoint"), "name"));
	struct kser_task *task = kser_task_new(play->worker, name, vectors_text(vector, "uuid"), json_object_get(vectors_get(vector, "params")), &result);
	cr_assert_not_null(task);
	if (vectors_get(vector, "initial_result"))
		cr_assert(kser_task_set_result(task, json_object_get(vectors_get(vector, "initial_result"))));
	if (vectors_get(vector, "previous"))
		play_make_result(&previous, vectors_get(vector, "previous"));
	bool safe = strcmp(vectors_text(vector, "mode"), "execute") == 0;
	enum kser_outcome outcome = (safe ? kser_execute : kser_unsafe_execute)(task, vectors_get(vector, "previous") ? &previous : NULL, &result, NULL);
	cr_expect_eq(outcome == KSER_SUCCESS, result.retcode == 0);
	struct json_object *object = kser_result_object(&result);
	struct json_object *found = result.raised ? object_of("raised", json_object_get(vectors_get(vectors_get(object, "retval"), "error"))) : object_of("final", json_object_get(object));
	json_object_put(object);
	kser_task_free(task);
	return found;
}

static const char *same(struct json_object *vector)
{
	struct play play;
	play_begin(&play);
	play_register(&play, vectors_get(vector, "entrypoint"));
	struct json_object *found = run(vector, &play);
	const char *differs = compare(vector, &play, found);
	json_object_put(found);
	play_end(&play);
	return differs;
}

Test(kser_lifecycle, is_the_same)
{
	vectors_try("lifecycle", same);
}
