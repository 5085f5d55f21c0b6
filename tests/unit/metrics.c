/* The exposition, byte by byte. */

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "common/metrics.h"

enum { COUNT, LEVEL, TIMES, LATE };

static const int64_t bounds_list[] = {1000, 1500000};
static const struct metric_bounds bounds = {2, bounds_list};

static const struct metric_family families[] = {
	[COUNT] = {.name = "some_total", .kind = METRIC_COUNTER, .help = "a \\ and\na \"line\"", .labels = {"one", "two"}},
	[LEVEL] = {.name = "level_seconds", .kind = METRIC_GAUGE, .scale = 1000, .help = "a level"},
	[TIMES] = {.name = "time_seconds", .kind = METRIC_HISTOGRAM, .scale = MICROSECONDS, .bounds = &bounds, .help = "times", .labels = {"what"}},
	[LATE] = {.name = "late", .kind = METRIC_GAUGE, .late = true, .help = "l", .labels = {"queue"}},
};

#define VALUES(...) (const char *const[]){__VA_ARGS__}

static struct metrics *metrics;

static void open_metrics(void)
{
	metrics = metrics_new(families, COUNT_OF(families));
}

static void close_metrics(void)
{
	metrics_free(metrics);
}

TestSuite(metrics, .init = open_metrics, .fini = close_metrics);

/* What is written of the family that `name` begins. */
static void expect(const char *name, const char *expected)
{
	struct buffer out CLEANUP(buffer_clear) = {0};
	struct buffer head CLEANUP(buffer_clear) = {0};
	metrics_write(metrics, &out);
	buffer_printf(&head, "# HELP %s ", name);
	const char *begin = strstr(out.bytes, head.bytes);
	cr_assert_not_null(begin, "%s", out.bytes);
	const char *end = strstr(begin + 1, "# HELP");
	struct slice written = {begin, end ? (size_t)(end - begin) : strlen(begin)};
	cr_expect(slice_is(written, expected), "%.*s", (int)written.length, written.start);
}

Test(metrics, labels_and_help_are_escaped)
{
	metric_add(metrics_series(metrics, COUNT, VALUES("a\"b\\c\nd", "\xc3\xa9")), 3);
	expect("some_total", "# HELP some_total a \\\\ and\\na \"line\"\n# TYPE some_total counter\nsome_total{one=\"a\\\"b\\\\c\\nd\",two=\"\xc3\xa9\"} 3\n");
}

Test(metrics, the_same_labels_are_the_same_series)
{
	struct metric_series *series = metrics_series(metrics, COUNT, VALUES("a", "b"));
	cr_expect_eq(series, metrics_series(metrics, COUNT, VALUES("a", "b")));
	cr_expect_neq(series, metrics_series(metrics, COUNT, VALUES("a", "c")));
	cr_expect_neq(series, metrics_series(metrics, COUNT, VALUES("a\",two=\"b", "")));
}

Test(metrics, a_counter_begins_at_zero)
{
	(void)!metrics_series(metrics, COUNT, VALUES("", ""));
	expect("some_total", "# HELP some_total a \\\\ and\\na \"line\"\n# TYPE some_total counter\nsome_total{one=\"\",two=\"\"} 0\n");
}

Test(metrics, numbers_are_exact)
{
	static const struct {
		int64_t value;
		const char *written;
	} cases[] = {{0, "0"}, {1, "0.001"}, {-1500, "-1.5"}, {20000, "20"}, {1010, "1.01"}, {INT64_MAX, "9223372036854775.807"}, {INT64_MIN, "-9223372036854775.808"}};
	struct metric_series *series = metrics_series(metrics, LEVEL, VALUES(NULL));
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		char expected[200];
		metric_set(series, cases[i].value);
		snprintf(expected, sizeof expected, "# HELP level_seconds a level\n# TYPE level_seconds gauge\nlevel_seconds %s\n", cases[i].written);
		expect("level_seconds", expected);
	}
}

/* A value on a bound is in that bucket; buckets are written cumulative. */
Test(metrics, a_histogram)
{
	struct metric_series *series = metrics_series(metrics, TIMES, VALUES("x"));
	static const int64_t values[] = {0, 1000, 1001, 1500000, 1500001, 60000000};
	for (size_t i = 0; i < COUNT_OF(values); i++)
		metric_observe(series, values[i]);
	expect("time_seconds", "# HELP time_seconds times\n# TYPE time_seconds histogram\n"
		"time_seconds_bucket{what=\"x\",le=\"0.001\"} 2\ntime_seconds_bucket{what=\"x\",le=\"1.5\"} 4\ntime_seconds_bucket{what=\"x\",le=\"+Inf\"} 6\n"
		"time_seconds_sum{what=\"x\"} 63.002002\ntime_seconds_count{what=\"x\"} 6\n");
}

#define LATE_HEAD "# HELP late l\n# TYPE late gauge\n"

Test(metrics, a_late_series_is_shown_while_it_is_updated)
{
	struct metric_series *one = metrics_series(metrics, LATE, VALUES("one")), *two = metrics_series(metrics, LATE, VALUES("two"));
	expect("late", LATE_HEAD);
	metric_set(one, 1);
	metric_set(two, 2);
	metrics_age(metrics, LATE);
	expect("late", LATE_HEAD "late{queue=\"one\"} 1\nlate{queue=\"two\"} 2\n");
	metric_set(two, 3);
	metrics_age(metrics, LATE);
	expect("late", LATE_HEAD "late{queue=\"two\"} 3\n");
	metrics_age(metrics, LATE);
	expect("late", LATE_HEAD);
	metric_set(one, 0);
	expect("late", LATE_HEAD "late{queue=\"one\"} 0\n");
}

Test(metrics, off_is_nothing)
{
	cr_expect_null(metrics_series(NULL, COUNT, VALUES("a", "b")));
	metric_add(NULL, 1);
	metric_set(NULL, 1);
	metric_observe(NULL, 1);
	metrics_age(NULL, LATE);
	metrics_free(NULL);
}

Test(metrics, series_are_bounded)
{
	char name[24];
	for (int i = 0; i < METRIC_SERIES_MAX; i++) {
		snprintf(name, sizeof name, "%d", i);
		cr_assert_not_null(metrics_series(metrics, i % 2 ? COUNT : LATE, VALUES(name, "")));
	}
	cr_expect_null(metrics_series(metrics, COUNT, VALUES("one more", "")));
	cr_expect_not_null(metrics_series(metrics, COUNT, VALUES("1", "")));
}

static void collect(void *context)
{
	metric_set(metrics_series(metrics, LEVEL, VALUES(NULL)), ++*(int *)context * 1000);
}

Test(metrics, what_nobody_keeps_is_collected_when_it_is_written)
{
	int count = 0;
	metrics_on_write(metrics, collect, &count);
	expect("level_seconds", "# HELP level_seconds a level\n# TYPE level_seconds gauge\nlevel_seconds 1\n");
	expect("level_seconds", "# HELP level_seconds a level\n# TYPE level_seconds gauge\nlevel_seconds 2\n");
}
