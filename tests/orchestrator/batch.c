#include "orchestrator/batch.h"

#include <criterion/criterion.h>
#include <endian.h>
#include <arpa/inet.h>
#include <string.h>

#define OPERATION_A "\"op\":\"01a20a2d-b27e-7b0c-9631-5904d68f478d\""
#define OPERATION_B "\"op\":\"01a20a2d-b27e-7b0c-9631-5904d68f478e\""
#define TASK "\"uuid\":\"01a20a2d-b280-7900-9ed9-3ea3d93e530b\",\"entrypoint\":\"e\""

static const struct settings settings = {.topic_prefix = "t"};
static struct cell *cell;
static struct batch *batch;

static void setup(void)
{
	cell = cell_new(&settings, NULL);
	cell_set_partitions(cell, cell_queue(cell, slice_of("")), 4);
	batch = batch_new();
}

static void teardown(void)
{
	batch_free(batch);
	cell_free(cell);
}

/* The records are texts of the test: nothing to destroy. */
static enum status add(const char *text, struct error *err)
{
	struct message message;
	enum status status = message_parse(slice_of(text), &message, err);
	if (!status)
		status = batch_add(batch, cell, NULL, &(struct buffer){0}, &message, (struct origin){.partition = 3, .offset = 77}, err);
	return status;
}

/* One element of a one-dimensional array in binary form: its length, -1 for null. */
static int32_t element(struct parameter parameter, int index, const char **bytes)
{
	const char *at = parameter.bytes + 20;
	uint32_t length = 0;
	for (int i = 0; i <= index; i++) {
		memcpy(&length, at, sizeof length);
		at += sizeof length;
		*bytes = at;
		at += (int32_t)ntohl(length) < 0 ? 0 : ntohl(length);
	}
	return (int32_t)ntohl(length);
}

static bool says(struct parameter parameter, int index, const char *text)
{
	const char *bytes;
	int32_t length = element(parameter, index, &bytes);
	return length == (int32_t)strlen(text) && memcmp(bytes, text, strlen(text)) == 0;
}

enum { ANSWERS = 6, RETCODES = 7, ERRORS, STDOUTS, STDERRS, RETVALS, TOTALS, PLANS, TEMPORARIES };

Test(batch, replies_are_sorted_by_operation_and_position, .init = setup, .fini = teardown)
{
	struct parameter parameters[APPLY_PARAMETERS];
	struct error err = {0};
	const char *bytes;
	cr_assert_eq(add("{" TASK ",\"result\":{\"retcode\":0},\"metadata\":{\"kser\":{" OPERATION_B ",\"pos\":0,\"attempt\":1,\"gen\":5,\"epoch\":1}}}", &err), E_OK, "%s", err.text);
	cr_assert_eq(add("{" TASK ",\"result\":{\"retcode\":0},\"metadata\":{\"kser\":{" OPERATION_A ",\"pos\":7,\"attempt\":1,\"gen\":5,\"epoch\":1}}}", &err), E_OK);
	cr_assert_eq(add("{" TASK ",\"result\":{\"retcode\":0},\"metadata\":{\"kser\":{" OPERATION_A ",\"pos\":2,\"attempt\":1,\"gen\":5,\"epoch\":1}}}", &err), E_OK);
	batch_choose(batch);
	batch_parameters(batch, cell, false, parameters);
	cr_assert_eq(batch_reply(batch, 1)->message.stamp.position, 2);
	cr_assert_eq(batch_reply(batch, 2)->message.stamp.position, 7);
	cr_assert_eq(batch_reply(batch, 3)->message.stamp.position, 0);
	cr_assert_eq(element(parameters[ANSWERS], 0, &bytes), 8);
	uint64_t answer;
	memcpy(&answer, bytes, sizeof answer);
	cr_assert_eq(be64toh(answer), (uint64_t)3 << 48 | 77);
	cr_assert_null(parameters[ERRORS].bytes, "a column without a value is null as a whole");
}

Test(batch, what_is_only_carried_on_is_left_out, .init = setup, .fini = teardown)
{
	struct parameter parameters[APPLY_PARAMETERS];
	struct error err = {0};
	const char *bytes;
	cr_assert_eq(add("{" TASK ",\"result\":{\"uuid\":\"u\",\"retcode\":0,\"stdout\":\"old\",\"stderr\":\"n\\u00e9w\",\"retval\":{\"a\":1,\"b\":[2]}},"
			 "\"metadata\":{\"kser\":{" OPERATION_A ",\"pos\":1,\"attempt\":1,\"gen\":5,\"epoch\":1,\"inherited\":{\"stdout\":true,\"retval\":[\"a\"]}}}}", &err), E_OK, "%s", err.text);
	batch_choose(batch);
	batch_parameters(batch, cell, false, parameters);
	cr_assert_null(parameters[STDOUTS].bytes);
	cr_assert(says(parameters[STDERRS], 0, "n\xc3\xa9w"));
	cr_assert(says(parameters[RETVALS], 0, "{\"b\":[2]}"));
	cr_assert_gt(element(parameters[TOTALS], 0, &bytes), 0, "the accumulated result goes along");
}

Test(batch, an_error_has_its_name_and_a_retry_has_failed, .init = setup, .fini = teardown)
{
	struct parameter parameters[APPLY_PARAMETERS];
	struct error err = {0};
	const char *bytes;
	uint32_t retcode;
	cr_assert_eq(add("{" TASK ",\"result\":{\"retcode\":400,\"retval\":{\"error\":{\"name\":\"ValidationError\"}}},"
			 "\"metadata\":{\"kser\":{" OPERATION_A ",\"pos\":1,\"attempt\":1,\"gen\":5,\"epoch\":1}}}", &err), E_OK, "%s", err.text);
	cr_assert_eq(add("{" TASK ",\"result\":{\"retcode\":0},\"metadata\":{\"kser\":{" OPERATION_A ",\"pos\":2,\"attempt\":1,\"gen\":5,\"epoch\":1,\"outcome\":\"retry\"}}}", &err), E_OK, "%s", err.text);
	batch_choose(batch);
	batch_parameters(batch, cell, false, parameters);
	cr_assert(says(parameters[ERRORS], 0, "ValidationError"));
	cr_assert_eq(element(parameters[RETCODES], 1, &bytes), 4);
	memcpy(&retcode, bytes, sizeof retcode);
	cr_assert_eq(ntohl(retcode), 503);
	cr_assert_eq(element(parameters[TEMPORARIES], 0, &bytes), -1);
	cr_assert_eq(element(parameters[TEMPORARIES], 1, &bytes), 1);
}

Test(batch, what_answers_no_task_is_refused, .init = setup, .fini = teardown)
{
	struct error err = {0};
	cr_assert_eq(add("{" TASK "}", &err), E_INVALID);
	cr_assert(strstr(err.text, "metadata.kser"));
	cr_assert_eq(add("{\"uuid\":\"x\",\"entrypoint\":\"e\",\"metadata\":{\"kser\":{" OPERATION_A ",\"pos\":1,\"attempt\":1,\"gen\":5,\"epoch\":1}}}", &err), E_INVALID);
	cr_assert(strstr(err.text, "uuid"));
	cr_assert_eq(add("{" TASK ",\"metadata\":{\"kser\":{" OPERATION_A ",\"pos\":1,\"attempt\":1,\"gen\":5,\"epoch\":1}}}", &err), E_INVALID, "a dispatch is no answer");
	cr_assert(strstr(err.text, "result"));
	cr_assert_eq(batch->count, 0);
}

#define STAMP(operation, position, others) "\"metadata\":{\"kser\":{" operation ",\"pos\":" position ",\"attempt\":1,\"epoch\":4" others "}}"
#define SUCCESS TASK ",\"result\":{\"retcode\":0},"

Test(batch, plain_is_a_success_that_says_nothing_else_and_is_alone_for_its_task, .init = setup, .fini = teardown)
{
	static const char *const texts[] = {
		"{" SUCCESS STAMP(OPERATION_B, "9", ",\"gen\":5") "}",
		"{" SUCCESS STAMP(OPERATION_B, "1", ",\"gen\":5") "}", /* twice */
		"{" SUCCESS STAMP(OPERATION_A, "1", ",\"gen\":5") "}",
		"{" SUCCESS STAMP(OPERATION_B, "1", ",\"gen\":5") "}",
		"{" SUCCESS STAMP(OPERATION_A, "2", ",\"gen\":6") "}", /* of another generation */
		"{" SUCCESS STAMP(OPERATION_A, "3", ",\"gen\":5,\"outcome\":\"retry\"") "}",
		"{" SUCCESS STAMP(OPERATION_A, "4", ",\"gen\":5,\"tasks\":[{\"entrypoint\":\"e\"}]") "}",
		"{" TASK ",\"result\":{\"retcode\":1}," STAMP(OPERATION_A, "5", ",\"gen\":5") "}",
		"{" SUCCESS STAMP(OPERATION_A, "6", ",\"gen\":5") "}", /* was busy */
	};
	struct error err = {0};
	for (size_t i = 0; i < COUNT_OF(texts); i++)
		cr_assert_eq(add(texts[i], &err), E_OK, "%s", err.text);
	batch->replies[8].retry_ms = 1;
	cr_assert_eq(batch_choose_plain(batch, 5), 2);
	cr_assert_eq(batch_reply(batch, 1), &batch->replies[2]);
	cr_assert_eq(batch_reply(batch, 2), &batch->replies[0]);
	batch->replies[0].settled = true;
	cr_assert_eq(batch_choose_plain(batch, 5), 1);
	cr_assert_eq(batch_choose(batch), COUNT_OF(texts) - 1);
}

Test(batch, a_plain_success_needs_few_columns, .init = setup, .fini = teardown)
{
	enum { GENERATION, EPOCH, PLAIN_POSITIONS = 3, PLAIN_ANSWERS = 6, PLAIN_WORKERS = 9, PLAIN_STDOUTS, PLAIN_TOTALS = 13 };
	struct parameter parameters[APPLY_PLAIN_PARAMETERS];
	struct error err = {0};
	const char *bytes;
	uint64_t epoch;
	cr_assert_eq(add("{" TASK ",\"result\":{\"retcode\":7}," STAMP(OPERATION_A, "1", ",\"gen\":5") "}", &err), E_OK);
	cr_assert_eq(add("{" TASK ",\"result\":{\"retcode\":0,\"stdout\":\"out\"}," STAMP(OPERATION_A, "2", ",\"gen\":5,\"worker\":\"w\"") "}", &err), E_OK);
	cr_assert_eq(batch_choose_plain(batch, 5), 1);
	batch_plain_parameters(batch, cell, 5, parameters);
	memcpy(&epoch, parameters[EPOCH].bytes, sizeof epoch);
	cr_assert_eq(be64toh(epoch), 4);
	cr_assert_eq(element(parameters[PLAIN_POSITIONS], 0, &bytes), 4);
	cr_assert_eq(bytes[3], 2, "the chosen one, not the first of the batch");
	cr_assert_eq(element(parameters[PLAIN_ANSWERS], 0, &bytes), 8);
	cr_assert(says(parameters[PLAIN_WORKERS], 0, "w"));
	cr_assert(says(parameters[PLAIN_STDOUTS], 0, "out"));
	cr_assert_null(parameters[PLAIN_TOTALS].bytes);
	cr_assert(batch_target(batch, 1) >= 0 && batch_target(batch, 1) < 4);
}
