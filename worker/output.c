#include "worker/output.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/limits.h"
#include "common/utf8.h"

#define REPLACEMENT "\xef\xbf\xbd"

void output_clear(struct output *output)
{
	buffer_clear(&output->kept);
	output->bytes = 0;
}

void output_add(struct output *output, const void *bytes, size_t length)
{
	size_t room = OUTPUT_BYTES_MAX - output->kept.length;
	if (length > 0)
		buffer_add(&output->kept, bytes, length < room ? length : room);
	output->bytes += length;
}

void output_add_clean(struct buffer *out, struct slice text)
{
	const char *at = text.start;
	const char *end = text.start + text.length;
	while (at < end) {
		size_t length = *at ? utf8_length(at, end) : 0;
		if (length > 0)
			buffer_add(out, at, length);
		else
			buffer_add_text(out, REPLACEMENT);
		at += length > 0 ? length : 1;
	}
}

void output_add_clean_string(struct buffer *out, struct slice text)
{
	struct buffer clean CLEANUP(buffer_clear) = {0};
	output_add_clean(&clean, text);
	buffer_add_json_string(out, buffer_slice(&clean));
}

/* The longest beginning of at most `most` bytes that ends between two characters. */
static size_t whole_characters(const char *bytes, size_t most)
{
	while (most > 0 && ((unsigned char)bytes[most] & 0xc0) == 0x80)
		most--;
	return most;
}

void output_add_text(struct buffer *out, const struct output *output)
{
	size_t start = out->length;
	output_add_clean(out, buffer_slice(&output->kept));
	if (output->bytes == output->kept.length && out->length - start <= OUTPUT_BYTES_MAX)
		return;
	char mark[64];
	size_t length = (size_t)snprintf(mark, sizeof mark, "\n[cut: %" PRIu64 " bytes in all]", output->bytes);
	size_t most = OUTPUT_BYTES_MAX - length;
	if (out->length - start > most)
		out->length = start + whole_characters(out->bytes + start, most);
	buffer_add(out, mark, length);
}
