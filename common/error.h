#pragma once

/*
 * What a function that can fail says: one status to decide by, one text to read.
 *
 * The text is written once, by the function that knows what went wrong; whoever reacts to the
 * status logs it once. A struct error is plain memory: no ownership, any thread, one at a time.
 * Running out of memory and broken invariants are not errors: they abort.
 */

#include "common/attributes.h"

enum status {
	E_OK = 0,
	E_RETRY,    /* may heal by itself: try again later */
	E_INVALID,  /* what was given is wrong: never try again unchanged */
	E_CONFLICT, /* refused by the present state */
	E_MISSING,  /* what was named does not exist */
	E_FATAL,    /* this process cannot go on */
};

struct error {
	enum status status;
	char sqlstate[6]; /* of PostgreSQL, "" when the error is not from there */
	char text[700];   /* one line, valid UTF-8, no control characters */
};

/* Fills `err` (may be NULL) and returns `status`. Control characters in the result are escaped. */
enum status fail(struct error *err, enum status status, const char *format, ...) PRINTF_LIKE(3, 4);

/* "retry", "invalid" …, for logs and tests. Static text. */
const char *status_name(enum status status);
