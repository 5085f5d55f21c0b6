#pragma once

/*
 * Tasks that are given back without a result, because they were not started or were ended: named in
 * releases, and out of hand when those are acknowledged. Sees no broker; one thread, but for release_add_one.
 */

#include <stdint.h>

#include "worker/hand.h"

struct releases {
	struct hand *hand;
	uint64_t number; /* of the last record */
};

/* The next record is to name it. Nobody runs it, or will; it must be keyed and not released yet. */
void release_ask(struct releases *releases, struct kser_task *task, enum release_reason reason);

/* Adds a record that names what was asked for, at most REPORT_NAMES_MAX; its number, or 0 when there is nothing to name. */
uint64_t release_add_record(struct releases *releases, struct slice worker, struct buffer *out);

/* The record of that number is acknowledged: what it names is out of hand and freed. */
void release_acknowledged(struct releases *releases, uint64_t number);

/* Adds the record that releases one task, in place of its reply. Any thread. */
void release_add_one(struct buffer *out, const struct kser_task *task, enum release_reason reason, struct slice worker);
