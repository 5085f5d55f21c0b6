#include "common/uuid_text.h"

#include <stdint.h>
#include <string.h>

#define IS_DIGIT 0x10

/* The value of a hexadecimal digit, with IS_DIGIT. */
static const uint8_t digits[256] = {
	['0'] = 0x10, ['1'] = 0x11, ['2'] = 0x12, ['3'] = 0x13, ['4'] = 0x14, ['5'] = 0x15, ['6'] = 0x16, ['7'] = 0x17, ['8'] = 0x18, ['9'] = 0x19,
	['a'] = 0x1a, ['b'] = 0x1b, ['c'] = 0x1c, ['d'] = 0x1d, ['e'] = 0x1e, ['f'] = 0x1f,
	['A'] = 0x1a, ['B'] = 0x1b, ['C'] = 0x1c, ['D'] = 0x1d, ['E'] = 0x1e, ['F'] = 0x1f,
};

bool uuid_text_read(struct slice text, uuid_t uuid)
{
	const unsigned char *at = (const unsigned char *)text.start;
	if (text.length != UUID_STR_LEN - 1 || at[8] != '-' || at[13] != '-' || at[18] != '-' || at[23] != '-')
		return false;
	uuid_t read;
	unsigned all = IS_DIGIT;
	for (size_t i = 0; i < sizeof read; i++, at += 2) {
		at += i == 4 || i == 6 || i == 8 || i == 10; /* a dash */
		unsigned high = digits[at[0]], low = digits[at[1]];
		all &= high & low;
		read[i] = (uint8_t)(high << 4 | (low & 0xF));
	}
	if (!all)
		return false;
	memcpy(uuid, read, sizeof read);
	return true;
}
