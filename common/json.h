#pragma once

/*
 * The strict JSON scanner that every byte from outside passes (RFC 8259): no duplicate keys at any
 * depth (compared after their escapes are resolved), valid UTF-8, no lone surrogate, no NUL (also
 * not as \u0000), integers within int64, doubles finite, at most JSON_DEPTH_MAX levels, nothing
 * after the value. One pass, no tree: values are slices of the text.
 *
 * The iterators below trust their input: only give them values that json_validate has passed.
 * All of it is free of state and may be used by any thread.
 */

#include <stdbool.h>
#include <stdint.h>

#include "common/buffer.h"
#include "common/error.h"
#include "common/slice.h"

enum json_kind { JSON_NULL, JSON_BOOL, JSON_INTEGER, JSON_DOUBLE, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

struct json_value {
	enum json_kind kind;
	struct slice text; /* as it stands in the input: strings with their quotes and escapes */
};

struct json_member {
	struct slice key; /* between the quotes, escapes unresolved */
	struct json_value value;
};

/*
 * Checks all of `text`. E_OK: `root` (may be NULL) is the value. E_INVALID: `err` names the place
 * (byte offset, and the path of keys as far as it is known), what is wrong and the limit; at most
 * a few bytes of the input are repeated, escaped. Longer than `bytes_max`: E_INVALID at once.
 */
MUST_USE enum status json_validate(struct slice text, size_t bytes_max, struct json_value *root, struct error *err);

/* A member that is known by its name. */
struct json_field {
	struct slice name;
	const struct json_form *form; /* what is known of its own members when it is an object; may be NULL */

	/* What its value must be, for whoever uses the value. */
	enum json_kind kind;
	bool null;        /* may also be null */
	int64_t min, max; /* of an integer */
};

/* What is known of an object. */
struct json_form {
	const struct json_field *fields;
	size_t count; /* not 0 */
	size_t place; /* among the values of json_read: the first field's */
};

/*
 * json_validate that hands out the values of fields on its way: those of `form` when the root is an object, of their forms, and so on.
 * In `values` those of fields that are not there stay what they were. When it is not E_OK, some are set all the same.
 */
MUST_USE enum status json_read(struct slice text, size_t bytes_max, const struct json_form *form, struct json_value *values, struct json_value *root,
	struct error *err);

/* Members of an object, elements of an array, in their order. */
struct json_iterator {
	const char *at;
	const char *end;
};
struct json_iterator json_iterate(struct json_value container);
bool json_next_member(struct json_iterator *iterator, struct json_member *member);
bool json_next_element(struct json_iterator *iterator, struct json_value *element);

/* The opening brackets and braces in a text, those in strings too: no value in it has more levels than that. */
size_t json_levels_max(struct slice text);

/* Whether a value has no members and no elements. */
bool json_is_empty(struct json_value value);

/* The member of that name; `found->kind` is JSON_NULL with an empty text when there is none (returns false). */
bool json_find(struct json_value object, const char *name, struct json_value *found);

/* Whether a key (escapes unresolved) says `name`. */
bool json_key_is(struct slice key, const char *name);

/* Adds the resolved text of a string value (UTF-8, without quotes). */
void json_add_string(struct buffer *out, struct json_value string);

/* Adds a member as it stands in its object, behind `before` ('{' or ','). */
void json_add_member(struct buffer *out, char before, const struct json_member *member);

/* Adds a value as it stands, but for the white space between its tokens. */
void json_add_compact(struct buffer *out, struct json_value value);

/* The resolved text of a string value: a slice of the input when it has no escape, else added to
 * `scratch` (whose memory may move with the next use: take slices when all are added, or use one each). */
struct slice json_string(struct json_value string, struct buffer *scratch);

/* The same for a member's key, in an emptied `scratch`. */
struct slice json_key_text(struct slice key, struct buffer *scratch);

/* An integer's value; false when the value is not of kind JSON_INTEGER. */
bool json_int64(struct json_value value, int64_t *number);

const char *json_kind_name(enum json_kind kind);
