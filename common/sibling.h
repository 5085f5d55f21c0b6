#pragma once

/* Programs that are installed together find one another without a setting. Any thread. */

#include <limits.h>

#include "common/error.h"

/*
 * Writes into `path` where the program `name` is: in the directory of the running program, whatever name or link that was started
 * by. E_INVALID: none there that this user can run; E_FATAL: it cannot be told where the running program is. On error `path` is
 * not to be used.
 */
MUST_USE enum status sibling_find(const char *name, char path[PATH_MAX], struct error *err);
