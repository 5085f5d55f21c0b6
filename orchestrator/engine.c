#include "orchestrator/engine.h"

#include <string.h>

#include "common/log.h"
#include "orchestrator/array.h"
#include "orchestrator/rows.h"

#define CALL_TIMEOUT_MS 35000 /* above the session's statement_timeout: the server's own error is better */

void engine_clear(struct engine *engine)
{
	dispatcher_close(engine->dispatcher, cell_drain_left_ms(engine->cell));
	connection_close_pointer(&engine->connection);
	engine->dispatcher = NULL;
	cell_set_floor(engine->cell, engine->thread, INT64_MAX);
}

const struct embedded_file *engine_statement(const char *name)
{
	return embedded_find(embedded_statements, embedded_statements_count, name);
}

bool engine_is_full(const struct error *err)
{
	return strcmp(err->sqlstate, "53400") == 0;
}

/* The server is well and cannot do it now. */
static bool is_for_later(const struct error *err)
{
	return strcmp(err->sqlstate, "55P03") == 0 || strcmp(err->sqlstate, "40P01") == 0 || strcmp(err->sqlstate, "40001") == 0 || engine_is_full(err);
}

/* One try. E_RETRY: connection or server; the caller waits and comes again. */
static enum status try_once(struct engine *engine, const struct embedded_file *statement, const struct parameter *parameters, int count, PGresult **result, struct error *err)
{
	if (!connection_usable(engine->connection)) {
		connection_close_pointer(&engine->connection);
		enum status status = cell_connect(engine->cell, engine->who, &engine->connection, err);
		if (status)
			return status == E_RETRY ? E_RETRY : E_FATAL; /* another schema, say: tried again until it is mended */
		engine->connects++;
	}
	return connection_run(engine->connection, statement, parameters, count, true, CALL_TIMEOUT_MS, result, err);
}

enum status engine_run(struct engine *engine, const struct embedded_file *statement, const struct parameter *parameters, int count,
	bool once, PGresult **result, struct error *err)
{
	for (int64_t wait_ms = 20;; wait_ms = wait_ms < 500 ? wait_ms * 2 : 1000) {
		err->sqlstate[0] = '\0';
		enum status status = try_once(engine, statement, parameters, count, result, err);
		if (status == E_OK || status == E_INVALID || status == E_CONFLICT || (once && status == E_RETRY && is_for_later(err)))
			return status;
		if (cell_stopping(engine->cell))
			return E_RETRY;
		metric_add(cell_measures(engine->cell)->database_errors, 1);
		if (status == E_RETRY)
			log_warning("the database could not answer, trying again", "thread", engine->who, "statement", statement->name, "error", err->text);
		else
			log_error("the database refuses a statement, trying again", "thread", engine->who, "statement", statement->name, "sqlstate", err->sqlstate, "error", err->text);
		if (!cell_pause(engine->cell, status == E_RETRY ? wait_ms : 1000))
			return E_RETRY;
	}
}

void engine_begin_call(struct engine *engine)
{
	int64_t pending = dispatcher_floor(engine->dispatcher), epoch = cell_epoch(engine->cell);
	cell_set_floor(engine->cell, engine->thread, pending < epoch ? pending : epoch);
}

void engine_end_call(struct engine *engine)
{
	cell_set_floor(engine->cell, engine->thread, dispatcher_floor(engine->dispatcher));
}

/* The columns entrypoint … flags. */
static void read_message(const PGresult *rows, int row, int column, struct dispatch *dispatch)
{
	dispatch->entrypoint = row_text(rows, row, column);
	dispatch->params = row_text(rows, row, column + 1);
	dispatch->metadata = row_text(rows, row, column + 2);
	dispatch->stamp.deadline_ms = row_int8(rows, row, column + 3);
	dispatch->stamp.limit_ms = row_int8(rows, row, column + 4);
	dispatch->stamp.start_by_ms = row_int8(rows, row, column + 5);
	dispatch->stamp.flags = (uint32_t)row_int4(rows, row, column + 6);
}

static void send_dispatch(struct engine *engine, int queue, int32_t partition, struct dispatch *dispatch, struct origin origin)
{
	if (queue < 0) {
		dispatcher_refuse(engine->dispatcher, dispatch, origin, "there are more queues than one orchestrator serves");
		return;
	}
	dispatch->trace = cell_trace(engine->cell);
	dispatch->stamp.queue = slice_of(cell_queue_name(engine->cell, queue));
	dispatcher_send(engine->dispatcher, queue, partition, dispatch, origin);
}

void engine_dispatch(struct engine *engine, const PGresult *rows, int row, int column, int queue, struct slice result, struct origin origin)
{
	struct dispatch dispatch = {.result = result};
	struct stamp *stamp = &dispatch.stamp;
	row_uuid(rows, row, column, dispatch.uuid);
	row_uuid(rows, row, column + 1, stamp->operation);
	stamp->position = row_int4(rows, row, column + 2);
	stamp->attempt = row_int4(rows, row, column + 3);
	stamp->generation = row_int8(rows, row, column + 4);
	stamp->epoch = row_int8(rows, row, column + 5);
	read_message(rows, row, column + 7, &dispatch);
	send_dispatch(engine, queue, row_int4(rows, row, column + 6), &dispatch, origin);
}

void engine_dispatch_next(struct engine *engine, const PGresult *rows, int row, int column, const struct stamp *before, int queue, int32_t partition, struct slice result,
	struct origin origin)
{
	struct dispatch dispatch = {.result = result};
	struct stamp *stamp = &dispatch.stamp;
	row_uuid(rows, row, column, dispatch.uuid);
	uuid_copy(stamp->operation, before->operation);
	stamp->position = before->position + 1;
	stamp->attempt = row_int4(rows, row, column + 1);
	stamp->generation = before->generation;
	stamp->epoch = row_int8(rows, row, column + 2);
	read_message(rows, row, column + 3, &dispatch);
	send_dispatch(engine, queue, partition, &dispatch, origin);
}

enum status engine_end_task(struct engine *engine, const struct refused *refused)
{
	char position[8], attempt[8], generation[8];
	PGresult *result CLEANUP(result_clear) = NULL;
	struct error err;
	const struct parameter parameters[] = {parameter_uuid(refused->operation), parameter_int4(position, refused->position), parameter_uuid(refused->uuid),
		parameter_int4(attempt, refused->attempt), parameter_int8(generation, refused->generation), parameter_text(refused->reason)};
	return engine_run(engine, engine_statement("undeliverable.sql"), parameters, COUNT_OF(parameters), false, &result, &err);
}

void engine_settle_refused(struct engine *engine, dispatcher_acknowledged *finished, void *context)
{
	for (struct refused refused; dispatcher_take_refused(engine->dispatcher, &refused);) {
		char operation[UUID_STR_LEN];
		uuid_unparse_lower(refused.operation, operation);
		log_error("a task cannot be delivered", "operation", operation, "position", LOG_INT(refused.position), "error", refused.reason);
		if (engine_end_task(engine, &refused) == E_RETRY)
			return; /* stopping: the reply comes again */
		if (refused.origin.partition >= 0)
			finished(context, refused.origin);
	}
}
