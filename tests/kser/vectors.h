#pragma once

/* The files of vectors, and the page that lists what differs. Messages of failures name the vector. */

#include <json-c/json.h>
#include <stdbool.h>

struct json_object *vectors_read(const char *family); /* the file's object; the caller puts it */
struct json_object *vectors_get(struct json_object *object, const char *key); /* NULL: absent or null */
const char *vectors_text(struct json_object *object, const char *key);        /* "" when absent */

/*
 * Calls `same` for each case, which returns NULL when it came out as in kser, else what differs first (kept until the next call), results
 * first. A case that docs/compatibility.md lists must differ, another one must not; in a row that says "the same result" only calls and log
 * lines may. The page must have counted as many as do not differ.
 */
void vectors_try(const char *family, const char *(*same)(struct json_object *vector));

/* What differs between two values, as "path: wanted … found …"; NULL: nothing. "<random>", "<uuid>" and stacks are anything; an absent value is null. */
const char *vectors_difference(const char *path, struct json_object *wanted, struct json_object *found);
