#include "orchestrator/measures.h"

#include <string.h>

#include "common/limits.h"

static const int64_t sizes[] = {1, 2, 5, 10, 20, 50, 100, 200, 500, 1000};
static const struct metric_bounds batch_sizes = {COUNT_OF(sizes), sizes};

const struct metric_family orchestrator_metrics[] = {
	[MEASURE_INFO] = {.name = "kser_orchestrator_info", .kind = METRIC_GAUGE, .labels = {"version", "prefix"}, .help = "Always 1"},
	[MEASURE_KEEPER] = {.name = "kser_keeper", .kind = METRIC_GAUGE, .help = "1 in the process with the keeper's role, else 0",
		.watch = "a sum other than 1 for more than half a minute: nobody admits tasks or finds what was lost"},
	[MEASURE_LANES] = {.name = "kser_lanes", .kind = METRIC_GAUGE, .help = "Threads that apply results"},
	[MEASURE_ADMISSION_WAIT] = {.name = "kser_admission_wait_seconds", .kind = METRIC_HISTOGRAM, .scale = MICROSECONDS, .bounds = &metric_long_times,
		.help = "From the time when a task was due to its dispatch, by the database's clock: first tasks, retries, delayed starts, steps in another queue",
		.watch = "a high quantile far above what is usual: windows are full, or nobody has the keeper's role"},
	[MEASURE_DISPATCHES] = {.name = "kser_dispatches_total", .kind = METRIC_COUNTER, .labels = {"by"},
		.help = "Tasks dispatched: by admission (first tasks, retries) or by a result (the next step, which waits for nothing)"},
	[MEASURE_UNACKNOWLEDGED] = {.name = "kser_dispatches_unacknowledged", .kind = METRIC_GAUGE, .help = "Dispatches that the broker has not acknowledged yet",
		.watch = "above 0 for minutes: the broker is away or refuses them"},
	[MEASURE_PRODUCE_ACK] = {.name = "kser_produce_ack_seconds", .kind = METRIC_HISTOGRAM, .scale = MICROSECONDS, .bounds = &metric_short_times,
		.help = "From handing a dispatch to the producer to the broker's acknowledgement", .watch = "a high quantile above a second: the broker is slow"},
	[MEASURE_RESULTS] = {.name = "kser_results_total", .kind = METRIC_COUNTER, .labels = {"verdict"},
		.help = "Replies by what they did: won (ended their task), repeated, late, stale, unknown (changed nothing), busy, ahead (tried again)",
		.watch = "`late` and `stale` without a restart or a dead worker; `ahead`: the database was set back"},
	[MEASURE_ATTEMPTS] = {.name = "kser_attempts_total", .kind = METRIC_COUNTER, .labels = {"outcome"}, .help = "Attempts that ended by a reply that won: success or failure",
		.watch = "the share of `failure`"},
	[MEASURE_LOST] = {.name = "kser_lost_attempts_total", .kind = METRIC_COUNTER, .labels = {"cause"},
		.help = "Attempts that ended without a reply: message (lost by Kafka or a crash), worker (its claim was not renewed)", .watch = "any increase that nobody can explain"},
	[MEASURE_APPLY_SIZE] = {.name = "kser_apply_batch_results", .kind = METRIC_HISTOGRAM, .bounds = &batch_sizes, .help = "Results that one statement has dealt with: plain successes by one, the others, and what that one leaves alone, by another",
		.watch = "mostly at the setting `batch`: this orchestrator is at its limit"},
	[MEASURE_APPLY_TIME] = {.name = "kser_apply_seconds", .kind = METRIC_HISTOGRAM, .scale = MICROSECONDS, .bounds = &metric_short_times,
		.help = "How long a statement that applies results took, with its commit: one for the plain successes of a batch, one for the rest, if any", .watch = "a median above 0.1: the database is slow"},
	[MEASURE_LAG] = {.name = "kser_lag_records", .kind = METRIC_GAUGE, .labels = {"topic"},
		.help = "Records of results and operations from the first that this process has not finished to the end, as far as its last fetches told where the partitions end", .watch = "growth that does not stop"},
	[MEASURE_SUBMISSIONS] = {.name = "kser_submissions_total", .kind = METRIC_COUNTER, .help = "Submissions taken from the topic of operations"},
	[MEASURE_BURIED] = {.name = "kser_buried_records_total", .kind = METRIC_COUNTER, .help = "Records kept as dead letters by this process", .watch = "any increase: `kser dead ls`"},
	[MEASURE_DATABASE_ERRORS] = {.name = "kser_database_errors_total", .kind = METRIC_COUNTER, .help = "Calls of the database that failed and were tried again", .watch = "a steady increase"},
	[MEASURE_PURGED] = {.name = "kser_purged_operations_total", .kind = METRIC_COUNTER, .help = "Operations that this process deleted because they ended longer ago than the setting `retention`",
		.watch = "with `retention`, a rate that stays below that of new operations: the tables grow"},
	[MEASURE_OLDEST_DUE] = {.name = "kser_oldest_due_seconds", .kind = METRIC_GAUGE, .late = true, .scale = 1000, .labels = {"queue"},
		.help = "Keeper: how long the task that is due for longest waits for its admission; 0: none is due", .watch = "more than what the queue's work explains: nothing moves, or the workers are too few"},
	[MEASURE_BACKLOG] = {.name = "kser_backlog_tasks", .kind = METRIC_GAUGE, .late = true, .labels = {"queue"},
		.help = "Keeper: tasks that wait for admission, at most one more than the queue's backlog_max; 0 where it has none", .watch = "near backlog_max: submits are about to be refused"},
	[MEASURE_RUNNING] = {.name = "kser_operations_running", .kind = METRIC_GAUGE, .late = true, .labels = {"queue"}, .help = "Keeper: operations that have started and not ended, without paused ones"},
	[MEASURE_CLAIMS] = {.name = "kser_claims", .kind = METRIC_GAUGE, .late = true, .help = "Keeper: tasks that workers hold under a claim"},
	[MEASURE_WORKERS] = {.name = "kser_workers", .kind = METRIC_GAUGE, .late = true, .labels = {"queue"}, .help = "Keeper: workers heard of within 25 seconds", .watch = "0 while `kser_operations_running` is not"},
	[MEASURE_DEAD] = {.name = "kser_dead_letters", .kind = METRIC_GAUGE, .late = true, .help = "Keeper: dead letters kept, counted up to 10000", .watch = "above 0"},
	[MEASURE_TASK_LAG] = {.name = "kser_queue_lag_records", .kind = METRIC_GAUGE, .late = true, .labels = {"queue"},
		.help = "Keeper: records of a queue's topic that its workers have not committed, as the last round saw it; only while something is in flight", .watch = "growth that does not stop"},
};
const size_t orchestrator_metrics_count = COUNT_OF(orchestrator_metrics);

static const char *const verdicts[VERDICTS] = {"won", "repeated", "late", "stale", "unknown", "ahead", "busy"};

static struct metric_series *series(const struct measures *measures, enum measure measure, const char *value)
{
	return metrics_series(measures->metrics, measure, (const char *const[]){value});
}

static void open_replies(struct measures *measures)
{
	for (int i = 0; i < VERDICTS; i++)
		measures->results[i] = series(measures, MEASURE_RESULTS, verdicts[i]);
	measures->succeeded = series(measures, MEASURE_ATTEMPTS, "success");
	measures->failed = series(measures, MEASURE_ATTEMPTS, "failure");
	measures->lost_messages = series(measures, MEASURE_LOST, "message");
	measures->lost_workers = series(measures, MEASURE_LOST, "worker");
	measures->apply_size = series(measures, MEASURE_APPLY_SIZE, NULL);
	measures->apply_time = series(measures, MEASURE_APPLY_TIME, NULL);
	measures->lag[LAG_RESULTS] = series(measures, MEASURE_LAG, "results");
	measures->lag[LAG_OPERATIONS] = series(measures, MEASURE_LAG, "operations");
	measures->submissions = series(measures, MEASURE_SUBMISSIONS, NULL);
	measures->buried = series(measures, MEASURE_BURIED, NULL);
}

void measures_open(struct measures *measures, const struct settings *settings)
{
	if (!settings->metrics_enabled)
		return;
	measures->metrics = metrics_new(orchestrator_metrics, orchestrator_metrics_count);
	metric_set(metrics_series(measures->metrics, MEASURE_INFO, (const char *const[]){KSER_VERSION, settings->topic_prefix}), 1);
	measures->lanes = series(measures, MEASURE_LANES, NULL);
	measures->keeper = series(measures, MEASURE_KEEPER, NULL);
	measures->admission_wait = series(measures, MEASURE_ADMISSION_WAIT, NULL);
	measures->admitted = series(measures, MEASURE_DISPATCHES, "admission");
	measures->succeeding = series(measures, MEASURE_DISPATCHES, "result");
	measures->unacknowledged = series(measures, MEASURE_UNACKNOWLEDGED, NULL);
	measures->produce_ack = series(measures, MEASURE_PRODUCE_ACK, NULL);
	measures->database_errors = series(measures, MEASURE_DATABASE_ERRORS, NULL);
	measures->purged = series(measures, MEASURE_PURGED, NULL);
	open_replies(measures);
}

void measures_close(struct measures *measures)
{
	metrics_free(measures->metrics);
	*measures = (struct measures){0};
}

void measures_note_result(const struct measures *measures, struct slice verdict, int32_t retcode)
{
	if (!measures->metrics)
		return;
	for (int i = 0; i < VERDICTS; i++)
		if (slice_is(verdict, verdicts[i]))
			metric_add(measures->results[i], 1);
	if (slice_is(verdict, "won"))
		metric_add(retcode == 0 ? measures->succeeded : measures->failed, 1);
}

void measures_note_successes(const struct measures *measures, int64_t won, int64_t started)
{
	metric_add(measures->results[VERDICT_WON], won);
	metric_add(measures->succeeded, won);
	metric_add(measures->succeeding, started);
}

void measures_set_of_queue(const struct measures *measures, enum measure measure, struct slice queue, int64_t value)
{
	char name[QUEUE_BYTES_MAX + 1] = "";
	if (!measures->metrics || queue.length >= sizeof name)
		return;
	memcpy(name, queue.start, queue.length);
	metric_set(series(measures, measure, name), value);
}

void measures_set(const struct measures *measures, enum measure measure, int64_t value)
{
	metric_set(series(measures, measure, NULL), value);
}

void measures_hide(const struct measures *measures, enum measure measure)
{
	metrics_age(measures->metrics, measure);
	metrics_age(measures->metrics, measure);
}

void measures_hide_keepers(const struct measures *measures)
{
	for (int measure = MEASURE_OLDEST_DUE; measure <= MEASURE_DEAD; measure++)
		measures_hide(measures, (enum measure)measure);
}

void measures_age_keepers(const struct measures *measures)
{
	for (int measure = MEASURE_OLDEST_DUE; measure <= MEASURE_DEAD; measure++)
		metrics_age(measures->metrics, (enum measure)measure);
}
