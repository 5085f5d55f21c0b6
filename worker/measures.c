#include "worker/measures.h"

#include <stdlib.h>

#include "common/clock.h"
#include "common/memory.h"
#include "worker/lifecycle.h"

/* Heartbeats come every ten seconds when nothing is claimed. */
#define WELL_MS 30000

enum family {
	KSER_COUNT, KSER_RESULT, BUILD_INFO, SLOTS, SLOTS_USED, WAITING, IN_HAND, CLAIMS, QUEUE_WAIT, RUN, ATTEMPTS, ACKNOWLEDGED, LAG, UNUSABLE,
};

const struct metric_family worker_metrics[] = {
	[KSER_COUNT] = {.name = "kser_task_count", .kind = METRIC_GAUGE, .help = "KSER tasks launched",
		.watch = "as in kser: counts up only, so use `increase()`"},
	[KSER_RESULT] = {.name = "kser_task_result_total", .kind = METRIC_COUNTER, .late = true, .labels = {"hostname", "name", "status"}, .help = "KSER task status",
		.watch = "the share of `FAILED`"},
	[BUILD_INFO] = {.name = "kser_worker_info", .kind = METRIC_GAUGE, .labels = {"version", "queue"}, .help = "Always 1"},
	[SLOTS] = {.name = "kser_worker_slots", .kind = METRIC_GAUGE, .help = "Tasks that may run at once"},
	[SLOTS_USED] = {.name = "kser_worker_slots_used", .kind = METRIC_GAUGE, .help = "Tasks that run now",
		.watch = "equal to `kser_worker_slots` for long, while tasks wait: more workers are needed"},
	[WAITING] = {.name = "kser_worker_tasks_waiting", .kind = METRIC_GAUGE, .help = "Tasks received that wait for a slot"},
	[IN_HAND] = {.name = "kser_worker_tasks_in_hand", .kind = METRIC_GAUGE, .help = "Tasks received whose answer the broker has not acknowledged yet"},
	[CLAIMS] = {.name = "kser_worker_claims", .kind = METRIC_GAUGE, .help = "Tasks held under a claim"},
	[QUEUE_WAIT] = {.name = "kser_worker_queue_wait_seconds", .kind = METRIC_HISTOGRAM, .scale = MICROSECONDS, .bounds = &metric_long_times,
		.help = "From the receipt of a task to its start, by this worker's clock; how long it lay in Kafka before is not in it"},
	[RUN] = {.name = "kser_worker_run_seconds", .kind = METRIC_HISTOGRAM, .scale = MICROSECONDS, .bounds = &metric_long_times, .labels = {"entrypoint"},
		.help = "How long executions took, by registered entrypoint; a task that sleeps counts with its sleep"},
	[ATTEMPTS] = {.name = "kser_worker_attempts_total", .kind = METRIC_COUNTER, .labels = {"entrypoint", "outcome"},
		.help = "Executions ended: success, failure, retry (failed, may be tried again), cancelled (told to end, no result); entrypoint is empty for what is not registered or was not started", .watch = "the share of `failure`"},
	[ACKNOWLEDGED] = {.name = "kser_worker_produce_ack_seconds", .kind = METRIC_HISTOGRAM, .scale = MICROSECONDS, .bounds = &metric_short_times,
		.help = "From handing a record (an answer, a heartbeat, a claim, a release) to the producer to the broker's acknowledgement", .watch = "a high quantile above a second: the broker is slow or away"},
	[LAG] = {.name = "kser_worker_lag_records", .kind = METRIC_GAUGE,
		.help = "Records of the assigned partitions behind the committed offset, as far as the last fetches told where they end", .watch = "growth that does not stop"},
	[UNUSABLE] = {.name = "kser_worker_unusable_records_total", .kind = METRIC_COUNTER, .help = "Records that are no usable message, reported as dead letters",
		.watch = "any increase: `kser dead ls`"},
};
const size_t worker_metrics_count = COUNT_OF(worker_metrics);

/* --- Series */

static struct metric_series *plain(struct measures *measures, enum family family)
{
	return metrics_series(measures->metrics, family, (const char *const[]){NULL});
}

static void open_entrypoint(struct measures *measures, struct entrypoint_measures *made, const char *name)
{
	static const char *const outcomes[ATTEMPT_OUTCOMES] = {"success", "failure", "retry", "cancelled"};
	if (name[0])
		made->run_seconds = metrics_series(measures->metrics, RUN, (const char *const[]){name});
	for (int i = 0; i < ATTEMPT_OUTCOMES; i++)
		made->attempts[i] = metrics_series(measures->metrics, ATTEMPTS, (const char *const[]){name, outcomes[i]});
}

static void open_entrypoints(struct measures *measures, const struct entrypoints *entrypoints, const char *host)
{
	measures->entrypoints = xcalloc(HASH_COUNT(entrypoints->table) + 1, sizeof *measures->entrypoints);
	open_entrypoint(measures, &measures->unknown, "");
	for (const struct entrypoint *entrypoint = entrypoints->table; entrypoint; entrypoint = entrypoint->hh.next) {
		struct entrypoint_measures *made = &measures->entrypoints[entrypoint->number];
		open_entrypoint(measures, made, entrypoint->name);
		if (entrypoint->operation)
			continue;
		made->kser_success = metrics_series(measures->metrics, KSER_RESULT, (const char *const[]){host, entrypoint->name, "SUCCESS"});
		made->kser_failed = metrics_series(measures->metrics, KSER_RESULT, (const char *const[]){host, entrypoint->name, "FAILED"});
	}
}

/* In the server's thread. */
static void collect(void *context)
{
	const struct measures *measures = context;
	struct queue_state state = queue_state(measures->queue);
	metric_set(measures->slots_used, (int64_t)state.active);
	metric_set(measures->waiting, (int64_t)state.waiting);
}

/* kser's own, at its places: a task that is only launched is in the one, a missing parameter only in the other. Operations have no series. */
static void on_notice(void *context, const struct notice *notice)
{
	const struct measures *measures = context;
	const struct entrypoint_measures *of = &measures->entrypoints[notice->number];
	if (notice->place == PLACE_RUN_BEGIN && of->kser_success)
		metric_add(measures->kser_count, 1);
	else if (notice->place == PLACE_SUCCESS)
		metric_add(of->kser_success, 1);
	else if (notice->place == PLACE_ERROR)
		metric_add(of->kser_failed, 1);
}

void measures_open(struct measures *measures, const struct worker_settings *settings, const char *host, struct entrypoints *entrypoints, struct queue *queue)
{
	if (!settings->metrics_enabled)
		return;
	measures->metrics = metrics_new(worker_metrics, worker_metrics_count);
	measures->queue = queue;
	atomic_init(&measures->well_ms, clock_monotonic_ms());
	open_entrypoints(measures, entrypoints, host);
	measures->kser_count = plain(measures, KSER_COUNT);
	measures->queue_wait = plain(measures, QUEUE_WAIT);
	measures->acknowledged = plain(measures, ACKNOWLEDGED);
	measures->in_hand = plain(measures, IN_HAND);
	measures->claims = plain(measures, CLAIMS);
	measures->lag = plain(measures, LAG);
	measures->unusable = plain(measures, UNUSABLE);
	measures->slots_used = plain(measures, SLOTS_USED);
	measures->waiting = plain(measures, WAITING);
	metric_set(plain(measures, SLOTS), settings->slots);
	metric_set(metrics_series(measures->metrics, BUILD_INFO, (const char *const[]){KSER_VERSION, settings->queue}), 1);
	metrics_on_write(measures->metrics, collect, measures);
	measures->observer = (struct observer){.notice = on_notice, .context = measures, .light = true};
	lifecycle_observe(entrypoints, &measures->observer);
}

static bool is_well(void *context)
{
	struct measures *measures = context;
	return clock_monotonic_ms() - atomic_load(&measures->well_ms) < WELL_MS;
}

enum status measures_serve(struct measures *measures, const struct worker_settings *settings, struct error *err)
{
	if (!measures->metrics)
		return E_OK;
	const struct metrics_server_setup setup = {.address = settings->metrics_address, .port = settings->metrics_port, .metrics = measures->metrics,
		.healthy = is_well, .context = measures};
	return metrics_server_start(&setup, &measures->server, err);
}

void measures_stop(struct measures *measures)
{
	metrics_server_stop(TAKE(measures->server));
}

void measures_close(struct measures *measures)
{
	measures_stop(measures);
	metrics_free(measures->metrics);
	free(measures->entrypoints);
	*measures = (struct measures){0};
}

/* --- Updates */

void measures_note_round(struct measures *measures, const struct hand *hand, bool well)
{
	if (!measures->metrics)
		return;
	metric_set(measures->in_hand, (int64_t)hand->count);
	metric_set(measures->claims, (int64_t)hand->counts[CLAIMED]);
	if (well)
		atomic_store_explicit(&measures->well_ms, clock_monotonic_ms(), memory_order_relaxed);
}

const struct entrypoint_measures *measures_of(const struct measures *measures, const struct entrypoint *entrypoint)
{
	return entrypoint && measures->entrypoints ? &measures->entrypoints[entrypoint->number] : &measures->unknown;
}

void measures_note_start(const struct measures *measures, int64_t waited_ms)
{
	metric_observe(measures->queue_wait, waited_ms * 1000);
}

void measures_note_end(const struct measures *measures, const struct entrypoint *entrypoint, enum attempt_outcome outcome, int64_t run_us)
{
	const struct entrypoint_measures *of = measures_of(measures, entrypoint);
	metric_observe(of->run_seconds, run_us);
	metric_add(of->attempts[outcome], 1);
}
