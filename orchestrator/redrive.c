#include "orchestrator/redrive.h"

#include <assert.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/memory.h"
#include "orchestrator/rows.h"

#define INTERVAL_MS 1000

void redrive_acknowledged(struct redrive *redrive, struct origin origin)
{
	assert(redrive->count < REDRIVE_AT_ONCE);
	redrive->ids[redrive->count++] = origin.offset;
}

static void take(struct redrive *redrive, struct engine *engine)
{
	struct error err;
	char room[8];
	PGresult *rows CLEANUP(result_clear) = NULL;
	redrive->begun_ms = clock_monotonic_ms();
	if (engine_run(engine, engine_statement("take_redrive.sql"), (struct parameter[]){parameter_int4(room, REDRIVE_AT_ONCE)}, 1, true, &rows, &err))
		return;
	for (int row = 0; row < PQntuples(rows) && row < REDRIVE_AT_ONCE; row++) {
		char *topic CLEANUP(free_pointer) = xstrndup(row_text(rows, row, 1).start, row_text(rows, row, 1).length);
		redrive->sent++;
		dispatcher_forward(engine->dispatcher, topic, row_text(rows, row, 2), (struct origin){.partition = 0, .offset = row_int8(rows, row, 0)});
	}
}

static void finish(struct redrive *redrive, struct engine *engine)
{
	struct error err;
	PGresult *result CLEANUP(result_clear) = NULL;
	redrive->begun_ms = clock_monotonic_ms();
	if (redrive->count == 0) {
		redrive->sent = 0;
		return;
	}
	array_begin(&redrive->array, ARRAY_INT8);
	for (size_t i = 0; i < redrive->count; i++)
		array_add_int8(&redrive->array, redrive->ids[i]);
	if (engine_run(engine, engine_statement("redriven.sql"), (struct parameter[]){array_parameter(&redrive->array)}, 1, true, &result, &err))
		return; /* somebody holds their rows: tried again, or they would be sent again */
	log_info("dead letters are on their topics again", "count", LOG_INT(redrive->count));
	redrive->sent = redrive->count = 0;
}

void redrive_go_on(struct redrive *redrive, struct engine *engine, bool wanted)
{
	bool due = clock_monotonic_ms() - redrive->begun_ms >= INTERVAL_MS;
	if (redrive->sent > 0 && due && dispatcher_forwarding(engine->dispatcher) == 0)
		finish(redrive, engine);
	else if (redrive->sent == 0 && due && wanted)
		take(redrive, engine);
}

void redrive_clear(struct redrive *redrive)
{
	array_clear(&redrive->array);
}
