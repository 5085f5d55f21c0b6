/*
 * Any bytes as a record. Beside what the sanitizers find: an error is short and printable; what was accepted stays
 * accepted when it is written again, and a reply to it is a message with the same uuid.
 */

#include <assert.h>
#include <stdlib.h>

#include "common/limits.h"
#include "common/message.h"
#include "common/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static void check_error(const struct error *err)
{
	const char *at = err->text;
	const char *end = at + strlen(at);
	assert(err->status == E_INVALID && at < end && end - at < (ptrdiff_t)sizeof err->text);
	while (at < end) {
		size_t length = utf8_length(at, end);
		assert(length && (unsigned char)*at >= 0x20);
		at += length;
	}
}

/* Walks through everything, resolving each string. */
static void walk(struct json_value value, struct buffer *scratch)
{
	struct json_iterator iterator = json_iterate(value);
	struct json_member member;
	struct json_value element;
	int64_t number;
	if (value.kind == JSON_OBJECT)
		while (json_next_member(&iterator, &member)) {
			assert(json_key_is(member.key, "") == (member.key.length == 0));
			walk(member.value, scratch);
		}
	else if (value.kind == JSON_ARRAY)
		while (json_next_element(&iterator, &element))
			walk(element, scratch);
	else if (value.kind == JSON_STRING)
		(void)json_string(value, scratch);
	else
		assert(json_int64(value, &number) == (value.kind == JSON_INTEGER));
}

static void check_reply(const struct message *task)
{
	struct buffer text CLEANUP(buffer_clear) = {0};
	struct reply reply = {.kind = MESSAGE_RELEASE, .worker = {"w", 1}, .tasks = {"[]", 2}};
	message_add_reply(&text, task, &reply);
	struct json_value root;
	struct json_value uuid;
	assert(json_validate(buffer_slice(&text), SIZE_MAX, &root, NULL) == E_OK);
	assert(json_find(root, "uuid", &uuid) && uuid.text.length == task->uuid.text.length);
	struct message again;
	struct error err;
	if (text.length <= MESSAGE_BYTES_MAX && task->stamped && task->stamp.kind == MESSAGE_RESULT) {
		assert(message_parse(buffer_slice(&text), &again, &err) == E_OK);
		assert(again.stamp.attempt == task->stamp.attempt && again.stamp.generation == task->stamp.generation);
	}
}

static void check_normalized(const struct message *message)
{
	struct buffer first CLEANUP(buffer_clear) = {0};
	struct buffer second CLEANUP(buffer_clear) = {0};
	message_add_normalized(&first, message);
	assert(!memchr(first.bytes, '\n', first.length));
	struct message again;
	struct error err;
	if (first.length > MESSAGE_BYTES_MAX)
		return;
	assert(message_parse(buffer_slice(&first), &again, &err) == E_OK);
	message_add_normalized(&second, &again);
	assert(slice_is(buffer_slice(&first), second.bytes));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	struct slice text = {(const char *)bytes, length};
	struct error err = {0};
	struct json_value root;
	struct message message;
	enum status valid = json_validate(text, MESSAGE_BYTES_MAX, &root, &err);
	if (valid) {
		check_error(&err);
	} else {
		struct buffer scratch CLEANUP(buffer_clear) = {0};
		walk(root, &scratch);
	}
	enum status status = message_parse(text, &message, &err);
	assert(status == E_OK || status == E_INVALID);
	assert(!valid || status);
	if (status) {
		check_error(&err);
		return 0;
	}
	check_reply(&message);
	check_normalized(&message);
	return 0;
}
