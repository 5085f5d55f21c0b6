#pragma once

/*
 * Texts in the data files of these tests: %HH is the byte with that hexadecimal number, %% a percent sign, and
 * %{N:part} the part N times.
 */

#include "common/buffer.h"

void add_notation(struct buffer *out, struct slice notation);

/* A copy in memory of exactly that size, so that a sanitizer sees a read behind its end. */
char *exact_copy(struct slice text);
