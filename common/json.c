#include "common/json.h"

#include <assert.h>
#include <string.h>

#include "common/json_text.h"

const char *json_kind_name(enum json_kind kind)
{
	switch (kind) {
	case JSON_NULL: return "null";
	case JSON_BOOL: return "boolean";
	case JSON_INTEGER: return "integer";
	case JSON_DOUBLE: return "fraction";
	case JSON_STRING: return "string";
	case JSON_ARRAY: return "array";
	case JSON_OBJECT: return "object";
	}
	return "unknown";
}

/* From behind the opening quote to the closing one. */
static const char *pass_string(const char *at, const char *end)
{
	for (const char *from = at;; from++) {
		from = memchr(from, '"', (size_t)(end - from));
		assert(from);
		const char *escapes = from;
		while (escapes > at && escapes[-1] == '\\')
			escapes--;
		if ((from - escapes) % 2 == 0)
			return from;
	}
}

static const char *pass_container(const char *at, const char *end)
{
	int depth = 0;
	for (; at < end; at++)
		switch (*at) {
		case '"': at = pass_string(at + 1, end); break;
		case '{': case '[': depth++; break;
		case '}': case ']':
			if (--depth == 0)
				return at + 1;
			break;
		default: break;
		}
	assert(at < end);
	return end;
}

static const char *pass_number(const char *at, const char *end, enum json_kind *kind)
{
	*kind = JSON_INTEGER;
	for (; at < end && *at != ',' && *at != '}' && *at != ']' && !json_is_space(*at); at++)
		if (*at == '.' || *at == 'e' || *at == 'E')
			*kind = JSON_DOUBLE;
	return at;
}

static const char *pass_value(const char *at, const char *end, struct json_value *value)
{
	value->text.start = at;
	switch (*at) {
	case '{': value->kind = JSON_OBJECT; at = pass_container(at, end); break;
	case '[': value->kind = JSON_ARRAY; at = pass_container(at, end); break;
	case '"': value->kind = JSON_STRING; at = pass_string(at + 1, end) + 1; break;
	case 't': value->kind = JSON_BOOL; at += 4; break;
	case 'f': value->kind = JSON_BOOL; at += 5; break;
	case 'n': value->kind = JSON_NULL; at += 4; break;
	default: at = pass_number(at, end, &value->kind); break;
	}
	value->text.length = (size_t)(at - value->text.start);
	return at;
}

struct json_iterator json_iterate(struct json_value container)
{
	if (container.kind != JSON_ARRAY && container.kind != JSON_OBJECT)
		return (struct json_iterator){NULL, NULL};
	return (struct json_iterator){container.text.start + 1, container.text.start + container.text.length - 1};
}

/* To the next member or element; false at the end. */
static bool advance(struct json_iterator *iterator)
{
	iterator->at = json_pass_space(iterator->at, iterator->end);
	if (iterator->at < iterator->end && *iterator->at == ',')
		iterator->at = json_pass_space(iterator->at + 1, iterator->end);
	return iterator->at < iterator->end;
}

size_t json_levels_max(struct slice text)
{
	size_t count = 0;
	for (size_t i = 0; i < text.length; i++)
		count += text.start[i] == '[' || text.start[i] == '{';
	return count;
}

bool json_is_empty(struct json_value value)
{
	struct json_iterator iterator = json_iterate(value);
	return !advance(&iterator);
}

bool json_next_element(struct json_iterator *iterator, struct json_value *element)
{
	if (!advance(iterator))
		return false;
	iterator->at = pass_value(iterator->at, iterator->end, element);
	return true;
}

bool json_next_member(struct json_iterator *iterator, struct json_member *member)
{
	if (!advance(iterator))
		return false;
	member->key.start = iterator->at + 1;
	const char *quote = pass_string(member->key.start, iterator->end);
	member->key.length = (size_t)(quote - member->key.start);
	const char *colon = json_pass_space(quote + 1, iterator->end);
	iterator->at = pass_value(json_pass_space(colon + 1, iterator->end), iterator->end, &member->value);
	return true;
}

static OUT_OF_LINE bool resolved_key_is(struct slice key, const char *name)
{
	struct json_resolver resolver = {.at = key.start, .end = key.start + key.length};
	for (const char *at = name; *at; at++)
		if (json_resolver_next(&resolver) != (unsigned char)*at)
			return false;
	return json_resolver_next(&resolver) < 0;
}

bool json_key_is(struct slice key, const char *name)
{
	if (key.length > 0 && key.start[0] != name[0] && key.start[0] != '\\')
		return false;
	return memchr(key.start, '\\', key.length) ? resolved_key_is(key, name) : slice_is(key, name);
}

bool json_find(struct json_value object, const char *name, struct json_value *found)
{
	struct json_iterator members = json_iterate(object);
	struct json_member member;
	if (object.kind == JSON_OBJECT)
		while (json_next_member(&members, &member))
			if (json_key_is(member.key, name)) {
				*found = member.value;
				return true;
			}
	*found = (struct json_value){JSON_NULL, {"", 0}};
	return false;
}

static struct slice unquoted(struct json_value string)
{
	assert(string.kind == JSON_STRING);
	return (struct slice){string.text.start + 1, string.text.length - 2};
}

void json_add_string(struct buffer *out, struct json_value string)
{
	struct slice text = unquoted(string);
	const char *at = text.start;
	const char *end = at + text.length;
	while (at < end) {
		const char *escape = memchr(at, '\\', (size_t)(end - at));
		const char *plain_end = escape ? escape : end;
		buffer_add(out, at, (size_t)(plain_end - at));
		at = plain_end;
		if (escape) {
			char bytes[4];
			size_t length = json_resolve_escape(&at, end, bytes);
			buffer_add(out, bytes, length);
		}
	}
}

void json_add_member(struct buffer *out, char before, const struct json_member *member)
{
	const char *start = member->key.start - 1;
	buffer_add_char(out, before);
	buffer_add(out, start, (size_t)(member->value.text.start + member->value.text.length - start));
}

void json_add_compact(struct buffer *out, struct json_value value)
{
	bool in_string = false;
	const char *end = value.text.start + value.text.length;
	for (const char *at = value.text.start; at < end; at++) {
		if (in_string || !json_is_space(*at))
			buffer_add_char(out, *at);
		if (in_string && *at == '\\')
			buffer_add_char(out, *++at);
		else if (*at == '"')
			in_string = !in_string;
	}
}

struct slice json_string(struct json_value string, struct buffer *scratch)
{
	struct slice text = unquoted(string);
	if (!memchr(text.start, '\\', text.length))
		return text;
	size_t start = scratch->length;
	json_add_string(scratch, string);
	return (struct slice){scratch->bytes + start, scratch->length - start};
}

/* Its quotes stand around it in the text. */
struct slice json_key_text(struct slice key, struct buffer *scratch)
{
	buffer_reset(scratch);
	return json_string((struct json_value){JSON_STRING, {key.start - 1, key.length + 2}}, scratch);
}

bool json_int64(struct json_value value, int64_t *number)
{
	if (value.kind != JSON_INTEGER)
		return false;
	const char *at = value.text.start;
	const char *end = at + value.text.length;
	bool negative = *at == '-';
	uint64_t sum = 0;
	for (at += negative; at < end; at++)
		sum = sum * 10 + (uint64_t)(*at - '0');
	*number = (int64_t)(negative ? 0 - sum : sum);
	return true;
}
