#pragma once

/*
 * Who wants to know where a task is in its life: metrics, tracing. Without observers nothing is looked at and nothing is paid.
 * Called by the thread that runs the task, at each place; a begin has its end, whatever happens in between.
 */

#include <stdbool.h>
#include <stddef.h>

#include "kser/worker.h"

#define OBSERVERS_MAX 4

enum place {
	PLACE_EXECUTE_BEGIN, /* before anything of it is called */
	PLACE_PRERUN_BEGIN,  /* before the check of the required parameters */
	PLACE_PRERUN_END,
	PLACE_RUN_BEGIN,
	PLACE_RUN_END,
	PLACE_POSTRUN_BEGIN,
	PLACE_POSTRUN_END,
	PLACE_SUCCESS,       /* it has come to its onsuccess: all steps are done */
	PLACE_ERROR,         /* it has come to its onerror, maybe from its onsuccess */
	PLACE_EXECUTE_END,
};

struct notice {
	enum place place;
	const char *entrypoint;           /* the registered name */
	size_t number;                    /* its place in the order of registration, from 0 */
	struct kser_task *task;
	const struct kser_result *result; /* at PLACE_EXECUTE_END all of it, with what came before (unless an error is passed on) */
	enum kser_outcome outcome;        /* at an end: whether this step was an error; at PLACE_EXECUTE_END also when only the retcode says so */
};

struct observer {
	void (*notice)(void *context, const struct notice *notice);
	void *context;
	bool light; /* does not look at the result: it need not be whole for this one */
};
