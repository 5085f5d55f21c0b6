#include "tests/worker/task_text.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/memory.h"

struct kser_task *make_task_of(const char *text)
{
	char *copy = xstrdup(text);
	enum status status;
	struct error err;
	struct kser_task *task = task_new(NULL, slice_of(copy), copy, free, &status, &err);
	cr_assert_eq(status, E_OK, "%s", err.text);
	task->started_ms = clock_monotonic_ms();
	return task;
}

struct kser_task *make_numbered_task(int position, int attempt)
{
	char text[400];
	snprintf(text, sizeof text,
		"{\"uuid\": \"" TASK_UUID "\", \"entrypoint\": \"test\", \"metadata\": {\"kser\": {\"op\": \"" OPERATION_UUID "\", \"pos\": %d, \"attempt\": %d, \"gen\": 1, \"epoch\": 1}}}",
		position, attempt);
	struct kser_task *task = make_task_of(text);
	atomic_store(&task->started_ms, 0);
	return task;
}

struct kser_task *make_task(const char *params, const char *result, const char *further)
{
	char *text CLEANUP(free_pointer) = NULL;
	int length = asprintf(&text,
		"{\"uuid\": \"" TASK_UUID "\", \"entrypoint\": \"test\", \"params\": %s, \"result\": %s, \"metadata\": {\"kser\": {"
		"\"op\": \"" OPERATION_UUID "\", \"pos\": 3, \"attempt\": 2, \"gen\": 1, \"epoch\": 1%s}}}",
		params, result ? result : "null", further);
	cr_assert_gt(length, 0);
	return make_task_of(text);
}
