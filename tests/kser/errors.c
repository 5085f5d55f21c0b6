#include <criterion/criterion.h>

#include "tests/kser/vectors.h"
#include "worker/result.h"

#define TASK "d455cba6-b329-4d2d-a4e5-1fc2a0ff2781"

/* The Result that a task makes which tells the same error. */
static struct json_object *told(struct json_object *error, const char *uuid)
{
	struct kser_result own CLEANUP(result_clear) = {0};
	struct buffer sum CLEANUP(buffer_clear) = {0}, inherited CLEANUP(buffer_clear) = {0}, quoted CLEANUP(buffer_clear) = {0};
	kser_result_fail_with(&own, &(struct kser_error){KSER_ERROR, .code = json_object_get_int(vectors_get(error, "code")), .name = json_object_get_string(vectors_get(error, "name")),
		.message = json_object_get_string(vectors_get(error, "message")), .msgid = json_object_get_string(vectors_get(error, "msgid")), .extra = vectors_get(error, "extra")});
	buffer_add_json_string(&quoted, slice_of(uuid));
	result_add_sum(&sum, &inherited, buffer_slice(&quoted), NULL, &own);
	struct json_object *result = json_tokener_parse(sum.bytes);
	cr_assert_not_null(result, "%s", sum.bytes);
	return result;
}

/*
 * Whether it is what kser makes of it, but for two things that hold for all: the uuid is always the task's (kser draws one,
 * or takes one out of extra), and there is never a stack.
 */
static const char *same(struct json_object *vector)
{
	struct json_object *wanted = vectors_get(vector, "result");
	struct json_object *error = vectors_get(vectors_get(wanted, "retval"), "error");
	struct json_object *result = told(error, TASK);
	json_object_object_add(error, "stack", NULL);
	json_object_object_add(wanted, "uuid", json_object_new_string(TASK));
	const char *differs = vectors_difference("result", wanted, result);
	json_object_put(result);
	return differs;
}

Test(kser_errors, are_told_alike)
{
	vectors_try("errors", same);
}
