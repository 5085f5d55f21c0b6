#include "notation.h"

#include <assert.h>
#include <stdlib.h>

#include "common/memory.h"

static int hex(char digit)
{
	return digit >= 'a' ? digit - 'a' + 10 : digit - '0';
}

/* At the digits of %{N:part}; returns the closing brace. */
static const char *add_repeated(struct buffer *out, const char *at, const char *end)
{
	char *colon;
	long count = strtol(at, &colon, 10);
	const char *close = memchr(colon, '}', (size_t)(end - colon));
	assert(close && *colon == ':');
	struct buffer part CLEANUP(buffer_clear) = {0};
	add_notation(&part, (struct slice){colon + 1, (size_t)(close - colon) - 1});
	for (long i = 0; i < count; i++)
		buffer_add_slice(out, buffer_slice(&part));
	return close;
}

void add_notation(struct buffer *out, struct slice notation)
{
	const char *end = notation.start + notation.length;
	for (const char *at = notation.start; at < end; at++) {
		if (*at != '%') {
			buffer_add_char(out, *at);
		} else if (at[1] == '%') {
			buffer_add_char(out, *++at);
		} else if (at[1] == '{') {
			at = add_repeated(out, at + 2, end);
		} else {
			buffer_add_char(out, (char)(hex(at[1]) << 4 | hex(at[2])));
			at += 2;
		}
	}
}

char *exact_copy(struct slice text)
{
	char *copy = xmalloc(text.length);
	if (text.length)
		memcpy(copy, text.start, text.length);
	return copy;
}
