#pragma once

/* Operations in code: planned on a worker, or executed in process. One thread. */

#include "kser/operation.h"
#include "worker/entrypoints.h"
#include "worker/lifecycle.h"

/* The `run` of an operation's entrypoint: makes its tasks and returns them as the plan. `context` is the struct kser_operation_class. */
enum kser_outcome operation_plan(struct kser_task *task, struct kser_result *result, void *context);

/* As made_execute. */
MUST_USE enum kser_outcome operation_execute(struct kser_operation *operation, const struct kser_result *previous, struct kser_result *result, struct kser_task *within,
	enum lifecycle_errors errors);
