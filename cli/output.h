#pragma once

/*
 * What commands print on stdout: rows as an aligned table for people, as JSON for programs, or
 * just their ids. Column names of the statement are the keys of the JSON; which of them a table
 * shows, and under which heading, is data of the command.
 *
 * Times and documents are json or jsonb in the statement, numbers and booleans have their own
 * types, all else is text. The first column is the id. Text in a table has its control characters
 * escaped: nothing that came from outside reaches a terminal as it is.
 */

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>

#include "common/buffer.h"
#include "common/slice.h"

enum output_format {
	OUTPUT_TABLE,
	OUTPUT_JSON,  /* one array, a row a line */
	OUTPUT_JSONL, /* an object a line */
	OUTPUT_IDS,   /* an id a line */
	OUTPUT_PART,  /* an array without line ends, as the value of a key; not for users to choose */
};

enum cell {
	CELL_TEXT,
	CELL_NUMBER, /* aligned to the right */
	CELL_TIME,   /* shown to the second, in the session's time zone */
};

struct column {
	const char *name;    /* in the result */
	const char *heading; /* in the table */
	enum cell cell;
	size_t bytes_max;    /* a longer text is cut in the table; 0: at 400 bytes */
};

/* A listing on its way out: begin, rows (as often as wanted), end. */
#define OUTPUT_COLUMNS_MAX 20
struct output {
	enum output_format format;
	const struct column *columns;
	size_t column_count;
	size_t widths[OUTPUT_COLUMNS_MAX]; /* of the rows so far */
	size_t rows; /* written so far */
};

void output_begin(struct output *output, enum output_format format, const struct column *columns, size_t column_count);
void output_rows(struct output *output, const PGresult *rows);
void output_end(struct output *output);

/* One row as lines "heading  value"; null values and empty texts are left out. */
void output_record(const PGresult *rows, int row, const struct column *columns, size_t column_count);

/* Adds one row as a JSON object in one line. */
void output_add_object(struct buffer *out, const PGresult *rows, int row);

/* Adds `text` with control characters and invalid UTF-8 escaped; returns the columns it takes on a terminal. */
size_t output_add_printable(struct buffer *out, struct slice text);

/* Writes to stdout and empties the buffer. */
void output_write(struct buffer *text);
