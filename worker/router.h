#pragma once

/* Finds a task's entrypoint and runs it: what each message that comes from the broker goes through, and each task that code executes. */

#include "worker/entrypoints.h"

/* Errors are caught: `result` says what became of the task, and that there is no such entrypoint. */
MUST_USE enum kser_outcome router_run(const struct entrypoints *entrypoints, struct kser_task *task, struct kser_result *result);

/* NULL when it is not registered, which `result` says then. */
MUST_USE const struct entrypoint *router_find(const struct entrypoints *entrypoints, const struct kser_task *task, struct kser_result *result);
