#include "worker/arguments.h"

#include <stdlib.h>

#include "common/buffer.h"
#include "common/memory.h"

void arguments_clear(struct arguments *arguments)
{
	for (size_t i = 0; i < arguments->count; i++)
		free(arguments->words[i]);
	free(arguments->words);
	*arguments = (struct arguments){0};
}

static void add_word(struct arguments *arguments, struct slice word)
{
	arguments->words = xrealloc(arguments->words, (arguments->count + 2) * sizeof arguments->words[0]);
	arguments->words[arguments->count++] = xstrndup(word.start, word.length);
	arguments->words[arguments->count] = NULL;
}

static bool is_blank(char byte)
{
	return byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r';
}

/* ---- splitting ---- */

static enum status read_single_quoted(const char **at, struct buffer *word, struct error *err)
{
	const char *end = strchr(*at, '\'');
	if (!end)
		return fail(err, E_INVALID, "a ' is not closed");
	buffer_add(word, *at, (size_t)(end - *at));
	*at = end + 1;
	return E_OK;
}

static enum status read_double_quoted(const char **at, struct buffer *word, struct error *err)
{
	for (; **at && **at != '"'; (*at)++) {
		if (**at == '\\' && ((*at)[1] == '"' || (*at)[1] == '\\'))
			(*at)++;
		buffer_add_char(word, **at);
	}
	if (!**at)
		return fail(err, E_INVALID, "a \" is not closed");
	(*at)++;
	return E_OK;
}

static enum status read_word(const char **at, struct buffer *word, struct error *err)
{
	while (**at && !is_blank(**at)) {
		char byte = *(*at)++;
		enum status status = E_OK;
		if (byte == '\'')
			status = read_single_quoted(at, word, err);
		else if (byte == '"')
			status = read_double_quoted(at, word, err);
		else if (byte == '\\' && !**at)
			status = fail(err, E_INVALID, "a backslash stands at the end");
		else
			buffer_add_char(word, byte == '\\' ? *(*at)++ : byte);
		if (status)
			return status;
	}
	return E_OK;
}

static enum status split(const char *text, struct arguments *arguments, struct error *err)
{
	struct buffer word CLEANUP(buffer_clear) = {0};
	for (const char *at = text;;) {
		while (is_blank(*at))
			at++;
		if (!*at)
			break;
		buffer_reset(&word);
		enum status status = read_word(&at, &word, err);
		if (status)
			return status;
		add_word(arguments, buffer_slice(&word));
	}
	if (arguments->count == 0 || !*arguments->words[0])
		return fail(err, E_INVALID, "names no program");
	return E_OK;
}

/* ---- placeholders ---- */

/*
 * The next piece of a word: literal text, or the name of a placeholder. False at the end, or at a placeholder
 * that is none, which leaves `at` on its brace.
 */
static bool next_piece(const char **at, struct slice *piece, bool *is_name)
{
	const char *start = *at;
	*is_name = start[0] == '{' && start[1] != '{';
	if (*is_name) {
		size_t length = strcspn(start + 1, "{}");
		if (length == 0 || start[1 + length] != '}')
			return false;
		*piece = (struct slice){start + 1, length};
		*at = start + length + 2;
		return true;
	}
	size_t length = start[0] == '{' ? 1 : strcspn(start, "{");
	*piece = (struct slice){start, length};
	*at = start + (start[0] == '{' ? 2 : length);
	return length > 0;
}

static enum status check(const char *word, struct error *err)
{
	struct slice piece;
	bool is_name;
	const char *at = word;
	while (next_piece(&at, &piece, &is_name))
		;
	if (*at)
		return fail(err, E_INVALID, "'%.100s' holds no placeholder: {name} stands for a parameter, {{ for a brace", at);
	return E_OK;
}

enum status arguments_parse(const char *text, struct arguments *arguments, struct error *err)
{
	*arguments = (struct arguments){0};
	enum status status = split(text, arguments, err);
	for (size_t i = 0; !status && i < arguments->count; i++)
		status = check(arguments->words[i], err);
	if (status)
		arguments_clear(arguments);
	return status;
}

static enum status add_parameter(struct buffer *word, struct slice name, struct json_value params, struct error *err)
{
	char *wanted CLEANUP(free_pointer) = xstrndup(name.start, name.length);
	struct json_value value;
	if (!json_find(params, wanted, &value))
		return fail(err, E_MISSING, "Missing parameter: %s", wanted);
	if (value.kind == JSON_STRING)
		json_add_string(word, value);
	else
		buffer_add_slice(word, value.text);
	return E_OK;
}

static enum status fill_word(const char *template, struct json_value params, struct buffer *word, struct error *err)
{
	struct slice piece;
	bool is_name;
	enum status status = E_OK;
	while (!status && next_piece(&template, &piece, &is_name)) {
		if (is_name)
			status = add_parameter(word, piece, params, err);
		else
			buffer_add_slice(word, piece);
	}
	return status;
}

enum status arguments_fill(const struct arguments *arguments, struct json_value params, struct arguments *filled, struct error *err)
{
	*filled = (struct arguments){0};
	struct buffer word CLEANUP(buffer_clear) = {0};
	for (size_t i = 0; i < arguments->count; i++) {
		buffer_reset(&word);
		enum status status = fill_word(arguments->words[i], params, &word, err);
		if (status) {
			arguments_clear(filled);
			return status;
		}
		add_word(filled, buffer_slice(&word));
	}
	return E_OK;
}
