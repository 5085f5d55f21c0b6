/*
 * Threads that update, one that writes, one that makes series: nothing is lost, and the thread sanitizer sees no race.
 * With the argument `time` it tells what an update costs: build/release/tests/unit_metrics_threads time
 */

#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/metrics.h"

enum { COUNT, TIMES, LEVEL, THREADS = 4, UPDATES = 20000 };

static const struct metric_family families[] = {
	[COUNT] = {.name = "some_total", .kind = METRIC_COUNTER, .help = "h", .labels = {"name"}},
	[TIMES] = {.name = "time_seconds", .kind = METRIC_HISTOGRAM, .scale = MICROSECONDS, .bounds = &metric_short_times, .help = "h"},
	[LEVEL] = {.name = "level", .kind = METRIC_GAUGE, .late = true, .help = "h"},
};

static struct metrics *metrics;

static void *update(void *argument)
{
	struct metric_series *count = metrics_series(metrics, COUNT, (const char *const[]){"shared"});
	struct metric_series *times = metrics_series(metrics, TIMES, (const char *const[]){NULL});
	struct metric_series *level = metrics_series(metrics, LEVEL, (const char *const[]){NULL});
	(void)argument;
	for (int i = 0; i < UPDATES; i++) {
		char name[24];
		metric_add(count, 1);
		metric_observe(times, i);
		metric_set(level, i);
		if (i % 1000 == 0) {
			snprintf(name, sizeof name, "%d", i);
			metric_add(metrics_series(metrics, COUNT, (const char *const[]){name}), 1);
		}
	}
	return NULL;
}

static void *write_often(void *argument)
{
	(void)argument;
	for (int i = 0; i < 50; i++) {
		struct buffer out CLEANUP(buffer_clear) = {0};
		metrics_age(metrics, LEVEL);
		metrics_write(metrics, &out);
	}
	return NULL;
}

static void check_sums(void)
{
	struct buffer out CLEANUP(buffer_clear) = {0};
	metrics_write(metrics, &out);
	assert(strstr(out.bytes, "some_total{name=\"shared\"} 80000\n"));
	assert(strstr(out.bytes, "some_total{name=\"19000\"} 4\n"));
	assert(strstr(out.bytes, "time_seconds_count 80000\n"));
	assert(strstr(out.bytes, "time_seconds_sum 799.96\n"));
}

static void race(void)
{
	pthread_t threads[THREADS + 1];
	metrics = metrics_new(families, COUNT_OF(families));
	for (int i = 0; i < THREADS; i++)
		assert(pthread_create(&threads[i], NULL, update, NULL) == 0);
	assert(pthread_create(&threads[THREADS], NULL, write_often, NULL) == 0);
	for (int i = 0; i <= THREADS; i++)
		pthread_join(threads[i], NULL);
	check_sums();
	metrics_free(metrics);
}

static void time_updates(const char *what, struct metric_series *count, struct metric_series *times)
{
	enum { ROUNDS = 20000000 };
	int64_t began_us = clock_monotonic_us();
	for (int i = 0; i < ROUNDS; i++) {
		metric_add(count, 1);
		metric_observe(times, i & 0xffff);
	}
	int64_t took_us = clock_monotonic_us() - began_us;
	printf("%s: %" PRId64 ".%03d ns for a counter and a histogram\n", what, took_us * 1000 / ROUNDS, (int)(took_us * 1000 % ROUNDS * 1000 / ROUNDS));
}

int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "time") == 0) {
		metrics = metrics_new(families, COUNT_OF(families));
		time_updates("on", metrics_series(metrics, COUNT, (const char *const[]){""}), metrics_series(metrics, TIMES, (const char *const[]){NULL}));
		time_updates("off", NULL, NULL);
		metrics_free(metrics);
		return 0;
	}
	race();
	return 0;
}
