#pragma once

/* What commands read: files, standard input for "-", and lists of operation ids. */

#include "common/buffer.h"
#include "common/error.h"

/*
 * Adds the whole of `path` ("-": standard input). E_INVALID: not readable, or longer than `bytes_max`, of
 * which no more than that is read.
 */
MUST_USE enum status input_read(const char *path, size_t bytes_max, struct buffer *out, struct error *err);

/*
 * Writes the operation ids of the arguments ("-": one a line from standard input) as the text of a PostgreSQL uuid[].
 * `count` is how many. E_INVALID: one of them is not a uuid, there is none, or more than 10,000.
 */
MUST_USE enum status input_ids(char *const *arguments, int argument_count, struct buffer *array, int *count, struct error *err);

/* The same for numbers of dead letters, as the text of a bigint[]; none is no error. */
MUST_USE enum status input_numbers(char *const *arguments, int argument_count, struct buffer *array, struct error *err);

/* Copies the id number `index` out of such an array. */
#define INPUT_ID_LENGTH 36
void input_id(const struct buffer *array, int index, char id[INPUT_ID_LENGTH + 1]);
