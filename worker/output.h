#pragma once

/*
 * What a task says on stdout or stderr: the first OUTPUT_BYTES_MAX bytes are kept, the rest is
 * counted. A zeroed struct is empty. One thread.
 */

#include <stdint.h>

#include "common/buffer.h"

struct output {
	struct buffer kept;
	uint64_t bytes; /* in all */
};

void output_clear(struct output *output);
void output_add(struct output *output, const void *bytes, size_t length);

/*
 * Adds the text to show: at most OUTPUT_BYTES_MAX bytes, valid UTF-8 without NUL (what is not is replaced by U+FFFD), with
 * a mark at its end when something was cut.
 */
void output_add_text(struct buffer *out, const struct output *output);

/* Adds `text` with every byte that is no UTF-8, and every NUL, replaced by U+FFFD. */
void output_add_clean(struct buffer *out, struct slice text);

/* The same as a JSON string. */
void output_add_clean_string(struct buffer *out, struct slice text);
