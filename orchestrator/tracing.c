#include "orchestrator/tracing.h"

#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "common/log.h"
#include "common/memory.h"
#include "common/trace.h"
#include "orchestrator/array.h"
#include "orchestrator/engine.h"
#include "orchestrator/rows.h"

#define TAKE_MS 500    /* between two looks */
#define TAKE_ROWS 2000 /* at a time */
#define FLUSH_MS 2000

/* Columns of the statement. */
enum { OPERATION, NAME, OF_QUEUE, METADATA, CREATED_US, STARTED_US, FINISHED_US, STATUS, RETCODE, ERROR, REASON };

struct tracing {
	struct engine engine;
	struct otlp *otlp;
	pthread_t thread;
	bool running;
	struct buffer name;
};

/* When it was started, or when it ended: one that never ran took no time. Attribute by attribute what a reader asks first. */
static void export_row(struct tracing *tracing, const PGresult *rows, int row)
{
	uuid_t operation;
	char id[UUID_STR_LEN];
	struct trace_span parent;
	struct slice metadata = row_text(rows, row, METADATA);
	bool has_parent = trace_find((struct json_value){JSON_OBJECT, metadata}, &parent);
	bool started = !row_null(rows, row, STARTED_US), failed = !slice_is(row_text(rows, row, STATUS), "SUCCESS");
	row_uuid(rows, row, OPERATION, operation);
	uuid_unparse_lower(operation, id);
	buffer_reset(&tracing->name);
	buffer_add_slice(&tracing->name, row_text(rows, row, NAME));
	buffer_printf(&tracing->name, "[%s] - Execute", id);
	struct span_attribute attributes[] = {{.key = "kser.operation", .text = slice_of(id)}, {.key = "kser.name", .text = row_text(rows, row, NAME)},
		{.key = "kser.queue", .text = row_text(rows, row, OF_QUEUE)}, {.key = "kser.status", .text = row_text(rows, row, STATUS)},
		{.key = "kser.retcode", .number = row_int4(rows, row, RETCODE)},
		{.key = "kser.waited_ms", .number = (row_int8(rows, row, started ? STARTED_US : FINISHED_US) - row_int8(rows, row, CREATED_US)) / 1000}};
	struct span span = {.parent = has_parent ? parent.id : NULL, .kind = SPAN_INTERNAL, .name = buffer_slice(&tracing->name),
		.start_us = row_int8(rows, row, started ? STARTED_US : FINISHED_US), .end_us = row_int8(rows, row, FINISHED_US), .attributes = attributes,
		.attribute_count = COUNT_OF(attributes), .failed = failed, .error = row_text(rows, row, ERROR), .reason = row_text(rows, row, REASON)};
	trace_of_operation(operation, has_parent ? &parent : NULL, cell_trace(tracing->engine.cell) == DISPATCH_TRACED_SHORT, &span.at);
	otlp_add(tracing->otlp, &span);
}

/* How many there were; 0 also when the database could not be asked. */
static int take(struct tracing *tracing)
{
	struct error err;
	char room[8];
	PGresult *rows CLEANUP(result_clear) = NULL;
	if (engine_run(&tracing->engine, engine_statement("take_ended.sql"), (struct parameter[]){parameter_int4(room, TAKE_ROWS)}, 1, true, &rows, &err))
		return 0;
	for (int row = 0; row < PQntuples(rows); row++)
		export_row(tracing, rows, row);
	return PQntuples(rows);
}

static void *tracing_run(void *argument)
{
	struct tracing *tracing = argument;
	while (!cell_stopping(tracing->engine.cell))
		if (take(tracing) < TAKE_ROWS)
			(void)cell_pause(tracing->engine.cell, TAKE_MS);
	return NULL;
}

enum status tracing_open(struct cell *cell, struct tracing **tracing, struct error *err)
{
	char host[64] = "", instance[80];
	struct otlp *otlp;
	gethostname(host, sizeof host - 1);
	snprintf(instance, sizeof instance, "%s:%d", host, (int)getpid());
	*tracing = NULL;
	enum status status = otlp_open(&cell_settings(cell)->otlp, instance, &otlp, err);
	if (status || !otlp)
		return status;
	struct tracing *made = xcalloc(1, sizeof *made);
	made->engine = (struct engine){.cell = cell, .who = "tracing", .thread = CELL_THREADS_MAX - 3};
	made->otlp = otlp;
	made->running = pthread_create(&made->thread, NULL, tracing_run, made) == 0;
	*tracing = made;
	return made->running ? E_OK : fail(err, E_FATAL, "cannot start the thread that exports operations");
}

void tracing_close(struct tracing *tracing)
{
	if (!tracing)
		return;
	if (tracing->running) {
		pthread_join(tracing->thread, NULL);
		while (connection_usable(tracing->engine.connection) && take(tracing) == TAKE_ROWS)
			continue;
	}
	engine_clear(&tracing->engine);
	otlp_close(tracing->otlp, FLUSH_MS);
	buffer_clear(&tracing->name);
	free_pointer(&tracing);
}
