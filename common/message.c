#include "common/message.h"

#include <assert.h>
#include <string.h>

#include "common/limits.h"
#include "common/trace.h"
#include "common/utf8.h"
#include "common/uuid_text.h"

static const struct json_value absent = {JSON_NULL, {"", 0}};
static const struct json_value empty_object = {JSON_OBJECT, {"{}", 2}};
static const struct json_value empty_string = {JSON_STRING, {"\"\"", 2}};

/* ---- reading ---- */

/* Fields that are known; unknown ones are ignored. */
#define FIELD(name) {name, sizeof(name) - 1}

enum { RESULT_UUID, RESULT_RETCODE, RESULT_STDOUT, RESULT_STDERR, RESULT_RETVAL, RESULT_FIELDS };
static const struct json_field result_fields[RESULT_FIELDS] = {
	[RESULT_UUID] = {.name = FIELD("uuid"), .kind = JSON_STRING},
	[RESULT_RETCODE] = {.name = FIELD("retcode"), .kind = JSON_INTEGER, .min = INT32_MIN, .max = INT32_MAX},
	[RESULT_STDOUT] = {.name = FIELD("stdout"), .kind = JSON_STRING},
	[RESULT_STDERR] = {.name = FIELD("stderr"), .kind = JSON_STRING},
	[RESULT_RETVAL] = {.name = FIELD("retval"), .kind = JSON_OBJECT},
};

enum {
	STAMP_OP, STAMP_POS, STAMP_ATTEMPT, STAMP_GEN, STAMP_EPOCH, STAMP_REQUIRED,
	STAMP_DEADLINE = STAMP_REQUIRED, STAMP_LIMIT_MS, STAMP_START_BY, STAMP_FLAGS, STAMP_QUEUE,
	STAMP_KIND, STAMP_WORKER, STAMP_OUTCOME, STAMP_INHERITED, STAMP_TASKS, STAMP_FIELDS,
};
static const struct json_field stamp_fields[STAMP_FIELDS] = {
	[STAMP_OP] = {.name = FIELD("op"), .kind = JSON_STRING},
	[STAMP_POS] = {.name = FIELD("pos"), .kind = JSON_INTEGER, .min = 0, .max = INT32_MAX},
	[STAMP_ATTEMPT] = {.name = FIELD("attempt"), .kind = JSON_INTEGER, .min = 1, .max = INT32_MAX},
	[STAMP_GEN] = {.name = FIELD("gen"), .kind = JSON_INTEGER, .min = INT64_MIN, .max = INT64_MAX},
	[STAMP_EPOCH] = {.name = FIELD("epoch"), .kind = JSON_INTEGER, .min = INT64_MIN, .max = INT64_MAX},
	[STAMP_DEADLINE] = {.name = FIELD("deadline"), .kind = JSON_INTEGER, .min = 0, .max = INT64_MAX},
	[STAMP_LIMIT_MS] = {.name = FIELD("limit_ms"), .kind = JSON_INTEGER, .min = 0, .max = INT64_MAX},
	[STAMP_START_BY] = {.name = FIELD("start_by"), .kind = JSON_INTEGER, .min = 0, .max = INT64_MAX},
	[STAMP_FLAGS] = {.name = FIELD("flags"), .kind = JSON_INTEGER, .min = 0, .max = UINT32_MAX},
	[STAMP_QUEUE] = {.name = FIELD("queue"), .kind = JSON_STRING},
	[STAMP_KIND] = {.name = FIELD("kind"), .kind = JSON_STRING},
	[STAMP_WORKER] = {.name = FIELD("worker"), .kind = JSON_STRING},
	[STAMP_OUTCOME] = {.name = FIELD("outcome"), .kind = JSON_STRING},
	[STAMP_INHERITED] = {.name = FIELD("inherited"), .kind = JSON_OBJECT},
	[STAMP_TASKS] = {.name = FIELD("tasks"), .kind = JSON_ARRAY},
};

enum { METADATA_KSER, METADATA_FIELDS };
enum { MESSAGE_UUID, MESSAGE_ENTRYPOINT, MESSAGE_PARAMS, MESSAGE_RESULT_FIELD, MESSAGE_METADATA, MESSAGE_FIELDS };

/* The values of all fields of a message, object by object. */
enum { VALUES_OF_MESSAGE, VALUES_OF_RESULT = MESSAGE_FIELDS, VALUES_OF_METADATA = VALUES_OF_RESULT + RESULT_FIELDS,
	VALUES_OF_STAMP = VALUES_OF_METADATA + METADATA_FIELDS, VALUES = VALUES_OF_STAMP + STAMP_FIELDS };

static const struct json_form result_form = {result_fields, RESULT_FIELDS, VALUES_OF_RESULT};
static const struct json_form stamp_form = {stamp_fields, STAMP_FIELDS, VALUES_OF_STAMP};
static const struct json_field metadata_fields[METADATA_FIELDS] = {[METADATA_KSER] = {.name = FIELD("kser"), .kind = JSON_OBJECT, .form = &stamp_form}};
static const struct json_form metadata_form = {metadata_fields, METADATA_FIELDS, VALUES_OF_METADATA};
static const struct json_field message_fields[MESSAGE_FIELDS] = {
	[MESSAGE_UUID] = {.name = FIELD("uuid"), .kind = JSON_STRING},
	[MESSAGE_ENTRYPOINT] = {.name = FIELD("entrypoint"), .kind = JSON_STRING},
	[MESSAGE_PARAMS] = {.name = FIELD("params"), .kind = JSON_OBJECT},
	[MESSAGE_RESULT_FIELD] = {.name = FIELD("result"), .kind = JSON_OBJECT, .null = true, .form = &result_form},
	[MESSAGE_METADATA] = {.name = FIELD("metadata"), .kind = JSON_OBJECT, .form = &metadata_form},
};
static const struct json_form message_form = {message_fields, MESSAGE_FIELDS, VALUES_OF_MESSAGE};

/* By enum message_kind. */
static const char *const kind_names[] = {"result", "claim", "heartbeat", "release", "dead", "control"};

static const char *with_article(enum json_kind kind)
{
	switch (kind) {
	case JSON_NULL: return "null";
	case JSON_BOOL: return "a boolean";
	case JSON_INTEGER: return "an integer";
	case JSON_DOUBLE: return "a fraction";
	case JSON_STRING: return "a string";
	case JSON_ARRAY: return "an array";
	case JSON_OBJECT: return "an object";
	}
	return "something else";
}

static bool is_absent(struct json_value value)
{
	return value.text.length == 0;
}

/* An integer becomes `number`. */
static inline bool is_as_wanted(const struct json_field *field, const struct json_value *value, int64_t *number)
{
	if (value->kind != field->kind)
		return field->null && value->kind == JSON_NULL;
	return value->kind != JSON_INTEGER || (json_int64(*value, number) && *number >= field->min && *number <= field->max);
}

static enum status refuse(const struct json_field *field, const char *where, struct json_value value, struct error *err)
{
	int64_t number;
	if (!json_int64(value, &number) || value.kind != field->kind)
		return fail(err, E_INVALID, "%s%s: must be %s, not %s", where, field->name.start, with_article(field->kind), with_article(value.kind));
	return fail(err, E_INVALID, "%s%s: must be from %lld to %lld, not %lld", where, field->name.start,
		(long long)field->min, (long long)field->max, (long long)number);
}

/* Checks what an object's fields are, if they are there, and sets `numbers` where they are integers. Of several that are wrong it names the first in the text. */
static enum status check_fields(const struct json_form *form, const char *where, const struct json_value *values, int64_t *numbers, struct error *err)
{
	const struct json_value *first = NULL;
	for (size_t i = 0; i < form->count; i++) {
		if (is_absent(values[i]) || is_as_wanted(&form->fields[i], &values[i], &numbers[i]))
			continue;
		if (!first || values[i].text.start < first->text.start)
			first = &values[i];
	}
	return first ? refuse(&form->fields[first - values], where, *first, err) : E_OK;
}

static void clear_values(struct json_value *values, size_t count)
{
	for (size_t i = 0; i < count; i++)
		values[i] = absent;
}

static struct json_value value_or(struct json_value value, struct json_value fallback)
{
	return is_absent(value) ? fallback : value;
}

static bool read_uuid(struct json_value string, uuid_t uuid)
{
	struct slice quoted = string.text;
	if (uuid_text_read((struct slice){quoted.start + 1, quoted.length - 2}, uuid))
		return true;
	struct buffer scratch CLEANUP(buffer_clear) = {0};
	return uuid_text_read(json_string(string, &scratch), uuid);
}

static bool is_control(const char *at, size_t bytes)
{
	unsigned char first = (unsigned char)at[0];
	return first < 0x20 || first == 0x7F || (bytes == 2 && first == 0xC2 && (unsigned char)at[1] < 0xA0);
}

enum status message_check_entrypoint(struct slice name, struct error *err)
{
	if (name.length < 1 || name.length > ENTRYPOINT_BYTES_MAX)
		return fail(err, E_INVALID, "entrypoint: must have 1 to %d bytes, not %zu", ENTRYPOINT_BYTES_MAX, name.length);
	const char *end = name.start + name.length;
	for (const char *at = name.start; at < end;) {
		size_t bytes = (unsigned char)*at < 0x80 ? 1 : utf8_length(at, end);
		if (bytes == 0)
			return fail(err, E_INVALID, "entrypoint: must be UTF-8");
		if (is_control(at, bytes))
			return fail(err, E_INVALID, "entrypoint: must not contain control characters");
		at += bytes;
	}
	return E_OK;
}

static enum status check_entrypoint(struct json_value entrypoint, struct error *err)
{
	struct buffer scratch CLEANUP(buffer_clear) = {0};
	return message_check_entrypoint(json_string(entrypoint, &scratch), err);
}

/* The bytes between the quotes, when there are at most `bytes_max` and all are in `allowed` (NULL: printable ASCII). */
static bool read_plain(struct json_value string, size_t bytes_max, const char *allowed, struct slice *text)
{
	*text = (struct slice){string.text.start + 1, string.text.length - 2};
	for (size_t i = 0; i < text->length; i++) {
		char byte = text->start[i];
		if (allowed ? !strchr(allowed, byte) : byte < 0x20 || byte > 0x7E || byte == '\\')
			return false;
	}
	return text->length <= bytes_max;
}

static enum status read_queue_and_worker(const struct json_value *values, struct stamp *stamp, struct error *err)
{
	static const char queue_bytes[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
	if (!read_plain(value_or(values[STAMP_QUEUE], empty_string), QUEUE_BYTES_MAX, queue_bytes, &stamp->queue))
		return fail(err, E_INVALID, "metadata.kser.queue: must be at most %d of a-z A-Z 0-9 . _ -", QUEUE_BYTES_MAX);
	if (!read_plain(value_or(values[STAMP_WORKER], empty_string), 255, NULL, &stamp->worker))
		return fail(err, E_INVALID, "metadata.kser.worker: must be at most 255 bytes of printable ASCII");
	return E_OK;
}

static enum status read_kind_and_outcome(const struct json_value *values, struct stamp *stamp, struct error *err)
{
	if (!is_absent(values[STAMP_KIND])) {
		struct slice kind = {values[STAMP_KIND].text.start + 1, values[STAMP_KIND].text.length - 2};
		size_t i = 0;
		while (i < COUNT_OF(kind_names) && !json_key_is(kind, kind_names[i]))
			i++;
		if (i == COUNT_OF(kind_names))
			return fail(err, E_INVALID, "metadata.kser.kind: must be result, claim, heartbeat, release, dead or control");
		stamp->kind = (enum message_kind)i;
	}
	if (!is_absent(values[STAMP_OUTCOME])) {
		struct slice outcome = {values[STAMP_OUTCOME].text.start + 1, values[STAMP_OUTCOME].text.length - 2};
		if (!json_key_is(outcome, "retry"))
			return fail(err, E_INVALID, "metadata.kser.outcome: must be retry");
		stamp->retry = true;
	}
	return E_OK;
}

/* The fields that say which dispatch of which task this is. */
static enum status read_dispatch(const struct json_value *values, const int64_t *numbers, struct message *message, struct error *err)
{
	for (size_t i = 0; i < STAMP_REQUIRED; i++)
		if (is_absent(values[i]))
			return fail(err, E_INVALID, "metadata.kser.%s: is missing", stamp_fields[i].name.start);
	struct stamp *stamp = &message->stamp;
	if (!read_uuid(values[STAMP_OP], stamp->operation))
		return fail(err, E_INVALID, "metadata.kser.op: must be a uuid");
	if (!read_uuid(message->uuid, stamp->task))
		return fail(err, E_INVALID, "uuid: must be a uuid beside metadata.kser");
	stamp->position = (int32_t)numbers[STAMP_POS];
	stamp->attempt = (int32_t)numbers[STAMP_ATTEMPT];
	stamp->generation = numbers[STAMP_GEN];
	stamp->epoch = numbers[STAMP_EPOCH];
	return E_OK;
}

/* A submission's metadata.kser says nothing of a dispatch and has keys of its own, which the database checks. */
static bool is_of_submission(const struct json_value *values)
{
	for (size_t i = 0; i < STAMP_REQUIRED; i++)
		if (!is_absent(values[i]))
			return false;
	return is_absent(values[STAMP_KIND]);
}

/* metadata.kser. Reports of a worker as a whole say nothing of a dispatch. */
static enum status read_stamp(struct json_value kser, const struct json_value *values, struct message *message, struct error *err)
{
	if (kser.kind != JSON_OBJECT)
		return fail(err, E_INVALID, "metadata.kser: must be an object, not %s", with_article(kser.kind));
	if (is_of_submission(values))
		return E_OK;
	int64_t numbers[STAMP_FIELDS] = {0};
	struct stamp *stamp = &message->stamp;
	enum status status = check_fields(&stamp_form, "metadata.kser.", values, numbers, err);
	if (!status)
		status = read_queue_and_worker(values, stamp, err);
	if (!status)
		status = read_kind_and_outcome(values, stamp, err);
	if (status)
		return status;
	stamp->flags = (uint32_t)numbers[STAMP_FLAGS];
	stamp->deadline_ms = numbers[STAMP_DEADLINE];
	stamp->limit_ms = numbers[STAMP_LIMIT_MS];
	stamp->start_by_ms = numbers[STAMP_START_BY];
	stamp->inherited = values[STAMP_INHERITED];
	stamp->tasks = values[STAMP_TASKS];
	message->stamped = true;
	return stamp->kind == MESSAGE_RESULT ? read_dispatch(values, numbers, message, err) : E_OK;
}

static enum status read_message(struct json_value root, const struct json_value *values, struct message *message, struct error *err)
{
	if (root.kind != JSON_OBJECT)
		return fail(err, E_INVALID, "a message must be an object, not %s", with_article(root.kind));
	int64_t none[MESSAGE_FIELDS];
	enum status status = check_fields(&message_form, "", values, none, err);
	if (status)
		return status;
	if (is_absent(values[MESSAGE_UUID]))
		return fail(err, E_INVALID, "uuid: is missing");
	if (is_absent(values[MESSAGE_ENTRYPOINT]))
		return fail(err, E_INVALID, "entrypoint: is missing");
	message->uuid = values[MESSAGE_UUID];
	message->entrypoint = values[MESSAGE_ENTRYPOINT];
	message->params = value_or(values[MESSAGE_PARAMS], empty_object);
	message->result = values[MESSAGE_RESULT_FIELD];
	if (json_is_empty(message->result))
		message->result = absent;
	message->metadata = value_or(values[MESSAGE_METADATA], empty_object);
	return check_entrypoint(message->entrypoint, err);
}

static enum status read_result(const struct json_value *values, struct result *result, struct error *err)
{
	int64_t numbers[RESULT_FIELDS] = {0};
	enum status status = check_fields(&result_form, "result.", values, numbers, err);
	if (status)
		return status;
	result->uuid = values[RESULT_UUID];
	result->retcode = (int32_t)numbers[RESULT_RETCODE];
	result->stdout_text = value_or(values[RESULT_STDOUT], empty_string);
	result->stderr_text = value_or(values[RESULT_STDERR], empty_string);
	result->retval = value_or(values[RESULT_RETVAL], empty_object);
	return E_OK;
}

enum status message_parse(struct slice record, struct message *message, struct error *err)
{
	*message = (struct message){.text = record, .stamp = {.queue = {"", 0}, .worker = {"", 0}, .inherited = absent, .tasks = absent}};
	struct json_value root, values[VALUES];
	clear_values(values, VALUES);
	enum status status = json_read(record, MESSAGE_BYTES_MAX, &message_form, values, &root, err);
	if (!status)
		status = read_message(root, values + VALUES_OF_MESSAGE, message, err);
	if (!status)
		status = read_result(values + VALUES_OF_RESULT, &message->parts, err);
	struct json_value kser = values[VALUES_OF_METADATA + METADATA_KSER];
	if (!status && !is_absent(kser))
		status = read_stamp(kser, values + VALUES_OF_STAMP, message, err);
	return status;
}

enum status result_parse(struct json_value object, struct result *result, struct error *err)
{
	static const struct json_form form = {result_fields, RESULT_FIELDS, 0};
	struct json_value values[RESULT_FIELDS];
	if (object.kind != JSON_OBJECT && object.kind != JSON_NULL)
		return fail(err, E_INVALID, "result: must be an object, not %s", with_article(object.kind));
	clear_values(values, RESULT_FIELDS);
	if (object.kind == JSON_OBJECT) {
		enum status valid = json_read(object.text, object.text.length, &form, values, NULL, NULL);
		assert(valid == E_OK);
	}
	return read_result(values, result, err);
}

/* ---- writing ---- */

static void add_uuid(struct buffer *out, const uuid_t uuid)
{
	char text[UUID_STR_LEN];
	uuid_unparse_lower(uuid, text);
	buffer_add_char(out, '"');
	buffer_add(out, text, UUID_STR_LEN - 1);
	buffer_add_char(out, '"');
}

static void add_random_uuid(struct buffer *out)
{
	uuid_t uuid;
	uuid_generate_random(uuid);
	add_uuid(out, uuid);
}

static void add_normalized_result(struct buffer *out, const struct message *message)
{
	struct result result;
	enum status status = result_parse(message->result, &result, NULL);
	assert(status == E_OK);
	buffer_add_text(out, "{\"uuid\":");
	struct slice uuid = is_absent(message->result) ? message->uuid.text : result.uuid.text;
	if (uuid.length > 2)
		buffer_add_slice(out, uuid);
	else
		add_random_uuid(out);
	buffer_add_text(out, ",\"retcode\":");
	buffer_add_int(out, result.retcode);
	buffer_add_text(out, ",\"stdout\":");
	buffer_add_slice(out, result.stdout_text.text);
	buffer_add_text(out, ",\"stderr\":");
	buffer_add_slice(out, result.stderr_text.text);
	buffer_add_text(out, ",\"retval\":");
	json_add_compact(out, result.retval);
	buffer_add_char(out, '}');
}

void message_add_normalized(struct buffer *out, const struct message *message)
{
	buffer_add_text(out, "{\"uuid\":");
	buffer_add_slice(out, message->uuid.text);
	buffer_add_text(out, ",\"entrypoint\":");
	buffer_add_slice(out, message->entrypoint.text);
	buffer_add_text(out, ",\"params\":");
	json_add_compact(out, message->params);
	buffer_add_text(out, ",\"result\":");
	add_normalized_result(out, message);
	buffer_add_text(out, ",\"metadata\":");
	json_add_compact(out, message->metadata);
	buffer_add_char(out, '}');
}

static void add_or(struct buffer *out, struct slice text, const char *when_empty)
{
	if (text.length)
		buffer_add_slice(out, text);
	else
		buffer_add_text(out, when_empty);
}

static void add_number(struct buffer *out, const char *key, int64_t number)
{
	buffer_add_text(out, key);
	buffer_add_int(out, number);
}

static void add_stamp(struct buffer *out, const struct stamp *stamp)
{
	buffer_add_text(out, "{\"op\":");
	add_uuid(out, stamp->operation);
	add_number(out, ",\"pos\":", stamp->position);
	add_number(out, ",\"attempt\":", stamp->attempt);
	add_number(out, ",\"gen\":", stamp->generation);
	add_number(out, ",\"epoch\":", stamp->epoch);
	if (stamp->deadline_ms)
		add_number(out, ",\"deadline\":", stamp->deadline_ms);
	if (stamp->limit_ms)
		add_number(out, ",\"limit_ms\":", stamp->limit_ms);
	if (stamp->start_by_ms)
		add_number(out, ",\"start_by\":", stamp->start_by_ms);
	if (stamp->flags)
		add_number(out, ",\"flags\":", stamp->flags);
	if (stamp->queue.length) {
		buffer_add_text(out, ",\"queue\":");
		buffer_add_json_string(out, stamp->queue);
	}
	buffer_add_char(out, '}');
}

/* The object that is given as text, perhaps with white space around it; "" = none. */
static struct json_value object_of(struct slice text)
{
	while (text.length && *text.start != '{') {
		text.start++;
		text.length--;
	}
	while (text.length && text.start[text.length - 1] != '}')
		text.length--;
	return text.length ? (struct json_value){JSON_OBJECT, text} : absent;
}

/* The members of metadata that are not ours, each with a comma before it; `traced`: nor those that name a span. */
static void add_foreign_members(struct buffer *out, struct json_value metadata, bool traced)
{
	struct json_iterator members = json_iterate(metadata);
	struct json_member member;
	while (json_next_member(&members, &member))
		if (!json_key_is(member.key, "kser") && !(traced && (json_key_is(member.key, TRACE_PARENT) || json_key_is(member.key, TRACE_PYTHON_PARENT))))
			json_add_member(out, ',', &member);
}

/* The root span of the operation. The Jaeger client of kser's workers fails at a trace id of more than 64 bits: none for them then. */
static void add_root_span(struct buffer *out, const struct dispatch *dispatch, struct json_value metadata)
{
	struct trace_span parent, root;
	char room[TRACEPARENT_SIZE > UBER_TRACE_ID_SIZE ? TRACEPARENT_SIZE : UBER_TRACE_ID_SIZE];
	bool has_parent = trace_find(metadata, &parent);
	trace_of_operation(dispatch->stamp.operation, has_parent ? &parent : NULL, dispatch->trace == DISPATCH_TRACED_SHORT, &root);
	trace_write_traceparent(&root, room);
	buffer_printf(out, ",\"" TRACE_PARENT "\":\"%s\"", room);
	if (!trace_is_short(&root))
		return;
	trace_write_uber(&root, room);
	buffer_printf(out, ",\"" TRACE_PYTHON_PARENT "\":{\"uber-trace-id\":\"%s\"}", room);
}

void message_add_dispatch(struct buffer *out, const struct dispatch *dispatch)
{
	buffer_add_text(out, "{\"uuid\":");
	add_uuid(out, dispatch->uuid);
	buffer_add_text(out, ",\"entrypoint\":");
	buffer_add_json_string(out, dispatch->entrypoint);
	buffer_add_text(out, ",\"params\":");
	add_or(out, dispatch->params, "{}");
	buffer_add_text(out, ",\"result\":");
	add_or(out, dispatch->result, "null");
	buffer_add_text(out, ",\"metadata\":{\"kser\":");
	add_stamp(out, &dispatch->stamp);
	struct json_value metadata = object_of(dispatch->metadata);
	if (dispatch->trace)
		add_root_span(out, dispatch, metadata);
	add_foreign_members(out, metadata, dispatch->trace);
	buffer_add_text(out, "}}");
}

static void add_text_member(struct buffer *out, const char *key, struct slice json)
{
	if (json.length) {
		buffer_add_text(out, key);
		buffer_add_slice(out, json);
	}
}

/* Whether a reply says that field of metadata.kser itself. */
static bool is_replied(struct slice key)
{
	size_t field = STAMP_KIND;
	while (field < STAMP_FIELDS && !json_key_is(key, stamp_fields[field].name.start))
		field++;
	return field < STAMP_FIELDS;
}

/* metadata.kser of a reply: what the reply says, then the task's own, without what the reply speaks for. */
static void add_reply_stamp(struct buffer *out, struct json_value kser, const struct reply *reply)
{
	buffer_add_text(out, "{\"kind\":\"");
	buffer_add_text(out, kind_names[reply->kind]);
	buffer_add_text(out, "\",\"worker\":");
	buffer_add_json_string(out, reply->worker);
	if (reply->retry)
		buffer_add_text(out, ",\"outcome\":\"retry\"");
	add_text_member(out, ",\"inherited\":", reply->inherited);
	add_text_member(out, ",\"tasks\":", reply->tasks);
	struct json_iterator members = json_iterate(kser);
	struct json_member member;
	while (json_next_member(&members, &member)) {
		if (!is_replied(member.key))
			json_add_member(out, ',', &member);
	}
	buffer_add_char(out, '}');
}

void message_add_reply(struct buffer *out, const struct message *task, const struct reply *reply)
{
	buffer_add_text(out, "{\"uuid\":");
	buffer_add_slice(out, task->uuid.text);
	buffer_add_text(out, ",\"entrypoint\":");
	buffer_add_slice(out, task->entrypoint.text);
	buffer_add_text(out, ",\"params\":");
	buffer_add_slice(out, task->params.text);
	buffer_add_text(out, ",\"result\":");
	add_or(out, reply->result.length ? reply->result : task->result.text, "null");
	buffer_add_text(out, ",\"metadata\":{\"kser\":");
	struct json_value kser;
	(void)json_find(task->metadata, "kser", &kser);
	add_reply_stamp(out, kser, reply);
	add_foreign_members(out, task->metadata, false);
	buffer_add_text(out, "}}");
}

static void add_base64(struct buffer *out, struct slice bytes)
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const unsigned char *byte = (const unsigned char *)bytes.start;
	for (size_t at = 0; at < bytes.length; at += 3) {
		size_t count = bytes.length - at < 3 ? bytes.length - at : 3;
		uint32_t group = (uint32_t)byte[at] << 16 | (count > 1 ? (uint32_t)byte[at + 1] << 8 : 0) | (count > 2 ? byte[at + 2] : 0);
		char four[4] = {letters[group >> 18], letters[group >> 12 & 63], count > 1 ? letters[group >> 6 & 63] : '=',
			count > 2 ? letters[group & 63] : '='};
		buffer_add(out, four, sizeof four);
	}
}

void message_add_dead(struct buffer *out, const struct dead_record *dead)
{
	struct slice bytes = dead->bytes;
	if (bytes.length > DEAD_BYTES_MAX)
		bytes.length = DEAD_BYTES_MAX;
	buffer_add_text(out, "{\"uuid\":");
	add_random_uuid(out);
	buffer_add_text(out, ",\"entrypoint\":\"kser.dead\",\"params\":{},\"result\":null,\"metadata\":{\"kser\":{\"kind\":\"dead\",\"worker\":");
	buffer_add_json_string(out, dead->worker);
	buffer_add_text(out, ",\"topic\":");
	buffer_add_json_string(out, dead->topic);
	add_number(out, ",\"partition\":", dead->partition);
	add_number(out, ",\"offset\":", dead->offset);
	buffer_add_text(out, ",\"reason\":");
	buffer_add_json_string(out, dead->reason);
	buffer_add_text(out, ",\"bytes\":\"");
	add_base64(out, bytes);
	buffer_add_text(out, "\"}}}");
}
