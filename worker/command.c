#include "worker/command.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/limits.h"
#include "common/memory.h"
#include "worker/process.h"
#include "worker/result.h"
#include "worker/task.h"

#define EXIT_REFUSED 64     /* EX_USAGE of sysexits.h */
#define EXIT_TRY_AGAIN 75   /* EX_TEMPFAIL */

extern char **environ;

/* ---- the environment ---- */

/* What gives access to the broker or the receiver of traces, or opens sealed messages, is the worker's own, and so is the span that started it. */
static bool is_of_the_worker(const char *variable)
{
	static const char *const prefixes[] = {"KSER_KAFKA_", "KSER_SECRETBOX_", "OTEL_EXPORTER_OTLP_HEADERS", "TRACEPARENT="};
	for (size_t i = 0; i < COUNT_OF(prefixes); i++)
		if (strncmp(variable, prefixes[i], strlen(prefixes[i])) == 0)
			return true;
	return false;
}

struct environment {
	char **variables; /* NULL-terminated, of which the first `own` are ours to free */
	size_t count;
	size_t own;
};

static void environment_clear(struct environment *environment)
{
	for (size_t i = 0; i < environment->own; i++)
		free(environment->variables[i]);
	free(environment->variables);
}

static void add_own(struct environment *environment, const char *name, const char *value)
{
	struct buffer text CLEANUP(buffer_clear) = {0};
	buffer_printf(&text, "%s=%s", name, value);
	environment->variables[environment->count++] = TAKE(text.bytes);
	environment->own++;
}

static bool has_name_of(const struct environment *environment, const char *variable)
{
	size_t length = strcspn(variable, "=") + 1;
	for (size_t i = 0; i < environment->count; i++)
		if (strncmp(environment->variables[i], variable, length) == 0)
			return true;
	return false;
}

static size_t count_of(char *const *variables)
{
	size_t count = 0;
	while (variables && variables[count])
		count++;
	return count;
}

static void environment_fill(struct environment *environment, const struct command *command, struct kser_task *task, const char *result_file)
{
	environment->variables = xcalloc(5 + count_of(command->variables) + count_of(environ) + 1, sizeof environment->variables[0]);
	char attempt[16];
	snprintf(attempt, sizeof attempt, "%" PRId32, kser_task_attempt(task));
	add_own(environment, "KSER_OPERATION", kser_task_operation(task));
	add_own(environment, "KSER_TASK", kser_task_uuid(task));
	add_own(environment, "KSER_ATTEMPT", attempt);
	add_own(environment, "KSER_RESULT_FILE", result_file);
	if (kser_task_traceparent(task)[0])
		add_own(environment, "TRACEPARENT", kser_task_traceparent(task));
	for (char **variable = command->variables; variable && *variable; variable++)
		if (!has_name_of(environment, *variable))
			environment->variables[environment->count++] = *variable;
	for (char **variable = environ; *variable; variable++)
		if (!is_of_the_worker(*variable) && !has_name_of(environment, *variable))
			environment->variables[environment->count++] = *variable;
}

/* ---- the result file ---- */

static enum status make_result_file(const char *folder, struct buffer *path, struct error *err)
{
	buffer_printf(path, "%s/kser-result-XXXXXX", folder);
	int fd = mkostemp(path->bytes, O_CLOEXEC);
	if (fd < 0)
		return fail(err, E_FATAL, "cannot make a result file as %s: %s", path->bytes, strerror(errno));
	close(fd);
	return E_OK;
}

/* At most one byte more than a message can hold, which tells that it is too large. */
static enum status read_file(const char *path, struct buffer *out, struct error *err)
{
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	struct stat info;
	if (fd < 0)
		return errno == ENOENT ? E_OK : fail(err, E_INVALID, "cannot be opened: %s", strerror(errno));
	enum status status = E_OK;
	if (fstat(fd, &info) || !S_ISREG(info.st_mode))
		status = fail(err, E_INVALID, "is not a regular file");
	else if (info.st_size > MESSAGE_BYTES_MAX)
		status = fail(err, E_INVALID, "has %lld bytes, %d are the limit", (long long)info.st_size, MESSAGE_BYTES_MAX);
	while (!status && out->length <= MESSAGE_BYTES_MAX) {
		ssize_t got = read(fd, buffer_reserve(out, 65536), 65536);
		if (got < 0)
			status = fail(err, E_INVALID, "cannot be read: %s", strerror(errno));
		if (got <= 0)
			break;
		out->length += (size_t)got;
	}
	close(fd);
	return status;
}

static enum status check_plan(struct json_value tasks, struct error *err)
{
	if (tasks.kind != JSON_ARRAY)
		return fail(err, E_INVALID, "tasks must be an array, not %s", json_kind_name(tasks.kind));
	struct json_iterator elements = json_iterate(tasks);
	struct json_value task;
	size_t count = 0;
	while (json_next_element(&elements, &task)) {
		enum status status = result_check_planned(task, err);
		if (status)
			return status;
		if (++count > OPERATION_TASKS_MAX)
			return fail(err, E_INVALID, "the plan has more than %d tasks", OPERATION_TASKS_MAX);
	}
	return E_OK;
}

/* All of it is checked before any of it counts. */
static enum status check_members(struct json_value object, struct json_value *retval, struct json_value *tasks, struct error *err)
{
	struct json_iterator members = json_iterate(object);
	struct json_member member;
	while (json_next_member(&members, &member)) {
		if (json_key_is(member.key, "retval"))
			*retval = member.value;
		else if (json_key_is(member.key, "tasks"))
			*tasks = member.value;
		else
			return fail(err, E_INVALID, "knows retval and tasks, not %.*s", member.key.length < 100 ? (int)member.key.length : 100, member.key.start);
	}
	if (retval->kind != JSON_NULL && retval->kind != JSON_OBJECT)
		return fail(err, E_INVALID, "retval must be an object, not %s", json_kind_name(retval->kind));
	return tasks->kind == JSON_NULL ? E_OK : check_plan(*tasks, err);
}

static enum status take_result(struct slice text, struct kser_result *result, struct error *err)
{
	struct json_value object, retval = {0}, tasks = {0};
	enum status status = json_validate(text, MESSAGE_BYTES_MAX, &object, err);
	if (!status && object.kind != JSON_OBJECT)
		status = fail(err, E_INVALID, "must hold an object, not %s", json_kind_name(object.kind));
	if (!status)
		status = check_members(object, &retval, &tasks, err);
	if (status)
		return status;
	if (retval.kind == JSON_OBJECT)
		retval_update(&result->retval, retval);
	struct json_iterator elements = json_iterate(tasks);
	struct json_value task;
	while (tasks.kind == JSON_ARRAY && json_next_element(&elements, &task))
		result_add_planned(result, task.text);
	if (tasks.kind == JSON_ARRAY && result->task_count == 0)
		result_fail_empty_plan(result);
	return E_OK;
}

static enum kser_outcome read_result_file(const char *path, struct kser_result *result)
{
	struct buffer text CLEANUP(buffer_clear) = {0};
	struct error err;
	enum status status = read_file(path, &text, &err);
	if (!status && text.length > 0)
		status = take_result(buffer_slice(&text), result, &err);
	if (status)
		return kser_result_fail(result, 500, "InternalError", "result file: %s", err.text);
	return result->retcode == 0 ? KSER_SUCCESS : KSER_FAILURE;
}

/* ---- the outcome ---- */

static struct slice last_line(struct slice text)
{
	while (text.length > 0 && (unsigned char)text.start[text.length - 1] <= ' ')
		text.length--;
	size_t start = text.length;
	while (start > 0 && text.start[start - 1] != '\n')
		start--;
	return (struct slice){text.start + start, text.length - start};
}

/* What happened, and the last line of stderr as a hint at why. */
static enum kser_outcome fail_with_hint(struct kser_result *result, int32_t code, const char *name, const char *what, int number)
{
	struct slice hint = last_line(buffer_slice(&result->err.kept));
	int length = hint.length < ERROR_INPUT_BYTES_MAX ? (int)hint.length : ERROR_INPUT_BYTES_MAX;
	return kser_result_fail(result, code, name, "%s %d%s%.*s", what, number, length ? ": " : "", length, hint.start);
}

static enum kser_outcome fail_by_status(struct kser_result *result, int status)
{
	switch (status) {
	case EXIT_REFUSED:
		return fail_with_hint(result, 400, "ValidationError", "exit status", status);
	case EXIT_TRY_AGAIN:
		fail_with_hint(result, 503, "ServiceUnavailable", "exit status", status);
		return KSER_RETRY;
	default:
		return fail_with_hint(result, status, "CommandError", "exit status", status);
	}
}

static enum kser_outcome fail_by_limit(struct kser_result *result, struct time_left limit)
{
	return kser_result_fail(result, 504, "Timeout", "ended at %s %" PRId64 ".%03d s", limit.until_deadline ? "the deadline of its operation, after" : "its time limit of",
		limit.ms / 1000, (int)(limit.ms % 1000));
}

static enum kser_outcome conclude(struct process_outcome *process, const struct process_request *request, struct time_left limit, const char *result_file,
	struct kser_result *result)
{
	result->out = process->out;
	result->err = process->err;
	process->out = (struct output){0};
	process->err = (struct output){0};
	switch (process->end) {
	case PROCESS_EXIT:
		return process->number == 0 ? read_result_file(result_file, result) : fail_by_status(result, process->number);
	case PROCESS_SIGNAL:
		return fail_with_hint(result, 128 + process->number, "CommandError", "ended by signal", process->number);
	case PROCESS_TIMEOUT:
		return fail_by_limit(result, limit);
	case PROCESS_STOPPED:
		kser_result_fail(result, 503, "ServiceUnavailable", "the command was stopped");
		return KSER_RETRY;
	case PROCESS_NOT_EXECUTED:
		break;
	}
	return kser_result_fail(result, 500, "InternalError", "cannot execute '%.100s': %s", request->words[0], strerror(process->number));
}

/* task_cancel ends the command, until it has ended. */
static enum status run_stoppable(struct process_request *request, struct kser_task *task, struct process_outcome *process, struct error *err)
{
	request->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (request->stop_fd < 0)
		return fail(err, E_FATAL, "cannot make a descriptor: %s", strerror(errno));
	task_set_stop_fd(task, request->stop_fd);
	enum status status = process_run(request, process, err);
	task_set_stop_fd(task, -1);
	close(request->stop_fd);
	return status;
}

static enum kser_outcome run_words(const struct command *command, char *const *words, struct slice input, struct time_left limit, struct kser_task *task,
	struct kser_result *result)
{
	struct error err;
	struct buffer result_file CLEANUP(buffer_clear) = {0};
	if (make_result_file(command->host->folder, &result_file, &err))
		return kser_result_fail(result, 500, "InternalError", "%s", err.text);
	struct environment environment CLEANUP(environment_clear) = {0};
	environment_fill(&environment, command, task, result_file.bytes);
	struct process_request request = {.launcher = command->host->launcher, .words = words, .environment = environment.variables,
		.input = input, .limit_ms = limit.ms > 0 ? limit.ms : 0};
	struct process_outcome process CLEANUP(process_outcome_clear) = {0};
	enum kser_outcome outcome = run_stoppable(&request, task, &process, &err) ? kser_result_fail(result, 500, "InternalError", "%s", err.text)
		: conclude(&process, &request, limit, result_file.bytes, result);
	unlink(result_file.bytes);
	return outcome;
}

enum kser_outcome command_execute(const struct command *command, const struct arguments *arguments, struct slice input, struct time_left limit, struct kser_task *task,
	struct kser_result *result)
{
	struct arguments filled CLEANUP(arguments_clear) = {0};
	struct error err;
	if (arguments_fill(arguments, task->message.params, &filled, &err))
		return kser_result_fail(result, 400, "ValidationError", "%s", err.text);
	return run_words(command, filled.words, input, limit, task, result);
}

enum kser_outcome command_run(struct kser_task *task, struct kser_result *result, void *context)
{
	const struct command *command = context;
	struct time_left limit = task_time_left(task, command->timeout_ms);
	if (limit.ms == 0)
		return kser_result_fail(result, 504, "Timeout", "the deadline had passed before the start");
	return command_execute(command, &command->arguments, task->message.text, limit, task, result);
}
