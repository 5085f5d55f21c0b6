#pragma once

/*
 * Operations in code, and tasks that run in this process.
 *
 *     static enum kser_outcome three_rolls(struct kser_operation *operation, struct json_object *arguments, struct kser_result *result, void *context)
 *     {
 *             for (int i = 0; i < 3; i++)
 *                     kser_operation_add(operation, "jobs.DiceRoll", NULL, result);
 *             return KSER_SUCCESS;
 *     }
 *
 *     kser_worker_register_operation(worker, &(struct kser_operation_class){KSER_OPERATION, .name = "jobs.DiceLaunch", .build_tasks = three_rolls});
 *
 * Who submits an operation of that name without tasks gets these: the first task, on a worker, makes the list, which runs behind it,
 * each task where there is a free slot. What an operation does at its end is the orchestrator's then: prerun, onsuccess and onerror
 * are for kser_operation_execute, which runs all tasks one after the other in this process.
 *
 * Threads: an operation and its tasks belong to one thread at a time.
 */

#include "kser/worker.h"

#ifdef __cplusplus
extern "C" {
#endif

struct kser_operation;

/* ---- results ---- */

/* An empty one. */
KSER_EXPORT struct kser_result *kser_result_new(void);
KSER_EXPORT void kser_result_free(struct kser_result *result); /* NULL is allowed */

/* ---- tasks ---- */

/* Whose entrypoints run this task; not for a second kser_worker_run. */
KSER_EXPORT struct kser_worker *kser_task_worker(const struct kser_task *task);

/*
 * A task made in code. `uuid` NULL: a random one. Takes over the reference to `params` (NULL: {}). Its postinit is called here.
 * The entrypoint need not be one of this worker's, as long as it is not executed here. NULL: something is unusable, `result` says what.
 */
KSER_EXPORT struct kser_task *kser_task_new(struct kser_worker *worker, const char *entrypoint, const char *uuid, struct json_object *params, struct kser_result *result);

/* A task from a message (docs/wire.md); NULL: it is unusable, `result` says why. */
KSER_EXPORT struct kser_task *kser_task_from_message(struct kser_worker *worker, const char *text, size_t length, struct kser_result *result);

/* The message of a task, with `result` or (NULL) the one it came with; the caller frees the text. */
KSER_EXPORT char *kser_task_to_message(struct kser_task *task, const struct kser_result *result);

/* Only of tasks from the two functions above that were not given to an operation. NULL is allowed. */
KSER_EXPORT void kser_task_free(struct kser_task *task);

/* The metadata, an object, and the result it starts with, a Result object; the reference is taken over. Of tasks made in code; false: unusable, nothing was changed. */
KSER_EXPORT bool kser_task_set_metadata(struct kser_task *task, struct json_object *metadata);
KSER_EXPORT bool kser_task_set_result(struct kser_task *task, struct json_object *result);

/* How it is to run when it is planned: "queue" (a text) or "policy" (an object, as in a submission). The reference is taken over; false as above. */
KSER_EXPORT bool kser_task_set_option(struct kser_task *task, const char *name, struct json_object *value);

/* PENDING at first. Nothing here changes the status of a task but its owner; one with SUCCESS is not run again by its operation. */
KSER_EXPORT const char *kser_task_status(const struct kser_task *task);
KSER_EXPORT void kser_task_set_status(struct kser_task *task, const char *status);

/*
 * Runs a task made in code, by its entrypoint's life cycle, in this thread. `previous` (NULL: none) is what earlier tasks made. `result`
 * is emptied and gets previous + own (500, without running, when together they are no result that a message can hold); its retcode tells
 * how the task ended. `within` (NULL: none) is the task in whose run this happens:
 * its operation, time limit and cancellation hold. kser_execute catches errors: onerror is told, and all is in `result`.
 * kser_unsafe_execute passes an error on: `result` holds it alone, nobody was told.
 * Returns KSER_SUCCESS when the retcode is 0.
 */
KSER_EXPORT enum kser_outcome kser_execute(struct kser_task *task, const struct kser_result *previous, struct kser_result *result, struct kser_task *within);
KSER_EXPORT enum kser_outcome kser_unsafe_execute(struct kser_task *task, const struct kser_result *previous, struct kser_result *result, struct kser_task *within);

/* ---- operations ---- */

/* Zeroed members mean "none"; begin the initializer with KSER_OPERATION. What returns no success is an error, and kser_result_fail says why. */
struct kser_operation_class {
	size_t size; /* KSER_OPERATION sets it */
	const char *name; /* as an entrypoint's, of which none has it */

	/* Adds the tasks. `arguments` is an object, read only: the operation's params when a worker plans it. Required. */
	enum kser_outcome (*build_tasks)(struct kser_operation *operation, struct json_object *arguments, struct kser_result *result, void *context);
	const char *const *required; /* parameters that it must have, NULL-terminated */
	const char *const *tasks;    /* entrypoints whose required parameters it must have, too */
	void *context;               /* handed to all functions; must be safe for several threads at once */

	/* Before build_tasks; may leave other arguments in *arguments, a new reference; {} changes nothing. */
	enum kser_outcome (*prebuild)(struct kser_operation *operation, struct json_object **arguments, struct kser_result *result, void *context);
	enum kser_outcome (*finalize)(struct kser_operation *operation, struct kser_result *result, void *context); /* all tasks are there */

	enum kser_outcome (*postinit)(struct kser_operation *operation, struct kser_result *result, void *context); /* it was made, in process or to be planned */

	/* Of operations that are executed in process. */
	enum kser_outcome (*prerun)(struct kser_operation *operation, struct kser_result *result, void *context);
	enum kser_outcome (*onsuccess)(struct kser_operation *operation, struct kser_result *result, void *context);
	enum kser_outcome (*onerror)(struct kser_operation *operation, struct kser_result *result, void *context);
	void (*set_status)(struct kser_operation *operation, const char *status, const struct kser_result *result, void *context); /* `result` NULL: there is none yet */

	/* Hands a task's message on, for kser_operation_launch. */
	enum kser_outcome (*send)(struct kser_operation *operation, struct kser_task *task, const char *message, struct kser_result *result, void *context);
};
#define KSER_OPERATION .size = sizeof(struct kser_operation_class)

/* As kser_worker_register. */
KSER_EXPORT bool kser_worker_register_operation(struct kser_worker *worker, const struct kser_operation_class *operation);

/*
 * One operation of a registered class; as kser_task_new. It has no tasks yet. When its postinit fails, onerror is told here, and build,
 * execute and launch fail with that error.
 */
KSER_EXPORT struct kser_operation *kser_operation_new(struct kser_worker *worker, const char *name, const char *uuid, struct json_object *params, struct kser_result *result);
KSER_EXPORT void kser_operation_free(struct kser_operation *operation); /* with its tasks; NULL is allowed */

/* It as a task, for its uuid, params and status, and to add it to another one. */
KSER_EXPORT struct kser_task *kser_operation_task(struct kser_operation *operation);

/* Makes the tasks: prebuild, build_tasks, finalize. Each call adds its tasks. `arguments` is borrowed (NULL: {}). */
KSER_EXPORT enum kser_outcome kser_operation_build(struct kser_operation *operation, struct json_object *arguments, struct kser_result *result);

/*
 * Makes the tasks of `other` (check, prebuild, build_tasks) and adds them to this one, so that all are in one list; `other`, which is taken
 * over, leaves no trace but them.
 */
KSER_EXPORT enum kser_outcome kser_operation_compute_tasks(struct kser_operation *operation, struct kser_operation *other, struct json_object *arguments,
	struct kser_result *result);

/* The same for a new operation of a class, from its params, whose reference is taken over; they are its arguments, too. */
KSER_EXPORT enum kser_outcome kser_operation_add_tasks_of(struct kser_operation *operation, const char *name, struct json_object *params, struct kser_result *result);

/*
 * Adds a task, which is the operation's from now on. An operation's task makes it a nested one: executed in process it is one step with
 * a status of its own; planned, its tasks stand in the one list. False: it has 10,000 tasks, which fails it, or this one was not made in
 * code; then the task stays the caller's.
 */
KSER_EXPORT bool kser_operation_add_task(struct kser_operation *operation, struct kser_task *task);

/* The same for a new task. Its reference to `params` is taken over. NULL: unusable, or one too many (400); `result` says why, which fails the plan. */
KSER_EXPORT struct kser_task *kser_operation_add(struct kser_operation *operation, const char *entrypoint, struct json_object *params, struct kser_result *result);

KSER_EXPORT size_t kser_operation_count(const struct kser_operation *operation);
KSER_EXPORT struct kser_task *kser_operation_at(const struct kser_operation *operation, size_t index); /* NULL: there is none */

/* The first task behind `task` (NULL: of all) that is not SUCCESS; NULL: there is none. */
KSER_EXPORT struct kser_task *kser_operation_next(const struct kser_operation *operation, const struct kser_task *task);

KSER_EXPORT const char *kser_operation_status(const struct kser_operation *operation);
KSER_EXPORT void kser_operation_set_status(struct kser_operation *operation, const char *status, const struct kser_result *result);
KSER_EXPORT void kser_operation_change_status(struct kser_operation *operation, const char *status, const struct kser_result *result); /* with its log line */

/*
 * Runs its tasks in order, each with the result of those before it, up to the first that fails. As kser_execute and
 * kser_unsafe_execute; an error of a task is the operation's, and so is that `within` is to end (503) or has no time left (504) before
 * a task begins.
 */
KSER_EXPORT enum kser_outcome kser_operation_execute(struct kser_operation *operation, const struct kser_result *previous, struct kser_result *result, struct kser_task *within);
KSER_EXPORT enum kser_outcome kser_operation_unsafe_execute(struct kser_operation *operation, const struct kser_result *previous, struct kser_result *result,
	struct kser_task *within);

/*
 * A chain without an orchestrator: launch sends the first task by the class's `send`; after each task the owner sets its status and calls
 * launch_next with its result (NULL: none), which sends the next one or, when it was the last, gives the operation the task's status.
 */
KSER_EXPORT enum kser_outcome kser_operation_launch(struct kser_operation *operation, struct kser_result *result);
KSER_EXPORT enum kser_outcome kser_operation_launch_next(struct kser_operation *operation, struct kser_task *task, const struct kser_result *forwarded, struct kser_result *result);

#ifdef __cplusplus
}
#endif
