#include "orchestrator/round_rules.h"

#include <criterion/criterion.h>

#define UNKNOWN OFFSET_UNKNOWN

static bool passed(int64_t end, int64_t start, int64_t committed)
{
	return round_passed(1, &end, &start, &committed);
}

Test(round_rules, a_group_has_passed_what_it_has_committed)
{
	cr_assert(passed(10, 0, 10));
	cr_assert(passed(10, 0, 12), "the end was read before");
	cr_assert_not(passed(10, 0, 9));
	cr_assert_not(passed(10, 3, 0));
}

Test(round_rules, a_partition_without_a_commit_is_passed_when_it_has_no_record)
{
	cr_assert(passed(0, 0, UNKNOWN));
	cr_assert(passed(7, 7, UNKNOWN), "all records were deleted by age");
	cr_assert_not(passed(7, 6, UNKNOWN));
}

Test(round_rules, a_commit_below_the_logs_start_counts_as_the_start)
{
	cr_assert(passed(7, 7, 2));
	cr_assert_not(passed(8, 7, 2));
}

Test(round_rules, what_is_not_known_is_not_passed)
{
	cr_assert_not(passed(UNKNOWN, 0, 5));
	cr_assert_not(passed(5, UNKNOWN, UNKNOWN));
	cr_assert(passed(5, UNKNOWN, 5));
}

Test(round_rules, every_partition_counts)
{
	const int64_t ends[] = {3, 4, 0}, starts[] = {0, 0, 0};
	cr_assert(round_passed(3, ends, starts, (int64_t[]){3, 4, UNKNOWN}));
	cr_assert_not(round_passed(3, ends, starts, (int64_t[]){3, 3, UNKNOWN}));
	cr_assert_not(round_passed(3, ends, starts, (int64_t[]){UNKNOWN, 4, UNKNOWN}));
}

Test(round_rules, a_commit_beyond_the_end_is_told)
{
	cr_assert_eq(round_beyond(2, (int64_t[]){5, 5}, (int64_t[]){5, UNKNOWN}), -1);
	cr_assert_eq(round_beyond(2, (int64_t[]){5, 5}, (int64_t[]){5, 6}), 1);
}

/* A round so many ms after the test's begin by each clock. */
static bool round_at(struct renewal *renewal, int64_t database_ms, int64_t monotonic_ms, uint32_t term, unsigned connects)
{
	const struct round_moment now = {database_ms * 1000, 5000000 + monotonic_ms, term, connects};
	return renewal_begin(renewal, &now);
}

Test(round_rules, the_first_round_renews_all_claims_and_the_next_does_not)
{
	struct renewal renewal = {0};
	cr_assert(round_at(&renewal, 1000, 0, 1, 1));
	cr_assert_eq(renewal.since_us, 1000000);
	cr_assert_not(round_at(&renewal, 3000, 2000, 1, 1));
	cr_assert_not(round_at(&renewal, 3600000, 3599500, 1, 1), "half a second in an hour is drift");
	cr_assert_eq(renewal.since_us, 1000000);
}

Test(round_rules, a_clock_that_was_set_renews)
{
	struct renewal forward = {0}, back = {0}, ours = {0};
	round_at(&forward, 1000, 0, 1, 1);
	cr_assert(round_at(&forward, 4500, 2000, 1, 1));
	cr_assert_eq(forward.since_us, 4500000);
	round_at(&back, 100000, 0, 1, 1);
	cr_assert(round_at(&back, 2000, 2000, 1, 1));
	cr_assert_eq(back.since_us, 2000000);
	round_at(&ours, 1000, 0, 1, 1);
	cr_assert(round_at(&ours, 61000, 2000, 1, 1), "this machine slept");
}

Test(round_rules, another_keeper_connection_or_failed_round_renews)
{
	struct renewal renewal = {0};
	round_at(&renewal, 1000, 0, 1, 1);
	cr_assert(round_at(&renewal, 3000, 2000, 2, 1));
	cr_assert(round_at(&renewal, 5000, 4000, 2, 2));
	cr_assert_not(round_at(&renewal, 7000, 6000, 2, 2));
	renewal_fail(&renewal);
	cr_assert(round_at(&renewal, 9000, 8000, 2, 2));
	cr_assert_eq(renewal.since_us, 9000000);
}
