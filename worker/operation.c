#include "worker/operation.h"

#include <json-c/json.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/limits.h"
#include "common/log.h"
#include "common/memory.h"
#include "worker/made.h"
#include "worker/object.h"
#include "worker/task_log.h"

struct kser_operation {
	const struct entrypoint *entrypoint;
	struct kser_task *self;
	struct kser_task **tasks;
	size_t count;
	bool planned;  /* a worker plans it: what becomes of it is the orchestrator's */
	bool overfull; /* a task was refused, as there are OPERATION_TASKS_MAX */
};

/* ---- telling ---- */

static bool is_told(const struct kser_operation *operation, enum log_level level)
{
	return task_log_is_on(operation->self->entrypoints) && log_is_on(level);
}

static void tell(const struct kser_operation *operation, enum log_level level, const char *format, ...) PRINTF_LIKE(3, 4);
static void tell(const struct kser_operation *operation, enum log_level level, const char *format, ...)
{
	if (!is_told(operation, level))
		return;
	char *text CLEANUP(free_pointer) = NULL;
	va_list arguments;
	va_start(arguments, format);
	int length = vasprintf(&text, format, arguments);
	va_end(arguments);
	if (length >= 0)
		log_event(level, text, NULL);
}

#define CLASS(operation) (operation)->entrypoint->class_name
#define NAME(operation) (operation)->entrypoint->name

static const char *uuid_of(const struct kser_operation *operation)
{
	return kser_task_uuid(operation->self);
}

static void tell_end(const struct kser_operation *operation, enum log_level level, const char *event, const struct kser_result *result)
{
	struct buffer text CLEANUP(buffer_clear) = {0};
	if (!is_told(operation, level))
		return;
	result_add_text(&text, result);
	tell(operation, level, "%s.%s: %s[%s]: %s", CLASS(operation), event, NAME(operation), uuid_of(operation), buffer_slice(&text).start);
}

/* ---- making ---- */

static const struct kser_operation_class *class_of(const struct kser_operation *operation)
{
	return operation->entrypoint->operation;
}

void kser_operation_free(struct kser_operation *operation)
{
	if (!operation)
		return;
	for (size_t i = 0; i < operation->count; i++) {
		struct kser_operation *nested = operation->tasks[i]->made->operation;
		if (nested)
			kser_operation_free(nested);
		else
			kser_task_free(operation->tasks[i]);
	}
	kser_task_free(operation->self);
	free(operation->tasks);
	free(operation);
}

static enum kser_outcome end_failed(struct kser_operation *operation, struct kser_result *result);

/* An error here is the end of it. */
static void call_postinit(struct kser_operation *operation)
{
	const struct kser_operation_class *class = class_of(operation);
	struct kser_result *birth = &operation->self->made->birth;
	enum kser_outcome outcome = class->postinit ? class->postinit(operation, birth, class->context) : KSER_SUCCESS;
	if (!outcome)
		return;
	result_settle(birth, outcome);
	if (!operation->planned)
		(void)end_failed(operation, birth);
	birth->raised = true;
}

/* Its postinit ended with an error: `result` gets it. */
static bool was_born_failed(const struct kser_operation *operation, struct kser_result *result)
{
	const struct kser_result *birth = &operation->self->made->birth;
	if (birth->raised)
		kser_result_add(result, birth);
	return birth->raised;
}

static struct kser_operation *operation_new(const struct entrypoints *entrypoints, const char *name, const char *uuid, struct slice params, bool planned,
	struct kser_result *result)
{
	const struct entrypoint *entrypoint = entrypoints_find(entrypoints, slice_of(name));
	if (!entrypoint || !entrypoint->operation) {
		if (result)
			kser_result_fail(result, 400, "ValidationError", "'%.*s' is not registered as an operation", ERROR_INPUT_BYTES_MAX, name);
		return NULL;
	}
	struct kser_task *self = made_new(entrypoints, name, uuid, params, result);
	if (!self)
		return NULL;
	struct kser_operation *operation = xcalloc(1, sizeof *operation);
	operation->entrypoint = entrypoint;
	operation->self = self;
	operation->planned = planned;
	self->made->operation = operation;
	call_postinit(operation);
	return operation;
}

static struct slice params_text(struct json_object *params)
{
	return params ? object_text(params) : slice_of("{}");
}

struct kser_operation *kser_operation_new(struct kser_worker *worker, const char *name, const char *uuid, struct json_object *params, struct kser_result *result)
{
	struct kser_operation *operation = operation_new(worker_entrypoints(worker), name, uuid, params_text(params), false, result);
	json_object_put(params);
	return operation;
}

struct kser_task *kser_operation_task(struct kser_operation *operation)
{
	return operation->self;
}

/* ---- its tasks ---- */

static enum kser_outcome refuse_more(struct kser_operation *operation, struct kser_result *result)
{
	operation->overfull = true;
	return result ? kser_result_fail(result, 400, "ValidationError", "the operation has more than %d tasks", OPERATION_TASKS_MAX) : KSER_FAILURE;
}

bool kser_operation_add_task(struct kser_operation *operation, struct kser_task *task)
{
	if (!task->made)
		return false;
	if (operation->count >= OPERATION_TASKS_MAX) {
		refuse_more(operation, NULL);
		return false;
	}
	operation->tasks = xrealloc(operation->tasks, (operation->count + 1) * sizeof *operation->tasks);
	operation->tasks[operation->count++] = task;
	return true;
}

struct kser_task *kser_operation_add(struct kser_operation *operation, const char *entrypoint, struct json_object *params, struct kser_result *result)
{
	struct kser_task *task = NULL;
	if (operation->count >= OPERATION_TASKS_MAX)
		refuse_more(operation, result);
	else
		task = made_new(operation->self->entrypoints, entrypoint, NULL, params_text(params), result);
	json_object_put(params);
	if (task)
		kser_operation_add_task(operation, task);
	return task;
}

size_t kser_operation_count(const struct kser_operation *operation)
{
	return operation->count;
}

struct kser_task *kser_operation_at(const struct kser_operation *operation, size_t index)
{
	return index < operation->count ? operation->tasks[index] : NULL;
}

static bool is_done(const struct kser_task *task)
{
	return strcmp(kser_task_status(task), "SUCCESS") == 0;
}

struct kser_task *kser_operation_next(const struct kser_operation *operation, const struct kser_task *task)
{
	size_t at = 0;
	while (task && at < operation->count && operation->tasks[at] != task)
		at++;
	for (at += task != NULL; at < operation->count; at++)
		if (!is_done(operation->tasks[at]))
			return operation->tasks[at];
	return NULL;
}

/* ---- building ---- */

static enum kser_outcome check_required(const struct kser_operation *operation, struct kser_result *result)
{
	const struct json_value params = operation->self->message.params;
	const char *missing = entrypoint_missing(operation->entrypoint, params);
	if (missing)
		return kser_result_fail(result, 400, "ValidationError", "Missing parameter: %s for %s", missing, NAME(operation));
	for (const char *const *name = class_of(operation)->tasks; *name; name++) {
		const struct entrypoint *task = entrypoints_find(operation->self->entrypoints, slice_of(*name));
		missing = task ? entrypoint_missing(task, params) : NULL;
		if (missing)
			return kser_result_fail(result, 400, "ValidationError", "Missing parameter: %s for %s", missing, *name);
	}
	return KSER_SUCCESS;
}

/* *arguments is borrowed; *changed is a reference to put, or NULL. */
static enum kser_outcome prebuild(struct kser_operation *operation, struct json_object **arguments, struct json_object **changed, struct kser_result *result)
{
	const struct kser_operation_class *class = class_of(operation);
	if (!class->prebuild)
		return KSER_SUCCESS;
	struct json_object *given = *arguments;
	enum kser_outcome outcome = class->prebuild(operation, arguments, result, class->context);
	if (*arguments != given)
		*changed = *arguments;
	if (!json_object_is_type(*arguments, json_type_object) || json_object_object_length(*arguments) == 0)
		*arguments = given;
	return outcome;
}

static enum kser_outcome compute(struct kser_operation *operation, struct json_object *arguments, struct kser_result *result)
{
	const struct kser_operation_class *class = class_of(operation);
	if (was_born_failed(operation, result))
		return KSER_FAILURE;
	struct json_object *empty = json_object_new_object(), *changed = NULL;
	size_t before = operation->count;
	arguments = arguments ? arguments : empty;
	if (is_told(operation, LOG_LEVEL_DEBUG))
		tell(operation, LOG_LEVEL_DEBUG, "%s.PreBuild: %s[%s]: %s", CLASS(operation), NAME(operation), uuid_of(operation),
			json_object_to_json_string_ext(arguments, JSON_C_TO_STRING_SPACED));
	enum kser_outcome outcome = check_required(operation, result);
	if (!outcome)
		outcome = prebuild(operation, &arguments, &changed, result);
	if (!outcome)
		outcome = class->build_tasks(operation, arguments, result, class->context);
	if (!outcome && operation->overfull)
		outcome = refuse_more(operation, result);
	if (!outcome && result->retcode != 0)
		outcome = KSER_FAILURE;
	result_settle(result, outcome);
	if (!outcome)
		tell(operation, LOG_LEVEL_DEBUG, "%s.BuildTasks: %zu task(s) found", CLASS(operation), operation->count - before);
	json_object_put(changed);
	json_object_put(empty);
	return outcome;
}

enum kser_outcome kser_operation_build(struct kser_operation *operation, struct json_object *arguments, struct kser_result *result)
{
	const struct kser_operation_class *class = class_of(operation);
	enum kser_outcome outcome = compute(operation, arguments, result);
	if (outcome || !class->finalize)
		return outcome;
	outcome = class->finalize(operation, result, class->context);
	result_settle(result, outcome);
	return outcome;
}

static enum kser_outcome move_tasks(struct kser_operation *operation, struct kser_operation *from, struct json_object *arguments, struct kser_result *result)
{
	enum kser_outcome outcome = compute(from, arguments, result);
	if (!outcome && operation->count + from->count > OPERATION_TASKS_MAX)
		outcome = refuse_more(operation, result);
	for (size_t i = 0; !outcome && i < from->count; i++)
		kser_operation_add_task(operation, from->tasks[i]);
	if (!outcome)
		from->count = 0;
	return outcome;
}

enum kser_outcome kser_operation_compute_tasks(struct kser_operation *operation, struct kser_operation *other, struct json_object *arguments, struct kser_result *result)
{
	enum kser_outcome outcome = move_tasks(operation, other, arguments, result);
	kser_operation_free(other);
	return outcome;
}

enum kser_outcome kser_operation_add_tasks_of(struct kser_operation *operation, const char *name, struct json_object *params, struct kser_result *result)
{
	struct kser_operation *other = operation_new(operation->self->entrypoints, name, NULL, params_text(params), operation->planned, result);
	enum kser_outcome outcome = other ? kser_operation_compute_tasks(operation, other, params, result) : KSER_FAILURE;
	json_object_put(params);
	return outcome;
}

/* ---- planning ---- */

static void add_option(struct buffer *text, const char *key, const struct buffer *value)
{
	if (value->length == 0)
		return;
	buffer_add_text(text, key);
	buffer_add_slice(text, buffer_slice(value));
}

static void add_planned(const struct kser_task *task, struct kser_result *result)
{
	struct buffer text CLEANUP(buffer_clear) = {0};
	buffer_add_text(&text, "{\"entrypoint\":");
	buffer_add_slice(&text, task->message.entrypoint.text);
	buffer_add_text(&text, ",\"params\":");
	buffer_add_slice(&text, task->message.params.text);
	if (task->message.metadata.text.length > 2) {
		buffer_add_text(&text, ",\"metadata\":");
		buffer_add_slice(&text, task->message.metadata.text);
	}
	add_option(&text, ",\"queue\":", &task->made->queue);
	add_option(&text, ",\"policy\":", &task->made->policy);
	buffer_add_char(&text, '}');
	result_add_planned(result, buffer_slice(&text));
}

/* Nested operations' tasks stand in the one list. */
static void add_plan(const struct kser_operation *operation, struct kser_result *result)
{
	for (size_t i = 0; i < operation->count; i++) {
		const struct kser_operation *nested = operation->tasks[i]->made->operation;
		if (nested)
			add_plan(nested, result);
		else
			add_planned(operation->tasks[i], result);
	}
}

static enum kser_outcome plan(struct kser_operation *operation, struct json_object *params, struct kser_result *result)
{
	enum kser_outcome outcome = kser_operation_build(operation, params, result);
	if (outcome)
		return outcome;
	add_plan(operation, result);
	if (result->task_count == 0)
		return result_fail_empty_plan(result);
	if (result->task_count > OPERATION_TASKS_MAX)
		return kser_result_fail(result, 400, "ValidationError", "the plan has %zu tasks, at most %d are possible", result->task_count, OPERATION_TASKS_MAX);
	return KSER_SUCCESS;
}

enum kser_outcome operation_plan(struct kser_task *task, struct kser_result *result, void *context)
{
	(void)context;
	struct buffer name CLEANUP(buffer_clear) = {0};
	json_add_string(&name, task->message.entrypoint);
	struct kser_operation *operation = operation_new(task->entrypoints, name.bytes, kser_task_uuid(task), task->message.params.text, true, result);
	if (!operation)
		return KSER_FAILURE;
	operation->self->message.metadata = task->message.metadata;
	operation->self->message.result = task->message.result;
	operation->self->message.parts = task->message.parts;
	enum kser_outcome outcome = plan(operation, kser_task_params(operation->self), result);
	kser_operation_free(operation);
	return outcome;
}

/* ---- its status ---- */

const char *kser_operation_status(const struct kser_operation *operation)
{
	return kser_task_status(operation->self);
}

void kser_operation_set_status(struct kser_operation *operation, const char *status, const struct kser_result *result)
{
	const struct kser_operation_class *class = class_of(operation);
	kser_task_set_status(operation->self, status);
	if (class->set_status)
		class->set_status(operation, status, result, class->context);
}

void kser_operation_change_status(struct kser_operation *operation, const char *status, const struct kser_result *result)
{
	tell(operation, LOG_LEVEL_INFO, "%s.SetStatus: %s[%s] status update '%s' -> '%s'", CLASS(operation), NAME(operation), uuid_of(operation),
		kser_operation_status(operation), status);
	kser_operation_set_status(operation, status, result);
}

/* ---- executing ---- */

static void set_uuid(struct kser_result *result, struct slice uuid)
{
	buffer_reset(&result->uuid);
	buffer_add_slice(&result->uuid, uuid);
}

/* A trigger that emptied the result made it the operation's own. */
static enum kser_outcome call(struct kser_operation *operation, enum kser_outcome (*trigger)(struct kser_operation *, struct kser_result *, void *), struct kser_result *result)
{
	enum kser_outcome outcome = trigger ? trigger(operation, result, class_of(operation)->context) : KSER_SUCCESS;
	result_settle(result, outcome);
	if (result->uuid.length == 0)
		set_uuid(result, operation->self->message.uuid.text);
	return outcome;
}

static enum kser_outcome end_failed(struct kser_operation *operation, struct kser_result *result)
{
	result->raised = false;
	if (result->uuid.length == 0)
		set_uuid(result, operation->self->message.uuid.text);
	kser_operation_change_status(operation, "FAILED", result);
	tell_end(operation, LOG_LEVEL_ERROR, "Failed", result);
	enum kser_outcome outcome = call(operation, class_of(operation)->onerror, result);
	return outcome || result->retcode == 0 ? outcome : KSER_FAILURE;
}

/* An error: the operation's result from here on. */
static enum kser_outcome raise(struct kser_operation *operation, struct kser_result *result, enum kser_outcome outcome, enum lifecycle_errors errors)
{
	result->raised = true;
	set_uuid(result, operation->self->message.uuid.text);
	return errors == ERRORS_PASSED_ON ? outcome : end_failed(operation, result);
}

static enum kser_outcome end_well(struct kser_operation *operation, struct kser_result *result, enum lifecycle_errors errors)
{
	kser_operation_change_status(operation, "SUCCESS", result);
	tell_end(operation, LOG_LEVEL_INFO, "Success", result);
	enum kser_outcome outcome = call(operation, class_of(operation)->onsuccess, result);
	if (outcome)
		return raise(operation, result, outcome, errors);
	return result->retcode == 0 ? KSER_SUCCESS : KSER_FAILURE;
}

/* Takes over what `from` holds. */
static void move_result(struct kser_result *result, struct kser_result *from)
{
	result_clear(result);
	*result = *from;
	*from = (struct kser_result){0};
}

/* What a task that had succeeded before made counts as if it ran now. */
static void add_stored(const struct kser_task *task, struct kser_result *result)
{
	struct kser_result stored CLEANUP(result_clear) = {0};
	made_load_result(task, &stored);
	kser_result_add(result, &stored);
	set_uuid(result, buffer_slice(&stored.uuid));
}

/* One task with what those before it made (`result`, if `begun`), to which it adds. */
static enum kser_outcome run_task(struct kser_task *task, bool begun, struct kser_result *result, struct kser_task *within)
{
	struct kser_result own CLEANUP(result_clear) = {0};
	enum kser_outcome outcome = made_execute(task, begun ? result : NULL, &own, within, ERRORS_PASSED_ON);
	if (own.raised) {
		kser_result_add(result, &own);
		result->raised = true;
	} else {
		move_result(result, &own);
	}
	return outcome;
}

/* Whether the task in whose run this happens lets another one begin. */
static enum kser_outcome check_within(const struct kser_task *within, struct kser_result *result)
{
	if (!within)
		return KSER_SUCCESS;
	if (kser_task_cancelled(within)) {
		kser_result_fail(result, 503, "ServiceUnavailable", "the operation was stopped");
		return KSER_RETRY;
	}
	if (kser_task_left_ms(within) == 0)
		return kser_result_fail(result, 504, "Timeout", "the time limit had passed before all tasks had run");
	return KSER_SUCCESS;
}

static enum kser_outcome run_tasks(struct kser_operation *operation, bool begun, struct kser_result *result, struct kser_task *within)
{
	enum kser_outcome outcome = KSER_SUCCESS;
	for (size_t i = 0; i < operation->count && !outcome; i++) {
		if (is_done(operation->tasks[i]))
			add_stored(operation->tasks[i], result);
		else if ((outcome = check_within(within, result)))
			result->raised = true;
		else
			outcome = run_task(operation->tasks[i], begun, result, within);
		begun = true;
	}
	return outcome;
}

/* Up to its first task. */
static enum kser_outcome begin(struct kser_operation *operation, struct kser_result *result)
{
	enum kser_outcome outcome = check_required(operation, result);
	if (outcome)
		return outcome;
	kser_operation_change_status(operation, "RUNNING", NULL);
	tell(operation, LOG_LEVEL_DEBUG, "%s.PreRun: %s[%s]: running...", CLASS(operation), NAME(operation), uuid_of(operation));
	return call(operation, class_of(operation)->prerun, result);
}

/* All but the end; result->raised: by an error. */
static enum kser_outcome run_all(struct kser_operation *operation, const struct kser_result *previous, struct kser_result *result, struct kser_task *within)
{
	if (previous) {
		kser_result_add(result, previous);
		set_uuid(result, buffer_slice(&previous->uuid));
	}
	enum kser_outcome outcome = begin(operation, result);
	if (!outcome && operation->count == 0)
		outcome = result_fail_empty_plan(result);
	if (!outcome && operation->overfull)
		outcome = refuse_more(operation, result);
	result->raised = outcome != KSER_SUCCESS;
	return outcome ? outcome : run_tasks(operation, previous != NULL, result, within);
}

enum kser_outcome operation_execute(struct kser_operation *operation, const struct kser_result *previous, struct kser_result *result, struct kser_task *within,
	enum lifecycle_errors errors)
{
	struct kser_result total CLEANUP(result_clear) = {0};
	if (operation->self->made->birth.raised) {
		result_clear(result);
		(void)was_born_failed(operation, result);
		set_uuid(result, operation->self->message.uuid.text);
		result->raised = errors == ERRORS_PASSED_ON;
		return KSER_FAILURE;
	}
	enum kser_outcome outcome = run_all(operation, previous, &total, within);
	move_result(result, &total);
	if (result->raised)
		return raise(operation, result, outcome, errors);
	return outcome ? end_failed(operation, result) : end_well(operation, result, errors);
}

enum kser_outcome kser_operation_execute(struct kser_operation *operation, const struct kser_result *previous, struct kser_result *result, struct kser_task *within)
{
	return operation_execute(operation, previous, result, within, ERRORS_CAUGHT);
}

enum kser_outcome kser_operation_unsafe_execute(struct kser_operation *operation, const struct kser_result *previous, struct kser_result *result, struct kser_task *within)
{
	return operation_execute(operation, previous, result, within, ERRORS_PASSED_ON);
}

/* ---- a chain ---- */

static enum kser_outcome send(struct kser_operation *operation, struct kser_task *task, const struct kser_result *forwarded, struct kser_result *result)
{
	const struct kser_operation_class *class = class_of(operation);
	if (!class->send)
		return kser_result_fail(result, 501, "NotImplemented", "operation '%s' has no send", NAME(operation));
	char *message CLEANUP(free_pointer) = kser_task_to_message(task, forwarded);
	enum kser_outcome outcome = class->send(operation, task, message, result, class->context);
	result_settle(result, outcome);
	return outcome;
}

enum kser_outcome kser_operation_launch_next(struct kser_operation *operation, struct kser_task *task, const struct kser_result *forwarded, struct kser_result *result)
{
	struct kser_task *next = kser_operation_next(operation, task);
	if (next)
		return send(operation, next, forwarded, result);
	if (operation->count == 0) {
		kser_result_set_retcode(result, 1);
		kser_result_set_stderr(result, RESULT_EMPTY_PLAN);
		return KSER_FAILURE;
	}
	kser_operation_set_status(operation, task ? kser_task_status(task) : "SUCCESS", forwarded);
	return KSER_SUCCESS;
}

/* What tasks that had succeeded before made goes to the first that has not. */
enum kser_outcome kser_operation_launch(struct kser_operation *operation, struct kser_result *result)
{
	struct kser_result stored CLEANUP(result_clear) = {0};
	size_t done = 0;
	if (was_born_failed(operation, result))
		return KSER_FAILURE;
	for (; done < operation->count && is_done(operation->tasks[done]); done++)
		add_stored(operation->tasks[done], &stored);
	return kser_operation_launch_next(operation, NULL, done ? &stored : NULL, result);
}
