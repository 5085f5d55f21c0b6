#pragma once

/* The entrypoints of a worker by name. Filled before it runs, then only read, by any thread. */

#include <stdbool.h>
#include <uthash.h>

#include "common/buffer.h"
#include "common/error.h"
#include "common/message.h"
#include "kser/worker.h"

struct entrypoint {
	char *name;
	char **required; /* NULL-terminated */
	enum kser_outcome (*run)(struct kser_task *task, struct kser_result *result, void *context);
	void *context;
	UT_hash_handle hh;
};

struct entrypoints {
	struct entrypoint *table;
};

void entrypoints_clear(struct entrypoints *entrypoints);

/* E_INVALID: the name or `run` is missing or unusable; E_CONFLICT: the name is taken. */
MUST_USE enum status entrypoints_add(struct entrypoints *entrypoints, const struct kser_entrypoint *entrypoint, struct error *err);

/* NULL when there is none of that name. */
const struct entrypoint *entrypoints_find(const struct entrypoints *entrypoints, struct slice name);

/* The first required parameter that `params` (an object) lacks, or NULL. */
const char *entrypoint_missing(const struct entrypoint *entrypoint, struct json_value params);

/* Adds ["name", …], sorted. */
void entrypoints_add_names(struct buffer *out, const struct entrypoints *entrypoints);

/* Adds [{"name": …, "required": […]}, …], sorted. */
void entrypoints_add_description(struct buffer *out, const struct entrypoints *entrypoints);
