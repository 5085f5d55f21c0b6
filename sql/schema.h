#pragma once

/* The schema's version: the number of the last migration, and a hash of the functions. */

#include "sql/connection.h"

struct schema_status {
	int installed;        /* 0: none */
	int wanted;           /* of this program */
	bool functions_same;  /* the installed functions are those of this program */
};

MUST_USE enum status schema_status(struct connection *connection, struct schema_status *status, struct error *err);

/* E_OK: this program may run on it. E_CONFLICT: `err` says which command to run; E_RETRY as usual. */
MUST_USE enum status schema_check(struct connection *connection, struct error *err);

/*
 * Brings the schema to this program's version: missing migrations and all functions, in one transaction under an
 * advisory lock (waits for another migrate). E_CONFLICT: the schema is newer. `before` may be NULL.
 */
MUST_USE enum status schema_migrate(struct connection *connection, struct schema_status *before, struct error *err);
