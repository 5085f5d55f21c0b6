/*
 * bench-echo BROKERS PREFIX IN_FLIGHT SECONDS BYTES: what a step's two hops through Kafka cost without kser. One thread keeps
 * IN_FLIGHT records of BYTES on their way by one topic, another one sends back by a second topic what it reads; clients are
 * configured as kser's, one partition each. The first fifth of the time is not counted.
 * Prints {"round_trips_per_s", "ms_p50", "ms_p99"}.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/kafka.h"
#include "common/memory.h"

enum { BATCH = 1000, BYTES_MAX = 2000, SAMPLES_MAX = 4000000, TIMEOUT_MS = 30000, RETRY_MS = 20 };

/* One thread's clients: what it reads and where it writes. */
struct side {
	rd_kafka_t *consumer;
	rd_kafka_t *producer;
	rd_kafka_topic_t *target;
	rd_kafka_message_t *taken[BATCH];
	rd_kafka_message_t sent[BATCH];
	int count;
};

static char bodies[BATCH][BYTES_MAX];
static atomic_bool finished;

static void die(const char *why)
{
	fprintf(stderr, "bench-echo: %s\n", why);
	exit(EXIT_FAILURE);
}

static void check(enum status status, const struct error *err)
{
	if (status)
		die(err->text);
}

/* The topic's present end. A partition that was made just now has no leader for a moment, and librdkafka gives up at once then. */
static int64_t end_of(rd_kafka_t *consumer, const char *topic)
{
	int64_t low, high, until_ms = clock_monotonic_ms() + TIMEOUT_MS;
	rd_kafka_resp_err_t error;
	while ((error = rd_kafka_query_watermark_offsets(consumer, topic, 0, &low, &high, TIMEOUT_MS)) && clock_monotonic_ms() < until_ms)
		usleep(RETRY_MS * 1000);
	if (error) {
		fprintf(stderr, "bench-echo: could not read the end of %s: %s\n", topic, rd_kafka_err2str(error));
		exit(EXIT_FAILURE);
	}
	return high;
}

/* Reads from the topic's present end. */
static void assign(rd_kafka_t *consumer, const char *topic)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
	rd_kafka_topic_partition_list_add(list, topic, 0)->offset = end_of(consumer, topic);
	rd_kafka_assign(consumer, list);
	rd_kafka_topic_partition_list_destroy(list);
}

static void open_side(struct side *side, const char *brokers, const char *reads, const char *writes)
{
	struct error err;
	check(kafka_producer(brokers, NULL, "bench-echo", NULL, NULL, &side->producer, &err), &err);
	const struct topic_wanted wanted[] = {{reads, 1}, {writes, 1}};
	check(kafka_create_topics(side->producer, wanted, COUNT_OF(wanted), TIMEOUT_MS, &err), &err);
	check(kafka_consumer(brokers, NULL, "bench-echo", NULL, NULL, NULL, &side->consumer, &err), &err);
	assign(side->consumer, reads);
	side->target = rd_kafka_topic_new(side->producer, writes, NULL);
}

static void close_side(struct side *side)
{
	rd_kafka_topic_destroy(side->target);
	kafka_consumer_close(side->consumer, 1000);
	kafka_producer_close(side->producer, 1000);
}

/* What has arrived, at most a batch; waits for the first. */
static int take(struct side *side)
{
	for (side->count = 0; side->count < BATCH;) {
		rd_kafka_message_t *record = rd_kafka_consumer_poll(side->consumer, side->count ? 0 : 50);
		if (!record)
			break;
		if (record->err)
			rd_kafka_message_destroy(record);
		else
			side->taken[side->count++] = record;
	}
	return side->count;
}

static void produce(struct side *side, int count)
{
	if (rd_kafka_produce_batch(side->target, 0, RD_KAFKA_MSG_F_COPY, side->sent, count) != count)
		die("could not produce");
	rd_kafka_poll(side->producer, 0);
}

static void give_back(struct side *side)
{
	for (int i = 0; i < side->count; i++)
		rd_kafka_message_destroy(side->taken[i]);
}

static void *echo(void *argument)
{
	struct side *far = argument;
	while (!finished) {
		if (take(far) == 0)
			continue;
		for (int i = 0; i < far->count; i++)
			far->sent[i] = (rd_kafka_message_t){.payload = far->taken[i]->payload, .len = far->taken[i]->len};
		produce(far, far->count);
		give_back(far);
	}
	return NULL;
}

/* Sends `count` records, at most a batch, with the moment in their first bytes. */
static void start(struct side *near, int count, size_t bytes)
{
	int64_t now_us = clock_monotonic_us();
	for (int i = 0; i < count; i++) {
		memcpy(bodies[i], &now_us, sizeof now_us);
		near->sent[i] = (rd_kafka_message_t){.payload = bodies[i], .len = bytes};
	}
	produce(near, count);
}

static size_t note(const struct side *near, int64_t *samples, size_t count)
{
	int64_t now_us = clock_monotonic_us(), sent_us;
	for (int i = 0; i < near->count && count < SAMPLES_MAX; i++) {
		memcpy(&sent_us, near->taken[i]->payload, sizeof sent_us);
		samples[count++] = now_us - sent_us;
	}
	return count;
}

/* Keeps the records on their way; how many round trips are in `samples`, each in microseconds. */
static size_t run(struct side *near, int in_flight, int64_t time_us, size_t bytes, int64_t *samples)
{
	size_t count = 0;
	int64_t begun_us = clock_monotonic_us(), now_us = begun_us;
	for (int left = in_flight; left > 0; left -= BATCH)
		start(near, left < BATCH ? left : BATCH, bytes);
	while (now_us < begun_us + time_us) {
		take(near);
		now_us = clock_monotonic_us();
		if (now_us > begun_us + time_us / 5)
			count = note(near, samples, count);
		give_back(near);
		if (near->count > 0)
			start(near, near->count, bytes);
	}
	return count;
}

static int by_size(const void *one, const void *other)
{
	int64_t a = *(const int64_t *)one, b = *(const int64_t *)other;
	return (a > b) - (a < b);
}

static void print(int64_t *samples, size_t count, double seconds)
{
	if (count == 0)
		die("no record came back");
	qsort(samples, count, sizeof samples[0], by_size);
	printf("{\"round_trips_per_s\": %.0f, \"ms_p50\": %.3f, \"ms_p99\": %.3f}\n", (double)count / seconds, (double)samples[count / 2] / 1000,
		(double)samples[count * 99 / 100] / 1000);
}

int main(int argc, char **argv)
{
	long in_flight = argc == 6 ? strtol(argv[3], NULL, 10) : 0, bytes = argc == 6 ? strtol(argv[5], NULL, 10) : 0;
	double seconds = argc == 6 ? strtod(argv[4], NULL) : 0;
	if (in_flight < 1 || in_flight > 100000 || seconds <= 0 || bytes < 8 || bytes > BYTES_MAX) {
		fprintf(stderr, "usage: bench-echo BROKERS PREFIX IN_FLIGHT SECONDS BYTES (8 to %d)\n", BYTES_MAX);
		return 2;
	}
	static struct side near, far;
	char there[250], back[250];
	pthread_t thread;
	snprintf(there, sizeof there, "%.100s.echo.there", argv[2]);
	snprintf(back, sizeof back, "%.100s.echo.back", argv[2]);
	open_side(&near, argv[1], back, there);
	open_side(&far, argv[1], there, back);
	int64_t *samples = xcalloc(SAMPLES_MAX, sizeof *samples);
	if (pthread_create(&thread, NULL, echo, &far))
		die("could not start a thread");
	size_t count = run(&near, (int)in_flight, (int64_t)(seconds * 1e6), (size_t)bytes, samples);
	finished = true;
	pthread_join(thread, NULL);
	print(samples, count, seconds * 0.8);
	close_side(&near);
	close_side(&far);
	free(samples);
	return EXIT_SUCCESS;
}
