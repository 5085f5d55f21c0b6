#pragma once

/* Files that settings name. Whatever else stands there is refused, and nothing waits for whoever is to write to it. */

#include "common/error.h"

/*
 * Opens a regular file to read; links are followed. *file: its descriptor, closed on exec, the caller's. E_INVALID: it
 * cannot be opened, or is no regular file; `what` is how the error calls it: "the keys' file".
 */
MUST_USE enum status file_open(const char *path, const char *what, int *file, struct error *err);
