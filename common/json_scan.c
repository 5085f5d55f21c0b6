#include "common/json.h"

#include <assert.h>
#include <endian.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/json_text.h"
#include "common/limits.h"
#include "common/memory.h"
#include "common/utf8.h"

/* Objects with more members look for duplicates once, at their end, by sorting: comparing pairs would be quadratic. */
#define PAIRWISE_MEMBERS_MAX 16

/* Keys of all open objects together, before memory is allocated for them. */
#define FIRST_KEYS 96

/* The powers of ten that a double reaches. */
#define EXPONENT_MIN (-324)
#define EXPONENT_MAX 308

/* What an error text says of the input: enough to find the place, few enough to read. */
#define ERROR_PATH_BYTES 200
#define ERROR_KEY_BYTES 40
#define ERROR_FOUND_BYTES 8

struct key {
	const char *start; /* behind the quote */
	size_t length;
	bool escaped;
};

/* A container that is open: for the path in errors, for duplicate keys, and for the fields that are looked for in it. */
struct level {
	bool object;
	bool inside; /* an element, or the member of the last key */
	size_t index;
	size_t first_key;
	uint64_t seen; /* key_bits of its keys */
	const struct json_form *form; /* may be NULL */
	size_t next_field;
};

struct scanner {
	const char *start;
	const char *end;
	struct json_value *values; /* of fields */
	struct error *err;
	int depth;
	struct level levels[JSON_DEPTH_MAX];
	struct key *keys; /* of the open objects, innermost last */
	size_t key_count;
	size_t key_room;
	struct key first_keys[FIRST_KEYS];
};

/* ---- errors ---- */

static bool is_continuation(char byte)
{
	return ((unsigned char)byte & 0xC0) == 0x80;
}

static void add_path_key(struct buffer *out, const struct key *key)
{
	size_t length = key->length < ERROR_KEY_BYTES ? key->length : ERROR_KEY_BYTES;
	while (length < key->length && length > 0 && is_continuation(key->start[length]))
		length--;
	buffer_add_char(out, '.');
	buffer_add(out, key->start, length);
	if (length < key->length)
		buffer_add_text(out, "...");
}

static void add_path(struct buffer *out, const struct scanner *scanner)
{
	buffer_add_char(out, '$');
	for (int i = 0; i < scanner->depth; i++) {
		const struct level *level = &scanner->levels[i];
		size_t keys = i + 1 < scanner->depth ? scanner->levels[i + 1].first_key : scanner->key_count;
		if (level->inside && level->object)
			add_path_key(out, &scanner->keys[keys - 1]);
		else if (level->inside)
			buffer_printf(out, "[%zu]", level->index);
	}
}

/* The end of a long path tells more than its start. */
static const char *short_path(const struct buffer *path)
{
	if (path->length <= ERROR_PATH_BYTES)
		return path->bytes;
	const char *from = path->bytes + path->length - ERROR_PATH_BYTES;
	while (is_continuation(*from))
		from++;
	return from;
}

/* Tells the error; NULL, for whoever scans. */
static const char *wrong_at(const struct scanner *scanner, const char *at, const char *format, ...) PRINTF_LIKE(3, 4);
static const char *wrong_at(const struct scanner *scanner, const char *at, const char *format, ...)
{
	char what[300];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(what, sizeof what, format, arguments);
	va_end(arguments);
	struct buffer path CLEANUP(buffer_clear) = {0};
	add_path(&path, scanner);
	const char *shown = short_path(&path);
	(void)fail(scanner->err, E_INVALID, "byte %zu, %s%s: %s", (size_t)(at - scanner->start),
		shown == path.bytes ? "" : "...", shown, what);
	return NULL;
}

/* "expected …, found …" */
static OUT_OF_LINE const char *unexpected(const struct scanner *scanner, const char *at, const char *expected)
{
	if (at == scanner->end)
		return wrong_at(scanner, at, "expected %s, found the end of the text", expected);
	const char *next = at;
	const char *end = scanner->end - at > ERROR_FOUND_BYTES ? at + ERROR_FOUND_BYTES : scanner->end;
	char found[ERROR_FOUND_BYTES * UTF8_VISIBLE_MAX];
	size_t length = utf8_visible(&next, scanner->end, found);
	while (next < end && *next > ' ' && length < sizeof found - UTF8_VISIBLE_MAX)
		length += utf8_visible(&next, scanner->end, found + length);
	return wrong_at(scanner, at, "expected %s, found %.*s", expected, (int)length, found);
}

/*
 * What scans one thing begins at `at` and returns where it goes on behind it; NULL: it is wrong, and the error is told.
 */

/* ---- strings ---- */

/* At the backslash of \uXXXX. */
static const char *scan_unicode_escape(const struct scanner *scanner, const char *at)
{
	const char *next = at + 2;
	int unit = json_hex4(next, scanner->end);
	if (unit < 0)
		return wrong_at(scanner, at, "\\u needs four hexadecimal digits");
	if (unit == 0)
		return wrong_at(scanner, at, "\\u0000 is not allowed");
	next += 4;
	if (json_is_high_surrogate(unit)) {
		bool pair = scanner->end - next >= 6 && next[0] == '\\' && next[1] == 'u' && json_is_low_surrogate(json_hex4(next + 2, scanner->end));
		return pair ? next + 6 : wrong_at(scanner, at, "lone surrogate");
	}
	return json_is_low_surrogate(unit) ? wrong_at(scanner, at, "lone surrogate") : next;
}

/* At the backslash. */
static const char *scan_escape(const struct scanner *scanner, const char *at)
{
	const char *letter = at + 1;
	if (letter == scanner->end)
		return unexpected(scanner, letter, "an escape");
	if (*letter == 'u')
		return scan_unicode_escape(scanner, at);
	if (*letter == '\0' || !strchr("\"\\/bfnrt", *letter))
		return unexpected(scanner, letter, "an escape that JSON knows");
	return letter + 1;
}

/* At what is not plain, but for quotes. */
static OUT_OF_LINE const char *scan_special(const struct scanner *scanner, const char *at)
{
	if (*at == '\\')
		return scan_escape(scanner, at);
	if ((unsigned char)*at < 0x20)
		return wrong_at(scanner, at, "control character 0x%02x in a string, must be escaped", (unsigned)*at);
	size_t length = utf8_length(at, scanner->end);
	return length ? at + length : wrong_at(scanner, at, "byte 0x%02x is not valid UTF-8", (unsigned)(unsigned char)*at);
}

#define EACH_BYTE(byte) (UINT64_C(0x0101010101010101) * (byte))

static bool is_plain(unsigned char byte)
{
	return byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\';
}

/* Passes the bytes of a string that are plain ASCII, eight at a time. */
static inline const char *pass_plain(const char *at, const char *end)
{
	for (; end - at >= 8; at += 8) {
		uint64_t word;
		memcpy(&word, at, 8);
		word = le64toh(word);
		uint64_t control_or_quote = (word ^ EACH_BYTE('"' ^ 0x20)) - EACH_BYTE(0x21); /* with that bit changed, a quote is next to the control characters */
		uint64_t escape = (word ^ EACH_BYTE('\\')) - EACH_BYTE(1);
		uint64_t not_plain = (control_or_quote | escape | word) & EACH_BYTE(0x80);
		if (not_plain) /* borrowing makes wrong marks, but only behind a right one */
			return at + __builtin_ctzll(not_plain) / 8;
	}
	while (at < end && is_plain((unsigned char)*at))
		at++;
	return at;
}

/* Behind the opening quote. */
static inline const char *scan_string(const struct scanner *scanner, const char *at, struct key *string)
{
	string->start = at;
	string->escaped = false;
	for (;;) {
		at = pass_plain(at, scanner->end);
		if (at == scanner->end)
			return wrong_at(scanner, string->start - 1, "a string without its closing quote");
		if (*at == '"')
			break;
		string->escaped |= *at == '\\';
		at = scan_special(scanner, at);
		if (!at)
			return NULL;
	}
	string->length = (size_t)(at - string->start);
	return at + 1;
}

/* ---- numbers ---- */

/* A number with a point or an exponent. */
struct number {
	struct slice whole;    /* without the sign */
	struct slice fraction; /* behind the point */
	int exponent;          /* cut to ± 99,999 */
};

static const char *skip_digits(const char *at, const char *end)
{
	while (at < end && *at >= '0' && *at <= '9')
		at++;
	return at;
}

static const char *scan_digits(const struct scanner *scanner, const char *at, const char *expected, struct slice *digits)
{
	const char *end = skip_digits(at, scanner->end);
	*digits = (struct slice){at, (size_t)(end - at)};
	return end > at ? end : unexpected(scanner, at, expected);
}

static const char *scan_exponent(const struct scanner *scanner, const char *at, int *exponent)
{
	at++;
	bool negative = at < scanner->end && *at == '-';
	if (negative || (at < scanner->end && *at == '+'))
		at++;
	struct slice digits;
	at = scan_digits(scanner, at, "a digit of the exponent", &digits);
	if (!at)
		return NULL;
	int value = 0;
	for (size_t i = 0; i < digits.length && value < 10000; i++)
		value = value * 10 + (digits.start[i] - '0');
	*exponent = negative ? -value : value;
	return at;
}

static bool is_exponent(char byte)
{
	return byte == 'e' || byte == 'E';
}

/* Digits without leading zeros, perhaps behind a minus. */
static bool int64_fits(const char *at, const char *end)
{
	const char *limit = *at == '-' ? "9223372036854775808" : "9223372036854775807";
	at += *at == '-';
	return end - at < 19 || (end - at == 19 && memcmp(at, limit, 19) <= 0);
}

/* The power of ten of the first digit that is not 0; false when there is none. */
static bool leading_power(const struct number *number, int64_t *power)
{
	for (size_t i = 0; i < number->whole.length; i++)
		if (number->whole.start[i] != '0') {
			*power = (int64_t)(number->whole.length - 1 - i) + number->exponent;
			return true;
		}
	for (size_t i = 0; i < number->fraction.length; i++)
		if (number->fraction.start[i] != '0') {
			*power = number->exponent - (int64_t)i - 1;
			return true;
		}
	return false;
}

/* Near the ends of the range strtod decides; it is given no decimal point, which depends on the locale. */
static bool double_fits(const struct number *number)
{
	if (number->exponent < EXPONENT_MIN || number->exponent > EXPONENT_MAX)
		return false;
	int64_t power;
	if (!leading_power(number, &power) || (power > -300 && power < 300))
		return true;
	struct buffer text CLEANUP(buffer_clear) = {0};
	buffer_add_slice(&text, number->whole);
	buffer_add_slice(&text, number->fraction);
	buffer_add_char(&text, 'e');
	buffer_add_int(&text, number->exponent - (int64_t)number->fraction.length);
	double value = strtod(text.bytes, NULL);
	return isfinite(value) && value > 0;
}

/* Behind the whole digits of the number that begins at `start`. */
static OUT_OF_LINE const char *scan_double(const struct scanner *scanner, const char *start, const char *at, struct slice whole)
{
	struct number number = {.whole = whole};
	if (*at == '.')
		at = scan_digits(scanner, at + 1, "a digit behind the point", &number.fraction);
	if (at && at < scanner->end && is_exponent(*at))
		at = scan_exponent(scanner, at, &number.exponent);
	if (!at)
		return NULL;
	return double_fits(&number) ? at : wrong_at(scanner, start, "a number outside the range of a double");
}

static OUT_OF_LINE const char *scan_number(const struct scanner *scanner, const char *at, enum json_kind *kind)
{
	const char *start = at;
	const char *digits = start + (*start == '-');
	at = skip_digits(digits, scanner->end);
	if (at == digits)
		return unexpected(scanner, at, "a digit");
	if (*digits == '0' && at - digits > 1)
		return wrong_at(scanner, start, "a number with a leading 0");
	*kind = JSON_INTEGER;
	if (at < scanner->end && (*at == '.' || is_exponent(*at))) {
		*kind = JSON_DOUBLE;
		return scan_double(scanner, start, at, (struct slice){digits, (size_t)(at - digits)});
	}
	return int64_fits(start, at) ? at : wrong_at(scanner, start, "an integer that does not fit in 64 bits");
}

/* ---- keys ---- */

static int compare_resolved(struct slice left, struct slice right)
{
	struct json_resolver a = {.at = left.start, .end = left.start + left.length};
	struct json_resolver b = {.at = right.start, .end = right.start + right.length};
	for (;;) {
		int from_a = json_resolver_next(&a);
		int from_b = json_resolver_next(&b);
		if (from_a != from_b || from_a < 0)
			return from_a - from_b;
	}
}

static int compare_keys(const struct key *a, const struct key *b)
{
	if (a->escaped || b->escaped)
		return compare_resolved((struct slice){a->start, a->length}, (struct slice){b->start, b->length});
	int order = memcmp(a->start, b->start, a->length < b->length ? a->length : b->length);
	return order ? order : (a->length > b->length) - (a->length < b->length);
}

static int key_order(const void *left, const void *right)
{
	const struct key *a = left;
	const struct key *b = right;
	int order = compare_keys(a, b);
	return order ? order : (a->start > b->start) - (a->start < b->start);
}

static bool key_equal(const struct key *a, const struct key *b)
{
	if (a->escaped || b->escaped)
		return compare_keys(a, b) == 0;
	return a->length == b->length && memcmp(a->start, b->start, a->length) == 0;
}

static OUT_OF_LINE void grow_keys(struct scanner *scanner)
{
	bool first = scanner->keys == scanner->first_keys;
	scanner->key_room *= 2;
	scanner->keys = xrealloc(first ? NULL : scanner->keys, scanner->key_room * sizeof *scanner->keys);
	if (first)
		memcpy(scanner->keys, scanner->first_keys, sizeof scanner->first_keys);
}

static bool twice(struct scanner *scanner, const struct key *key)
{
	(void)wrong_at(scanner, key->start - 1, "the key is there twice");
	return false;
}

/* Bits that two keys have in common if they are equal: one by their ends (of an empty one its quotes) and length; all when it is not compared as it stands. */
static uint64_t key_bits(const struct key *key)
{
	if (key->escaped)
		return UINT64_MAX;
	unsigned first = (unsigned char)key->start[0], last = (unsigned char)key->start[(ptrdiff_t)key->length - 1];
	return UINT64_C(1) << ((first + last * 2 + key->length * 8) % 64);
}

/* Whether the last key is new among the first few of its object. */
static OUT_OF_LINE bool check_key(struct scanner *scanner, const struct level *level)
{
	const struct key *last = &scanner->keys[scanner->key_count - 1];
	const struct key *key = &scanner->keys[level->first_key];
	if (last - key >= PAIRWISE_MEMBERS_MAX)
		return true;
	for (; key < last; key++)
		if (key_equal(key, last))
			return twice(scanner, last);
	return true;
}

/* Counts the key behind the last one. */
static bool take_key(struct scanner *scanner, struct level *level, const struct key *key)
{
	uint64_t bits = key_bits(key), seen = level->seen;
	level->seen = seen | bits;
	level->inside = true;
	scanner->key_count++;
	return !(seen & bits) || check_key(scanner, level);
}

/* Whether all keys of an object that ends differ; forgets them. */
static bool take_keys(struct scanner *scanner, struct level *level)
{
	struct key *keys = scanner->keys + level->first_key;
	size_t count = scanner->key_count - level->first_key;
	if (count > PAIRWISE_MEMBERS_MAX) {
		qsort(keys, count, sizeof *keys, key_order);
		for (size_t i = 1; i < count; i++)
			if (key_equal(&keys[i - 1], &keys[i])) {
				keys[count - 1] = keys[i];
				level->inside = true;
				return twice(scanner, &keys[count - 1]);
			}
	}
	scanner->key_count = level->first_key;
	return true;
}

/* ---- values ---- */

static inline const char *scan_value(struct scanner *scanner, const char *at, const struct json_form *form, struct json_value *value);

static struct level *open_level(struct scanner *scanner, const char *at, bool object, const struct json_form *form)
{
	if (scanner->depth == JSON_DEPTH_MAX) {
		(void)wrong_at(scanner, at, "more than %d levels of arrays and objects", JSON_DEPTH_MAX);
		return NULL;
	}
	struct level *level = &scanner->levels[scanner->depth++];
	*level = (struct level){.object = object, .first_key = scanner->key_count, .form = form};
	return level;
}

static OUT_OF_LINE const char *scan_array(struct scanner *scanner, const char *at)
{
	const char *end = scanner->end;
	struct level *level = open_level(scanner, at, false, NULL);
	if (!level)
		return NULL;
	at = json_pass_space(at + 1, end);
	if (at == end || *at != ']')
		for (;; level->index++, at++) {
			struct json_value element;
			level->inside = true;
			at = scan_value(scanner, at, NULL, &element);
			if (!at)
				return NULL;
			level->inside = false;
			at = json_pass_space(at, end);
			if (at == end || (*at != ',' && *at != ']'))
				return unexpected(scanner, at, "a comma or ]");
			if (*at == ']')
				break;
		}
	scanner->depth--;
	return at + 1;
}

static bool key_says(const struct key *key, const struct slice *name)
{
	if (key->escaped)
		return compare_resolved((struct slice){key->start, key->length}, *name) == 0;
	return key->length == name->length && memcmp(key->start, name->start, name->length) == 0;
}

/* Which field a key names; `count`: none. Fields mostly come in the order of their table: each search begins behind what the last one found. */
static size_t find_field(const struct json_form *form, size_t *next, const struct key *key)
{
	size_t i = *next;
	for (size_t left = form->count; left > 0; left--, i++) {
		if (i >= form->count)
			i = 0;
		if (key_says(key, &form->fields[i].name)) {
			*next = i + 1;
			return i;
		}
	}
	return form->count;
}

static const char *scan_member_value(struct scanner *scanner, const char *at, struct level *level, const struct key *key)
{
	const struct json_form *form = level->form;
	size_t field = form ? find_field(form, &level->next_field, key) : 0;
	if (form && field < form->count)
		return scan_value(scanner, at, form->fields[field].form, &scanner->values[form->place + field]);
	struct json_value other;
	return scan_value(scanner, at, NULL, &other);
}

static const char *scan_member(struct scanner *scanner, const char *at, struct level *level)
{
	if (at == scanner->end || *at != '"')
		return unexpected(scanner, at, "a key in double quotes");
	if (scanner->key_count == scanner->key_room)
		grow_keys(scanner);
	struct key *key = &scanner->keys[scanner->key_count];
	at = scan_string(scanner, at + 1, key);
	if (!at || !take_key(scanner, level, key))
		return NULL;
	at = json_pass_space(at, scanner->end);
	if (at == scanner->end || *at != ':')
		return unexpected(scanner, at, "a colon");
	at = scan_member_value(scanner, at + 1, level, key);
	level->inside = false;
	return at;
}

static OUT_OF_LINE const char *scan_object(struct scanner *scanner, const char *at, const struct json_form *form)
{
	const char *end = scanner->end;
	struct level *level = open_level(scanner, at, true, form);
	if (!level)
		return NULL;
	at = json_pass_space(at + 1, end);
	if (at == end || *at != '}')
		for (;; at = json_pass_space(at + 1, end)) {
			at = scan_member(scanner, at, level);
			if (!at)
				return NULL;
			at = json_pass_space(at, end);
			if (at == end || (*at != ',' && *at != '}'))
				return unexpected(scanner, at, "a comma or }");
			if (*at == '}')
				break;
		}
	if (!take_keys(scanner, level))
		return NULL;
	scanner->depth--;
	return at + 1;
}

static OUT_OF_LINE const char *scan_word(const struct scanner *scanner, const char *at, const char *word)
{
	size_t length = strlen(word);
	if ((size_t)(scanner->end - at) < length || memcmp(at, word, length) != 0)
		return unexpected(scanner, at, "a value");
	return at + length;
}

static inline const char *scan_any(struct scanner *scanner, const char *at, const struct json_form *form, enum json_kind *kind)
{
	struct key string;
	switch (*at) {
	case '{': *kind = JSON_OBJECT; return scan_object(scanner, at, form);
	case '[': *kind = JSON_ARRAY; return scan_array(scanner, at);
	case '"': *kind = JSON_STRING; return scan_string(scanner, at + 1, &string);
	case 't': *kind = JSON_BOOL; return scan_word(scanner, at, "true");
	case 'f': *kind = JSON_BOOL; return scan_word(scanner, at, "false");
	case 'n': *kind = JSON_NULL; return scan_word(scanner, at, "null");
	case '-': case '0': case '1': case '2': case '3': case '4': case '5': case '6': case '7': case '8': case '9':
		return scan_number(scanner, at, kind);
	default: return unexpected(scanner, at, "a value");
	}
}

/* Before it there may be space. `form`: what is looked for when it is an object. */
static inline const char *scan_value(struct scanner *scanner, const char *at, const struct json_form *form, struct json_value *value)
{
	at = json_pass_space(at, scanner->end);
	if (at == scanner->end)
		return unexpected(scanner, at, "a value");
	value->text.start = at;
	at = scan_any(scanner, at, form, &value->kind);
	if (at)
		value->text.length = (size_t)(at - value->text.start);
	return at;
}

static bool scan_document(struct scanner *scanner, const struct json_form *form, struct json_value *root)
{
	const char *at = scan_value(scanner, scanner->start, form, root);
	if (!at)
		return false;
	at = json_pass_space(at, scanner->end);
	return at == scanner->end || unexpected(scanner, at, "the end of the text");
}

enum status json_read(struct slice text, size_t bytes_max, const struct json_form *form, struct json_value *values, struct json_value *root, struct error *err)
{
	if (text.length > bytes_max)
		return fail(err, E_INVALID, "%zu bytes, the limit is %zu", text.length, bytes_max);
	struct scanner scanner; /* large: the most of it is left as it is */
	scanner.start = text.length ? text.start : "";
	scanner.end = scanner.start + text.length;
	scanner.values = values;
	scanner.err = err;
	scanner.depth = 0;
	scanner.keys = scanner.first_keys;
	scanner.key_count = 0;
	scanner.key_room = FIRST_KEYS;
	struct json_value value;
	bool valid = scan_document(&scanner, form, &value);
	if (scanner.keys != scanner.first_keys)
		free(scanner.keys);
	if (valid && root)
		*root = value;
	return valid ? E_OK : E_INVALID;
}

enum status json_validate(struct slice text, size_t bytes_max, struct json_value *root, struct error *err)
{
	return json_read(text, bytes_max, NULL, NULL, root, err);
}
