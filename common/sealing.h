#pragma once

/*
 * How a program's records travel: as plaintext or, once it was given a key, sealed. The one place where a
 * record becomes a message and a text becomes a record. NULL stands for a program without a key: everything is plaintext, at
 * no cost. Any thread.
 */

#include "common/buffer.h"
#include "common/error.h"
#include "common/message.h"
#include "common/settings.h"
#include "common/slice.h"

struct sealing; /* opaque */

/* What a program with a key does with plaintext. */
enum plaintext {
	PLAINTEXT_REFUSED,
	PLAINTEXT_ACCEPTED, /* read as well, not sent */
	PLAINTEXT_SENT,     /* read as well, and all that is sent */
};

/* Members of both programs' settings. */
struct sealing_settings {
	const char *key;      /* "": none; as the next one */
	const char *key_file;
	int plaintext;        /* enum plaintext */
};
extern const char *const sealing_plaintext_choices[];

/* The rows of a program's table of settings that fill it; `at`: its offset in the program's struct. */
#define SEALING_SETTINGS(at) \
	{.name = "secretbox-key", .kind = SETTING_KEY, .offset = (at) + offsetof(struct sealing_settings, key), .fallback = "", \
		.help = "seals messages: 32 bytes in base64, or several of them, of which the first seals and all open"}, \
	{.name = "secretbox-key-file", .kind = SETTING_TEXT, .offset = (at) + offsetof(struct sealing_settings, key_file), .fallback = "", \
		.help = "a file with the same, read again at SIGHUP; neither of the two: messages are plaintext"}, \
	{.name = "secretbox-plaintext", .kind = SETTING_CHOICE, .offset = (at) + offsetof(struct sealing_settings, plaintext), .fallback = "refuse", \
		.choices = sealing_plaintext_choices, .help = "what becomes of plaintext where there is a key: refused, read as well, or read and sent too; for moving a running fleet"}

/* E_OK: *sealing is NULL when there is no key. E_INVALID: as keyring_open, or plaintext is allowed where nothing else is known. */
MUST_USE enum status sealing_open(const struct sealing_settings *settings, struct sealing **sealing, struct error *err);

/* Waits for nobody: nobody else may use it any more. NULL is allowed. */
void sealing_free(struct sealing *sealing);

/* Logs how records travel. */
void sealing_tell(const struct sealing *sealing);

/* Reads the file of keys again and logs what came of it; when it is unusable the keys stay as they were. */
void sealing_reload(struct sealing *sealing);

/*
 * Reads a record. What was sealed is added to `opened`, which is empty and must live as long as the message; else the message borrows
 * the record's bytes and `opened` stays empty. E_INVALID: it does not open, is not sealed and should be, or is no message.
 */
MUST_USE enum status sealing_read(const struct sealing *sealing, struct slice record, struct buffer *opened, struct message *message, struct error *err);

/* The record of a text, in `room` or as it is. E_INVALID: it would be larger than MESSAGE_BYTES_MAX. */
MUST_USE enum status sealing_write(const struct sealing *sealing, struct slice text, struct buffer *room, struct slice *record, struct error *err);

/* As sealing_write for a record that was on a topic before: what is sealed goes as it is. */
MUST_USE enum status sealing_write_again(const struct sealing *sealing, struct slice bytes, struct buffer *room, struct slice *record, struct error *err);

/* The longest text whose record has at most so many bytes. */
size_t sealing_text_max(const struct sealing *sealing, size_t record_bytes);
