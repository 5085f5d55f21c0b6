#include "cli/input.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include <uuid/uuid.h>

#include "common/limits.h"

/* An id (or number) and its line end, and some blanks. */
#define ID_INPUT_BYTES_MAX (IDS_MAX * 64)

static enum status read_all(int file, const char *path, size_t bytes_max, struct buffer *out, struct error *err)
{
	for (;;) {
		char *room = buffer_reserve(out, 65536);
		ssize_t got = read(file, room, 65536);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return fail(err, E_INVALID, "cannot read %.300s: %s", path, strerror(errno));
		out->length += (size_t)got;
		out->bytes[out->length] = '\0';
		if (out->length > bytes_max)
			return fail(err, E_INVALID, "%.300s is larger than the limit of %zu bytes", path, bytes_max);
		if (got == 0)
			return E_OK;
	}
}

enum status input_read(const char *path, size_t bytes_max, struct buffer *out, struct error *err)
{
	if (strcmp(path, "-") == 0)
		return read_all(STDIN_FILENO, "the input", bytes_max, out, err);
	int file = open(path, O_RDONLY | O_CLOEXEC);
	if (file < 0)
		return fail(err, E_INVALID, "cannot open %.300s: %s", path, strerror(errno));
	enum status status = read_all(file, path, bytes_max, out, err);
	close(file);
	return status;
}

static enum status add_id(struct buffer *array, const char *text, int *count, struct error *err)
{
	uuid_t id;
	char canonical[UUID_STR_LEN];
	if (uuid_parse(text, id))
		return fail(err, E_INVALID, "\"%.60s\" is not the id of an operation", text);
	if (*count == IDS_MAX)
		return fail(err, E_INVALID, "more than %d ids", IDS_MAX);
	uuid_unparse_lower(id, canonical);
	buffer_printf(array, "%s%s", *count ? "," : "", canonical);
	(*count)++;
	return E_OK;
}

static enum status add_number(struct buffer *array, const char *text, int *count, struct error *err)
{
	size_t length = strlen(text);
	if (length == 0 || length > 18 || strspn(text, "0123456789") != length)
		return fail(err, E_INVALID, "\"%.60s\" is not the number of a dead letter", text);
	if (*count == IDS_MAX)
		return fail(err, E_INVALID, "more than %d numbers", IDS_MAX);
	buffer_printf(array, "%s%s", *count ? "," : "", text);
	(*count)++;
	return E_OK;
}

typedef enum status add_word(struct buffer *array, const char *text, int *count, struct error *err);

static enum status add_input(struct buffer *array, add_word *add, int *count, struct error *err)
{
	struct buffer text CLEANUP(buffer_clear) = {0};
	enum status status = input_read("-", ID_INPUT_BYTES_MAX, &text, err);
	if (status)
		return status;
	if (strlen(text.bytes) != text.length)
		return fail(err, E_INVALID, "a NUL byte among the ids");
	char *rest = text.bytes;
	for (char *word; !status && (word = strsep(&rest, " \t\r\n"));)
		if (*word)
			status = add(array, word, count, err);
	return status;
}

static enum status add_arguments(char *const *arguments, int argument_count, struct buffer *array, add_word *add, int *count, struct error *err)
{
	enum status status = E_OK;
	*count = 0;
	buffer_add_char(array, '{');
	for (int i = 0; i < argument_count && !status; i++)
		status = strcmp(arguments[i], "-") == 0 ? add_input(array, add, count, err) : add(array, arguments[i], count, err);
	buffer_add_char(array, '}');
	return status;
}

enum status input_ids(char *const *arguments, int argument_count, struct buffer *array, int *count, struct error *err)
{
	enum status status = add_arguments(arguments, argument_count, array, add_id, count, err);
	if (!status && *count == 0)
		return fail(err, E_INVALID, "no operation id given");
	return status;
}

enum status input_numbers(char *const *arguments, int argument_count, struct buffer *array, struct error *err)
{
	int count;
	return add_arguments(arguments, argument_count, array, add_number, &count, err);
}

void input_id(const struct buffer *array, int index, char id[INPUT_ID_LENGTH + 1])
{
	size_t start = 1 + (size_t)index * (INPUT_ID_LENGTH + 1);
	assert(start + INPUT_ID_LENGTH < array->length);
	memcpy(id, array->bytes + start, INPUT_ID_LENGTH);
	id[INPUT_ID_LENGTH] = '\0';
}
