#pragma once

/*
 * What an orchestrator tells all workers on the topic of control (docs/wire.md). Nothing waits for it to arrive: what a worker
 * missed is told again, since the reason for it lasts until the worker has answered.
 */

#include <libpq-fe.h>

#include "common/task_name.h"
#include "orchestrator/dispatcher.h"

/* Names in one record, at most. */
#define CONTROL_NAMES_MAX 500

/* Adds a whole record. `count`: 1 to CONTROL_NAMES_MAX. */
void control_add_stop(struct buffer *out, const struct task_name *names, size_t count);
void control_add_generation(struct buffer *out, int64_t generation);
void control_add_spare(struct buffer *out, const char *queue, int32_t slots);

/* Sends them. Rows of tasks to be stopped have the columns operation_id, position, uuid, attempt, generation. */
void control_stop_rows(struct cell *cell, struct dispatcher *dispatcher, const PGresult *rows);
void control_generation(struct cell *cell, struct dispatcher *dispatcher, int64_t generation);
void control_spare(struct cell *cell, struct dispatcher *dispatcher, const char *queue, int32_t slots);
