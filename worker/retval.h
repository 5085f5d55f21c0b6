#pragma once

/*
 * The retval of a result while a task makes it: keys with JSON values, in the order of their first
 * coming, the last value counts. Any number of keys at a constant cost each. A zeroed struct is
 * empty. One thread.
 */

#include <stdbool.h>

#include "common/buffer.h"
#include "common/json.h"

struct retval_member; /* opaque */

struct retval {
	struct retval_member *members;
};

void retval_clear(struct retval *retval);

/* `key`: plain text, valid UTF-8; `value`: one valid JSON value. Both are copied. */
void retval_put(struct retval *retval, struct slice key, struct slice value);

/* The value of a key, valid until it is put anew; false when there is none. */
bool retval_get(const struct retval *retval, const char *key, struct slice *value);

/* Puts all members of another one. */
void retval_add(struct retval *retval, const struct retval *other);

/* Puts the members of `previous` (an object) before the own ones, which update them; those that only `previous` has are marked as carried. */
void retval_carry(struct retval *retval, struct json_value previous);

/* Takes all marks away. */
void retval_unmark(struct retval *retval);

/* Adds the marked keys as the elements of a JSON array, without its brackets. */
void retval_add_carried(struct buffer *out, const struct retval *retval);

/* No value has more levels of arrays and objects than that (json_levels_max). */
size_t retval_levels_max(const struct retval *retval);

/* Puts all members of an object that json_validate has passed. */
void retval_update(struct retval *retval, struct json_value object);

/*
 * Adds the object {…} of `previous` (an object, or JSON_NULL for none) updated by `own`: previous keys keep their place. The keys that
 * only `previous` has are added to `inherited` as the elements of a JSON array, without its brackets.
 */
void retval_add_sum(struct buffer *out, struct buffer *inherited, struct json_value previous, const struct retval *own);
