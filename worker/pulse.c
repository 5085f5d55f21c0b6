#include "worker/pulse.h"

void pulse_set_quick(struct pulse *pulse, bool quick, int64_t now_ms)
{
	if (quick && !pulse->quick)
		pulse->heard_ms = now_ms;
	pulse->quick = quick;
}

static size_t on_their_way(const struct pulse *pulse)
{
	size_t count = 0;
	for (size_t i = 0; i < PULSE_ROUNDS_MAX; i++)
		count += pulse->rounds[i].left > 0;
	return count;
}

int64_t pulse_wait_ms(const struct pulse *pulse, int64_t now_ms)
{
	if (pulse->number == 0)
		return 0;
	if (on_their_way(pulse) == PULSE_ROUNDS_MAX)
		return pulse->quick_ms;
	int64_t wait_ms = pulse->sent_ms + (pulse->quick ? pulse->quick_ms : pulse->slow_ms) - now_ms;
	return wait_ms > 0 ? wait_ms : 0;
}

static struct pulse_round *find(struct pulse *pulse, uint64_t number)
{
	for (size_t i = 0; i < PULSE_ROUNDS_MAX; i++)
		if (pulse->rounds[i].number == number)
			return &pulse->rounds[i];
	return NULL;
}

uint64_t pulse_begin(struct pulse *pulse, int64_t now_ms)
{
	pulse->sent_ms = now_ms;
	pulse->number++;
	for (size_t i = 0; i < PULSE_ROUNDS_MAX; i++) {
		if (pulse->rounds[i].left > 0)
			continue;
		pulse->rounds[i] = (struct pulse_round){.number = pulse->number, .sent_ms = now_ms};
		break;
	}
	return pulse->number;
}

void pulse_add(struct pulse *pulse, uint64_t number)
{
	struct pulse_round *round = find(pulse, number);
	if (round)
		round->left++;
}

void pulse_record_done(struct pulse *pulse, uint64_t number, bool acknowledged)
{
	struct pulse_round *round = find(pulse, number);
	if (!round || round->left == 0)
		return;
	round->failed |= !acknowledged;
	if (--round->left == 0 && !round->failed && round->sent_ms > pulse->heard_ms)
		pulse->heard_ms = round->sent_ms;
}

bool pulse_is_silent(const struct pulse *pulse, int64_t now_ms)
{
	return pulse->quick && now_ms - pulse->heard_ms > pulse->silence_ms;
}
