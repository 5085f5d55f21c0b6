/*
 * bench-bare DATABASE BATCH: the bare-Postgres loop that kser's throughput is compared with. One connection,
 * one prepared statement with binary arrays, one commit for each batch; no messages, no checks.
 * Prints steps per second.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/memory.h"
#include "orchestrator/array.h"
#include "orchestrator/rows.h"
#include "sql/connection.h"

#define STEPS 10

static struct embedded_file read_file(const char *path)
{
	static char text[4096];
	FILE *file = fopen(path, "r");
	if (!file)
		exit(EXIT_FAILURE);
	size_t length = fread(text, 1, sizeof text - 1, file);
	text[length] = '\0';
	fclose(file);
	return (struct embedded_file){.name = path, .bytes = text, .length = length};
}

static PGresult *run(struct connection *connection, const struct embedded_file *statement, const struct parameter *parameters, int count)
{
	struct error err;
	PGresult *result;
	if (connection_run(connection, statement, parameters, count, true, 60000, &result, &err)) {
		fprintf(stderr, "bench-bare: %s\n", err.text);
		exit(EXIT_FAILURE);
	}
	return result;
}

/* All operations, one step at a time, in batches. */
static int64_t run_steps(struct connection *connection, const struct embedded_file *statement, const PGresult *ids, int batch)
{
	struct array operations = {0}, positions = {0};
	int64_t steps = 0;
	for (int position = 0; position < STEPS; position++)
		for (int from = 0; from < PQntuples(ids); from += batch) {
			array_begin(&operations, ARRAY_UUID);
			array_begin(&positions, ARRAY_INT4);
			for (int row = from; row < PQntuples(ids) && row < from + batch; row++, steps++) {
				array_add_bytes(&operations, row_text(ids, row, 0));
				array_add_int4(&positions, position);
			}
			PQclear(run(connection, statement, (struct parameter[]){array_parameter(&operations), array_parameter(&positions)}, 2));
		}
	array_clear(&operations);
	array_clear(&positions);
	return steps;
}

int main(int argc, char **argv)
{
	struct error err;
	struct connection *connection;
	if (argc != 4) {
		fprintf(stderr, "usage: bench-bare DATABASE BATCH FOLDER_OF_SQL\n");
		return 2;
	}
	char setup[500], step[500];
	snprintf(setup, sizeof setup, "%s/bare_setup.sql", argv[3]);
	snprintf(step, sizeof step, "%s/bare_step.sql", argv[3]);
	if (connection_open(argv[1], "bench-bare", CONNECTION_ENGINE, &connection, &err) || connection_script(connection, read_file(setup).bytes, 60000, &err)) {
		fprintf(stderr, "bench-bare: %s\n", err.text);
		return EXIT_FAILURE;
	}
	const struct embedded_file all = {.name = "all", .bytes = "select id from bare.operations order by id"}, statement = read_file(step);
	PGresult *ids = run(connection, &all, NULL, 0);
	int64_t start_us = clock_monotonic_us(), steps = run_steps(connection, &statement, ids, (int)strtol(argv[2], NULL, 10));
	printf("%.0f\n", (double)steps * 1e6 / (double)(clock_monotonic_us() - start_us));
	PQclear(ids);
	connection_close(connection);
	return EXIT_SUCCESS;
}
