#include "common/utf8.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static bool continuation(unsigned char byte)
{
	return (byte & 0xC0) == 0x80;
}

size_t utf8_length(const char *at, const char *end)
{
	const unsigned char *byte = (const unsigned char *)at;
	size_t left = (size_t)(end - at);
	if (left == 0)
		return 0;
	if (byte[0] < 0x80)
		return 1;
	if (byte[0] < 0xC2 || left < 2 || !continuation(byte[1]))
		return 0;
	if (byte[0] < 0xE0)
		return 2;
	if (left < 3 || !continuation(byte[2]))
		return 0;
	if (byte[0] < 0xF0) {
		bool overlong = byte[0] == 0xE0 && byte[1] < 0xA0;
		bool surrogate = byte[0] == 0xED && byte[1] >= 0xA0;
		return overlong || surrogate ? 0 : 3;
	}
	if (byte[0] > 0xF4 || left < 4 || !continuation(byte[3]))
		return 0;
	bool overlong = byte[0] == 0xF0 && byte[1] < 0x90;
	bool too_high = byte[0] == 0xF4 && byte[1] >= 0x90;
	return overlong || too_high ? 0 : 4;
}

static size_t written(int length)
{
	return length < 0 ? 0 : (size_t)length;
}

static size_t visible_ascii(unsigned char byte, char room[UTF8_VISIBLE_MAX])
{
	static const char short_from[] = "\n\r\t";
	static const char short_to[] = "nrt";
	const char *found = byte ? strchr(short_from, byte) : NULL;
	if (found)
		return written(snprintf(room, UTF8_VISIBLE_MAX, "\\%c", short_to[found - short_from]));
	if (byte < 0x20 || byte == 0x7F)
		return written(snprintf(room, UTF8_VISIBLE_MAX, "\\x%02x", byte));
	room[0] = (char)byte;
	return 1;
}

static bool harmful(uint32_t character)
{
	return (character >= 0x80 && character < 0xA0) || (character >= 0x2028 && character <= 0x202E) ||
		(character >= 0x2066 && character <= 0x2069) || character == 0xFEFF;
}

size_t utf8_visible(const char **at, const char *end, char room[UTF8_VISIBLE_MAX])
{
	const unsigned char *byte = (const unsigned char *)*at;
	size_t length = utf8_length(*at, end);
	*at += length ? length : 1;
	if (length == 0)
		return written(snprintf(room, UTF8_VISIBLE_MAX, "\\x%02x", byte[0]));
	if (length == 1)
		return visible_ascii(byte[0], room);
	uint32_t character = length == 2 ? (byte[0] & 0x1Fu) << 6 | (byte[1] & 0x3Fu) :
		length == 3 ? (byte[0] & 0x0Fu) << 12 | (byte[1] & 0x3Fu) << 6 | (byte[2] & 0x3Fu) : 0x10000;
	if (harmful(character))
		return written(snprintf(room, UTF8_VISIBLE_MAX, "\\u%04x", (unsigned)character & 0xFFFFu));
	memcpy(room, byte, length);
	return length;
}
