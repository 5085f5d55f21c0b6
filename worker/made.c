#include "worker/made.h"

#include <json-c/json.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/limits.h"
#include "common/memory.h"
#include "common/sum.h"
#include "worker/object.h"
#include "worker/operation.h"
#include "worker/router.h"

/* ---- making ---- */

void made_free(struct made *made)
{
	if (!made)
		return;
	result_clear(&made->birth);
	buffer_clear(&made->metadata);
	buffer_clear(&made->result);
	buffer_clear(&made->queue);
	buffer_clear(&made->policy);
	free(made->status);
	free(made);
}

/* Its postinit belongs to its making. */
static void call_postinit(struct kser_task *task)
{
	struct kser_result ignored CLEANUP(result_clear) = {0};
	const struct entrypoint *entrypoint = router_find(task->entrypoints, task, &ignored);
	if (!entrypoint || !entrypoint->triggers.postinit)
		return;
	enum kser_outcome outcome = entrypoint->triggers.postinit(task, &task->made->birth, entrypoint->context);
	result_settle(&task->made->birth, outcome);
	task->made->birth.raised = outcome != KSER_SUCCESS;
}

/* `text`: a message, taken over. */
static struct kser_task *task_of(const struct entrypoints *entrypoints, struct buffer text, struct kser_result *result)
{
	enum status status;
	struct error err;
	struct kser_task *task = task_new(NULL, buffer_slice(&text), text.bytes, free, &status, &err);
	if (status) {
		if (result)
			kser_result_fail(result, 400, "ValidationError", "%s", err.text);
		task_free(task);
		return NULL;
	}
	task->entrypoints = entrypoints;
	task->made = xcalloc(1, sizeof *task->made);
	task->made->status = xstrdup("PENDING");
	call_postinit(task);
	return task;
}

struct kser_task *made_new(const struct entrypoints *entrypoints, const char *entrypoint, const char *uuid, struct slice params, struct kser_result *result)
{
	struct buffer text = {0};
	uuid_t drawn;
	char room[UUID_STR_LEN];
	uuid_generate_random(drawn);
	uuid_unparse_lower(drawn, room);
	buffer_add_text(&text, "{\"uuid\":");
	output_add_clean_string(&text, slice_of(uuid ? uuid : room));
	buffer_add_text(&text, ",\"entrypoint\":");
	output_add_clean_string(&text, slice_of(entrypoint));
	buffer_add_text(&text, ",\"params\":");
	buffer_add_slice(&text, params);
	buffer_add_char(&text, '}');
	return task_of(entrypoints, text, result);
}

struct kser_task *kser_task_new(struct kser_worker *worker, const char *entrypoint, const char *uuid, struct json_object *params, struct kser_result *result)
{
	struct kser_task *task = made_new(worker_entrypoints(worker), entrypoint, uuid, params ? object_text(params) : slice_of("{}"), result);
	json_object_put(params);
	return task;
}

struct kser_task *kser_task_from_message(struct kser_worker *worker, const char *text, size_t length, struct kser_result *result)
{
	struct buffer copy = {0};
	buffer_add(&copy, text, length);
	return task_of(worker_entrypoints(worker), copy, result);
}

void kser_task_free(struct kser_task *task)
{
	if (!task)
		return;
	task_forget(task);
	task_free(task);
}

struct kser_worker *kser_task_worker(const struct kser_task *task)
{
	return task->entrypoints ? task->entrypoints->worker : NULL;
}

/* ---- what it is told ---- */

/* Takes the text of `object` over into `room`, if it is an object that a message can carry. */
static bool take_object(struct buffer *room, struct json_value *value, struct json_object *object)
{
	struct buffer text CLEANUP(buffer_clear) = {0};
	struct json_value found;
	buffer_add_slice(&text, object_text(object));
	json_object_put(object);
	if (json_validate(buffer_slice(&text), MESSAGE_BYTES_MAX, &found, NULL) || found.kind != JSON_OBJECT)
		return false;
	buffer_clear(room);
	*room = text;
	text = (struct buffer){0};
	*value = found;
	return true;
}

/* Of tasks that code made. Else false, and the reference is put. */
static bool is_made(const struct kser_task *task, struct json_object *value)
{
	if (!task->made)
		json_object_put(value);
	return task->made != NULL;
}

bool kser_task_set_metadata(struct kser_task *task, struct json_object *metadata)
{
	return is_made(task, metadata) && take_object(&task->made->metadata, &task->message.metadata, metadata);
}

bool kser_task_set_result(struct kser_task *task, struct json_object *result)
{
	struct buffer text CLEANUP(buffer_clear) = {0};
	struct json_value value;
	struct result parsed;
	if (!is_made(task, result) || !take_object(&text, &value, result) || result_parse(value, &parsed, NULL))
		return false;
	buffer_clear(&task->made->result);
	task->made->result = text;
	text = (struct buffer){0};
	task->message.result = value;
	task->message.parts = parsed;
	return true;
}

bool kser_task_set_option(struct kser_task *task, const char *name, struct json_object *value)
{
	bool queue = strcmp(name, "queue") == 0;
	if (!is_made(task, value))
		return false;
	struct slice text = object_text(value);
	struct json_value found;
	bool usable = (queue || strcmp(name, "policy") == 0) && json_validate(text, MESSAGE_BYTES_MAX, &found, NULL) == E_OK
		&& found.kind == (queue ? JSON_STRING : JSON_OBJECT);
	if (usable) {
		struct buffer *option = queue ? &task->made->queue : &task->made->policy;
		buffer_reset(option);
		buffer_add_slice(option, text);
	}
	json_object_put(value);
	return usable;
}

const char *kser_task_status(const struct kser_task *task)
{
	return task->made ? task->made->status : "RUNNING";
}

void kser_task_set_status(struct kser_task *task, const char *status)
{
	if (!task->made)
		return;
	char *copy = xstrdup(status);
	free(task->made->status);
	task->made->status = copy;
}

/* ---- as a message ---- */

static void add_result(struct buffer *out, const struct kser_task *task, const struct kser_result *result)
{
	struct buffer inherited CLEANUP(buffer_clear) = {0};
	struct kser_result own CLEANUP(result_clear) = {0};
	if (!result)
		made_load_result(task, &own);
	const struct kser_result *shown = result ? result : &own;
	result_add_sum(out, &inherited, shown->uuid.length ? buffer_slice(&shown->uuid) : task->message.uuid.text, NULL, shown);
}

char *kser_task_to_message(struct kser_task *task, const struct kser_result *result)
{
	struct buffer text = {0};
	buffer_add_text(&text, "{\"uuid\":");
	buffer_add_slice(&text, task->message.uuid.text);
	buffer_add_text(&text, ",\"entrypoint\":");
	buffer_add_slice(&text, task->message.entrypoint.text);
	buffer_add_text(&text, ",\"params\":");
	buffer_add_slice(&text, task->message.params.text);
	buffer_add_text(&text, ",\"result\":");
	add_result(&text, task, result);
	buffer_add_text(&text, ",\"metadata\":");
	buffer_add_slice(&text, task->message.metadata.text.length ? task->message.metadata.text : slice_of("{}"));
	buffer_add_char(&text, '}');
	return text.bytes;
}

/* ---- running ---- */

void made_load_result(const struct kser_task *task, struct kser_result *result)
{
	result_clear(result);
	result_join(result, task->message.uuid.text, result_before(&task->message));
	result_close(result);
}

/* The result that it starts with is its own plus what earlier tasks made. E_INVALID: together they are too deep or too many bytes. */
static enum status take_previous(struct kser_task *task, const struct kser_result *previous, struct error *err)
{
	struct buffer text CLEANUP(buffer_clear) = {0}, inherited CLEANUP(buffer_clear) = {0}, sum CLEANUP(buffer_clear) = {0};
	struct json_value value;
	struct result own = task->message.parts, other, whole;
	result_add_sum(&text, &inherited, task->message.uuid.text, NULL, previous);
	enum status status = json_validate(buffer_slice(&text), MESSAGE_BYTES_MAX, &value, err);
	if (!status)
		status = result_parse(value, &other, err);
	if (status)
		return status;
	if (own.uuid.kind != JSON_STRING)
		own.uuid = task->message.uuid;
	sum_add(&sum, &own, &other);
	status = json_validate(buffer_slice(&sum), MESSAGE_BYTES_MAX, &value, err);
	if (!status)
		status = result_parse(value, &whole, err);
	if (status)
		return status;
	buffer_clear(&task->made->result);
	task->made->result = sum;
	sum = (struct buffer){0};
	task->message.result = value;
	task->message.parts = whole;
	json_object_put(TAKE(task->previous_object));
	return E_OK;
}

static void begin(struct kser_task *task, struct kser_task *within)
{
	atomic_store(&task->started_ms, within ? atomic_load(&within->started_ms) : clock_monotonic_ms());
	if (!within)
		return;
	if (!task->message.stamped) {
		task->message.stamp = within->message.stamp;
		task->message.stamped = within->message.stamped;
	}
	task_set_inner(within, task);
}

/* Outside `within` nothing of it holds any more: its stamp lies in its record, which goes before `task` may. */
static void leave(struct kser_task *task, struct kser_task *within, const struct stamp *stamp, bool stamped)
{
	if (!within)
		return;
	task_set_inner(within, NULL);
	atomic_store(&task->cancelled, false);
	task->message.stamp = *stamp;
	task->message.stamped = stamped;
}

/* A task that sleeps has its result already. */
static void wait_until_due(struct kser_task *task)
{
	int64_t left_ms = task->due_ms - clock_monotonic_ms();
	if (task->due_ms == 0 || left_ms <= 0)
		return;
	struct pollfd polled = {.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), .events = POLLIN};
	task_set_stop_fd(task, polled.fd);
	for (; left_ms > 0 && !polled.revents; left_ms = task->due_ms - clock_monotonic_ms())
		(void)poll(&polled, 1, left_ms < INT_MAX ? (int)left_ms : INT_MAX);
	task_set_stop_fd(task, -1);
	if (polled.fd >= 0)
		close(polled.fd);
}

static enum kser_outcome run(struct kser_task *task, struct kser_result *result, enum lifecycle_errors errors)
{
	const struct entrypoint *entrypoint = router_find(task->entrypoints, task, result);
	enum kser_outcome outcome = entrypoint ? lifecycle_run(task->entrypoints, entrypoint, task, result, errors) : KSER_FAILURE;
	if (!entrypoint)
		result->raised = errors == ERRORS_PASSED_ON;
	wait_until_due(task);
	return outcome;
}

/* Without them it would be another task, so it does not run. */
static enum kser_outcome refuse_previous(struct kser_result *result, const struct error *err, enum lifecycle_errors errors)
{
	result->raised = errors == ERRORS_PASSED_ON;
	return kser_result_fail(result, 500, "InternalError", "the results of earlier tasks are not usable: %s", err->text);
}

static void join(const struct kser_task *task, struct kser_result *result)
{
	if (!result->whole && !result->raised)
		result_join(result, task->message.uuid.text, result_before(&task->message));
	result_close(result);
}

enum kser_outcome made_execute(struct kser_task *task, const struct kser_result *previous, struct kser_result *result, struct kser_task *within, enum lifecycle_errors errors)
{
	struct error err;
	if (!task->made) {
		result_clear(result);
		return kser_result_fail(result, 400, "ValidationError", "only tasks that were made in code can be executed");
	}
	if (task->made->operation)
		return operation_execute(task->made->operation, previous, result, within, errors);
	enum status status = previous ? take_previous(task, previous, &err) : E_OK;
	const struct stamp stamp = task->message.stamp;
	bool stamped = task->message.stamped;
	result_clear(result);
	begin(task, within);
	enum kser_outcome outcome = status ? refuse_previous(result, &err, errors) : run(task, result, errors);
	join(task, result);
	leave(task, within, &stamp, stamped);
	return outcome || result->retcode == 0 ? outcome : KSER_FAILURE;
}

enum kser_outcome kser_execute(struct kser_task *task, const struct kser_result *previous, struct kser_result *result, struct kser_task *within)
{
	return made_execute(task, previous, result, within, ERRORS_CAUGHT);
}

enum kser_outcome kser_unsafe_execute(struct kser_task *task, const struct kser_result *previous, struct kser_result *result, struct kser_task *within)
{
	return made_execute(task, previous, result, within, ERRORS_PASSED_ON);
}
