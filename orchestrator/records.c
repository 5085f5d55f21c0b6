#include "orchestrator/records.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "common/fault.h"
#include "common/log.h"
#include "common/memory.h"
#include "common/task_name.h"
#include "orchestrator/array.h"
#include "orchestrator/control.h"
#include "orchestrator/rows.h"

enum { JSONB = 3802, INTERVAL = 1186 };

/* How long a submission's record is known: longer than a broker keeps it by default. */
#define KEY_FOR "\"8d\""

static enum status bury(struct engine *engine, const char *topic, int32_t partition, int64_t offset, const char *reason, struct slice bytes, const char *worker)
{
	char room[2][8];
	PGresult *result CLEANUP(result_clear) = NULL;
	struct error err;
	const Oid bytea = 17;
	const struct parameter parameters[] = {parameter_text(topic), parameter_int4(room[0], partition), parameter_int8(room[1], offset), parameter_text(reason),
		{bytea, bytes.length ? bytes.start : "", (int)bytes.length, true}, parameter_text(worker)};
	log_warning("a record cannot be used, kept as dead letter", "topic", topic, "partition", LOG_INT(partition), "offset", LOG_INT(offset), "reason", reason);
	enum status status = engine_run(engine, engine_statement("bury.sql"), parameters, COUNT_OF(parameters), false, &result, &err);
	if (!status)
		metric_add(cell_measures(engine->cell)->buried, 1);
	if (status == E_INVALID) {
		log_error("cannot keep a dead letter", "error", err.text);
		return E_OK;
	}
	return status;
}

enum status records_bury(struct engine *engine, const rd_kafka_message_t *record, const char *reason)
{
	return bury(engine, rd_kafka_topic_name(record->rkt), record->partition, record->offset, reason, (struct slice){record->payload, record->len}, NULL);
}

static void add_member(struct buffer *out, const char *name, struct json_value value)
{
	if (value.kind == JSON_NULL)
		return;
	buffer_printf(out, ",\"%s\":", name);
	buffer_add_slice(out, value.text);
}

/* The metadata without our own object. */
static void add_metadata(struct buffer *out, struct json_value metadata)
{
	struct json_iterator members = json_iterate(metadata);
	bool any = false;
	for (struct json_member member; json_next_member(&members, &member);) {
		if (json_key_is(member.key, "kser"))
			continue;
		if (!any)
			buffer_add_text(out, ",\"metadata\":");
		json_add_member(out, any ? ',' : '{', &member);
		any = true;
	}
	if (any)
		buffer_add_char(out, '}');
}

/* The record's own key: what metadata.kser says, its uuid, or where it stands. */
static void add_key(struct buffer *out, const rd_kafka_message_t *record, const struct message *message, struct json_value ours)
{
	struct json_value key = {0};
	buffer_add_text(out, ",\"key\":");
	if (json_find(ours, "key", &key) && key.kind != JSON_NULL)
		buffer_add_slice(out, key.text);
	else if (message->uuid.text.length > 2)
		buffer_add_slice(out, message->uuid.text);
	else
		buffer_printf(out, "\"%s/%d/%lld\"", rd_kafka_topic_name(record->rkt), (int)record->partition, (long long)record->offset);
	buffer_add_text(out, ",\"key_for\":" KEY_FOR);
}

static void add_submission(struct buffer *out, const rd_kafka_message_t *record, const struct message *message)
{
	static const char *const taken[] = {"tasks", "queue", "priority", "policy", "start_at", "deadline"};
	struct json_value ours = {0}, value;
	if (!json_find(message->metadata, "kser", &ours) || ours.kind != JSON_OBJECT)
		ours = (struct json_value){.kind = JSON_OBJECT, .text = {"{}", 2}};
	buffer_add_text(out, "{\"name\":");
	buffer_add_slice(out, message->entrypoint.text);
	add_member(out, "params", message->params);
	for (size_t i = 0; i < COUNT_OF(taken); i++)
		if (json_find(ours, taken[i], &value))
			add_member(out, taken[i], value);
	add_key(out, record, message, ours);
	add_metadata(out, message->metadata);
	buffer_add_char(out, '}');
}

enum status records_submit(struct engine *engine, const rd_kafka_message_t *record, const struct message *message, struct error *err)
{
	struct buffer text CLEANUP(buffer_clear) = {0};
	PGresult *result CLEANUP(result_clear) = NULL;
	add_submission(&text, record, message);
	(void)FAULT("submit_record.before_commit");
	enum status status = engine_run(engine, engine_statement("submit_record.sql"), (struct parameter[]){parameter_text(text.bytes)}, 1, true, &result, err);
	if (!status)
		metric_add(cell_measures(engine->cell)->submissions, 1);
	return status;
}

static enum status note_heartbeat(struct engine *engine, const struct message *message, struct error *err)
{
	struct json_value ours;
	struct buffer worker CLEANUP(buffer_clear) = {0}, detail CLEANUP(buffer_clear) = {0};
	PGresult *result CLEANUP(result_clear) = NULL;
	if (!json_find(message->metadata, "kser", &ours) || message->stamp.worker.length == 0)
		return fail(err, E_INVALID, "metadata.kser.worker: is missing in a heartbeat");
	buffer_add_slice(&worker, message->stamp.worker);
	buffer_add_slice(&detail, ours.text);
	const struct parameter parameters[] = {parameter_text(worker.bytes), {.type = JSONB, .bytes = detail.bytes}};
	return engine_run(engine, engine_statement("seen.sql"), parameters, COUNT_OF(parameters), false, &result, err);
}

/* A text member of an object, resolved and NUL-terminated in `out`. */
static const char *text_of(struct json_value object, const char *name, struct buffer *out)
{
	struct json_value value;
	buffer_reset(out);
	if (json_find(object, name, &value) && value.kind == JSON_STRING)
		json_add_string(out, value);
	return buffer_slice(out).start;
}

static int64_t number_of(struct json_value object, const char *name)
{
	struct json_value value;
	int64_t number = -1;
	return json_find(object, name, &value) && json_int64(value, &number) ? number : -1;
}

static enum status note_dead(struct engine *engine, const struct message *message, struct error *err)
{
	struct json_value ours;
	struct buffer topic CLEANUP(buffer_clear) = {0}, reason CLEANUP(buffer_clear) = {0}, base64 CLEANUP(buffer_clear) = {0}, bytes CLEANUP(buffer_clear) = {0},
		worker CLEANUP(buffer_clear) = {0};
	if (!json_find(message->metadata, "kser", &ours))
		return fail(err, E_INVALID, "metadata.kser: is missing");
	text_of(ours, "bytes", &base64);
	size_t length = 0;
	if (sodium_base642bin((unsigned char *)buffer_reserve(&bytes, base64.length + 1), base64.length + 1, buffer_slice(&base64).start, base64.length, "\r\n ", &length, NULL,
			sodium_base64_VARIANT_ORIGINAL))
		return fail(err, E_INVALID, "metadata.kser.bytes: is not base64");
	bytes.length = length;
	buffer_add_slice(&worker, message->stamp.worker);
	int64_t partition = number_of(ours, "partition");
	return bury(engine, text_of(ours, "topic", &topic), partition > INT32_MAX ? -1 : (int32_t)partition, number_of(ours, "offset"), text_of(ours, "reason", &reason),
		buffer_slice(&bytes), worker.bytes);
}

/* --- Claims and releases */

/* Checks a list of names; E_INVALID: `err` says which is wrong. */
static enum status check_names(struct json_value list, const char *what, struct error *err)
{
	struct json_iterator elements = json_iterate(list);
	struct task_name name;
	int count = 0;
	for (struct json_value element; json_next_element(&elements, &element); count++) {
		if (count == CONTROL_NAMES_MAX)
			return fail(err, E_INVALID, "metadata.kser.%s: has more than %d names", what, CONTROL_NAMES_MAX);
		if (!task_name_read(element, &name))
			return fail(err, E_INVALID, "metadata.kser.%s[%d]: is no name of a task", what, count);
	}
	return E_OK;
}

/* The worker and the list of names in `what`, as texts with an end. */
static enum status read_names(const struct message *message, const char *what, struct buffer *worker, struct buffer *names, struct error *err)
{
	struct json_value ours, list;
	if (message->stamp.worker.length == 0)
		return fail(err, E_INVALID, "metadata.kser.worker: is missing");
	if (!json_find(message->metadata, "kser", &ours) || !json_find(ours, what, &list) || list.kind != JSON_ARRAY)
		return fail(err, E_INVALID, "metadata.kser.%s: must be a list of names", what);
	buffer_add_slice(worker, message->stamp.worker);
	buffer_add_slice(names, list.text);
	return check_names(list, what, err);
}

/* Those that are not current are to be stopped. */
static enum status note_claims(struct engine *engine, const struct message *message, struct error *err)
{
	char lease[32];
	struct buffer worker CLEANUP(buffer_clear) = {0}, names CLEANUP(buffer_clear) = {0};
	PGresult *rows CLEANUP(result_clear) = NULL;
	enum status status = read_names(message, "claims", &worker, &names, err);
	if (status)
		return status;
	snprintf(lease, sizeof lease, "%" PRId64 " ms", cell_settings(engine->cell)->claim_lease_ms);
	const struct parameter parameters[] = {parameter_text(worker.bytes), {.type = JSONB, .bytes = names.bytes}, {.type = INTERVAL, .bytes = lease}};
	(void)FAULT("claim.before_apply");
	status = engine_run(engine, engine_statement("hold.sql"), parameters, COUNT_OF(parameters), true, &rows, err);
	if (status)
		return status;
	(void)FAULT("claim.after_apply");
	control_stop_rows(engine->cell, engine->dispatcher, rows);
	return E_OK;
}

static enum status note_releases(struct engine *engine, const struct message *message, struct error *err)
{
	struct buffer worker CLEANUP(buffer_clear) = {0}, names CLEANUP(buffer_clear) = {0};
	PGresult *rows CLEANUP(result_clear) = NULL;
	enum status status = read_names(message, "tasks", &worker, &names, err);
	if (status)
		return status;
	const struct parameter parameters[] = {parameter_text(worker.bytes), {.type = JSONB, .bytes = names.bytes}};
	status = engine_run(engine, engine_statement("release.sql"), parameters, COUNT_OF(parameters), true, &rows, err);
	for (int row = 0; !status && row < PQntuples(rows); row++)
		cell_add_free(engine->cell, cell_known_queue(engine->cell, row_text(rows, row, 0)), row_int4(rows, row, 1));
	return status;
}

enum status records_note(struct engine *engine, const struct message *message, struct error *err)
{
	switch (message->stamp.kind) {
	case MESSAGE_HEARTBEAT:
		return note_heartbeat(engine, message, err);
	case MESSAGE_CLAIM:
		return note_claims(engine, message, err);
	case MESSAGE_RELEASE:
		return note_releases(engine, message, err);
	case MESSAGE_DEAD:
		return note_dead(engine, message, err);
	default:
		return E_OK;
	}
}
