#include "cli/output.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <wchar.h>

/* Tables are for looking; the JSON formats have all of it. */
#define CELL_BYTES_MAX 400

/* Types of PostgreSQL whose text is JSON as it stands. */
enum {
	TYPE_BOOL = 16,
	TYPE_INT8 = 20,
	TYPE_INT2 = 21,
	TYPE_INT4 = 23,
	TYPE_JSON = 114,
	TYPE_NUMERIC = 1700,
	TYPE_JSONB = 3802,
};

void output_write(struct buffer *text)
{
	fwrite(text->bytes ? text->bytes : "", 1, text->length, stdout);
	buffer_reset(text);
}

/* Marks that turn the direction of a text around could make it read as something else. */
static bool is_deceptive(wchar_t letter)
{
	return (letter >= 0x200e && letter <= 0x200f) || (letter >= 0x2028 && letter <= 0x202e) || (letter >= 0x2066 && letter <= 0x2069);
}

static size_t add_escape(struct buffer *out, const char *bytes, size_t length)
{
	static const char plain[] = "\n\r\t", names[] = "nrt";
	const char *named = length == 1 && bytes[0] ? strchr(plain, bytes[0]) : NULL;
	if (named) {
		buffer_printf(out, "\\%c", names[named - plain]);
		return 2;
	}
	for (size_t i = 0; i < length; i++)
		buffer_printf(out, "\\x%02x", (unsigned)(unsigned char)bytes[i]);
	return 4 * length;
}

size_t output_add_printable(struct buffer *out, struct slice text)
{
	size_t columns = 0;
	mbstate_t state = {0};
	for (size_t at = 0, length; at < text.length; at += length) {
		wchar_t letter = 0;
		length = mbrtowc(&letter, text.start + at, text.length - at, &state);
		if (length == 0 || length > text.length - at) {
			memset(&state, 0, sizeof state);
			length = 1;
			columns += add_escape(out, text.start + at, 1);
			continue;
		}
		int width = wcwidth(letter);
		if (width < 0 || is_deceptive(letter)) {
			columns += add_escape(out, text.start + at, length);
			continue;
		}
		buffer_add(out, text.start + at, length);
		columns += (size_t)width;
	}
	return columns;
}

static struct slice value_of(const PGresult *rows, int row, int column)
{
	return (struct slice){PQgetvalue(rows, row, column), (size_t)PQgetlength(rows, row, column)};
}

static void add_json_value(struct buffer *out, const PGresult *rows, int row, int column)
{
	struct slice value = value_of(rows, row, column);
	if (PQgetisnull(rows, row, column)) {
		buffer_add_text(out, "null");
		return;
	}
	switch (PQftype(rows, column)) {
	case TYPE_BOOL:
		buffer_add_text(out, slice_is(value, "t") ? "true" : "false");
		return;
	case TYPE_INT8:
	case TYPE_INT2:
	case TYPE_INT4:
	case TYPE_NUMERIC:
	case TYPE_JSON:
	case TYPE_JSONB:
		buffer_add_slice(out, value);
		return;
	default:
		buffer_add_json_string(out, value);
	}
}

void output_add_object(struct buffer *out, const PGresult *rows, int row)
{
	for (int column = 0; column < PQnfields(rows); column++) {
		buffer_add_char(out, column ? ',' : '{');
		buffer_add_json_string(out, slice_of(PQfname(rows, column)));
		buffer_add_char(out, ':');
		add_json_value(out, rows, row, column);
	}
	buffer_add_char(out, '}');
}

/* A time is a JSON string: "2026-01-31T12:34:56.789+00:00". */
static struct slice to_the_second(struct slice time)
{
	const size_t length = strlen("2026-01-31T12:34:56");
	return time.length > length ? (struct slice){time.start + 1, length} : time;
}

/* The line end of what a command said is no news; the rest may be too long to look at. */
static size_t add_cut(struct buffer *out, struct slice text, size_t bytes_max)
{
	if (text.length > 1 && text.start[text.length - 1] == '\n')
		text.length--;
	size_t length = text.length;
	if (length <= bytes_max)
		return output_add_printable(out, text);
	for (length = bytes_max; length > 0 && ((unsigned char)text.start[length] & 0xc0) == 0x80;)
		length--;
	size_t width = output_add_printable(out, (struct slice){text.start, length});
	buffer_add_text(out, "…");
	return width + 1;
}

/* Adds the cell as a table shows it; returns its width. */
static size_t add_cell(struct buffer *out, const PGresult *rows, int row, const struct column *column)
{
	int number = PQfnumber(rows, column->name);
	if (number < 0 || PQgetisnull(rows, row, number) || PQgetlength(rows, row, number) == 0) {
		buffer_add_char(out, '-');
		return 1;
	}
	struct slice value = value_of(rows, row, number);
	if (PQftype(rows, number) == TYPE_BOOL)
		value = slice_of(slice_is(value, "t") ? "yes" : "no");
	if (column->cell != CELL_TIME)
		return add_cut(out, value, column->bytes_max ? column->bytes_max : CELL_BYTES_MAX);
	size_t start = out->length, width = output_add_printable(out, to_the_second(value));
	char *separator = memchr(out->bytes + start, 'T', out->length - start);
	if (separator)
		*separator = ' ';
	return width;
}

static void add_spaces(struct buffer *out, size_t count)
{
	memset(buffer_reserve(out, count), ' ', count);
	out->length += count;
	out->bytes[out->length] = '\0';
}

/* The table is laid out twice: once to measure, once to write. */
static void measure(struct output *output, const PGresult *rows)
{
	struct buffer scratch CLEANUP(buffer_clear) = {0};
	for (size_t column = 0; column < output->column_count; column++) {
		size_t widest = strlen(output->columns[column].heading);
		for (int row = 0; row < PQntuples(rows); row++) {
			size_t width = add_cell(&scratch, rows, row, &output->columns[column]);
			widest = width > widest ? width : widest;
			buffer_reset(&scratch);
		}
		output->widths[column] = widest > output->widths[column] ? widest : output->widths[column];
	}
}

/* Puts a cell that is already at the end of `out` into its place. */
static void pad_cell(struct buffer *out, size_t start, size_t width, size_t full, const struct column *column, bool last)
{
	size_t missing = full > width ? full - width : 0;
	if (column->cell == CELL_NUMBER) {
		size_t length = out->length - start;
		add_spaces(out, missing);
		memmove(out->bytes + start + missing, out->bytes + start, length);
		memset(out->bytes + start, ' ', missing);
	} else if (!last) {
		add_spaces(out, missing);
	}
	buffer_add_text(out, last ? "\n" : "  ");
}

static void add_headings(struct buffer *out, const struct output *output)
{
	for (size_t i = 0; i < output->column_count; i++) {
		size_t start = out->length;
		buffer_add_text(out, output->columns[i].heading);
		pad_cell(out, start, out->length - start, output->widths[i], &output->columns[i], i + 1 == output->column_count);
	}
}

static void write_table(struct output *output, const PGresult *rows)
{
	struct buffer text CLEANUP(buffer_clear) = {0};
	measure(output, rows);
	if (output->rows == 0)
		add_headings(&text, output);
	for (int row = 0; row < PQntuples(rows); row++) {
		for (size_t i = 0; i < output->column_count; i++) {
			size_t start = text.length, width = add_cell(&text, rows, row, &output->columns[i]);
			pad_cell(&text, start, width, output->widths[i], &output->columns[i], i + 1 == output->column_count);
		}
		output_write(&text);
	}
	output_write(&text);
}

static void write_objects(struct output *output, const PGresult *rows)
{
	static const struct {
		const char *first, *next, *after;
	} around[] = {[OUTPUT_JSON] = {"\n", ",\n", ""}, [OUTPUT_JSONL] = {"", "", "\n"}, [OUTPUT_PART] = {"", ",", ""}};
	struct buffer text CLEANUP(buffer_clear) = {0};
	for (int row = 0; row < PQntuples(rows); row++) {
		bool first = output->rows + (size_t)row == 0;
		buffer_add_text(&text, first ? around[output->format].first : around[output->format].next);
		output_add_object(&text, rows, row);
		buffer_add_text(&text, around[output->format].after);
		output_write(&text);
	}
}

static void write_ids(const PGresult *rows)
{
	struct buffer text CLEANUP(buffer_clear) = {0};
	for (int row = 0; row < PQntuples(rows); row++) {
		output_add_printable(&text, value_of(rows, row, 0));
		buffer_add_char(&text, '\n');
		output_write(&text);
	}
}

void output_begin(struct output *output, enum output_format format, const struct column *columns, size_t column_count)
{
	assert(column_count <= OUTPUT_COLUMNS_MAX);
	*output = (struct output){.format = format, .columns = columns, .column_count = column_count};
	if (format == OUTPUT_JSON || format == OUTPUT_PART)
		fputs("[", stdout);
}

void output_rows(struct output *output, const PGresult *rows)
{
	switch (output->format) {
	case OUTPUT_TABLE:
		write_table(output, rows);
		break;
	case OUTPUT_JSON:
	case OUTPUT_JSONL:
	case OUTPUT_PART:
		write_objects(output, rows);
		break;
	case OUTPUT_IDS:
		write_ids(rows);
		break;
	}
	output->rows += (size_t)PQntuples(rows);
}

void output_end(struct output *output)
{
	if (output->format == OUTPUT_JSON)
		fputs(output->rows ? "\n]\n" : "]\n", stdout);
	else if (output->format == OUTPUT_PART)
		fputs("]", stdout);
}

void output_record(const PGresult *rows, int row, const struct column *columns, size_t column_count)
{
	struct buffer text CLEANUP(buffer_clear) = {0};
	size_t widest = 0;
	for (size_t i = 0; i < column_count; i++)
		widest = strlen(columns[i].heading) > widest ? strlen(columns[i].heading) : widest;
	for (size_t i = 0; i < column_count; i++) {
		int number = PQfnumber(rows, columns[i].name);
		if (number < 0 || PQgetisnull(rows, row, number) || PQgetlength(rows, row, number) == 0)
			continue;
		buffer_add_text(&text, columns[i].heading);
		add_spaces(&text, widest + 2 - strlen(columns[i].heading));
		add_cell(&text, rows, row, &columns[i]);
		buffer_add_char(&text, '\n');
	}
	output_write(&text);
}
