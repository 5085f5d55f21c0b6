#pragma once

/*
 * Entrypoints and operations that do what a vector says: each call is noted, and does what the vector's member of that name tells
 * ("result": makes this one, "raise": ends with this error). One vector at a time.
 */

#include "kser/operation.h"
#include "tests/kser/vectors.h"

struct play {
	struct kser_worker *worker;
	struct json_object *behaviours; /* by the uuid of the task or operation, else by class name */
	struct json_object *calls;      /* [[class, call], …] */
	struct json_object *seen;       /* for each call the result that it was given */
	struct json_object *statuses;   /* [{operation, from, to, result}, …] */
	struct json_object *wire;       /* messages that were sent */
	struct json_object *received;   /* arguments of build_tasks of the outer operation */
	int log_fd, stderr_fd;
};

/* Begins a vector: log lines of all levels go where play_logs finds them. */
void play_begin(struct play *play);
void play_end(struct play *play);

/* Registers jobs.NAME; what it does is `behaviour`, borrowed, unless its uuid has one of its own. */
void play_register(struct play *play, struct json_object *behaviour);
void play_register_operation(struct play *play, struct json_object *behaviour);

/* What was called, without what is no trigger here; [[class, call], …], to be put. */
struct json_object *play_wanted_calls(struct json_object *triggers, const char *class);

/* [{level, message}, …] since the beginning, registrations too or not, and the same of a vector, with `uuid` in place of <uuid>; to be put. */
struct json_object *play_logs(struct play *play, bool registrations);
struct json_object *play_wanted_logs(struct json_object *logs, const char *uuid);

/* Makes a Result of a vector, which may lack members; false: it is none that C can make. */
bool play_make_result(struct kser_result *result, struct json_object *wanted);
