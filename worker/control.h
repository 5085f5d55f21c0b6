#pragma once

/*
 * What orchestrators tell all workers: the control topic, read from its end, without a group. What was
 * missed is told again by them. One thread, but for what the setup's `wake` says.
 */

#include <stddef.h>
#include <stdint.h>

#include "common/attributes.h"
#include "common/error.h"
#include "common/sealing.h"
#include "common/settings.h"
#include "common/task_name.h"

struct control; /* opaque */

/* What is heard; `context` of the setup. */
struct control_ears {
	void (*stop)(void *context, const struct task_name *name);       /* this attempt is not to run (any more) */
	void (*generation)(void *context, int64_t generation);           /* tasks of another one are not to be started */
	void (*spare)(void *context, struct slice queue, int64_t slots); /* other workers of the queue have free slots */
};

struct control_setup {
	const char *brokers;
	const struct properties *properties;
	const char *client_id;
	const char *topic;
	int partitions;
	const struct sealing *sealing; /* NULL: there is no key */
	struct control_ears ears;
	void (*wake)(void *context); /* something has come; any thread, must not block */
	void *context;
};

/* E_INVALID: the properties are wrong. The setup's texts and properties must outlive it. */
MUST_USE enum status control_open(const struct control_setup *setup, struct control **control, struct error *err);

/* Tells the ears what has come. Costs next to nothing when there is nothing. */
void control_serve(struct control *control);

/* Tells what one record says; one that makes no sense is logged and left. */
void control_read(const struct sealing *sealing, const struct control_ears *ears, void *context, struct slice record);

/* Within about `timeout_ms`. NULL is allowed. */
void control_close(struct control *control, int timeout_ms);
