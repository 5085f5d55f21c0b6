#pragma once

/* UTF-8 as RFC 3629 has it, and how bytes from outside are shown to people. Any thread. */

#include <stddef.h>

/* The length of the valid sequence at `at`, or 0: overlong, a surrogate, above U+10FFFF, cut off at `end`. */
size_t utf8_length(const char *at, const char *end);

/* The most bytes that utf8_visible writes. */
#define UTF8_VISIBLE_MAX 8

/*
 * Writes the character at *at into `room` so that it can do no harm on a terminal or in a log, moves *at behind it and
 * returns how many bytes were written: control characters, line separators, direction overrides and byte order marks
 * become \n, \x1b or \u2028, a byte that is not UTF-8 becomes \xff, everything else stays. `at` must be before `end`.
 */
size_t utf8_visible(const char **at, const char *end, char room[UTF8_VISIBLE_MAX]);
