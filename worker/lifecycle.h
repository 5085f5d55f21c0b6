#pragma once

/*
 * The life of a task in its entrypoint, by kser's order: postinit, then the required parameters, prerun, run, postrun; at last
 * onsuccess or onerror, which see the whole result. An error in one of them skips the rest up to onerror.
 *
 * What is not there costs nothing: a task without triggers, observers and log lines is only run.
 */

#include "worker/entrypoints.h"

enum lifecycle_errors {
	ERRORS_CAUGHT,    /* an error becomes the result, onerror is told */
	ERRORS_PASSED_ON, /* an error is returned as it is: `result` holds it, nobody was told */
};

/*
 * Runs `task`, whose entrypoint it is; `result` is empty, or holds what was said of the task before. Returns KSER_SUCCESS when
 * the retcode is 0, else how it failed, with the reason in `result`. Any thread, the task's own.
 */
MUST_USE enum kser_outcome lifecycle_run(const struct entrypoints *entrypoints, const struct entrypoint *entrypoint, struct kser_task *task, struct kser_result *result,
	enum lifecycle_errors errors);

/* Adds an observer, which must live as long; before anything runs. Aborts when there are OBSERVERS_MAX. */
void lifecycle_observe(struct entrypoints *entrypoints, const struct observer *observer);
