#include "common/error.h"

#include <criterion/criterion.h>

#include "common/utf8.h"

Test(error, text_status_and_no_sqlstate)
{
	struct error err = {.sqlstate = "40001"};
	cr_assert_eq(fail(&err, E_CONFLICT, "%s is %d", "it", 4), E_CONFLICT);
	cr_assert_eq(err.status, E_CONFLICT);
	cr_assert_str_eq(err.text, "it is 4");
	cr_assert_str_eq(err.sqlstate, "");
	cr_assert_eq(fail(NULL, E_RETRY, "nobody reads this"), E_RETRY);
}

Test(error, may_quote_its_own_text)
{
	struct error err;
	(void)fail(&err, E_RETRY, "inner");
	(void)fail(&err, E_RETRY, "outer: %s", err.text);
	cr_assert_str_eq(err.text, "outer: inner");
}

Test(error, control_characters_and_broken_utf8_are_escaped)
{
	struct error err;
	(void)fail(&err, E_INVALID, "%s", "a\nb\tc\x1b[0m\x7f\xff\xc3é\xc2\x9b\xe2\x80\xa8\xe2\x80\xae\xef\xbb\xbf€😀");
	cr_assert_str_eq(err.text, "a\\nb\\tc\\x1b[0m\\x7f\\xff\\xc3é\\u009b\\u2028\\u202e\\ufeff€😀");
}

/* Nothing is cut within a character, whatever stands before it. */
Test(error, long_texts_are_cut_between_characters)
{
	static const char *const characters[] = {"x", "é", "€", "😀", "\n", "\xff", "\xe2\x80\xa8"};
	for (size_t i = 0; i < COUNT_OF(characters); i++)
		for (int before = 0; before < 8; before++) {
			char text[4000] = "";
			memset(text, 'a', (size_t)before);
			for (char *at = text + before; at < text + sizeof text - 10; at += strlen(characters[i]))
				memcpy(at, characters[i], strlen(characters[i]) + 1);
			struct error err;
			(void)fail(&err, E_INVALID, "%s", text);
			cr_expect_gt(strlen(err.text), sizeof err.text - 10);
			cr_expect_lt(strlen(err.text), sizeof err.text);
			const char *end = err.text + strlen(err.text);
			size_t length;
			const char *at = err.text;
			for (; at < end && (length = utf8_length(at, end)) > 0; at += length)
				cr_expect((unsigned char)*at >= 0x20);
			cr_expect_eq(at, end, "character %zu after %d", i, before);
		}
}

Test(error, names)
{
	cr_assert_str_eq(status_name(E_OK), "ok");
	cr_assert_str_eq(status_name(E_RETRY), "retry");
	cr_assert_str_eq(status_name(E_INVALID), "invalid");
	cr_assert_str_eq(status_name(E_CONFLICT), "conflict");
	cr_assert_str_eq(status_name(E_MISSING), "missing");
	cr_assert_str_eq(status_name(E_FATAL), "fatal");
}
