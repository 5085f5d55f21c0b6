#pragma once

/* The report by which the others know of a worker. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buffer.h"
#include "worker/entrypoints.h"

struct heartbeat {
	struct slice worker; /* the incarnation */
	const char *host;
	const char *queue;   /* "" = the default one */
	size_t slots;
	size_t free;
	size_t waiting;      /* tasks fetched and not started */
	size_t claims;       /* held */
	const int32_t *partitions; /* assigned to it */
	size_t partition_count;
	const struct entrypoints *entrypoints; /* NULL: not told this time */
	bool leaving;
};

/* Adds the record. */
void heartbeat_add(struct buffer *out, const struct heartbeat *heartbeat);
