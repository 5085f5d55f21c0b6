#pragma once

/*
 * What a worker says of itself or of several tasks: heartbeats, claims, releases. A report belongs to the
 * thread that serves acknowledgements.
 */

#include <stdint.h>

#include "worker/outgoing.h"

/* Names in one record. */
#define REPORT_NAMES_MAX 500

enum report_kind { REPORT_CLAIM, REPORT_RELEASE, REPORT_BEAT };

struct report {
	struct outgoing outgoing; /* the first member */
	enum report_kind kind;
	uint64_t number; /* of the claim, the release or the round of heartbeats */
	struct report *next, *previous; /* of those on their way */
};

/* Adds the record up to the kind's own members of metadata.kser, which follow with a comma each; `kind` as on the wire. */
void report_begin(struct buffer *out, const char *kind, struct slice worker);
void report_end(struct buffer *out);
