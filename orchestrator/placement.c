#include "orchestrator/placement.h"

#include <assert.h>
#include <string.h>

#define WINDOW_MS 50
#define HALVE_MS 2000

static uint32_t clamp_burst(uint32_t answered)
{
	return answered < 1 ? 1 : answered > BURST_MAX ? BURST_MAX : answered;
}

void placement_resize(struct placement *placement, int32_t partitions)
{
	assert(partitions >= 1 && partitions <= PARTITIONS_MAX);
	for (int32_t p = placement->partitions; p < partitions; p++) {
		placement->load[p] = placement->answered[p] = 0;
		placement->burst[p] = 1;
		placement->full[p] = placement->leaderless[p] = false;
	}
	placement->partitions = partitions;
	if (placement->last >= partitions)
		placement->last = 0;
}

void placement_set_full(struct placement *placement, const int32_t *partitions, int32_t count)
{
	memset(placement->full, 0, sizeof placement->full);
	for (int32_t i = 0; i < count; i++)
		if (partitions[i] >= 0 && partitions[i] < placement->partitions)
			placement->full[partitions[i]] = true;
}

void placement_set_led(struct placement *placement, const bool *led, int32_t count)
{
	for (int32_t p = 0; p < placement->partitions; p++)
		placement->leaderless[p] = p < count && !led[p];
}

static void turn_windows(struct placement *placement, int64_t now_ms)
{
	bool turn = now_ms - placement->tick_ms >= WINDOW_MS;
	bool halve = now_ms - placement->halved_ms >= HALVE_MS;
	for (int32_t p = 0; (turn || halve) && p < placement->partitions; p++) {
		if (turn) {
			placement->burst[p] = clamp_burst(placement->answered[p]);
			placement->answered[p] = 0;
		}
		if (halve)
			placement->load[p] /= 2;
	}
	if (turn)
		placement->tick_ms = now_ms;
	if (halve)
		placement->halved_ms = now_ms;
}

static int reluctance(const struct placement *placement, int32_t partition)
{
	return 2 * placement->leaderless[partition] + placement->full[partition];
}

/* The least loaded one of those that are taken least reluctantly, counting what this very call has given it; the next in turn among equals. */
static int32_t least_loaded(const struct placement *placement, const uint32_t *given)
{
	int32_t best = -1;
	for (int32_t i = 1; i <= placement->partitions; i++) {
		int32_t p = (placement->last + i) % placement->partitions;
		int worse = best < 0 ? -1 : reluctance(placement, p) - reluctance(placement, best);
		if (worse < 0 || (worse == 0 && placement->load[p] + given[p] < placement->load[best] + given[best]))
			best = p;
	}
	return best;
}

void placement_choose(struct placement *placement, int64_t now_ms, int32_t *targets, int32_t count)
{
	uint32_t given[PARTITIONS_MAX];
	turn_windows(placement, now_ms);
	for (int32_t p = 0; p < placement->partitions; p++)
		given[p] = 0;
	for (int32_t done = 0; done < count;) {
		int32_t p = least_loaded(placement, given);
		for (uint32_t i = 0; i < placement->burst[p] && done < count; i++, given[p]++)
			targets[done++] = p;
		placement->last = p;
	}
}

void placement_sent(struct placement *placement, int32_t partition)
{
	if (partition >= 0 && partition < placement->partitions)
		placement->load[partition]++;
}

void placement_answered(struct placement *placement, int32_t partition)
{
	if (partition < 0 || partition >= placement->partitions)
		return;
	placement->answered[partition]++;
	if (placement->load[partition] > 0)
		placement->load[partition]--;
}
