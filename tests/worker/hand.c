#include <criterion/criterion.h>
#include <stdio.h>

#include "tests/worker/task_text.h"
#include "worker/hand.h"
#include "worker/later.h"

static void drop(struct kser_task *task, void *hand)
{
	hand_drop(hand, task);
}

Test(hand, finishes_in_any_order)
{
	struct hand hand = {0};
	struct partition *partition = partition_new(3);
	struct kser_task *tasks[4];
	cr_expect_eq(partition_due(partition), -1);
	for (int i = 0; i < 4; i++) {
		tasks[i] = make_numbered_task(i, 1);
		cr_expect(hand_enter(&hand, tasks[i], partition, 100 + i));
	}
	cr_expect_eq(partition->committed, 100, "nothing before the first record is ours");
	cr_expect_eq(hand_finish(&hand, tasks[2]), 1);
	cr_expect_eq(hand_finish(&hand, tasks[1]), 1);
	cr_expect_eq(partition_due(partition), -1);
	hand_finish(&hand, tasks[0]);
	cr_expect_eq(partition_due(partition), 103);
	partition->asked = 103;
	cr_expect_eq(partition_due(partition), -1);
	hand_finish(&hand, tasks[3]);
	cr_expect_eq(partition_due(partition), 104);
	cr_expect_eq(hand.count, 0);
	partition_let_go(partition);
}

/* Both records are finished by the one reply, also when the repeat lies in another partition. */
Test(hand, repeats_join)
{
	struct hand hand = {0};
	struct partition *one = partition_new(0), *other = partition_new(1);
	struct kser_task *task = make_numbered_task(1, 1), *next = make_numbered_task(1, 2);
	cr_expect(hand_enter(&hand, task, one, 0));
	cr_expect_not(hand_enter(&hand, make_numbered_task(1, 1), one, 1));
	cr_expect_not(hand_enter(&hand, make_numbered_task(1, 1), other, 7));
	cr_expect(hand_enter(&hand, next, other, 8), "another attempt is another execution");
	cr_expect_eq(hand.count, 2);
	cr_expect_eq(hand_finish(&hand, task), 3);
	cr_expect_eq(partition_due(one), 2);
	cr_expect_eq(partition_due(other), 8);
	cr_expect(hand_enter(&hand, make_numbered_task(1, 1), one, 2), "what was answered is not in hand any more");
	hand_visit(&hand, drop, &hand);
	partition_let_go(one);
	partition_let_go(other);
}

/* Without an orchestrator's stamp the same uuid twice is two tasks. */
Test(hand, unstamped_records_do_not_join)
{
	struct hand hand = {0};
	struct partition *partition = partition_new(0);
	cr_expect(hand_enter(&hand, make_task_of("{\"uuid\": \"x\", \"entrypoint\": \"e\"}"), partition, 0));
	cr_expect(hand_enter(&hand, make_task_of("{\"uuid\": \"x\", \"entrypoint\": \"e\"}"), partition, 1));
	hand_visit(&hand, drop, &hand);
	cr_expect_eq(partition_due(partition), -1, "what is dropped is not finished");
	partition_let_go(partition);
}

/* A task of a revoked partition that also holds a record of a living one is no orphan: nobody else would finish that record. */
Test(hand, orphans)
{
	struct hand hand = {0};
	struct partition *gone = partition_new(0), *ours = partition_new(1);
	struct kser_task *lone = make_numbered_task(1, 1), *shared = make_numbered_task(2, 1);
	cr_expect(hand_enter(&hand, lone, gone, 0));
	cr_expect(hand_enter(&hand, shared, gone, 1));
	cr_expect_not(hand_enter(&hand, make_numbered_task(2, 1), ours, 5));
	gone->revoked = true;
	cr_expect(hand_is_orphan(lone));
	cr_expect_not(hand_is_orphan(shared));
	hand_drop(&hand, lone);
	partition_let_go(gone);
	cr_expect_eq(hand_finish(&hand, shared), 2, "the partition let go lives until its last record is finished");
	cr_expect_eq(partition_due(ours), 6);
	partition_let_go(ours);
}

Test(hand, bounds_how_far_it_reads)
{
	struct hand hand = {0};
	struct partition *partition = partition_new(0);
	for (int i = 0; i < 10; i++)
		hand_enter(&hand, make_numbered_task(i, 1), partition, 50 + i);
	cr_expect(partition_is_full(partition, 10));
	cr_expect_not(partition_is_full(partition, 11));
	partition->committed = 51;
	cr_expect_not(partition_is_full(partition, 10));
	hand_visit(&hand, drop, &hand);
	partition_let_go(partition);
}

/* What another worker may have had: what was there when the partition came, as far as that one may have read. */
Test(hand, was_elsewhere)
{
	struct hand hand = {0};
	struct partition *partition = partition_new(0);
	hand_enter(&hand, make_numbered_task(0, 1), partition, 100);
	cr_expect(partition_was_elsewhere(partition, 100, 50), "the end is not known");
	cr_expect(partition_was_elsewhere(partition, 149, 50));
	cr_expect_not(partition_was_elsewhere(partition, 150, 50));
	partition->known_end = 120;
	cr_expect(partition_was_elsewhere(partition, 119, 50));
	cr_expect_not(partition_was_elsewhere(partition, 120, 50));
	hand_visit(&hand, drop, &hand);
	partition_let_go(partition);
}

Test(hand, finds_by_name)
{
	struct hand hand = {0};
	struct partition *partition = partition_new(0);
	struct task_name name;
	struct kser_task *task = make_numbered_task(4, 2);
	task_name_of(task, &name);
	cr_expect_null(hand_find(&hand, &name));
	hand_enter(&hand, task, partition, 0);
	cr_expect_eq(hand_find(&hand, &name), task);
	name.generation++;
	cr_expect_null(hand_find(&hand, &name));
	hand_visit(&hand, drop, &hand);
	partition_let_go(partition);
}

static void count(void *context)
{
	++*(int *)context;
}

Test(later, gives_tasks_in_the_order_of_their_time)
{
	int earlier = 0;
	struct later *later = later_new(count, &earlier);
	static const int64_t times[] = {50, 20, 90, 20, 10, 70, 30, 60, 40, 80, 15};
	for (size_t i = 0; i < COUNT_OF(times); i++) {
		struct kser_task *task = make_numbered_task((int)i, 1);
		task->due_ms = times[i];
		later_add(later, task);
	}
	cr_expect_eq(earlier, 3, "told when 50, 20 and 10 became the first");
	cr_expect_eq(later_next_ms(later), 10);
	cr_expect_null(later_take(later, 9));
	int64_t last = 0;
	for (size_t i = 0; i < COUNT_OF(times); i++) {
		struct kser_task *task = later_take(later, 1000);
		cr_assert_not_null(task);
		cr_expect_geq(task->due_ms, last);
		last = task->due_ms;
		task_free(task);
	}
	cr_expect_null(later_take(later, 1000));
	cr_expect_eq(later_next_ms(later), INT64_MAX);
	later_free(later);
}
