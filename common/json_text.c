#include "common/json_text.h"

static size_t utf8_encode(uint32_t character, char bytes[4])
{
	if (character < 0x80) {
		bytes[0] = (char)character;
		return 1;
	}
	size_t length = character < 0x800 ? 2 : character < 0x10000 ? 3 : 4;
	for (size_t i = length - 1; i > 0; i--) {
		bytes[i] = (char)(0x80 | (character & 0x3F));
		character >>= 6;
	}
	bytes[0] = (char)((length == 2 ? 0xC0 : length == 3 ? 0xE0 : 0xF0) | character);
	return length;
}

size_t json_resolve_escape(const char **at, const char *end, char bytes[4])
{
	char letter = (*at)[1];
	*at += 2;
	switch (letter) {
	case 'b': bytes[0] = '\b'; return 1;
	case 'f': bytes[0] = '\f'; return 1;
	case 'n': bytes[0] = '\n'; return 1;
	case 'r': bytes[0] = '\r'; return 1;
	case 't': bytes[0] = '\t'; return 1;
	case 'u': break;
	default: bytes[0] = letter; return 1;
	}
	uint32_t character = (uint32_t)json_hex4(*at, end);
	*at += 4;
	if (json_is_high_surrogate((int)character)) {
		uint32_t low = (uint32_t)json_hex4(*at + 2, end);
		character = 0x10000 + ((character - 0xD800) << 10) + (low - 0xDC00);
		*at += 6;
	}
	return utf8_encode(character, bytes);
}

int json_resolver_next(struct json_resolver *resolver)
{
	if (resolver->next < resolver->count)
		return (unsigned char)resolver->bytes[resolver->next++];
	if (resolver->at == resolver->end)
		return -1;
	if (*resolver->at != '\\')
		return (unsigned char)*resolver->at++;
	resolver->count = json_resolve_escape(&resolver->at, resolver->end, resolver->bytes);
	resolver->next = 1;
	return (unsigned char)resolver->bytes[0];
}
