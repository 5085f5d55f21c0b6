#include "common/sum.h"

#include <stdlib.h>
#include <uthash.h>

#include "common/memory.h"

/* A member of the right retval by its key, escapes resolved; in the order of their coming. */
struct addend {
	UT_hash_handle hh;
	struct json_member member;
	bool placed; /* stands already where a key of the left one stood */
	char key[];
};

static struct addend *addends_of(struct json_value retval)
{
	struct addend *addends = NULL;
	struct buffer scratch CLEANUP(buffer_clear) = {0};
	struct json_iterator members = json_iterate(retval);
	struct json_member member;
	while (json_next_member(&members, &member)) {
		struct slice key = json_key_text(member.key, &scratch);
		struct addend *addend = xcalloc(1, sizeof *addend + key.length + 1);
		memcpy(addend->key, key.start, key.length);
		addend->member = member;
		HASH_ADD_KEYPTR(hh, addends, addend->key, key.length, addend);
	}
	return addends;
}

static void addends_free(struct addend *addends)
{
	struct addend *addend, *next;
	HASH_ITER(hh, addends, addend, next) {
		HASH_DEL(addends, addend);
		free(addend);
	}
}

static void add_member(struct buffer *out, char before, const struct json_member *member)
{
	buffer_add_char(out, before);
	json_add_compact(out, (struct json_value){JSON_STRING, {member->key.start - 1, member->key.length + 2}});
	buffer_add_char(out, ':');
	json_add_compact(out, member->value);
}

/* The left members with the right values where there are any. */
static char add_left(struct buffer *out, char before, struct json_value left, struct addend *addends)
{
	struct buffer scratch CLEANUP(buffer_clear) = {0};
	struct json_iterator members = json_iterate(left);
	struct json_member member;
	while (json_next_member(&members, &member)) {
		struct slice key = json_key_text(member.key, &scratch);
		struct addend *addend;
		HASH_FIND(hh, addends, key.start, key.length, addend);
		if (addend)
			addend->placed = true;
		add_member(out, before, addend ? &addend->member : &member);
		before = ',';
	}
	return before;
}

static void add_retval(struct buffer *out, struct json_value left, struct json_value right)
{
	struct addend *addends = addends_of(right);
	char before = add_left(out, '{', left, addends);
	for (struct addend *addend = addends; addend; addend = addend->hh.next) {
		if (addend->placed)
			continue;
		add_member(out, before, &addend->member);
		before = ',';
	}
	if (before == '{')
		buffer_add_char(out, '{');
	buffer_add_char(out, '}');
	addends_free(addends);
}

static void add_stream(struct buffer *out, const char *key, struct json_value left, struct json_value right)
{
	static const size_t quotes = 2;
	buffer_add_text(out, key);
	buffer_add_slice(out, right.text.length > quotes ? right.text : left.text);
}

/* A Result always has a uuid: one that came without gets a random one, as in the Python library. */
static void add_uuid(struct buffer *out, struct json_value uuid)
{
	if (uuid.kind == JSON_STRING && uuid.text.length > 2) {
		buffer_add_slice(out, uuid.text);
		return;
	}
	uuid_t drawn;
	char text[UUID_STR_LEN];
	uuid_generate_random(drawn);
	uuid_unparse_lower(drawn, text);
	buffer_add_json_string(out, slice_of(text));
}

void sum_add(struct buffer *out, const struct result *left, const struct result *right)
{
	buffer_add_text(out, "{\"uuid\":");
	add_uuid(out, left->uuid);
	buffer_add_text(out, ",\"retcode\":");
	buffer_add_int(out, left->retcode > right->retcode ? left->retcode : right->retcode);
	add_stream(out, ",\"stdout\":", left->stdout_text, right->stdout_text);
	add_stream(out, ",\"stderr\":", left->stderr_text, right->stderr_text);
	buffer_add_text(out, ",\"retval\":");
	add_retval(out, left->retval, right->retval);
	buffer_add_char(out, '}');
}
