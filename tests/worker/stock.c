#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/limits.h"
#include "tests/worker/task_text.h"
#include "worker/stock.h"

static enum kser_outcome run(const char *name, const char *params, const char *further, struct kser_result *result, int64_t *due_after_ms)
{
	struct entrypoints entrypoints CLEANUP(entrypoints_clear) = {0};
	struct error err;
	cr_assert_eq(stock_add(&entrypoints, &err), E_OK);
	const struct entrypoint *entrypoint = entrypoints_find(&entrypoints, slice_of(name));
	struct kser_task *task = make_task(params, NULL, further);
	enum kser_outcome outcome = entrypoint->run(task, result, entrypoint->context);
	if (due_after_ms)
		*due_after_ms = task->due_ms ? task->due_ms - task->started_ms : 0;
	task_forget(task);
	task_free(task);
	return outcome;
}

static void expect_retval(const struct kser_result *result, const char *wanted)
{
	struct buffer text CLEANUP(buffer_clear) = {0};
	struct buffer inherited CLEANUP(buffer_clear) = {0};
	retval_add_sum(&text, &inherited, (struct json_value){JSON_NULL, {"", 0}}, &result->retval);
	cr_expect_str_eq(text.bytes, wanted);
}

Test(stock, echo_prints_its_text)
{
	struct kser_result result CLEANUP(result_clear) = {0};
	cr_expect_eq(run("echo", "{\"text\": \"h\\u00e9llo\", \"n\": 1}", "", &result, NULL), KSER_SUCCESS);
	cr_expect_str_eq(result.out.kept.bytes, "h\xc3\xa9llo\n");
	expect_retval(&result, "{\"text\":\"h\\u00e9llo\",\"n\":1}");
}

Test(stock, echo_prints_all_params)
{
	struct kser_result result CLEANUP(result_clear) = {0};
	cr_expect_eq(run("echo", "{\"text\": 5, \"x\": [1, 2]}", "", &result, NULL), KSER_SUCCESS);
	cr_expect_str_eq(result.out.kept.bytes, "{\"text\": 5, \"x\": [1, 2]}\n");
}

Test(stock, sleep_holds_a_timer)
{
	struct kser_result result CLEANUP(result_clear) = {0};
	int64_t due_ms;
	cr_expect_eq(run("sleep", "{\"seconds\": 0.25}", "", &result, &due_ms), KSER_SUCCESS);
	cr_expect_eq(due_ms, 250);
	cr_expect_eq(run("sleep", "{\"seconds\": 3}", ", \"limit_ms\": 1000", &result, &due_ms), KSER_FAILURE);
	cr_expect_leq(due_ms, 1000);
	cr_expect_gt(due_ms, 500);
	cr_expect_eq(result.retcode, 504);
	cr_expect_str_eq(result.message.bytes, "the time limit came before the end");
	result_clear(&result);
	char further[60];
	snprintf(further, sizeof further, ", \"deadline\": %lld", (long long)clock_wall_ms() + 60000);
	cr_expect_eq(run("sleep", "{\"seconds\": 100}", further, &result, &due_ms), KSER_FAILURE);
	cr_expect_str_eq(result.message.bytes, "the deadline of the operation came before the end");
	result_clear(&result);
	static const char *const wrong[] = {"{\"seconds\": -1}", "{\"seconds\": 1e9}", "{\"seconds\": \"1\"}", "{}"};
	for (size_t i = 0; i < COUNT_OF(wrong); i++) {
		cr_expect_eq(run("sleep", wrong[i], "", &result, &due_ms), KSER_FAILURE, "%s", wrong[i]);
		cr_expect_eq(result.retcode, 400);
		cr_expect_eq(due_ms, 0);
		result_clear(&result);
	}
}

Test(stock, fail_fails_as_asked)
{
	struct kser_result result CLEANUP(result_clear) = {0};
	cr_expect_eq(run("fail", "{\"code\": 418, \"message\": \"no\"}", "", &result, NULL), KSER_FAILURE);
	cr_expect_eq(result.retcode, 418);
	cr_expect_str_eq(result.message.bytes, "no");
	cr_expect_eq(run("fail", "{\"retry\": true}", "", &result, NULL), KSER_RETRY);
	cr_expect_eq(result.retcode, 500);
	cr_expect_eq(run("fail", "{\"code\": 0}", "", &result, NULL), KSER_FAILURE);
	cr_expect_eq(result.retcode, 500);
}

Test(stock, dice_rolls_each_side)
{
	bool rolled[7] = {false};
	for (int i = 0; i < 300; i++) {
		struct kser_result result CLEANUP(result_clear) = {0};
		cr_assert_eq(run("dice", "{}", "", &result, NULL), KSER_SUCCESS);
		struct buffer text CLEANUP(buffer_clear) = {0};
		struct buffer inherited CLEANUP(buffer_clear) = {0};
		retval_add_sum(&text, &inherited, (struct json_value){JSON_NULL, {"", 0}}, &result.retval);
		int roll = 0;
		cr_assert_eq(sscanf(text.bytes, "{\"roll\":%d}", &roll), 1);
		cr_assert(roll >= 1 && roll <= 6, "%d", roll);
		rolled[roll] = true;
	}
	for (int side = 1; side <= 6; side++)
		cr_expect(rolled[side], "%d never came in 300 rolls", side);
	struct kser_result result CLEANUP(result_clear) = {0};
	cr_expect_eq(run("dice", "{\"sides\": 0}", "", &result, NULL), KSER_FAILURE);
	cr_expect_eq(result.retcode, 400);
}

Test(stock, leaves_taken_names_alone)
{
	struct entrypoints entrypoints CLEANUP(entrypoints_clear) = {0};
	struct error err;
	static char mark[] = "mine";
	struct kser_entrypoint own = {KSER_ENTRYPOINT, .name = "echo", .run = (enum kser_outcome (*)(struct kser_task *, struct kser_result *, void *))1, .context = mark};
	cr_assert_eq(entrypoints_add(&entrypoints, &own, &err), E_OK);
	cr_assert_eq(stock_add(&entrypoints, &err), E_OK);
	cr_expect_eq(entrypoints_find(&entrypoints, slice_of("echo"))->context, mark);
	struct buffer names CLEANUP(buffer_clear) = {0};
	entrypoints_add_names(&names, &entrypoints);
	cr_expect_str_eq(names.bytes, "[\"dice\",\"echo\",\"fail\",\"sleep\"]");
	buffer_reset(&names);
	entrypoints_add_description(&names, &entrypoints);
	cr_expect_not_null(strstr(names.bytes, "{\"name\":\"sleep\",\"required\":[\"seconds\"]}"), "%s", names.bytes);
	cr_expect_eq(entrypoints_add(&entrypoints, &own, &err), E_CONFLICT);
	own.name = "bad\x01";
	cr_expect_eq(entrypoints_add(&entrypoints, &own, &err), E_INVALID);
	own.name = NULL;
	cr_expect_eq(entrypoints_add(&entrypoints, &own, &err), E_INVALID);
}
