#include "worker/retval.h"

#include <stdlib.h>
#include <uthash.h>

#include "common/memory.h"

struct retval_member {
	UT_hash_handle hh; /* keeps the order of insertion */
	bool placed;  /* stands already where a previous key stood */
	bool carried; /* only carried on from what came before */
	char *value;
	size_t value_length;
	size_t key_length;
	char key[];
};

void retval_clear(struct retval *retval)
{
	struct retval_member *member, *next;
	HASH_ITER(hh, retval->members, member, next) {
		HASH_DEL(retval->members, member);
		free(member->value);
		free(member);
	}
}

static struct retval_member *find(const struct retval *retval, struct slice key)
{
	struct retval_member *member;
	HASH_FIND(hh, retval->members, key.start, key.length, member);
	return member;
}

static struct retval_member *insert(struct retval *retval, struct slice key)
{
	struct retval_member *member = xcalloc(1, sizeof *member + key.length + 1);
	memcpy(member->key, key.start, key.length);
	member->key_length = key.length;
	HASH_ADD_KEYPTR(hh, retval->members, member->key, member->key_length, member);
	return member;
}

static void add_comma(struct buffer *out, bool *first)
{
	if (!*first)
		buffer_add_char(out, ',');
	*first = false;
}

void retval_put(struct retval *retval, struct slice key, struct slice value)
{
	struct retval_member *member = find(retval, key);
	if (!member)
		member = insert(retval, key);
	free(member->value);
	member->value = xstrndup(value.start, value.length);
	member->value_length = value.length;
	member->carried = false;
}

bool retval_get(const struct retval *retval, const char *key, struct slice *value)
{
	const struct retval_member *member = retval->members ? find(retval, slice_of(key)) : NULL;
	if (member)
		*value = (struct slice){member->value, member->value_length};
	return member != NULL;
}

void retval_add(struct retval *retval, const struct retval *other)
{
	for (struct retval_member *member = other->members; member; member = member->hh.next)
		retval_put(retval, (struct slice){member->key, member->key_length}, (struct slice){member->value, member->value_length});
}

void retval_carry(struct retval *retval, struct json_value previous)
{
	struct retval own = *retval;
	struct buffer scratch CLEANUP(buffer_clear) = {0};
	struct json_iterator members = json_iterate(previous);
	struct json_member member;
	retval->members = NULL;
	while (json_next_member(&members, &member)) {
		struct slice key = json_key_text(member.key, &scratch);
		struct retval_member *newer = find(&own, key);
		retval_put(retval, key, newer ? (struct slice){newer->value, newer->value_length} : member.value.text);
		find(retval, key)->carried = !newer || newer->carried;
	}
	for (struct retval_member *newer = own.members; newer; newer = newer->hh.next)
		retval_put(retval, (struct slice){newer->key, newer->key_length}, (struct slice){newer->value, newer->value_length});
	retval_clear(&own);
}

void retval_unmark(struct retval *retval)
{
	for (struct retval_member *member = retval->members; member; member = member->hh.next)
		member->carried = false;
}

void retval_add_carried(struct buffer *out, const struct retval *retval)
{
	bool first = true;
	for (struct retval_member *member = retval->members; member; member = member->hh.next) {
		if (!member->carried)
			continue;
		add_comma(out, &first);
		buffer_add_json_string(out, (struct slice){member->key, member->key_length});
	}
}

void retval_update(struct retval *retval, struct json_value object)
{
	struct buffer scratch CLEANUP(buffer_clear) = {0};
	struct json_iterator members = json_iterate(object);
	struct json_member member;
	while (json_next_member(&members, &member))
		retval_put(retval, json_key_text(member.key, &scratch), member.value.text);
}

size_t retval_levels_max(const struct retval *retval)
{
	size_t levels = 0;
	for (struct retval_member *member = retval->members; member; member = member->hh.next)
		levels += json_levels_max((struct slice){member->value, member->value_length});
	return levels;
}

static void add_quoted(struct buffer *out, struct slice key)
{
	buffer_add_char(out, '"');
	buffer_add_slice(out, key);
	buffer_add_char(out, '"');
}

/* The previous members, with the own value where there is one. */
static void add_previous(struct buffer *out, struct buffer *inherited, struct json_value previous, const struct retval *own, bool *first)
{
	struct buffer scratch CLEANUP(buffer_clear) = {0};
	struct json_iterator members = json_iterate(previous);
	struct json_member member;
	bool first_inherited = true;
	while (json_next_member(&members, &member)) {
		struct retval_member *newer = own->members ? find(own, json_key_text(member.key, &scratch)) : NULL;
		add_comma(out, first);
		add_quoted(out, member.key);
		buffer_add_char(out, ':');
		if (newer) {
			newer->placed = true;
			buffer_add(out, newer->value, newer->value_length);
			continue;
		}
		buffer_add_slice(out, member.value.text);
		add_comma(inherited, &first_inherited);
		add_quoted(inherited, member.key);
	}
}

static void add_new(struct buffer *out, const struct retval *own, bool *first)
{
	for (struct retval_member *member = own->members; member; member = member->hh.next) {
		if (member->placed)
			continue;
		add_comma(out, first);
		buffer_add_json_string(out, (struct slice){member->key, member->key_length});
		buffer_add_char(out, ':');
		buffer_add(out, member->value, member->value_length);
	}
}

void retval_add_sum(struct buffer *out, struct buffer *inherited, struct json_value previous, const struct retval *own)
{
	for (struct retval_member *member = own->members; member; member = member->hh.next)
		member->placed = false;
	bool first = true;
	buffer_add_char(out, '{');
	if (previous.kind == JSON_OBJECT)
		add_previous(out, inherited, previous, own, &first);
	add_new(out, own, &first);
	buffer_add_char(out, '}');
}
