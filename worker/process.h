#pragma once

/*
 * Runs one command under kser-launch and collects what it says. The calling thread waits; it must
 * live as long as the process, since the command dies with it. Any number of threads at once.
 */

#include <stdint.h>

#include "common/error.h"
#include "common/slice.h"
#include "worker/output.h"

struct process_request {
	const char *launcher;  /* path of kser-launch */
	char *const *words;    /* program and arguments, NULL-terminated */
	char *const *environment;
	struct slice input;    /* for its stdin; that it does not read it is no error */
	int64_t limit_ms;      /* 0 = none */
	int stop_fd;           /* once readable the command is ended; -1 = never */
};

enum process_end {
	PROCESS_EXIT,         /* number = exit status */
	PROCESS_SIGNAL,       /* number = signal */
	PROCESS_TIMEOUT,      /* ended at its time limit */
	PROCESS_STOPPED,      /* ended as stop_fd asked */
	PROCESS_NOT_EXECUTED, /* number = errno */
};

struct process_outcome {
	enum process_end end;
	int number;
	struct output out;
	struct output err;
};

/* E_FATAL: the launcher cannot be started or died. The outcome's outputs are to be cleared in any case. */
MUST_USE enum status process_run(const struct process_request *request, struct process_outcome *outcome, struct error *err);

void process_outcome_clear(struct process_outcome *outcome);
