#pragma once

/*
 * Sealed messages: kser's envelope {"data", "nonce"} around the text of a Message. Both are base64 in lines of 76
 * characters; data is libsodium's secretbox (XSalsa20-Poly1305) of the text, the nonce its 24 random bytes. What the
 * Python library kser seals is opened here and the other way round.
 *
 * A keyring has several keys: the first one seals, all of them open. Keys are in guarded memory that is not swapped
 * and not dumped, they are wiped when they go, and no error text repeats a part of one. Any thread may seal and open
 * while another one reloads: who has begun with the old keys ends with them.
 *
 * A seal says nothing about order or repetition; what binds a body to its task stands inside.
 */

#include "common/buffer.h"
#include "common/error.h"
#include "common/slice.h"

struct keyring; /* opaque */

/*
 * The keys of `text` (the value of KSER_SECRETBOX_KEY) or those of the file `path` (KSER_SECRETBOX_KEY_FILE); NULL:
 * not given. Keys are base64 (standard alphabet, padded) of 32 bytes each, separated by white space or commas.
 * `text` is copied. E_INVALID: none or both of them given, not readable, no key, too many, or which key is wrong.
 */
MUST_USE enum status keyring_open(const char *text, const char *path, struct keyring **keyring, struct error *err);

/* Waits for nobody: nobody else may use the keyring any more. NULL is allowed. */
void keyring_free(struct keyring *keyring);

/*
 * Reads the file again. E_INVALID, and the keys stay as they were: as keyring_open says. Keys that were given as text
 * are what they are: E_OK.
 */
MUST_USE enum status keyring_reload(struct keyring *keyring, struct error *err);

/* Whether others than the file's owner and its group may read it, or others than its owner write to it. */
bool keyring_exposed(const struct keyring *keyring);

/* How many keys there are. */
size_t keyring_count(struct keyring *keyring);

/* Adds the envelope of `text`. E_INVALID: it would be larger than MESSAGE_BYTES_MAX. */
MUST_USE enum status seal_add(struct keyring *keyring, struct slice text, struct buffer *envelope, struct error *err);

/* The longest text whose envelope has at most so many bytes. */
size_t seal_text_max(size_t envelope_bytes);

/* Whether a record has an envelope's form, whatever it holds: an object of data and nonce, both strings. */
bool seal_is_envelope(struct slice record);

/*
 * Adds the text that was sealed, which may be any bytes. E_INVALID, and nothing is added: not an envelope, or no key
 * opens it. There is no way through for a message that is not sealed.
 */
MUST_USE enum status seal_open(struct keyring *keyring, struct slice envelope, struct buffer *text, struct error *err);
