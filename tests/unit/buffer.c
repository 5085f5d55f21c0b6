#include "common/buffer.h"

#include <criterion/criterion.h>
#include <stdint.h>

static void expect(struct buffer *buffer, const char *text)
{
	cr_assert_str_eq(buffer_slice(buffer).start, text);
	cr_assert_eq(buffer->length, strlen(text));
	buffer_clear(buffer);
}

Test(buffer, empty_without_memory)
{
	struct buffer buffer = {0};
	cr_assert_str_eq(buffer_slice(&buffer).start, "");
	buffer_reset(&buffer);
	buffer_clear(&buffer);
	cr_assert_null(buffer.bytes);
}

Test(buffer, integers_of_all_sizes)
{
	struct buffer buffer = {0};
	const int64_t numbers[] = {0, -1, 9, 10, INT64_MAX, INT64_MIN};
	for (size_t i = 0; i < COUNT_OF(numbers); i++) {
		buffer_add_int(&buffer, numbers[i]);
		buffer_add_char(&buffer, ' ');
	}
	expect(&buffer, "0 -1 9 10 9223372036854775807 -9223372036854775808 ");
}

Test(buffer, keeps_its_memory_over_a_reset)
{
	struct buffer buffer = {0};
	buffer_add_text(&buffer, "one");
	const char *bytes = buffer.bytes;
	buffer_reset(&buffer);
	cr_assert_eq(buffer.length, 0);
	buffer_add_text(&buffer, "two");
	cr_assert_eq(buffer.bytes, bytes);
	expect(&buffer, "two");
}

Test(buffer, printf_longer_than_the_first_try)
{
	struct buffer buffer = {0};
	for (int i = 0; i < 3; i++)
		buffer_printf(&buffer, "%0*d", 1000, i);
	cr_assert_eq(buffer.length, 3000);
	cr_assert_eq(strlen(buffer.bytes), 3000);
	cr_assert_eq(buffer.bytes[1999], '1');
	buffer_clear(&buffer);
}

Test(buffer, reserve_gives_room_behind_the_present_bytes)
{
	struct buffer buffer = {0};
	buffer_add_text(&buffer, "abc");
	char *room = buffer_reserve(&buffer, 100000);
	memset(room, 'x', 100000);
	buffer.length += 100000;
	buffer.bytes[buffer.length] = '\0';
	cr_assert_eq(strncmp(buffer.bytes, "abcxx", 5), 0);
	buffer_clear(&buffer);
}

Test(buffer, json_string_escapes_what_must_be)
{
	struct buffer buffer = {0};
	buffer_add_json_string(&buffer, (struct slice){"a\"b\\c\n\r\t\b\f\x01\x1f\x7f\0z/é", 18});
	expect(&buffer, "\"a\\\"b\\\\c\\n\\r\\t\\b\\f\\u0001\\u001f\x7f\\u0000z/é\"");
}
