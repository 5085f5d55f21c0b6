#pragma once

/*
 * Tasks that code made: they have no record and no reply, are executed in this process, sent by who made them or planned. One thread.
 */

#include "kser/operation.h"
#include "worker/lifecycle.h"
#include "worker/result.h"
#include "worker/task.h"

struct made {
	struct kser_operation *operation; /* it is an operation's own task; else NULL */
	char *status;
	struct kser_result birth; /* raised: its postinit ended with an error, which this is */
	struct buffer metadata;   /* what the members of the message point to once they were set */
	struct buffer result;
	struct buffer queue;      /* of a planned task, JSON; empty: its operation's */
	struct buffer policy;
};

void made_free(struct made *made);

/* As kser_task_new, and freed with task_free. `params` as text, an object. NULL: `result` (may be NULL) says why. */
MUST_USE struct kser_task *made_new(const struct entrypoints *entrypoints, const char *entrypoint, const char *uuid, struct slice params, struct kser_result *result);

/* As kser_execute; result->raised: an error was passed on. */
MUST_USE enum kser_outcome made_execute(struct kser_task *task, const struct kser_result *previous, struct kser_result *result, struct kser_task *within,
	enum lifecycle_errors errors);

/* The result that it came with or was given; empty, with the task's uuid, when there is none. */
void made_load_result(const struct kser_task *task, struct kser_result *result);
