#include "common/message.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/limits.h"
#include "common/trace.h"
#include "notation.h"

#define TASK "d455cba6-b329-4d2d-a4e5-1fc2a0ff2781"
#define OPERATION "8a75d3f6-71b6-4dad-98b5-fa1ed6b2f160"

/* A message with that metadata.kser. */
#define WITH_KSER(kser) "{\"uuid\":\"" TASK "\",\"entrypoint\":\"e\",\"metadata\":{\"kser\":" kser "}}"

/* What every dispatch names. */
#define DISPATCH "\"op\":\"" OPERATION "\",\"pos\":2,\"attempt\":1,\"gen\":-7,\"epoch\":12"

static struct message parsed(const char *text)
{
	struct message message;
	struct error err = {0};
	cr_assert_eq(message_parse(slice_of(text), &message, &err), E_OK, "%s: %s", text, err.text);
	return message;
}

static void refused(const char *text, const char *error)
{
	struct message message;
	struct error err = {0};
	cr_expect_eq(message_parse(slice_of(text), &message, &err), E_INVALID, "%s", text);
	cr_expect_str_eq(err.text, error);
}

Test(message, of_several_errors_the_first_in_the_text_is_told)
{
	refused("{\"result\":[],\"uuid\":1,\"entrypoint\":true}", "result: must be an object, not an array");
	refused("{\"entrypoint\":true,\"uuid\":1}", "entrypoint: must be a string, not a boolean");
	refused("{\"result\":{\"stdout\":1,\"retcode\":2147483648},\"uuid\":\"" TASK "\",\"entrypoint\":\"e\"}", "result.stdout: must be a string, not an integer");
	refused("{\"result\":{\"retcode\":2147483648,\"stdout\":1},\"uuid\":\"" TASK "\",\"entrypoint\":\"e\"}",
		"result.retcode: must be from -2147483648 to 2147483647, not 2147483648");
	refused(WITH_KSER("{\"epoch\":null,\"op\":1}"), "metadata.kser.epoch: must be an integer, not null");
	refused(WITH_KSER("{\"op\":1,\"epoch\":null}"), "metadata.kser.op: must be a string, not an integer");
}

/* ---- the corpus ---- */

/* Cuts the random uuid of a Result that came without one out, after a look at its form. */
static void hide_random_uuid(struct buffer *text)
{
	static const char before[] = "\"result\":{\"uuid\":\"";
	char *uuid = strstr(text->bytes, before) + sizeof before - 1;
	uuid_t ignored;
	cr_expect_eq(uuid_parse_range(uuid, uuid + 36, ignored), 0, "%s", text->bytes);
	static const char mark[] = "(random)";
	memcpy(uuid, mark, sizeof mark - 1);
	memmove(uuid + sizeof mark - 1, uuid + 36, strlen(uuid + 36) + 1);
}

static void check_case(const char *title, const char *notation, const char *expected)
{
	struct buffer text = {0};
	add_notation(&text, slice_of(notation));
	char *bytes = exact_copy(buffer_slice(&text));
	struct message message;
	struct error err = {0};
	enum status status = message_parse((struct slice){bytes, text.length}, &message, &err);
	if (strncmp(title, "accept ", 7) == 0) {
		cr_expect_eq(status, E_OK, "%s: %s", title, err.text);
		struct buffer normalized = {0};
		if (!status)
			message_add_normalized(&normalized, &message);
		if (!status && strstr(expected, "(random)"))
			hide_random_uuid(&normalized);
		cr_expect_str_eq(buffer_slice(&normalized).start, expected, "%s:\n%s", title, buffer_slice(&normalized).start);
		buffer_clear(&normalized);
	} else {
		cr_expect_eq(status, E_INVALID, "%s", title);
		cr_expect_str_eq(err.text, expected, "%s:\n%s", title, err.text);
	}
	free(bytes);
	buffer_clear(&text);
}

static bool next_line(FILE *file, char **line, size_t *room)
{
	while (getline(line, room, file) > 0) {
		(*line)[strcspn(*line, "\n")] = '\0';
		if ((*line)[0] != '\0' && (*line)[0] != '#')
			return true;
	}
	return false;
}

Test(message, corpus)
{
	FILE *file = fopen(TEST_DATA "/message_cases.txt", "r");
	cr_assert_not_null(file);
	char *lines[3] = {0};
	size_t rooms[3] = {0};
	int cases = 0;
	while (next_line(file, &lines[0], &rooms[0])) {
		cr_assert(next_line(file, &lines[1], &rooms[1]));
		cr_assert(next_line(file, &lines[2], &rooms[2]));
		check_case(lines[0], lines[1], lines[2]);
		cases++;
	}
	for (int i = 0; i < 3; i++)
		free(lines[i]);
	fclose(file);
	cr_assert_geq(cases, 90);
}

Test(message, normalized_without_space_but_in_strings)
{
	struct message message = parsed("{\"uuid\":\"u\",\"entrypoint\":\"a b\",\"params\": { \"a \\\" b\" : [ 1 ,\n2 ] ,\t\"\\\\\" : \" \" }}");
	struct buffer text = {0};
	message_add_normalized(&text, &message);
	cr_assert_not_null(strstr(text.bytes, "\"entrypoint\":\"a b\",\"params\":{\"a \\\" b\":[1,2],\"\\\\\":\" \"},"), "%s", text.bytes);
	buffer_clear(&text);
}

/* ---- limits ---- */

static enum status parse_entrypoint(const char *notation, struct error *err)
{
	struct buffer text = {0};
	buffer_add_text(&text, "{\"uuid\":\"u\",\"entrypoint\":\"");
	add_notation(&text, slice_of(notation));
	buffer_add_text(&text, "\"}");
	struct message message;
	enum status status = message_parse(buffer_slice(&text), &message, err);
	buffer_clear(&text);
	return status;
}

Test(message, entrypoint_limits)
{
	struct error err = {0};
	cr_expect_eq(parse_entrypoint("e", &err), E_OK);
	cr_expect_eq(parse_entrypoint("%{255:e}", &err), E_OK);
	cr_expect_eq(parse_entrypoint("%{256:e}", &err), E_INVALID);
	cr_expect_str_eq(err.text, "entrypoint: must have 1 to 255 bytes, not 256");
	cr_expect_eq(parse_entrypoint("%{85:\\u20ac}", &err), E_OK, "three bytes each, escaped");
	cr_expect_eq(parse_entrypoint("%{85:\\u20ac}e", &err), E_INVALID);
	cr_expect_eq(parse_entrypoint("%{127:é}e", &err), E_OK);
	cr_expect_eq(parse_entrypoint("jobs/\\u00e9 \\\"x\\\"", &err), E_OK);
	const char *const controls[] = {"a\\n", "\\u001f", "a\\u007f", "%7f", "a\\u0080", "a%c2%9f", "\\t"};
	for (size_t i = 0; i < COUNT_OF(controls); i++) {
		cr_expect_eq(parse_entrypoint(controls[i], &err), E_INVALID, "%s", controls[i]);
		cr_expect_str_eq(err.text, "entrypoint: must not contain control characters");
	}
	cr_expect_eq(parse_entrypoint("a%c2%a0", &err), E_OK);
}

Test(message, size_limit)
{
	struct buffer text = {0};
	add_notation(&text, slice_of("{\"uuid\":\"u\",\"entrypoint\":\"e\",\"params\":{\"x\":\"%{1048000:x}\"}}"));
	struct message message;
	struct error err = {0};
	size_t more = MESSAGE_BYTES_MAX - text.length;
	while (more--)
		buffer_add_char(&text, ' ');
	cr_assert_eq(message_parse(buffer_slice(&text), &message, &err), E_OK, "%s", err.text);
	buffer_add_char(&text, ' ');
	cr_assert_eq(message_parse(buffer_slice(&text), &message, &err), E_INVALID);
	cr_assert_str_eq(err.text, "1048577 bytes, the limit is 1048576");
	buffer_clear(&text);
}

/* ---- metadata.kser ---- */

Test(message, a_dispatch)
{
	struct message message = parsed(WITH_KSER("{" DISPATCH ",\"deadline\":1790000000000,\"limit_ms\":120000,\"flags\":3,\"queue\":\"slow.1\"}"));
	uuid_t operation;
	cr_assert_eq(uuid_parse(OPERATION, operation), 0);
	cr_assert(message.stamped);
	cr_assert_eq(uuid_compare(message.stamp.operation, operation), 0);
	cr_assert_eq(message.stamp.position, 2);
	cr_assert_eq(message.stamp.attempt, 1);
	cr_assert_eq(message.stamp.generation, -7);
	cr_assert_eq(message.stamp.epoch, 12);
	cr_assert_eq(message.stamp.deadline_ms, 1790000000000);
	cr_assert_eq(message.stamp.limit_ms, 120000);
	cr_assert_eq(message.stamp.flags, STAMP_CAREFUL | STAMP_ALONE);
	cr_assert(slice_is(message.stamp.queue, "slow.1"));
	cr_assert_eq(message.stamp.kind, MESSAGE_RESULT);
	cr_assert_eq(message.stamp.worker.length, 0);
	cr_assert_not(message.stamp.retry);
}

Test(message, what_a_dispatch_may_leave_out)
{
	struct message message = parsed(WITH_KSER("{" DISPATCH ",\"unknown\":[1]}"));
	cr_assert(message.stamped);
	cr_assert_eq(message.stamp.deadline_ms, 0);
	cr_assert_eq(message.stamp.limit_ms, 0);
	cr_assert_eq(message.stamp.flags, 0);
	cr_assert_eq(message.stamp.queue.length, 0);
	cr_assert_eq(message.stamp.inherited.kind, JSON_NULL);
	cr_assert_eq(message.stamp.tasks.kind, JSON_NULL);
}

Test(message, a_reply)
{
	struct message message = parsed(WITH_KSER("{" DISPATCH ",\"kind\":\"result\",\"worker\":\"host:12:ab\",\"outcome\":\"retry\","
		"\"inherited\":{\"stdout\":true},\"tasks\":[{\"entrypoint\":\"x\"}]}"));
	cr_assert(slice_is(message.stamp.worker, "host:12:ab"));
	cr_assert(message.stamp.retry);
	cr_assert(slice_is(message.stamp.inherited.text, "{\"stdout\":true}"));
	cr_assert(slice_is(message.stamp.tasks.text, "[{\"entrypoint\":\"x\"}]"));
}

Test(message, kinds)
{
	cr_expect_eq(parsed(WITH_KSER("{" DISPATCH ",\"kind\":\"claim\"}")).stamp.kind, MESSAGE_CLAIM);
	cr_expect_eq(parsed(WITH_KSER("{" DISPATCH ",\"start_by\":17}")).stamp.start_by_ms, 17);
	cr_expect_eq(parsed(WITH_KSER("{" DISPATCH ",\"kind\":\"release\"}")).stamp.kind, MESSAGE_RELEASE);
	cr_expect_eq(parsed(WITH_KSER("{" DISPATCH ",\"\\u006bind\":\"cl\\u0061im\"}")).stamp.kind, MESSAGE_CLAIM);
	refused(WITH_KSER("{" DISPATCH ",\"kind\":\"clam\"}"), "metadata.kser.kind: must be result, claim, heartbeat, release, dead or control");
	refused(WITH_KSER("{" DISPATCH ",\"kind\":\"\"}"), "metadata.kser.kind: must be result, claim, heartbeat, release, dead or control");
	refused(WITH_KSER("{" DISPATCH ",\"outcome\":\"done\"}"), "metadata.kser.outcome: must be retry");
}

Test(message, reports_of_a_worker_belong_to_no_task)
{
	struct message message = parsed("{\"uuid\":\"any\",\"entrypoint\":\"kser.heartbeat\",\"metadata\":{\"kser\":{\"kind\":\"heartbeat\",\"worker\":\"w\",\"slots\":4}}}");
	cr_assert(message.stamped);
	cr_assert_eq(message.stamp.kind, MESSAGE_HEARTBEAT);
	cr_assert(uuid_is_null(message.stamp.operation));
	cr_assert_eq(parsed("{\"uuid\":\"\",\"entrypoint\":\"kser.claim\",\"metadata\":{\"kser\":{\"kind\":\"claim\",\"claims\":[]}}}").stamp.kind, MESSAGE_CLAIM);
	cr_assert_eq(parsed("{\"uuid\":\"\",\"entrypoint\":\"kser.release\",\"metadata\":{\"kser\":{\"kind\":\"release\",\"tasks\":[]}}}").stamp.kind, MESSAGE_RELEASE);
	cr_assert_eq(parsed("{\"uuid\":\"\",\"entrypoint\":\"kser.control\",\"metadata\":{\"kser\":{\"kind\":\"control\"}}}").stamp.kind, MESSAGE_CONTROL);
	cr_assert_eq(parsed("{\"uuid\":\"\",\"entrypoint\":\"kser.dead\",\"metadata\":{\"kser\":{\"kind\":\"dead\"}}}").stamp.kind, MESSAGE_DEAD);
}

Test(message, not_stamped)
{
	cr_expect_not(parsed("{\"uuid\":\"u\",\"entrypoint\":\"e\"}").stamped);
	cr_expect_not(parsed("{\"uuid\":\"u\",\"entrypoint\":\"e\",\"metadata\":{\"x\":1}}").stamped);
	cr_expect_not(parsed("{\"uuid\":\"u\",\"entrypoint\":\"e\",\"metadata\":{\"kser\":{}}}").stamped);
	struct message submission = parsed("{\"uuid\":\"u\",\"entrypoint\":\"e\",\"metadata\":{\"kser\":{\"tasks\":[{\"entrypoint\":\"a\"}],\"queue\":\"q\",\"priority\":3}}}");
	cr_expect_not(submission.stamped);
	cr_expect_not(parsed("{\"uuid\":\"u\",\"entrypoint\":\"e\",\"metadata\":{\"kser\":{\"deadline\":\"1h\",\"queue\":null,\"tasks\":7}}}").stamped, "the database checks it");
}

Test(message, a_broken_stamp)
{
	refused(WITH_KSER("null"), "metadata.kser: must be an object, not null");
	refused(WITH_KSER("[]"), "metadata.kser: must be an object, not an array");
	refused(WITH_KSER("{\"pos\":2,\"attempt\":1,\"gen\":1,\"epoch\":1}"), "metadata.kser.op: is missing");
	refused(WITH_KSER("{\"op\":\"" OPERATION "\",\"attempt\":1,\"gen\":1,\"epoch\":1}"), "metadata.kser.pos: is missing");
	refused(WITH_KSER("{\"op\":\"" OPERATION "\",\"pos\":1,\"gen\":1,\"epoch\":1}"), "metadata.kser.attempt: is missing");
	refused(WITH_KSER("{\"op\":\"" OPERATION "\",\"pos\":1,\"attempt\":1,\"epoch\":1}"), "metadata.kser.gen: is missing");
	refused(WITH_KSER("{\"op\":\"" OPERATION "\",\"pos\":1,\"attempt\":1,\"gen\":1}"), "metadata.kser.epoch: is missing");
	refused(WITH_KSER("{\"kind\":\"result\"}"), "metadata.kser.op: is missing");
	refused(WITH_KSER("{\"op\":\"x\",\"pos\":1,\"attempt\":1,\"gen\":1,\"epoch\":1}"), "metadata.kser.op: must be a uuid");
	refused(WITH_KSER("{\"op\":\"" OPERATION "0\",\"pos\":1,\"attempt\":1,\"gen\":1,\"epoch\":1}"), "metadata.kser.op: must be a uuid");
	refused(WITH_KSER("{\"op\":1,\"pos\":1,\"attempt\":1,\"gen\":1,\"epoch\":1}"), "metadata.kser.op: must be a string, not an integer");
	refused("{\"uuid\":\"u\",\"entrypoint\":\"e\",\"metadata\":{\"kser\":{" DISPATCH "}}}", "uuid: must be a uuid beside metadata.kser");
}

Test(message, kinds_and_ranges_in_the_stamp)
{
	const char *const cases[][2] = {
		{"\"pos\":-1", "metadata.kser.pos: must be from 0 to 2147483647, not -1"},
		{"\"pos\":2147483648", "metadata.kser.pos: must be from 0 to 2147483647, not 2147483648"},
		{"\"pos\":1.0", "metadata.kser.pos: must be an integer, not a fraction"},
		{"\"pos\":\"1\"", "metadata.kser.pos: must be an integer, not a string"},
		{"\"attempt\":0", "metadata.kser.attempt: must be from 1 to 2147483647, not 0"},
		{"\"gen\":null", "metadata.kser.gen: must be an integer, not null"},
		{"\"epoch\":true", "metadata.kser.epoch: must be an integer, not a boolean"},
		{"\"deadline\":-1", "metadata.kser.deadline: must be from 0 to 9223372036854775807, not -1"},
		{"\"deadline\":null", "metadata.kser.deadline: must be an integer, not null"},
		{"\"limit_ms\":-5", "metadata.kser.limit_ms: must be from 0 to 9223372036854775807, not -5"},
		{"\"flags\":4294967296", "metadata.kser.flags: must be from 0 to 4294967295, not 4294967296"},
		{"\"queue\":5", "metadata.kser.queue: must be a string, not an integer"},
		{"\"queue\":\"a b\"", "metadata.kser.queue: must be at most 100 of a-z A-Z 0-9 . _ -"},
		{"\"queue\":\"\\u0061\"", "metadata.kser.queue: must be at most 100 of a-z A-Z 0-9 . _ -"},
		{"\"worker\":\"a\\nb\"", "metadata.kser.worker: must be at most 255 bytes of printable ASCII"},
		{"\"worker\":\"é\"", "metadata.kser.worker: must be at most 255 bytes of printable ASCII"},
		{"\"inherited\":[]", "metadata.kser.inherited: must be an object, not an array"},
		{"\"tasks\":{}", "metadata.kser.tasks: must be an array, not an object"},
		{"\"kind\":1", "metadata.kser.kind: must be a string, not an integer"},
	};
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct buffer text = {0};
		buffer_printf(&text, "{\"uuid\":\"" TASK "\",\"entrypoint\":\"e\",\"metadata\":{\"kser\":{\"op\":\"" OPERATION "\",%s}}}", cases[i][0]);
		refused(text.bytes, cases[i][1]);
		buffer_clear(&text);
	}
}

static enum status parse_queue(const char *notation)
{
	struct buffer text = {0};
	buffer_add_text(&text, "{\"uuid\":\"" TASK "\",\"entrypoint\":\"e\",\"metadata\":{\"kser\":{\"op\":\"" OPERATION "\",\"pos\":1,\"attempt\":1,\"gen\":1,\"epoch\":1,\"queue\":\"");
	add_notation(&text, slice_of(notation));
	buffer_add_text(&text, "\"}}}");
	struct message message;
	enum status status = message_parse(buffer_slice(&text), &message, NULL);
	buffer_clear(&text);
	return status;
}

Test(message, queue_limits)
{
	cr_expect_eq(parse_queue(""), E_OK);
	cr_expect_eq(parse_queue("%{100:q}"), E_OK);
	cr_expect_eq(parse_queue("%{101:q}"), E_INVALID);
	cr_expect_eq(parse_queue("azAZ09._-"), E_OK);
	cr_expect_eq(parse_queue("a/b"), E_INVALID);
}

/* ---- results ---- */

Test(message, result_defaults)
{
	struct result result;
	cr_assert_eq(result_parse((struct json_value){JSON_NULL, {"", 0}}, &result, NULL), E_OK);
	cr_assert_eq(result.uuid.kind, JSON_NULL);
	cr_assert_eq(result.retcode, 0);
	cr_assert(slice_is(result.stdout_text.text, "\"\""));
	cr_assert(slice_is(result.stderr_text.text, "\"\""));
	cr_assert(slice_is(result.retval.text, "{}"));
}

Test(message, retcode_is_within_32_bits)
{
	struct result result;
	struct error err = {0};
	struct message message = parsed("{\"uuid\":\"u\",\"entrypoint\":\"e\",\"result\":{\"retcode\":-2147483648}}");
	cr_assert_eq(result_parse(message.result, &result, &err), E_OK);
	cr_assert_eq(result.retcode, INT32_MIN);
	message = parsed("{\"uuid\":\"u\",\"entrypoint\":\"e\",\"result\":{\"retcode\":2147483647}}");
	cr_assert_eq(result_parse(message.result, &result, &err), E_OK);
	cr_assert_eq(result.retcode, INT32_MAX);
	refused("{\"uuid\":\"u\",\"entrypoint\":\"e\",\"result\":{\"retcode\":2147483648}}",
		"result.retcode: must be from -2147483648 to 2147483647, not 2147483648");
	refused("{\"uuid\":\"u\",\"entrypoint\":\"e\",\"result\":{\"retcode\":-2147483649}}",
		"result.retcode: must be from -2147483648 to 2147483647, not -2147483649");
}

Test(message, result_of_another_kind)
{
	struct result result;
	struct error err = {0};
	cr_assert_eq(result_parse((struct json_value){JSON_ARRAY, {"[]", 2}}, &result, &err), E_INVALID);
	cr_assert_str_eq(err.text, "result: must be an object, not an array");
}

/* ---- writing ---- */

static struct message parsed_buffer(const struct buffer *text)
{
	struct message message;
	struct error err = {0};
	cr_assert_eq(message_parse(buffer_slice(text), &message, &err), E_OK, "%s: %s", text->bytes, err.text);
	return message;
}

static struct dispatch example_dispatch(void)
{
	struct dispatch dispatch = {
		.entrypoint = slice_of("jobs.\"Hello\"\\é"),
		.stamp = {.position = 3, .attempt = 2, .generation = INT64_MIN, .epoch = 77},
	};
	cr_assert_eq(uuid_parse(TASK, dispatch.uuid), 0);
	cr_assert_eq(uuid_parse(OPERATION, dispatch.stamp.operation), 0);
	return dispatch;
}

Test(message, the_least_dispatch)
{
	struct dispatch dispatch = example_dispatch();
	struct buffer text = {0};
	message_add_dispatch(&text, &dispatch);
	cr_assert_str_eq(text.bytes, "{\"uuid\":\"" TASK "\",\"entrypoint\":\"jobs.\\\"Hello\\\"\\\\é\",\"params\":{},\"result\":null,"
		"\"metadata\":{\"kser\":{\"op\":\"" OPERATION "\",\"pos\":3,\"attempt\":2,\"gen\":-9223372036854775808,\"epoch\":77}}}");
	buffer_clear(&text);
}

Test(message, a_full_dispatch_is_read_as_it_was_meant)
{
	struct dispatch dispatch = example_dispatch();
	dispatch.params = slice_of("{ \"a\" : 1 }");
	dispatch.result = slice_of("{\"retcode\":4}");
	dispatch.metadata = slice_of(" { \"traceparent\" : \"00-1\", \"x\":{} } ");
	dispatch.stamp.deadline_ms = 5;
	dispatch.stamp.limit_ms = 6;
	dispatch.stamp.flags = STAMP_ALONE;
	dispatch.stamp.queue = slice_of("slow");
	struct buffer text = {0};
	message_add_dispatch(&text, &dispatch);
	struct message message = parsed_buffer(&text);
	cr_assert(slice_is(message.params.text, "{ \"a\" : 1 }"));
	cr_assert(slice_is(message.result.text, "{\"retcode\":4}"));
	cr_assert(message.stamped);
	cr_assert_eq(message.stamp.generation, INT64_MIN);
	cr_assert_eq(message.stamp.deadline_ms, 5);
	cr_assert_eq(message.stamp.limit_ms, 6);
	cr_assert_eq(message.stamp.flags, STAMP_ALONE);
	cr_assert(slice_is(message.stamp.queue, "slow"));
	struct json_value found;
	cr_assert(json_find(message.metadata, "traceparent", &found));
	cr_assert(slice_is(found.text, "\"00-1\""));
	cr_assert(json_find(message.metadata, "x", &found));
	buffer_clear(&text);
}

static void dispatches(const char *metadata, enum dispatch_trace trace, const char *expected)
{
	struct dispatch dispatch = example_dispatch();
	struct buffer text = {0};
	dispatch.metadata = slice_of(metadata);
	dispatch.trace = trace;
	message_add_dispatch(&text, &dispatch);
	(void)parsed_buffer(&text);
	const char *end = strstr(text.bytes, "\"epoch\":77}");
	cr_assert(end);
	cr_expect_str_eq(end + strlen("\"epoch\":77}"), expected);
	buffer_clear(&text);
}

/* With tracing the root span takes the place of what the submission named, in its trace. */
Test(message, a_traced_dispatch_names_the_root_span_of_its_operation)
{
	struct dispatch example = example_dispatch();
	struct buffer root = {0}, expected = {0}, whole = {0};
	trace_add_hex(&root, example.stamp.operation + 8, 8);
	trace_add_hex(&whole, example.stamp.operation, 16);
	buffer_printf(&expected, ",\"traceparent\":\"00-%s-%s-01\"}}", whole.bytes, root.bytes);
	dispatches("", DISPATCH_TRACED, expected.bytes);
	buffer_reset(&expected);
	buffer_printf(&expected, ",\"traceparent\":\"00-0af7651916cd43dd8448eb211c80319c-%s-00\",\"x\": 1,\"tracestate\":\"a=b\"}}", root.bytes);
	dispatches("{\"x\": 1, \"trace\\u0070arent\":\"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00\",\"tracestate\":\"a=b\"}", DISPATCH_TRACED, expected.bytes);
	/* A trace of 64 bits is one that a worker in Python can continue. */
	buffer_reset(&expected);
	buffer_printf(&expected, ",\"traceparent\":\"00-00000000000000000000000000000abc-%s-01\",\"__parent-span__\":{\"uber-trace-id\":\"abc:%s:0:1\"}}}", root.bytes, root.bytes);
	dispatches("{\"__parent-span__\":{\"uber-trace-id\":\"abc:def:0:1\"}}", DISPATCH_TRACED, expected.bytes);
	buffer_reset(&expected);
	buffer_printf(&expected, ",\"traceparent\":\"00-0000000000000000%s-%s-01\",\"__parent-span__\":{\"uber-trace-id\":\"%s:%s:0:1\"}}}", root.bytes, root.bytes, root.bytes, root.bytes);
	dispatches("{}", DISPATCH_TRACED_SHORT, expected.bytes);
	dispatches("{\"traceparent\":\"00-1\"}", DISPATCH_UNTRACED, ",\"traceparent\":\"00-1\"}}");
	buffer_clear(&root);
	buffer_clear(&whole);
	buffer_clear(&expected);
}

/* The metadata of a user cannot forge ours or spoil the record by a second key. */
Test(message, a_dispatch_leaves_a_foreign_kser_key_out)
{
	struct dispatch dispatch = example_dispatch();
	dispatch.metadata = slice_of("{\"kser\":{\"attempt\":9},\"\\u006bser\":1}");
	struct buffer text = {0};
	message_add_dispatch(&text, &dispatch);
	cr_assert_eq(parsed_buffer(&text).stamp.attempt, 2);
	buffer_clear(&text);
}

Test(message, a_reply_returns_the_metadata_but_for_what_it_says)
{
	struct message task = parsed("{\"uuid\":\"" TASK "\",\"entrypoint\":\"e\\/1\",\"params\":{\"a\": [1, 2]},\"top\":1,"
		"\"metadata\":{\"traceparent\":\"00\",\"kser\":{" DISPATCH ",\"later\":{\"x\": 1},\"kind\":\"claim\",\"worker\":\"old\",\"outcome\":\"retry\","
		"\"inherited\":{},\"tasks\":[],\"queue\":\"q\"},\"other\": null}}");
	struct reply reply = {.kind = MESSAGE_RESULT, .worker = slice_of("w\"1"), .result = slice_of("{\"retcode\":1}"),
		.inherited = slice_of("{\"stdout\":true}"), .tasks = slice_of("[{\"entrypoint\":\"n\"}]")};
	struct buffer text = {0};
	message_add_reply(&text, &task, &reply);
	cr_assert_str_eq(text.bytes, "{\"uuid\":\"" TASK "\",\"entrypoint\":\"e\\/1\",\"params\":{\"a\": [1, 2]},\"result\":{\"retcode\":1},"
		"\"metadata\":{\"kser\":{\"kind\":\"result\",\"worker\":\"w\\\"1\",\"inherited\":{\"stdout\":true},\"tasks\":[{\"entrypoint\":\"n\"}],"
		DISPATCH ",\"later\":{\"x\": 1},\"queue\":\"q\"},\"traceparent\":\"00\",\"other\": null}}");
	buffer_clear(&text);
}

Test(message, a_claim_carries_the_result_as_it_came)
{
	struct message task = parsed("{\"uuid\":\"" TASK "\",\"entrypoint\":\"e\",\"result\":{\"retcode\":3,\"x\":1},\"metadata\":{\"kser\":{" DISPATCH "}}}");
	struct reply reply = {.kind = MESSAGE_CLAIM, .worker = slice_of("w"), .retry = true};
	struct buffer text = {0};
	message_add_reply(&text, &task, &reply);
	struct message message = parsed_buffer(&text);
	cr_assert(slice_is(message.result.text, "{\"retcode\":3,\"x\":1}"));
	cr_assert_eq(message.stamp.kind, MESSAGE_CLAIM);
	cr_assert(message.stamp.retry);
	cr_assert_eq(message.stamp.tasks.kind, JSON_NULL);
	buffer_clear(&text);
}

Test(message, a_reply_to_a_task_without_result_or_stamp)
{
	struct message task = parsed("{\"uuid\":\"u\",\"entrypoint\":\"e\"}");
	struct reply reply = {.kind = MESSAGE_RELEASE, .worker = slice_of("w")};
	struct buffer text = {0};
	message_add_reply(&text, &task, &reply);
	cr_assert_str_eq(text.bytes, "{\"uuid\":\"u\",\"entrypoint\":\"e\",\"params\":{},\"result\":null,"
		"\"metadata\":{\"kser\":{\"kind\":\"release\",\"worker\":\"w\"}}}");
	buffer_clear(&text);
}

static void expect_base64(const char *bytes, size_t length, const char *expected)
{
	struct dead_record dead = {slice_of("kser.tasks"), 3, 99, {bytes, length}, slice_of("byte 0, $: \"x\""), slice_of("w")};
	struct buffer text = {0};
	message_add_dead(&text, &dead);
	struct message message = parsed_buffer(&text);
	cr_assert_eq(message.stamp.kind, MESSAGE_DEAD);
	struct json_value kser;
	struct json_value found;
	cr_assert(json_find(message.metadata, "kser", &kser));
	cr_assert(json_find(kser, "bytes", &found));
	cr_expect(slice_is((struct slice){found.text.start + 1, found.text.length - 2}, expected), "%s", text.bytes);
	cr_assert(json_find(kser, "offset", &found));
	cr_assert(slice_is(found.text, "99"));
	cr_assert(json_find(kser, "reason", &found));
	cr_assert(slice_is(found.text, "\"byte 0, $: \\\"x\\\"\""));
	buffer_clear(&text);
}

Test(message, a_dead_report)
{
	expect_base64("", 0, "");
	expect_base64("f", 1, "Zg==");
	expect_base64("fo", 2, "Zm8=");
	expect_base64("foo", 3, "Zm9v");
	expect_base64("foobar", 6, "Zm9vYmFy");
	expect_base64("\xff\xfe\0\x01", 4, "//4AAQ==");
}

Test(message, a_dead_report_of_the_largest_record_fits_in_a_record)
{
	struct buffer bytes = {0};
	add_notation(&bytes, slice_of("%{1048576:x}"));
	struct dead_record dead = {.topic = slice_of("t"), .bytes = buffer_slice(&bytes), .reason = slice_of("r"), .worker = slice_of("w")};
	struct buffer text = {0};
	message_add_dead(&text, &dead);
	cr_assert_lt(text.length, MESSAGE_BYTES_MAX);
	cr_assert_gt(text.length, DEAD_BYTES_MAX / 3 * 4);
	(void)parsed_buffer(&text);
	buffer_clear(&bytes);
	buffer_clear(&text);
}
