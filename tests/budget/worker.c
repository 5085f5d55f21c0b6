/* What a worker does with each step, but for running it. */

#include <stdlib.h>

#include "common/memory.h"
#include "tests/budget/path.h"
#include "worker/answer.h"
#include "worker/result.h"
#include "worker/task.h"

/* From the record to the record: the task is read, has a result and is answered. */
static void walk_answer(int steps)
{
	struct answer answer CLEANUP(answer_clear) = {0};
	struct buffer record CLEANUP(buffer_clear) = {0};
	path_add_dispatch(&record, 1);
	for (int i = 0; i < steps; i++) {
		enum status status;
		struct error err;
		struct kser_result result CLEANUP(result_clear) = {0};
		struct kser_task *task = task_new(NULL, buffer_slice(&record), NULL, NULL, &status, &err);
		must(status);
		kser_result_print(&result, "resized");
		kser_result_put_integer(&result, "pixels", 307200);
		answer_make(&answer, task, KSER_SUCCESS, &result, slice_of("host:4711:a1b2"));
		task_forget(task);
		task_free(task);
	}
}

int main(int argc, char **argv)
{
	static const struct path paths[] = {{"answer", walk_answer}};
	return path_main(argc, argv, paths, COUNT_OF(paths));
}
