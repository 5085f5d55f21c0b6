#include "worker/result.h"

#include <json-c/json.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/limits.h"
#include "common/memory.h"
#include "kser/operation.h"
#include "worker/object.h"

void result_clear(struct kser_result *result)
{
	buffer_clear(&result->message);
	output_clear(&result->out);
	output_clear(&result->err);
	retval_clear(&result->retval);
	buffer_clear(&result->tasks);
	buffer_clear(&result->uuid);
	buffer_clear(&result->shown);
	*result = (struct kser_result){0};
}

void kser_result_clear(struct kser_result *result)
{
	struct kser_result kept = {.whole = result->whole};
	if (result->whole) {
		kept.uuid = result->uuid;
		result->uuid = (struct buffer){0};
	}
	result_clear(result);
	*result = kept;
}

/* ---- failing ---- */

/* kser's classes of errors with their message ids; another name counts as the base class. */
static const char *message_id(const char *name)
{
	static const struct {
		const char *name;
		const char *id;
	} known[] = {
		{"ValidationError", "ERR-04413"},
		{"NotFound", "ERR-08414"},
		{"InternalError", "ERR-29885"},
		{"IOError", "ERR-27582"},
		{"NotImplemented", "ERR-04766"},
		{"ConfigurationError", "ERR-19036"},
	};
	for (size_t i = 0; i < COUNT_OF(known); i++)
		if (strcmp(name, known[i].name) == 0)
			return known[i].id;
	return "Err-00000";
}

/* What only came from before goes when something new is said. */
static void drop_carried(struct output *output, bool *carried)
{
	output_clear(output);
	*carried = false;
}

static void put_error(struct kser_result *result, int32_t code, const char *name, const char *msgid, struct slice extra, struct slice message)
{
	result->retcode = code > 0 ? code : 500;
	if (result->err_carried)
		drop_carried(&result->err, &result->err_carried);
	buffer_reset(&result->message);
	output_add_clean(&result->message, message);
	struct buffer error CLEANUP(buffer_clear) = {0};
	buffer_add_text(&error, "{\"code\":");
	buffer_add_int(&error, result->retcode);
	buffer_add_text(&error, ",\"name\":");
	output_add_clean_string(&error, slice_of(name ? name : "InternalError"));
	buffer_add_text(&error, ",\"message\":");
	buffer_add_json_string(&error, buffer_slice(&result->message));
	buffer_add_text(&error, ",\"msgid\":");
	output_add_clean_string(&error, slice_of(msgid ? msgid : message_id(name ? name : "InternalError")));
	buffer_add_text(&error, ",\"extra\":");
	buffer_add_slice(&error, extra.length ? extra : slice_of("{}"));
	buffer_add_text(&error, ",\"stack\":null}");
	retval_put(&result->retval, slice_of("error"), buffer_slice(&error));
}

void result_fail(struct kser_result *result, int32_t code, const char *name, struct slice extra, struct slice message)
{
	put_error(result, code, name, NULL, extra, message);
}

static void add_formatted(struct buffer *out, const char *format, va_list arguments)
{
	char *text = NULL;
	int length = vasprintf(&text, format, arguments);
	if (length > 0)
		buffer_add(out, text, (size_t)length);
	free_pointer(&text);
}

enum kser_outcome kser_result_fail(struct kser_result *result, int32_t code, const char *name, const char *format, ...)
{
	struct buffer message CLEANUP(buffer_clear) = {0};
	va_list arguments;
	va_start(arguments, format);
	add_formatted(&message, format, arguments);
	va_end(arguments);
	result_fail(result, code, name, slice_of(""), buffer_slice(&message));
	return KSER_FAILURE;
}

void result_settle(struct kser_result *result, enum kser_outcome outcome)
{
	if (outcome == KSER_SUCCESS || result->retcode != 0)
		return;
	if (outcome == KSER_RETRY)
		kser_result_fail(result, 503, "ServiceUnavailable", "may be tried again");
	else
		kser_result_fail(result, 500, "InternalError", "the entrypoint failed and did not say why");
}

void kser_result_set_retcode(struct kser_result *result, int32_t retcode)
{
	result->retcode = retcode;
}

/* ---- saying ---- */

static void add_line(struct output *output, const char *format, va_list arguments)
{
	struct buffer line CLEANUP(buffer_clear) = {0};
	add_formatted(&line, format, arguments);
	buffer_add_char(&line, '\n');
	output_add(output, line.bytes, line.length);
}

void kser_result_print(struct kser_result *result, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	if (result->out_carried)
		drop_carried(&result->out, &result->out_carried);
	add_line(&result->out, format, arguments);
	va_end(arguments);
}

void kser_result_print_err(struct kser_result *result, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	if (result->err_carried)
		drop_carried(&result->err, &result->err_carried);
	add_line(&result->err, format, arguments);
	va_end(arguments);
}

void kser_result_set_stdout(struct kser_result *result, const char *text)
{
	drop_carried(&result->out, &result->out_carried);
	output_add(&result->out, text, strlen(text));
}

void kser_result_set_stderr(struct kser_result *result, const char *text)
{
	drop_carried(&result->err, &result->err_carried);
	buffer_clear(&result->message);
	output_add(&result->err, text, strlen(text));
}

/* ---- adding ---- */

static void copy_output(struct output *output, const struct output *other)
{
	output_clear(output);
	buffer_add_slice(&output->kept, buffer_slice(&other->kept));
	output->bytes = other->bytes;
}

static void add_reasons(struct kser_result *result, const struct kser_result *other)
{
	if (other->err.bytes == 0 && other->message.length == 0)
		return;
	copy_output(&result->err, &other->err);
	result->err_carried = false;
	buffer_reset(&result->message);
	buffer_add_slice(&result->message, buffer_slice(&other->message));
}

/* For so many more tasks of the plan; else it says so. */
static bool has_room(struct kser_result *result, size_t count)
{
	if (result->task_count + count <= OPERATION_TASKS_MAX)
		return true;
	kser_result_fail(result, 400, "ValidationError", "the plan has more than %d tasks", OPERATION_TASKS_MAX);
	return false;
}

void kser_result_add(struct kser_result *result, const struct kser_result *other)
{
	if (other->retcode > result->retcode)
		result->retcode = other->retcode;
	if (other->out.bytes > 0) {
		copy_output(&result->out, &other->out);
		result->out_carried = false;
	}
	add_reasons(result, other);
	retval_add(&result->retval, &other->retval);
	if (other->task_count > 0 && has_room(result, other->task_count)) {
		result_add_planned(result, buffer_slice(&other->tasks));
		result->task_count += other->task_count - 1;
	}
}

/* ---- looking ---- */

static void add_err(struct buffer *out, const struct kser_result *result)
{
	if (result->err.bytes > 0)
		output_add_text(out, &result->err);
	else
		buffer_add_slice(out, buffer_slice(&result->message));
}

void result_add_text(struct buffer *out, const struct kser_result *result)
{
	if (result->retcode == 0)
		output_add_text(out, &result->out);
	else
		add_err(out, result);
}

int32_t kser_result_retcode(const struct kser_result *result)
{
	return result->retcode;
}

const char *kser_result_stdout(struct kser_result *result)
{
	buffer_reset(&result->shown);
	output_add_text(&result->shown, &result->out);
	return buffer_slice(&result->shown).start;
}

const char *kser_result_stderr(struct kser_result *result)
{
	buffer_reset(&result->shown);
	add_err(&result->shown, result);
	return buffer_slice(&result->shown).start;
}

struct json_object *kser_result_object(struct kser_result *result)
{
	struct buffer text CLEANUP(buffer_clear) = {0}, inherited CLEANUP(buffer_clear) = {0};
	result_add_sum(&text, &inherited, result->uuid.length ? buffer_slice(&result->uuid) : slice_of("\"\""), NULL, result);
	return object_parse(buffer_slice(&text), 2);
}

/* ---- retval ---- */

static void refuse(struct kser_result *result, const char *what, const char *key, const char *why)
{
	struct buffer message CLEANUP(buffer_clear) = {0};
	buffer_printf(&message, "%s '%.*s' is not usable: %s", what, ERROR_INPUT_BYTES_MAX, key, why);
	result_fail(result, 500, "InternalError", slice_of(""), buffer_slice(&message));
}

/* Puts a value whose text comes from elsewhere. */
static void put_checked(struct kser_result *result, const char *key, struct slice value)
{
	struct error err;
	if (json_validate(value, MESSAGE_BYTES_MAX, NULL, &err)) {
		refuse(result, "retval", key, err.text);
		return;
	}
	struct buffer clean CLEANUP(buffer_clear) = {0};
	output_add_clean(&clean, slice_of(key));
	retval_put(&result->retval, buffer_slice(&clean), value);
}

enum kser_outcome kser_result_fail_with(struct kser_result *result, const struct kser_error *given)
{
	struct kser_error error = {0};
	memcpy(&error, given, given->size < sizeof error ? given->size : sizeof error);
	struct slice extra = error.extra ? object_text(error.extra) : slice_of("{}");
	struct json_value value;
	struct error err;
	if (json_validate(extra, MESSAGE_BYTES_MAX, &value, &err) || value.kind != JSON_OBJECT)
		extra = slice_of("{}");
	put_error(result, error.code, error.name, error.msgid, extra, slice_of(error.message ? error.message : ""));
	return KSER_FAILURE;
}

void kser_result_put(struct kser_result *result, const char *key, struct json_object *value)
{
	put_checked(result, key, object_text(value));
	json_object_put(value);
}

void kser_result_put_text(struct kser_result *result, const char *key, const char *text)
{
	kser_result_put(result, key, json_object_new_string(text));
}

void kser_result_put_integer(struct kser_result *result, const char *key, int64_t number)
{
	struct buffer text CLEANUP(buffer_clear) = {0};
	buffer_add_int(&text, number);
	put_checked(result, key, buffer_slice(&text));
}

/* ---- the plan ---- */

void result_add_planned(struct kser_result *result, struct slice task)
{
	if (result->task_count++ > 0)
		buffer_add_char(&result->tasks, ',');
	buffer_add_slice(&result->tasks, task);
}

enum kser_outcome result_fail_empty_plan(struct kser_result *result)
{
	return kser_result_fail(result, 1, "ValidationError", "%s", RESULT_EMPTY_PLAN);
}

enum status result_check_planned(struct json_value task, struct error *err)
{
	if (task.kind != JSON_OBJECT)
		return fail(err, E_INVALID, "a task of the plan must be an object, not %s", json_kind_name(task.kind));
	struct json_value entrypoint, params;
	if (!json_find(task, "entrypoint", &entrypoint) || entrypoint.kind != JSON_STRING)
		return fail(err, E_INVALID, "a task of the plan must have an entrypoint, a string");
	struct buffer scratch CLEANUP(buffer_clear) = {0};
	if (message_check_entrypoint(json_string(entrypoint, &scratch), NULL))
		return fail(err, E_INVALID, "entrypoint of a task of the plan: must have 1 to %d bytes, no control characters", ENTRYPOINT_BYTES_MAX);
	if (json_find(task, "params", &params) && params.kind != JSON_OBJECT)
		return fail(err, E_INVALID, "params of a task of the plan must be an object, not %s", json_kind_name(params.kind));
	return E_OK;
}

void kser_result_add_task(struct kser_result *result, const char *entrypoint, struct json_object *params)
{
	if (!has_room(result, 1)) {
		json_object_put(params);
		return;
	}
	struct buffer task CLEANUP(buffer_clear) = {0};
	buffer_add_text(&task, "{\"entrypoint\":");
	output_add_clean_string(&task, slice_of(entrypoint));
	buffer_add_text(&task, ",\"params\":");
	buffer_add_slice(&task, params ? object_text(params) : slice_of("{}"));
	buffer_add_char(&task, '}');
	json_object_put(params);
	struct json_value value;
	struct error err;
	enum status status = json_validate(buffer_slice(&task), MESSAGE_BYTES_MAX, &value, &err);
	if (!status)
		status = result_check_planned(value, &err);
	if (status)
		refuse(result, "planned task", entrypoint, err.text);
	else
		result_add_planned(result, buffer_slice(&task));
}

/* ---- the sum ---- */

/* Adds the JSON string of a stream; true when the previous text is only carried on. */
static bool add_stream(struct buffer *out, const struct json_value *previous, struct slice own)
{
	if (own.length > 0) {
		buffer_add_json_string(out, own);
		return false;
	}
	buffer_add_slice(out, previous && previous->text.length ? previous->text : slice_of("\"\""));
	return previous && previous->text.length > 2;
}

static struct slice uuid_of_sum(struct slice uuid, const struct result *previous)
{
	return previous && previous->uuid.kind == JSON_STRING && previous->uuid.text.length > 2 ? previous->uuid.text : uuid;
}

static void add_inherited(struct buffer *inherited, bool out_carried, bool err_carried, struct slice keys)
{
	if (!out_carried && !err_carried && keys.length == 0)
		return;
	const char *comma = "";
	buffer_add_char(inherited, '{');
	if (out_carried) {
		buffer_add_text(inherited, "\"stdout\":true");
		comma = ",";
	}
	if (err_carried) {
		buffer_printf(inherited, "%s\"stderr\":true", comma);
		comma = ",";
	}
	if (keys.length > 0) {
		buffer_printf(inherited, "%s\"retval\":[", comma);
		buffer_add_slice(inherited, keys);
		buffer_add_char(inherited, ']');
	}
	buffer_add_char(inherited, '}');
}

/* What it holds is all there is; the marks tell what only came from before. */
static void add_whole(struct buffer *out, struct buffer *inherited, const struct kser_result *own)
{
	struct buffer text CLEANUP(buffer_clear) = {0}, keys CLEANUP(buffer_clear) = {0}, none CLEANUP(buffer_clear) = {0};
	buffer_printf(out, "{\"uuid\":%.*s,\"retcode\":%d,\"stdout\":", (int)own->uuid.length, own->uuid.bytes, own->retcode);
	output_add_text(&text, &own->out);
	buffer_add_json_string(out, buffer_slice(&text));
	buffer_reset(&text);
	buffer_add_text(out, ",\"stderr\":");
	add_err(&text, own);
	buffer_add_json_string(out, buffer_slice(&text));
	buffer_add_text(out, ",\"retval\":");
	retval_add_sum(out, &none, (struct json_value){JSON_NULL, {"", 0}}, &own->retval);
	buffer_add_char(out, '}');
	retval_add_carried(&keys, &own->retval);
	add_inherited(inherited, own->out_carried, own->err_carried, buffer_slice(&keys));
}

void result_add_sum(struct buffer *out, struct buffer *inherited, struct slice uuid, const struct result *previous, const struct kser_result *own)
{
	if (own->whole) {
		add_whole(out, inherited, own);
		return;
	}
	struct buffer text CLEANUP(buffer_clear) = {0};
	struct buffer keys CLEANUP(buffer_clear) = {0};
	int32_t before = previous ? previous->retcode : 0;
	buffer_add_text(out, "{\"uuid\":");
	buffer_add_slice(out, uuid_of_sum(uuid, previous));
	buffer_add_text(out, ",\"retcode\":");
	buffer_add_int(out, before > own->retcode ? before : own->retcode);
	buffer_add_text(out, ",\"stdout\":");
	output_add_text(&text, &own->out);
	bool out_carried = add_stream(out, previous ? &previous->stdout_text : NULL, buffer_slice(&text));
	buffer_reset(&text);
	buffer_add_text(out, ",\"stderr\":");
	output_add_text(&text, &own->err);
	bool err_carried = add_stream(out, previous ? &previous->stderr_text : NULL, text.length ? buffer_slice(&text) : buffer_slice(&own->message));
	buffer_add_text(out, ",\"retval\":");
	retval_add_sum(out, &keys, previous ? previous->retval : (struct json_value){JSON_NULL, {"", 0}}, &own->retval);
	buffer_add_char(out, '}');
	add_inherited(inherited, out_carried, err_carried, buffer_slice(&keys));
}

/* ---- whole ---- */

static void carry_output(struct output *output, struct json_value previous, bool *carried)
{
	struct buffer scratch CLEANUP(buffer_clear) = {0};
	struct slice text = json_string(previous, &scratch);
	output_add(output, text.start, text.length);
	*carried = text.length > 0;
}

const struct result *result_before(const struct message *message)
{
	return message->result.kind == JSON_OBJECT ? &message->parts : NULL;
}

void result_join(struct kser_result *result, struct slice uuid, const struct result *previous)
{
	buffer_reset(&result->uuid);
	buffer_add_slice(&result->uuid, uuid_of_sum(uuid, previous));
	result->whole = true;
	int32_t before = previous ? previous->retcode : 0;
	result->retcode = result->retcode > before ? result->retcode : before;
	if (!previous)
		return;
	if (result->out.bytes == 0)
		carry_output(&result->out, previous->stdout_text, &result->out_carried);
	if (result->err.bytes == 0 && result->message.length == 0)
		carry_output(&result->err, previous->stderr_text, &result->err_carried);
	retval_carry(&result->retval, previous->retval);
}

void result_close(struct kser_result *result)
{
	result->whole = false;
	result->out_carried = false;
	result->err_carried = false;
	retval_unmark(&result->retval);
}

struct kser_result *kser_result_new(void)
{
	return xcalloc(1, sizeof(struct kser_result));
}

void kser_result_free(struct kser_result *result)
{
	if (!result)
		return;
	result_clear(result);
	free(result);
}
