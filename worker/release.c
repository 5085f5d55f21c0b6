#include "worker/release.h"

#include <assert.h>
#include <utlist.h>

#include "worker/report.h"

/* By enum release_reason. */
static const char *const reasons[] = {"unstarted", "busy", "stopped"};

void release_ask(struct releases *releases, struct kser_task *task, enum release_reason reason)
{
	assert(task->keyed && task->standing < RELEASE_ASKED);
	task->reason = reason;
	hand_move(releases->hand, task, RELEASE_ASKED);
}

static void begin_record(struct buffer *out, struct slice worker)
{
	report_begin(out, "release", worker);
	buffer_add_text(out, ",\"tasks\":[");
}

static void end_record(struct buffer *out)
{
	buffer_add_char(out, ']');
	report_end(out);
}

/* The name with one member more. */
static void add_name(struct buffer *out, const struct kser_task *task, enum release_reason reason)
{
	struct task_name name;
	task_name_of(task, &name);
	task_name_add(out, &name);
	out->length--;
	buffer_printf(out, ",\"reason\":\"%s\"}", reasons[reason]);
}

uint64_t release_add_record(struct releases *releases, struct slice worker, struct buffer *out)
{
	struct hand *hand = releases->hand;
	if (!hand->lists[RELEASE_ASKED])
		return 0;
	releases->number++;
	begin_record(out, worker);
	for (size_t count = 0; hand->lists[RELEASE_ASKED] && count < REPORT_NAMES_MAX; count++) {
		struct kser_task *task = hand->lists[RELEASE_ASKED];
		if (count > 0)
			buffer_add_char(out, ',');
		add_name(out, task, task->reason);
		task->named_in = releases->number;
		hand_move(hand, task, RELEASE_SENT);
	}
	end_record(out);
	return releases->number;
}

void release_acknowledged(struct releases *releases, uint64_t number)
{
	struct kser_task *task, *next;
	DL_FOREACH_SAFE2(releases->hand->lists[RELEASE_SENT], task, next, hand_next) {
		if (task->named_in == number)
			hand_finish(releases->hand, task);
	}
}

void release_add_one(struct buffer *out, const struct kser_task *task, enum release_reason reason, struct slice worker)
{
	begin_record(out, worker);
	add_name(out, task, reason);
	end_record(out);
}
