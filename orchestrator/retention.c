#include "orchestrator/retention.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/memory.h"
#include "common/thread.h"
#include "orchestrator/array.h"
#include "orchestrator/engine.h"
#include "orchestrator/rows.h"

#define BATCH_OPERATIONS 1000
#define BATCH_MS 100       /* from one batch to the next, at least; and never less than twice what it took */
#define PASS_MS 10000      /* from one pass to the next */
#define WHOLE_MS 3600000   /* from one that begins at the oldest operation to the next */
#define LOOK_MS 1000       /* between two looks whether this process has the role */

/* Columns of the statements. */
enum { DELETED, NEXT };

struct retention {
	struct engine engine;
	pthread_t thread;
	char age[32];        /* the setting, as an interval */
	uint32_t term;       /* of the pass */
	bool whole;          /* the pass begins at the oldest */
	int64_t whole_ms;    /* when the last such one of this term that came to its end began; 0: none did */
	bool begun;          /* the pass has a place to go on from: */
	uuid_t after;        /* of the operations */
	int64_t after_entry; /* of the history */
	int64_t deleted;     /* operations since that was told */
};

/* Only the keeper deletes; also not when its sign of life is overdue, which mostly means that the database is slow. */
static bool is_wanted(const struct retention *retention)
{
	const struct cell *cell = retention->engine.cell;
	return !cell_stopping(cell) && cell_term(cell) == retention->term && cell_may_dispatch(cell);
}

static enum status call(struct retention *retention, const char *statement, const struct parameter *parameters, int count, PGresult **row)
{
	struct error err;
	enum status status = engine_run(&retention->engine, engine_statement(statement), parameters, count, true, row, &err);
	if (status)
		log_debug("could not delete what is old", "statement", statement, "error", err.text);
	return status;
}

/* True: there is more to look at. */
static bool purge_operations(struct retention *retention)
{
	char room[2][8];
	PGresult *row CLEANUP(result_clear) = NULL;
	struct parameter after = parameter_uuid(retention->after);
	if (!retention->begun)
		after.bytes = NULL;
	const struct parameter parameters[] = {{.type = 1186, .bytes = retention->age}, after, parameter_int4(room[0], BATCH_OPERATIONS), parameter_bool(room[1], !retention->whole)};
	if (call(retention, "purge.sql", parameters, COUNT_OF(parameters), &row))
		return false;
	retention->deleted += row_int4(row, 0, DELETED);
	metric_add(cell_measures(retention->engine.cell)->purged, row_int4(row, 0, DELETED));
	if (row_null(row, 0, NEXT))
		return false;
	retention->begun = true;
	row_uuid(row, 0, NEXT, retention->after);
	return true;
}

static bool purge_history(struct retention *retention)
{
	char room[2][8];
	PGresult *row CLEANUP(result_clear) = NULL;
	const struct parameter parameters[] = {{.type = 1186, .bytes = retention->age}, parameter_int8(room[0], retention->after_entry), parameter_int4(room[1], BATCH_OPERATIONS)};
	if (call(retention, "purge_history.sql", parameters, COUNT_OF(parameters), &row) || row_null(row, 0, NEXT))
		return false;
	retention->after_entry = row_int8(row, 0, NEXT);
	return true;
}

static bool purge_workers(struct retention *retention)
{
	PGresult *row CLEANUP(result_clear) = NULL;
	(void)call(retention, "purge_workers.sql", (struct parameter[]){{.type = 1186, .bytes = retention->age}}, 1, &row);
	return false;
}

/* One batch after the other, as long as there is more; half of the time it does nothing. */
static void go_on(struct retention *retention, bool (*batch)(struct retention *))
{
	for (bool more = true; more && is_wanted(retention);) {
		int64_t began_ms = clock_monotonic_ms();
		more = batch(retention);
		int64_t took_ms = clock_monotonic_ms() - began_ms;
		if (more)
			(void)cell_pause(retention->engine.cell, took_ms > BATCH_MS / 2 ? took_ms : BATCH_MS - took_ms);
	}
}

static void pass(struct retention *retention, uint32_t term)
{
	int64_t now_ms = clock_monotonic_ms();
	if (term != retention->term)
		retention->whole_ms = 0;
	retention->term = term;
	retention->whole = retention->whole_ms == 0 || now_ms - retention->whole_ms >= WHOLE_MS;
	retention->begun = false;
	retention->after_entry = 0;
	go_on(retention, purge_operations);
	if (!retention->whole || !is_wanted(retention))
		return;
	go_on(retention, purge_history);
	go_on(retention, purge_workers);
	retention->whole_ms = now_ms;
	if (retention->deleted > 0)
		log_info("deleted operations that ended long ago", "count", LOG_INT(retention->deleted), "older_than", retention->age);
	retention->deleted = 0;
}

static void *retention_run(void *argument)
{
	struct retention *retention = argument;
	struct cell *cell = retention->engine.cell;
	while (!cell_stopping(cell)) {
		uint32_t term = cell_term(cell);
		if (term)
			pass(retention, term);
		(void)cell_pause(cell, term ? PASS_MS : LOOK_MS);
	}
	return NULL;
}

enum status retention_open(struct cell *cell, struct retention **retention, struct error *err)
{
	*retention = NULL;
	if (cell_settings(cell)->retention_ms == 0)
		return E_OK;
	struct retention *made = xcalloc(1, sizeof *made);
	made->engine = (struct engine){.cell = cell, .who = "retention", .thread = CELL_THREADS_MAX - 4};
	snprintf(made->age, sizeof made->age, "%" PRId64 " ms", cell_settings(cell)->retention_ms);
	if (thread_start(&made->thread, "kser-retention", retention_run, made) != 0) {
		engine_clear(&made->engine);
		free_pointer(&made);
		return fail(err, E_FATAL, "cannot start the thread that deletes old operations");
	}
	*retention = made;
	return E_OK;
}

void retention_close(struct retention *retention)
{
	if (!retention)
		return;
	pthread_join(retention->thread, NULL);
	engine_clear(&retention->engine);
	free_pointer(&retention);
}
