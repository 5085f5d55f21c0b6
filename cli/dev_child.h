#pragma once

/*
 * The processes of a dev stack, and the signals that its one thread waits for. Each child has a process group of
 * its own, so that Ctrl-C reaches only the stack itself, which then stops them in order; and each dies with it, however
 * it ends, where util-linux's setpriv is there to arrange that.
 *
 * child_block_signals comes first, before any thread.
 */

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "common/buffer.h"
#include "common/error.h"

/* What ended a wait. */
enum wake {
	WAKE_TIMEOUT,
	WAKE_CHILD, /* one of the children has ended */
	WAKE_STOP,  /* SIGINT, SIGTERM or SIGHUP */
};

void child_block_signals(void);

/* Waits up to `timeout_ms`; -1: for ever. */
enum wake child_wait_signal(int timeout_ms);

struct child {
	const char *name;   /* for people, static */
	char log[PATH_MAX]; /* takes its stdout and stderr, appended */
	pid_t pid;          /* 0: not running */
	int status;         /* as waitpid tells, once it has ended */
};

struct child_start {
	const char *user;            /* NULL: as we are */
	const char *last_signal;     /* what it gets when the stack is killed: "KILL" */
	const char *directory;       /* to run in; NULL: where we are */
	char *const *arguments;      /* program (a path) and arguments, NULL at the end; at most 30 */
	const char *const *settings; /* NAME=VALUE that replace those of our environment; NULL at the end */
};

/* Starts it; `child` has its name and log already. */
MUST_USE enum status child_start(struct child *child, const struct child_start *start, struct error *err);

/* Whether it is not running, or not any more. Never waits. */
bool child_ended(struct child *child);

/* Waits for its end; E_RETRY when the stack is to be stopped, E_FATAL when it ends with another status than 0. */
MUST_USE enum status child_finish(struct child *child, struct error *err);

/*
 * Sends `first` and waits up to `timeout_ms`, then SIGKILL. `*now`: the user has lost patience, `hurry` is sent instead and
 * not waited for longer than 2 s; set when that happens here.
 */
void child_stop(struct child *child, int first, int hurry, int timeout_ms, bool *now);

/* Adds "exit status 1" or "signal 9". */
void child_add_end(struct buffer *out, const struct child *child);

/* Adds the last lines of its log, escaped and indented. */
void child_add_log_tail(struct buffer *out, const struct child *child);
