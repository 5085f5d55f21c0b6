#include "worker/replies.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <utlist.h>

#include "common/clock.h"
#include "common/kafka.h"
#include "common/log.h"
#include "common/memory.h"
#include "common/metrics.h"
#include "worker/outgoing.h"

/* What the broker did not take is offered again so often. */
#define AGAIN_MS 500

/* The same trouble is told once in this time. */
#define TELL_MS 10000

/*
 * When so many were seen on their way to the broker, those of this time after it wait for one another: a request costs the broker
 * as much as many records (docs/decisions/0015-replies-gather-under-load.md).
 */
#define GATHER_UNDER_WAY 64
#define GATHER_MS 100
#define GATHER_LINGER_MS "2"

/* How long the second producer, when it begins, waits for the topic; and until it asks again. */
#define PREPARE_MS 20
#define PREPARE_AGAIN_MS 500

/* A producer, and what is left to it. */
struct sender {
	const char *linger_ms;
	rd_kafka_t *producer; /* NULL: not needed so far */
	rd_kafka_topic_t *topic;
	atomic_bool broken; /* for good: must be replaced */
};

struct replies {
	struct replies_setup setup;
	pthread_rwlock_t senders_lock; /* read: use one; write: replace one */
	struct sender prompt;
	struct sender gathering;
	atomic_bool gather; /* the one to use */
	int64_t gather_until_ms;
	int64_t prepare_ms; /* the second one is made ready not before */
	bool prepared;
	atomic_size_t under_way; /* given to a producer and not reported yet */
	atomic_bool wake_wanted;
	pthread_mutex_t kept_lock;
	struct outgoing *kept; /* to be sent again */
	int64_t again_ms;
	int64_t told_ms;
	bool closing;
};

/* ---- the producers ---- */

static void on_event(rd_kafka_t *producer, void *opaque)
{
	(void)producer;
	struct replies *replies = opaque;
	if (atomic_load(&replies->wake_wanted))
		replies->setup.wake(replies->setup.context);
}

static void on_report(rd_kafka_t *producer, const rd_kafka_message_t *report, void *opaque);

/* Fills in its producer. A linger that the user has set counts for both. */
static enum status open_sender(struct replies *replies, struct sender *sender, struct error *err)
{
	const struct replies_setup *setup = &replies->setup;
	struct property linger = {(char *)"linger.ms", (char *)sender->linger_ms};
	struct properties properties CLEANUP(properties_clear) = properties_joined(&(struct properties){&linger, 1}, setup->properties);
	rd_kafka_t *producer;
	enum status status = kafka_producer(setup->brokers, &properties, setup->client_id, on_report, replies, &producer, err);
	if (status)
		return status;
	rd_kafka_topic_t *topic = rd_kafka_topic_new(producer, setup->topic, NULL);
	if (!topic) {
		kafka_producer_close(producer, 0);
		return fail(err, E_INVALID, "cannot use the topic %s: %s", setup->topic, rd_kafka_err2str(rd_kafka_last_error()));
	}
	rd_kafka_queue_t *events = rd_kafka_queue_get_main(producer);
	rd_kafka_queue_cb_event_enable(events, on_event, replies);
	rd_kafka_queue_destroy(events);
	sender->producer = producer;
	sender->topic = topic;
	return E_OK;
}

static void close_sender(struct sender *sender, int timeout_ms)
{
	if (!sender->producer)
		return;
	rd_kafka_queue_t *events = rd_kafka_queue_get_main(sender->producer);
	rd_kafka_queue_cb_event_enable(events, NULL, NULL);
	rd_kafka_queue_destroy(events);
	rd_kafka_topic_destroy(sender->topic);
	kafka_producer_close(sender->producer, timeout_ms);
}

enum status replies_open(const struct replies_setup *setup, struct replies **opened, struct error *err)
{
	struct replies *replies = xcalloc(1, sizeof *replies);
	replies->setup = *setup;
	replies->prompt.linger_ms = "0";
	replies->gathering.linger_ms = GATHER_LINGER_MS;
	enum status status = open_sender(replies, &replies->prompt, err);
	if (status) {
		free(replies);
		return status;
	}
	pthread_rwlock_init(&replies->senders_lock, NULL);
	pthread_mutex_init(&replies->kept_lock, NULL);
	*opened = replies;
	return E_OK;
}

/* The first record to a topic that the producer has not heard of waits a second for it, so it is told beforehand. */
static bool prepare(const struct sender *sender, int timeout_ms)
{
	const struct rd_kafka_metadata *metadata;
	if (rd_kafka_metadata(sender->producer, 0, sender->topic, &metadata, timeout_ms) != RD_KAFKA_RESP_ERR_NO_ERROR)
		return false;
	rd_kafka_metadata_destroy(metadata);
	return true;
}

enum status replies_find_topic(struct replies *replies, const char *topic, int timeout_ms, int *partitions, struct error *err)
{
	enum status status = kafka_partitions(replies->prompt.producer, topic, timeout_ms, partitions, err);
	if (!status && *partitions > 0 && strcmp(topic, replies->setup.topic) == 0)
		(void)prepare(&replies->prompt, timeout_ms);
	return status;
}

/* An idempotent producer ends when it can no longer tell what the broker has; a new one starts afresh. */
static void replace_producer(struct replies *replies, struct sender *sender)
{
	struct sender fresh = {.linger_ms = sender->linger_ms}, old;
	struct error err;
	if (open_sender(replies, &fresh, &err)) {
		log_error("cannot make another producer", "error", err.text);
		return;
	}
	log_warning("the producer of replies broke and is replaced");
	pthread_rwlock_wrlock(&replies->senders_lock);
	old = (struct sender){.producer = sender->producer, .topic = sender->topic};
	sender->producer = fresh.producer;
	sender->topic = fresh.topic;
	pthread_rwlock_unlock(&replies->senders_lock);
	atomic_store(&sender->broken, false);
	if (sender == &replies->gathering) {
		replies->prepared = false;
		replies->gather_until_ms = 0;
		atomic_store(&replies->gather, false);
	}
	close_sender(&old, 0);
}

/* Whether the second producer is there: it begins when it is needed first. */
static bool can_gather(struct replies *replies, int64_t now_ms)
{
	if (replies->prepared)
		return true;
	if (now_ms < replies->prepare_ms)
		return false;
	replies->prepare_ms = now_ms + PREPARE_AGAIN_MS;
	struct error err;
	if (!replies->gathering.producer && open_sender(replies, &replies->gathering, &err)) {
		log_error("cannot make another producer", "error", err.text);
		return false;
	}
	replies->prepared = prepare(&replies->gathering, PREPARE_MS);
	return replies->prepared;
}

static void choose_sender(struct replies *replies)
{
	if (atomic_load(&replies->under_way) >= GATHER_UNDER_WAY && can_gather(replies, clock_monotonic_ms()))
		replies->gather_until_ms = clock_monotonic_ms() + GATHER_MS;
	atomic_store(&replies->gather, clock_monotonic_ms() < replies->gather_until_ms);
}

/* ---- sending ---- */

static void tell(struct replies *replies, rd_kafka_resp_err_t error)
{
	int64_t now_ms = clock_monotonic_ms();
	pthread_mutex_lock(&replies->kept_lock);
	bool again = replies->told_ms && now_ms - replies->told_ms < TELL_MS;
	if (!again)
		replies->told_ms = now_ms;
	pthread_mutex_unlock(&replies->kept_lock);
	if (!again)
		log_warning("could not send a reply, it is kept and sent again", "topic", replies->setup.topic, "error", rd_kafka_err2str(error));
}

static void keep(struct replies *replies, struct outgoing *outgoing)
{
	pthread_mutex_lock(&replies->kept_lock);
	LL_PREPEND(replies->kept, outgoing);
	pthread_mutex_unlock(&replies->kept_lock);
}

static rd_kafka_resp_err_t produce(struct replies *replies, struct slice record, void *opaque)
{
	struct sender *sender = replies_are_gathered(replies) ? &replies->gathering : &replies->prompt;
	rd_kafka_resp_err_t error = RD_KAFKA_RESP_ERR_NO_ERROR;
	atomic_fetch_add(&replies->under_way, 1);
	pthread_rwlock_rdlock(&replies->senders_lock);
	if (rd_kafka_produce(sender->topic, RD_KAFKA_PARTITION_UA, RD_KAFKA_MSG_F_COPY, (void *)(uintptr_t)record.start, record.length, NULL, 0, opaque))
		error = rd_kafka_last_error();
	pthread_rwlock_unlock(&replies->senders_lock);
	if (error)
		atomic_fetch_sub(&replies->under_way, 1);
	if (error == RD_KAFKA_RESP_ERR__FATAL)
		atomic_store(&sender->broken, true);
	return error;
}

/* It was not sent: its text, which stands there or is given, is `written` or not. */
static void keep_or_give_up(struct replies *replies, struct outgoing *outgoing, struct slice text, bool written)
{
	if (outgoing->passing) {
		replies->setup.given_up(replies->setup.context, outgoing);
		return;
	}
	if (text.start != outgoing->text.bytes) {
		buffer_reset(&outgoing->text);
		buffer_add_slice(&outgoing->text, text);
	}
	outgoing->written = written;
	keep(replies, outgoing);
}

/* As produce, of a text that is not sealed yet. */
static rd_kafka_resp_err_t write_and_produce(struct replies *replies, struct slice text, void *opaque)
{
	struct buffer room CLEANUP(buffer_clear) = {0};
	struct slice record;
	if (sealing_write(replies->setup.sealing, text, &room, &record, NULL))
		return RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;
	return produce(replies, record, opaque);
}

bool replies_send(struct replies *replies, struct outgoing *outgoing, struct slice text)
{
	rd_kafka_resp_err_t error = write_and_produce(replies, text, outgoing);
	if (!error)
		return true;
	if (error == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE && !outgoing->refused) {
		outgoing->refused = true;
		return false;
	}
	tell(replies, error);
	keep_or_give_up(replies, outgoing, text, false);
	return true;
}

void replies_send_kept(struct replies *replies, struct outgoing *outgoing)
{
	struct slice text = buffer_slice(&outgoing->text);
	bool written = outgoing->written;
	rd_kafka_resp_err_t error = written ? produce(replies, text, outgoing) : write_and_produce(replies, text, outgoing);
	if (!error)
		return;
	if (error == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE && !outgoing->refused) {
		outgoing->refused = true;
		replies->setup.refused(replies->setup.context, outgoing, outgoing->text.length, rd_kafka_err2str(error));
		return;
	}
	tell(replies, error);
	keep_or_give_up(replies, outgoing, text, written);
}

/* ---- reports ---- */

/* A smaller record is not refused for its own size, but for that of the batch it went in: that mends itself. */
#define REFUSED_BYTES_MIN (64 * 1024)

static bool is_refused(const rd_kafka_message_t *report)
{
	switch (report->err) {
	case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
	case RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE:
	case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE:
		return report->len >= REFUSED_BYTES_MIN;
	default:
		return false;
	}
}

static void on_failure(struct replies *replies, const rd_kafka_message_t *report)
{
	struct outgoing *outgoing = report->_private;
	if (!outgoing->refused && is_refused(report)) {
		outgoing->refused = true;
		replies->setup.refused(replies->setup.context, outgoing, report->len, rd_kafka_err2str(report->err));
		return;
	}
	tell(replies, report->err);
	keep_or_give_up(replies, outgoing, (struct slice){report->payload, report->len}, true);
}

static void land(struct replies *replies, const rd_kafka_message_t *report)
{
	int64_t took_us = rd_kafka_message_latency(report); /* -1: not known */
	if (replies->setup.acknowledged_seconds && took_us >= 0)
		metric_observe(replies->setup.acknowledged_seconds, took_us);
	replies->setup.acknowledged(replies->setup.context, report->_private);
}

/* One that was replaced already still reports. */
static void note_broken(struct replies *replies, const rd_kafka_t *producer)
{
	if (producer == replies->prompt.producer)
		atomic_store(&replies->prompt.broken, true);
	else if (producer == replies->gathering.producer)
		atomic_store(&replies->gathering.broken, true);
}

static void on_report(rd_kafka_t *producer, const rd_kafka_message_t *report, void *opaque)
{
	struct replies *replies = opaque;
	char text[8];
	atomic_fetch_sub(&replies->under_way, 1);
	if (report->err && rd_kafka_fatal_error(producer, text, sizeof text))
		note_broken(replies, producer);
	if (replies->closing)
		return;
	if (report->err)
		on_failure(replies, report);
	else
		land(replies, report);
}

static void send_again(struct replies *replies)
{
	pthread_mutex_lock(&replies->kept_lock);
	struct outgoing *list = TAKE(replies->kept);
	pthread_mutex_unlock(&replies->kept_lock);
	while (list) {
		struct outgoing *outgoing = list;
		list = outgoing->next;
		replies_send_kept(replies, outgoing);
	}
}

static void serve_sender(struct replies *replies, struct sender *sender)
{
	if (!sender->producer)
		return;
	rd_kafka_poll(sender->producer, 0);
	if (atomic_load(&sender->broken))
		replace_producer(replies, sender);
}

void replies_serve(struct replies *replies)
{
	choose_sender(replies); /* before what is acknowledged is no longer seen under way */
	serve_sender(replies, &replies->prompt);
	serve_sender(replies, &replies->gathering);
	int64_t now_ms = clock_monotonic_ms();
	if (now_ms < replies->again_ms)
		return;
	replies->again_ms = now_ms + AGAIN_MS;
	send_again(replies);
}

bool replies_are_gathered(const struct replies *replies)
{
	return atomic_load(&replies->gather);
}

void replies_want_wake(struct replies *replies, bool wanted)
{
	atomic_store(&replies->wake_wanted, wanted);
}

void replies_close(struct replies *replies, int timeout_ms)
{
	if (!replies)
		return;
	int64_t until_ms = clock_monotonic_ms() + timeout_ms;
	replies->closing = true;
	close_sender(&replies->prompt, timeout_ms); /* meanwhile the other one has sent what it had gathered */
	int64_t left_ms = until_ms - clock_monotonic_ms();
	close_sender(&replies->gathering, left_ms > 0 ? (int)left_ms : 0);
	pthread_rwlock_destroy(&replies->senders_lock);
	pthread_mutex_destroy(&replies->kept_lock);
	free(replies);
}
