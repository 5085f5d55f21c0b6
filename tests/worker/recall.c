/* Tasks that wait at the gate, and those that are taken back: who is released, who is ended, who goes on. No broker. */

#include <criterion/criterion.h>
#include <stdio.h>

#include "common/memory.h"
#include "tests/worker/task_text.h"
#include "worker/claims.h"
#include "worker/control.h"
#include "worker/recall.h"

static struct hand hand;
static struct gate gate;
static struct claims claims;
static struct releases releases;
static struct recall recall;
static struct partition *partition;
static int64_t offset;

static void nothing(void *context)
{
	(void)context;
}

static void set_up(void)
{
	claims = (struct claims){.hand = &hand, .after_ms = 1000};
	releases = (struct releases){.hand = &hand};
	recall = (struct recall){.hand = &hand, .gate = &gate, .queue = queue_new(16, 2, nothing, NULL), .later = later_new(nothing, NULL), .releases = &releases};
	partition = partition_new(3);
}

static void drop(struct kser_task *task, void *context)
{
	(void)context;
	gate_forget(&gate, task);
	hand_drop(&hand, task);
}

static void tear_down(void)
{
	hand_visit(&hand, drop, NULL);
	partition_let_go(partition);
	queue_free(recall.queue);
	later_free(recall.later);
}

TestSuite(recall, .init = set_up, .fini = tear_down);

static struct kser_task *enter(struct kser_task *task)
{
	cr_assert(hand_enter(&hand, task, partition, offset++));
	return task;
}

static struct kser_task *flagged(int position, int flags)
{
	char text[300];
	snprintf(text, sizeof text, "{\"uuid\": \"" TASK_UUID "\", \"entrypoint\": \"e\", \"metadata\": {\"kser\": {\"op\": \"" OPERATION_UUID
		"\", \"pos\": %d, \"attempt\": 1, \"gen\": 1, \"epoch\": 1, \"flags\": %d}}}", position, flags);
	struct kser_task *task = make_task_of(text);
	atomic_store(&task->started_ms, 0);
	return enter(task);
}

static struct kser_task *queued(int position)
{
	struct kser_task *task = enter(make_numbered_task(position, 1));
	queue_put(recall.queue, (void *const[]){task}, 1);
	return task;
}

/* A thread has taken it. */
static struct kser_task *running(int position)
{
	struct kser_task *task = queued(position);
	cr_assert_eq(queue_take(recall.queue), task);
	atomic_store(&task->started_ms, 5);
	return task;
}

static struct kser_task *gated(struct kser_task *task, int32_t number, bool careful)
{
	task->careful = careful;
	if (careful)
		claims_ask(&claims, task);
	gate_put(&gate, task, number);
	return task;
}

/* It is claimed when its turn has come and nothing else runs. */
static struct kser_task *to_run_alone(int position, int32_t number)
{
	struct kser_task *task = flagged(position, STAMP_CAREFUL | STAMP_ALONE);
	task->careful = true;
	gate_put(&gate, task, number);
	return task;
}

static void claim(struct kser_task *task)
{
	claims_ask(&claims, task);
	hand_pass(&hand, task);
}

static void stop(const struct kser_task *task)
{
	struct task_name name;
	task_name_of(task, &name);
	recall_stop(&recall, &name);
}

static size_t waiting(void)
{
	return queue_state(recall.queue).waiting;
}

/* ---- the gate ---- */

/* Its claim must be acknowledged; what is behind it in its partition waits too, another partition does not. */
Test(recall, gate_keeps_order_by_partition)
{
	struct kser_task *first = gated(flagged(1, 1), 3, true), *behind = gated(enter(make_numbered_task(2, 1)), 3, false);
	struct kser_task *other = gated(flagged(3, 1), 4, true);
	cr_expect(gate_stops(&gate, behind, 3));
	cr_expect_not(gate_stops(&gate, enter(make_numbered_task(9, 1)), 5));
	cr_expect_null(gate_take(&gate, 1));
	hand_move(&hand, other, CLAIM_SENT);
	cr_expect_null(gate_take(&gate, 1), "sent is not acknowledged");
	hand_pass(&hand, other);
	cr_expect_eq(gate_take(&gate, 1), other);
	cr_expect_null(gate_take(&gate, 1));
	hand_pass(&hand, first);
	cr_expect_eq(gate_take(&gate, 1), first);
	cr_expect_eq(gate_take(&gate, 1), behind);
	cr_expect_null(gate_take(&gate, 1));
	cr_expect_eq(gate.count, 0);
	cr_expect_not(gate_stops(&gate, behind, 3));
}

/* One at a time is alone; the next waits, unclaimed, until it has left, or is told as busy when that takes too long. */
Test(recall, one_alone_at_a_time)
{
	struct kser_task *one = to_run_alone(1, 3), *next = to_run_alone(2, 4);
	cr_expect_null(gate_take(&gate, 100));
	cr_expect_eq(gate_next_alone(&gate), one);
	claim(one);
	cr_expect_eq(gate_take(&gate, 100), one);
	cr_expect_null(gate_next_alone(&gate));
	cr_expect_null(gate_take(&gate, 200));
	queue_put_alone(recall.queue, one);
	cr_expect_eq(queue_take(recall.queue), one);
	atomic_store(&one->started_ms, 150);
	recall_busy(&recall, 99);
	cr_expect_eq(next->standing, STANDING_OPEN);
	recall_busy(&recall, 100);
	cr_expect_eq(next->standing, RELEASE_ASKED);
	cr_expect_eq(next->reason, RELEASE_BUSY);
	cr_expect_eq(one->standing, CLAIMED, "it runs");
	gate_forget(&gate, one);
	cr_expect_null(gate.alone);
}

/* Its turn comes when the one before has left, in whichever way. */
Test(recall, the_next_one_alone)
{
	struct kser_task *one = to_run_alone(1, 3), *behind = to_run_alone(2, 3), *other = to_run_alone(3, 4);
	cr_expect_null(gate_take(&gate, 100));
	stop(one);
	cr_expect_null(gate_next_alone(&gate));
	cr_expect_null(gate_take(&gate, 200));
	cr_expect_eq(gate_next_alone(&gate), behind);
	claim(behind);
	cr_expect_eq(gate_take(&gate, 300), behind);
	gate_forget(&gate, behind);
	claim(other);
	cr_expect_eq(gate_take(&gate, 400), other);
	cr_expect_eq(gate.alone_ms, 100, "it has waited since then");
}

/* While others run it waits, unclaimed, for so long. */
Test(recall, alone_waits_for_others)
{
	struct kser_task *other = running(1), *alone = to_run_alone(2, 3);
	cr_expect_null(gate_take(&gate, 100));
	recall_busy(&recall, 99);
	cr_expect_eq(gate_next_alone(&gate), alone);
	recall_busy(&recall, 100);
	cr_expect_null(gate_next_alone(&gate));
	cr_expect_eq(alone->reason, RELEASE_BUSY);
	cr_expect_eq(other->standing, STANDING_OPEN);
}

/* In the queue it waits before all that is there. */
Test(recall, alone_beside_others_is_busy)
{
	struct kser_task *other = running(1), *behind = queued(2), *alone = to_run_alone(3, 3);
	claim(alone);
	cr_assert_eq(gate_take(&gate, 100), alone);
	queue_put_alone(recall.queue, alone);
	recall_busy(&recall, 99);
	cr_expect_eq(waiting(), 2);
	recall_busy(&recall, 100);
	cr_expect_eq(alone->reason, RELEASE_BUSY);
	cr_expect_eq(alone->standing, RELEASE_ASKED);
	cr_expect_eq(queue_take(recall.queue), behind, "nothing is held up any more");
	cr_expect_eq(other->standing, STANDING_OPEN);
}

/* ---- stops ---- */

Test(recall, stop_wherever_it_is)
{
	struct kser_task *runs = running(1), *waits = queued(2), *stays = queued(3), *at_gate = gated(flagged(4, 1), 3, true);
	struct task_name name;
	task_name_of(runs, &name);
	name.attempt = 2;
	recall_stop(&recall, &name);
	task_name_of(runs, &name);
	name.uuid[0] ^= 1;
	recall_stop(&recall, &name);
	cr_expect_not(kser_task_cancelled(runs), "another attempt, another task");
	stop(runs);
	stop(waits);
	stop(at_gate);
	cr_expect(kser_task_cancelled(runs));
	cr_expect_eq(runs->standing, STANDING_OPEN, "it releases itself when it has ended");
	cr_expect_eq(waits->standing, RELEASE_ASKED);
	cr_expect_eq(waits->reason, RELEASE_STOPPED);
	cr_expect_eq(at_gate->standing, RELEASE_ASKED);
	cr_expect_eq(gate.count, 0);
	stop(waits);
	stop(runs);
	cr_expect_eq(hand.counts[RELEASE_ASKED], 2, "told again, nothing more happens");
	cr_expect_eq(waiting(), 1);
	cr_expect_eq(stays->standing, STANDING_OPEN);
}

/* A task that sleeps is due at once, also when it lies down only then. */
Test(recall, stop_wakes_sleepers)
{
	struct kser_task *early = running(1), *first = running(2);
	first->due_ms = 5000;
	later_add(recall.later, first);
	early->due_ms = 9000;
	stop(early);
	later_add(recall.later, early);
	cr_expect_eq(later_take(recall.later, 1), early);
	cr_expect_null(later_take(recall.later, 1));
	stop(first);
	cr_expect_eq(later_take(recall.later, 1), first);
}

Test(recall, another_generation)
{
	struct kser_task *runs = running(1);
	queued(2);
	gated(flagged(3, 1), 3, true);
	cr_expect_eq(recall_generation(&recall, 1), 0);
	cr_expect_eq(recall_generation(&recall, 7), 2);
	cr_expect_eq(hand.count, 1);
	cr_expect_eq(hand.finished, 2, "their offsets pass");
	cr_expect_not(kser_task_cancelled(runs));
}

/* Those that would start last, and only those that wait for long. */
Test(recall, hands_back_the_last_that_wait)
{
	struct kser_task *tasks[5];
	for (int i = 0; i < 5; i++) {
		tasks[i] = queued(i);
		tasks[i]->entered_ms = i < 4 ? 100 : 3000;
	}
	cr_expect_eq(recall_waiting(&recall, 2, 1000), 2);
	for (int i = 0; i < 5; i++)
		cr_expect_eq(tasks[i]->standing, i == 2 || i == 3 ? RELEASE_ASKED : STANDING_OPEN, "task %d", i);
	cr_expect_eq(tasks[2]->reason, RELEASE_UNSTARTED);
	cr_expect_eq(recall_waiting(&recall, 0, 1000), 0);
	cr_expect_eq(recall_waiting(&recall, 10, 1000), 2);
	cr_expect_eq(waiting(), 1);
}

/* What is to end in silence: running, waiting; once. The rest goes on. */
Test(recall, silence)
{
	struct kser_task *runs = flagged(1, 4), *waits = flagged(2, 4), *goes_on = running(3);
	queue_put(recall.queue, (void *const[]){waits}, 1);
	atomic_store(&runs->started_ms, 5);
	cr_expect_eq(recall_silent(&recall), 2);
	cr_expect(kser_task_cancelled(runs));
	cr_expect_eq(waits->standing, RELEASE_ASKED);
	cr_expect_not(kser_task_cancelled(goes_on));
	cr_expect_eq(recall_silent(&recall), 0);
}

/* Leaving: what has a name is released, a stranger's is dropped; what runs is told to end only later. */
Test(recall, leaving)
{
	struct kser_task *runs = running(1), *waits = queued(2), *at_gate = gated(flagged(3, 1), 3, true);
	struct kser_task *stranger = enter(make_task_of("{\"uuid\": \"x\", \"entrypoint\": \"e\"}"));
	queue_put(recall.queue, (void *const[]){stranger}, 1);
	recall_not_started(&recall);
	cr_expect_eq(waits->reason, RELEASE_UNSTARTED);
	cr_expect_eq(at_gate->standing, RELEASE_ASKED);
	cr_expect_eq(hand.count, 3);
	cr_expect_eq(waiting(), 0);
	cr_expect_not(kser_task_cancelled(runs));
	recall_running(&recall);
	cr_expect(kser_task_cancelled(runs));
	cr_expect_not(kser_task_cancelled(waits));
}

/* ---- what is heard ---- */

static char heard[300];

static void on_stop(void *context, const struct task_name *name)
{
	(void)context;
	snprintf(heard + strlen(heard), sizeof heard - strlen(heard), "stop %d/%d ", name->position, name->attempt);
}

static void on_generation(void *context, int64_t generation)
{
	(void)context;
	snprintf(heard + strlen(heard), sizeof heard - strlen(heard), "generation %lld ", (long long)generation);
}

static void on_spare(void *context, struct slice queue, int64_t slots)
{
	(void)context;
	snprintf(heard + strlen(heard), sizeof heard - strlen(heard), "spare '%.*s' %lld ", (int)queue.length, queue.start, (long long)slots);
}

static void hear(const char *params, const char *wanted)
{
	static const struct control_ears ears = {.stop = on_stop, .generation = on_generation, .spare = on_spare};
	char text[600];
	int length = snprintf(text, sizeof text, "{\"uuid\":\"c\",\"entrypoint\":\"kser.control\",\"params\":%s,\"metadata\":{\"kser\":{\"kind\":\"control\"}}}", params);
	heard[0] = '\0';
	control_read(NULL, &ears, NULL, (struct slice){text, (size_t)length});
	cr_expect_str_eq(heard, wanted, "%s", params);
}

#define NAME(position) "{\"uuid\":\"" TASK_UUID "\",\"op\":\"" OPERATION_UUID "\",\"pos\":" position ",\"attempt\":2,\"gen\":-9}"

Test(control, words)
{
	hear("{\"kind\":\"stop\",\"tasks\":[" NAME("4") "," NAME("5") "]}", "stop 4/2 stop 5/2 ");
	hear("{\"kind\":\"stop\",\"tasks\":[]}", "");
	hear("{\"kind\":\"generation\",\"gen\":-9223372036854775808}", "generation -9223372036854775808 ");
	hear("{\"kind\":\"spare\",\"queue\":\"sl\\u006fw\",\"slots\":12}", "spare 'slow' 12 ");
	hear("{\"kind\":\"of a later version\"}", "");
}

Test(control, nonsense)
{
	hear("{\"kind\":\"stop\"}", "");
	hear("{\"kind\":\"stop\",\"tasks\":[{}]}", "");
	hear("{\"kind\":\"generation\",\"gen\":\"1\"}", "");
	hear("{\"kind\":\"spare\",\"queue\":\"\",\"slots\":-1}", "");
	hear("{}", "");
	hear("[]", "");
	heard[0] = '\0';
	control_read(NULL, &(struct control_ears){.stop = on_stop}, NULL, slice_of("{oops"));
	control_read(NULL, &(struct control_ears){.stop = on_stop}, NULL, slice_of("{\"uuid\":\"u\",\"entrypoint\":\"e\",\"params\":{\"kind\":\"stop\",\"tasks\":[" NAME("4") "]}}"));
	cr_expect_str_eq(heard, "");
}
