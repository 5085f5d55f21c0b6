#include "orchestrator/round_rules.h"

#include <stdlib.h>

/* How much the two clocks may differ between two rounds. */
#define CLOCK_STEP_MAX_US 1000000

bool round_passed(size_t count, const int64_t *ends, const int64_t *starts, const int64_t *committed)
{
	for (size_t i = 0; i < count; i++) {
		if (ends[i] == OFFSET_UNKNOWN)
			return false;
		if (committed[i] >= ends[i])
			continue;
		if (starts[i] == OFFSET_UNKNOWN || starts[i] < ends[i])
			return false;
	}
	return true;
}

int round_beyond(size_t count, const int64_t *ends, const int64_t *committed)
{
	for (size_t i = 0; i < count; i++)
		if (committed[i] > ends[i])
			return (int)i;
	return -1;
}

bool renewal_begin(struct renewal *renewal, const struct round_moment *now)
{
	const struct round_moment *last = &renewal->last;
	int64_t by_database_us = now->database_us - last->database_us, by_ours_us = (now->monotonic_ms - last->monotonic_ms) * 1000;
	bool renewed = !renewal->valid || now->term != last->term || now->connects != last->connects || llabs(by_database_us - by_ours_us) > CLOCK_STEP_MAX_US;
	if (renewed)
		renewal->since_us = now->database_us;
	renewal->valid = true;
	renewal->last = *now;
	return renewed;
}

void renewal_fail(struct renewal *renewal)
{
	renewal->valid = false;
}
