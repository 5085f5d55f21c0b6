#include "worker/answer.h"

#include "common/limits.h"
#include "worker/release.h"
#include "worker/result.h"
#include "worker/task.h"

void answer_clear(struct answer *answer)
{
	buffer_clear(&answer->record);
	buffer_clear(&answer->result);
	buffer_clear(&answer->inherited);
	buffer_clear(&answer->plan);
}

static void compose(struct answer *answer, const struct message *task, const struct kser_result *own, bool retry, struct slice worker)
{
	buffer_reset(&answer->record);
	buffer_reset(&answer->result);
	buffer_reset(&answer->inherited);
	buffer_reset(&answer->plan);
	result_add_sum(&answer->result, &answer->inherited, task->uuid.text, result_before(task), own);
	if (own->task_count > 0 && own->retcode == 0) {
		buffer_add_char(&answer->plan, '[');
		buffer_add_slice(&answer->plan, buffer_slice(&own->tasks));
		buffer_add_char(&answer->plan, ']');
	}
	struct reply reply = {.kind = MESSAGE_RESULT, .worker = worker, .result = buffer_slice(&answer->result),
		.inherited = buffer_slice(&answer->inherited), .tasks = buffer_slice(&answer->plan), .retry = retry};
	message_add_reply(&answer->record, task, &reply);
}

/* Around a value of the retval are the reply, its result and the retval; around a task of the plan metadata, its kser and the list. */
#define LEVELS_AROUND 4

static bool may_be_too_deep(const struct kser_result *own)
{
	return retval_levels_max(&own->retval) + json_levels_max(buffer_slice(&own->tasks)) > JSON_DEPTH_MAX - LEVELS_AROUND;
}

/* The values are valid one by one; together they may be too deep or too many bytes. */
static enum status check(const struct answer *answer, const struct kser_result *own, struct error *err)
{
	size_t most = sealing_text_max(answer->sealing, MESSAGE_BYTES_MAX);
	if (answer->record.length > most)
		return fail(err, E_INVALID, "the reply has %zu bytes, at most %zu are possible", answer->record.length, most);
	if (!may_be_too_deep(own))
		return E_OK;
	return json_validate(buffer_slice(&answer->record), MESSAGE_BYTES_MAX, NULL, err);
}

/* Metadata without what is not ours. */
static struct json_value own_metadata(const struct message *message, struct buffer *room)
{
	struct json_value kser;
	bool stamped = json_find(message->metadata, "kser", &kser);
	buffer_add_text(room, "{");
	if (stamped) {
		buffer_add_text(room, "\"kser\":");
		buffer_add_slice(room, kser.text);
	}
	buffer_add_text(room, "}");
	return (struct json_value){JSON_OBJECT, buffer_slice(room)};
}

/* The error in place of a result that cannot be sent; what came with the task is given up when even that is too large. */
static void compose_error(struct answer *answer, const struct kser_task *task, size_t bytes_max, const char *reason, struct slice worker)
{
	struct kser_result error CLEANUP(result_clear) = {0};
	kser_result_fail(&error, 500, "InternalError", "the result is not usable: %s", reason);
	struct message bare = task->message;
	compose(answer, &bare, &error, false, worker);
	if (answer->record.length <= bytes_max)
		return;
	bare.result = (struct json_value){JSON_NULL, {"", 0}};
	compose(answer, &bare, &error, false, worker);
	if (answer->record.length <= bytes_max)
		return;
	bare.params = (struct json_value){JSON_OBJECT, {"{}", 2}};
	compose(answer, &bare, &error, false, worker);
	if (answer->record.length <= bytes_max)
		return;
	struct buffer room CLEANUP(buffer_clear) = {0};
	bare.metadata = own_metadata(&bare, &room);
	compose(answer, &bare, &error, false, worker);
}

void answer_make(struct answer *answer, const struct kser_task *task, enum kser_outcome outcome, struct kser_result *result, struct slice worker)
{
	result_settle(result, outcome);
	compose(answer, &task->message, result, outcome == KSER_RETRY, worker);
	struct error err;
	if (check(answer, result, &err))
		compose_error(answer, task, sealing_text_max(answer->sealing, MESSAGE_BYTES_MAX), err.text, worker);
}

void answer_make_release(struct answer *answer, const struct kser_task *task, struct slice worker)
{
	buffer_reset(&answer->record);
	release_add_one(&answer->record, task, RELEASE_STOPPED, worker);
}

void answer_make_refused(struct answer *answer, const struct kser_task *task, size_t bytes, const char *reason, struct slice worker)
{
	struct error err;
	fail(&err, E_INVALID, "the broker refused the reply of %zu bytes: %s", bytes, reason);
	compose_error(answer, task, sealing_text_max(answer->sealing, bytes - 1), err.text, worker);
}
