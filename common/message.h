#pragma once

/*
 * The kser Message, the only shape on the wire (docs/wire.md): task, reply and submission are
 * {uuid, entrypoint, params, result, metadata}; what the orchestrator adds travels in
 * metadata.kser (struct stamp) and comes back with the reply.
 *
 * A struct message borrows the record's bytes and must not outlive them. Any thread.
 */

#include <stdbool.h>
#include <stdint.h>
#include <uuid/uuid.h>

#include "common/buffer.h"
#include "common/error.h"
#include "common/json.h"

enum message_kind {
	MESSAGE_RESULT, /* also when metadata.kser names no kind */
	MESSAGE_CLAIM,
	MESSAGE_HEARTBEAT,
	MESSAGE_RELEASE,
	MESSAGE_DEAD,
	MESSAGE_CONTROL, /* an orchestrator tells all workers something */
};

enum stamp_flags {
	STAMP_CAREFUL = 1, /* an earlier attempt lost its worker: claim before the start */
	STAMP_ALONE = 2,   /* run with nothing beside it */
	STAMP_STOP_ON_SILENCE = 4, /* end it when the worker's heartbeats are not acknowledged */
};

struct stamp {
	uuid_t task; /* the message's uuid, when that was read; a writer has it apart */
	uuid_t operation;
	int32_t position;    /* from 0 */
	int32_t attempt;     /* from 1 */
	int64_t generation;  /* random, compared for equality */
	int64_t epoch;
	int64_t deadline_ms; /* wall clock since 1970, 0 = none */
	int64_t limit_ms;    /* run limit of one attempt, 0 = none */
	int64_t start_by_ms; /* wall clock since 1970: not to be started later, 0 = none */
	uint32_t flags;      /* enum stamp_flags */
	struct slice queue;  /* "" = the default queue */

	/* of replies only */
	enum message_kind kind;
	struct slice worker;         /* the worker's incarnation, "" in dispatches */
	struct json_value inherited; /* object, or JSON_NULL: which parts of the result are only carried on */
	struct json_value tasks;     /* array, or JSON_NULL: the plan that a task returned */
	bool retry;                  /* outcome "retry": may be tried again */
};

/* What an entrypoint may be called: UTF-8 of 1 to ENTRYPOINT_BYTES_MAX bytes without control characters. */
MUST_USE enum status message_check_entrypoint(struct slice name, struct error *err);

/* The fields of a Result (docs/wire.md); absent ones have kser's defaults. */
struct result {
	struct json_value uuid;       /* string, or JSON_NULL when absent */
	int32_t retcode;
	struct json_value stdout_text; /* string */
	struct json_value stderr_text; /* string */
	struct json_value retval;      /* object */
};

struct message {
	struct slice text;            /* the whole record */
	struct json_value uuid;       /* string */
	struct json_value entrypoint; /* string of 1 to ENTRYPOINT_BYTES_MAX bytes, no control characters */
	struct json_value params;     /* object, {} when absent */
	struct json_value result;     /* object; JSON_NULL when absent, null or {} */
	struct result parts;          /* of result */
	struct json_value metadata;   /* object, {} when absent */
	bool stamped;                 /* metadata.kser is there and whole */
	struct stamp stamp;
};

/*
 * Reads one record. E_INVALID: `err` names the field and what is wrong. A metadata.kser that is
 * there but broken (wrong type, missing op, pos, attempt, gen or epoch) is E_INVALID too, and so is
 * a stamped task or reply whose uuid is none. What a worker says of several tasks or of itself (claims,
 * releases, heartbeats, dead reports) is stamped without those five. A metadata.kser with none of the five and no kind is a submission's: not stamped.
 */
MUST_USE enum status message_parse(struct slice record, struct message *message, struct error *err);

/* Reads a Result object by itself; JSON_NULL gives the defaults. */
MUST_USE enum status result_parse(struct json_value object, struct result *result, struct error *err);

/* The message with its defaults filled in, as one line of JSON without a line end (what `kser message check` prints). */
void message_add_normalized(struct buffer *out, const struct message *message);

/* Whether a dispatch names the operation's root span, in place of the spans that its metadata names. */
enum dispatch_trace {
	DISPATCH_UNTRACED, /* what its metadata says goes on unchanged */
	DISPATCH_TRACED,
	DISPATCH_TRACED_SHORT, /* where the operation begins a trace, its id has 64 bits */
};

/* What a dispatch is made of. Texts are UTF-8; params, result and metadata are JSON objects as text. */
struct dispatch {
	uuid_t uuid;
	struct slice entrypoint;
	struct slice params;   /* "" = {} */
	struct slice result;   /* the result so far, a whole Result object; "" = none yet */
	struct slice metadata; /* without the key kser; "" = {} */
	enum dispatch_trace trace;
	struct stamp stamp;
};

/* Adds the record of a dispatch: compact JSON, but for what is given as text, which is copied as it stands. */
void message_add_dispatch(struct buffer *out, const struct dispatch *dispatch);

/*
 * Adds the reply to `task`: its message with another result and metadata.kser returned unchanged but for
 * what `reply` says (kind, worker, inherited, tasks, retry). `result` is a whole Result object.
 */
struct reply {
	enum message_kind kind;
	struct slice worker;
	struct slice result;    /* Result object as text; "" = the task's own, as it came */
	struct slice inherited; /* object as text, "" = nothing inherited */
	struct slice tasks;     /* array as text, "" = none */
	bool retry;
};
void message_add_reply(struct buffer *out, const struct message *task, const struct reply *reply);

/* Adds the report of a record that could not be used: kind "dead", the first DEAD_BYTES_MAX bytes in base64, where it was and why. */
struct dead_record {
	struct slice topic;
	int32_t partition;
	int64_t offset;
	struct slice bytes;
	struct slice reason;
	struct slice worker;
};
void message_add_dead(struct buffer *out, const struct dead_record *dead);
