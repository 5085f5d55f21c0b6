#pragma once

/* A program under test as a child process. SHOW_LOGS=1 in the environment shows all its logs. */

#include <stdbool.h>
#include <sys/types.h>

#include "tests/kafka/cluster.h"

struct child {
	pid_t pid; /* 0: it was waited for */
	char log[64];
};

/* Starts kser-worker (of the build) on the cluster; `flags`: NULL-terminated, more flags. */
struct child worker_start(struct cluster *cluster, const char *const *flags);

/* Starts another program with the same flags. */
struct child program_start(struct cluster *cluster, const char *program, const char *const *flags);

/* Waits for its end; the exit status, or 128 + signal. Fails the test after so many seconds. */
int program_wait(struct child *child, int seconds);

/* Sends the signal and waits. */
int program_end(struct child *child, int number);

/* The end of the log in that file, at most so many bytes; static, until the next call. */
const char *program_log_end(const char *path, size_t most);

/* Waits until its log has `text`. */
void program_wait_log(const struct child *child, const char *text, int seconds);
