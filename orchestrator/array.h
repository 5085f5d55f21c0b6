#pragma once

/*
 * One-dimensional PostgreSQL arrays in their binary form, built element by element and given to a
 * prepared statement as one parameter. A zeroed struct is empty; array_begin keeps the memory of
 * the array before. Lives as long as its buffer is untouched. One thread.
 */

#include <stdbool.h>
#include <stdint.h>

#include "common/buffer.h"
#include "sql/connection.h"

enum array_type { ARRAY_BOOL, ARRAY_INT4, ARRAY_INT8, ARRAY_TEXT, ARRAY_JSON, ARRAY_JSONB, ARRAY_UUID };

struct array {
	enum array_type type;
	int32_t count;
	bool values; /* at least one element is not null */
	struct buffer bytes;
};

void array_begin(struct array *array, enum array_type type);
void array_clear(struct array *array);

void array_add_null(struct array *array);
void array_add_bool(struct array *array, bool value);
void array_add_int4(struct array *array, int32_t value);
void array_add_int8(struct array *array, int64_t value);
void array_add_bytes(struct array *array, struct slice value); /* text, json, jsonb as text; a uuid's 16 bytes */

/* Completes the header. `array` must outlive the parameter; no element may be added after. */
struct parameter array_parameter(struct array *array);

/* The same, but null where no element has a value. */
struct parameter array_parameter_or_null(struct array *array);

/* Single values in binary form; `room` keeps them (8 bytes). */
struct parameter parameter_int4(char room[8], int32_t value);
struct parameter parameter_int8(char room[8], int64_t value);
struct parameter parameter_bool(char room[8], bool value);
struct parameter parameter_uuid(const unsigned char uuid[16]);
struct parameter parameter_text(const char *text); /* NULL: null */
