#include "tests/kser/play.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/attributes.h"
#include "common/log.h"

/* ---- making ---- */

static bool is_text(struct json_object *value)
{
	return !value || json_object_is_type(value, json_type_string);
}

bool play_make_result(struct kser_result *result, struct json_object *wanted)
{
	struct json_object *retcode = NULL, *out = vectors_get(wanted, "stdout"), *err = vectors_get(wanted, "stderr"), *retval = vectors_get(wanted, "retval");
	bool has_retcode = json_object_object_get_ex(wanted, "retcode", &retcode);
	if (!is_text(out) || !is_text(err) || (has_retcode && !json_object_is_type(retcode, json_type_int)))
		return false;
	kser_result_set_retcode(result, json_object_get_int(retcode));
	kser_result_set_stdout(result, out ? json_object_get_string(out) : "");
	kser_result_set_stderr(result, err ? json_object_get_string(err) : "");
	if (retval) {
		json_object_object_foreach(retval, key, value)
			kser_result_put(result, key, json_object_get(value));
	}
	return true;
}

static void raise_plain(struct kser_result *result, struct json_object *raise, const char *uuid)
{
	struct json_object *arguments = vectors_get(raise, "args"), *extra = json_object_new_object();
	const char *text = arguments ? json_object_get_string(json_object_array_get_idx(arguments, 0)) : "Internal Error";
	char quoted[100];
	snprintf(quoted, sizeof quoted, strcmp(vectors_text(raise, "type"), "KeyError") == 0 ? "'%s'" : "%s", text);
	json_object_object_add(extra, "uuid", json_object_new_string(uuid));
	kser_result_fail_with(result, &(struct kser_error){KSER_ERROR, .message = quoted, .extra = extra});
	json_object_put(extra);
}

static int code_of(const char *name, struct json_object *given)
{
	static const struct { const char *name; int code; } known[] = {{"ValidationError", 400}, {"NotFound", 404}, {"Error", 1}};
	for (size_t i = 0; !given && i < COUNT_OF(known); i++)
		if (strcmp(name, known[i].name) == 0)
			return known[i].code;
	return json_object_get_int(given);
}

static void raise_invalid_fields(struct kser_result *result, struct json_object *fields)
{
	char text[200] = "Invalid field(s) value:";
	json_object_object_foreach(fields, name, messages) {
		(void)messages;
		snprintf(text + strlen(text), sizeof text - strlen(text), " %s", name);
	}
	kser_result_fail_with(result, &(struct kser_error){KSER_ERROR, .code = 400, .name = "ValidationError", .message = text, .extra = fields});
}

static enum kser_outcome raise_error(struct kser_result *result, struct json_object *raise, const char *uuid)
{
	const char *type = vectors_text(raise, "type");
	struct json_object *parts = vectors_get(raise, "kwargs");
	if (strncmp(type, "cdumay.", 7) == 0)
		kser_result_fail_with(result, &(struct kser_error){KSER_ERROR, .code = code_of(type + 7, vectors_get(parts, "code")), .name = type + 7,
			.message = vectors_text(parts, "message"), .extra = vectors_get(parts, "extra")});
	else if (strcmp(type, "custom") == 0)
		kser_result_fail_with(result, &(struct kser_error){KSER_ERROR, .code = json_object_get_int(vectors_get(raise, "CODE")), .name = vectors_text(raise, "class"),
			.message = vectors_text(raise, "doc"), .msgid = vectors_text(raise, "MSGID")});
	else if (strcmp(type, "marshmallow.ValidationError") == 0)
		raise_invalid_fields(result, vectors_get(raise, "messages"));
	else
		raise_plain(result, raise, uuid);
	return KSER_FAILURE;
}

/* ---- what is called ---- */

static void note(struct play *play, const char *class, const char *call, struct kser_result *result)
{
	struct json_object *pair = json_object_new_array();
	json_object_array_add(pair, json_object_new_string(class));
	json_object_array_add(pair, json_object_new_string(call));
	json_object_array_add(play->calls, pair);
	json_object_array_add(play->seen, kser_result_object(result));
}

static struct json_object *behaviour_of(struct play *play, const char *uuid, const char *class)
{
	struct json_object *found = vectors_get(play->behaviours, uuid);
	return found ? found : vectors_get(play->behaviours, class);
}

/* What a trigger returns in Python becomes what it leaves in the result here. */
static enum kser_outcome act(struct json_object *step, struct kser_result *result, const char *uuid, bool replaces)
{
	struct json_object *made = vectors_get(step, "result"), *raise = vectors_get(step, "raise");
	if (raise)
		return raise_error(result, raise, uuid);
	if (replaces && (made || json_object_object_get_ex(step, "return", NULL)))
		kser_result_clear(result);
	if (!made)
		made = vectors_get(step, "set_result");
	if (made && !play_make_result(result, made))
		return kser_result_fail(result, 500, NULL, "no such result in C");
	return KSER_SUCCESS;
}

static const char *class_of(struct kser_task *task)
{
	static char name[300];
	size_t length;
	struct json_object *message = json_tokener_parse(kser_task_message(task, &length));
	snprintf(name, sizeof name, "%s", strrchr(vectors_text(message, "entrypoint"), '.') + 1);
	json_object_put(message);
	return name;
}

static enum kser_outcome play_step(struct play *play, struct kser_task *task, const char *call, struct kser_result *result)
{
	const char *class = class_of(task);
	struct json_object *step = vectors_get(behaviour_of(play, kser_task_uuid(task), class), call), *params = vectors_get(step, "set_params");
	note(play, class, call, result);
	if (params) {
		json_object_object_foreach(params, name, value)
			kser_task_set(task, name, json_object_get(value));
	}
	bool replaces = strcmp(call, "postinit") != 0 && strcmp(call, "prerun") != 0 && strcmp(call, "run") != 0;
	return act(step, result, kser_task_uuid(task), replaces);
}

#define STEP(call) \
	static enum kser_outcome call(struct kser_task *task, struct kser_result *result, void *context) \
	{ \
		return play_step(context, task, #call, result); \
	}

STEP(postinit)
STEP(prerun)
STEP(run)
STEP(postrun)
STEP(onsuccess)
STEP(onerror)

static const char **names_of(struct json_object *list)
{
	size_t count = list ? json_object_array_length(list) : 0;
	const char **names = calloc(count + 1, sizeof *names);
	for (size_t i = 0; i < count; i++)
		names[i] = json_object_get_string(json_object_array_get_idx(list, i));
	return names;
}

void play_register(struct play *play, struct json_object *behaviour)
{
	char name[100];
	const char **required = names_of(vectors_get(behaviour, "required"));
	snprintf(name, sizeof name, "jobs.%s", vectors_text(behaviour, "name"));
	if (!vectors_get(play->behaviours, vectors_text(behaviour, "name"))) {
		json_object_object_add(play->behaviours, vectors_text(behaviour, "name"), json_object_get(behaviour));
		cr_assert(kser_worker_register(play->worker, &(struct kser_entrypoint){KSER_ENTRYPOINT, .name = name, .run = run, .required = required, .context = play,
			.postinit = postinit, .prerun = prerun, .postrun = postrun, .onsuccess = onsuccess, .onerror = onerror}));
	}
	free(required);
}

/* ---- operations ---- */

static const char *uuid_of(struct kser_operation *operation)
{
	return kser_task_uuid(kser_operation_task(operation));
}

static enum kser_outcome play_operation_step(struct play *play, struct kser_operation *operation, const char *call, struct kser_result *result)
{
	const char *class = class_of(kser_operation_task(operation));
	struct json_object *step = vectors_get(behaviour_of(play, uuid_of(operation), class), call);
	note(play, class, call, result);
	return act(step, result, uuid_of(operation), true);
}

#define OPERATION_STEP(call) \
	static enum kser_outcome operation_##call(struct kser_operation *operation, struct kser_result *result, void *context) \
	{ \
		return play_operation_step(context, operation, #call, result); \
	}

OPERATION_STEP(postinit)
OPERATION_STEP(prerun)
OPERATION_STEP(onsuccess)
OPERATION_STEP(onerror)

static struct kser_task *make_task(struct play *play, struct json_object *task, struct kser_result *result)
{
	char name[100];
	snprintf(name, sizeof name, "jobs.%s", vectors_text(task, "name"));
	struct kser_task *made = kser_task_new(play->worker, name, vectors_text(task, "uuid"), json_object_get(vectors_get(task, "params")), result);
	cr_assert_not_null(made, "%s", kser_result_stderr(result));
	if (vectors_get(task, "status"))
		kser_task_set_status(made, vectors_text(task, "status"));
	if (vectors_get(task, "metadata"))
		cr_assert(kser_task_set_metadata(made, json_object_get(vectors_get(task, "metadata"))));
	if (vectors_get(task, "result"))
		cr_assert(kser_task_set_result(made, json_object_get(vectors_get(task, "result"))));
	return made;
}

static enum kser_outcome add_tasks(struct play *play, struct kser_operation *operation, struct json_object *tasks, struct kser_result *result);

static enum kser_outcome add_nested(struct play *play, struct kser_operation *operation, struct json_object *entry, struct kser_result *result)
{
	char name[100];
	struct json_object *inner = vectors_get(entry, "operation");
	snprintf(name, sizeof name, "jobs.%s", vectors_text(inner, "name"));
	struct kser_operation *nested = kser_operation_new(play->worker, name, vectors_text(inner, "uuid"), NULL, result);
	cr_assert_not_null(nested, "%s", kser_result_stderr(result));
	kser_operation_add_task(operation, kser_operation_task(nested));
	return kser_operation_build(nested, NULL, result);
}

static enum kser_outcome add_tasks(struct play *play, struct kser_operation *operation, struct json_object *tasks, struct kser_result *result)
{
	enum kser_outcome outcome = KSER_SUCCESS;
	for (size_t i = 0; tasks && !outcome && i < json_object_array_length(tasks); i++) {
		struct json_object *entry = json_object_array_get_idx(tasks, i);
		if (vectors_get(entry, "operation"))
			outcome = add_nested(play, operation, entry, result);
		else
			kser_operation_add_task(operation, make_task(play, entry, result));
	}
	return outcome;
}

static enum kser_outcome add_computed(struct play *play, struct kser_operation *operation, struct json_object *list, struct kser_result *result)
{
	enum kser_outcome outcome = KSER_SUCCESS;
	for (size_t i = 0; list && !outcome && i < json_object_array_length(list); i++) {
		struct json_object *inner = json_object_array_get_idx(list, i);
		char name[100];
		snprintf(name, sizeof name, "jobs.%s", vectors_text(inner, "name"));
		struct kser_operation *other = kser_operation_new(play->worker, name, vectors_text(inner, "uuid"), NULL, result);
		cr_assert_not_null(other, "%s", kser_result_stderr(result));
		outcome = kser_operation_compute_tasks(operation, other, NULL, result);
	}
	return outcome;
}

static enum kser_outcome build_tasks(struct kser_operation *operation, struct json_object *arguments, struct kser_result *result, void *context)
{
	struct play *play = context;
	struct json_object *behaviour = behaviour_of(play, uuid_of(operation), class_of(kser_operation_task(operation)));
	if (vectors_get(behaviour, "outer"))
		json_object_array_add(play->received, json_object_get(arguments));
	enum kser_outcome outcome = add_tasks(play, operation, vectors_get(behaviour, "tasks"), result);
	return outcome ? outcome : add_computed(play, operation, vectors_get(behaviour, "compute"), result);
}

static enum kser_outcome prebuild(struct kser_operation *operation, struct json_object **arguments, struct kser_result *result, void *context)
{
	struct json_object *step = vectors_get(behaviour_of(context, uuid_of(operation), class_of(kser_operation_task(operation))), "prebuild");
	(void)result;
	if (step)
		*arguments = json_object_get(vectors_get(step, "return"));
	return KSER_SUCCESS;
}

static void set_status(struct kser_operation *operation, const char *status, const struct kser_result *result, void *context)
{
	struct play *play = context;
	struct json_object *change = json_object_new_object(), *copy = NULL, *before = NULL;
	for (size_t i = 0; i < json_object_array_length(play->statuses); i++) {
		struct json_object *earlier = json_object_array_get_idx(play->statuses, i);
		if (strcmp(vectors_text(earlier, "operation"), uuid_of(operation)) == 0)
			before = vectors_get(earlier, "to");
	}
	if (result) {
		char *message = kser_task_to_message(kser_operation_task(operation), result);
		struct json_object *object = json_tokener_parse(message);
		copy = json_object_get(vectors_get(object, "result"));
		json_object_put(object);
		free(message);
	}
	json_object_object_add(change, "operation", json_object_new_string(uuid_of(operation)));
	json_object_object_add(change, "from", before ? json_object_get(before) : json_object_new_string("PENDING"));
	json_object_object_add(change, "to", json_object_new_string(status));
	json_object_object_add(change, "result", copy);
	json_object_array_add(play->statuses, change);
}

static enum kser_outcome send(struct kser_operation *operation, struct kser_task *task, const char *message, struct kser_result *result, void *context)
{
	struct play *play = context;
	(void)operation;
	(void)task;
	json_object_array_add(play->wire, json_tokener_parse(message));
	kser_result_set_stdout(result, "sent");
	return KSER_SUCCESS;
}

void play_register_operation(struct play *play, struct json_object *behaviour)
{
	char name[100], task[100];
	const char *const tasks[] = {vectors_get(behaviour, "declare_TASKS") ? task : NULL, NULL};
	const char **required = names_of(vectors_get(behaviour, "required"));
	snprintf(name, sizeof name, "jobs.%s", vectors_text(behaviour, "name"));
	snprintf(task, sizeof task, "jobs.DiceRoll");
	if (!vectors_get(play->behaviours, vectors_text(behaviour, "name"))) {
		json_object_object_add(play->behaviours, vectors_text(behaviour, "name"), json_object_get(behaviour));
		cr_assert(kser_worker_register_operation(play->worker, &(struct kser_operation_class){KSER_OPERATION, .name = name, .required = required, .tasks = tasks,
			.context = play, .build_tasks = build_tasks, .prebuild = prebuild, .postinit = operation_postinit, .prerun = operation_prerun,
			.onsuccess = operation_onsuccess, .onerror = operation_onerror, .set_status = set_status, .send = send}));
	}
	free(required);
}

/* ---- a vector's frame ---- */

void play_begin(struct play *play)
{
	int status;
	*play = (struct play){.behaviours = json_object_new_object(), .calls = json_object_new_array(), .seen = json_object_new_array(),
		.statuses = json_object_new_array(), .wire = json_object_new_array(), .received = json_object_new_array()};
	play->worker = kser_worker_new(0, NULL, &status);
	cr_assert_not_null(play->worker);
	log_open("test", LOG_LEVEL_DEBUG, LOG_FORMAT_JSON);
	play->log_fd = memfd_create("log", MFD_CLOEXEC);
	play->stderr_fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
	dup2(play->log_fd, STDERR_FILENO);
}

void play_end(struct play *play)
{
	dup2(play->stderr_fd, STDERR_FILENO);
	close(play->stderr_fd);
	close(play->log_fd);
	log_open("test", LOG_LEVEL_INFO, LOG_FORMAT_LOGFMT);
	struct json_object *objects[] = {play->behaviours, play->calls, play->seen, play->statuses, play->wire, play->received};
	for (size_t i = 0; i < COUNT_OF(objects); i++)
		json_object_put(objects[i]);
	kser_worker_free(play->worker);
}

struct json_object *play_wanted_calls(struct json_object *triggers, const char *class)
{
	struct json_object *calls = json_object_new_array();
	for (size_t i = 0; i < json_object_array_length(triggers); i++) {
		struct json_object *entry = json_object_array_get_idx(triggers, i);
		bool is_pair = json_object_is_type(entry, json_type_array);
		struct json_object *call = is_pair ? json_object_array_get_idx(entry, 1) : json_object_is_type(entry, json_type_object) ? vectors_get(entry, "call") : entry;
		const char *name = json_object_get_string(call);
		if (*name == '_' || strcmp(name, "check_required_params") == 0)
			continue;
		struct json_object *pair = json_object_new_array();
		json_object_array_add(pair, is_pair ? json_object_get(json_object_array_get_idx(entry, 0)) : json_object_new_string(class));
		json_object_array_add(pair, json_object_get(call));
		json_object_array_add(calls, pair);
	}
	return calls;
}

static struct json_object *line_of(const char *level, const char *message)
{
	struct json_object *line = json_object_new_object();
	json_object_object_add(line, "level", json_object_new_string(level));
	json_object_object_add(line, "message", json_object_new_string(message));
	return line;
}

struct json_object *play_logs(struct play *play, bool registrations)
{
	struct json_object *lines = json_object_new_array();
	FILE *file = fdopen(fcntl(play->log_fd, F_DUPFD_CLOEXEC, 0), "r");
	char *text = NULL;
	size_t size = 0;
	rewind(file);
	while (getline(&text, &size, file) > 0) {
		struct json_object *event = json_tokener_parse(text);
		char level[20];
		snprintf(level, sizeof level, "%s", vectors_text(event, "level"));
		for (char *at = level; *at; at++)
			*at = (char)(*at - 'a' + 'A');
		if (registrations || !strstr(vectors_text(event, "message"), "Controller.Registered"))
			json_object_array_add(lines, line_of(level, vectors_text(event, "message")));
		json_object_put(event);
	}
	free(text);
	fclose(file);
	return lines;
}

struct json_object *play_wanted_logs(struct json_object *logs, const char *uuid)
{
	struct json_object *lines = json_object_new_array();
	for (size_t i = 0; i < json_object_array_length(logs); i++) {
		struct json_object *line = json_object_array_get_idx(logs, i);
		const char *text = vectors_text(line, "message"), *mark = strstr(text, "<uuid>");
		char room[3000];
		if (mark)
			snprintf(room, sizeof room, "%.*s%s%s", (int)(mark - text), text, uuid, mark + 6);
		else
			snprintf(room, sizeof room, "%s", text);
		json_object_array_add(lines, line_of(vectors_text(line, "level"), room));
	}
	return lines;
}
