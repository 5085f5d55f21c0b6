#include <criterion/criterion.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/limits.h"
#include "common/log.h"
#include "tests/worker/nested.h"
#include "tests/worker/task_text.h"

Test(task, tells_what_it_is)
{
	struct kser_task *task = make_task("{\"t\": \"a\\u0041\", \"i\": 7, \"d\": 1.5, \"l\": [1]}", "{\"retcode\": 0, \"retval\": {\"x\": 1}}", "");
	cr_expect_str_eq(kser_task_uuid(task), TASK_UUID);
	cr_expect_str_eq(kser_task_operation(task), OPERATION_UUID);
	cr_expect_eq(kser_task_position(task), 3);
	cr_expect_eq(kser_task_attempt(task), 2);
	cr_expect_str_eq(kser_task_text(task, "t", "none"), "aA");
	cr_expect_str_eq(kser_task_text(task, "i", "none"), "none");
	cr_expect_eq(kser_task_integer(task, "i", -1), 7);
	cr_expect_eq(kser_task_integer(task, "d", -1), -1);
	cr_expect_eq(kser_task_integer(task, "x", -1), -1);
	cr_expect_eq(kser_task_number(task, "d", -1), 1.5);
	cr_expect_eq(kser_task_number(task, "i", -1), 7);
	cr_expect_eq(kser_task_number(task, "t", -1), -1);
	cr_expect_eq(json_object_array_length(json_object_object_get(kser_task_params(task), "l")), 1);
	cr_expect_eq(kser_task_params(task), kser_task_params(task), "parsed once");
	cr_expect_not_null(json_object_object_get(kser_task_previous(task), "retval"));
	size_t length;
	const char *message = kser_task_message(task, &length);
	cr_expect_eq(message[0], '{');
	cr_expect_eq(message[length - 1], '}');
	cr_expect_not(kser_task_cancelled(task));
	task_forget(task);
	task_free(task);
}

/* Deeper than it may lie in a message: the reply would be no message. What was given out before stays as it was. */
Test(task, a_parameter_that_cannot_be)
{
	log_set_level(LOG_LEVEL_ERROR);
	struct kser_task *task = make_task("{\"a\": 1}", NULL, "");
	struct kser_result result = {0};
	struct answer answer CLEANUP(answer_clear) = {0};
	struct json_value reply;
	struct json_object *params = kser_task_params(task);
	kser_task_set(task, "deep", nested_arrays(JSON_DEPTH_MAX - 1));
	kser_task_set(task, "a", nested_arrays(JSON_DEPTH_MAX - 1));
	kser_task_set(task, "b", json_object_new_int(2));
	cr_expect_eq(kser_task_params(task), params);
	cr_expect_str_eq(json_object_to_json_string_ext(params, JSON_C_TO_STRING_PLAIN), "{\"a\":1,\"b\":2}");
	cr_expect_eq(kser_task_integer(task, "a", 0), 1);
	kser_task_set(task, "deep", nested_arrays(JSON_DEPTH_MAX - 2));
	answer_make(&answer, task, KSER_SUCCESS, &result, slice_of("w"));
	cr_expect_eq(json_validate(buffer_slice(&answer.record), MESSAGE_BYTES_MAX, &reply, NULL), E_OK);
	task_forget(task);
	task_free(task);
}

Test(task, without_a_stamp)
{
	struct kser_task *task = make_task_of("{\"uuid\": \"any \\\"text\\\"\", \"entrypoint\": \"e\"}");
	cr_expect_str_eq(kser_task_uuid(task), "any \"text\"");
	cr_expect_str_eq(kser_task_operation(task), "");
	cr_expect_eq(kser_task_attempt(task), 0);
	cr_expect_null(kser_task_previous(task));
	cr_expect_eq(kser_task_left_ms(task), -1);
	task_forget(task);
	task_free(task);
}

Test(task, time_left_is_the_smallest)
{
	struct kser_task *task = make_task("{}", NULL, ", \"limit_ms\": 5000");
	cr_expect(kser_task_left_ms(task) > 4000 && kser_task_left_ms(task) <= 5000);
	cr_expect_leq(task_time_left(task, 100).ms, 100);
	cr_expect_gt(task_time_left(task, 60000).ms, 4000);
	task->started_ms -= 6000;
	cr_expect_eq(kser_task_left_ms(task), 0);
	task_free(task);
	char further[60];
	snprintf(further, sizeof further, ", \"deadline\": %lld", (long long)clock_wall_ms() + 2000);
	task = make_task("{}", NULL, further);
	cr_expect(kser_task_left_ms(task) > 1000 && kser_task_left_ms(task) <= 2000);
	task_free(task);
	task = make_task("{}", NULL, ", \"deadline\": 1");
	cr_expect_eq(kser_task_left_ms(task), 0);
	task_free(task);
}

static void expect_unusable(const char *text, const char *reason)
{
	enum status status;
	struct error err;
	struct kser_task *task = task_new(NULL, slice_of(text), NULL, NULL, &status, &err);
	cr_assert_not_null(task);
	cr_expect_eq(status, E_INVALID, "%s", text);
	cr_expect_not_null(strstr(err.text, reason), "%s: %s", text, err.text);
	task_free(task);
}

Test(task, unusable_records)
{
	expect_unusable("", "empty");
	expect_unusable("{", "");
	expect_unusable("{\"uuid\": 5, \"entrypoint\": \"e\"}", "uuid");
	expect_unusable("{\"uuid\": \"u\", \"entrypoint\": \"e\", \"metadata\": {\"kser\": {\"op\": 1}}}", "metadata.kser");
	expect_unusable("{\"uuid\": \"u\", \"entrypoint\": \"kser.heartbeat\", \"metadata\": {\"kser\": {\"kind\": \"heartbeat\", \"worker\": \"w\"}}}", "not a task");
}

/* ---- sealed ---- */

static int released;

static void count_release(void *record)
{
	(void)record;
	released++;
}

static struct sealing *a_sealing(const char *key)
{
	struct sealing *sealing;
	struct sealing_settings settings = {.key = key};
	cr_assert_eq(sealing_open(&settings, &sealing, NULL), E_OK);
	return sealing;
}

/* The record itself is not kept beside what was in it; of one that is unusable it is what is told. */
Test(task, sealed_records)
{
	struct sealing *sealing = a_sealing("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="), *other = a_sealing("ZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXp7fH1+f4CBgoM=");
	struct buffer room = {0};
	struct slice record;
	enum status status;
	struct error err;
	cr_assert_eq(sealing_write(sealing, slice_of("{\"uuid\": \"u\", \"entrypoint\": \"e\", \"params\": {\"word\": \"tomato\"}}"), &room, &record, NULL), E_OK);
	struct kser_task *task = task_new(sealing, record, &room, count_release, &status, &err);
	cr_assert_eq(status, E_OK, "%s", err.text);
	cr_expect_eq(released, 1);
	cr_expect_str_eq(kser_task_text(task, "word", ""), "tomato");
	task_forget(task);
	task_free(task);
	cr_expect_eq(released, 1);
	task = task_new(other, record, &room, count_release, &status, &err);
	cr_expect_eq(status, E_INVALID);
	cr_expect_eq(task->message.text.start, record.start);
	cr_expect_eq(released, 1);
	task_free(task);
	cr_expect_eq(released, 2);
	buffer_clear(&room);
	sealing_free(sealing);
	sealing_free(other);
}
