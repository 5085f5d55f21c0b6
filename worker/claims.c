#include "worker/claims.h"

#include <assert.h>
#include <utlist.h>

#include "common/limits.h"
#include "worker/report.h"

/* So many records on their way hold up a further one that is not full, at most so long. */
#define ON_WAY_MAX 2
#define GATHER_MS 100

/* Between two looks at tasks that are in hand for long: a part of the time after which they are claimed. */
#define LOOKS 10
#define LOOK_MS_MIN 10

void claims_ask(struct claims *claims, struct kser_task *task)
{
	assert(task->keyed);
	if (task->standing == STANDING_OPEN)
		hand_move(claims->hand, task, CLAIM_ASKED);
}

/* ---- what is due ---- */

static bool runs(struct kser_task *task)
{
	return task->keyed && atomic_load_explicit(&task->started_ms, memory_order_relaxed) > 0
		&& !atomic_load_explicit(&task->answered, memory_order_relaxed);
}

static bool is_due(const struct claims *claims, struct kser_task *task, int64_t now_ms, bool full)
{
	if (!runs(task))
		return false;
	return atomic_load_explicit(&task->started_ms, memory_order_relaxed) + claims->after_ms <= now_ms
		|| (full && hand_keeps_back(task, WORKER_AHEAD_MAX));
}

void claims_look(struct claims *claims, int64_t now_ms, bool full)
{
	if (!full && now_ms < claims_next_ms(claims))
		return;
	struct kser_task *task, *next;
	DL_FOREACH_SAFE2(claims->hand->lists[STANDING_OPEN], task, next, hand_next) {
		/* What came later was not started earlier. */
		if (!full && task->entered_ms + claims->after_ms > now_ms)
			break;
		if (is_due(claims, task, now_ms, full))
			claims_ask(claims, task);
	}
	int64_t pause_ms = claims->after_ms / LOOKS;
	claims->look_ms = now_ms + (pause_ms > LOOK_MS_MIN ? pause_ms : LOOK_MS_MIN);
}

int64_t claims_next_ms(const struct claims *claims)
{
	const struct kser_task *first = claims->hand->lists[STANDING_OPEN];
	if (!first)
		return INT64_MAX;
	int64_t due_ms = first->entered_ms + claims->after_ms;
	return due_ms > claims->look_ms ? due_ms : claims->look_ms;
}

void claims_ask_revoked(struct claims *claims)
{
	struct kser_task *task, *next;
	DL_FOREACH_SAFE2(claims->hand->lists[STANDING_OPEN], task, next, hand_next) {
		if (task->keyed && hand_is_orphan(task) && !atomic_load(&task->answered))
			claims_ask(claims, task);
	}
}

/* ---- records ---- */

static void add_name(struct buffer *out, const struct kser_task *task, size_t count)
{
	struct task_name name;
	task_name_of(task, &name);
	if (count > 0)
		buffer_add_char(out, ',');
	task_name_add(out, &name);
}

static void begin_record(struct buffer *out, struct slice worker)
{
	report_begin(out, "claim", worker);
	buffer_add_text(out, ",\"claims\":[");
}

static void end_record(struct buffer *out)
{
	buffer_add_char(out, ']');
	report_end(out);
}

static bool gathers(const struct claims *claims, int64_t now_ms)
{
	return claims->on_way >= ON_WAY_MAX && claims->hand->counts[CLAIM_ASKED] < REPORT_NAMES_MAX && now_ms - claims->sent_ms < GATHER_MS;
}

uint64_t claims_add_record(struct claims *claims, int64_t now_ms, struct slice worker, struct buffer *out)
{
	struct hand *hand = claims->hand;
	if (!hand->lists[CLAIM_ASKED] || gathers(claims, now_ms))
		return 0;
	claims->number++;
	claims->on_way++;
	claims->sent_ms = now_ms;
	begin_record(out, worker);
	for (size_t count = 0; hand->lists[CLAIM_ASKED] && count < REPORT_NAMES_MAX; count++) {
		struct kser_task *task = hand->lists[CLAIM_ASKED];
		add_name(out, task, count);
		task->named_in = claims->number;
		hand_move(hand, task, CLAIM_SENT);
	}
	end_record(out);
	return claims->number;
}

void claims_acknowledged(struct claims *claims, uint64_t number)
{
	struct kser_task *task, *next;
	claims->on_way--;
	DL_FOREACH_SAFE2(claims->hand->lists[CLAIM_SENT], task, next, hand_next) {
		if (task->named_in == number)
			hand_pass(claims->hand, task);
	}
}

/* ---- heartbeats ---- */

size_t claims_held(const struct claims *claims)
{
	return claims->hand->counts[CLAIM_SENT] + claims->hand->counts[CLAIMED];
}

struct naming {
	struct buffer out;
	size_t count;
	struct slice worker;
	void (*take)(void *context, struct slice record);
	void *context;
};

static void hand_out(struct naming *naming)
{
	if (naming->count == 0)
		return;
	end_record(&naming->out);
	naming->take(naming->context, buffer_slice(&naming->out));
	buffer_reset(&naming->out);
	naming->count = 0;
}

static void name_list(struct naming *naming, const struct kser_task *list)
{
	for (const struct kser_task *task = list; task; task = task->hand_next) {
		if (naming->count == 0)
			begin_record(&naming->out, naming->worker);
		add_name(&naming->out, task, naming->count);
		if (++naming->count == REPORT_NAMES_MAX)
			hand_out(naming);
	}
}

void claims_name_held(const struct claims *claims, struct slice worker, void (*take)(void *context, struct slice record), void *context)
{
	struct naming naming = {.worker = worker, .take = take, .context = context};
	name_list(&naming, claims->hand->lists[CLAIM_SENT]);
	name_list(&naming, claims->hand->lists[CLAIMED]);
	hand_out(&naming);
	buffer_clear(&naming.out);
}
