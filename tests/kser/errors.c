#include <criterion/criterion.h>
#include <json-c/json.h>

#include "tests/kser/page.h"
#include "worker/result.h"

#define TASK "d455cba6-b329-4d2d-a4e5-1fc2a0ff2781"

static struct json_object *get(struct json_object *object, const char *key)
{
	return json_object_object_get(object, key);
}

static struct slice text_of(struct json_object *object)
{
	struct slice text = {"", 0};
	if (json_object_is_type(object, json_type_string))
		text = (struct slice){json_object_get_string(object), (size_t)json_object_get_string_len(object)};
	return text;
}

/* The Result that a task makes which tells the same error. */
static struct json_object *told(struct json_object *error, const char *uuid)
{
	struct kser_result own CLEANUP(result_clear) = {0};
	struct buffer sum CLEANUP(buffer_clear) = {0}, inherited CLEANUP(buffer_clear) = {0}, quoted CLEANUP(buffer_clear) = {0};
	const char *extra = json_object_to_json_string_ext(get(error, "extra"), JSON_C_TO_STRING_PLAIN);
	result_fail(&own, json_object_get_int(get(error, "code")), json_object_get_string(get(error, "name")), slice_of(extra), text_of(get(error, "message")));
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
static bool same(struct json_object *vector)
{
	struct json_object *wanted = get(vector, "result");
	struct json_object *error = get(get(wanted, "retval"), "error");
	struct json_object *result = told(error, TASK);
	json_object_object_add(error, "stack", NULL);
	json_object_object_add(wanted, "uuid", json_object_new_string(TASK));
	bool equal = json_object_equal(result, wanted);
	json_object_put(result);
	return equal;
}

Test(kser_errors, are_told_alike)
{
	struct json_object *file = json_object_from_file(TEST_DATA "/errors.json");
	struct json_object *cases = get(file, "cases");
	int alike = 0;
	for (size_t i = 0; i < json_object_array_length(cases); i++) {
		struct json_object *vector = json_object_array_get_idx(cases, i);
		const char *name = json_object_get_string(get(vector, "name"));
		bool equal = same(vector);
		alike += equal;
		cr_expect_neq(equal, page_lists("errors", name), "%s", name);
	}
	page_expect_counts("errors", (int)json_object_array_length(cases), alike);
	json_object_put(file);
}
