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

/* What all commands of a worker share. */
struct command_host {
	const char *launcher; /* path of kser-launch */
	const char *folder;   /* of the result files */
};

struct command {
	struct arguments arguments;
	int64_t timeout_ms; /* 0 = none */
	char **variables;   /* NAME=value, NULL-terminated; NULL = none */
	const struct command_host *host;
};

/* The `run` of an entrypoint whose context is a struct command. */
enum kser_outcome command_run(struct kser_task *task, struct kser_result *result, void *command);
