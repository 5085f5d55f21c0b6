#pragma once

/* The entrypoints of a worker by name. Filled before it runs, then only read, by any thread. */

#include <stdbool.h>
#include <uthash.h>

#include "common/buffer.h"
#include "common/error.h"
#include "common/message.h"
#include "kser/operation.h"
#include "worker/observer.h"

/* As in struct kser_entrypoint; NULL: there is none. */
struct triggers {
	enum kser_outcome (*postinit)(struct kser_task *task, struct kser_result *result, void *context);
	enum kser_outcome (*prerun)(struct kser_task *task, struct kser_result *result, void *context);
	enum kser_outcome (*postrun)(struct kser_task *task, struct kser_result *result, void *context);
	enum kser_outcome (*onsuccess)(struct kser_task *task, struct kser_result *result, void *context);
	enum kser_outcome (*onerror)(struct kser_task *task, struct kser_result *result, void *context);
};

struct entrypoint {
	char *name;
	const char *class_name; /* what log lines begin with: the name's part behind its last dot */
	char **required; /* NULL-terminated */
	enum kser_outcome (*run)(struct kser_task *task, struct kser_result *result, void *context);
	struct triggers triggers;
	void *context;
	size_t number; /* from 0, as they came */
	struct kser_operation_class *operation; /* NULL: it is a task's */
	char **operation_tasks;
	UT_hash_handle hh;
};

struct entrypoints {
	struct entrypoint *table;
	struct kser_worker *worker; /* whose they are, for entrypoints that want it; NULL in tests */
	bool log_tasks;             /* a task's log lines are written */
	const struct observer *observers[OBSERVERS_MAX];
	size_t observer_count;
	bool observed_closely; /* one of them looks at results */
};

void entrypoints_clear(struct entrypoints *entrypoints);

/* E_INVALID: the name or `run` is missing or unusable; E_CONFLICT: the name is taken. */
MUST_USE enum status entrypoints_add(struct entrypoints *entrypoints, const struct kser_entrypoint *entrypoint, struct error *err);

/* The same for an operation. */
MUST_USE enum status entrypoints_add_operation(struct entrypoints *entrypoints, const struct kser_operation_class *operation, struct error *err);

/* Those of a worker. */
struct entrypoints *worker_entrypoints(struct kser_worker *worker);

/* What log lines and spans call an entrypoint of that name: its part behind the last dot, as the Python library does; within `name`. */
const char *entrypoint_class_name(const char *name);

/* NULL when there is none of that name. */
const struct entrypoint *entrypoints_find(const struct entrypoints *entrypoints, struct slice name);

/* The first required parameter that `params` (an object) lacks, or NULL. */
const char *entrypoint_missing(const struct entrypoint *entrypoint, struct json_value params);

/* Adds ["name", …], sorted. */
void entrypoints_add_names(struct buffer *out, const struct entrypoints *entrypoints);

/* Adds [{"name": …, "required": […]}, …], sorted. */
void entrypoints_add_description(struct buffer *out, const struct entrypoints *entrypoints);
