#pragma once

/*
 * A command as an entrypoint. It gets the task's message on stdin, KSER_OPERATION, KSER_TASK,
 * KSER_ATTEMPT and KSER_RESULT_FILE in its environment, and its exit status becomes the outcome:
 *
 *     0                     success; KSER_RESULT_FILE may hold {"retval": {…}, "tasks": […]}
 *     64                    400 ValidationError
 *     75                    503 ServiceUnavailable, may be tried again
 *     another status n      retcode n
 *     signal n              retcode 128 + n
 *     time limit            504 Timeout
 *     cannot be executed    500 InternalError
 */

#include <stdint.h>

#include "kser/worker.h"
#include "worker/arguments.h"
#include "worker/task.h"

/* What all commands of a worker share. */
struct command_host {
	const char *launcher; /* path of kser-launch */
	const char *folder;   /* of the result files */
};

/* Commands around it. */
enum hook { HOOK_PRERUN, HOOK_POSTRUN, HOOK_ONSUCCESS, HOOK_ONERROR, HOOKS };

struct command {
	struct arguments arguments;
	struct arguments hooks[HOOKS]; /* without words: there is none */
	int64_t timeout_ms; /* 0 = none */
	char **variables;   /* NAME=value, NULL-terminated; NULL = none */
	const struct command_host *host;
};

/*
 * Runs one command line for a task: `input` on its standard input, at most for `limit`, of which something is left. `result` is empty and gets what it said,
 * also when it fails.
 */
MUST_USE enum kser_outcome command_execute(const struct command *command, const struct arguments *arguments, struct slice input, struct time_left limit, struct kser_task *task,
	struct kser_result *result);

/* The `run` of an entrypoint whose context is a struct command. */
enum kser_outcome command_run(struct kser_task *task, struct kser_result *result, void *command);
