#include "worker/spans.h"

#include <string.h>

#include "common/clock.h"
#include "common/limits.h"
#include "common/memory.h"
#include "worker/entrypoints.h"
#include "worker/result.h"
#include "worker/task.h"

struct task_trace {
	struct task_trace *outer; /* of the task that executes this one */
	struct trace_span execute;
	struct trace_span step;   /* what runs now: the execution or one of its steps */
	struct trace_span parent;
	bool has_parent;
	int64_t execute_us;       /* when they began, wall clock */
	int64_t step_us;
	int64_t wall_us;          /* of the same moment by both clocks: times are taken by the monotonic one */
	int64_t monotonic_us;
	int64_t added_us;         /* what a task that sleeps without a thread has yet to sleep */
};

/* Of the task that this thread runs. */
static _Thread_local struct task_trace *current;

static int64_t now_us(const struct task_trace *trace)
{
	return trace->wall_us + clock_monotonic_us() - trace->monotonic_us + trace->added_us;
}

/* ---- what a span says ---- */

/* kser's: the class, which is what stands behind the last dot, and the task's uuid. */
static void add_name(struct buffer *name, const struct notice *notice, const char *action)
{
	struct buffer scratch CLEANUP(buffer_clear) = {0};
	struct slice uuid = json_string(notice->task->message.uuid, &scratch);
	buffer_add_text(name, entrypoint_class_name(notice->entrypoint));
	buffer_add_char(name, '[');
	buffer_add_slice(name, uuid);
	buffer_printf(name, "] - %s", action);
}

/* What failed by the error object of its result; one that was told to end by that. */
static void set_error(struct span *span, const struct notice *notice, struct buffer *scratch)
{
	struct slice error;
	struct json_value name;
	span->failed = true;
	span->error = slice_of("InternalError");
	span->reason = buffer_slice(&notice->result->message);
	if (kser_task_cancelled(notice->task)) {
		span->error = slice_of("Stopped");
		span->reason = slice_of("it was told to end, and what it returned does not count");
	} else if (retval_get(&notice->result->retval, "error", &error) && json_find((struct json_value){JSON_OBJECT, error}, "name", &name) && name.kind == JSON_STRING) {
		span->error = json_string(name, scratch);
	}
}

static void end_span(const struct spans *spans, const struct notice *notice, const char *action, struct span *span)
{
	struct buffer name CLEANUP(buffer_clear) = {0}, scratch CLEANUP(buffer_clear) = {0};
	add_name(&name, notice, action);
	span->name = buffer_slice(&name);
	span->end_us = now_us(notice->task->trace);
	if (notice->outcome != KSER_SUCCESS || kser_task_cancelled(notice->task))
		set_error(span, notice, &scratch);
	otlp_add(spans->otlp, span);
}

/* ---- the steps ---- */

static void begin_step(struct task_trace *trace)
{
	trace_begin(&trace->execute, &trace->step);
	trace->step_us = now_us(trace);
}

static void end_step(const struct spans *spans, const struct notice *notice, const char *action)
{
	struct task_trace *trace = notice->task->trace;
	int64_t left_us = notice->task->due_ms * 1000 - clock_monotonic_us();
	if (notice->place == PLACE_RUN_END && left_us > 0)
		trace->added_us = left_us;
	struct span span = {.at = trace->step, .parent = trace->execute.id, .kind = SPAN_INTERNAL, .start_us = trace->step_us};
	end_span(spans, notice, action, &span);
	trace->step = trace->execute;
}

/* ---- the execution ---- */

/* Where nobody says to which trace an operation's task belongs, its operation does. */
static void begin_without_parent(struct task_trace *trace, const struct message *message)
{
	trace_begin(NULL, &trace->execute);
	if (message->stamped)
		memcpy(trace->execute.trace, message->stamp.operation, sizeof trace->execute.trace);
}

static void begin_execute(struct kser_task *task)
{
	struct task_trace *trace = task->trace = xcalloc(1, sizeof *trace);
	trace->outer = current;
	trace->has_parent = true;
	if (trace->outer)
		trace->parent = trace->outer->step;
	else
		trace->has_parent = trace_find(task->message.metadata, &trace->parent);
	if (trace->has_parent)
		trace_begin(&trace->parent, &trace->execute);
	else
		begin_without_parent(trace, &task->message);
	trace->step = trace->execute;
	trace->monotonic_us = clock_monotonic_us();
	trace->execute_us = trace->wall_us = clock_wall_us();
	current = trace;
}

static void end_execute(const struct spans *spans, const struct notice *notice)
{
	struct kser_task *task = notice->task;
	struct task_trace *trace = task->trace;
	const struct stamp *stamp = &task->message.stamp;
	struct span_attribute attributes[] = {{.key = "kser.task", .text = slice_of(kser_task_uuid(task))}, {.key = "kser.entrypoint", .text = slice_of(notice->entrypoint)},
		{.key = "kser.retcode", .number = notice->result->retcode}, {.key = "kser.worker", .text = spans->worker},
		{.key = "kser.operation", .text = slice_of(kser_task_operation(task))}, {.key = "kser.position", .number = stamp->position},
		{.key = "kser.attempt", .number = stamp->attempt}, {.key = "kser.queue", .text = stamp->queue}};
	struct span span = {.at = trace->execute, .parent = trace->has_parent ? trace->parent.id : NULL, .kind = SPAN_CONSUMER, .start_us = trace->execute_us,
		.attributes = attributes, .attribute_count = task->message.stamped ? COUNT_OF(attributes) : 4};
	end_span(spans, notice, "Execute", &span);
	current = trace->outer;
	free_pointer(&task->trace);
}

static void see(void *context, const struct notice *notice)
{
	const struct spans *spans = context;
	switch (notice->place) {
	case PLACE_EXECUTE_BEGIN: begin_execute(notice->task); break;
	case PLACE_PRERUN_BEGIN:
	case PLACE_RUN_BEGIN:
	case PLACE_POSTRUN_BEGIN: begin_step(notice->task->trace); break;
	case PLACE_PRERUN_END: end_step(spans, notice, "PreRun"); break;
	case PLACE_RUN_END: end_step(spans, notice, "Run"); break;
	case PLACE_POSTRUN_END: end_step(spans, notice, "PostRun"); break;
	case PLACE_SUCCESS:
	case PLACE_ERROR: break;
	case PLACE_EXECUTE_END: end_execute(spans, notice); break;
	}
}

void spans_init(struct spans *spans, struct otlp *otlp, struct slice worker)
{
	*spans = (struct spans){.otlp = otlp, .worker = worker, .observer = {.notice = see, .context = spans}};
}

const char *kser_task_traceparent(struct kser_task *task)
{
	struct trace_span span;
	char quoted[TRACEPARENT_SIZE + 2] = "\"";
	if (task->trace)
		span = task->trace->step;
	else if (!trace_find(task->message.metadata, &span))
		return "";
	trace_write_traceparent(&span, quoted + 1);
	quoted[TRACEPARENT_SIZE] = '"';
	return task_text(task, (struct json_value){JSON_STRING, {quoted, TRACEPARENT_SIZE + 1}});
}
