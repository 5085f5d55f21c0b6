#include "cli/dev_broker.h"

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include "common/kafka.h"
#include "common/memory.h"

struct dev_broker {
	rd_kafka_t *handle;
	rd_kafka_mock_cluster_t *cluster;
};

static void ignore_log(const rd_kafka_t *handle, int level, const char *facility, const char *text)
{
	(void)handle;
	(void)level;
	(void)facility;
	(void)text;
}

static enum status make_topics(const struct dev_broker *broker, const char *prefix, struct error *err)
{
	struct topics topics;
	char name[250];
	static const struct {
		const char *what;
		int partitions;
	} wanted[] = {{"tasks", 4}, {"results", 1}, {"operations", 1}, {"control", 1}};
	enum status status = topics_check(prefix, NULL, err);
	if (status)
		return status;
	snprintf(topics.prefix, sizeof topics.prefix, "%s", prefix);
	for (size_t i = 0; i < COUNT_OF(wanted); i++) {
		const char *topic = i == 0 ? topics_tasks(&topics, NULL, name) : topics_named(&topics, wanted[i].what, name);
		rd_kafka_resp_err_t problem = rd_kafka_mock_topic_create(broker->cluster, topic, wanted[i].partitions, 1);
		if (problem)
			return fail(err, E_FATAL, "the embedded broker cannot make the topic %s: %s", topic, rd_kafka_err2str(problem));
	}
	return E_OK;
}

enum status dev_broker_start(const char *prefix, struct dev_broker **broker, struct error *err)
{
	char reason[300];
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	rd_kafka_conf_set_log_cb(conf, ignore_log);
	*broker = NULL;
	rd_kafka_t *handle = rd_kafka_new(RD_KAFKA_PRODUCER, conf, reason, sizeof reason);
	if (!handle) {
		rd_kafka_conf_destroy(conf);
		return fail(err, E_FATAL, "the embedded broker cannot start: %s", reason);
	}
	*broker = xcalloc(1, sizeof **broker);
	(*broker)->handle = handle;
	(*broker)->cluster = rd_kafka_mock_cluster_new(handle, 1);
	enum status status = (*broker)->cluster ? make_topics(*broker, prefix, err) : fail(err, E_FATAL, "the embedded broker cannot start");
	if (!status)
		return E_OK;
	dev_broker_stop(TAKE(*broker));
	return status;
}

const char *dev_broker_address(const struct dev_broker *broker)
{
	return rd_kafka_mock_cluster_bootstraps(broker->cluster);
}

void dev_broker_stop(struct dev_broker *broker)
{
	if (!broker)
		return;
	if (broker->cluster)
		rd_kafka_mock_cluster_destroy(broker->cluster);
	rd_kafka_destroy(broker->handle);
	free_pointer(&broker);
}
