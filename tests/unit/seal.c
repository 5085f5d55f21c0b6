#include "common/seal.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/limits.h"
#include "notation.h"

/* Two keys: the bytes 0 to 31, and 100 to 131. */
#define FIRST "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
#define OTHER "ZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXp7fH1+f4CBgoM="

#define TEXT "{\"uuid\": \"d455cba6-b329-4d2d-a4e5-1fc2a0ff2781\", \"entrypoint\": \"jobs.Hello\", \"params\": {\"text\": \"some more, so that there are lines\"}}"

static struct keyring *ring_of(const char *text)
{
	struct keyring *ring = NULL;
	struct error err = {0};
	cr_assert_eq(keyring_open(text, NULL, &ring, &err), E_OK, "%s", err.text);
	return ring;
}

static struct buffer sealed(const char *keys, struct slice text)
{
	struct keyring *ring = ring_of(keys);
	struct buffer envelope = {0};
	struct error err = {0};
	cr_assert_eq(seal_add(ring, text, &envelope, &err), E_OK, "%s", err.text);
	keyring_free(ring);
	return envelope;
}

/* Opens a copy of exactly that size. When it is refused, nothing was added to `text`. */
static enum status opened(struct keyring *ring, struct slice envelope, struct buffer *text, struct error *err)
{
	char *copy = exact_copy(envelope);
	size_t before = text->length;
	enum status status = seal_open(ring, (struct slice){copy, envelope.length}, text, err);
	free(copy);
	if (status)
		cr_assert_eq(text->length, before);
	return status;
}

static void refused(const char *keys, const char *envelope, const char *reason)
{
	struct keyring *ring = ring_of(keys);
	struct buffer text = {0};
	struct error err = {0};
	cr_expect_eq(opened(ring, slice_of(envelope), &text, &err), E_INVALID, "%s", envelope);
	cr_expect_str_eq(err.text, reason);
	buffer_clear(&text);
	keyring_free(ring);
}

static void opens_with(const char *keys, struct slice envelope, struct slice expected)
{
	struct keyring *ring = ring_of(keys);
	struct buffer text = {0};
	struct error err = {0};
	buffer_add_text(&text, "kept");
	cr_expect_eq(opened(ring, envelope, &text, &err), E_OK, "%s", err.text);
	cr_assert_eq(text.length, expected.length + 4);
	cr_expect_eq(memcmp(text.bytes, "kept", 4), 0);
	cr_expect_eq(memcmp(text.bytes + 4, expected.start, expected.length), 0);
	cr_expect_eq(text.bytes[text.length], '\0');
	buffer_clear(&text);
	keyring_free(ring);
}

/* ---- there and back ---- */

Test(seal, any_length_comes_back)
{
	char text[700];
	for (size_t i = 0; i < sizeof text; i++)
		text[i] = (char)(i * 7);
	for (size_t length = 0; length <= sizeof text; length += length < 130 ? 1 : 57) {
		struct buffer envelope = sealed(FIRST, (struct slice){text, length});
		cr_assert_null(memchr(envelope.bytes, '\n', envelope.length));
		opens_with(FIRST, buffer_slice(&envelope), (struct slice){text, length});
		buffer_clear(&envelope);
	}
}

Test(seal, nonces_differ)
{
	struct buffer one = sealed(FIRST, slice_of(TEXT)), other = sealed(FIRST, slice_of(TEXT));
	cr_expect_str_neq(one.bytes, other.bytes);
	buffer_clear(&one);
	buffer_clear(&other);
}

Test(seal, the_first_key_seals_and_all_open)
{
	struct buffer envelope = sealed(OTHER "\n" FIRST, slice_of(TEXT));
	opens_with(OTHER, buffer_slice(&envelope), slice_of(TEXT));
	opens_with(FIRST " " OTHER, buffer_slice(&envelope), slice_of(TEXT));
	refused(FIRST, envelope.bytes, "cannot be opened: another key sealed it, or it was altered");
	refused(FIRST "," FIRST, envelope.bytes, "cannot be opened: none of the keys sealed it, or it was altered");
	buffer_clear(&envelope);
}

/* ---- altered ---- */

/* A short one, so that each bit of the envelope's text can be tried. */
static void must_not_open(struct keyring *ring, struct slice envelope)
{
	struct buffer text = {0};
	struct error err = {0};
	cr_assert_eq(opened(ring, envelope, &text, &err), E_INVALID, "%.*s", (int)envelope.length, envelope.start);
	cr_assert(err.text[0]);
	buffer_clear(&text);
}

Test(seal, every_bit_of_the_envelope_counts)
{
	struct keyring *ring = ring_of(FIRST);
	struct buffer envelope = sealed(FIRST, slice_of(TEXT));
	for (size_t bit = 0; bit < envelope.length * 8; bit++) {
		envelope.bytes[bit / 8] = (char)(envelope.bytes[bit / 8] ^ 1 << bit % 8);
		must_not_open(ring, buffer_slice(&envelope));
		envelope.bytes[bit / 8] = (char)(envelope.bytes[bit / 8] ^ 1 << bit % 8);
	}
	opens_with(FIRST, buffer_slice(&envelope), slice_of(TEXT));
	buffer_clear(&envelope);
	keyring_free(ring);
}

/* Cut at its end, and data cut at its end inside of a whole envelope. */
Test(seal, nothing_truncated_opens)
{
	struct keyring *ring = ring_of(FIRST);
	struct buffer envelope = sealed(FIRST, slice_of(TEXT)), cut = {0};
	for (size_t length = 0; length < envelope.length; length++)
		must_not_open(ring, (struct slice){envelope.bytes, length});
	const char *rest = strstr(envelope.bytes, "\", \"nonce\"");
	for (const char *end = envelope.bytes + strlen("{\"data\": \""); end < rest; end++) {
		buffer_reset(&cut);
		buffer_add(&cut, envelope.bytes, (size_t)(end - envelope.bytes));
		buffer_add_text(&cut, rest);
		must_not_open(ring, buffer_slice(&cut));
	}
	buffer_clear(&cut);
	buffer_clear(&envelope);
	keyring_free(ring);
}

static uint32_t draw(uint32_t *state)
{
	*state = *state * 1664525 + 1013904223;
	return *state >> 8;
}

/* One of: another byte, a byte more, some bytes less, some bytes repeated elsewhere. */
static void mutate(struct buffer *text, uint32_t *state)
{
	static const char likely[] = "{}\"\\:,= \n\r\tAZaz09+/-_nu";
	size_t at = draw(state) % text->length, length = draw(state) % 9;
	char byte = draw(state) % 2 ? likely[draw(state) % (sizeof likely - 1)] : (char)draw(state);
	struct buffer tail = {0};
	buffer_add(&tail, text->bytes + at, text->length - at);
	text->length = at;
	size_t skipped = 0;
	switch (draw(state) % 4) {
	case 0: buffer_add_char(text, byte); skipped = 1; break;
	case 1: buffer_add_char(text, byte); break;
	case 2: skipped = length < tail.length ? length : tail.length; break;
	default: buffer_add(text, tail.bytes, length < tail.length ? length : tail.length); break;
	}
	buffer_add(text, tail.bytes + skipped, tail.length - skipped);
	buffer_clear(&tail);
}

/* What opens after all (white space in the right places) says what was sealed. */
Test(seal, mutations_open_to_nothing_else)
{
	struct keyring *ring = ring_of(FIRST "\n" OTHER);
	struct buffer envelope = sealed(OTHER, slice_of(TEXT));
	uint32_t state = 7;
	int refusals = 0;
	for (int round = 0; round < 20000; round++) {
		struct buffer changed = {0}, text = {0};
		struct error err = {0};
		buffer_add_slice(&changed, buffer_slice(&envelope));
		for (uint32_t i = draw(&state) % 4; i < 4 && changed.length; i++)
			mutate(&changed, &state);
		enum status status = opened(ring, buffer_slice(&changed), &text, &err);
		refusals += status == E_INVALID;
		cr_assert(status == E_INVALID || (status == E_OK && strcmp(text.bytes, TEXT) == 0), "%s", changed.bytes);
		buffer_clear(&changed);
		buffer_clear(&text);
	}
	cr_expect_gt(refusals, 15000);
	buffer_clear(&envelope);
	keyring_free(ring);
}

/* ---- other forms of an envelope ---- */

/* "hello" under FIRST, the nonce being the bytes 0 to 23; as the Python library makes it. */
#define NONCE "AAECAwQFBgcICQoLDA0ODxAREhMUFRYX"
#define ENVELOPE(data, nonce) "{\"data\": \"" data "\", \"nonce\": \"" nonce "\"}"

Test(seal, base64_in_other_forms)
{
	static const char *const usable[] = {
		ENVELOPE("ZpgnWzjsuN8UVQnZoJsCEDaaVCOo", NONCE),
		"{\"nonce\":\"" NONCE "\",\"data\":\"ZpgnWzjsuN8UVQnZoJsCEDaaVCOo\"}\n",
		ENVELOPE("ZpgnWzjsuN8U\\nVQnZoJsC\\r\\nEDaa VCOo\\n", "\\n" NONCE "\\t"),
		ENVELOPE("\\u005apgnWzjsuN8UVQnZoJsCEDaaVCOo", NONCE),
	};
	for (size_t i = 0; i < COUNT_OF(usable); i++)
		opens_with(FIRST, slice_of(usable[i]), slice_of("hello"));
}

Test(seal, what_is_no_envelope)
{
	static const char fields[] = "not a sealed message: it must be an object of data and nonce";
	static const char strings[] = "not a sealed message: data and nonce must be strings";
	static const char base64[] = "not a sealed message: data must be base64";
	static const char nonce[] = "not a sealed message: nonce must be 24 bytes in base64";
	static const struct {
		const char *text;
		const char *reason;
	} cases[] = {
		{"", "not a sealed message: byte 0, $: expected a value, found the end of the text"},
		{"[]", fields},
		{"\"data\"", fields},
		{"{}", fields},
		{TEXT, fields},
		{"{\"data\": \"ZpgnWzjsuN8UVQnZoJsCEDaaVCOo\"}", fields},
		{"{\"data\": \"ZpgnWzjsuN8UVQnZoJsCEDaaVCOo\", \"nonce\": \"" NONCE "\", \"v\": 1}", fields},
		{"{\"data\": \"ZpgnWzjsuN8UVQnZoJsCEDaaVCOo\", \"Nonce\": \"" NONCE "\"}", fields},
		{"{\"data\": null, \"nonce\": \"" NONCE "\"}", strings},
		{"{\"data\": \"ZpgnWzjsuN8UVQnZoJsCEDaaVCOo\", \"nonce\": [0]}", strings},
		{"{\"data\": \"x\", \"data\": \"x\"}", "not a sealed message: byte 14, $.data: the key is there twice"},
		{ENVELOPE("ZpgnWzjsuN8UVQnZoJsCEDaaVCO", NONCE), base64},
		{ENVELOPE("ZpgnWzjsuN8UVQnZoJsCEDaaVCOo=", NONCE), base64},
		{ENVELOPE("ZpgnWzjsuN8UVQnZoJsCEDaaVCOo====", NONCE), base64},
		{ENVELOPE("ZpgnWzjsuN8UVQnZoJsCEDaa-_Oo", NONCE), base64},
		{ENVELOPE("ZpgnWzjsuN8UVQnZoJsCEDaa*VCOo", NONCE), base64},
		{ENVELOPE("KP2CzXOGxUcaJNitKlJbbh==", NONCE), base64}, /* bits behind the last byte */
		{ENVELOPE("", NONCE), "not a sealed message: data must be at least 16 bytes"},
		{ENVELOPE("AAECAwQFBgcICQoLDA0O", NONCE), "not a sealed message: data must be at least 16 bytes"},
		{ENVELOPE("ZpgnWzjsuN8UVQnZoJsCEDaaVCOo", ""), nonce},
		{ENVELOPE("ZpgnWzjsuN8UVQnZoJsCEDaaVCOo", "AAECAwQFBgcICQoLDA0ODxAREhMUFRY="), nonce},
		{ENVELOPE("ZpgnWzjsuN8UVQnZoJsCEDaaVCOo", NONCE "AAAA"), nonce},
		{ENVELOPE("ZpgnWzjsuN8UVQnZoJsCEDaaVCOo", "?"), nonce},
	};
	for (size_t i = 0; i < COUNT_OF(cases); i++)
		refused(FIRST, cases[i].text, cases[i].reason);
}

/* ---- limits ---- */

Test(seal, the_largest_message)
{
	struct keyring *ring = ring_of(FIRST);
	struct buffer text = {0}, envelope = {0};
	struct error err = {0};
	size_t low = 0, high = MESSAGE_BYTES_MAX; /* the longest text that can be sealed is in between */
	memset(buffer_reserve(&text, high), 'x', high);
	while (high - low > 1) {
		buffer_reset(&envelope);
		size_t middle = (low + high) / 2;
		if (seal_add(ring, (struct slice){text.bytes, middle}, &envelope, &err))
			high = middle;
		else
			low = middle;
	}
	buffer_reset(&envelope);
	cr_assert_eq(seal_add(ring, (struct slice){text.bytes, low}, &envelope, &err), E_OK);
	cr_expect_leq(envelope.length, MESSAGE_BYTES_MAX);
	cr_expect_gt(envelope.length + 8, MESSAGE_BYTES_MAX, "%zu", envelope.length);
	opens_with(FIRST, buffer_slice(&envelope), (struct slice){text.bytes, low});
	buffer_reset(&envelope);
	cr_expect_eq(seal_add(ring, (struct slice){text.bytes, high}, &envelope, &err), E_INVALID);
	cr_expect_eq(envelope.length, 0);
	cr_expect_not_null(strstr(err.text, "sealed, 1048576 are the limit"), "%s", err.text);
	cr_expect_eq(seal_add(ring, (struct slice){text.bytes, SIZE_MAX / 2}, &envelope, &err), E_INVALID);
	buffer_clear(&text);
	buffer_clear(&envelope);
	keyring_free(ring);
}

Test(seal, how_much_fits_into_an_envelope)
{
	struct keyring *ring = ring_of(FIRST);
	char text[1000];
	memset(text, 'x', sizeof text);
	for (size_t room = 0; room < 1000; room++) {
		struct buffer envelope = {0};
		size_t most = seal_text_max(room);
		cr_assert_eq(seal_add(ring, (struct slice){text, most}, &envelope, NULL), E_OK);
		if (most > 0)
			cr_expect_leq(envelope.length, room, "%zu bytes in %zu", most, room);
		buffer_reset(&envelope);
		cr_assert_eq(seal_add(ring, (struct slice){text, most + 1}, &envelope, NULL), E_OK);
		cr_expect_gt(envelope.length, room, "%zu bytes in %zu", most + 1, room);
		buffer_clear(&envelope);
	}
	keyring_free(ring);
}

Test(seal, how_an_envelope_looks)
{
	cr_expect(seal_is_envelope(slice_of(" {\"nonce\": \"\", \"data\": \"\"} ")));
	cr_expect_not(seal_is_envelope(slice_of("")));
	cr_expect_not(seal_is_envelope(slice_of(TEXT)));
	cr_expect_not(seal_is_envelope(slice_of("{\"data\": \"\", \"nonce\": 1}")));
	cr_expect_not(seal_is_envelope(slice_of("{\"data\": \"\", \"nonce\": \"\", \"uuid\": \"u\"}")));
}

Test(seal, an_envelope_that_is_too_large)
{
	struct keyring *ring = ring_of(FIRST);
	struct buffer envelope = {0}, text = {0};
	struct error err = {0};
	add_notation(&envelope, slice_of("{\"data\": \"%{1048576:A}\", \"nonce\": \"" NONCE "\"}"));
	cr_expect_eq(opened(ring, buffer_slice(&envelope), &text, &err), E_INVALID);
	cr_expect_not_null(strstr(err.text, "the limit is 1048576"), "%s", err.text);
	buffer_clear(&envelope);
	buffer_clear(&text);
	keyring_free(ring);
}

/* ---- keys ---- */

/* No error may repeat a part of a key; eight letters of one are enough to know. */
static void says_no_key(const char *error, const char *keys)
{
	for (const char *at = keys; strlen(at) >= 8; at++) {
		char part[9] = {0};
		memcpy(part, at, 8);
		if (strspn(part, "AB") < 8)
			cr_expect_null(strstr(error, part), "%s", error);
	}
}

Test(keyring, keys_that_are_none)
{
	static const char form[] = "is not 32 bytes in base64: 44 letters of the standard alphabet with their padding";
	static const struct {
		const char *keys;
		const char *reason;
	} cases[] = {
		{"", "there is no key in it"},
		{" \n,\t", "there is no key in it"},
		{"hello, world", form},
		{"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8", form},   /* padding */
		{"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8==", form}, /* too much of it */
		{"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh9=", form},  /* bits behind the last byte */
		{"-__7__v_-__7__v_-__7__v_-__7__v_-__7__v_-_8=", form},  /* the alphabet for URLs */
		{"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==", form},  /* 31 bytes */
		{"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g", form},  /* 33 bytes */
		{"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", form},
		{FIRST "\n" OTHER OTHER, "key 2 is not 32 bytes"},
	};
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct keyring *ring = NULL;
		struct error err = {0};
		cr_expect_eq(keyring_open(cases[i].keys, NULL, &ring, &err), E_INVALID, "%s", cases[i].keys);
		cr_expect_null(ring);
		cr_expect_eq(strncmp(err.text, "KSER_SECRETBOX_KEY: ", 20), 0);
		cr_expect_not_null(strstr(err.text, cases[i].reason), "%s", err.text);
		says_no_key(err.text, cases[i].keys);
	}
}

Test(keyring, none_or_both)
{
	struct keyring *ring = NULL;
	struct error err = {0};
	cr_expect_eq(keyring_open(NULL, NULL, &ring, &err), E_INVALID);
	cr_expect_str_eq(err.text, "no key is given: set KSER_SECRETBOX_KEY or KSER_SECRETBOX_KEY_FILE");
	cr_expect_eq(keyring_open(FIRST, "/dev/null", &ring, &err), E_INVALID);
	cr_expect_str_eq(err.text, "KSER_SECRETBOX_KEY and KSER_SECRETBOX_KEY_FILE are both given");
}

Test(keyring, as_many_as_there_may_be)
{
	struct buffer keys = {0};
	struct keyring *ring = NULL;
	struct error err = {0};
	for (int i = 0; i < KEYS_MAX; i++)
		buffer_add_text(&keys, i + 1 < KEYS_MAX ? OTHER "\r\n" : FIRST);
	struct buffer envelope = sealed(FIRST, slice_of("x"));
	opens_with(keys.bytes, buffer_slice(&envelope), slice_of("x"));
	buffer_add_text(&keys, "\n" FIRST);
	cr_expect_eq(keyring_open(keys.bytes, NULL, &ring, &err), E_INVALID);
	cr_expect_str_eq(err.text, "KSER_SECRETBOX_KEY: more than 16 keys");
	buffer_clear(&envelope);
	buffer_clear(&keys);
}

/* ---- files ---- */

struct place {
	char path[64];
};

static void write_keys(struct place *place, const char *text, size_t length)
{
	if (!place->path[0]) {
		snprintf(place->path, sizeof place->path, "/tmp/kser-seal-XXXXXX");
		int made = mkstemp(place->path);
		cr_assert_geq(made, 0);
		close(made);
	}
	FILE *file = fopen(place->path, "w");
	cr_assert_not_null(file);
	cr_assert_eq(fwrite(text, 1, length, file), length);
	cr_assert_eq(fclose(file), 0);
}

Test(keyring, reads_a_file_again)
{
	struct place place = {0};
	struct keyring *ring = NULL;
	struct buffer first = sealed(FIRST, slice_of(TEXT)), other = sealed(OTHER, slice_of(TEXT)), text = {0}, own = {0};
	struct error err = {0};
	write_keys(&place, FIRST "\n", 45);
	cr_assert_eq(keyring_open(NULL, place.path, &ring, &err), E_OK, "%s", err.text);
	cr_expect_eq(seal_open(ring, buffer_slice(&other), &text, &err), E_INVALID);

	write_keys(&place, OTHER "\n" FIRST "\n", 90);
	cr_expect_eq(keyring_reload(ring, &err), E_OK, "%s", err.text);
	cr_expect_eq(seal_open(ring, buffer_slice(&first), &text, &err), E_OK);
	cr_expect_eq(seal_open(ring, buffer_slice(&other), &text, &err), E_OK);
	cr_expect_eq(seal_add(ring, slice_of("x"), &own, &err), E_OK);
	opens_with(OTHER, buffer_slice(&own), slice_of("x"));

	write_keys(&place, "half a key", 10);
	cr_expect_eq(keyring_reload(ring, &err), E_INVALID);
	cr_expect_not_null(strstr(err.text, place.path), "%s", err.text);
	cr_expect_eq(seal_open(ring, buffer_slice(&first), &text, &err), E_OK, "what was there stays");
	unlink(place.path);
	cr_expect_eq(keyring_reload(ring, &err), E_INVALID);
	cr_expect_eq(seal_open(ring, buffer_slice(&other), &text, &err), E_OK);
	keyring_free(ring);
	struct buffer *buffers[] = {&first, &other, &text, &own};
	for (size_t i = 0; i < COUNT_OF(buffers); i++)
		buffer_clear(buffers[i]);
}

Test(keyring, text_stays_what_it_is)
{
	struct keyring *ring = ring_of(FIRST);
	cr_expect_eq(keyring_reload(ring, NULL), E_OK);
	struct buffer envelope = {0};
	cr_expect_eq(seal_add(ring, slice_of("x"), &envelope, NULL), E_OK);
	opens_with(FIRST, buffer_slice(&envelope), slice_of("x"));
	buffer_clear(&envelope);
	keyring_free(ring);
}

Test(keyring, files_that_cannot_be_used)
{
	struct place place = {0};
	struct keyring *ring = NULL;
	struct error err = {0};
	struct buffer large = {0};
	add_notation(&large, slice_of("%{4097:A}"));
	write_keys(&place, large.bytes, large.length);
	cr_expect_eq(keyring_open(NULL, place.path, &ring, &err), E_INVALID);
	cr_expect_not_null(strstr(err.text, "is larger than the limit of 4096 bytes"), "%s", err.text);
	write_keys(&place, FIRST "\0\n", 46);
	cr_expect_eq(keyring_open(NULL, place.path, &ring, &err), E_INVALID);
	cr_expect_not_null(strstr(err.text, "is not a text"), "%s", err.text);
	write_keys(&place, "", 0);
	cr_expect_eq(keyring_open(NULL, place.path, &ring, &err), E_INVALID);
	cr_expect_not_null(strstr(err.text, "there is no key in it"), "%s", err.text);
	unlink(place.path);
	const char *const unreadable[] = {place.path, "/tmp", "/dev/zero", ""};
	for (size_t i = 0; i < COUNT_OF(unreadable); i++)
		cr_expect_eq(keyring_open(NULL, unreadable[i], &ring, &err), E_INVALID, "%s", unreadable[i]);
	cr_expect_null(ring);
	buffer_clear(&large);
}

/* Nobody writes to the FIFO: opening it would wait for ever. */
Test(keyring, a_fifo_is_no_file, .timeout = 20)
{
	char place[] = "/tmp/kser-seal-XXXXXX", fifo[64];
	struct keyring *ring = NULL;
	struct error err = {0};
	cr_assert_not_null(mkdtemp(place));
	snprintf(fifo, sizeof fifo, "%s/fifo", place);
	cr_assert_eq(mkfifo(fifo, 0600), 0);
	cr_expect_eq(keyring_open(NULL, fifo, &ring, &err), E_INVALID);
	cr_expect_not_null(strstr(err.text, "fifo: it is no regular file"), "%s", err.text);
	unlink(fifo);
	rmdir(place);
}

Test(keyring, a_file_that_is_open_to_others)
{
	static const struct { mode_t mode; bool exposed; } cases[] = {{0600, false}, {0640, false}, {0400, false}, {0644, true}, {0660, true}, {0602, true}};
	struct place place = {0};
	struct keyring *ring = NULL, *text = ring_of(FIRST);
	write_keys(&place, FIRST "\n", 45);
	cr_assert_eq(keyring_open(NULL, place.path, &ring, NULL), E_OK);
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		cr_assert_eq(chmod(place.path, cases[i].mode), 0);
		cr_expect_eq(keyring_exposed(ring), cases[i].exposed, "%o", (unsigned)cases[i].mode);
	}
	cr_expect_not(keyring_exposed(text));
	unlink(place.path);
	keyring_free(ring);
	keyring_free(text);
}

Test(keyring, nothing_is_freed_without_a_ring)
{
	keyring_free(NULL);
}
