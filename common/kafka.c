#include "common/kafka.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <time.h>

#include "common/clock.h"
#include "common/limits.h"
#include "common/log.h"
#include "common/memory.h"

/* ---- names ---- */

#define PREFIX_BYTES_MAX 60

static const char *of_queue(const struct topics *topics, const char *what, const char *queue, char name[250])
{
	bool named = queue && queue[0];
	snprintf(name, 250, "%s.%s%s%s", topics->prefix, what, named ? "." : "", named ? queue : "");
	return name;
}

const char *topics_tasks(const struct topics *topics, const char *queue, char name[250])
{
	return of_queue(topics, "tasks", queue, name);
}

const char *topics_workers(const struct topics *topics, const char *queue, char name[250])
{
	return of_queue(topics, "workers", queue, name);
}

const char *topics_named(const struct topics *topics, const char *what, char name[250])
{
	snprintf(name, 250, "%s.%s", topics->prefix, what);
	return name;
}

static bool is_name(const char *text, size_t bytes_max)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
	size_t length = strlen(text);
	return length >= 1 && length <= bytes_max && strspn(text, allowed) == length;
}

enum status topics_check(const char *prefix, const char *queue, struct error *err)
{
	if (!prefix || !is_name(prefix, PREFIX_BYTES_MAX))
		return fail(err, E_INVALID, "the topic prefix \"%.100s\" must be 1 to %d of a-z A-Z 0-9 . _ -", prefix ? prefix : "", PREFIX_BYTES_MAX);
	if (queue && queue[0] && !is_name(queue, QUEUE_BYTES_MAX))
		return fail(err, E_INVALID, "the queue \"%.150s\" must be 1 to %d of a-z A-Z 0-9 . _ -", queue, QUEUE_BYTES_MAX);
	return E_OK;
}

/* ---- librdkafka's log lines ---- */

/* While a broker is away librdkafka says so again and again: the same line is told once in this time. */
#define SAME_LINE_MS 60000

/* Different lines that are remembered. */
#define LINES 64

struct line {
	uint64_t hash;
	int64_t told_ms;
};
static pthread_mutex_t lines_lock = PTHREAD_MUTEX_INITIALIZER;
static struct line lines[LINES];

/* FNV-1a over everything but digits, which count and measure. */
static uint64_t line_hash(const char *client, const char *text)
{
	uint64_t hash = UINT64_C(14695981039346656037);
	const char *const parts[] = {client, text};
	for (size_t i = 0; i < COUNT_OF(parts); i++)
		for (const char *at = parts[i]; *at; at++)
			if (*at < '0' || *at > '9')
				hash = (hash ^ (unsigned char)*at) * UINT64_C(1099511628211);
	return hash;
}

static bool told_before(uint64_t hash, int64_t now_ms)
{
	pthread_mutex_lock(&lines_lock);
	struct line *oldest = &lines[0];
	struct line *same = NULL;
	for (struct line *line = lines; line < lines + LINES; line++) {
		if (line->hash == hash)
			same = line;
		if (line->told_ms < oldest->told_ms)
			oldest = line;
	}
	bool told = same && same->told_ms + SAME_LINE_MS > now_ms;
	if (!told)
		*(same ? same : oldest) = (struct line){hash, now_ms};
	pthread_mutex_unlock(&lines_lock);
	return told;
}

/* An unreachable broker heals, so librdkafka's errors are warnings here; what it calls critical is an error. */
static enum log_level level_of(int syslog_level)
{
	if (syslog_level <= LOG_CRIT)
		return LOG_LEVEL_ERROR;
	if (syslog_level <= LOG_WARNING)
		return LOG_LEVEL_WARNING;
	return syslog_level <= LOG_INFO ? LOG_LEVEL_INFO : LOG_LEVEL_DEBUG;
}

static void tell(const rd_kafka_t *client, int level, const char *facility, const char *text)
{
	/* The user's properties go to producers and consumers alike; what concerns only the other kind is no news. Nor is
	   that brokers without admin calls create topics when asked for them. */
	bool other_kind = strcmp(facility, "CONFWARN") == 0 && strstr(text, "will be ignored by this");
	if (other_kind || strcmp(facility, "AUTOCREATE") == 0)
		return;
	const char *name = rd_kafka_name(client);
	if (level > LOG_CRIT && level < LOG_DEBUG && told_before(line_hash(name, text), clock_monotonic_ms()))
		return;
	log_event(level_of(level), "kafka client", "client", name, "facility", facility, "text", text, NULL);
}

/* ---- configuration ---- */

struct default_property {
	const char *name;
	const char *value;
};

static const struct default_property of_both[] = {
	{"socket.nagle.disable", "true"},
	{"socket.keepalive.enable", "true"},
	{"reconnect.backoff.ms", "20"},
	{"reconnect.backoff.max.ms", "200"},
	{"retry.backoff.ms", "20"},
	{"topic.metadata.refresh.interval.ms", "10000"},
	{"log.connection.close", "false"},
};

static const struct default_property of_producers[] = {
	{"linger.ms", "0"},
	{"message.timeout.ms", "300000"},            /* an expired message may end an idempotent producer */
	{"queue.buffering.max.messages", "200000"},
	{"message.max.bytes", "1114112"},            /* MESSAGE_BYTES_MAX and the record's own overhead */
	{"enable.idempotence", "true"},
	/* What comes while two requests are on their way fills the next one. With five, requests are smaller, cost more CPU, and nothing is gained. */
	{"max.in.flight.requests.per.connection", "2"},
	{"acks", "all"},
};

static const struct default_property of_consumers[] = {
	{"auto.offset.reset", "earliest"},
	{"allow.auto.create.topics", "false"},       /* topics are made with our number of partitions, not the broker's */
	{"session.timeout.ms", "6000"},
	{"heartbeat.interval.ms", "1500"},
	{"max.poll.interval.ms", "12000"},           /* who cannot go on for so long (a database that it cannot reach) gives its partitions to others */
	{"queued.min.messages", "100000"},
	{"queued.max.messages.kbytes", "16384"},
	{"enable.auto.commit", "false"},
	{"enable.auto.offset.store", "false"},
	{"partition.assignment.strategy", "range,roundrobin"},
};

/* Properties that may not be given: correctness stands on ours, or a setting of its own says it. */
static const struct {
	const char *name;
	const char *reason;
} reserved[] = {
	{"enable.auto.commit", "kser commits offsets itself, when the work is done"},
	{"auto.commit.enable", "kser commits offsets itself, when the work is done"},
	{"enable.auto.offset.store", "kser commits offsets itself, when the work is done"},
	{"acks", "every promise of kser needs acks=all"},
	{"request.required.acks", "every promise of kser needs acks=all"},
	{"enable.idempotence", "kser needs idempotent producers"},
	{"partition.assignment.strategy", "kser needs an eager assignor"},
	{"group.id", "kser names its groups by the topic prefix"},
	{"group.instance.id", "kser does not work with static membership"},
	{"bootstrap.servers", "use the setting brokers"},
	{"metadata.broker.list", "use the setting brokers"},
};

static enum status set_property(rd_kafka_conf_t *conf, const char *name, const char *value, struct error *err)
{
	char text[512];
	if (rd_kafka_conf_set(conf, name, value, text, sizeof text) != RD_KAFKA_CONF_OK)
		return fail(err, E_INVALID, "kafka.%.100s: %s", name, text);
	return E_OK;
}

static enum status set_defaults(rd_kafka_conf_t *conf, const struct default_property *list, size_t count, struct error *err)
{
	enum status status = E_OK;
	for (size_t i = 0; i < count && !status; i++)
		status = set_property(conf, list[i].name, list[i].value, err);
	return status;
}

static enum status set_user(rd_kafka_conf_t *conf, const struct properties *user, struct error *err)
{
	for (size_t i = 0; user && i < user->count; i++) {
		const struct property *property = &user->list[i];
		for (size_t j = 0; j < COUNT_OF(reserved); j++)
			if (strcmp(property->name, reserved[j].name) == 0)
				return fail(err, E_INVALID, "kafka.%s cannot be set: %s", property->name, reserved[j].reason);
		enum status status = set_property(conf, property->name, property->value, err);
		if (status)
			return status;
	}
	return E_OK;
}

/* librdkafka takes any port, and then waits for ever for an answer. What is no number is left to it. */
static enum status check_ports(const char *brokers, struct error *err)
{
	for (const char *at = brokers; *at; at += strspn(at, ",")) {
		size_t length = strcspn(at, ",");
		const char *colon = memrchr(at, ':', length);
		size_t digits = colon ? strspn(colon + 1, "0123456789") : 0;
		long port = digits && colon + 1 + digits == at + length ? strtol(colon + 1, NULL, 10) : 1;
		if (port < 1 || port > 65535)
			return fail(err, E_INVALID, "brokers: %.*s: a port is 1 to 65535", length > 300 ? 300 : (int)length, at);
		at += length;
	}
	return E_OK;
}

static enum status set_common(rd_kafka_conf_t *conf, const char *brokers, const char *client_id, void *opaque, struct error *err)
{
	if (!brokers || !brokers[0])
		return fail(err, E_INVALID, "brokers: is empty, must be host:port, separated by commas");
	rd_kafka_conf_set_log_cb(conf, tell);
	rd_kafka_conf_set_opaque(conf, opaque);
	enum status status = check_ports(brokers, err);
	if (!status)
		status = set_property(conf, "bootstrap.servers", brokers, err);
	if (!status)
		status = set_property(conf, "client.id", client_id, err);
	if (!status)
		status = set_defaults(conf, of_both, COUNT_OF(of_both), err);
	return status;
}

/* Takes `conf` over. */
static enum status open_client(rd_kafka_type_t type, rd_kafka_conf_t *conf, enum status status, rd_kafka_t **client, struct error *err)
{
	*client = NULL;
	if (status) {
		rd_kafka_conf_destroy(conf);
		return status;
	}
	char text[512];
	*client = rd_kafka_new(type, conf, text, sizeof text);
	if (!*client) {
		rd_kafka_conf_destroy(conf);
		return fail(err, E_INVALID, "cannot make a Kafka client: %s", text);
	}
	return E_OK;
}

enum status kafka_producer(const char *brokers, const struct properties *user, const char *client_id,
	void (*report)(rd_kafka_t *, const rd_kafka_message_t *, void *), void *opaque, rd_kafka_t **producer, struct error *err)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	enum status status = set_common(conf, brokers, client_id, opaque, err);
	if (!status)
		status = set_defaults(conf, of_producers, COUNT_OF(of_producers), err);
	if (!status)
		status = set_user(conf, user, err);
	if (report)
		rd_kafka_conf_set_dr_msg_cb(conf, report);
	return open_client(RD_KAFKA_PRODUCER, conf, status, producer, err);
}

enum status kafka_consumer(const char *brokers, const struct properties *user, const char *client_id, const char *group,
	void (*rebalance)(rd_kafka_t *, rd_kafka_resp_err_t, rd_kafka_topic_partition_list_t *, void *), void *opaque,
	rd_kafka_t **consumer, struct error *err)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	enum status status = set_common(conf, brokers, client_id, opaque, err);
	if (!status)
		status = set_defaults(conf, of_consumers, COUNT_OF(of_consumers), err);
	if (!status) /* librdkafka assigns only where there is a group, even when nobody joins it */
		status = set_property(conf, "group.id", group ? group : client_id, err);
	if (!status)
		status = set_user(conf, user, err);
	if (rebalance)
		rd_kafka_conf_set_rebalance_cb(conf, rebalance);
	status = open_client(RD_KAFKA_CONSUMER, conf, status, consumer, err);
	if (!status)
		rd_kafka_poll_set_consumer(*consumer);
	return status;
}

/* ---- topics ---- */

static int left_ms(int64_t until_ms)
{
	int64_t left = until_ms - clock_monotonic_ms();
	return left > 0 ? (int)left : 0;
}

static enum status no_answer(rd_kafka_resp_err_t error, struct error *err)
{
	return fail(err, E_RETRY, "could not reach the brokers: %s", rd_kafka_err2str(error));
}

/* How many partitions of `topic` have a leader, when all have one; else 0. */
static int partitions_led(const struct rd_kafka_metadata *metadata, const char *topic)
{
	for (int i = 0; i < metadata->topic_cnt; i++) {
		const rd_kafka_metadata_topic_t *found = &metadata->topics[i];
		if (strcmp(found->topic, topic) != 0)
			continue;
		for (int j = 0; j < found->partition_cnt; j++)
			if (found->partitions[j].leader < 0)
				return 0;
		return found->partition_cnt;
	}
	return 0;
}

static bool exists(const struct rd_kafka_metadata *metadata, const char *topic)
{
	for (int i = 0; i < metadata->topic_cnt; i++)
		if (strcmp(metadata->topics[i].topic, topic) == 0)
			return metadata->topics[i].err != RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
	return false;
}

/* Admin calls go to the controller; librdkafka's mock cluster names one that it does not have, and they would wait for ever. */
static bool has_controller(rd_kafka_t *client, const struct rd_kafka_metadata *metadata, int timeout_ms)
{
	int32_t controller = rd_kafka_controllerid(client, timeout_ms);
	for (int i = 0; i < metadata->broker_cnt; i++)
		if (metadata->brokers[i].id == controller)
			return true;
	return false;
}

/* What is to be created: pointers into what is wanted. */
struct missing {
	const struct topic_wanted **topics; /* room for all that are wanted */
	size_t count;
	bool by_admin; /* else by asking for them */
};

/* The brokers are asked for all topics, since asking for one may create it. */
static enum status find_missing(rd_kafka_t *client, const struct topic_wanted *wanted, size_t count, int64_t until_ms,
	struct missing *missing, struct error *err)
{
	const struct rd_kafka_metadata *metadata;
	rd_kafka_resp_err_t error = rd_kafka_metadata(client, 1, NULL, &metadata, left_ms(until_ms));
	if (error)
		return no_answer(error, err);
	for (size_t i = 0; i < count; i++)
		if (!exists(metadata, wanted[i].name))
			missing->topics[missing->count++] = &wanted[i];
	missing->by_admin = missing->count && has_controller(client, metadata, left_ms(until_ms));
	rd_kafka_metadata_destroy(metadata);
	return E_OK;
}

static enum status creation_status(const char *topic, rd_kafka_resp_err_t error, const char *text, struct error *err)
{
	switch (error) {
	case RD_KAFKA_RESP_ERR_NO_ERROR:
	case RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS:
		return E_OK;
	case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
	case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
	case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
	case RD_KAFKA_RESP_ERR_INVALID_PARTITIONS:
	case RD_KAFKA_RESP_ERR_INVALID_CONFIG:
	case RD_KAFKA_RESP_ERR_POLICY_VIOLATION:
		return fail(err, E_INVALID, "cannot create the topic %s: %s", topic, text ? text : rd_kafka_err2str(error));
	default:
		return fail(err, E_RETRY, "could not create the topic %s: %s", topic, text ? text : rd_kafka_err2str(error));
	}
}

/* The answer of the broker for each topic. */
static enum status creation_answer(rd_kafka_event_t *event, struct error *err)
{
	if (!event)
		return fail(err, E_RETRY, "could not create topics: no answer in time");
	if (rd_kafka_event_error(event))
		return fail(err, E_RETRY, "could not create topics: %s", rd_kafka_event_error_string(event));
	size_t count;
	const rd_kafka_topic_result_t **results = rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &count);
	enum status status = E_OK;
	for (size_t i = 0; i < count && !status; i++)
		status = creation_status(rd_kafka_topic_result_name(results[i]), rd_kafka_topic_result_error(results[i]),
			rd_kafka_topic_result_error_string(results[i]), err);
	return status;
}

static enum status call_create(rd_kafka_t *client, rd_kafka_NewTopic_t **list, size_t count, int64_t until_ms, struct error *err)
{
	rd_kafka_queue_t *queue = rd_kafka_queue_new(client);
	rd_kafka_CreateTopics(client, list, count, NULL, queue);
	rd_kafka_event_t *event = rd_kafka_queue_poll(queue, left_ms(until_ms));
	enum status status = creation_answer(event, err);
	if (event)
		rd_kafka_event_destroy(event);
	rd_kafka_queue_destroy(queue);
	return status;
}

static enum status create(rd_kafka_t *client, const struct missing *missing, int64_t until_ms, struct error *err)
{
	rd_kafka_NewTopic_t **list CLEANUP(free_pointer) = xcalloc(missing->count, sizeof *list);
	enum status status = E_OK;
	for (size_t i = 0; i < missing->count && !status; i++) {
		char text[256] = "";
		list[i] = rd_kafka_NewTopic_new(missing->topics[i]->name, missing->topics[i]->partitions, -1, text, sizeof text);
		if (!list[i])
			status = fail(err, E_INVALID, "cannot create the topic %s: %s", missing->topics[i]->name, text);
	}
	if (!status)
		status = call_create(client, list, missing->count, until_ms, err);
	for (size_t i = 0; i < missing->count && list[i]; i++)
		rd_kafka_NewTopic_destroy(list[i]);
	return status;
}

/* How many partitions it has, all with a leader, or 0. Brokers without admin calls create what a producer asks for. */
static enum status ask_for(rd_kafka_t *client, const char *topic, int64_t until_ms, int *partitions, struct error *err)
{
	*partitions = 0;
	rd_kafka_topic_t *handle = rd_kafka_topic_new(client, topic, NULL);
	if (!handle)
		return fail(err, E_INVALID, "cannot use the topic %s: %s", topic, rd_kafka_err2str(rd_kafka_last_error()));
	const struct rd_kafka_metadata *metadata;
	rd_kafka_resp_err_t error = rd_kafka_metadata(client, 0, handle, &metadata, left_ms(until_ms));
	rd_kafka_topic_destroy(handle);
	if (error)
		return no_answer(error, err);
	*partitions = partitions_led(metadata, topic);
	rd_kafka_metadata_destroy(metadata);
	return E_OK;
}

/* Brokers answer a creation before all of them know of it. */
static enum status wait_for(rd_kafka_t *client, const struct missing *missing, int64_t until_ms, struct error *err)
{
	for (size_t i = 0; i < missing->count;) {
		const char *topic = missing->topics[i]->name;
		int partitions;
		enum status status = ask_for(client, topic, until_ms, &partitions, err);
		if (status)
			return status;
		if (partitions > 0) {
			i++;
			continue;
		}
		if (left_ms(until_ms) == 0)
			return fail(err, E_RETRY, "the topic %s has no leader yet", topic);
		nanosleep(&(struct timespec){.tv_nsec = 20 * 1000 * 1000}, NULL);
	}
	return E_OK;
}

enum status kafka_create_topics(rd_kafka_t *client, const struct topic_wanted *wanted, size_t count, int timeout_ms, struct error *err)
{
	int64_t until_ms = clock_monotonic_ms() + timeout_ms;
	const struct topic_wanted **topics CLEANUP(free_pointer) = xcalloc(count, sizeof *topics);
	struct missing missing = {.topics = topics};
	enum status status = find_missing(client, wanted, count, until_ms, &missing, err);
	if (!status && missing.by_admin)
		status = create(client, &missing, until_ms, err);
	return status ? status : wait_for(client, &missing, until_ms, err);
}

enum status kafka_partitions(rd_kafka_t *client, const char *topic, int timeout_ms, int *partitions, struct error *err)
{
	*partitions = 0;
	const struct rd_kafka_metadata *metadata;
	/* All topics, since a producer that asks for one may create it. */
	rd_kafka_resp_err_t error = rd_kafka_metadata(client, 1, NULL, &metadata, timeout_ms);
	if (error)
		return no_answer(error, err);
	for (int i = 0; i < metadata->topic_cnt; i++)
		if (strcmp(metadata->topics[i].topic, topic) == 0)
			*partitions = metadata->topics[i].partition_cnt;
	rd_kafka_metadata_destroy(metadata);
	return E_OK;
}

/* ---- the end ---- */

/* rd_kafka_destroy may hang when a broker is away. The last of the two threads frees this. */
struct ending {
	pthread_mutex_t lock;
	pthread_cond_t done_changed;
	rd_kafka_t *client;
	bool done;
	bool abandoned;
};

static void ending_free(struct ending *ending)
{
	pthread_mutex_destroy(&ending->lock);
	pthread_cond_destroy(&ending->done_changed);
	free(ending);
}

static void *destroy(void *argument)
{
	struct ending *ending = argument;
	rd_kafka_destroy_flags(ending->client, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
	pthread_mutex_lock(&ending->lock);
	ending->done = true;
	bool abandoned = ending->abandoned;
	pthread_cond_signal(&ending->done_changed);
	pthread_mutex_unlock(&ending->lock);
	if (abandoned)
		ending_free(ending);
	return NULL;
}

static struct ending *ending_new(rd_kafka_t *client)
{
	struct ending *ending = xcalloc(1, sizeof *ending);
	ending->client = client;
	pthread_mutex_init(&ending->lock, NULL);
	pthread_condattr_t attributes;
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&ending->done_changed, &attributes);
	pthread_condattr_destroy(&attributes);
	return ending;
}

static void destroy_until(rd_kafka_t *client, int64_t until_ms)
{
	struct ending *ending = ending_new(client);
	pthread_t thread;
	if (pthread_create(&thread, NULL, destroy, ending) != 0) {
		ending_free(ending);
		return;
	}
	pthread_detach(thread);
	struct timespec until = {.tv_sec = (time_t)(until_ms / 1000), .tv_nsec = (long)(until_ms % 1000) * 1000000};
	pthread_mutex_lock(&ending->lock);
	while (!ending->done && pthread_cond_timedwait(&ending->done_changed, &ending->lock, &until) == 0)
		continue;
	bool done = ending->done;
	ending->abandoned = !done;
	pthread_mutex_unlock(&ending->lock);
	if (done)
		ending_free(ending);
	else
		log_warning("could not close a Kafka client in time");
}

/* Destroying always gets this much, even when leaving the group took all the time. */
#define DESTROY_MS_MIN 200

static int64_t destroy_until_ms(int64_t until_ms)
{
	int64_t least = clock_monotonic_ms() + DESTROY_MS_MIN;
	return until_ms > least ? until_ms : least;
}

void kafka_queue_watch(rd_kafka_queue_t *queue, int wake_fd)
{
	static const uint64_t one = 1;
	rd_kafka_queue_io_event_enable(queue, wake_fd, &one, sizeof one);
}

void kafka_queue_close(rd_kafka_queue_t *queue)
{
	kafka_queue_watch(queue, -1);
	rd_kafka_queue_destroy(queue);
}

void kafka_consumer_close(rd_kafka_t *consumer, int timeout_ms)
{
	if (!consumer)
		return;
	int64_t until_ms = clock_monotonic_ms() + timeout_ms;
	rd_kafka_queue_t *queue = rd_kafka_queue_new(consumer);
	rd_kafka_error_t *error = rd_kafka_consumer_close_queue(consumer, queue);
	while (!error && !rd_kafka_consumer_closed(consumer) && left_ms(until_ms) > 0) {
		/* Not rd_kafka_queue_poll_callback: records that were fetched already end the process there. */
		rd_kafka_message_t *record = rd_kafka_consume_queue(queue, left_ms(until_ms) < 50 ? left_ms(until_ms) : 50);
		if (record)
			rd_kafka_message_destroy(record);
	}
	if (error)
		rd_kafka_error_destroy(error);
	rd_kafka_queue_destroy(queue);
	destroy_until(consumer, destroy_until_ms(until_ms));
}

void kafka_producer_close(rd_kafka_t *producer, int timeout_ms)
{
	if (!producer)
		return;
	int64_t until_ms = clock_monotonic_ms() + timeout_ms;
	if (rd_kafka_flush(producer, timeout_ms) != RD_KAFKA_RESP_ERR_NO_ERROR) {
		/* Gives the reports of what was not delivered, so that their owner can free it. */
		rd_kafka_purge(producer, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
		rd_kafka_flush(producer, DESTROY_MS_MIN);
	}
	destroy_until(producer, destroy_until_ms(until_ms));
}
