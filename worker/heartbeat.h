#pragma once

/* The report by which the others know of a worker. */

#include <stdbool.h>
#include <stddef.h>

#include "common/buffer.h"
#include "worker/entrypoints.h"

struct heartbeat {
	struct slice worker; /* the incarnation */
	const char *host;
	const char *queue;   /* "" = the default one */
	size_t slots;
	size_t free;
	const struct entrypoints *entrypoints; /* NULL: not told this time */
	bool leaving;
};

/* Adds the record. */
void heartbeat_add(struct buffer *out, const struct heartbeat *heartbeat);
