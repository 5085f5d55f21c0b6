#include "common/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/utf8.h"

/* Stops before the first character that does not fit as a whole. */
static void copy_visible(char *to, size_t size, const char *from)
{
	const char *end = from + strlen(from);
	size_t used = 0;
	while (from < end) {
		char room[UTF8_VISIBLE_MAX];
		size_t length = utf8_visible(&from, end, room);
		if (used + length >= size)
			break;
		memcpy(to + used, room, length);
		used += length;
	}
	to[used] = '\0';
}

enum status fail(struct error *err, enum status status, const char *format, ...)
{
	if (!err)
		return status;
	char text[2 * sizeof err->text];
	va_list arguments;
	va_start(arguments, format);
	if (vsnprintf(text, sizeof text, format, arguments) < 0)
		text[0] = '\0';
	va_end(arguments);
	err->status = status;
	err->sqlstate[0] = '\0';
	copy_visible(err->text, sizeof err->text, text);
	return status;
}

const char *status_name(enum status status)
{
	switch (status) {
	case E_OK: return "ok";
	case E_RETRY: return "retry";
	case E_INVALID: return "invalid";
	case E_CONFLICT: return "conflict";
	case E_MISSING: return "missing";
	case E_FATAL: return "fatal";
	}
	return "unknown";
}
