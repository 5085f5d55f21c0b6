#include "worker/router.h"

#include "worker/lifecycle.h"
#include "worker/result.h"
#include "worker/task.h"
#include "worker/task_log.h"

static void fail_unknown(const struct entrypoints *entrypoints, const struct kser_task *task, struct slice name, struct kser_result *result)
{
	struct buffer extra CLEANUP(buffer_clear) = {0};
	struct buffer message CLEANUP(buffer_clear) = {0};
	buffer_add_text(&extra, "{\"uuid\":");
	buffer_add_slice(&extra, task->message.uuid.text);
	buffer_add_text(&extra, ",\"entrypoint\":");
	buffer_add_slice(&extra, task->message.entrypoint.text);
	buffer_add_text(&extra, ",\"allowed\":");
	entrypoints_add_names(&extra, entrypoints);
	buffer_add_char(&extra, '}');
	buffer_printf(&message, "Entrypoint '%.*s' not registered", (int)name.length, name.start);
	result_fail(result, 400, "ValidationError", buffer_slice(&extra), buffer_slice(&message));
}

const struct entrypoint *router_find(const struct entrypoints *entrypoints, const struct kser_task *task, struct kser_result *result)
{
	struct buffer scratch CLEANUP(buffer_clear) = {0};
	struct slice name = json_string(task->message.entrypoint, &scratch);
	const struct entrypoint *entrypoint = entrypoints_find(entrypoints, name);
	if (!entrypoint)
		fail_unknown(entrypoints, task, name, result);
	return entrypoint;
}

enum kser_outcome router_run(const struct entrypoints *entrypoints, struct kser_task *task, struct kser_result *result)
{
	task_log_received(entrypoints, task);
	const struct entrypoint *entrypoint = router_find(entrypoints, task, result);
	task->entrypoint = entrypoint;
	enum kser_outcome outcome = entrypoint ? lifecycle_run(entrypoints, entrypoint, task, result, ERRORS_CAUGHT) : KSER_FAILURE;
	task_log_routed(entrypoints, task, result);
	return outcome;
}
