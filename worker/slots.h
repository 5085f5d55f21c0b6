#pragma once

/*
 * The threads that run entrypoints. There are only as many as are needed: a few to begin with, more when
 * tasks wait although all are busy, up to the limit. They live until the end.
 */

#include <stddef.h>

#include "common/slice.h"
#include "worker/entrypoints.h"
#include "worker/later.h"
#include "worker/measures.h"
#include "worker/queue.h"
#include "worker/replies.h"

struct slots; /* opaque */

struct slots_setup {
	struct queue *queue;
	const struct entrypoints *entrypoints;
	struct replies *replies;
	struct later *later;
	const struct sealing *sealing; /* NULL: there is no key */
	struct slice worker; /* the incarnation */
	const struct measures *measures;
	size_t threads_max;
};

MUST_USE struct slots *slots_start(const struct slots_setup *setup);

/* Starts more threads when tasks have waited since the last look and none was taken. To be called now and then while tasks wait. */
void slots_look(struct slots *slots);

/* Waits until all threads have ended, which they do once the queue is closed; false: not within `timeout_ms`, then they use what they use for ever. */
MUST_USE bool slots_join(struct slots *slots, int timeout_ms);
