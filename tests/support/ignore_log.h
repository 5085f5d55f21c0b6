#pragma once

/* For clients of a test's own, whose complaints about brokers that are gone are expected: rd_kafka_conf_set_log_cb(conf, ignore_log). */

#include <librdkafka/rdkafka.h>

static inline void ignore_log(const rd_kafka_t *client, int level, const char *facility, const char *text)
{
	(void)client;
	(void)level;
	(void)facility;
	(void)text;
}
