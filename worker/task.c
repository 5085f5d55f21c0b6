#include "worker/task.h"

#include <assert.h>
#include <json-c/json.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <uuid/uuid.h>

#include "common/clock.h"
#include "common/limits.h"
#include "common/log.h"
#include "common/memory.h"
#include "kser/worker.h"
#include "worker/made.h"
#include "worker/object.h"

struct task_text {
	struct task_text *next;
	char text[];
};

/* Two records with the same key are the same attempt of the same task. Its uuid alone would not do: users may give their own. */
static void set_key(struct kser_task *task, const struct stamp *stamp)
{
	memcpy(task->key.operation, stamp->operation, sizeof task->key.operation);
	task->key.position = stamp->position;
	task->key.attempt = stamp->attempt;
	task->key.generation = stamp->generation;
	task->keyed = true;
}

static enum status read_record(const struct sealing *sealing, struct slice bytes, struct buffer *opened, struct message *message, struct error *err)
{
	if (bytes.length == 0)
		return fail(err, E_INVALID, "the record is empty");
	enum status status = sealing_read(sealing, bytes, opened, message, err);
	if (!status && (message->stamp.kind != MESSAGE_RESULT || message->stamp.worker.length > 0))
		return fail(err, E_INVALID, "metadata.kser: is a worker's report, not a task");
	return status;
}

static void release_record(struct kser_task *task)
{
	if (task->release)
		task->release(task->record);
	task->release = NULL;
}

struct kser_task *task_new(const struct sealing *sealing, struct slice bytes, void *record, void (*release)(void *record),
	enum status *status, struct error *err)
{
	struct message message = {0};
	struct kser_task *task = xcalloc(1, sizeof *task);
	*status = read_record(sealing, bytes, &task->opened, &message, err);
	task->stop_fd = -1;
	task->record = record;
	task->release = release;
	task->message.text = bytes;
	if (*status)
		return task;
	task->message = message;
	if (task->opened.length > 0)
		release_record(task); /* nobody looks at it any more */
	if (message.stamped)
		set_key(task, &message.stamp);
	return task;
}

void task_name_of(const struct kser_task *task, struct task_name *name)
{
	assert(task->keyed);
	memcpy(name->uuid, task->message.stamp.task, sizeof name->uuid);
	memcpy(name->operation, task->key.operation, sizeof name->operation);
	name->position = task->key.position;
	name->attempt = task->key.attempt;
	name->generation = task->key.generation;
}

bool task_stops_on_silence(const struct kser_task *task)
{
	return task->keyed && (task->message.stamp.flags & STAMP_STOP_ON_SILENCE);
}

/* Between a command's end, which closes its descriptor, and a word that it is to end. */
static pthread_mutex_t stop_lock = PTHREAD_MUTEX_INITIALIZER;

static void cancel_all(struct kser_task *task)
{
	for (; task; task = task->inner) {
		atomic_store(&task->cancelled, true);
		if (task->stop_fd >= 0)
			(void)eventfd_write(task->stop_fd, 1);
	}
}

void task_cancel(struct kser_task *task)
{
	pthread_mutex_lock(&stop_lock);
	cancel_all(task);
	pthread_mutex_unlock(&stop_lock);
}

void task_set_inner(struct kser_task *task, struct kser_task *inner)
{
	pthread_mutex_lock(&stop_lock);
	task->inner = inner;
	if (inner && atomic_load(&task->cancelled))
		cancel_all(inner);
	pthread_mutex_unlock(&stop_lock);
}

void task_set_stop_fd(struct kser_task *task, int fd)
{
	pthread_mutex_lock(&stop_lock);
	task->stop_fd = fd;
	if (fd >= 0 && atomic_load(&task->cancelled))
		(void)eventfd_write(fd, 1);
	pthread_mutex_unlock(&stop_lock);
}

void task_forget(struct kser_task *task)
{
	json_object_put(task->params);
	json_object_put(task->previous_object);
	task->params = NULL;
	task->previous_object = NULL;
	while (task->texts) {
		struct task_text *text = task->texts;
		task->texts = text->next;
		free(text);
	}
}

void task_free_repeats(struct kser_task *task)
{
	while (task->hold.next) {
		struct hold *hold = task->hold.next;
		task->hold.next = hold->next;
		free(hold);
	}
}

void task_free(struct kser_task *task)
{
	task_free_repeats(task);
	made_free(task->made);
	buffer_clear(&task->own_params);
	buffer_clear(&task->reply.text);
	buffer_clear(&task->opened);
	release_record(task);
	free(task);
}

static int64_t smaller_limit(int64_t one, int64_t other)
{
	if (one <= 0 || other <= 0)
		return one > 0 ? one : other;
	return one < other ? one : other;
}

struct time_left task_time_left(const struct kser_task *task, int64_t limit_ms)
{
	int64_t limit = smaller_limit(limit_ms, task->message.stamp.limit_ms);
	int64_t left = limit > 0 ? atomic_load_explicit(&task->started_ms, memory_order_relaxed) + limit - clock_monotonic_ms() : INT64_MAX;
	int64_t until = task->message.stamp.deadline_ms > 0 ? task->message.stamp.deadline_ms - clock_wall_ms() : INT64_MAX;
	int64_t first = until < left ? until : left;
	if (first == INT64_MAX)
		return (struct time_left){.ms = -1};
	return (struct time_left){.ms = first > 0 ? first : 0, .until_deadline = until < left};
}

bool task_parameter(const struct kser_task *task, const char *name, struct json_value *value)
{
	return json_find(task->message.params, name, value);
}

const char *task_text(struct kser_task *task, struct json_value string)
{
	struct buffer scratch CLEANUP(buffer_clear) = {0};
	struct slice resolved = json_string(string, &scratch);
	struct task_text *text = xmalloc(sizeof *text + resolved.length + 1);
	memcpy(text->text, resolved.start, resolved.length);
	text->text[resolved.length] = '\0';
	text->next = task->texts;
	task->texts = text;
	return text->text;
}

/* ---- what entrypoints see ---- */

const char *kser_task_uuid(struct kser_task *task)
{
	return task_text(task, task->message.uuid);
}

const char *kser_task_operation(struct kser_task *task)
{
	if (!task->message.stamped)
		return "";
	char quoted[UUID_STR_LEN + 2] = "\"";
	uuid_unparse_lower(task->message.stamp.operation, quoted + 1);
	quoted[UUID_STR_LEN] = '"';
	return task_text(task, (struct json_value){JSON_STRING, {quoted, UUID_STR_LEN + 1}});
}

int32_t kser_task_position(const struct kser_task *task)
{
	return task->message.stamp.position;
}

int32_t kser_task_attempt(const struct kser_task *task)
{
	return task->message.stamp.attempt;
}

const char *kser_task_message(const struct kser_task *task, size_t *length)
{
	if (length)
		*length = task->message.text.length;
	return task->message.text.start;
}

struct json_object *kser_task_params(struct kser_task *task)
{
	if (!task->params)
		task->params = object_parse(task->message.params.text, 0);
	return task->params;
}

/* Makes the message's params those of task->params, as they lie in a message. */
static enum status take_params(struct kser_task *task, struct error *err)
{
	struct buffer text CLEANUP(buffer_clear) = {0};
	struct json_value message;
	buffer_add_text(&text, "{\"params\":");
	buffer_add_slice(&text, object_text(task->params));
	buffer_add_char(&text, '}');
	enum status status = json_validate(buffer_slice(&text), MESSAGE_BYTES_MAX, &message, err);
	if (status)
		return status;
	bool found = json_find(message, "params", &task->message.params);
	assert(found);
	buffer_clear(&task->own_params);
	task->own_params = text;
	text = (struct buffer){0};
	return E_OK;
}

/* What kser_task_params gave out stays, whatever the value is. */
void kser_task_set(struct kser_task *task, const char *name, struct json_object *value)
{
	struct error err;
	struct json_object *params = kser_task_params(task), *before = NULL;
	bool was_there = json_object_object_get_ex(params, name, &before);
	json_object_get(before);
	json_object_object_add(params, name, value);
	if (!take_params(task, &err)) {
		json_object_put(before);
		return;
	}
	log_warning("cannot set a parameter", "parameter", name, "error", err.text);
	if (was_there)
		json_object_object_add(params, name, before);
	else
		json_object_object_del(params, name);
}

struct json_object *kser_task_previous(struct kser_task *task)
{
	if (!task->previous_object && task->message.result.kind == JSON_OBJECT)
		task->previous_object = object_parse(task->message.result.text, 0);
	return task->previous_object;
}

const char *kser_task_text(struct kser_task *task, const char *name, const char *fallback)
{
	struct json_value value;
	if (!task_parameter(task, name, &value) || value.kind != JSON_STRING)
		return fallback;
	return task_text(task, value);
}

int64_t kser_task_integer(struct kser_task *task, const char *name, int64_t fallback)
{
	struct json_value value;
	int64_t number;
	if (!task_parameter(task, name, &value) || !json_int64(value, &number))
		return fallback;
	return number;
}

double kser_task_number(struct kser_task *task, const char *name, double fallback)
{
	struct json_value value;
	if (!task_parameter(task, name, &value) || (value.kind != JSON_INTEGER && value.kind != JSON_DOUBLE))
		return fallback;
	return json_object_get_double(json_object_object_get(kser_task_params(task), name));
}

int64_t kser_task_left_ms(const struct kser_task *task)
{
	return task_time_left(task, 0).ms;
}

bool kser_task_cancelled(const struct kser_task *task)
{
	return atomic_load_explicit(&task->cancelled, memory_order_relaxed);
}
