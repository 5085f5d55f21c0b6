#pragma once

/*
 * What a worker measures of itself for Prometheus: its table of metrics, and their series. Two are those of the Python library
 * kser, by its names and counted at its places; ours begin with kser_worker_.
 *
 * The struct exists once for each worker; when metrics are off all series in it are NULL. Made before threads start; updates come
 * from any thread.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "common/metrics.h"
#include "common/metrics_server.h"
#include "worker/entrypoints.h"
#include "worker/hand.h"
#include "worker/queue.h"
#include "worker/settings.h"

/* What became of one execution of an entrypoint. */
enum attempt_outcome { ATTEMPT_SUCCESS, ATTEMPT_FAILURE, ATTEMPT_RETRY, ATTEMPT_CANCELLED, ATTEMPT_OUTCOMES };

struct entrypoint_measures {
	struct metric_series *kser_success, *kser_failed;
	struct metric_series *run_seconds;
	struct metric_series *attempts[ATTEMPT_OUTCOMES];
};

struct measures {
	struct metrics *metrics; /* NULL: off */
	struct metrics_server *server;
	struct queue *queue;
	struct entrypoint_measures unknown; /* of tasks whose entrypoint is not registered, or that were not started */
	struct entrypoint_measures *entrypoints; /* by their order */
	struct observer observer;
	struct metric_series *kser_count;
	struct metric_series *queue_wait, *acknowledged;
	struct metric_series *in_hand, *claims, *lag, *unusable;
	struct metric_series *slots_used, *waiting;
	atomic_int_least64_t well_ms; /* when the I/O thread last found that heartbeats arrive, monotonic */
};

extern const struct metric_family worker_metrics[];
extern const size_t worker_metrics_count;

/* Makes the series when the settings turn metrics on, and looks on at the life of tasks. The queue and entrypoints must outlive measures_close. */
void measures_open(struct measures *measures, const struct worker_settings *settings, const char *host, struct entrypoints *entrypoints, struct queue *queue);

/* Serves them, when they are on. Errors as metrics_server_start. */
MUST_USE enum status measures_serve(struct measures *measures, const struct worker_settings *settings, struct error *err);

/* Ends the server; series stay. */
void measures_stop(struct measures *measures);

/* Frees all. Nobody may update any more. */
void measures_close(struct measures *measures);

/* What the I/O thread sees in each of its rounds. `well`: heartbeats are acknowledged. */
void measures_note_round(struct measures *measures, const struct hand *hand, bool well);

/* The series of an entrypoint; NULL: of those that are not registered. */
const struct entrypoint_measures *measures_of(const struct measures *measures, const struct entrypoint *entrypoint);

/* An execution has begun: its task was in hand for so long. */
void measures_note_start(const struct measures *measures, int64_t waited_ms);

/* It has ended, or (a task that sleeps) will have after `run_us`. `entrypoint` NULL: none was called. */
void measures_note_end(const struct measures *measures, const struct entrypoint *entrypoint, enum attempt_outcome outcome, int64_t run_us);

