#include "common/metrics.h"

#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/memory.h"

/* What metrics_age makes of a series: updated since the last call, before it, and not shown. */
enum freshness { UNSEEN, SEEN, FRESH };

struct metric_series {
	const struct metric_family *family;
	char *labels; /* as they are written, without braces */
	struct metric_series *next;
	atomic_int freshness;
	atomic_int_least64_t value;    /* of a histogram: the sum */
	atomic_uint_least64_t buckets[]; /* of a histogram, each by itself, the last without a bound */
};

/* The series of one family in the order in which they came. */
struct series_list {
	struct metric_series *first, **end;
};

struct metrics {
	const struct metric_family *families;
	size_t family_count;
	pthread_mutex_t lock; /* of the lists, and of the rest */
	struct series_list *lists;
	size_t series_count;
	bool told_full;
	void (*collect)(void *context);
	void *context;
};

static const int64_t short_times[] = {100, 250, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 500000, 1000000, 2500000, 5000000, 10000000, 60000000};
const struct metric_bounds metric_short_times = {COUNT_OF(short_times), short_times};

static const int64_t long_times[] = {1000, 5000, 10000, 50000, 100000, 500000, 1000000, 5000000, 10000000, 60000000, 300000000, 900000000, 3600000000};
const struct metric_bounds metric_long_times = {COUNT_OF(long_times), long_times};

/* --- The registry */

struct metrics *metrics_new(const struct metric_family *families, size_t count)
{
	struct metrics *metrics = xcalloc(1, sizeof *metrics);
	metrics->families = families;
	metrics->family_count = count;
	metrics->lists = xcalloc(count, sizeof *metrics->lists);
	for (size_t i = 0; i < count; i++)
		metrics->lists[i].end = &metrics->lists[i].first;
	pthread_mutex_init(&metrics->lock, NULL);
	return metrics;
}

void metrics_free(struct metrics *metrics)
{
	if (!metrics)
		return;
	for (size_t i = 0; i < metrics->family_count; i++)
		for (struct metric_series *series = metrics->lists[i].first, *next; series; series = next) {
			next = series->next;
			free(series->labels);
			free(series);
		}
	pthread_mutex_destroy(&metrics->lock);
	free(metrics->lists);
	free(metrics);
}

static size_t bucket_count(const struct metric_family *family)
{
	return family->kind == METRIC_HISTOGRAM ? family->bounds->count + 1 : 0;
}

static void add_escaped(struct buffer *out, const char *text, bool quotes)
{
	for (; *text; text++) {
		if (*text == '\n')
			buffer_add_text(out, "\\n");
		else if (*text == '\\' || (quotes && *text == '"'))
			buffer_printf(out, "\\%c", *text);
		else
			buffer_add_char(out, *text);
	}
}

static void add_labels(struct buffer *out, const struct metric_family *family, const char *const *values)
{
	for (size_t i = 0; family->labels[i]; i++) {
		buffer_printf(out, "%s%s=\"", i > 0 ? "," : "", family->labels[i]);
		add_escaped(out, values[i], true);
		buffer_add_char(out, '"');
	}
}

static struct metric_series *find(const struct series_list *list, struct slice labels)
{
	struct metric_series *series = list->first;
	while (series && !slice_is(labels, series->labels))
		series = series->next;
	return series;
}

static struct metric_series *append(struct series_list *list, const struct metric_family *family, struct slice labels)
{
	struct metric_series *series = xcalloc(1, sizeof *series + bucket_count(family) * sizeof series->buckets[0]);
	series->family = family;
	series->labels = xstrndup(labels.start, labels.length);
	atomic_init(&series->freshness, family->late ? UNSEEN : SEEN);
	*list->end = series;
	list->end = &series->next;
	return series;
}

struct metric_series *metrics_series(struct metrics *metrics, size_t family, const char *const *values)
{
	struct buffer labels CLEANUP(buffer_clear) = {0};
	if (!metrics)
		return NULL;
	assert(family < metrics->family_count);
	add_labels(&labels, &metrics->families[family], values);
	pthread_mutex_lock(&metrics->lock);
	struct metric_series *series = find(&metrics->lists[family], buffer_slice(&labels));
	bool full = !series && metrics->series_count >= METRIC_SERIES_MAX, tell = full && !metrics->told_full;
	metrics->told_full |= full;
	if (!series && !full) {
		series = append(&metrics->lists[family], &metrics->families[family], buffer_slice(&labels));
		metrics->series_count++;
	}
	pthread_mutex_unlock(&metrics->lock);
	if (tell)
		log_warning("there are too many series of metrics, new ones are not counted", "limit", LOG_INT(METRIC_SERIES_MAX), "name", metrics->families[family].name);
	return series;
}

/* --- Updates */

static void note_update(struct metric_series *series)
{
	if (atomic_load_explicit(&series->freshness, memory_order_relaxed) != FRESH)
		atomic_store_explicit(&series->freshness, FRESH, memory_order_relaxed);
}

void metric_add(struct metric_series *series, int64_t amount)
{
	if (!series)
		return;
	atomic_fetch_add_explicit(&series->value, amount, memory_order_relaxed);
	note_update(series);
}

void metric_set(struct metric_series *series, int64_t value)
{
	if (!series)
		return;
	atomic_store_explicit(&series->value, value, memory_order_relaxed);
	note_update(series);
}

void metric_observe(struct metric_series *series, int64_t value)
{
	if (!series)
		return;
	const struct metric_bounds *bounds = series->family->bounds;
	size_t at = 0;
	while (at < bounds->count && value > bounds->list[at])
		at++;
	atomic_fetch_add_explicit(&series->buckets[at], 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&series->value, value, memory_order_relaxed);
	note_update(series);
}

void metrics_age(struct metrics *metrics, size_t family)
{
	if (!metrics)
		return;
	pthread_mutex_lock(&metrics->lock);
	for (struct metric_series *series = metrics->lists[family].first; series; series = series->next) {
		int was = atomic_load_explicit(&series->freshness, memory_order_relaxed);
		atomic_store_explicit(&series->freshness, was == FRESH ? SEEN : UNSEEN, memory_order_relaxed);
	}
	pthread_mutex_unlock(&metrics->lock);
}

/* --- Writing */

void metrics_on_write(struct metrics *metrics, void (*collect)(void *context), void *context)
{
	metrics->collect = collect;
	metrics->context = context;
}

static const char *kind_name(enum metric_kind kind)
{
	static const char *const names[] = {"counter", "gauge", "histogram"};
	return names[kind];
}

/* A number of parts as a decimal number of units. */
static void add_number(struct buffer *out, int64_t value, int64_t scale)
{
	uint64_t unit = scale > 1 ? (uint64_t)scale : 1;
	uint64_t parts = value < 0 ? -(uint64_t)value : (uint64_t)value;
	buffer_printf(out, "%s%" PRIu64, value < 0 ? "-" : "", parts / unit);
	parts %= unit;
	if (parts > 0)
		buffer_add_char(out, '.');
	while (parts > 0) {
		parts *= 10;
		buffer_add_char(out, (char)('0' + parts / unit));
		parts %= unit;
	}
}

static void begin_line(struct buffer *out, const struct metric_series *series, const char *suffix)
{
	buffer_printf(out, "%s%s", series->family->name, suffix);
	if (series->labels[0])
		buffer_printf(out, "{%s}", series->labels);
	buffer_add_char(out, ' ');
}

static void write_bucket(struct buffer *out, const struct metric_series *series, size_t at, uint64_t count)
{
	const struct metric_family *family = series->family;
	buffer_printf(out, "%s_bucket{%s%sle=\"", family->name, series->labels, series->labels[0] ? "," : "");
	if (at < family->bounds->count)
		add_number(out, family->bounds->list[at], family->scale);
	else
		buffer_add_text(out, "+Inf");
	buffer_printf(out, "\"} %" PRIu64 "\n", count);
}

static void write_histogram(struct buffer *out, const struct metric_series *series)
{
	uint64_t count = 0;
	for (size_t at = 0; at < bucket_count(series->family); at++) {
		count += atomic_load_explicit(&series->buckets[at], memory_order_relaxed);
		write_bucket(out, series, at, count);
	}
	begin_line(out, series, "_sum");
	add_number(out, atomic_load_explicit(&series->value, memory_order_relaxed), series->family->scale);
	buffer_add_char(out, '\n');
	begin_line(out, series, "_count");
	buffer_printf(out, "%" PRIu64 "\n", count);
}

static void write_series(struct buffer *out, const struct metric_series *series)
{
	if (series->family->kind == METRIC_HISTOGRAM) {
		write_histogram(out, series);
		return;
	}
	begin_line(out, series, "");
	add_number(out, atomic_load_explicit(&series->value, memory_order_relaxed), series->family->scale);
	buffer_add_char(out, '\n');
}

static void write_family(struct buffer *out, const struct metric_family *family, const struct series_list *list)
{
	buffer_printf(out, "# HELP %s ", family->name);
	add_escaped(out, family->help, false);
	buffer_printf(out, "\n# TYPE %s %s\n", family->name, kind_name(family->kind));
	for (const struct metric_series *series = list->first; series; series = series->next)
		if (atomic_load_explicit(&series->freshness, memory_order_relaxed) != UNSEEN)
			write_series(out, series);
}

void metrics_write(struct metrics *metrics, struct buffer *out)
{
	if (metrics->collect)
		metrics->collect(metrics->context);
	pthread_mutex_lock(&metrics->lock);
	for (size_t i = 0; i < metrics->family_count; i++)
		write_family(out, &metrics->families[i], &metrics->lists[i]);
	pthread_mutex_unlock(&metrics->lock);
}

/* --- The page */

void metrics_add_reference(struct buffer *out, const struct metric_family *families, size_t count)
{
	buffer_add_text(out, "| metric | kind | labels | what it is | watch for |\n|---|---|---|---|---|\n");
	for (const struct metric_family *family = families; family < families + count; family++) {
		buffer_printf(out, "| `%s` | %s | ", family->name, kind_name(family->kind));
		for (size_t i = 0; family->labels[i]; i++)
			buffer_printf(out, "%s`%s`", i > 0 ? ", " : "", family->labels[i]);
		buffer_printf(out, " | %s | %s |\n", family->help, family->watch ? family->watch : "");
	}
}
