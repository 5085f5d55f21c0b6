#pragma once

/* Finds a task's entrypoint, and runs what comes from the broker by it. A task that code executes is found here too, and run by its caller. */

#include "worker/entrypoints.h"

/* Errors are caught: `result` says what became of the task, and that there is no such entrypoint. */
MUST_USE enum kser_outcome router_run(const struct entrypoints *entrypoints, struct kser_task *task, struct kser_result *result);

/* NULL when it is not registered, which `result` says then. */
MUST_USE const struct entrypoint *router_find(const struct entrypoints *entrypoints, const struct kser_task *task, struct kser_result *result);
