#include "worker/hooks.h"

#include "common/memory.h"
#include "worker/result.h"
#include "worker/task.h"

/* For onerror, whose task may have run out of time. */
#define ONERROR_MS 10000

static enum kser_outcome run_hook(const struct command *command, enum hook hook, struct kser_task *task, struct kser_result *result, struct time_left limit)
{
	struct kser_result said CLEANUP(result_clear) = {0};
	char *message CLEANUP(free_pointer) = hook == HOOK_PRERUN ? NULL : kser_task_to_message(task, result);
	if (limit.ms == 0)
		return kser_result_fail(result, 504, "Timeout", "the time limit had passed before the end");
	enum kser_outcome outcome = command_execute(command, &command->hooks[hook], message ? slice_of(message) : task->message.text, limit, task, &said);
	result_settle(&said, outcome);
	if (outcome || hook != HOOK_PRERUN)
		kser_result_add(result, &said);
	return outcome;
}

/* Within the command's own limit and the task's. */
static enum kser_outcome run_in_time(const struct command *command, enum hook hook, struct kser_task *task, struct kser_result *result)
{
	return run_hook(command, hook, task, result, task_time_left(task, command->timeout_ms));
}

static enum kser_outcome prerun(struct kser_task *task, struct kser_result *result, void *context)
{
	return run_in_time(context, HOOK_PRERUN, task, result);
}

static enum kser_outcome postrun(struct kser_task *task, struct kser_result *result, void *context)
{
	return run_in_time(context, HOOK_POSTRUN, task, result);
}

static enum kser_outcome onsuccess(struct kser_task *task, struct kser_result *result, void *context)
{
	return run_in_time(context, HOOK_ONSUCCESS, task, result);
}

static enum kser_outcome onerror(struct kser_task *task, struct kser_result *result, void *context)
{
	return run_hook(context, HOOK_ONERROR, task, result, (struct time_left){.ms = ONERROR_MS});
}

void hooks_set(struct kser_entrypoint *entrypoint, const struct command *command)
{
	if (command->hooks[HOOK_PRERUN].words)
		entrypoint->prerun = prerun;
	if (command->hooks[HOOK_POSTRUN].words)
		entrypoint->postrun = postrun;
	if (command->hooks[HOOK_ONSUCCESS].words)
		entrypoint->onsuccess = onsuccess;
	if (command->hooks[HOOK_ONERROR].words)
		entrypoint->onerror = onerror;
}
