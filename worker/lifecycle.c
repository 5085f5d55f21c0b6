#include "worker/lifecycle.h"

#include <assert.h>

#include "worker/made.h"
#include "worker/result.h"
#include "worker/task.h"
#include "worker/task_log.h"

struct life {
	const struct entrypoints *entrypoints;
	const struct entrypoint *entrypoint;
	struct kser_task *task;
	struct kser_result *result;
};

/* ---- who looks on ---- */

void lifecycle_observe(struct entrypoints *entrypoints, const struct observer *observer)
{
	assert(entrypoints->observer_count < OBSERVERS_MAX);
	entrypoints->observers[entrypoints->observer_count++] = observer;
	entrypoints->observed_closely |= !observer->light;
}

static void notice(const struct life *life, enum place place, enum kser_outcome outcome)
{
	for (size_t i = 0; i < life->entrypoints->observer_count; i++) {
		const struct observer *observer = life->entrypoints->observers[i];
		observer->notice(observer->context, &(struct notice){place, life->entrypoint->name, life->entrypoint->number, life->task, life->result, outcome});
	}
}

/* ---- the steps ---- */

static enum kser_outcome call(const struct life *life, enum kser_outcome (*trigger)(struct kser_task *, struct kser_result *, void *))
{
	return trigger ? trigger(life->task, life->result, life->entrypoint->context) : KSER_SUCCESS;
}

static enum kser_outcome prerun(const struct life *life)
{
	notice(life, PLACE_PRERUN_BEGIN, KSER_SUCCESS);
	task_log_step(life->entrypoints, life->entrypoint, life->task, "PreRun");
	/* An operation looks itself, with its own words. */
	const char *missing = life->entrypoint->operation ? NULL : entrypoint_missing(life->entrypoint, life->task->message.params);
	enum kser_outcome outcome = missing ? kser_result_fail(life->result, 400, "ValidationError", "Missing parameter: %s", missing)
		: call(life, life->entrypoint->triggers.prerun);
	notice(life, PLACE_PRERUN_END, outcome);
	return outcome;
}

static enum kser_outcome run(const struct life *life)
{
	notice(life, PLACE_RUN_BEGIN, KSER_SUCCESS);
	task_log_step(life->entrypoints, life->entrypoint, life->task, "Run");
	enum kser_outcome outcome = call(life, life->entrypoint->run);
	notice(life, PLACE_RUN_END, outcome);
	return outcome;
}

static enum kser_outcome postrun(const struct life *life)
{
	notice(life, PLACE_POSTRUN_BEGIN, KSER_SUCCESS);
	task_log_step(life->entrypoints, life->entrypoint, life->task, "PostRun");
	enum kser_outcome outcome = call(life, life->entrypoint->triggers.postrun);
	notice(life, PLACE_POSTRUN_END, outcome);
	return outcome;
}

/* That of a task made in code was called when it was made. */
static enum kser_outcome postinit(const struct life *life)
{
	struct made *made = life->task->made;
	if (!made)
		return call(life, life->entrypoint->triggers.postinit);
	kser_result_add(life->result, &made->birth);
	return made->birth.raised ? KSER_FAILURE : KSER_SUCCESS;
}

/* Up to the first error. */
static enum kser_outcome take_steps(const struct life *life)
{
	enum kser_outcome outcome = postinit(life);
	if (!outcome)
		outcome = prerun(life);
	if (!outcome)
		outcome = run(life);
	return outcome ? outcome : postrun(life);
}

/* ---- the end ---- */

static bool is_looked_at(const struct life *life)
{
	return life->entrypoint->triggers.onsuccess || life->entrypoint->triggers.onerror || life->entrypoints->observed_closely || task_log_is_on(life->entrypoints);
}

static void make_whole(const struct life *life)
{
	const struct message *message = &life->task->message;
	if (!life->result->whole)
		result_join(life->result, message->uuid.text, result_before(message));
}

/* As it leaves onerror, the result counts. Of a task that is to end nobody is told: what becomes of it is decided elsewhere. */
static enum kser_outcome end_failed(const struct life *life, enum kser_outcome outcome)
{
	if (kser_task_cancelled(life->task))
		return outcome ? outcome : KSER_FAILURE;
	notice(life, PLACE_ERROR, outcome);
	task_log_failed(life->entrypoints, life->entrypoint, life->task, life->result);
	enum kser_outcome told = call(life, life->entrypoint->triggers.onerror);
	result_settle(life->result, told);
	if (told)
		outcome = told;
	if (life->result->retcode == 0)
		return KSER_SUCCESS;
	return outcome ? outcome : KSER_FAILURE;
}

static enum kser_outcome end_well(const struct life *life, enum lifecycle_errors errors)
{
	notice(life, PLACE_SUCCESS, KSER_SUCCESS);
	task_log_success(life->entrypoints, life->entrypoint, life->task, life->result);
	enum kser_outcome outcome = call(life, life->entrypoint->triggers.onsuccess);
	result_settle(life->result, outcome);
	if (outcome && errors == ERRORS_CAUGHT)
		return end_failed(life, outcome);
	life->result->raised = outcome != KSER_SUCCESS;
	return outcome || life->result->retcode == 0 ? outcome : KSER_FAILURE;
}

static enum kser_outcome end(const struct life *life, enum kser_outcome outcome, enum lifecycle_errors errors)
{
	result_settle(life->result, outcome);
	if (outcome && errors == ERRORS_PASSED_ON) {
		life->result->raised = true;
		return outcome;
	}
	if (is_looked_at(life))
		make_whole(life);
	return outcome || life->result->retcode != 0 ? end_failed(life, outcome) : end_well(life, errors);
}

enum kser_outcome lifecycle_run(const struct entrypoints *entrypoints, const struct entrypoint *entrypoint, struct kser_task *task, struct kser_result *result,
	enum lifecycle_errors errors)
{
	const struct life life = {entrypoints, entrypoint, task, result};
	notice(&life, PLACE_EXECUTE_BEGIN, KSER_SUCCESS);
	enum kser_outcome outcome = end(&life, take_steps(&life), errors);
	notice(&life, PLACE_EXECUTE_END, outcome);
	return outcome;
}
