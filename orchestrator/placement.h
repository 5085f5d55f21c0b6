#pragma once

/*
 * Which task partition the next dispatches go to. A burst goes to the partition with the least
 * unanswered work, up to what that partition answered in the last 50 ms (1 to BURST_MAX), then to
 * the next: requests stay full under load, and a few lone tasks spread over the workers.
 *
 * Until end offsets are sampled the load is this process's own: dispatches minus answers that came
 * back to it. Answers that another process got are forgotten by halving the load every two seconds.
 *
 * Partitions that are known to be full (the worker that reads them has no free slot, while another one has) are taken only when
 * all are, and those without a leader only when there is nothing else.
 * Decides by numbers only: no clock, no lock, no Kafka. One thread at a time.
 */

#include <stdbool.h>
#include <stdint.h>

#include "common/limits.h"

struct placement {
	int32_t partitions; /* 1 to PARTITIONS_MAX */
	int32_t last;       /* taken last */
	int64_t tick_ms;    /* of the last 50 ms window */
	int64_t halved_ms;
	uint32_t load[PARTITIONS_MAX];
	uint32_t answered[PARTITIONS_MAX]; /* in this window */
	uint32_t burst[PARTITIONS_MAX];    /* answered in the window before, 1 to BURST_MAX */
	bool full[PARTITIONS_MAX];
	bool leaderless[PARTITIONS_MAX];
};

/* Sets the number of partitions; what is known of those that stay is kept. */
void placement_resize(struct placement *placement, int32_t partitions);

/* The partitions that are full are those listed; the `led` ones of the first `count` have a leader, and so have all others. */
void placement_set_full(struct placement *placement, const int32_t *partitions, int32_t count);
void placement_set_led(struct placement *placement, const bool *led, int32_t count);

/* Fills `targets` with a partition for each of `count` dispatches. Counts nothing: tell with placement_sent. */
void placement_choose(struct placement *placement, int64_t now_ms, int32_t *targets, int32_t count);

void placement_sent(struct placement *placement, int32_t partition);
void placement_answered(struct placement *placement, int32_t partition);
