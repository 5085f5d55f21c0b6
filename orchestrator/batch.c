#include "orchestrator/batch.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/memory.h"

/* The order of the apply statement's parameters; the last one, careful, is no array. */
enum column {
	UUIDS, OPERATIONS, POSITIONS, ATTEMPTS, GENERATIONS, EPOCHS, ANSWERS, RETCODES, ERRORS, STDOUTS, STDERRS, RETVALS, TOTALS, PLANS,
	TEMPORARIES, WORKERS, BYTES, TARGETS, CAREFUL
};

static const enum array_type column_types[] = {
	[UUIDS] = ARRAY_UUID, [OPERATIONS] = ARRAY_UUID, [POSITIONS] = ARRAY_INT4, [ATTEMPTS] = ARRAY_INT4, [GENERATIONS] = ARRAY_INT8, [EPOCHS] = ARRAY_INT8,
	[ANSWERS] = ARRAY_INT8, [RETCODES] = ARRAY_INT4, [ERRORS] = ARRAY_TEXT, [STDOUTS] = ARRAY_TEXT, [STDERRS] = ARRAY_TEXT, [RETVALS] = ARRAY_JSON,
	[TOTALS] = ARRAY_JSON, [PLANS] = ARRAY_JSONB, [TEMPORARIES] = ARRAY_BOOL, [WORKERS] = ARRAY_TEXT, [BYTES] = ARRAY_INT4, [TARGETS] = ARRAY_INT4,
};

/* The arrays of the statement for plain successes, behind generation and epoch. */
static const enum column plain_columns[] = {OPERATIONS, POSITIONS, UUIDS, ATTEMPTS, ANSWERS, BYTES, TARGETS, WORKERS, STDOUTS, STDERRS, RETVALS, TOTALS};

_Static_assert(2 + COUNT_OF(plain_columns) == APPLY_PLAIN_PARAMETERS, "generation, epoch, and a parameter for each column");
_Static_assert(CAREFUL + 1 == APPLY_PARAMETERS, "one parameter for each column");

struct batch *batch_new(void)
{
	return xcalloc(1, sizeof(struct batch));
}

void reply_record_drop(struct reply_record *reply)
{
	if (reply->record)
		rd_kafka_message_destroy(reply->record);
	reply->record = NULL;
	buffer_clear(&reply->opened);
}

void batch_reset(struct batch *batch)
{
	for (size_t i = 0; i < batch->count; i++)
		reply_record_drop(&batch->replies[i]);
	batch->count = batch->chosen = 0;
}

void batch_free(struct batch *batch)
{
	if (!batch)
		return;
	batch_reset(batch);
	for (size_t i = 0; i < COUNT_OF(batch->arrays); i++)
		array_clear(&batch->arrays[i]);
	buffer_clear(&batch->scratch);
	buffer_clear(&batch->own);
	free_pointer(&batch);
}

enum status batch_add(struct batch *batch, struct cell *cell, rd_kafka_message_t *record, struct buffer *opened, const struct message *message,
	struct origin origin, struct error *err)
{
	assert(batch->count < BATCH_REPLIES_MAX);
	struct reply_record *reply = &batch->replies[batch->count];
	*reply = (struct reply_record){.origin = origin, .message = *message};
	if (!message->stamped)
		return fail(err, E_INVALID, "metadata.kser: is missing, so this answers no task");
	if (message->result.kind != JSON_OBJECT)
		return fail(err, E_INVALID, "result: is missing, so this is no answer");
	reply->queue = cell_known_queue(cell, message->stamp.queue);
	reply->record = record;
	reply->opened = *opened;
	*opened = (struct buffer){0};
	batch->count++;
	return E_OK;
}

struct reply_record *batch_reply(struct batch *batch, int32_t input)
{
	assert(input >= 1 && (size_t)input <= batch->chosen);
	return &batch->replies[batch->order[input - 1]];
}

int32_t batch_target(const struct batch *batch, int32_t input)
{
	assert(input >= 1 && (size_t)input <= batch->chosen);
	return batch->targets[input - 1];
}

static int compare(const void *left, const void *right, void *context)
{
	const struct batch *batch = context;
	const struct stamp *a = &batch->replies[*(const size_t *)left].message.stamp, *b = &batch->replies[*(const size_t *)right].message.stamp;
	int order = memcmp(a->operation, b->operation, sizeof a->operation);
	if (order == 0)
		order = (a->position > b->position) - (a->position < b->position);
	if (order == 0) /* stable: the first of several wins */
		order = (*(const size_t *)left > *(const size_t *)right) - (*(const size_t *)left < *(const size_t *)right);
	return order;
}

size_t batch_choose(struct batch *batch)
{
	batch->chosen = 0;
	for (size_t i = 0; i < batch->count; i++)
		if (!batch->replies[i].settled)
			batch->order[batch->chosen++] = i;
	qsort_r(batch->order, batch->chosen, sizeof batch->order[0], compare, batch);
	return batch->chosen;
}

static bool is_plain(const struct reply_record *reply, int64_t generation)
{
	const struct stamp *stamp = &reply->message.stamp;
	return reply->retry_ms == 0 && stamp->generation == generation && reply->message.parts.retcode == 0 && !stamp->retry && stamp->tasks.kind != JSON_ARRAY;
}

static bool is_of_one_task(const struct batch *batch, size_t left, size_t right)
{
	const struct stamp *a = &batch->replies[batch->order[left]].message.stamp, *b = &batch->replies[batch->order[right]].message.stamp;
	return a->position == b->position && memcmp(a->operation, b->operation, sizeof a->operation) == 0;
}

size_t batch_choose_plain(struct batch *batch, int64_t generation)
{
	size_t all = batch_choose(batch), plain = 0;
	bool same_before = false;
	for (size_t i = 0; i < all; i++) {
		bool same_behind = i + 1 < all && is_of_one_task(batch, i, i + 1);
		if (!same_before && !same_behind && is_plain(&batch->replies[batch->order[i]], generation))
			batch->order[plain++] = batch->order[i];
		same_before = same_behind;
	}
	batch->chosen = plain;
	return plain;
}

static bool inherits(const struct stamp *stamp, const char *what)
{
	struct json_value found;
	return stamp->inherited.kind == JSON_OBJECT && json_find(stamp->inherited, what, &found) && found.kind == JSON_BOOL && found.text.start[0] == 't';
}

static bool is_inherited_key(struct json_value list, struct slice key, struct buffer *scratch)
{
	struct json_iterator names = json_iterate(list);
	for (struct json_value name; json_next_element(&names, &name);) {
		buffer_reset(scratch);
		if (name.kind == JSON_STRING) {
			json_add_string(scratch, name);
			if (scratch->bytes && json_key_is(key, scratch->bytes))
				return true;
		}
	}
	return false;
}

/* The members of a retval that are not inherited, as an object's text. */
static struct slice own_members(struct json_value retval, struct json_value inherited, struct buffer *out, struct buffer *scratch)
{
	struct json_iterator members = json_iterate(retval);
	bool any = false;
	buffer_reset(out);
	for (struct json_member member; json_next_member(&members, &member);) {
		if (is_inherited_key(inherited, member.key, scratch))
			continue;
		json_add_member(out, any ? ',' : '{', &member);
		any = true;
	}
	if (any)
		buffer_add_char(out, '}');
	return buffer_slice(out);
}

static void add_output(struct batch *batch, struct array *array, const struct reply_record *reply, struct json_value text, const char *name)
{
	if (text.kind != JSON_STRING || text.text.length <= 2 || inherits(&reply->message.stamp, name)) {
		array_add_null(array);
		return;
	}
	buffer_reset(&batch->scratch);
	array_add_bytes(array, json_string(text, &batch->scratch));
}

static void add_retval(struct batch *batch, struct array *array, const struct reply_record *reply)
{
	struct json_value inherited = {0};
	struct slice own = reply->message.parts.retval.text;
	if (reply->message.stamp.inherited.kind == JSON_OBJECT && json_find(reply->message.stamp.inherited, "retval", &inherited) && inherited.kind == JSON_ARRAY)
		own = own_members(reply->message.parts.retval, inherited, &batch->own, &batch->scratch);
	if (own.length == 0 || json_is_empty(reply->message.parts.retval))
		array_add_null(array);
	else
		array_add_bytes(array, own);
}

/* The error's name: what retval.error says, for failed tasks only. */
static void add_error(struct batch *batch, struct array *array, const struct result *result)
{
	struct json_value error, name;
	if (result->retcode == 0 || !json_find(result->retval, "error", &error) || error.kind != JSON_OBJECT || !json_find(error, "name", &name) || name.kind != JSON_STRING) {
		array_add_null(array);
		return;
	}
	buffer_reset(&batch->scratch);
	struct slice text = json_string(name, &batch->scratch);
	if (text.length > ENTRYPOINT_BYTES_MAX)
		array_add_null(array);
	else
		array_add_bytes(array, text);
}

static void add_identity(struct array *arrays, const struct reply_record *reply)
{
	const struct stamp *stamp = &reply->message.stamp;
	array_add_bytes(&arrays[UUIDS], (struct slice){(const char *)stamp->task, sizeof stamp->task});
	array_add_bytes(&arrays[OPERATIONS], (struct slice){(const char *)stamp->operation, sizeof stamp->operation});
	array_add_int4(&arrays[POSITIONS], stamp->position);
	array_add_int4(&arrays[ATTEMPTS], stamp->attempt);
	array_add_int8(&arrays[ANSWERS], (int64_t)reply->origin.partition << 48 | reply->origin.offset);
}

/* What a success has too. */
static void add_output_columns(struct batch *batch, const struct reply_record *reply)
{
	struct array *arrays = batch->arrays;
	const struct stamp *stamp = &reply->message.stamp;
	add_output(batch, &arrays[STDOUTS], reply, reply->message.parts.stdout_text, "stdout");
	add_output(batch, &arrays[STDERRS], reply, reply->message.parts.stderr_text, "stderr");
	add_retval(batch, &arrays[RETVALS], reply);
	if (json_is_empty(stamp->inherited) || reply->message.result.kind != JSON_OBJECT)
		array_add_null(&arrays[TOTALS]);
	else
		array_add_bytes(&arrays[TOTALS], reply->message.result.text);
	if (stamp->worker.length > 0)
		array_add_bytes(&arrays[WORKERS], stamp->worker);
	else
		array_add_null(&arrays[WORKERS]);
	array_add_int4(&arrays[BYTES], (int32_t)reply->message.result.text.length);
}

/* What a plain success says nothing of. */
static void add_outcome(struct batch *batch, const struct reply_record *reply)
{
	struct array *arrays = batch->arrays;
	const struct stamp *stamp = &reply->message.stamp;
	array_add_int8(&arrays[GENERATIONS], stamp->generation);
	array_add_int8(&arrays[EPOCHS], stamp->epoch);
	/* What may be tried again has failed, whatever the retcode says. */
	array_add_int4(&arrays[RETCODES], stamp->retry && reply->message.parts.retcode == 0 ? 503 : reply->message.parts.retcode);
	add_error(batch, &arrays[ERRORS], &reply->message.parts);
	if (stamp->tasks.kind == JSON_ARRAY)
		array_add_bytes(&arrays[PLANS], stamp->tasks.text);
	else
		array_add_null(&arrays[PLANS]);
	if (stamp->retry)
		array_add_bool(&arrays[TEMPORARIES], true);
	else
		array_add_null(&arrays[TEMPORARIES]);
}

/* A partition for the successor of each reply, queue by queue. */
static void choose_targets(struct batch *batch, struct cell *cell)
{
	for (size_t from = 0, to; from < batch->chosen; from = to) {
		int queue = batch->replies[batch->order[from]].queue;
		for (to = from + 1; to < batch->chosen && batch->replies[batch->order[to]].queue == queue; to++)
			;
		cell_choose(cell, queue, batch->targets + from, (int32_t)(to - from));
	}
}

/* The columns that both statements have. */
static void add_common_columns(struct batch *batch, struct cell *cell)
{
	choose_targets(batch, cell);
	for (size_t column = 0; column < COUNT_OF(batch->arrays); column++)
		array_begin(&batch->arrays[column], column_types[column]);
	for (size_t i = 0; i < batch->chosen; i++) {
		const struct reply_record *reply = &batch->replies[batch->order[i]];
		add_identity(batch->arrays, reply);
		add_output_columns(batch, reply);
		array_add_int4(&batch->arrays[TARGETS], batch->targets[i]);
	}
}

void batch_parameters(struct batch *batch, struct cell *cell, bool careful, struct parameter parameters[APPLY_PARAMETERS])
{
	add_common_columns(batch, cell);
	for (size_t i = 0; i < batch->chosen; i++)
		add_outcome(batch, &batch->replies[batch->order[i]]);
	for (size_t column = 0; column < COUNT_OF(batch->arrays); column++)
		parameters[column] = array_parameter_or_null(&batch->arrays[column]);
	parameters[CAREFUL] = parameter_bool(batch->single[0], careful);
}

void batch_plain_parameters(struct batch *batch, struct cell *cell, int64_t generation, struct parameter parameters[APPLY_PLAIN_PARAMETERS])
{
	int64_t epoch = 0;
	add_common_columns(batch, cell);
	for (size_t i = 0; i < batch->chosen; i++) {
		int64_t own = batch->replies[batch->order[i]].message.stamp.epoch;
		epoch = own > epoch ? own : epoch;
	}
	*parameters++ = parameter_int8(batch->single[0], generation);
	*parameters++ = parameter_int8(batch->single[1], epoch);
	for (size_t i = 0; i < COUNT_OF(plain_columns); i++)
		*parameters++ = array_parameter_or_null(&batch->arrays[plain_columns[i]]);
}
