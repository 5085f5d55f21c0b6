#include "orchestrator/placement.h"

#include <criterion/criterion.h>
#include <string.h>

static struct placement placement;

static void start(int32_t partitions)
{
	memset(&placement, 0, sizeof placement);
	placement_resize(&placement, partitions);
}

static int distinct(const int32_t *targets, int32_t count)
{
	bool seen[PARTITIONS_MAX] = {false};
	int number = 0;
	for (int32_t i = 0; i < count; i++) {
		number += !seen[targets[i]];
		seen[targets[i]] = true;
	}
	return number;
}

/* A window in which `partition` answered `count` dispatches. */
static void answer(int64_t now_ms, int32_t partition, int count)
{
	int32_t one;
	placement_choose(&placement, now_ms, &one, 1);
	for (int i = 0; i < count; i++)
		placement_answered(&placement, partition);
}

Test(placement, lone_tasks_go_to_different_partitions)
{
	int32_t targets[12];
	start(12);
	for (int i = 0; i < 12; i++) {
		placement_choose(&placement, 1000, &targets[i], 1);
		placement_sent(&placement, targets[i]);
	}
	cr_assert_eq(distinct(targets, 12), 12);
}

Test(placement, a_burst_without_history_spreads)
{
	int32_t targets[24];
	start(12);
	placement_choose(&placement, 1000, targets, 24);
	cr_assert_eq(distinct(targets, 24), 12);
}

Test(placement, a_burst_stays_together_up_to_what_was_answered)
{
	int32_t targets[100];
	start(4);
	for (int32_t p = 0; p < 4; p++)
		answer(1000, p, 50);
	placement_choose(&placement, 1100, targets, 100);
	cr_assert_eq(distinct(targets, 100), 2);
	for (int i = 1; i < 50; i++)
		cr_assert_eq(targets[i], targets[0]);
}

Test(placement, a_burst_never_exceeds_its_limit)
{
	int32_t targets[2 * BURST_MAX];
	start(2);
	answer(1000, 0, 5000);
	for (int i = 0; i < 5000; i++)
		placement_answered(&placement, 1);
	placement_choose(&placement, 1100, targets, 2 * BURST_MAX);
	cr_assert_eq(distinct(targets, BURST_MAX), 1);
	cr_assert_eq(distinct(targets, 2 * BURST_MAX), 2);
}

Test(placement, the_least_loaded_partition_is_taken)
{
	int32_t target;
	start(3);
	for (int i = 0; i < 10; i++) {
		placement_sent(&placement, 0);
		placement_sent(&placement, 2);
	}
	for (int i = 0; i < 5; i++) {
		placement_choose(&placement, 0, &target, 1);
		cr_assert_eq(target, 1);
		placement_sent(&placement, target);
	}
}

Test(placement, answers_that_went_elsewhere_are_forgotten)
{
	int32_t target;
	start(2);
	for (int i = 0; i < 1000; i++)
		placement_sent(&placement, 0);
	for (int64_t now_ms = 2000; now_ms <= 2000 * 12; now_ms += 2000)
		placement_choose(&placement, now_ms, &target, 1);
	cr_assert_eq(placement.load[0], 0);
}

Test(placement, partitions_that_are_added_are_used)
{
	int32_t targets[5];
	start(1);
	for (int i = 0; i < 9; i++)
		placement_sent(&placement, 0);
	placement_resize(&placement, 3);
	placement_choose(&placement, 0, targets, 5);
	for (int i = 0; i < 5; i++)
		cr_assert_neq(targets[i], 0);
}

Test(placement, strange_partitions_change_nothing)
{
	start(2);
	placement_sent(&placement, -1);
	placement_sent(&placement, 2);
	placement_answered(&placement, 7);
	placement_answered(&placement, 0);
	cr_assert_eq(placement.load[0] + placement.load[1], 0);
}

Test(placement, full_partitions_are_left_out_while_there_are_others)
{
	int32_t targets[30];
	start(3);
	placement_set_full(&placement, (int32_t[]){0, 2, 7, -1}, 4);
	placement_choose(&placement, 0, targets, 30);
	cr_assert_eq(distinct(targets, 30), 1);
	cr_assert_eq(targets[0], 1);
	placement_set_full(&placement, (int32_t[]){0, 1, 2}, 3);
	placement_choose(&placement, 0, targets, 30);
	cr_assert_eq(distinct(targets, 30), 3, "all are full: as if none was");
	placement_set_full(&placement, NULL, 0);
	placement_choose(&placement, 0, targets, 30);
	cr_assert_eq(distinct(targets, 30), 3);
}

Test(placement, partitions_without_a_leader_are_the_last_choice)
{
	int32_t targets[30];
	start(3);
	placement_set_led(&placement, (bool[]){true, false, false}, 3);
	placement_set_full(&placement, (int32_t[]){0}, 1);
	placement_choose(&placement, 0, targets, 30);
	cr_assert_eq(distinct(targets, 30), 1);
	cr_assert_eq(targets[0], 0, "a full one still takes records");
	placement_set_led(&placement, (bool[]){false, false, false}, 3);
	placement_choose(&placement, 0, targets, 30);
	for (int i = 0; i < 30; i++)
		cr_assert_neq(targets[i], 0);
	placement_set_led(&placement, (bool[]){true, true}, 2);
	placement_set_full(&placement, NULL, 0);
	placement_choose(&placement, 0, targets, 30);
	cr_assert_eq(distinct(targets, 30), 3);
}
