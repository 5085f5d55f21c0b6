#pragma once

/*
 * A kser worker in C: register entrypoints, run.
 *
 *     static enum kser_outcome greet(struct kser_task *task, struct kser_result *result, void *context)
 *     {
 *             kser_result_print(result, "hello %s", kser_task_text(task, "name", "world"));
 *             return KSER_SUCCESS;
 *     }
 *
 *     int main(int argc, char **argv)
 *     {
 *             int status;
 *             struct kser_worker *worker = kser_worker_new(argc, argv, &status);
 *             if (!worker)
 *                     return status;
 *             kser_worker_register(worker, &(struct kser_entrypoint){KSER_ENTRYPOINT, .name = "greet", .run = greet});
 *             status = kser_worker_run(worker);
 *             kser_worker_free(worker);
 *             return status;
 *     }
 *
 * Threads: one worker is made, run and freed by one thread. Entrypoints run in other threads, several
 * at once, also the same one for several tasks. A task and its result belong to the call of the
 * entrypoint and must not be touched by other threads or afterwards (but for kser_task_cancelled).
 *
 * A task runs at least once: what an entrypoint does should bear a repeat, for which kser_task_attempt,
 * kser_task_operation and kser_task_position make a good key.
 *
 * Texts are UTF-8. JSON values are json-c objects. Running out of memory aborts the process.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KSER_EXPORT __attribute__((visibility("default")))
#define KSER_PRINTF(text, first) __attribute__((format(printf, text, first)))

struct json_object;

struct kser_worker;
struct kser_task;
struct kser_result;

enum kser_outcome {
	KSER_SUCCESS,
	KSER_FAILURE, /* the task has failed; kser_result_fail says why */
	KSER_RETRY,   /* as KSER_FAILURE, and the task may be tried again if its policy has tries left */
};

/*
 * What a task's `entrypoint` names. Zeroed members mean "none"; begin the initializer with
 * KSER_ENTRYPOINT, so that members that a later version adds at the end are known to be absent.
 */
struct kser_entrypoint {
	size_t size; /* KSER_ENTRYPOINT sets it */
	const char *name; /* 1 to 255 bytes without control characters */
	enum kser_outcome (*run)(struct kser_task *task, struct kser_result *result, void *context);
	const char *const *required; /* parameters that a task must have, NULL-terminated; a missing one fails it with 400 */
	void *context; /* handed to `run` and the triggers; must be safe for several threads at once */

	/*
	 * Triggers, called around `run` in this order by the thread that runs the task. What is no success is an error: nothing of what
	 * follows is called but `onerror`, and kser_result_fail says why.
	 */
	enum kser_outcome (*postinit)(struct kser_task *task, struct kser_result *result, void *context); /* the task is there; may add parameters (kser_task_set) before they are checked */
	enum kser_outcome (*prerun)(struct kser_task *task, struct kser_result *result, void *context);   /* the required parameters are there */
	enum kser_outcome (*postrun)(struct kser_task *task, struct kser_result *result, void *context);  /* `result` is what `run` made, and may be changed or replaced (kser_result_clear) */

	/*
	 * `result` holds all: what came with the task, and what this one added. As they leave it, it counts: `onerror` may turn a failure
	 * into a success by kser_result_clear. An error in `onsuccess` goes to `onerror`; one in `onerror` replaces the error it was told.
	 */
	enum kser_outcome (*onsuccess)(struct kser_task *task, struct kser_result *result, void *context); /* retcode 0 */
	enum kser_outcome (*onerror)(struct kser_task *task, struct kser_result *result, void *context);   /* an error, or another retcode */
};
#define KSER_ENTRYPOINT .size = sizeof(struct kser_entrypoint)

/* ---- the worker ---- */

/*
 * Reads the settings: flags of argv, KSER_* of the environment, the INI file of --config, defaults.
 * argc 0: no flags. NULL when there is nothing to run: --help and the like were answered (*status 0)
 * or settings are wrong, which was told on stderr (*status 2).
 * Call it before the program starts threads: it reads the environment.
 */
KSER_EXPORT struct kser_worker *kser_worker_new(int argc, char **argv, int *status);

/*
 * Adds an entrypoint; the struct and its texts are copied, `context` is borrowed. False when the
 * name or `run` is missing, the name is unusable or already taken; kser_worker_run then tells all
 * such mistakes and returns 2, so the answer may be ignored.
 * A name of a stock entrypoint (echo, sleep, fail, dice) may be taken and replaces it.
 */
KSER_EXPORT bool kser_worker_register(struct kser_worker *worker, const struct kser_entrypoint *entrypoint);

/*
 * Runs tasks until SIGTERM, SIGINT or kser_worker_stop. Then it takes no more, hands back what was not started,
 * waits for what runs up to the drain limit, ends what still runs and gives it back, and leaves the group. A second
 * signal ends the waiting. SIGHUP makes it read the file of keys again.
 * Returns the exit status for main: 0 it left in order, 1 it could not go on or some task did not end,
 * 2 a registration was wrong. Signal handlers are in place only meanwhile, and SIGPIPE is ignored unless the program handles it;
 * one worker of a process at a time.
 */
KSER_EXPORT int kser_worker_run(struct kser_worker *worker);

/* Makes kser_worker_run leave, as SIGTERM does. Any thread, also a signal handler. */
KSER_EXPORT void kser_worker_stop(struct kser_worker *worker);

/* NULL is allowed. When kser_worker_run gave up on entrypoints that do not end, their threads and what they use are left alone. */
KSER_EXPORT void kser_worker_free(struct kser_worker *worker);

/*
 * A plug-in is a shared object named by the setting `plugin` that defines this function; it registers its
 * entrypoints and returns 0, or not 0 to stop the start. It stays loaded until the process ends.
 */
KSER_EXPORT int kser_plugin(struct kser_worker *worker);

/* ---- the task; what is returned is borrowed and lives as long as the task ---- */

KSER_EXPORT const char *kser_task_uuid(struct kser_task *task);
KSER_EXPORT const char *kser_task_operation(struct kser_task *task); /* "" when no operation sent it */
KSER_EXPORT int32_t kser_task_position(const struct kser_task *task); /* from 0 */
KSER_EXPORT int32_t kser_task_attempt(const struct kser_task *task);  /* from 1; 0 when no operation sent it */

/* The message as it came: JSON, `length` bytes (may be NULL), not NUL-terminated. */
KSER_EXPORT const char *kser_task_message(const struct kser_task *task, size_t *length);

/* The params: a JSON object, parsed at the first call. Read only. */
KSER_EXPORT struct json_object *kser_task_params(struct kser_task *task);

/* One parameter; `fallback` when it is missing or of another type. A number with a fraction is not an integer. */
KSER_EXPORT const char *kser_task_text(struct kser_task *task, const char *name, const char *fallback);
KSER_EXPORT int64_t kser_task_integer(struct kser_task *task, const char *name, int64_t fallback);
KSER_EXPORT double kser_task_number(struct kser_task *task, const char *name, double fallback);

/*
 * Sets a parameter for what follows in this run (for `postinit`). Takes over the reference to `value` (NULL: null). A value that JSON
 * cannot carry is left out, with a warning in the log.
 */
KSER_EXPORT void kser_task_set(struct kser_task *task, const char *name, struct json_object *value);

/*
 * The W3C traceparent of the step that runs now, for requests that the entrypoint makes (header `traceparent`); what the task's
 * message says where this worker exports no traces; "" when nobody traces. A command has it as TRACEPARENT in its environment.
 */
KSER_EXPORT const char *kser_task_traceparent(struct kser_task *task);

/*
 * The result so far of the operation's earlier tasks: an object {uuid, retcode, stdout, stderr, retval};
 * NULL for the first task. Read only.
 */
KSER_EXPORT struct json_object *kser_task_previous(struct kser_task *task);

/*
 * Milliseconds until the task's time limit or the operation's deadline, whichever comes first; 0 when passed, -1 when there
 * is neither. Nobody stops an entrypoint in C: one that may take long looks here and at kser_task_cancelled.
 */
KSER_EXPORT int64_t kser_task_left_ms(const struct kser_task *task);

/*
 * True once the task is to end: it was cancelled, or the worker leaves and waits no longer, or has no word from the broker and the
 * task's policy says stop. What the entrypoint returns then does not count. Any thread, while the entrypoint runs.
 */
KSER_EXPORT bool kser_task_cancelled(const struct kser_task *task);

enum kser_log_level { KSER_LOG_DEBUG, KSER_LOG_INFO, KSER_LOG_WARNING, KSER_LOG_ERROR };

/* A line in the worker's log that names the task, "Hello.RUNNING: jobs.Hello[UUID]: text", if lines of that level are written. */
KSER_EXPORT void kser_task_log(struct kser_task *task, enum kser_log_level level, const char *format, ...) KSER_PRINTF(3, 4);

/* ---- the result ---- */

/*
 * Add a line to stdout or stderr. Each keeps 64 KiB, the rest is cut with a mark; bytes that are not UTF-8 are replaced.
 * An operation's result shows the stdout and stderr of its last task that said something there.
 */
KSER_EXPORT void kser_result_print(struct kser_result *result, const char *format, ...) KSER_PRINTF(2, 3);
KSER_EXPORT void kser_result_print_err(struct kser_result *result, const char *format, ...) KSER_PRINTF(2, 3);

/*
 * Set a key of retval, which later tasks see and add to; the last value of a key counts.
 * kser_result_put takes over the reference to `value` (NULL: null). A value that JSON cannot carry (NaN, a text that is not
 * UTF-8 or holds a NUL) makes the task fail with 500.
 */
KSER_EXPORT void kser_result_put(struct kser_result *result, const char *key, struct json_object *value);
KSER_EXPORT void kser_result_put_text(struct kser_result *result, const char *key, const char *text);
KSER_EXPORT void kser_result_put_integer(struct kser_result *result, const char *key, int64_t number);

/* Empties it: retcode 0, nothing said, no retval, no plan. */
KSER_EXPORT void kser_result_clear(struct kser_result *result);

/* A failure without an error object: the task ends with this retcode (0: it has not failed), stderr says why. */
KSER_EXPORT void kser_result_set_retcode(struct kser_result *result, int32_t retcode);

KSER_EXPORT int32_t kser_result_retcode(const struct kser_result *result);

/* What was said so far, at most 64 KiB; borrowed until the result is changed or looked at again. */
KSER_EXPORT const char *kser_result_stdout(struct kser_result *result);
KSER_EXPORT const char *kser_result_stderr(struct kser_result *result);

/* The whole of it, {uuid, retcode, stdout, stderr, retval}; the caller puts the reference. The uuid is "" as long as the result is no task's. */
KSER_EXPORT struct json_object *kser_result_object(struct kser_result *result);

/*
 * Adds a result by kser's sum: the greater retcode, later keys of retval win, a later stdout or stderr that says something replaces the
 * earlier one. A plan goes behind the plan that is there. `other` is left as it is.
 */
KSER_EXPORT void kser_result_add(struct kser_result *result, const struct kser_result *other);

/* Says stdout or stderr anew, without a line end; "" takes back what was said. */
KSER_EXPORT void kser_result_set_stdout(struct kser_result *result, const char *text);
KSER_EXPORT void kser_result_set_stderr(struct kser_result *result, const char *text);

/*
 * Says why the task fails: retcode `code` (above 0; else 500), the error's name ("ValidationError", "NotFound", …; NULL:
 * "InternalError") and a message, which also becomes stderr unless something was printed there. The last call counts.
 * Returns KSER_FAILURE; to have the task tried again return KSER_RETRY instead.
 */
KSER_EXPORT enum kser_outcome kser_result_fail(struct kser_result *result, int32_t code, const char *name, const char *format, ...) KSER_PRINTF(4, 5);

/*
 * An error in all its parts: what retval.error says. Begin the initializer with KSER_ERROR; zeroed members have their defaults.
 */
struct kser_error {
	size_t size; /* KSER_ERROR sets it */
	int32_t code; /* the retcode; 500 unless above 0 */
	const char *name; /* InternalError */
	const char *message;
	const char *msgid; /* what kser's errors of that name have, else Err-00000 */
	struct json_object *extra; /* an object; borrowed */
};
#define KSER_ERROR .size = sizeof(struct kser_error)

/* As kser_result_fail. */
KSER_EXPORT enum kser_outcome kser_result_fail_with(struct kser_result *result, const struct kser_error *error);

/*
 * Adds a task to the plan: when this task succeeds, the tasks of its plan run right after it, in this order, before those
 * that were planned already. Takes over the reference to `params` (NULL: {}), a JSON object.
 */
KSER_EXPORT void kser_result_add_task(struct kser_result *result, const char *entrypoint, struct json_object *params);

#ifdef __cplusplus
}
#endif
