#pragma once

/*
 * What a round of the recovery decides without asking anybody: whether the replies that it has to wait for are applied, and since
 * when a silent claim is silent. Numbers only; any thread.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* An offset that nobody knows, or a group that has none. */
#define OFFSET_UNKNOWN (-1)

/*
 * Whether a group has gone past `ends` in every partition. A partition in which it has committed nothing, or less than the log
 * still has, counts from the log's start. False where an end or a start that matters is not known.
 */
bool round_passed(size_t count, const int64_t *ends, const int64_t *starts, const int64_t *committed);

/*
 * A partition in which a group has committed more than there is, by ends that were read after that: the topic was made anew, and what
 * was committed says nothing about its records. -1: there is none.
 */
int round_beyond(size_t count, const int64_t *ends, const int64_t *committed);

/* A round's moment by both clocks, and by whom it was seen. */
struct round_moment {
	int64_t database_us;
	int64_t monotonic_ms;
	uint32_t term;     /* of the keeper's role */
	unsigned connects; /* how often this thread has connected */
};

/*
 * The moment (the database's clock) at which all claims count as renewed. It moves to the present when silence proves nothing: a
 * clock was set, the connection or the keeper is another one, or the round before could not be completed (the workers may have
 * been silent because a server was away). A zeroed struct has seen nothing.
 */
struct renewal {
	bool valid; /* `last` was a whole round */
	int64_t since_us;
	struct round_moment last;
};

/* A round begins; returns whether all claims count as renewed now. */
bool renewal_begin(struct renewal *renewal, const struct round_moment *now);

/* The round could not be completed. */
void renewal_fail(struct renewal *renewal);
