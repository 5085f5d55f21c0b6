#pragma once

/* Parts of JSON's text, for the scanner (json_scan.c) and for reading what it has passed (json.c). No state. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* All four are below what else a text has between its tokens. */
static inline bool json_is_space(char byte)
{
	return (unsigned char)byte <= ' ' && (byte == ' ' || byte == '\n' || byte == '\r' || byte == '\t');
}

static inline const char *json_pass_space(const char *at, const char *end)
{
	while (at < end && json_is_space(*at))
		at++;
	return at;
}

/* Four hexadecimal digits, or -1. */
static inline int json_hex4(const char *at, const char *end)
{
	if (end - at < 4)
		return -1;
	int value = 0;
	for (int i = 0; i < 4; i++) {
		char digit = at[i];
		int number = digit >= '0' && digit <= '9' ? digit - '0' :
			digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 :
			digit >= 'A' && digit <= 'F' ? digit - 'A' + 10 : -1;
		if (number < 0)
			return -1;
		value = value << 4 | number;
	}
	return value;
}

static inline bool json_is_high_surrogate(int unit)
{
	return unit >= 0xD800 && unit <= 0xDBFF;
}

static inline bool json_is_low_surrogate(int unit)
{
	return unit >= 0xDC00 && unit <= 0xDFFF;
}

/* `*at` is at the backslash of a valid escape and moves behind it; returns the number of bytes. */
size_t json_resolve_escape(const char **at, const char *end, char bytes[4]);

/* Reads a valid string, from behind its opening quote to the closing one, byte by byte with its escapes resolved. */
struct json_resolver {
	const char *at;
	const char *end;
	char bytes[4];
	size_t count;
	size_t next;
};

/* -1 at the end. */
int json_resolver_next(struct json_resolver *resolver);
