#include "common/uuid_text.h"

#include <criterion/criterion.h>

#define GOOD "01a20a91-1f44-71a7-95F4-e2baBADE81cd"

/* Whatever the text, the verdict and the bytes are libuuid's, and a uuid that was not read is what it was. */
static bool as_libuuid(const char *text, size_t length)
{
	uuid_t ours, theirs;
	memset(ours, 7, sizeof ours);
	memset(theirs, 7, sizeof theirs);
	bool read = uuid_text_read((struct slice){text, length}, ours);
	cr_expect_eq(read, uuid_parse_range(text, text + length, theirs) == 0, "%.*s", (int)length, text);
	cr_expect_arr_eq(ours, theirs, sizeof ours, "%.*s", (int)length, text);
	return read;
}

Test(uuid_text, digits_of_either_case)
{
	const uuid_t expected = {0x01, 0xa2, 0x0a, 0x91, 0x1f, 0x44, 0x71, 0xa7, 0x95, 0xf4, 0xe2, 0xba, 0xba, 0xde, 0x81, 0xcd};
	uuid_t uuid;
	cr_assert(uuid_text_read(slice_of(GOOD), uuid));
	cr_assert_arr_eq(uuid, expected, sizeof uuid);
	cr_assert(as_libuuid("00000000-0000-0000-0000-000000000000", 36));
	cr_assert(as_libuuid("FFFFFFFF-ffff-FFFF-ffff-FFFFFFFFFFFF", 36));
}

Test(uuid_text, each_byte_at_each_place)
{
	char text[] = GOOD;
	for (size_t place = 0; place < sizeof text - 1; place++) {
		char kept = text[place];
		int accepted = 0;
		for (int byte = 0; byte < 256; byte++) {
			text[place] = (char)byte;
			accepted += as_libuuid(text, sizeof text - 1);
		}
		cr_expect_eq(accepted, kept == '-' ? 1 : 22, "place %zu", place);
		text[place] = kept;
	}
}

Test(uuid_text, other_lengths_and_dashes_elsewhere)
{
	const char *const texts[] = {"", "0", "{" GOOD "}", GOOD "0", " " GOOD, "01a20a911f4471a795f4e2babade81cd", "01a20a911f4471a795f4e2babade81cd0000",
		"01a20a9-11f44-71a7-95f4-e2babade81cd", "01a20a911-f44-71a7-95f4-e2babade81cd", "0x1a20a9-1f44-71a7-95f4-e2babade81cd", "-1a20a91-1f44-71a7-95f4-e2babade81cd"};
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
		cr_expect_not(as_libuuid(texts[i], strlen(texts[i])), "%s", texts[i]);
	for (size_t length = 0; length < sizeof GOOD - 1; length++)
		cr_expect_not(as_libuuid(GOOD, length), "%zu bytes", length);
}
