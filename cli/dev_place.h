#pragma once

/*
 * Where a dev stack keeps its files: a temporary directory of its own, which disappears with it, and the directory that the
 * user named (or else the same one) with `env`, `lock` and `log/`. Of the user's directory only what was made here is removed.
 */

#include <limits.h>
#include <stdbool.h>

#include "common/error.h"

struct place {
	char own[PATH_MAX];      /* temporary; "" until it is made */
	char directory[PATH_MAX]; /* the user's, absolute, or `own` */
	bool made;                /* the user's directory did not exist */
	int lock;                 /* locked while the stack lives; -1: not */
};

/*
 * Makes and locks it. `directory` NULL: none named. E_CONFLICT: another dev stack lives there; E_INVALID: cannot be made, or
 * it (or log/ in it) is a link, belongs to another user, or others can write in it.
 * place_close is due whatever comes back.
 */
MUST_USE enum status place_open(struct place *place, const char *directory, struct error *err);

/* Removes it. With `keep_logs` what stands in log/ of a named directory stays. */
void place_close(struct place *place, bool keep_logs);

/* Writes the path of a log into `path`. */
void place_log(const struct place *place, const char *name, char path[PATH_MAX]);

/* Writes `env`, as a whole or not at all: export lines for the NAME=VALUE settings (NULL at the end). */
MUST_USE enum status place_write_env(const struct place *place, const char *const *settings, struct error *err);
