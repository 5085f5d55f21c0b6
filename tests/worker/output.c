#include <criterion/criterion.h>
#include <string.h>

#include "common/limits.h"
#include "common/utf8.h"
#include "worker/output.h"

static void expect_clean(const char *bytes, size_t length, const char *wanted)
{
	struct buffer out CLEANUP(buffer_clear) = {0};
	output_add_clean(&out, (struct slice){bytes, length});
	cr_expect_str_eq(buffer_slice(&out).start, wanted);
}

Test(output, replaces_what_is_no_text)
{
	expect_clean("plain", 5, "plain");
	expect_clean("\xc3\xa9\xf0\x9f\x8e\xb2\n\t", 8, "\xc3\xa9\xf0\x9f\x8e\xb2\n\t");
	expect_clean("a\0b", 3, "a\xef\xbf\xbd" "b");
	expect_clean("\xff\xfe", 2, "\xef\xbf\xbd\xef\xbf\xbd");
	expect_clean("\xed\xa0\x80", 3, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
	expect_clean("x\xc3", 2, "x\xef\xbf\xbd");
}

static void add_many(struct output *output, const char *piece, size_t times)
{
	for (size_t i = 0; i < times; i++)
		output_add(output, piece, strlen(piece));
}

Test(output, keeps_all_that_fits)
{
	struct output output CLEANUP(output_clear) = {0};
	struct buffer text CLEANUP(buffer_clear) = {0};
	add_many(&output, "0123456789abcdef", OUTPUT_BYTES_MAX / 16);
	output_add_text(&text, &output);
	cr_expect_eq(text.length, OUTPUT_BYTES_MAX);
	cr_expect_null(strstr(text.bytes, "cut"));
}

Test(output, cuts_with_a_mark)
{
	struct output output CLEANUP(output_clear) = {0};
	struct buffer text CLEANUP(buffer_clear) = {0};
	add_many(&output, "0123456789", 12345);
	output_add_text(&text, &output);
	static const char mark[] = "\n[cut: 123450 bytes in all]";
	cr_expect_leq(text.length, OUTPUT_BYTES_MAX);
	cr_expect_geq(text.length, OUTPUT_BYTES_MAX - 4);
	cr_expect_str_eq(text.bytes + text.length - strlen(mark), mark);
	cr_expect_eq(output.kept.length, OUTPUT_BYTES_MAX, "no more than that is held in memory");
}

/* A character of four bytes is not torn apart, and bytes that each become three still fit. */
Test(output, cuts_between_characters)
{
	struct output output CLEANUP(output_clear) = {0};
	struct buffer text CLEANUP(buffer_clear) = {0};
	output_add(&output, "x", 1);
	add_many(&output, "\xf0\x9f\x8e\xb2", 20000);
	output_add_text(&text, &output);
	cr_expect_leq(text.length, OUTPUT_BYTES_MAX);
	for (const char *at = text.bytes; at < text.bytes + text.length;) {
		size_t length = utf8_length(at, text.bytes + text.length);
		cr_assert_gt(length, 0, "not valid at %td", at - text.bytes);
		at += length;
	}
	struct output binary CLEANUP(output_clear) = {0};
	add_many(&binary, "\xff", 40000);
	buffer_reset(&text);
	output_add_text(&text, &binary);
	cr_expect_leq(text.length, OUTPUT_BYTES_MAX);
	cr_expect_not_null(strstr(text.bytes, "\n[cut: 40000 bytes in all]"));
}
