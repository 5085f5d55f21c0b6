#pragma once

/* URLs as people may see them. Any thread. */

#include <stdbool.h>

#include "common/buffer.h"

/*
 * Adds a URL without its user, password and query, which may be secrets. True: it had some. A text that is no URL is not added, which
 * counts as true.
 */
bool url_add_shown(struct buffer *out, const char *url);
