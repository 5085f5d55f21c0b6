/* Which tasks are claimed and released, by which records, and what an acknowledgement does. No broker. */

#include <criterion/criterion.h>
#include <json-c/json.h>
#include <stdio.h>

#include "common/limits.h"
#include "common/memory.h"
#include "tests/worker/task_text.h"
#include "worker/claims.h"
#include "worker/release.h"
#include "worker/report.h"

static struct hand hand;
static struct claims claims;
static struct releases releases;
static struct partition *partition;

static void set_up(void)
{
	claims = (struct claims){.hand = &hand, .after_ms = 1000};
	releases = (struct releases){.hand = &hand};
	partition = partition_new(0);
}

static void drop(struct kser_task *task, void *context)
{
	(void)context;
	hand_drop(&hand, task);
}

static void tear_down(void)
{
	hand_visit(&hand, drop, NULL);
	partition_let_go(partition);
}

TestSuite(claims, .init = set_up, .fini = tear_down);

/* Task `position` at that offset, come into hand and started (0: not) at those times. */
static struct kser_task *take(int position, int64_t offset, int64_t entered_ms, int64_t started_ms)
{
	struct kser_task *task = make_numbered_task(position, 1);
	task->entered_ms = entered_ms;
	atomic_store(&task->started_ms, started_ms);
	cr_assert(hand_enter(&hand, task, partition, offset));
	return task;
}

/* The names in a record, and its number. */
static struct json_object *next_claim(uint64_t *number)
{
	struct buffer record CLEANUP(buffer_clear) = {0};
	*number = claims_add_record(&claims, 0, slice_of("w:1"), &record);
	if (*number == 0)
		return NULL;
	struct json_object *message = json_tokener_parse(record.bytes);
	cr_assert_not_null(message, "%s", record.bytes);
	struct json_object *kser = json_object_object_get(json_object_object_get(message, "metadata"), "kser");
	cr_expect_str_eq(json_object_get_string(json_object_object_get(kser, "kind")), "claim");
	cr_expect_str_eq(json_object_get_string(json_object_object_get(kser, "worker")), "w:1");
	struct json_object *names = json_object_get(json_object_object_get(kser, "claims"));
	json_object_put(message);
	return names;
}

static size_t next_count(uint64_t *number)
{
	struct json_object *names = next_claim(number);
	size_t count = names ? json_object_array_length(names) : 0;
	json_object_put(names);
	return count;
}

/* Only what was started, and so long ago; one whose reply is on its way, or that nobody can name, is left. */
Test(claims, after_a_while)
{
	struct kser_task *stranger = make_task_of("{\"uuid\": \"x\", \"entrypoint\": \"e\"}");
	atomic_store(&stranger->started_ms, 1);
	cr_assert(hand_enter(&hand, stranger, partition, 0));
	struct kser_task *old = take(1, 1, 100, 110);
	take(2, 2, 100, 0);
	struct kser_task *answered = take(3, 3, 100, 110);
	atomic_store(&answered->answered, true);
	struct kser_task *started_later = take(4, 4, 100, 700);
	take(5, 5, 1500, 1500);
	claims_look(&claims, 1105, false);
	cr_expect_eq(hand.counts[CLAIM_ASKED], 0, "not yet");
	claims.look_ms = 0;
	claims_look(&claims, 1110, false);
	cr_expect_eq(old->standing, CLAIM_ASKED);
	cr_expect_eq(hand.counts[CLAIM_ASKED], 1);
	cr_expect_leq(claims_next_ms(&claims), 1250, "one that was started later is looked for soon");
	claims_look(&claims, 1800, false);
	cr_expect_eq(started_later->standing, CLAIM_ASKED);
	cr_expect_eq(hand.counts[CLAIM_ASKED], 2);
}

/* Acknowledged by its own record: the offset passes, the task stays in hand, and a repeat of it is finished at once. */
Test(claims, pass_the_offset_when_acknowledged)
{
	uint64_t first, second;
	struct kser_task *one = take(1, 10, 0, 1), *other = take(2, 11, 0, 1);
	claims_ask(&claims, one);
	cr_expect_eq(next_count(&first), 1);
	claims_ask(&claims, other);
	claims_ask(&claims, one);
	cr_expect_eq(next_count(&second), 1, "named once");
	cr_expect_eq(partition_due(partition), -1, "sent is not acknowledged");
	cr_expect_eq(claims_held(&claims), 2);
	claims_acknowledged(&claims, second);
	cr_expect_eq(partition_due(partition), -1);
	claims_acknowledged(&claims, first);
	cr_expect_eq(partition_due(partition), 12);
	cr_expect_eq(hand.count, 2);
	cr_expect_eq(hand.finished, 2);
	cr_expect_not(hand_enter(&hand, make_numbered_task(1, 1), partition, 12));
	cr_expect_eq(partition_due(partition), 13);
	hand_finish(&hand, one);
	cr_expect_eq(claims_held(&claims), 1);
	cr_expect_eq(hand.finished, 3);
}

/* A task that is gone when its claim is acknowledged, and one that is released meanwhile, are nobody's any more. */
Test(claims, gone_before_the_acknowledgement)
{
	uint64_t number;
	struct buffer record CLEANUP(buffer_clear) = {0};
	struct kser_task *answered = take(1, 0, 0, 1), *released = take(2, 1, 0, 0);
	claims_ask(&claims, answered);
	claims_ask(&claims, released);
	cr_expect_eq(next_count(&number), 2);
	hand_finish(&hand, answered);
	release_ask(&releases, released, RELEASE_STOPPED);
	claims_acknowledged(&claims, number);
	cr_expect_eq(partition_due(partition), 1, "the released one waits for its release");
	uint64_t release = release_add_record(&releases, slice_of("w"), &record);
	release_acknowledged(&releases, release + 1);
	cr_expect_eq(hand.count, 1);
	release_acknowledged(&releases, release);
	cr_expect_eq(hand.count, 0);
	cr_expect_eq(partition_due(partition), 2);
}

/* While records are on their way others are gathered, until one is full. */
Test(claims, are_gathered)
{
	uint64_t number[5];
	int64_t offset = 0;
	for (int i = 0; i < 3; i++) {
		claims_ask(&claims, take((int)offset, offset, 0, 0));
		offset++;
		cr_expect_eq(next_count(&number[i]), i < 2 ? 1 : 0);
	}
	for (; offset < 2 + REPORT_NAMES_MAX + 7; offset++)
		claims_ask(&claims, take((int)offset, offset, 0, 0));
	cr_expect_eq(next_count(&number[2]), REPORT_NAMES_MAX);
	cr_expect_eq(next_count(&number[3]), 0);
	for (int i = 0; i < 3; i++)
		claims_acknowledged(&claims, number[i]);
	cr_expect_eq(next_count(&number[3]), 7);
	struct buffer record CLEANUP(buffer_clear) = {0};
	claims_acknowledged(&claims, number[3]);
	cr_expect_eq(claims_add_record(&claims, 0, slice_of("w"), &record), 0);
	cr_expect_eq(partition_due(partition), offset);
}

/* However many are on their way, a claim does not wait for them for long. */
Test(claims, are_not_gathered_for_ever)
{
	uint64_t number;
	struct buffer record CLEANUP(buffer_clear) = {0};
	for (int i = 0; i < 3; i++) {
		claims_ask(&claims, take(i, i, 0, 0));
		(void)next_count(&number);
	}
	cr_expect_eq(hand.counts[CLAIM_ASKED], 1);
	cr_expect_gt(claims_add_record(&claims, 1000, slice_of("w"), &record), 0);
}

/* What keeps a partition back is claimed because of it, at once; what has not been started is not. */
Test(claims, a_full_partition)
{
	struct partition *other = partition_new(1);
	struct kser_task *runs = take(1, 0, 1000, 1000), *waits = take(2, 1, 1000, 0);
	struct kser_task *elsewhere = make_numbered_task(3, 1);
	atomic_store(&elsewhere->started_ms, 1000);
	hand_enter(&hand, elsewhere, other, 5);
	claims_look(&claims, 1001, false);
	cr_expect_eq(hand.counts[CLAIM_ASKED], 0);
	partition->end = partition->committed + WORKER_AHEAD_MAX;
	claims_look(&claims, 1001, true);
	cr_expect_eq(runs->standing, CLAIM_ASKED);
	cr_expect_eq(waits->standing, STANDING_OPEN);
	cr_expect_eq(elsewhere->standing, STANDING_OPEN);
	hand_drop(&hand, elsewhere);
	partition_let_go(other);
}

/* All that is left of a revoked partition runs, or will in a moment: claimed, but for what is answered already. */
Test(claims, a_revoked_partition)
{
	struct kser_task *runs = take(1, 0, 1000, 0), *answered = take(2, 1, 1000, 1000);
	atomic_store(&answered->answered, true);
	claims_ask_revoked(&claims);
	cr_expect_eq(hand.counts[CLAIM_ASKED], 0);
	partition->revoked = true;
	claims_ask_revoked(&claims);
	cr_expect_eq(runs->standing, CLAIM_ASKED);
	cr_expect_eq(answered->standing, STANDING_OPEN);
	uint64_t number;
	cr_expect_eq(next_count(&number), 1);
	claims_acknowledged(&claims, number);
	cr_expect_not(hand_is_orphan(runs), "it belongs to no partition any more");
}

/* ---- heartbeats ---- */

struct named {
	size_t records;
	size_t names;
	size_t most;
};

static void count_names(void *context, struct slice record)
{
	struct named *named = context;
	size_t count = 0;
	for (const char *at = record.start; (at = strstr(at, "\"op\":")); at++)
		count++;
	named->records++;
	named->names += count;
	named->most = count > named->most ? count : named->most;
}

Test(claims, heartbeats_name_all_in_chunks)
{
	enum { TASKS = 2 * REPORT_NAMES_MAX + 3 };
	uint64_t number;
	struct named named = {0};
	claims_name_held(&claims, slice_of("w"), count_names, &named);
	cr_expect_eq(named.records, 0);
	for (int i = 0; i < TASKS; i++)
		claims_ask(&claims, take(i, i, 0, 0));
	take(TASKS, TASKS, 0, 0);
	while (next_count(&number) > 0)
		if (number == 1)
			claims_acknowledged(&claims, number);
	claims_name_held(&claims, slice_of("w"), count_names, &named);
	cr_expect_eq(named.records, 3);
	cr_expect_eq(named.names, TASKS);
	cr_expect_eq(named.most, REPORT_NAMES_MAX);
}

/* ---- releases ---- */

Test(claims, releases_tell_why)
{
	struct buffer record CLEANUP(buffer_clear) = {0};
	release_ask(&releases, take(1, 0, 0, 0), RELEASE_UNSTARTED);
	release_ask(&releases, take(2, 1, 0, 0), RELEASE_BUSY);
	release_ask(&releases, take(3, 2, 0, 0), RELEASE_STOPPED);
	uint64_t number = release_add_record(&releases, slice_of("w"), &record);
	struct json_object *message = json_tokener_parse(record.bytes);
	struct json_object *names = json_object_object_get(json_object_object_get(json_object_object_get(message, "metadata"), "kser"), "tasks");
	static const char *const reasons[] = {"unstarted", "busy", "stopped"};
	cr_assert_eq(json_object_array_length(names), 3);
	for (size_t i = 0; i < 3; i++) {
		struct json_object *name = json_object_array_get_idx(names, i);
		cr_expect_eq(json_object_get_int(json_object_object_get(name, "pos")), (int)i + 1);
		cr_expect_eq(json_object_get_int64(json_object_object_get(name, "gen")), 1);
		cr_expect_str_eq(json_object_get_string(json_object_object_get(name, "op")), OPERATION_UUID);
		cr_expect_str_eq(json_object_get_string(json_object_object_get(name, "reason")), reasons[i]);
	}
	json_object_put(message);
	cr_expect_eq(release_add_record(&releases, slice_of("w"), &record), 0, "told once");
	cr_expect_eq(partition_due(partition), -1);
	release_acknowledged(&releases, number);
	cr_expect_eq(partition_due(partition), 3);
}
