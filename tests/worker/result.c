#include <criterion/criterion.h>
#include <json-c/json.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/limits.h"
#include "tests/worker/nested.h"
#include "tests/worker/task_text.h"

/* ---- kser's sum, against what kser itself computes ---- */

static const char *plain(struct json_object *object)
{
	return json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
}

static struct json_object *get(struct json_object *object, const char *key)
{
	return json_object_object_get(object, key);
}

/* A result as an entrypoint would have made it. */
static void make_own(struct json_object *from, struct kser_result *own)
{
	struct json_value retval;
	cr_assert_eq(json_validate(slice_of(plain(get(from, "retval"))), MESSAGE_BYTES_MAX, &retval, NULL), E_OK);
	retval_update(&own->retval, retval);
	own->retcode = json_object_get_int(get(from, "retcode"));
	output_add(&own->out, json_object_get_string(get(from, "stdout")), (size_t)json_object_get_string_len(get(from, "stdout")));
	output_add(&own->err, json_object_get_string(get(from, "stderr")), (size_t)json_object_get_string_len(get(from, "stderr")));
}

static void check_sum(struct json_object *vector)
{
	struct kser_result own CLEANUP(result_clear) = {0};
	struct buffer sum CLEANUP(buffer_clear) = {0};
	struct buffer inherited CLEANUP(buffer_clear) = {0};
	struct json_value object;
	struct result previous;
	cr_assert_eq(json_validate(slice_of(plain(get(vector, "a"))), MESSAGE_BYTES_MAX, &object, NULL), E_OK);
	cr_assert_eq(result_parse(object, &previous, NULL), E_OK);
	make_own(get(vector, "b"), &own);
	result_add_sum(&sum, &inherited, slice_of("\"unused\""), &previous, &own);
	struct json_object *read = json_tokener_parse(sum.bytes);
	cr_assert_not_null(read, "%s", sum.bytes);
	cr_expect_str_eq(plain(read), plain(get(vector, "sum")), "%s", json_object_get_string(get(vector, "name")));
	json_object_put(read);
}

Test(result, adds_like_kser)
{
	struct json_object *vectors = json_object_from_file(TEST_DATA "/sums.json");
	cr_assert_geq(json_object_array_length(vectors), 40);
	for (size_t i = 0; i < json_object_array_length(vectors); i++)
		check_sum(json_object_array_get_idx(vectors, i));
	json_object_put(vectors);
}

/* ---- replies ---- */

static struct json_object *answer(struct kser_task *task, enum kser_outcome outcome, struct kser_result *result)
{
	struct answer made CLEANUP(answer_clear) = {0};
	answer_make(&made, task, outcome, result, slice_of("host:1:2"));
	struct message message;
	struct error err;
	cr_assert_eq(message_parse(buffer_slice(&made.record), &message, &err), E_OK, "%s", err.text);
	result_clear(result);
	struct json_object *reply = json_tokener_parse(made.record.bytes);
	cr_assert_not_null(reply);
	return reply;
}

static struct json_object *at(struct json_object *object, const char *one, const char *other)
{
	return get(get(object, one), other);
}

static struct json_object *stamp(struct json_object *reply)
{
	return at(reply, "metadata", "kser");
}

Test(result, first_task_says_nothing)
{
	struct kser_task *task = make_task("{}", NULL, "");
	struct kser_result result = {0};
	struct json_object *reply = answer(task, KSER_SUCCESS, &result);
	cr_expect_str_eq(plain(get(reply, "result")), "{\"uuid\":\"" TASK_UUID "\",\"retcode\":0,\"stdout\":\"\",\"stderr\":\"\",\"retval\":{}}");
	cr_expect_null(get(stamp(reply), "inherited"));
	cr_expect_null(get(stamp(reply), "outcome"));
	cr_expect_null(get(stamp(reply), "tasks"));
	cr_expect_str_eq(json_object_get_string(get(stamp(reply), "worker")), "host:1:2");
	cr_expect_eq(json_object_get_int(get(stamp(reply), "attempt")), 2);
	json_object_put(reply);
	task_free(task);
}

Test(result, names_what_is_inherited)
{
	struct kser_task *task = make_task("{}", "{\"uuid\": \"first\", \"stdout\": \"out\", \"stderr\": \"err\", \"retval\": {\"a\": 1, \"b\\u0021\": 2, \"c\": {\"x\": 1}}}", "");
	struct kser_result result = {0};
	kser_result_print_err(&result, "own");
	kser_result_put_integer(&result, "b!", 3);
	kser_result_put_text(&result, "d", "new");
	struct json_object *reply = answer(task, KSER_SUCCESS, &result);
	cr_expect_str_eq(plain(get(reply, "result")),
		"{\"uuid\":\"first\",\"retcode\":0,\"stdout\":\"out\",\"stderr\":\"own\\n\",\"retval\":{\"a\":1,\"b!\":3,\"c\":{\"x\":1},\"d\":\"new\"}}");
	cr_expect_str_eq(plain(get(stamp(reply), "inherited")), "{\"stdout\":true,\"retval\":[\"a\",\"c\"]}");
	json_object_put(reply);
	task_free(task);
}

Test(result, previous_without_uuid_takes_the_tasks)
{
	struct kser_task *task = make_task("{}", "{\"stdout\": \"x\"}", "");
	struct kser_result result = {0};
	struct json_object *reply = answer(task, KSER_SUCCESS, &result);
	cr_expect_str_eq(json_object_get_string(at(reply, "result", "uuid")), TASK_UUID);
	json_object_put(reply);
	task_free(task);
}

Test(result, failure_has_an_error_object)
{
	struct kser_task *task = make_task("{}", "{\"uuid\": \"first\", \"retval\": {\"kept\": 1}}", "");
	struct kser_result result = {0};
	enum kser_outcome outcome = kser_result_fail(&result, 404, "NotFound", "no %s here", "file");
	cr_expect_eq(outcome, KSER_FAILURE);
	struct json_object *reply = answer(task, outcome, &result);
	cr_expect_eq(json_object_get_int(at(reply, "result", "retcode")), 404);
	cr_expect_str_eq(json_object_get_string(at(reply, "result", "stderr")), "no file here");
	cr_expect_str_eq(plain(at(reply, "result", "retval")),
		"{\"kept\":1,\"error\":{\"code\":404,\"name\":\"NotFound\",\"message\":\"no file here\",\"msgid\":\"ERR-08414\",\"extra\":{},\"stack\":null}}");
	json_object_put(reply);
	task_free(task);
}

Test(result, printed_stderr_stays_beside_the_error)
{
	struct kser_task *task = make_task("{}", NULL, "");
	struct kser_result result = {0};
	kser_result_print_err(&result, "told");
	struct json_object *reply = answer(task, kser_result_fail(&result, -3, NULL, "why"), &result);
	cr_expect_eq(json_object_get_int(at(reply, "result", "retcode")), 500, "a retcode that is not above 0 would be a success");
	cr_expect_str_eq(json_object_get_string(at(reply, "result", "stderr")), "told\n");
	cr_expect_str_eq(json_object_get_string(get(get(at(reply, "result", "retval"), "error"), "name")), "InternalError");
	json_object_put(reply);
	task_free(task);
}

Test(result, silent_failures_get_their_words)
{
	struct kser_task *task = make_task("{}", NULL, "");
	struct kser_result result = {0};
	struct json_object *reply = answer(task, KSER_FAILURE, &result);
	cr_expect_eq(json_object_get_int(at(reply, "result", "retcode")), 500);
	json_object_put(reply);
	reply = answer(task, KSER_RETRY, &result);
	cr_expect_eq(json_object_get_int(at(reply, "result", "retcode")), 503);
	cr_expect_str_eq(json_object_get_string(get(stamp(reply), "outcome")), "retry");
	json_object_put(reply);
	task_free(task);
}

/* An entrypoint that says why it failed and then returns success has failed. */
Test(result, told_failure_counts)
{
	struct kser_task *task = make_task("{}", NULL, "");
	struct kser_result result = {0};
	kser_result_fail(&result, 418, "Teapot", "short and stout");
	kser_result_add_task(&result, "never", NULL);
	struct json_object *reply = answer(task, KSER_SUCCESS, &result);
	cr_expect_eq(json_object_get_int(at(reply, "result", "retcode")), 418);
	cr_expect_null(get(stamp(reply), "tasks"), "a failed task has no plan");
	json_object_put(reply);
	task_free(task);
}

Test(result, carries_a_plan)
{
	struct kser_task *task = make_task("{}", NULL, "");
	struct kser_result result = {0};
	kser_result_add_task(&result, "one", NULL);
	kser_result_add_task(&result, "two", json_tokener_parse("{\"x\": [1]}"));
	struct json_object *reply = answer(task, KSER_SUCCESS, &result);
	cr_expect_str_eq(plain(get(stamp(reply), "tasks")), "[{\"entrypoint\":\"one\",\"params\":{}},{\"entrypoint\":\"two\",\"params\":{\"x\":[1]}}]");
	json_object_put(reply);
	task_free(task);
}

Test(result, refuses_an_unusable_plan)
{
	struct kser_result result CLEANUP(result_clear) = {0};
	kser_result_add_task(&result, "bad\nname", NULL);
	cr_expect_eq(result.retcode, 500);
	result_clear(&result);
	kser_result_add_task(&result, "bad\xC2\x85name", NULL);
	cr_expect_eq(result.retcode, 500);
	result_clear(&result);
	kser_result_add_task(&result, "bad", json_tokener_parse("[]"));
	cr_expect_eq(result.retcode, 500);
	result_clear(&result);
	for (int i = 0; i <= OPERATION_TASKS_MAX; i++)
		kser_result_add_task(&result, "many", NULL);
	cr_expect_eq(result.task_count, OPERATION_TASKS_MAX);
	cr_expect_eq(result.retcode, 400);
}

Test(result, last_value_of_a_key_counts)
{
	struct kser_task *task = make_task("{}", NULL, "");
	struct kser_result result = {0};
	kser_result_put_integer(&result, "a", 1);
	kser_result_put_integer(&result, "b", 2);
	kser_result_put(&result, "a", NULL);
	struct json_object *reply = answer(task, KSER_SUCCESS, &result);
	cr_expect_str_eq(plain(at(reply, "result", "retval")), "{\"a\":null,\"b\":2}");
	json_object_put(reply);
	task_free(task);
}

Test(result, unusable_values_fail)
{
	struct kser_result result CLEANUP(result_clear) = {0};
	kser_result_put(&result, "nan", json_object_new_double(NAN));
	cr_expect_eq(result.retcode, 500);
	result_clear(&result);
	kser_result_put_text(&result, "latin", "caf\xe9");
	cr_expect_eq(result.retcode, 500);
	result_clear(&result);
	kser_result_put(&result, "nul", json_object_new_string_len("a\0b", 3));
	cr_expect_eq(result.retcode, 500);
}

/* ---- what does not fit ---- */

static char *long_text(size_t length)
{
	char *text = malloc(length + 1);
	memset(text, 'x', length);
	text[length] = '\0';
	return text;
}

Test(result, too_large_is_replaced)
{
	struct kser_task *task = make_task("{}", "{\"uuid\": \"first\", \"retval\": {\"kept\": 1}}", "");
	struct kser_result result = {0};
	char *text = long_text(MESSAGE_BYTES_MAX);
	kser_result_put_text(&result, "half", text + MESSAGE_BYTES_MAX / 2);
	kser_result_put_text(&result, "more", text + MESSAGE_BYTES_MAX / 2);
	struct json_object *reply = answer(task, KSER_SUCCESS, &result);
	cr_expect_eq(json_object_get_int(at(reply, "result", "retcode")), 500);
	cr_expect_eq(json_object_get_int(get(at(reply, "result", "retval"), "kept")), 1, "what came with the task fits and stays");
	const char *message = json_object_get_string(at(reply, "result", "stderr"));
	cr_expect_not_null(strstr(message, "at most 1048576 are possible"), "%s", message);
	cr_expect_not_null(strstr(message, "the reply has 10"), "%s", message);
	json_object_put(reply);
	free(text);
	task_free(task);
}

/* What came with the task leaves no room even for the error: then it is given up, first the result, then the params. */
Test(result, gives_up_what_came_when_nothing_fits)
{
	char *filler = long_text(MESSAGE_BYTES_MAX - 600);
	char *json = NULL;
	cr_assert_gt(asprintf(&json, "{\"retval\": {\"x\": \"%s\"}}", filler), 0);
	struct kser_task *task = make_task("{\"p\": 1}", json, "");
	struct kser_result result = {0};
	kser_result_put_text(&result, "own", filler + MESSAGE_BYTES_MAX - 2000);
	struct json_object *reply = answer(task, KSER_SUCCESS, &result);
	cr_expect_eq(json_object_get_int(at(reply, "result", "retcode")), 500);
	cr_expect_null(get(at(reply, "result", "retval"), "x"));
	cr_expect_eq(json_object_get_int(at(reply, "params", "p")), 1);
	json_object_put(reply);
	task_free(task);
	free(json);

	cr_assert_gt(asprintf(&json, "{\"x\": \"%s\"}", filler), 0);
	task = make_task(json, NULL, "");
	kser_result_put_text(&result, "own", filler + MESSAGE_BYTES_MAX - 2000);
	reply = answer(task, KSER_SUCCESS, &result);
	cr_expect_eq(json_object_get_int(at(reply, "result", "retcode")), 500);
	cr_expect_eq(json_object_object_length(get(reply, "params")), 0);
	json_object_put(reply);
	task_free(task);
	free(json);
	free(filler);
}

/* Each value is valid by itself, but within the message it lies deeper. */
static int32_t retcode_answered(struct kser_result *result)
{
	struct answer made CLEANUP(answer_clear) = {0};
	struct kser_task *task = make_task("{}", NULL, "");
	struct message message;
	struct error err;
	answer_make(&made, task, KSER_SUCCESS, result, slice_of("host:1:2"));
	cr_assert_eq(message_parse(buffer_slice(&made.record), &message, &err), E_OK, "%s", err.text);
	if (message.parts.retcode)
		cr_expect_not_null(strstr(made.record.bytes, "the result is not usable: byte"), "%s", made.record.bytes);
	int32_t retcode = message.parts.retcode;
	result_clear(result);
	task_free(task);
	return retcode;
}

Test(result, too_deep_is_replaced)
{
	for (int depth = JSON_DEPTH_MAX - 6; depth <= JSON_DEPTH_MAX; depth++) {
		struct kser_result result = {0};
		kser_result_put(&result, "deep", nested_arrays(depth));
		cr_expect_eq(result.retcode, 0);
		cr_expect_eq(retcode_answered(&result), depth + 3 <= JSON_DEPTH_MAX ? 0 : 500, "%d levels", depth);
	}
	for (int depth = JSON_DEPTH_MAX - 9; depth <= JSON_DEPTH_MAX - 3; depth++) {
		struct kser_result result = {0};
		struct json_object *params = json_object_new_object();
		json_object_object_add(params, "deep", nested_arrays(depth));
		kser_result_add_task(&result, "e", params);
		cr_expect_eq(result.retcode, 0);
		cr_expect_eq(retcode_answered(&result), depth + 6 <= JSON_DEPTH_MAX ? 0 : 500, "%d levels in a task", depth);
	}
}

Test(result, many_brackets_are_not_deep)
{
	struct kser_result result = {0};
	struct json_object *list = json_object_new_array();
	for (int i = 0; i < 1000; i++)
		json_object_array_add(list, json_object_new_object());
	kser_result_put(&result, "list", list);
	kser_result_put_text(&result, "text", "[[[[{{{{");
	cr_expect_eq(retcode_answered(&result), 0);
}

/* A hundred thousand keys on both sides must not take quadratic time. */
Test(result, many_keys, .timeout = 20)
{
	struct buffer json CLEANUP(buffer_clear) = {0};
	buffer_add_text(&json, "{\"retval\": {");
	for (int i = 0; i < 60000; i++)
		buffer_printf(&json, "%s\"k%d\":%d", i ? "," : "", i, i % 10);
	buffer_add_text(&json, "}}");
	struct kser_task *task = make_task("{}", json.bytes, "");
	struct kser_result result = {0};
	for (int i = 59990; i < 60010; i++) {
		char key[16];
		snprintf(key, sizeof key, "k%d", i);
		kser_result_put_integer(&result, key, -1);
	}
	for (int i = 0; i < 59990; i++) {
		char key[16];
		snprintf(key, sizeof key, "k%d", i);
		retval_put(&result.retval, slice_of(key), slice_of("7"));
	}
	struct json_object *reply = answer(task, KSER_SUCCESS, &result);
	struct json_object *retval = at(reply, "result", "retval");
	cr_expect_eq(json_object_object_length(retval), 60010);
	cr_expect_eq(json_object_get_int(get(retval, "k5")), 7);
	cr_expect_eq(json_object_get_int(get(retval, "k59995")), -1);
	cr_expect_null(get(stamp(reply), "inherited"));
	json_object_put(reply);
	task_free(task);
}

/* ---- what is to be sealed ---- */

/* A result that fits into a record, but not once it is sealed, is an error that says so; and whatever came with the task, that one fits. */
Test(result, must_fit_when_sealed)
{
	struct sealing *sealing;
	struct sealing_settings settings = {.key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="};
	cr_assert_eq(sealing_open(&settings, &sealing, NULL), E_OK);
	size_t most = sealing_text_max(sealing, MESSAGE_BYTES_MAX);
	char *text = malloc(most + 1);
	memset(text, 'x', most);
	text[most] = '\0';
	struct answer plain_one CLEANUP(answer_clear) = {0}, sealed_one CLEANUP(answer_clear) = {.sealing = sealing};
	struct kser_task *task = make_task("{}", NULL, "");
	struct answer *answers[] = {&plain_one, &sealed_one};
	for (size_t i = 0; i < COUNT_OF(answers); i++) {
		struct kser_result result = {0};
		kser_result_put_text(&result, "large", text);
		answer_make(answers[i], task, KSER_SUCCESS, &result, slice_of("w"));
		result_clear(&result);
	}
	cr_expect_gt(plain_one.record.length, most);
	cr_expect_lt(sealed_one.record.length, 1000);
	cr_expect_not_null(strstr(sealed_one.record.bytes, "bytes, at most "), "%s", sealed_one.record.bytes);
	task_free(task);
	struct buffer stamp = {0};
	buffer_printf(&stamp, "}, \"foreign\": {\"large\": \"%.*s\"", (int)most - 200, text);
	task = make_task("{}", NULL, stamp.bytes);
	struct kser_result result = {0};
	answer_make(&sealed_one, task, KSER_SUCCESS, &result, slice_of("w"));
	cr_expect_lt(sealed_one.record.length, 1000, "%zu", sealed_one.record.length);
	cr_expect_not_null(strstr(sealed_one.record.bytes, "\"attempt\""));
	result_clear(&result);
	buffer_clear(&stamp);
	free(text);
	task_free(task);
	sealing_free(sealing);
}
