#pragma once

/*
 * The name of one attempt of one task, as claims, releases and stops list them on the wire:
 * {"uuid": …, "op": …, "pos": …, "attempt": …, "gen": …}. Plain memory; any thread.
 */

#include <stdbool.h>
#include <stdint.h>
#include <uuid/uuid.h>

#include "common/buffer.h"
#include "common/json.h"

struct task_name {
	uuid_t uuid;
	uuid_t operation;
	int32_t position;   /* from 0 */
	int32_t attempt;    /* from 1 */
	int64_t generation;
};

/* Adds the object. */
void task_name_add(struct buffer *out, const struct task_name *name);

/* Reads an object that json_validate has passed; false when a member is missing or of another type. Further members are ignored. */
bool task_name_read(struct json_value object, struct task_name *name);
