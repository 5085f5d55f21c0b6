#pragma once

/* A piece of somebody else's bytes: no ownership, not NUL-terminated. */

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct slice {
	const char *start;
	size_t length;
};

static inline struct slice slice_of(const char *text)
{
	return (struct slice){text, strlen(text)};
}

static inline bool slice_is(struct slice slice, const char *text)
{
	size_t length = strlen(text);
	return slice.length == length && memcmp(slice.start, text, length) == 0;
}
