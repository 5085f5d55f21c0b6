#pragma once

/*
 * Sends what the worker says of itself and its tasks, and follows it: claims and releases that were asked
 * for, and heartbeats when they are due. One thread, the one that serves acknowledgements.
 */

#include <stdbool.h>
#include <stdint.h>

#include "common/slice.h"
#include "worker/claims.h"
#include "worker/entrypoints.h"
#include "worker/queue.h"
#include "worker/release.h"
#include "worker/replies.h"

struct intake;
struct report;
struct reporter; /* opaque */

struct reporter_setup {
	struct slice worker; /* the incarnation */
	const char *host;
	const char *queue_name;
	size_t slots;
	const struct entrypoints *entrypoints;
	struct claims *claims;
	struct releases *releases;
	struct queue *queue;
	struct replies *replies;
	const struct gate *gate;
	int64_t beat_ms;    /* while claims are held */
	int64_t silence_ms;
};

MUST_USE struct reporter *reporter_new(const struct reporter_setup *setup);

/* NULL is allowed. No acknowledgement may come any more. */
void reporter_free(struct reporter *reporter);

/* Whose partitions heartbeats name; NULL: none. */
void reporter_set_intake(struct reporter *reporter, const struct intake *intake);

/* Sends the claims and releases that were asked for. */
void reporter_send_asked(struct reporter *reporter);

/* Sends a heartbeat and names the claims when that is due. */
void reporter_beat(struct reporter *reporter);

/* Sends the last heartbeat. */
void reporter_say_farewell(struct reporter *reporter);

/* Milliseconds until reporter_beat may be due. */
int64_t reporter_wait_ms(const struct reporter *reporter);

/* Whether nobody has heard of this worker for too long. */
bool reporter_is_silent(const struct reporter *reporter);

/* A report came to the broker, or was given up. Frees it. */
void reporter_done(struct reporter *reporter, struct report *report, bool acknowledged);
