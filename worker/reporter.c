#include "worker/reporter.h"

#include <assert.h>
#include <stdlib.h>
#include <utlist.h>

#include "common/clock.h"
#include "common/fault.h"
#include "common/memory.h"
#include "worker/gate.h"
#include "worker/heartbeat.h"
#include "worker/intake.h"
#include "worker/pulse.h"
#include "worker/report.h"

/* Between heartbeats while no claims are held, and between those that tell the entrypoints too. */
#define BEAT_MS 10000
#define DESCRIBE_MS 60000

struct reporter {
	struct reporter_setup setup;
	struct pulse pulse;
	const struct intake *intake;
	int64_t describe_ms;  /* when the entrypoints are to be told again, monotonic */
	struct report *reports; /* on their way */
	struct buffer record;
	uint64_t round; /* of the heartbeat that is being sent */
};

struct reporter *reporter_new(const struct reporter_setup *setup)
{
	struct reporter *reporter = xcalloc(1, sizeof *reporter);
	reporter->setup = *setup;
	reporter->pulse = (struct pulse){.quick_ms = setup->beat_ms, .slow_ms = setup->beat_ms > BEAT_MS ? setup->beat_ms : BEAT_MS, .silence_ms = setup->silence_ms};
	return reporter;
}

void reporter_free(struct reporter *reporter)
{
	if (!reporter)
		return;
	while (reporter->reports) {
		struct report *report = reporter->reports;
		DL_DELETE2(reporter->reports, report, previous, next);
		buffer_clear(&report->outgoing.text);
		free(report);
	}
	buffer_clear(&reporter->record);
	free(reporter);
}

void reporter_set_intake(struct reporter *reporter, const struct intake *intake)
{
	reporter->intake = intake;
}

/* ---- sending ---- */

static void send(struct reporter *reporter, enum report_kind kind, uint64_t number, struct slice record)
{
	struct report *report = xcalloc(1, sizeof *report);
	report->outgoing.kind = OUTGOING_REPORT;
	report->outgoing.refused = true; /* there is no smaller one */
	report->outgoing.passing = kind == REPORT_BEAT;
	report->kind = kind;
	report->number = number;
	DL_APPEND2(reporter->reports, report, previous, next);
	bool sent = replies_send(reporter->setup.replies, &report->outgoing, record);
	assert(sent);
}

void reporter_send_asked(struct reporter *reporter)
{
	uint64_t number;
	int64_t now_ms = reporter->setup.claims->hand->lists[CLAIM_ASKED] ? clock_monotonic_ms() : 0;
	buffer_reset(&reporter->record);
	while ((number = claims_add_record(reporter->setup.claims, now_ms, reporter->setup.worker, &reporter->record))) {
		send(reporter, REPORT_CLAIM, number, buffer_slice(&reporter->record));
		buffer_reset(&reporter->record);
	}
	while ((number = release_add_record(reporter->setup.releases, reporter->setup.worker, &reporter->record))) {
		send(reporter, REPORT_RELEASE, number, buffer_slice(&reporter->record));
		buffer_reset(&reporter->record);
	}
}

/* ---- heartbeats ---- */

static size_t free_slots(const struct reporter *reporter, const struct queue_state *state)
{
	return state->alone || state->active >= reporter->setup.slots ? 0 : reporter->setup.slots - state->active;
}

static void add_heartbeat(struct reporter *reporter, bool leaving, struct buffer *out)
{
	int64_t now_ms = clock_monotonic_ms();
	bool describe = now_ms >= reporter->describe_ms;
	const struct reporter_setup *setup = &reporter->setup;
	struct queue_state state = queue_state(setup->queue);
	int32_t partitions[PARTITIONS_MAX];
	struct heartbeat heartbeat = {.worker = setup->worker, .host = setup->host, .queue = setup->queue_name, .slots = setup->slots,
		.free = leaving ? 0 : free_slots(reporter, &state), .waiting = state.waiting + setup->gate->count, .claims = claims_held(setup->claims),
		.partitions = partitions, .partition_count = reporter->intake ? intake_partitions(reporter->intake, partitions) : 0,
		.entrypoints = describe ? setup->entrypoints : NULL, .leaving = leaving};
	heartbeat_add(out, &heartbeat);
	if (describe)
		reporter->describe_ms = now_ms + DESCRIBE_MS;
}

static void send_of_round(void *context, struct slice record)
{
	struct reporter *reporter = context;
	pulse_add(&reporter->pulse, reporter->round);
	send(reporter, REPORT_BEAT, reporter->round, record);
}

static void send_round(struct reporter *reporter, bool leaving)
{
	struct buffer record CLEANUP(buffer_clear) = {0};
	reporter->round = pulse_begin(&reporter->pulse, clock_boot_ms());
	claims_name_held(reporter->setup.claims, reporter->setup.worker, send_of_round, reporter);
	add_heartbeat(reporter, leaving, &record);
	send_of_round(reporter, buffer_slice(&record));
}

void reporter_beat(struct reporter *reporter)
{
	int64_t now_ms = clock_boot_ms();
	pulse_set_quick(&reporter->pulse, claims_held(reporter->setup.claims) > 0, now_ms);
	if (pulse_wait_ms(&reporter->pulse, now_ms) == 0)
		send_round(reporter, false);
}

void reporter_say_farewell(struct reporter *reporter)
{
	send_round(reporter, true);
}

int64_t reporter_wait_ms(const struct reporter *reporter)
{
	return pulse_wait_ms(&reporter->pulse, clock_boot_ms());
}

bool reporter_is_silent(const struct reporter *reporter)
{
	return pulse_is_silent(&reporter->pulse, clock_boot_ms());
}

/* ---- what becomes of it ---- */

void reporter_done(struct reporter *reporter, struct report *report, bool acknowledged)
{
	if (report->kind == REPORT_CLAIM) {
		claims_acknowledged(reporter->setup.claims, report->number);
		(void)FAULT("worker.after_claim_before_run");
	} else if (report->kind == REPORT_RELEASE) {
		release_acknowledged(reporter->setup.releases, report->number);
	} else {
		pulse_record_done(&reporter->pulse, report->number, acknowledged);
	}
	DL_DELETE2(reporter->reports, report, previous, next);
	buffer_clear(&report->outgoing.text);
	free(report);
}
