#pragma once

/*
 * The broker of a dev stack: librdkafka's mock cluster, inside this process, on a port of 127.0.0.1. It keeps records in memory
 * only, the last few MB of each partition, and leaves a fetch without records waiting until its time is over, even
 * when records come: consumers must not ask for long waits (DEV_BROKER_FETCH_WAIT_MS).
 */

#include "common/error.h"

struct dev_broker; /* opaque; its threads end with it */

/*
 * In milliseconds. A record that comes during a wait is seen at its end: a step takes about two of these. Each consumer asks again
 * after each, though nothing happens: at 5 ms an idle stack takes about 1 % of a core for each program and 2 % for the broker.
 */
#define DEV_BROKER_FETCH_WAIT_MS "5"

/* Starts it and makes the topics of `prefix`. */
MUST_USE enum status dev_broker_start(const char *prefix, struct dev_broker **broker, struct error *err);

/* host:port; lives as long as the broker. */
const char *dev_broker_address(const struct dev_broker *broker);

/* Ends it, and with it all that it kept. NULL is allowed. */
void dev_broker_stop(struct dev_broker *broker);
