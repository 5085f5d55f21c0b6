#include "worker/stock.h"

#include <inttypes.h>
#include <math.h>
#include <sys/random.h>

#include "worker/result.h"
#include "worker/task.h"

/* About three years: what is longer is a mistake. */
#define SLEEP_SECONDS_MAX 1e8

#define SIDES_MAX 1000000

static enum kser_outcome echo(struct kser_task *task, struct kser_result *result, void *context)
{
	(void)context;
	struct json_value text;
	if (task_parameter(task, "text", &text) && text.kind == JSON_STRING)
		kser_result_print(result, "%s", task_text(task, text));
	else
		kser_result_print(result, "%.*s", (int)task->message.params.text.length, task->message.params.text.start);
	retval_update(&result->retval, task->message.params);
	return KSER_SUCCESS;
}

/* The result is made now and sent when the time has come. */
static enum kser_outcome sleep_for(struct kser_task *task, struct kser_result *result, void *context)
{
	(void)context;
	double seconds = kser_task_number(task, "seconds", -1);
	if (!(seconds >= 0 && seconds <= SLEEP_SECONDS_MAX))
		return kser_result_fail(result, 400, "ValidationError", "seconds: must be a number from 0 to %.0f", SLEEP_SECONDS_MAX);
	int64_t sleep_ms = (int64_t)ceil(seconds * 1000);
	struct time_left left = task_time_left(task, 0);
	bool in_time = left.ms < 0 || sleep_ms <= left.ms;
	task->due_ms = atomic_load(&task->started_ms) + (in_time ? sleep_ms : left.ms);
	return in_time ? KSER_SUCCESS : kser_result_fail(result, 504, "Timeout", "the %s came before the end", left.until_deadline ? "deadline of the operation" : "time limit");
}

static enum kser_outcome fail_as_asked(struct kser_task *task, struct kser_result *result, void *context)
{
	(void)context;
	int64_t code = kser_task_integer(task, "code", 500);
	struct json_value retry;
	bool again = task_parameter(task, "retry", &retry) && slice_is(retry.text, "true");
	kser_result_fail(result, code > 0 && code <= INT32_MAX ? (int32_t)code : 500, "Error", "%s", kser_task_text(task, "message", "failed as asked"));
	return again ? KSER_RETRY : KSER_FAILURE;
}

/* Each number below `count` with the same probability. */
static bool draw(uint32_t count, uint32_t *number)
{
	uint32_t most = UINT32_MAX - UINT32_MAX % count;
	do {
		if (getrandom(number, sizeof *number, 0) != (ssize_t)sizeof *number)
			return false;
	} while (*number >= most);
	*number %= count;
	return true;
}

static enum kser_outcome dice(struct kser_task *task, struct kser_result *result, void *context)
{
	(void)context;
	int64_t sides = kser_task_integer(task, "sides", 6);
	uint32_t number;
	if (sides < 1 || sides > SIDES_MAX)
		return kser_result_fail(result, 400, "ValidationError", "sides: must be an integer from 1 to %d", SIDES_MAX);
	if (!draw((uint32_t)sides, &number))
		return kser_result_fail(result, 500, "InternalError", "no randomness");
	kser_result_print(result, "%" PRIu32, number + 1);
	kser_result_put_integer(result, "roll", (int64_t)number + 1);
	return KSER_SUCCESS;
}

static const char *const required_by_sleep[] = {"seconds", NULL};

static const struct kser_entrypoint stock[] = {
	{KSER_ENTRYPOINT, .name = "echo", .run = echo},
	{KSER_ENTRYPOINT, .name = "sleep", .run = sleep_for, .required = required_by_sleep},
	{KSER_ENTRYPOINT, .name = "fail", .run = fail_as_asked},
	{KSER_ENTRYPOINT, .name = "dice", .run = dice},
};

enum status stock_add(struct entrypoints *entrypoints, struct error *err)
{
	enum status status = E_OK;
	for (size_t i = 0; !status && i < COUNT_OF(stock); i++)
		if (!entrypoints_find(entrypoints, slice_of(stock[i].name)))
			status = entrypoints_add(entrypoints, &stock[i], err);
	return status;
}
