#pragma once

/*
 * The result of one task while its entrypoint makes it, and kser's sum: what came with the task plus
 * what the task adds. One thread.
 */

#include "common/buffer.h"
#include "common/message.h"
#include "kser/worker.h"
#include "worker/output.h"
#include "worker/retval.h"

struct kser_result {
	int32_t retcode;       /* not 0: failed */
	struct buffer message; /* why it failed */
	struct output out;     /* stdout */
	struct output err;     /* stderr */
	struct retval retval;
	struct buffer tasks;   /* the plan: elements of a JSON array, without its brackets */
	size_t task_count;

	/* once what came before was joined to it (result_join) */
	bool whole;
	bool out_carried;   /* stdout is only what came before */
	bool err_carried;
	struct buffer uuid; /* a JSON string with its quotes */

	bool raised;         /* an error that was passed on */

	struct buffer shown; /* what kser_result_stdout or kser_result_stderr gave out */
};

void result_clear(struct kser_result *result);

/* Why a task failed. `name` NULL: InternalError; `code` not above 0: 500; `extra`: a JSON object as text, "" = {}; `message`: UTF-8. */
void result_fail(struct kser_result *result, int32_t code, const char *name, struct slice extra, struct slice message);

/* Adds stdout if it has not failed, else stderr, which is what log lines show. */
void result_add_text(struct buffer *out, const struct kser_result *result);

/* A failure that says nothing gets its words. */
void result_settle(struct kser_result *result, enum kser_outcome outcome);

/* The result that came with a task's message; NULL when none did. */
const struct result *result_before(const struct message *message);

/*
 * Makes it whole: adds, by kser's sum, what came before (NULL: nothing), of which a mark keeps what is only carried on.
 * `uuid` (a JSON string with its quotes) is its uuid unless `previous` has one.
 */
void result_join(struct kser_result *result, struct slice uuid, const struct result *previous);

/* Makes a whole one a result of its own: nothing in it is marked as carried any more. It keeps its uuid. */
void result_close(struct kser_result *result);

/* Adds an element of the plan: a JSON object as text. */
void result_add_planned(struct kser_result *result, struct slice task);

/* kser's words for a plan that is empty where there should be one. */
#define RESULT_EMPTY_PLAN "Nothing to do, empty operation !"
enum kser_outcome result_fail_empty_plan(struct kser_result *result);

/*
 * Checks one element of a plan: an object with a usable entrypoint; params an object if there.
 * E_INVALID: `err` says what is wrong.
 */
MUST_USE enum status result_check_planned(struct json_value task, struct error *err);

/*
 * Adds the Result object of previous + own: the greater retcode, retval updated, stdout and stderr replaced where own says
 * something, the previous uuid or else `uuid` (a JSON string with its quotes). `previous` NULL: there is none; it is not looked at when own is whole.
 * `inherited` gets the object that names what is only carried on; nothing when there is nothing.
 */
void result_add_sum(struct buffer *out, struct buffer *inherited, struct slice uuid, const struct result *previous, const struct kser_result *own);
