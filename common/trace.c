#include "common/trace.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* Offsets in a traceparent, and its length in version 00. */
enum { AT_TRACE = 3, AT_SPAN = 36, AT_FLAGS = 53, TRACEPARENT_LENGTH = TRACEPARENT_SIZE - 1 };

/* ---- hex ---- */

static int digit_of(char letter)
{
	if (letter >= '0' && letter <= '9')
		return letter - '0';
	return letter >= 'a' && letter <= 'f' ? letter - 'a' + 10 : -1;
}

/* Exactly 2 * count lower-case digits at `at`. */
static bool read_bytes(const char *at, uint8_t *bytes, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		int high = digit_of(at[2 * i]), low = digit_of(at[2 * i + 1]);
		if (high < 0 || low < 0)
			return false;
		bytes[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

/* From 1 to 2 * count digits, right-aligned. */
static bool read_number(struct slice text, uint8_t *bytes, size_t count)
{
	memset(bytes, 0, count);
	if (text.length == 0 || text.length > 2 * count)
		return false;
	for (size_t i = 0; i < text.length; i++) {
		int digit = digit_of(text.start[text.length - 1 - i]);
		if (digit < 0)
			return false;
		bytes[count - 1 - i / 2] = (uint8_t)(bytes[count - 1 - i / 2] | digit << (i % 2 ? 4 : 0));
	}
	return true;
}

static const char digits[] = "0123456789abcdef";

static char *write_bytes(char *at, const uint8_t *bytes, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		*at++ = digits[bytes[i] >> 4];
		*at++ = digits[bytes[i] & 15];
	}
	return at;
}

/* Without zeros in front. */
static char *write_number(char *at, const uint8_t *bytes, size_t count)
{
	char padded[2 * 16 + 1];
	*write_bytes(padded, bytes, count) = '\0';
	size_t skipped = strspn(padded, "0");
	memcpy(at, padded + skipped, 2 * count - skipped);
	return at + 2 * count - skipped;
}

void trace_add_hex(struct buffer *out, const uint8_t *bytes, size_t count)
{
	char *at = buffer_reserve(out, 2 * count);
	*write_bytes(at, bytes, count) = '\0';
	out->length += 2 * count;
}

static bool is_zero(const uint8_t *bytes, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (bytes[i])
			return false;
	return true;
}

static bool is_whole(const struct trace_span *span)
{
	return !is_zero(span->trace, sizeof span->trace) && !is_zero(span->id, sizeof span->id);
}

/* ---- traceparent ---- */

/* A later version may go on behind another dash; what stands before it stays what it is. */
static bool has_form(struct slice text, uint8_t version)
{
	if (version == 0xFF || (version == 0 && text.length != TRACEPARENT_LENGTH))
		return false;
	if (text.length > TRACEPARENT_LENGTH && text.start[TRACEPARENT_LENGTH] != '-')
		return false;
	return text.start[AT_TRACE - 1] == '-' && text.start[AT_SPAN - 1] == '-' && text.start[AT_FLAGS - 1] == '-';
}

bool trace_read_traceparent(struct slice text, struct trace_span *span)
{
	struct trace_span read;
	uint8_t version, flags;
	if (text.length < TRACEPARENT_LENGTH || !read_bytes(text.start, &version, 1) || !has_form(text, version))
		return false;
	if (!read_bytes(text.start + AT_TRACE, read.trace, sizeof read.trace) || !read_bytes(text.start + AT_SPAN, read.id, sizeof read.id)
		|| !read_bytes(text.start + AT_FLAGS, &flags, 1) || !is_whole(&read))
		return false;
	read.sampled = flags & 1;
	*span = read;
	return true;
}

void trace_write_traceparent(const struct trace_span *span, char room[TRACEPARENT_SIZE])
{
	char *at = room;
	memcpy(at, "00-", 3);
	at = write_bytes(at + 3, span->trace, sizeof span->trace);
	*at++ = '-';
	at = write_bytes(at, span->id, sizeof span->id);
	memcpy(at, span->sampled ? "-01" : "-00", 4);
}

/* ---- uber-trace-id ---- */

static struct slice next_part(struct slice *rest)
{
	const char *colon = rest->length ? memchr(rest->start, ':', rest->length) : NULL;
	struct slice part = {rest->start, colon ? (size_t)(colon - rest->start) : rest->length};
	size_t gone = part.length + (colon ? 1 : 0);
	*rest = (struct slice){rest->start + gone, rest->length - gone};
	return part;
}

bool trace_read_uber(struct slice text, struct trace_span *span)
{
	struct trace_span read;
	uint8_t parent[8], flags;
	size_t colons = 0;
	for (size_t i = 0; i < text.length; i++)
		colons += text.start[i] == ':';
	if (colons != 3 || !read_number(next_part(&text), read.trace, sizeof read.trace) || !read_number(next_part(&text), read.id, sizeof read.id)
		|| !read_number(next_part(&text), parent, sizeof parent) || !read_number(next_part(&text), &flags, 1) || !is_whole(&read))
		return false;
	read.sampled = flags & 1;
	*span = read;
	return true;
}

void trace_write_uber(const struct trace_span *span, char room[UBER_TRACE_ID_SIZE])
{
	char *at = write_number(room, span->trace, sizeof span->trace);
	*at++ = ':';
	at = write_number(at, span->id, sizeof span->id);
	memcpy(at, span->sampled ? ":0:1" : ":0:0", 5);
}

/* ---- in a message ---- */

static bool find_python_parent(struct json_value metadata, struct trace_span *span)
{
	struct json_value carrier, text;
	if (!json_find(metadata, TRACE_PYTHON_PARENT, &carrier) || carrier.kind != JSON_OBJECT)
		return false;
	return json_find(carrier, "uber-trace-id", &text) && text.kind == JSON_STRING
		&& trace_read_uber((struct slice){text.text.start + 1, text.text.length - 2}, span);
}

bool trace_find(struct json_value metadata, struct trace_span *span)
{
	struct json_value text;
	if (metadata.kind != JSON_OBJECT)
		return false;
	/* Neither form has a character that JSON escapes. */
	if (json_find(metadata, TRACE_PARENT, &text) && text.kind == JSON_STRING
		&& trace_read_traceparent((struct slice){text.text.start + 1, text.text.length - 2}, span))
		return true;
	return find_python_parent(metadata, span);
}

/* ---- making ---- */

static void draw(uint8_t *bytes, size_t count)
{
	do {
		while (getrandom(bytes, count, 0) != (ssize_t)count)
			if (errno != EINTR)
				abort();
	} while (is_zero(bytes, count));
}

bool trace_is_short(const struct trace_span *span)
{
	return is_zero(span->trace, 8);
}

void trace_of_operation(const uuid_t operation, const struct trace_span *parent, bool is_short, struct trace_span *root)
{
	*root = (struct trace_span){.sampled = !parent || parent->sampled};
	memcpy(root->id, operation + 8, sizeof root->id);
	if (parent)
		memcpy(root->trace, parent->trace, sizeof root->trace);
	else if (is_short)
		memcpy(root->trace + 8, operation + 8, 8);
	else
		memcpy(root->trace, operation, sizeof root->trace);
}

void trace_begin(const struct trace_span *parent, struct trace_span *span)
{
	span->sampled = !parent || parent->sampled;
	if (parent)
		memcpy(span->trace, parent->trace, sizeof span->trace);
	else
		draw(span->trace, sizeof span->trace);
	draw(span->id, sizeof span->id);
}
