#pragma once

/*
 * Bytes that grow. Always followed by a NUL that is not counted. A zeroed struct is an empty
 * buffer; buffer_clear frees, buffer_reset keeps the memory for the next use. One thread.
 */

#include <stddef.h>
#include <stdint.h>

#include "common/attributes.h"
#include "common/slice.h"

struct buffer {
	char *bytes;
	size_t length;
	size_t capacity;
};

void buffer_clear(struct buffer *buffer);
void buffer_reset(struct buffer *buffer);

/* Makes room for `more` bytes behind the present ones and returns where they go. */
char *buffer_reserve(struct buffer *buffer, size_t more);

void buffer_add(struct buffer *buffer, const void *bytes, size_t length);
void buffer_add_char(struct buffer *buffer, char byte);
void buffer_add_int(struct buffer *buffer, int64_t number);
void buffer_printf(struct buffer *buffer, const char *format, ...) PRINTF_LIKE(2, 3);

/* Adds `text`, which must be valid UTF-8, as a JSON string with its quotes. */
void buffer_add_json_string(struct buffer *buffer, struct slice text);

/* Here, so that the length of a literal is known. */
static inline void buffer_add_text(struct buffer *buffer, const char *text)
{
	buffer_add(buffer, text, strlen(text));
}

static inline void buffer_add_slice(struct buffer *buffer, struct slice slice)
{
	buffer_add(buffer, slice.start, slice.length);
}

static inline struct slice buffer_slice(const struct buffer *buffer)
{
	return (struct slice){buffer->bytes ? buffer->bytes : "", buffer->length};
}
