#include "common/buffer.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/memory.h"

void buffer_clear(struct buffer *buffer)
{
	free(buffer->bytes);
	*buffer = (struct buffer){0};
}

void buffer_reset(struct buffer *buffer)
{
	buffer->length = 0;
	if (buffer->bytes)
		buffer->bytes[0] = '\0';
}

char *buffer_reserve(struct buffer *buffer, size_t more)
{
	assert(more < SIZE_MAX / 4 && buffer->length < SIZE_MAX / 4);
	size_t needed = buffer->length + more + 1;
	if (needed > buffer->capacity) {
		size_t grown = buffer->capacity * 2;
		size_t least = needed < 64 ? 64 : needed;
		buffer->capacity = grown > least ? grown : least;
		buffer->bytes = xrealloc(buffer->bytes, buffer->capacity);
		buffer->bytes[buffer->length] = '\0';
	}
	return buffer->bytes + buffer->length;
}

void buffer_add(struct buffer *buffer, const void *bytes, size_t length)
{
	char *to = buffer_reserve(buffer, length);
	if (length)
		memcpy(to, bytes, length);
	to[length] = '\0';
	buffer->length += length;
}

void buffer_add_char(struct buffer *buffer, char byte)
{
	char *to = buffer_reserve(buffer, 1);
	to[0] = byte;
	to[1] = '\0';
	buffer->length++;
}

void buffer_add_int(struct buffer *buffer, int64_t number)
{
	char digits[20];
	char *end = digits + sizeof digits;
	char *at = end;
	uint64_t left = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
	do {
		*--at = (char)('0' + left % 10);
		left /= 10;
	} while (left);
	if (number < 0)
		*--at = '-';
	buffer_add(buffer, at, (size_t)(end - at));
}

void buffer_printf(struct buffer *buffer, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	char *to = buffer_reserve(buffer, 128);
	size_t room = buffer->capacity - buffer->length;
	int length = vsnprintf(to, room, format, arguments);
	va_end(arguments);
	assert(length >= 0);
	if ((size_t)length >= room) {
		va_start(arguments, format);
		to = buffer_reserve(buffer, (size_t)length);
		length = vsnprintf(to, (size_t)length + 1, format, arguments);
		va_end(arguments);
	}
	buffer->length += (size_t)length;
}

/* The character behind the backslash, 'u' for \u00XX; 0: stays as it is. */
static char json_escape(unsigned char byte)
{
	switch (byte) {
	case '"': return '"';
	case '\\': return '\\';
	case '\b': return 'b';
	case '\f': return 'f';
	case '\n': return 'n';
	case '\r': return 'r';
	case '\t': return 't';
	default: return byte < 0x20 ? 'u' : 0;
	}
}

void buffer_add_json_string(struct buffer *buffer, struct slice text)
{
	buffer_add_char(buffer, '"');
	size_t plain = 0;
	for (size_t at = 0; at < text.length; at++) {
		unsigned char byte = (unsigned char)text.start[at];
		char escape = json_escape(byte);
		if (!escape)
			continue;
		buffer_add(buffer, text.start + plain, at - plain);
		if (escape == 'u')
			buffer_printf(buffer, "\\u%04x", byte);
		else
			buffer_add(buffer, (const char[]){'\\', escape}, 2);
		plain = at + 1;
	}
	buffer_add(buffer, text.start + plain, text.length - plain);
	buffer_add_char(buffer, '"');
}
