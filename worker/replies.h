#pragma once

/*
 * The way back: replies and reports go to the results topic, by whichever thread has one, and are followed
 * until the broker has acknowledged them. What the broker does not take now is kept and sent again; a
 * producer that broke for good is replaced.
 *
 * A reply goes at once. Only while many are on their way to the broker those that follow are gathered for two
 * milliseconds, by a second producer: a request costs the broker as much as many records. Nothing depends on the
 * order of replies: they go to any partition.
 */

#include <stdbool.h>
#include <stdint.h>

#include "common/attributes.h"
#include "common/error.h"
#include "common/sealing.h"
#include "common/settings.h"
#include "common/slice.h"

struct metric_series;
struct outgoing;
struct replies; /* opaque */

struct replies_setup {
	const char *brokers;
	const struct properties *properties;
	const char *client_id;
	const char *topic;
	const struct sealing *sealing; /* NULL: there is no key */
	/* The rest is called by replies_serve, in its thread, but for `wake`: any thread, must not block. */
	void (*acknowledged)(void *context, struct outgoing *outgoing);
	void (*given_up)(void *context, struct outgoing *outgoing); /* a passing one that did not arrive; also by replies_send */
	void (*refused)(void *context, struct outgoing *outgoing, size_t bytes, const char *reason); /* too large for the broker; another one is to be sent */
	void (*wake)(void *context); /* acknowledgements are there, when replies_want_wake */
	struct metric_series *acknowledged_seconds; /* NULL: not measured */
	void *context;
};

/* E_INVALID: the properties are wrong. The setup's texts and properties must outlive it. */
MUST_USE enum status replies_open(const struct replies_setup *setup, struct replies **replies, struct error *err);

/* Partitions of the topic as the brokers have it now, which also prepares the producer for it; 0: there is none. E_RETRY: broker away. */
MUST_USE enum status replies_find_topic(struct replies *replies, const char *topic, int timeout_ms, int *partitions, struct error *err);

/*
 * Sends the record of a text, sealed where there is a key; from then on `outgoing` may be gone at any moment. False: it is too large for a record, or for the producer as
 * the user has set it, and `outgoing` is still the caller's, who sends a smaller one: the second is always taken, and so
 * is one whose `refused` is set. Any thread; a passing one only by the thread that serves.
 */
MUST_USE bool replies_send(struct replies *replies, struct outgoing *outgoing, struct slice text);

/* As replies_send for a text that stands in outgoing->text; by the thread that serves. */
void replies_send_kept(struct replies *replies, struct outgoing *outgoing);

/* Whether replies are gathered now. Any thread. */
bool replies_are_gathered(const struct replies *replies);

/* Serves acknowledgements and sends again what is due. One thread, always the same. */
void replies_serve(struct replies *replies);

/* Whether `wake` is wanted: set it, then serve, then sleep. */
void replies_want_wake(struct replies *replies, bool wanted);

/* Waits for what is on its way, at most `timeout_ms` (and half a second for each producer to end); no callback is called any more. NULL is allowed. */
void replies_close(struct replies *replies, int timeout_ms);
