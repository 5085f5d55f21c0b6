#pragma once

/*
 * Counters, gauges and histograms, written in Prometheus' text format 0.0.4.
 *
 * A program has one table of families, the only place that names them: the exposition and docs/metrics.md come from it.
 * A registry that is NULL is switched off: its series are NULL, and an update of a NULL series is one comparison.
 *
 * Updates are relaxed atomics by any thread and take no lock; series live as long as their registry. What is written is no
 * snapshot across series, but each counter and bucket only grows, and a histogram's count is the sum of its buckets.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/attributes.h"
#include "common/buffer.h"

#define METRIC_LABELS_MAX 3
#define METRIC_SERIES_MAX 10000 /* of one registry: beyond it new label values are not counted, and that is told once */

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

/* The upper bounds of a histogram's buckets, ascending; the one without a bound comes by itself. */
struct metric_bounds {
	size_t count;
	const int64_t *list;
};

struct metric_family {
	const char *name;
	const char *help;   /* one line */
	const char *watch;  /* for the page: what to be woken by; NULL: nothing */
	enum metric_kind kind;
	bool late;          /* a series is shown from its first update on, else from metrics_series on */
	int64_t scale;      /* updates and bounds are given in so many parts of the unit in the name; 0: 1 */
	const struct metric_bounds *bounds;
	const char *labels[METRIC_LABELS_MAX + 1]; /* ended by NULL */
};

/* Bounds in microseconds for what is exposed in seconds (scale MICROSECONDS): 100 µs to a minute, and 1 ms to an hour. */
#define MICROSECONDS 1000000
extern const struct metric_bounds metric_short_times;
extern const struct metric_bounds metric_long_times;

struct metrics; /* opaque */
struct metric_series;

/* The table must outlive it. */
MUST_USE struct metrics *metrics_new(const struct metric_family *families, size_t count);
void metrics_free(struct metrics *metrics); /* NULL is allowed */

/*
 * The series of a family (its number in the table) with these label values, one for each label of the family; made when it is not there. Takes
 * a lock: keep what it returns. NULL: the registry is, or it is full. Values must be UTF-8, they are copied.
 */
MUST_USE struct metric_series *metrics_series(struct metrics *metrics, size_t family, const char *const *values);

/* --- Updates; any thread. `series` NULL: nothing. */
void metric_add(struct metric_series *series, int64_t amount);
void metric_set(struct metric_series *series, int64_t value);
void metric_observe(struct metric_series *series, int64_t value);

/* Series of the family that were not updated since the last call are not shown until they are. For what others may take over. */
void metrics_age(struct metrics *metrics, size_t family);

/* Called by metrics_write, in its thread, before it writes: for gauges that nobody keeps up to date. One at most. */
void metrics_on_write(struct metrics *metrics, void (*collect)(void *context), void *context);

/* Adds the exposition. Any thread. */
void metrics_write(struct metrics *metrics, struct buffer *out);

/* Adds the families as a Markdown table. */
void metrics_add_reference(struct buffer *out, const struct metric_family *families, size_t count);
