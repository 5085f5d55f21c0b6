#include "common/trace.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <stdio.h>

#include "common/limits.h"

/* ---- what is read ---- */

struct text {
	char given[100];
	char written[60]; /* as it is written again; "" = refused */
};

#define TRACE "0af7651916cd43dd8448eb211c80319c"
#define SPAN "b7ad6b7169203331"

ParameterizedTestParameters(trace, traceparent)
{
	static struct text cases[] = {
		{"00-" TRACE "-" SPAN "-01", "00-" TRACE "-" SPAN "-01"},
		{"00-" TRACE "-" SPAN "-00", "00-" TRACE "-" SPAN "-00"},
		{"00-" TRACE "-" SPAN "-ff", "00-" TRACE "-" SPAN "-01"},
		{"00-" TRACE "-" SPAN "-02", "00-" TRACE "-" SPAN "-00"},
		/* A later version is read as far as it is known. */
		{"01-" TRACE "-" SPAN "-01", "00-" TRACE "-" SPAN "-01"},
		{"cc-" TRACE "-" SPAN "-01-what-comes", "00-" TRACE "-" SPAN "-01"},
		{"cc-" TRACE "-" SPAN "-01.what", ""},
		{"00-" TRACE "-" SPAN "-01-more", ""},
		{"00-" TRACE "-" SPAN "-01-", ""},
		{"ff-" TRACE "-" SPAN "-01", ""},
		{"00-00000000000000000000000000000000-" SPAN "-01", ""},
		{"00-" TRACE "-0000000000000000-01", ""},
		{"00-0AF7651916CD43DD8448EB211C80319C-" SPAN "-01", ""},
		{"00-" TRACE "-" SPAN "-0", ""},
		{"00-" TRACE "-" SPAN "-0x", ""},
		{"00_" TRACE "-" SPAN "-01", ""},
		{"00-" TRACE "_" SPAN "-01", ""},
		{"00-" TRACE "-" SPAN "_01", ""},
		{"0-" TRACE "-" SPAN "-01", ""},
		{" 00-" TRACE "-" SPAN "-01", ""},
		{"", ""},
	};
	return cr_make_param_array(struct text, cases, COUNT_OF(cases));
}

ParameterizedTest(struct text *text, trace, traceparent)
{
	struct trace_span span = {0};
	char room[TRACEPARENT_SIZE] = "";
	if (trace_read_traceparent(slice_of(text->given), &span))
		trace_write_traceparent(&span, room);
	cr_expect_str_eq(room, text->written, "%s: %s", text->given, room);
}

ParameterizedTestParameters(trace, uber_trace_id)
{
	static struct text cases[] = {
		{"abc:def:0:1", "abc:def:0:1"},
		{"abc:def:123:1", "abc:def:0:1"},
		{"abc:def:0:0", "abc:def:0:0"},
		{"abc:def:0:3", "abc:def:0:1"},
		{"ffffffffffffffff:ffffffffffffffff:ffffffffffffffff:1", "ffffffffffffffff:ffffffffffffffff:0:1"},
		{TRACE ":" SPAN ":0:1", "af7651916cd43dd8448eb211c80319c:" SPAN ":0:1"},
		{"00000abc:0000def:0:01", "abc:def:0:1"},
		{"0:def:0:1", ""},
		{"abc:0:0:1", ""},
		{"abc:def:0", ""},
		{"abc:def:0:1:2", ""},
		{"abc:def::1", ""},
		{"abc:def:0:", ""},
		{":def:0:1", ""},
		{"ABC:def:0:1", ""},
		{"1" TRACE ":def:0:1", ""},
		{"abc:1" SPAN ":0:1", ""},
		{"abc:def:0:100", ""},
		{"abc%3Adef%3A0%3A1", ""},
		{"", ""},
	};
	return cr_make_param_array(struct text, cases, COUNT_OF(cases));
}

ParameterizedTest(struct text *text, trace, uber_trace_id)
{
	struct trace_span span = {0};
	char room[UBER_TRACE_ID_SIZE] = "";
	if (trace_read_uber(slice_of(text->given), &span))
		trace_write_uber(&span, room);
	cr_expect_str_eq(room, text->written, "%s: %s", text->given, room);
}

/* ---- in metadata ---- */

static const char *found_in(const char *metadata, char room[TRACEPARENT_SIZE])
{
	struct json_value object;
	struct trace_span span;
	cr_assert_eq(json_validate(slice_of(metadata), MESSAGE_BYTES_MAX, &object, NULL), E_OK);
	room[0] = '\0';
	if (trace_find(object, &span))
		trace_write_traceparent(&span, room);
	return room;
}

Test(trace, is_found_in_metadata)
{
	char room[TRACEPARENT_SIZE];
	cr_expect_str_eq(found_in("{\"a\":1,\"traceparent\":\"00-" TRACE "-" SPAN "-01\"}", room), "00-" TRACE "-" SPAN "-01");
	cr_expect_str_eq(found_in("{\"__parent-span__\":{\"uber-trace-id\":\"abc:def:0:1\"}}", room), "00-00000000000000000000000000000abc-0000000000000def-01");
	/* W3C's goes before; one that cannot be read counts as absent. */
	cr_expect_str_eq(found_in("{\"__parent-span__\":{\"uber-trace-id\":\"abc:def:0:1\"},\"traceparent\":\"00-" TRACE "-" SPAN "-00\"}", room), "00-" TRACE "-" SPAN "-00");
	cr_expect_str_eq(found_in("{\"__parent-span__\":{\"uber-trace-id\":\"abc:def:0:1\"},\"traceparent\":\"00\"}", room), "00-00000000000000000000000000000abc-0000000000000def-01");
	const char *const none[] = {"{}", "null", "[]", "{\"traceparent\":5}", "{\"traceparent\":\"\"}", "{\"__parent-span__\":\"abc:def:0:1\"}",
		"{\"__parent-span__\":{\"uber-trace-id\":5}}", "{\"__parent-span__\":{\"uber-trace-id\":\"\"}}", "{\"__parent-span__\":{\"trace_id\":5,\"span_id\":6}}"};
	for (size_t i = 0; i < COUNT_OF(none); i++)
		cr_expect_str_eq(found_in(none[i], room), "", "%s", none[i]);
}

/* ---- what is made ---- */

Test(trace, of_an_operation)
{
	uuid_t operation;
	struct trace_span root, parent;
	char room[TRACEPARENT_SIZE];
	cr_assert_eq(uuid_parse("01a20a91-1f44-71a7-95f4-e2babade81cd", operation), 0);
	trace_of_operation(operation, NULL, false, &root);
	trace_write_traceparent(&root, room);
	cr_expect_str_eq(room, "00-01a20a911f4471a795f4e2babade81cd-95f4e2babade81cd-01");
	cr_expect(!trace_is_short(&root));
	trace_of_operation(operation, NULL, true, &root);
	trace_write_traceparent(&root, room);
	cr_expect_str_eq(room, "00-000000000000000095f4e2babade81cd-95f4e2babade81cd-01");
	cr_expect(trace_is_short(&root));
	cr_assert(trace_read_traceparent(slice_of("00-" TRACE "-" SPAN "-00"), &parent));
	trace_of_operation(operation, &parent, true, &root);
	trace_write_traceparent(&root, room);
	cr_expect_str_eq(room, "00-" TRACE "-95f4e2babade81cd-00");
}

Test(trace, a_span_of_its_own)
{
	struct trace_span root, first, second;
	trace_begin(NULL, &root);
	cr_expect(root.sampled);
	root.sampled = false;
	trace_begin(&root, &first);
	trace_begin(&root, &second);
	cr_expect_arr_eq(first.trace, root.trace, sizeof root.trace);
	cr_expect_arr_neq(first.id, root.id, sizeof root.id);
	cr_expect_arr_neq(first.id, second.id, sizeof first.id);
	cr_expect(!first.sampled);
}
