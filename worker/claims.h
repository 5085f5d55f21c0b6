#pragma once

/*
 * Which tasks in hand are under claim: from the moment when a claim that names them is acknowledged they
 * are this worker's for as long as heartbeats name them, whatever becomes of the partition that they came from.
 *
 * A task is claimed when it has run for a while, at once when it keeps its partition back or the partition
 * is revoked, and before its start when another worker may have had it. Only keyed tasks can be named. Sees no broker; one thread.
 */

#include <stdint.h>

#include "worker/hand.h"

struct claims {
	struct hand *hand;
	int64_t after_ms; /* claimed when started so long ago */
	int64_t look_ms;  /* when those in hand are looked through again, monotonic */
	uint64_t number;  /* of the last claim record */
	size_t on_way;    /* records not acknowledged yet */
	int64_t sent_ms;  /* when the last one was made, monotonic */
};

/* The next record is to name it, unless one did already. */
void claims_ask(struct claims *claims, struct kser_task *task);

/* Asks for those that have run long enough. `full`: some partition may read no further; also for those that keep it back. */
void claims_look(struct claims *claims, int64_t now_ms, bool full);

/* When claims_look wants to be called next, monotonic; INT64_MAX: not before something comes into hand. */
int64_t claims_next_ms(const struct claims *claims);

/* Partitions are being revoked and what was not started of them is gone: asks for what runs of them. */
void claims_ask_revoked(struct claims *claims);

/*
 * Adds a record that names what was asked for, at most REPORT_NAMES_MAX; its number, or 0 when there is nothing to name. What is
 * asked for while others are on their way is gathered for a moment, so that taking over a backlog makes few records.
 */
uint64_t claims_add_record(struct claims *claims, int64_t now_ms, struct slice worker, struct buffer *out);

/* The record of that number is acknowledged. */
void claims_acknowledged(struct claims *claims, uint64_t number);

/* How many heartbeats are to name. */
size_t claims_held(const struct claims *claims);

/* Makes records that name all that are held, at most REPORT_NAMES_MAX in each, and gives each to `take`. */
void claims_name_held(const struct claims *claims, struct slice worker, void (*take)(void *context, struct slice record), void *context);
