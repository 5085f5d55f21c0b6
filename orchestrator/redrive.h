#pragma once

/*
 * Dead letters that an operator wants on their topics again: taken from the database, sent as they came, and deleted there when the
 * broker has them. At most so many at a time; one that was sent and not deleted is sent again. Belongs to the keeper's thread.
 */

#include "orchestrator/array.h"
#include "orchestrator/engine.h"

#define REDRIVE_AT_ONCE 100

struct redrive {
	int64_t begun_ms; /* the last time */
	size_t sent;      /* and not reported yet are those that the dispatcher still forwards */
	size_t count;     /* acknowledged */
	int64_t ids[REDRIVE_AT_ONCE];
	struct array array;
};

/* Notes an acknowledged one. */
void redrive_acknowledged(struct redrive *redrive, struct origin origin);

/* Goes on: deletes what the broker has once all have been reported; else, if `wanted` and the last time is a second ago, takes the next. */
void redrive_go_on(struct redrive *redrive, struct engine *engine, bool wanted);

void redrive_clear(struct redrive *redrive);
