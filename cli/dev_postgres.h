#pragma once

/*
 * The private PostgreSQL of a dev stack: made for it, reachable through a unix socket in a directory that only its owner may
 * enter, gone with it. As root it runs as the user postgres, since it refuses to run as root. One thread.
 */

#include <limits.h>

#include "cli/dev_child.h"
#include "common/error.h"

struct dev_postgres {
	struct child server;
	char binaries[PATH_MAX]; /* the directory of initdb and postgres */
	char home[PATH_MAX];     /* of data/ and the socket */
	const char *user;        /* of the system; NULL: ours */
};

/* The user of the database, and the database that is made when the server is there. */
#define DEV_POSTGRES_ROLE "postgres"
#define DEV_POSTGRES_DATABASE "kser"

/*
 * Makes a cluster in the directory `own`. `binaries` NULL: looks in PATH, then for the newest in /usr/lib/postgresql.
 * E_INVALID: no PostgreSQL of version 15 or newer; E_RETRY: stopped meanwhile.
 */
MUST_USE enum status dev_postgres_make(struct dev_postgres *postgres, const char *own, const char *binaries, const char *log, struct error *err);

/* Starts the server and makes the database. */
MUST_USE enum status dev_postgres_start(struct dev_postgres *postgres, struct error *err);

/* Adds the libpq URI of one of its databases. */
void dev_postgres_add_url(struct buffer *out, const struct dev_postgres *postgres, const char *database);

/* Stops it; `*now` as of child_stop. */
void dev_postgres_stop(struct dev_postgres *postgres, bool *now);
