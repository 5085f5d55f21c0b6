#include "worker/task_log.h"

#include <stdarg.h>
#include <stdio.h>

#include "common/log.h"
#include "common/memory.h"
#include "worker/result.h"
#include "worker/task.h"

/* The router's: a retcode from here on is a failure. */
#define FAILED_FROM 300

bool task_log_is_on(const struct entrypoints *entrypoints)
{
	return entrypoints->log_tasks || log_is_on(LOG_LEVEL_DEBUG);
}

static bool is_wanted(const struct entrypoints *entrypoints, enum log_level level)
{
	return task_log_is_on(entrypoints) && log_is_on(level);
}

void task_log_registered(const struct entrypoints *entrypoints, const char *name)
{
	if (!is_wanted(entrypoints, LOG_LEVEL_DEBUG))
		return;
	struct buffer line CLEANUP(buffer_clear) = {0};
	buffer_printf(&line, "Controller.Registered: %s", name);
	log_debug(line.bytes);
}

static void add_uuid(struct buffer *out, const struct kser_task *task)
{
	struct buffer scratch CLEANUP(buffer_clear) = {0};
	buffer_add_char(out, '[');
	buffer_add_slice(out, json_string(task->message.uuid, &scratch));
	buffer_add_char(out, ']');
}

static void write_line(enum log_level level, const struct buffer *line, const struct kser_task *task, const char *retcode)
{
	char operation[UUID_STR_LEN];
	bool stamped = task->message.stamped;
	if (stamped)
		uuid_unparse_lower(task->message.stamp.operation, operation);
	log_event(level, line->bytes, "retcode", retcode, "operation", stamped ? operation : NULL, "position", stamped ? LOG_INT(task->message.stamp.position) : NULL,
		"attempt", stamped ? LOG_INT(task->message.stamp.attempt) : NULL, NULL);
}

void task_log_step(const struct entrypoints *entrypoints, const struct entrypoint *entrypoint, const struct kser_task *task, const char *step)
{
	if (!is_wanted(entrypoints, LOG_LEVEL_DEBUG))
		return;
	struct buffer line CLEANUP(buffer_clear) = {0};
	buffer_printf(&line, "%s.%s: %s", entrypoint->class_name, step, entrypoint->name);
	add_uuid(&line, task);
	write_line(LOG_LEVEL_DEBUG, &line, task, NULL);
}

static void tell_end(enum log_level level, struct buffer *line, const struct kser_task *task, const struct kser_result *result)
{
	add_uuid(line, task);
	buffer_add_text(line, ": ");
	result_add_text(line, result);
	while (line->bytes[line->length - 1] == '\n')
		line->bytes[--line->length] = '\0';
	write_line(level, line, task, LOG_INT(result->retcode));
}

void task_log_success(const struct entrypoints *entrypoints, const struct entrypoint *entrypoint, const struct kser_task *task, const struct kser_result *result)
{
	if (!is_wanted(entrypoints, LOG_LEVEL_INFO))
		return;
	struct buffer line CLEANUP(buffer_clear) = {0};
	buffer_printf(&line, "%s.Success: %s", entrypoint->class_name, entrypoint->name);
	tell_end(LOG_LEVEL_INFO, &line, task, result);
}

void task_log_failed(const struct entrypoints *entrypoints, const struct entrypoint *entrypoint, const struct kser_task *task, const struct kser_result *result)
{
	if (!is_wanted(entrypoints, LOG_LEVEL_ERROR))
		return;
	struct buffer line CLEANUP(buffer_clear) = {0};
	buffer_printf(&line, "%s.Failed: %s", entrypoint->class_name, entrypoint->name);
	tell_end(LOG_LEVEL_ERROR, &line, task, result);
}

static void add_name(struct buffer *out, const struct kser_task *task)
{
	struct buffer scratch CLEANUP(buffer_clear) = {0};
	buffer_add_slice(out, json_string(task->message.entrypoint, &scratch));
}

void task_log_received(const struct entrypoints *entrypoints, const struct kser_task *task)
{
	if (!is_wanted(entrypoints, LOG_LEVEL_DEBUG))
		return;
	struct buffer line CLEANUP(buffer_clear) = {0};
	buffer_add_text(&line, "Controller.ReceivedFromKafka: ");
	buffer_add_slice(&line, task->message.text);
	write_line(LOG_LEVEL_DEBUG, &line, task, NULL);
	buffer_reset(&line);
	buffer_add_text(&line, "Controller.ReceivedMessage ");
	add_name(&line, task);
	add_uuid(&line, task);
	write_line(LOG_LEVEL_DEBUG, &line, task, NULL);
}

void task_log_routed(const struct entrypoints *entrypoints, const struct kser_task *task, const struct kser_result *result)
{
	bool failed = result->retcode >= FAILED_FROM;
	if (!is_wanted(entrypoints, failed ? LOG_LEVEL_ERROR : LOG_LEVEL_INFO))
		return;
	struct buffer line CLEANUP(buffer_clear) = {0};
	buffer_printf(&line, "Controller.%s: ", failed ? "Failed" : "Success");
	add_name(&line, task);
	tell_end(failed ? LOG_LEVEL_ERROR : LOG_LEVEL_INFO, &line, task, result);
}

static void add_class(struct buffer *out, const struct kser_task *task)
{
	struct buffer name CLEANUP(buffer_clear) = {0};
	add_name(&name, task);
	buffer_add_text(out, entrypoint_class_name(buffer_slice(&name).start));
}

void kser_task_log(struct kser_task *task, enum kser_log_level level, const char *format, ...)
{
	static const enum log_level levels[] = {[KSER_LOG_DEBUG] = LOG_LEVEL_DEBUG, [KSER_LOG_INFO] = LOG_LEVEL_INFO, [KSER_LOG_WARNING] = LOG_LEVEL_WARNING,
		[KSER_LOG_ERROR] = LOG_LEVEL_ERROR};
	if (!log_is_on(levels[level]))
		return;
	char *text CLEANUP(free_pointer) = NULL;
	struct buffer line CLEANUP(buffer_clear) = {0};
	va_list arguments;
	va_start(arguments, format);
	int length = vasprintf(&text, format, arguments);
	va_end(arguments);
	add_class(&line, task);
	buffer_printf(&line, ".%s: ", kser_task_status(task));
	add_name(&line, task);
	add_uuid(&line, task);
	buffer_add_text(&line, ": ");
	buffer_add_text(&line, length >= 0 ? text : format);
	write_line(levels[level], &line, task, NULL);
}
