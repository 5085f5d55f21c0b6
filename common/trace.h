#pragma once

/*
 * Where something stands in a trace: ids, and the forms in which a message carries them.
 *
 * traceparent is W3C's (trace-context, level 1): 00-TRACE-SPAN-FLAGS. uber-trace-id is Jaeger's, which the Python library
 * kser puts into metadata["__parent-span__"]: TRACE:SPAN:PARENT:FLAGS in hex without padding.
 *
 * Free of state, any thread.
 */

#include <stdbool.h>
#include <stdint.h>
#include <uuid/uuid.h>

#include "common/buffer.h"
#include "common/json.h"
#include "common/slice.h"

#define TRACE_PARENT "traceparent"          /* key of metadata: W3C's, a string */
#define TRACE_PYTHON_PARENT "__parent-span__" /* key of metadata: {"uber-trace-id": …} */

#define TRACEPARENT_SIZE 56   /* 00-32-16-01 and its end */
#define UBER_TRACE_ID_SIZE 56 /* 32:16:0:1 and its end */

struct trace_span {
	uint8_t trace[16]; /* not all zero */
	uint8_t id[8];     /* not all zero */
	bool sampled;      /* whether spans of this trace are exported */
};

/* Read strictly; false: it is none, and `span` is what it was. */
bool trace_read_traceparent(struct slice text, struct trace_span *span);
bool trace_read_uber(struct slice text, struct trace_span *span);

void trace_write_traceparent(const struct trace_span *span, char room[TRACEPARENT_SIZE]);
void trace_write_uber(const struct trace_span *span, char room[UBER_TRACE_ID_SIZE]);

/* Whether the trace's id has 64 bits, as the Jaeger clients of kser's time can carry. */
bool trace_is_short(const struct trace_span *span);

/* The span that a message's metadata names: its traceparent, else kser's own carrier. False: none that can be read. */
bool trace_find(struct json_value metadata, struct trace_span *span);

/*
 * The root span of an operation. It needs no state: its id is the last 8 bytes of the operation's id, and the trace is the one of
 * `parent` (NULL: none), else the operation's id itself, or with `is_short` its last 8 bytes behind zeros. An id is a
 * uuid of version 7: those 8 bytes have 62 random bits and are never zero.
 */
void trace_of_operation(const uuid_t operation, const struct trace_span *parent, bool is_short, struct trace_span *root);

/* A span of its own in the trace of `parent`; NULL: in a new trace. */
void trace_begin(const struct trace_span *parent, struct trace_span *span);

/* Adds bytes in lower-case hex. */
void trace_add_hex(struct buffer *out, const uint8_t *bytes, size_t count);
