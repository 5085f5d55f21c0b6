#include "common/sum.h"

#include <criterion/criterion.h>

#include "common/limits.h"

static void sums_to(const char *left, const char *right, const char *expected)
{
	struct json_value objects[2];
	struct result results[2];
	const char *const texts[] = {left, right};
	for (int i = 0; i < 2; i++) {
		cr_assert_eq(json_validate(slice_of(texts[i]), MESSAGE_BYTES_MAX, &objects[i], NULL), E_OK);
		cr_assert_eq(result_parse(objects[i], &results[i], NULL), E_OK);
	}
	struct buffer sum = {0};
	sum_add(&sum, &results[0], &results[1]);
	cr_expect_str_eq(sum.bytes, expected);
	buffer_clear(&sum);
}

Test(sum, fields)
{
	sums_to("{\"uuid\":\"a\"}", "{\"uuid\":\"b\"}", "{\"uuid\":\"a\",\"retcode\":0,\"stdout\":\"\",\"stderr\":\"\",\"retval\":{}}");
	sums_to("{\"uuid\":\"a\",\"retcode\":-1,\"stdout\":\"x\",\"stderr\":\"e\"}", "{\"uuid\":\"b\",\"retcode\":-7,\"stdout\":\" \"}",
		"{\"uuid\":\"a\",\"retcode\":-1,\"stdout\":\" \",\"stderr\":\"e\",\"retval\":{}}");
}

Test(sum, keys_keep_their_place_and_the_right_value_counts)
{
	sums_to("{\"uuid\":\"a\",\"retval\":{\"one\":1,\"two\":{\"x\":1},\"three\":[ 3 ]}}", "{\"retval\":{\"four\":4,\"two\":{\"y\":2},\"zero\":null}}",
		"{\"uuid\":\"a\",\"retcode\":0,\"stdout\":\"\",\"stderr\":\"\",\"retval\":{\"one\":1,\"two\":{\"y\":2},\"three\":[3],\"four\":4,\"zero\":null}}");
}

Test(sum, keys_are_compared_without_their_escapes)
{
	sums_to("{\"uuid\":\"a\",\"retval\":{\"\\u0061\":1,\"\":2}}", "{\"retval\":{\"\":3,\"a\":4,\"b\":5}}",
		"{\"uuid\":\"a\",\"retcode\":0,\"stdout\":\"\",\"stderr\":\"\",\"retval\":{\"a\":4,\"\":3,\"b\":5}}");
}

Test(sum, a_uuid_is_drawn_where_there_is_none)
{
	const char *const without[] = {"{}", "{\"uuid\":\"\"}"};
	for (int i = 0; i < 2; i++) {
		struct json_value object;
		struct result result;
		struct buffer sum = {0};
		cr_assert_eq(json_validate(slice_of(without[i]), MESSAGE_BYTES_MAX, &object, NULL), E_OK);
		cr_assert_eq(result_parse(object, &result, NULL), E_OK);
		sum_add(&sum, &result, &result);
		uuid_t ignored;
		cr_expect_eq(uuid_parse_range(sum.bytes + strlen("{\"uuid\":\""), sum.bytes + strlen("{\"uuid\":\"") + 36, ignored), 0, "%s", sum.bytes);
		buffer_clear(&sum);
	}
}

/* Each key costs the same: a comparison of all with all would take minutes here. */
Test(sum, many_keys, .timeout = 20)
{
	struct buffer text = {0}, sum = {0};
	struct json_value object;
	struct result result;
	for (int i = 0; i < 60000; i++)
		buffer_printf(&text, "%s\"key%d\":%d", i ? "," : "{\"retval\":{", i, i);
	buffer_add_text(&text, "}}");
	cr_assert_eq(json_validate(buffer_slice(&text), text.length, &object, NULL), E_OK);
	cr_assert_eq(result_parse(object, &result, NULL), E_OK);
	sum_add(&sum, &result, &result);
	cr_expect_eq(sum.length, text.length + strlen("\"uuid\":\"\",\"retcode\":0,\"stdout\":\"\",\"stderr\":\"\",") + 36);
	buffer_clear(&text);
	buffer_clear(&sum);
}
