#pragma once

/* What the exit status of `kser` says; part of the interface that scripts rely on. */

#include "common/error.h"

enum exit_code {
	EXIT_OK = 0,
	EXIT_ERROR = 1,          /* anything else, e.g. the database is away */
	EXIT_USAGE = 2,          /* wrong arguments or unusable input */
	EXIT_AUTHENTICATION = 3, /* the database refused to log in, or to do this for this user */
	EXIT_MISSING = 4,        /* what was named does not exist */
	EXIT_REFUSED = 5,        /* the present state does not allow it */
	EXIT_FAILED = 6,         /* the operation ended FAILED */
	EXIT_TIMED_OUT = 7,      /* it did not end in the time given */
};

/* The exit status that an error means. */
MUST_USE enum exit_code exit_code_of(const struct error *err);

/* Tells `err` on stderr, as one line, and returns the exit status that it means. */
MUST_USE enum exit_code complain(const struct error *err);
