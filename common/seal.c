#include "common/seal.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/file.h"
#include "common/json.h"
#include "common/limits.h"
#include "common/memory.h"

#define KEY_BYTES crypto_secretbox_KEYBYTES
#define KEY_LETTERS 44 /* 32 bytes in base64, padded */
#define NONCE_LETTERS 32
#define LINE_LETTERS 76
#define LINE_END "\\n" /* in a JSON string */

static const char before_data[] = "{\"data\": \"";
static const char before_nonce[] = "\", \"nonce\": \"";
static const char after_nonce[] = "\"}";

/* ---- keys ---- */

/* Never changed once they are in a keyring. */
struct keys {
	size_t users; /* under the keyring's lock: the keyring itself, and those who seal or open with them */
	size_t count;
	unsigned char *bytes; /* guarded memory, KEY_BYTES for each */
};

struct keyring {
	pthread_mutex_t lock;
	struct keys *keys;
	char *path; /* NULL: the keys were given as text */
};

static void *guarded(size_t size)
{
	void *memory = sodium_malloc(size);
	if (!memory) {
		fputs("out of guarded memory\n", stderr);
		abort();
	}
	return memory;
}

static void keys_free(struct keys *keys)
{
	sodium_free(keys->bytes);
	free(keys);
}

static struct keys *take_keys(struct keyring *keyring)
{
	pthread_mutex_lock(&keyring->lock);
	struct keys *keys = keyring->keys;
	keys->users++;
	pthread_mutex_unlock(&keyring->lock);
	return keys;
}

static void put_back(struct keyring *keyring, struct keys *keys)
{
	pthread_mutex_lock(&keyring->lock);
	bool last = --keys->users == 0;
	pthread_mutex_unlock(&keyring->lock);
	if (last)
		keys_free(keys);
}

static const unsigned char *key(const struct keys *keys, size_t i)
{
	return keys->bytes + i * KEY_BYTES;
}

static bool separates(char byte)
{
	return byte == ' ' || byte == ',' || byte == '\n' || byte == '\r' || byte == '\t';
}

/* The next key in the text; its length is 0 at the end. */
static struct slice next_word(const char **at)
{
	while (separates(**at))
		(*at)++;
	struct slice word = {*at, 0};
	while (**at && !separates(**at))
		(*at)++;
	word.length = (size_t)(*at - word.start);
	return word;
}

static bool read_key(struct slice word, unsigned char *bytes)
{
	size_t length = 0;
	return word.length == KEY_LETTERS
		&& sodium_base642bin(bytes, KEY_BYTES, word.start, word.length, NULL, &length, NULL, sodium_base64_VARIANT_ORIGINAL) == 0
		&& length == KEY_BYTES;
}

/* `origin` is what the error calls the text. */
static enum status read_keys(const char *text, const char *origin, struct keys *keys, struct error *err)
{
	for (;;) {
		struct slice word = next_word(&text);
		if (word.length == 0)
			break;
		if (keys->count == KEYS_MAX)
			return fail(err, E_INVALID, "%s: more than %d keys", origin, KEYS_MAX);
		if (!read_key(word, keys->bytes + keys->count * KEY_BYTES))
			return fail(err, E_INVALID, "%s: key %zu is not 32 bytes in base64: %d letters of the standard alphabet with their padding",
				origin, keys->count + 1, KEY_LETTERS);
		keys->count++;
	}
	return keys->count ? E_OK : fail(err, E_INVALID, "%s: there is no key in it", origin);
}

static enum status make_keys(const char *text, const char *origin, struct keys **made, struct error *err)
{
	struct keys *keys = xcalloc(1, sizeof *keys);
	keys->users = 1;
	keys->bytes = guarded(KEYS_MAX * KEY_BYTES);
	enum status status = read_keys(text, origin, keys, err);
	if (status) {
		keys_free(keys);
		return status;
	}
	sodium_mprotect_readonly(keys->bytes);
	*made = keys;
	return E_OK;
}

/* The whole of a small file into `room` of KEY_FILE_BYTES_MAX + 1 bytes. */
static enum status read_file(const char *path, char *room, struct error *err)
{
	int file;
	enum status status = file_open(path, "the keys' file", &file, err);
	if (status)
		return status;
	size_t length = 0;
	ssize_t got = 0;
	do {
		got = read(file, room + length, KEY_FILE_BYTES_MAX + 1 - length);
		length += got > 0 ? (size_t)got : 0;
	} while (length <= KEY_FILE_BYTES_MAX && (got > 0 || (got < 0 && errno == EINTR)));
	int number = got < 0 ? errno : 0;
	close(file);
	if (number)
		return fail(err, E_INVALID, "cannot read the keys' file %.300s: %s", path, strerror(number));
	if (length > KEY_FILE_BYTES_MAX)
		return fail(err, E_INVALID, "the keys' file %.300s is larger than the limit of %d bytes", path, KEY_FILE_BYTES_MAX);
	if (memchr(room, '\0', length))
		return fail(err, E_INVALID, "the keys' file %.300s is not a text", path);
	room[length] = '\0';
	return E_OK;
}

static enum status make_keys_of_file(const char *path, struct keys **made, struct error *err)
{
	char *room = guarded(KEY_FILE_BYTES_MAX + 1);
	char origin[320];
	snprintf(origin, sizeof origin, "the keys' file %.300s", path);
	enum status status = read_file(path, room, err);
	if (!status)
		status = make_keys(room, origin, made, err);
	sodium_free(room);
	return status;
}

/* ---- keyrings ---- */

enum status keyring_open(const char *text, const char *path, struct keyring **keyring, struct error *err)
{
	if (sodium_init() < 0)
		return fail(err, E_FATAL, "libsodium does not start");
	if (!text == !path)
		return fail(err, E_INVALID, text ? "KSER_SECRETBOX_KEY and KSER_SECRETBOX_KEY_FILE are both given"
			: "no key is given: set KSER_SECRETBOX_KEY or KSER_SECRETBOX_KEY_FILE");
	struct keys *keys;
	enum status status = path ? make_keys_of_file(path, &keys, err) : make_keys(text, "KSER_SECRETBOX_KEY", &keys, err);
	if (status)
		return status;
	struct keyring *made = xcalloc(1, sizeof *made);
	pthread_mutex_init(&made->lock, NULL);
	made->keys = keys;
	made->path = path ? xstrdup(path) : NULL;
	*keyring = made;
	return E_OK;
}

void keyring_free(struct keyring *keyring)
{
	if (!keyring)
		return;
	assert(keyring->keys->users == 1);
	keys_free(keyring->keys);
	pthread_mutex_destroy(&keyring->lock);
	free(keyring->path);
	free(keyring);
}

enum status keyring_reload(struct keyring *keyring, struct error *err)
{
	if (!keyring->path)
		return E_OK;
	struct keys *fresh;
	enum status status = make_keys_of_file(keyring->path, &fresh, err);
	if (status)
		return status;
	pthread_mutex_lock(&keyring->lock);
	struct keys *old = keyring->keys;
	keyring->keys = fresh;
	pthread_mutex_unlock(&keyring->lock);
	put_back(keyring, old);
	return E_OK;
}

bool keyring_exposed(const struct keyring *keyring)
{
	struct stat about;
	return keyring->path && stat(keyring->path, &about) == 0 && (about.st_mode & (S_IWGRP | S_IRWXO));
}

size_t keyring_count(struct keyring *keyring)
{
	struct keys *keys = take_keys(keyring);
	size_t count = keys->count;
	put_back(keyring, keys);
	return count;
}

/* ---- sealing ---- */

/* Bytes of the envelope around a text of that length. */
static size_t envelope_size(size_t text_length)
{
	size_t letters = (text_length + crypto_secretbox_MACBYTES + 2) / 3 * 4;
	size_t line_ends = (letters - 1) / LINE_LETTERS;
	return sizeof before_data - 1 + letters + line_ends * strlen(LINE_END) + sizeof before_nonce - 1 + NONCE_LETTERS + sizeof after_nonce - 1;
}

size_t seal_text_max(size_t envelope_bytes)
{
	const size_t around = sizeof before_data - 1 + sizeof before_nonce - 1 + NONCE_LETTERS + sizeof after_nonce - 1;
	const size_t line = LINE_LETTERS + sizeof LINE_END - 1;
	size_t room = envelope_bytes > around ? envelope_bytes - around : 0;
	size_t rest = room % line;
	size_t letters = room / line * LINE_LETTERS + (rest < LINE_LETTERS ? rest : LINE_LETTERS);
	size_t sealed = letters / 4 * 3;
	return sealed > crypto_secretbox_MACBYTES ? sealed - crypto_secretbox_MACBYTES : 0;
}

/* Adds base64 in lines, as it stands in a JSON string. */
static void add_base64(struct buffer *out, const unsigned char *bytes, size_t length)
{
	size_t room = sodium_base64_encoded_len(length, sodium_base64_VARIANT_ORIGINAL);
	char *letters CLEANUP(free_pointer) = xmalloc(room);
	sodium_bin2base64(letters, room, bytes, length, sodium_base64_VARIANT_ORIGINAL);
	for (size_t at = 0; at < room - 1; at += LINE_LETTERS) {
		if (at > 0)
			buffer_add_text(out, LINE_END);
		size_t rest = room - 1 - at;
		buffer_add(out, letters + at, rest < LINE_LETTERS ? rest : LINE_LETTERS);
	}
}

enum status seal_add(struct keyring *keyring, struct slice text, struct buffer *envelope, struct error *err)
{
	if (text.length > MESSAGE_BYTES_MAX || envelope_size(text.length) > MESSAGE_BYTES_MAX)
		return fail(err, E_INVALID, "a message of %zu bytes cannot be sealed: sealed, %d are the limit", text.length, MESSAGE_BYTES_MAX);
	unsigned char nonce[crypto_secretbox_NONCEBYTES];
	randombytes_buf(nonce, sizeof nonce);
	size_t length = text.length + crypto_secretbox_MACBYTES;
	unsigned char *sealed CLEANUP(free_pointer) = xmalloc(length);
	struct keys *keys = take_keys(keyring);
	int failed = crypto_secretbox_easy(sealed, (const unsigned char *)text.start, text.length, nonce, key(keys, 0));
	put_back(keyring, keys);
	assert(!failed);
	buffer_add_text(envelope, before_data);
	add_base64(envelope, sealed, length);
	buffer_add_text(envelope, before_nonce);
	add_base64(envelope, nonce, sizeof nonce);
	buffer_add_text(envelope, after_nonce);
	return E_OK;
}

/* ---- opening ---- */

/* The two fields, each once and no other one: the Python library refuses more as well. */
static enum status read_envelope(struct slice envelope, struct json_value *data, struct json_value *nonce, struct error *err)
{
	struct json_value root;
	struct error reason;
	if (json_validate(envelope, MESSAGE_BYTES_MAX, &root, &reason))
		return fail(err, E_INVALID, "not a sealed message: %.600s", reason.text);
	struct json_iterator members = json_iterate(root);
	struct json_member member;
	size_t count = 0;
	if (root.kind == JSON_OBJECT)
		while (json_next_member(&members, &member))
			count++;
	if (count != 2 || !json_find(root, "data", data) || !json_find(root, "nonce", nonce))
		return fail(err, E_INVALID, "not a sealed message: it must be an object of data and nonce");
	if (data->kind != JSON_STRING || nonce->kind != JSON_STRING)
		return fail(err, E_INVALID, "not a sealed message: data and nonce must be strings");
	return E_OK;
}

bool seal_is_envelope(struct slice record)
{
	struct json_value data, nonce;
	return read_envelope(record, &data, &nonce, NULL) == E_OK;
}

/* Adds the bytes that a string says in base64; white space is passed over. */
static bool add_decoded(struct buffer *out, struct json_value string)
{
	struct buffer scratch CLEANUP(buffer_clear) = {0};
	struct slice letters = json_string(string, &scratch);
	size_t most = letters.length / 4 * 3 + 3;
	size_t length = 0;
	char *room = buffer_reserve(out, most);
	if (sodium_base642bin((unsigned char *)room, most, letters.start, letters.length, " \t\r\n", &length, NULL, sodium_base64_VARIANT_ORIGINAL))
		return false;
	out->length += length;
	return true;
}

/* Makes room for the text behind `text` and opens into it; its length grows by what was sealed. */
static bool open_with_any(const struct keys *keys, struct slice sealed, const unsigned char *nonce, struct buffer *text)
{
	size_t length = sealed.length - crypto_secretbox_MACBYTES;
	char *room = buffer_reserve(text, length + 1);
	bool opened = false;
	for (size_t i = 0; i < keys->count && !opened; i++)
		opened = crypto_secretbox_open_easy((unsigned char *)room, (const unsigned char *)sealed.start, sealed.length, nonce, key(keys, i)) == 0;
	if (opened)
		text->length += length;
	text->bytes[text->length] = '\0';
	return opened;
}

enum status seal_open(struct keyring *keyring, struct slice envelope, struct buffer *text, struct error *err)
{
	struct json_value data, nonce;
	struct buffer sealed CLEANUP(buffer_clear) = {0}, nonce_bytes CLEANUP(buffer_clear) = {0};
	enum status status = read_envelope(envelope, &data, &nonce, err);
	if (status)
		return status;
	if (!add_decoded(&nonce_bytes, nonce) || nonce_bytes.length != crypto_secretbox_NONCEBYTES)
		return fail(err, E_INVALID, "not a sealed message: nonce must be %u bytes in base64", crypto_secretbox_NONCEBYTES);
	if (!add_decoded(&sealed, data))
		return fail(err, E_INVALID, "not a sealed message: data must be base64");
	if (sealed.length < crypto_secretbox_MACBYTES)
		return fail(err, E_INVALID, "not a sealed message: data must be at least %u bytes", crypto_secretbox_MACBYTES);
	struct keys *keys = take_keys(keyring);
	size_t count = keys->count;
	bool opened = open_with_any(keys, buffer_slice(&sealed), (const unsigned char *)nonce_bytes.bytes, text);
	put_back(keyring, keys);
	if (!opened)
		return fail(err, E_INVALID, "cannot be opened: %s, or it was altered", count == 1 ? "another key sealed it" : "none of the keys sealed it");
	return E_OK;
}
