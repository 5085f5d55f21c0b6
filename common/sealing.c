#include "common/sealing.h"

#include <stdlib.h>

#include "common/limits.h"
#include "common/log.h"
#include "common/memory.h"
#include "common/seal.h"

struct sealing {
	struct keyring *keyring;
	enum plaintext plaintext;
	bool from_file;
};

const char *const sealing_plaintext_choices[] = {
	[PLAINTEXT_REFUSED] = "refuse", [PLAINTEXT_ACCEPTED] = "accept", [PLAINTEXT_SENT] = "send", NULL,
};

/* ---- keys ---- */

static const char *or_null(const char *text)
{
	return text && text[0] ? text : NULL;
}

enum status sealing_open(const struct sealing_settings *settings, struct sealing **sealing, struct error *err)
{
	const char *key = or_null(settings->key), *file = or_null(settings->key_file);
	*sealing = NULL;
	if (!key && !file && settings->plaintext != PLAINTEXT_REFUSED)
		return fail(err, E_INVALID, "secretbox-plaintext: is for programs with a key, and none is given");
	if (!key && !file)
		return E_OK;
	struct keyring *keyring;
	enum status status = keyring_open(key, file, &keyring, err);
	if (status)
		return status;
	struct sealing *made = xcalloc(1, sizeof *made);
	*made = (struct sealing){.keyring = keyring, .plaintext = (enum plaintext)settings->plaintext, .from_file = file != NULL};
	*sealing = made;
	return E_OK;
}

void sealing_free(struct sealing *sealing)
{
	if (!sealing)
		return;
	keyring_free(sealing->keyring);
	free(sealing);
}

static void warn_of_others(const struct sealing *sealing)
{
	if (keyring_exposed(sealing->keyring))
		log_warning("the keys' file is open to others: chmod 0600, or 0640 with a group of its own");
}

void sealing_tell(const struct sealing *sealing)
{
	if (!sealing)
		return;
	warn_of_others(sealing);
	log_info("messages are sealed", "keys", LOG_INT(keyring_count(sealing->keyring)), "plaintext", sealing_plaintext_choices[sealing->plaintext]);
}

void sealing_reload(struct sealing *sealing)
{
	struct error err;
	if (!sealing || !sealing->from_file) {
		log_info("there is no file of keys to read again");
		return;
	}
	if (keyring_reload(sealing->keyring, &err))
		log_error("cannot read the keys again, those before stay", "error", err.text);
	else
		log_info("read the keys again", "keys", LOG_INT(keyring_count(sealing->keyring)));
	warn_of_others(sealing);
}

/* ---- reading ---- */

static bool is_to_open(const struct sealing *sealing, struct slice record)
{
	return sealing && (sealing->plaintext == PLAINTEXT_REFUSED || seal_is_envelope(record));
}

enum status sealing_read(const struct sealing *sealing, struct slice record, struct buffer *opened, struct message *message, struct error *err)
{
	if (is_to_open(sealing, record)) {
		enum status status = seal_open(sealing->keyring, record, opened, err);
		if (status && record.length <= MESSAGE_BYTES_MAX && !seal_is_envelope(record))
			return fail(err, E_INVALID, "is not sealed, and plaintext is refused");
		return status ? status : message_parse(buffer_slice(opened), message, err);
	}
	enum status status = message_parse(record, message, err);
	if (status && !sealing && seal_is_envelope(record))
		return fail(err, E_INVALID, "is sealed, and no key is given");
	return status;
}

/* ---- writing ---- */

enum status sealing_write(const struct sealing *sealing, struct slice text, struct buffer *room, struct slice *record, struct error *err)
{
	*record = text;
	if (!sealing || sealing->plaintext == PLAINTEXT_SENT)
		return E_OK;
	buffer_reset(room);
	enum status status = seal_add(sealing->keyring, text, room, err);
	if (!status)
		*record = buffer_slice(room);
	return status;
}

enum status sealing_write_again(const struct sealing *sealing, struct slice bytes, struct buffer *room, struct slice *record, struct error *err)
{
	*record = bytes;
	return sealing && seal_is_envelope(bytes) ? E_OK : sealing_write(sealing, bytes, room, record, err);
}

size_t sealing_text_max(const struct sealing *sealing, size_t record_bytes)
{
	return sealing && sealing->plaintext != PLAINTEXT_SENT ? seal_text_max(record_bytes) : record_bytes;
}
