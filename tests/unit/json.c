#include "common/json.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/limits.h"
#include "notation.h"

/* ---- the corpus ---- */

static void check_case(const char *line, int number)
{
	bool accept = strncmp(line, "accept ", 7) == 0;
	long offset = strncmp(line, "reject@", 7) == 0 ? strtol(line + 7, NULL, 10) : -1;
	const char *notation = strchr(line, ' ') + 1;
	struct buffer text = {0};
	add_notation(&text, slice_of(notation));
	char *bytes = exact_copy(buffer_slice(&text));
	struct error err = {0};
	struct json_value root;
	enum status status = json_validate((struct slice){bytes, text.length}, MESSAGE_BYTES_MAX, &root, &err);
	cr_expect_eq(status, accept ? E_OK : E_INVALID, "line %d: %s: %s", number, line, err.text);
	char place[40];
	snprintf(place, sizeof place, "byte %ld, $", offset);
	if (!accept && offset >= 0)
		cr_expect_eq(strncmp(err.text, place, strlen(place)), 0, "line %d: %s: %s", number, line, err.text);
	free(bytes);
	buffer_clear(&text);
}

Test(json, corpus)
{
	FILE *file = fopen(TEST_DATA "/json_cases.txt", "r");
	cr_assert_not_null(file);
	char *line = NULL;
	size_t room = 0;
	int cases = 0;
	for (int number = 1; getline(&line, &room, file) > 0; number++) {
		line[strcspn(line, "\n")] = '\0';
		if (line[0] == '#' || line[0] == '\0')
			continue;
		check_case(line, number);
		cases++;
	}
	free(line);
	fclose(file);
	cr_assert_geq(cases, 380);
}

/* ---- duplicates in large objects ---- */

/* An object of `members` keys k0 …; the key of the last one is `last` if that is not NULL. */
static void add_object(struct buffer *out, int members, const char *last)
{
	buffer_add_char(out, '{');
	for (int i = 0; i < members; i++) {
		buffer_add_text(out, i ? ",\"" : "\"");
		if (last && i == members - 1)
			buffer_add_text(out, last);
		else
			buffer_printf(out, "k%d", i);
		buffer_add_text(out, "\":{\"k1\":0}");
	}
	buffer_add_char(out, '}');
}

static enum status validate_object(int members, const char *last, struct error *err)
{
	struct buffer text = {0};
	add_object(&text, members, last);
	enum status status = json_validate(buffer_slice(&text), SIZE_MAX, NULL, err);
	buffer_clear(&text);
	return status;
}

Test(json, duplicates_are_found_in_objects_of_any_size)
{
	const int sizes[] = {2, 15, 16, 17, 18, 95, 96, 97, 98, 192, 193, 5000};
	for (size_t i = 0; i < COUNT_OF(sizes); i++) {
		struct error err = {0};
		cr_expect_eq(validate_object(sizes[i], NULL, &err), E_OK, "%d members: %s", sizes[i], err.text);
		cr_expect_eq(validate_object(sizes[i], "k0", &err), E_INVALID, "%d members", sizes[i]);
		cr_expect_not_null(strstr(err.text, "$.k0: the key is there twice"), "%s", err.text);
		cr_expect_eq(validate_object(sizes[i], "\\u006b0", &err), E_INVALID, "%d members, escaped", sizes[i]);
		cr_expect_eq(validate_object(sizes[i], "\\u006bx", &err), E_OK, "%d members, escaped, different", sizes[i]);
	}
}

/* Comparing each key with each other would take hours. */
Test(json, a_million_keys, .timeout = 30)
{
	struct error err = {0};
	cr_assert_eq(validate_object(1000000, NULL, &err), E_OK, "%s", err.text);
	cr_assert_eq(validate_object(1000000, "k999", &err), E_INVALID);
}

/* ---- error texts ---- */

static void expect_error(const char *text, const char *error)
{
	struct error err = {0};
	cr_expect_eq(json_validate(slice_of(text), MESSAGE_BYTES_MAX, NULL, &err), E_INVALID, "%s", text);
	cr_expect_str_eq(err.text, error);
}

Test(json, errors_say_where_and_what)
{
	expect_error("{\"params\":{\"a\":[1,2,{\"b\":tru}]}}", "byte 25, $.params.a[2].b: expected a value, found tru}]}}");
	expect_error("{\"a\":1,\"a\":2}", "byte 7, $.a: the key is there twice");
	expect_error("{\"a\":1 \"b\":2}", "byte 7, $: expected a comma or }, found \"b\":2}");
	expect_error("[1,2", "byte 4, $: expected a comma or ], found the end of the text");
	expect_error("{\"a\":{\"b\":\"\\u0000\"}}", "byte 11, $.a.b: \\u0000 is not allowed");
	expect_error("[\"\\ud800\"]", "byte 2, $[0]: lone surrogate");
	expect_error("\xef\xbb\xbf{}", "byte 0, $: expected a value, found \\ufeff{}");
	expect_error("[1e400]", "byte 1, $[0]: a number outside the range of a double");
	expect_error("{\"n\":12345678901234567890}", "byte 5, $.n: an integer that does not fit in 64 bits");
	expect_error("\"\x01\"", "byte 1, $: control character 0x01 in a string, must be escaped");
	expect_error("\"\xff\"", "byte 1, $: byte 0xff is not valid UTF-8");
	expect_error("[\x1b[31m]", "byte 1, $[0]: expected a value, found \\x1b[31m]");
}

Test(json, an_error_is_short_whatever_the_input)
{
	struct buffer text = {0};
	for (int i = 0; i < 50; i++) {
		buffer_add_text(&text, "{\"");
		for (int j = 0; j < 200; j++)
			buffer_add_text(&text, "é");
		buffer_add_text(&text, "\":");
	}
	buffer_add_text(&text, "oops");
	struct error err = {0};
	cr_assert_eq(json_validate(buffer_slice(&text), MESSAGE_BYTES_MAX, NULL, &err), E_INVALID);
	cr_assert_lt(strlen(err.text), 400);
	cr_assert_not_null(strstr(err.text, "expected a value, found oops"), "%s", err.text);
	cr_assert_null(strstr(err.text, "\\x"), "cut within a character: %s", err.text);
	buffer_clear(&text);
}

Test(json, too_long_is_refused_at_once)
{
	struct error err = {0};
	cr_assert_eq(json_validate(slice_of("[1,2]"), 4, NULL, &err), E_INVALID);
	cr_assert_str_eq(err.text, "5 bytes, the limit is 4");
	cr_assert_eq(json_validate(slice_of("[1,2]"), 5, NULL, NULL), E_OK);
}

Test(json, nothing_at_all)
{
	cr_assert_eq(json_validate((struct slice){NULL, 0}, 10, NULL, NULL), E_INVALID);
}

/* ---- fields ---- */

enum { A, B, OF_B, B_A = OF_B, B_C, VALUES };
static const struct json_field fields_of_b[] = {{.name = {"a", 1}}, {.name = {"c", 1}}};
static const struct json_form form_of_b = {fields_of_b, 2, OF_B};
static const struct json_field fields_of_root[] = {{.name = {"a", 1}}, {.name = {"b", 1}, .form = &form_of_b}};
static const struct json_form form_of_root = {fields_of_root, 2, A};

/* Each of the values as it is found, "-" where there is no such field. */
static void expect_values(const char *text, const char *const expected[VALUES])
{
	struct json_value values[VALUES], root;
	for (size_t i = 0; i < VALUES; i++)
		values[i] = (struct json_value){JSON_NULL, {"-", 1}};
	cr_assert_eq(json_read(slice_of(text), MESSAGE_BYTES_MAX, &form_of_root, values, &root, NULL), E_OK, "%s", text);
	for (size_t i = 0; i < VALUES; i++)
		cr_expect(slice_is(values[i].text, expected[i]), "%s: %zu is %.*s", text, i, (int)values[i].text.length, values[i].text.start);
}

Test(json, fields_are_found_at_their_places_only)
{
	expect_values("{\"a\": 1 ,\"b\":{\"a\":[2],\"c\":\"3\"}}", (const char *const[]){"1", "{\"a\":[2],\"c\":\"3\"}", "[2]", "\"3\""});
	expect_values("{\"x\":{\"a\":0,\"b\":{\"c\":0}},\"b\":{\"b\":0,\"x\":{\"c\":0},\"c\":4},\"aa\":0,\"\":0}", (const char *const[]){"-", "{\"b\":0,\"x\":{\"c\":0},\"c\":4}", "-", "4"});
	expect_values("{\"\\u0062\":{\"\\u0063\":5},\"\\u0061\":6,\"\\u0061a\":7}", (const char *const[]){"6", "{\"\\u0063\":5}", "-", "5"});
	expect_values("{\"b\":[{\"a\":0}],\"a\":{\"a\":0}}", (const char *const[]){"{\"a\":0}", "[{\"a\":0}]", "-", "-"});
	expect_values("[{\"a\":0,\"b\":0}]", (const char *const[]){"-", "-", "-", "-"});
}

/* ---- reading ---- */

static struct json_value valid(const char *text)
{
	struct error err = {0};
	struct json_value root;
	cr_assert_eq(json_validate(slice_of(text), MESSAGE_BYTES_MAX, &root, &err), E_OK, "%s: %s", text, err.text);
	return root;
}

Test(json, the_root_is_without_the_space_around_it)
{
	struct json_value root = valid(" \n[1] ");
	cr_assert_eq(root.kind, JSON_ARRAY);
	cr_assert(slice_is(root.text, "[1]"));
}

Test(json, emptiness_and_levels)
{
	cr_assert(json_is_empty(valid("{ }")) && json_is_empty(valid("[]")) && json_is_empty(valid("null")) && json_is_empty(valid("\"[1]\"")));
	cr_assert_not(json_is_empty(valid("{\"\":null}")) || json_is_empty(valid("[ [] ]")));
	cr_assert_eq(json_levels_max(slice_of("{\"a\":[1,{},\"[\"]}")), 4);
	cr_assert_eq(json_levels_max(slice_of("12")), 0);
}

Test(json, elements_in_their_order_with_their_kinds)
{
	const enum json_kind kinds[] = {JSON_NULL, JSON_BOOL, JSON_BOOL, JSON_INTEGER, JSON_DOUBLE, JSON_DOUBLE, JSON_STRING, JSON_STRING, JSON_STRING,
		JSON_STRING, JSON_ARRAY, JSON_OBJECT};
	const char *const texts[] = {"null", "true", "false", "-12", "1.5", "1e5", "\"a]\\\"\"", "\"\\\\\"", "\"\\\\\\\",\"", "\"\"", "[ 1, [2] ]",
		"{\"x\": {\"y\":\"}\"}}"};
	struct json_value root = valid("[null ,true, false,-12 , 1.5,1e5, \"a]\\\"\" ,\"\\\\\",\"\\\\\\\",\",\"\",[ 1, [2] ],{\"x\": {\"y\":\"}\"}} ]");
	struct json_iterator elements = json_iterate(root);
	struct json_value element;
	size_t i = 0;
	for (; json_next_element(&elements, &element); i++) {
		cr_assert_lt(i, COUNT_OF(kinds));
		cr_expect_eq(element.kind, kinds[i], "%s", texts[i]);
		cr_expect(slice_is(element.text, texts[i]), "%s", texts[i]);
	}
	cr_assert_eq(i, COUNT_OF(kinds));
	cr_assert_not(json_next_element(&elements, &element));
}

Test(json, members_with_keys_as_they_stand)
{
	struct json_iterator members = json_iterate(valid("{ \"a\\u0062\" : 1 , \"\":{} }"));
	struct json_member member;
	cr_assert(json_next_member(&members, &member));
	cr_assert(slice_is(member.key, "a\\u0062"));
	cr_assert(json_key_is(member.key, "ab"));
	cr_assert(slice_is(member.value.text, "1"));
	cr_assert(json_next_member(&members, &member));
	cr_assert(json_key_is(member.key, ""));
	cr_assert_eq(member.value.kind, JSON_OBJECT);
	cr_assert_not(json_next_member(&members, &member));
}

Test(json, nothing_to_iterate)
{
	struct json_member member;
	struct json_value element;
	const char *const texts[] = {"{}", "{ }", "[]", "[\n]", "1", "null", "\"[1]\""};
	for (size_t i = 0; i < COUNT_OF(texts); i++) {
		struct json_iterator iterator = json_iterate(valid(texts[i]));
		cr_expect_not(texts[i][0] == '{' ? json_next_member(&iterator, &member) : json_next_element(&iterator, &element), "%s", texts[i]);
	}
}

Test(json, keys_are_compared_resolved)
{
	cr_assert(json_key_is(slice_of("uuid"), "uuid"));
	cr_assert(json_key_is(slice_of("\\u0075uid"), "uuid"));
	cr_assert(json_key_is(slice_of("a\\/b"), "a/b"));
	cr_assert(json_key_is(slice_of("\\\\b"), "\\b"));
	cr_assert_not(json_key_is(slice_of("\\b"), "\\b"));
	cr_assert_not(json_key_is(slice_of("uui"), "uuid"));
	cr_assert_not(json_key_is(slice_of("uuidx"), "uuid"));
	cr_assert_not(json_key_is(slice_of("\\u0075ui"), "uuid"));
	cr_assert_not(json_key_is(slice_of("\\u0075uidx"), "uuid"));
	cr_assert_not(json_key_is(slice_of(""), "uuid"));
}

Test(json, find)
{
	struct json_value root = valid("{\"a\":{\"b\":1},\"b\":2,\"\\u0063\":3,\"d\":null}");
	struct json_value found;
	cr_assert(json_find(root, "b", &found));
	cr_assert(slice_is(found.text, "2"));
	cr_assert(json_find(root, "c", &found));
	cr_assert(slice_is(found.text, "3"));
	cr_assert(json_find(root, "d", &found));
	cr_assert_eq(found.kind, JSON_NULL);
	cr_assert_eq(found.text.length, 4);
	cr_assert_not(json_find(root, "e", &found));
	cr_assert_eq(found.kind, JSON_NULL);
	cr_assert_eq(found.text.length, 0);
	cr_assert_not(json_find(valid("[\"a\"]"), "a", &found));
}

Test(json, strings_resolved)
{
	struct buffer scratch = {0};
	cr_assert(slice_is(json_string(valid("\"plain\""), &scratch), "plain"));
	cr_assert_eq(scratch.length, 0);
	const char *const pairs[][2] = {
		{"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t"},
		{"\"\\u0041\\u00e9\\u20ac\\uffff\"", "Aé€\xef\xbf\xbf"},
		{"\"\\ud83d\\ude00 \\ud800\\udc00 \\udbff\\udfff\"", "😀 \xf0\x90\x80\x80 \xf4\x8f\xbf\xbf"},
		{"\"a\\u007f\\u0080\\u07ff\\u0800z\"", "a\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80z"},
	};
	for (size_t i = 0; i < COUNT_OF(pairs); i++) {
		buffer_reset(&scratch);
		cr_expect(slice_is(json_string(valid(pairs[i][0]), &scratch), pairs[i][1]), "%s", pairs[i][0]);
	}
	buffer_clear(&scratch);
}

Test(json, integers)
{
	int64_t number = 5;
	cr_assert(json_int64(valid("9223372036854775807"), &number));
	cr_assert_eq(number, INT64_MAX);
	cr_assert(json_int64(valid("-9223372036854775808"), &number));
	cr_assert_eq(number, INT64_MIN);
	cr_assert(json_int64(valid("-0"), &number));
	cr_assert_eq(number, 0);
	cr_assert_not(json_int64(valid("1.0"), &number));
	cr_assert_not(json_int64(valid("\"1\""), &number));
}

/* What is written as a string is read as the same bytes. */
Test(json, written_strings_are_read_again)
{
	struct buffer text = {0};
	struct buffer written = {0};
	struct buffer read = {0};
	for (unsigned char byte = 1; byte < 0x80; byte++)
		buffer_add_char(&text, (char)byte);
	buffer_add_text(&text, "é€😀");
	buffer_add_json_string(&written, buffer_slice(&text));
	json_add_string(&read, valid(written.bytes));
	cr_assert_str_eq(read.bytes, text.bytes);
	buffer_clear(&text);
	buffer_clear(&written);
	buffer_clear(&read);
}
