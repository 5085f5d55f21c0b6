#pragma once

/*
 * What an orchestrator measures of itself for Prometheus: its table of metrics and their series. All series are NULL when metrics are off.
 * Made before threads start; updates come from any thread.
 *
 * What only the one with the keeper's role knows (the queues, as the database and the brokers have them) is shown by that one alone.
 */

#include "common/metrics.h"
#include "common/slice.h"
#include "orchestrator/settings.h"

/* Those from OLDEST_DUE to DEAD are the keeper's, out of the database. */
enum measure {
	MEASURE_INFO,
	MEASURE_KEEPER,
	MEASURE_LANES,
	MEASURE_ADMISSION_WAIT,
	MEASURE_DISPATCHES,
	MEASURE_UNACKNOWLEDGED,
	MEASURE_PRODUCE_ACK,
	MEASURE_RESULTS,
	MEASURE_ATTEMPTS,
	MEASURE_LOST,
	MEASURE_APPLY_SIZE,
	MEASURE_APPLY_TIME,
	MEASURE_LAG,
	MEASURE_SUBMISSIONS,
	MEASURE_BURIED,
	MEASURE_DATABASE_ERRORS,
	MEASURE_PURGED,
	MEASURE_OLDEST_DUE,
	MEASURE_BACKLOG,
	MEASURE_RUNNING,
	MEASURE_CLAIMS,
	MEASURE_WORKERS,
	MEASURE_DEAD,
	MEASURE_TASK_LAG,
};

enum verdict { VERDICT_WON, VERDICT_REPEATED, VERDICT_LATE, VERDICT_STALE, VERDICT_UNKNOWN, VERDICT_AHEAD, VERDICT_BUSY, VERDICTS };
enum lag_topic { LAG_RESULTS, LAG_OPERATIONS, LAG_TOPICS };

struct measures {
	struct metrics *metrics; /* NULL: off */
	struct metric_series *keeper, *lanes;
	struct metric_series *admission_wait, *admitted, *succeeding;
	struct metric_series *unacknowledged, *produce_ack;
	struct metric_series *results[VERDICTS];
	struct metric_series *succeeded, *failed;
	struct metric_series *lost_messages, *lost_workers;
	struct metric_series *apply_size, *apply_time;
	struct metric_series *lag[LAG_TOPICS];
	struct metric_series *submissions, *buried, *database_errors, *purged;
};

extern const struct metric_family orchestrator_metrics[];
extern const size_t orchestrator_metrics_count;

/* Makes the series when the settings turn metrics on. */
void measures_open(struct measures *measures, const struct settings *settings);
void measures_close(struct measures *measures);

/* One row of what a batch did; `retcode` of the reply. */
void measures_note_result(const struct measures *measures, struct slice verdict, int32_t retcode);

/* So many successes that won, and how many of them started a successor. */
void measures_note_successes(const struct measures *measures, int64_t won, int64_t started);

/* --- Gauges that only the keeper shows, of a queue or of all. */
void measures_set_of_queue(const struct measures *measures, enum measure measure, struct slice queue, int64_t value);
void measures_set(const struct measures *measures, enum measure measure, int64_t value);

/* After a look at all of them: what it did not set is shown no more. And: none is, this process is not the keeper. */
void measures_age_keepers(const struct measures *measures);
void measures_hide_keepers(const struct measures *measures);
void measures_hide(const struct measures *measures, enum measure measure);
