#pragma once

/* Reads rows in PostgreSQL's binary form. Slices borrow the result's memory. Null: 0 or an empty slice. */

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>
#include <uuid/uuid.h>

#include "common/slice.h"

bool row_null(const PGresult *result, int row, int column);
bool row_bool(const PGresult *result, int row, int column);
int32_t row_int4(const PGresult *result, int row, int column);
int64_t row_int8(const PGresult *result, int row, int column);
struct slice row_text(const PGresult *result, int row, int column);
void row_uuid(const PGresult *result, int row, int column, uuid_t uuid);

/* The elements of a one-dimensional int4[], at most `max` and none that is null; how many they are. */
int32_t row_int4_array(const PGresult *result, int row, int column, int32_t *values, int32_t max);
