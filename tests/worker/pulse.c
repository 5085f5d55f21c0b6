/* When heartbeats are due, and when a worker is silent. */

#include <criterion/criterion.h>

#include "worker/pulse.h"

static struct pulse make(void)
{
	return (struct pulse){.quick_ms = 2000, .slow_ms = 10000, .silence_ms = 6000};
}

/* A round of `records`; its number. */
static uint64_t round_of(struct pulse *pulse, int64_t now_ms, int records)
{
	uint64_t number = pulse_begin(pulse, now_ms);
	for (int i = 0; i < records; i++)
		pulse_add(pulse, number);
	return number;
}

Test(pulse, quick_while_claims_are_held)
{
	struct pulse pulse = make();
	cr_expect_eq(pulse_wait_ms(&pulse, 1000), 0, "the first one at once");
	uint64_t number = round_of(&pulse, 1000, 1);
	pulse_record_done(&pulse, number, true);
	cr_expect_eq(pulse_wait_ms(&pulse, 1000), 10000);
	pulse_set_quick(&pulse, true, 2500);
	cr_expect_eq(pulse_wait_ms(&pulse, 2500), 500);
	cr_expect_eq(pulse_wait_ms(&pulse, 3000), 0);
	pulse_set_quick(&pulse, false, 3000);
	cr_expect_eq(pulse_wait_ms(&pulse, 3000), 8000);
}

/* From the sending of the last round that arrived as a whole; before there were claims nobody had to be heard. */
Test(pulse, silence)
{
	struct pulse pulse = make();
	pulse_record_done(&pulse, round_of(&pulse, 0, 1), true);
	cr_expect_not(pulse_is_silent(&pulse, 9000), "nothing is held");
	pulse_set_quick(&pulse, true, 9000);
	cr_expect_not(pulse_is_silent(&pulse, 15000));
	cr_expect(pulse_is_silent(&pulse, 15001));
	uint64_t number = round_of(&pulse, 12000, 2);
	pulse_record_done(&pulse, number, true);
	cr_expect(pulse_is_silent(&pulse, 15001), "half of it");
	pulse_record_done(&pulse, number, true);
	cr_expect_not(pulse_is_silent(&pulse, 18000));
	cr_expect(pulse_is_silent(&pulse, 18001), "by when it was sent, not when it was acknowledged");
	number = round_of(&pulse, 18000, 2);
	pulse_record_done(&pulse, number, false);
	pulse_record_done(&pulse, number, true);
	cr_expect(pulse_is_silent(&pulse, 18001), "a part was lost");
}

/* With the broker away rounds do not pile up; acknowledgements that come late count by their rounds. */
Test(pulse, few_rounds_on_their_way)
{
	struct pulse pulse = make();
	uint64_t numbers[PULSE_ROUNDS_MAX];
	pulse_set_quick(&pulse, true, 0);
	for (int i = 0; i < PULSE_ROUNDS_MAX; i++) {
		cr_expect_eq(pulse_wait_ms(&pulse, i * 2000), 0);
		numbers[i] = round_of(&pulse, i * 2000, 1);
	}
	cr_expect_gt(pulse_wait_ms(&pulse, 60000), 0);
	cr_expect_lt(pulse_wait_ms(&pulse, 60000), INT64_MAX, "nobody wakes the worker when they arrive");
	pulse_record_done(&pulse, numbers[1], true);
	cr_expect_eq(pulse_wait_ms(&pulse, 60000), 0);
	cr_expect_eq(pulse.heard_ms, 2000);
	uint64_t next = round_of(&pulse, 60000, 1);
	pulse_record_done(&pulse, numbers[0], true);
	cr_expect_eq(pulse.heard_ms, 2000);
	pulse_record_done(&pulse, next, true);
	cr_expect_eq(pulse.heard_ms, 60000);
	pulse_record_done(&pulse, numbers[2], true);
	cr_expect_eq(pulse.heard_ms, 60000);
	pulse_record_done(&pulse, 77, true);
}
