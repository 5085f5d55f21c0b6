#include "worker/entrypoints.h"

#include <stdlib.h>

#include "common/limits.h"
#include "common/memory.h"
#include "common/message.h"
#include "worker/operation.h"

static void free_names(char **names)
{
	for (char **name = names; name && *name; name++)
		free(*name);
	free(names);
}

static void free_entrypoint(struct entrypoint *entrypoint)
{
	free_names(entrypoint->required);
	free_names(entrypoint->operation_tasks);
	free(entrypoint->operation);
	free(entrypoint->name);
	free(entrypoint);
}

void entrypoints_clear(struct entrypoints *entrypoints)
{
	struct entrypoint *entrypoint, *next;
	HASH_ITER(hh, entrypoints->table, entrypoint, next) {
		HASH_DEL(entrypoints->table, entrypoint);
		free_entrypoint(entrypoint);
	}
}

static bool is_name(const char *name)
{
	return name && message_check_entrypoint(slice_of(name), NULL) == E_OK;
}

const char *entrypoint_class_name(const char *name)
{
	const char *dot = strrchr(name, '.');
	return dot && dot[1] ? dot + 1 : name;
}

static char **copy_names(const char *const *names)
{
	size_t count = 0;
	while (names && names[count])
		count++;
	char **copy = xcalloc(count + 1, sizeof *copy);
	for (size_t i = 0; i < count; i++)
		copy[i] = xstrdup(names[i]);
	return copy;
}

static int by_name(const struct entrypoint *one, const struct entrypoint *other)
{
	return strcmp(one->name, other->name);
}

enum status entrypoints_add(struct entrypoints *entrypoints, const struct kser_entrypoint *given, struct error *err)
{
	if (!is_name(given->name))
		return fail(err, E_INVALID, "an entrypoint's name must be UTF-8 of 1 to %d bytes without control characters", ENTRYPOINT_BYTES_MAX);
	for (const char *const *name = given->required; name && *name; name++)
		if (!is_name(*name))
			return fail(err, E_INVALID, "entrypoint '%s': a required parameter's name is unusable", given->name);
	if (!given->run)
		return fail(err, E_INVALID, "entrypoint '%s' has no function", given->name);
	if (entrypoints_find(entrypoints, slice_of(given->name)))
		return fail(err, E_CONFLICT, "entrypoint '%s' is there already", given->name);
	struct entrypoint *entrypoint = xcalloc(1, sizeof *entrypoint);
	entrypoint->name = xstrdup(given->name);
	entrypoint->required = copy_names(given->required);
	entrypoint->class_name = entrypoint_class_name(entrypoint->name);
	entrypoint->run = given->run;
	entrypoint->triggers = (struct triggers){.postinit = given->postinit, .prerun = given->prerun, .postrun = given->postrun,
		.onsuccess = given->onsuccess, .onerror = given->onerror};
	entrypoint->context = given->context;
	entrypoint->number = HASH_COUNT(entrypoints->table);
	HASH_ADD_KEYPTR(hh, entrypoints->table, entrypoint->name, strlen(entrypoint->name), entrypoint);
	HASH_SORT(entrypoints->table, by_name);
	return E_OK;
}

enum status entrypoints_add_operation(struct entrypoints *entrypoints, const struct kser_operation_class *given, struct error *err)
{
	if (given->name && !given->build_tasks)
		return fail(err, E_INVALID, "operation '%s' has no build_tasks", given->name);
	struct kser_entrypoint plain = {KSER_ENTRYPOINT, .name = given->name, .required = given->required, .run = operation_plan};
	enum status status = entrypoints_add(entrypoints, &plain, err);
	if (status)
		return status;
	struct entrypoint *entrypoint;
	HASH_FIND(hh, entrypoints->table, given->name, strlen(given->name), entrypoint);
	entrypoint->operation = xcalloc(1, sizeof *entrypoint->operation);
	entrypoint->operation_tasks = copy_names(given->tasks);
	*entrypoint->operation = *given;
	entrypoint->operation->name = entrypoint->name;
	entrypoint->operation->required = (const char *const *)entrypoint->required;
	entrypoint->operation->tasks = (const char *const *)entrypoint->operation_tasks;
	return E_OK;
}

const struct entrypoint *entrypoints_find(const struct entrypoints *entrypoints, struct slice name)
{
	struct entrypoint *entrypoint;
	HASH_FIND(hh, entrypoints->table, name.start, name.length, entrypoint);
	return entrypoint;
}

const char *entrypoint_missing(const struct entrypoint *entrypoint, struct json_value params)
{
	struct json_value value;
	for (char **name = entrypoint->required; *name; name++)
		if (!json_find(params, *name, &value))
			return *name;
	return NULL;
}

void entrypoints_add_names(struct buffer *out, const struct entrypoints *entrypoints)
{
	buffer_add_char(out, '[');
	for (const struct entrypoint *entrypoint = entrypoints->table; entrypoint; entrypoint = entrypoint->hh.next) {
		if (entrypoint != entrypoints->table)
			buffer_add_char(out, ',');
		buffer_add_json_string(out, slice_of(entrypoint->name));
	}
	buffer_add_char(out, ']');
}

static void add_description(struct buffer *out, const struct entrypoint *entrypoint)
{
	buffer_add_text(out, "{\"name\":");
	buffer_add_json_string(out, slice_of(entrypoint->name));
	buffer_add_text(out, ",\"required\":[");
	for (char **name = entrypoint->required; *name; name++) {
		if (name != entrypoint->required)
			buffer_add_char(out, ',');
		buffer_add_json_string(out, slice_of(*name));
	}
	buffer_add_text(out, "]}");
}

void entrypoints_add_description(struct buffer *out, const struct entrypoints *entrypoints)
{
	buffer_add_char(out, '[');
	for (const struct entrypoint *entrypoint = entrypoints->table; entrypoint; entrypoint = entrypoint->hh.next) {
		if (entrypoint != entrypoints->table)
			buffer_add_char(out, ',');
		add_description(out, entrypoint);
	}
	buffer_add_char(out, ']');
}
