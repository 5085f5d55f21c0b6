#pragma once

/*
 * A thread's way to the database: a connection that comes back by itself, and the rows of a dispatch
 * turned into records. Belongs to one thread.
 */

#include "orchestrator/cell.h"
#include "orchestrator/dispatcher.h"
#include "sql/connection.h"

struct engine {
	struct cell *cell;
	const char *who; /* for logs */
	int thread;      /* number of its floor in the cell */
	unsigned connects; /* how often it has connected */
	struct connection *connection;
	struct dispatcher *dispatcher; /* NULL in a thread that sends nothing */
};

void engine_clear(struct engine *engine);

/* The engine's statement of that file name; aborts when there is none. */
const struct embedded_file *engine_statement(const char *name);

/*
 * Runs a statement until the database has answered: reconnects, and repeats what may heal. E_RETRY only
 * when the cell is stopping, or, when `once` is set, at once for a lock that could not be had or a full backlog (engine_is_full). E_INVALID, E_CONFLICT: what was
 * given is refused. Anything else is logged and tried again after a second: it heals when somebody mends it.
 */
MUST_USE enum status engine_run(struct engine *engine, const struct embedded_file *statement, const struct parameter *parameters, int count,
	bool once, PGresult **result, struct error *err);

/* Whether E_RETRY says that there is no room for what was given (SQLSTATE 53400). */
bool engine_is_full(const struct error *err);

/* Before a call that may decide dispatches, and after its dispatches were handed over: sets the thread's floor. */
void engine_begin_call(struct engine *engine);
void engine_end_call(struct engine *engine);

/* Ends a task that cannot go on, if it is still at that attempt: FAILED, and its operation with it. E_RETRY: stopping. */
MUST_USE enum status engine_end_task(struct engine *engine, const struct refused *refused);

/*
 * Sends the dispatch of a row whose columns uuid … flags begin at `column`; `result` is what the message carries on. Of a success's successor
 * the row has columns uuid, attempt, epoch, entrypoint … flags only: the rest follows from the stamp of its predecessor, `before`.
 */
void engine_dispatch(struct engine *engine, const PGresult *rows, int row, int column, int queue, struct slice result, struct origin origin);
void engine_dispatch_next(struct engine *engine, const PGresult *rows, int row, int column, const struct stamp *before, int queue, int32_t partition, struct slice result,
	struct origin origin);

/* Ends the tasks whose dispatches the broker refused; `finished` is called for each that has an origin. */
void engine_settle_refused(struct engine *engine, dispatcher_acknowledged *finished, void *context);
