#pragma once

/*
 * The broker of a dev stack: librdkafka's mock cluster, inside this process, on a port of 127.0.0.1. It keeps records in memory
 * only, the last few MB of each partition, and leaves a fetch without records waiting until its time is over, even
 * when records come: consumers must not ask for long waits (DEV_BROKER_FETCH_WAIT_MS).
 */

#include "common/error.h"

struct dev_broker; /* opaque; its threads end with it */

/* A hop takes half of this on average; each consumer asks this often, though nothing happens. */
#define DEV_BROKER_FETCH_WAIT_MS "10"

/* Starts it and makes the topics of `prefix`. */
MUST_USE enum status dev_broker_start(const char *prefix, struct dev_broker **broker, struct error *err);

/* host:port; lives as long as the broker. */
const char *dev_broker_address(const struct dev_broker *broker);

/* Ends it, and with it all that it kept. NULL is allowed. */
void dev_broker_stop(struct dev_broker *broker);
