#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/session.h"

struct purge_options {
	int64_t older_than_ms;
	bool dry_run;
};

/* What was deleted, or would be. */
struct purged {
	int64_t operations, tasks, history, workers, entrypoints;
};

/* A purge under way. */
struct purge {
	struct connection *connection;
	char age[32];   /* as an interval */
	char after[64]; /* where to go on; "": from the first on */
	struct purged purged;
};

static int64_t number(const PGresult *row, const char *column)
{
	return strtoll(PQgetvalue(row, 0, PQfnumber(row, column)), NULL, 10);
}

/* One batch; false in *more: it was the last one. */
static enum status run_batch(struct purge *purge, const char *statement, PGresult **row, bool *more, struct error *err)
{
	enum status status = session_run(purge->connection, statement, (const char *[]){purge->age, purge->after[0] ? purge->after : NULL}, 2, row, err);
	if (status)
		return status;
	snprintf(purge->after, sizeof purge->after, "%s", PQgetvalue(*row, 0, PQfnumber(*row, "next"))); /* null: "" */
	*more = purge->after[0];
	return E_OK;
}

static enum status purge_operations(struct purge *purge, const char *statement, struct error *err)
{
	enum status status = E_OK;
	for (bool more = true; more && !status;) {
		PGresult *row CLEANUP(result_clear) = NULL;
		status = run_batch(purge, statement, &row, &more, err);
		if (!status) {
			purge->purged.operations += number(row, "operations");
			purge->purged.tasks += number(row, "tasks");
		}
	}
	return status;
}

static enum status purge_history(struct purge *purge, struct error *err)
{
	enum status status = E_OK;
	purge->after[0] = '\0';
	for (bool more = true; more && !status;) {
		PGresult *row CLEANUP(result_clear) = NULL;
		status = run_batch(purge, "purge_history.sql", &row, &more, err);
		if (!status)
			purge->purged.history += number(row, "deleted");
	}
	return status;
}

static enum status purge_workers(struct purge *purge, struct error *err)
{
	PGresult *row CLEANUP(result_clear) = NULL;
	enum status status = session_run(purge->connection, "purge_workers.sql", (const char *[]){purge->age}, 1, &row, err);
	if (status)
		return status;
	purge->purged.workers = number(row, "workers");
	purge->purged.entrypoints = number(row, "entrypoints");
	return E_OK;
}

static enum status run_all(struct purge *purge, bool dry_run, struct error *err)
{
	enum status status = purge_operations(purge, dry_run ? "purge_look.sql" : "purge.sql", err);
	if (!status && !dry_run)
		status = purge_history(purge, err);
	if (!status && !dry_run)
		status = purge_workers(purge, err);
	return status;
}

static void print_purged(const struct purged *purged, bool dry_run, enum output_format format)
{
	if (format == OUTPUT_TABLE || format == OUTPUT_IDS) {
		printf("%s %" PRId64 " operations with %" PRId64 " tasks\n", dry_run ? "would delete" : "deleted", purged->operations, purged->tasks);
		if (purged->history + purged->workers + purged->entrypoints > 0)
			printf("deleted %" PRId64 " rows of history without an operation, %" PRId64 " workers, %" PRId64 " entrypoints\n", purged->history, purged->workers, purged->entrypoints);
		return;
	}
	printf("{\"dry_run\":%s,\"operations\":%" PRId64 ",\"tasks\":%" PRId64, dry_run ? "true" : "false", purged->operations, purged->tasks);
	if (!dry_run)
		printf(",\"history\":%" PRId64 ",\"workers\":%" PRId64 ",\"entrypoints\":%" PRId64, purged->history, purged->workers, purged->entrypoints);
	printf("}\n");
}

static enum exit_code run_purge(const struct invocation *invocation)
{
	const struct purge_options *options = invocation->options;
	struct connection *connection CLEANUP(connection_close_pointer) = NULL;
	struct error err = {0};
	if (options->older_than_ms < 0) {
		fail(&err, E_INVALID, "expected --older-than TIME: what ended longer ago is deleted");
		return complain(&err);
	}
	enum exit_code code = session_open(invocation, true, &connection);
	if (code != EXIT_OK)
		return code;
	struct purge purge = {.connection = connection};
	snprintf(purge.age, sizeof purge.age, "%" PRId64 " ms", options->older_than_ms);
	enum status status = run_all(&purge, options->dry_run, &err);
	/* Each batch is committed: what was done before an error is told all the same. */
	if (!status || purge.purged.operations > 0)
		print_purged(&purge.purged, options->dry_run, invocation->common.format);
	return status ? complain(&err) : EXIT_OK;
}

static const struct option_row rows[] = {
	{.setting = {.name = "older-than", .kind = SETTING_DURATION, .offset = offsetof(struct purge_options, older_than_ms), .min = 0, .max = 315360000000,
		.help = "what ended longer ago than that; 0s: all that has ended"}, .argument = "TIME"},
	{.setting = {.name = "dry-run", .kind = SETTING_FLAG, .offset = offsetof(struct purge_options, dry_run),
		.help = "only count"}},
};

const struct command command_db_purge = {
	.name = "db purge",
	.arguments = "",
	.summary = "delete operations that ended long ago, for good",
	.details =
		"With their tasks and history, in short transactions that hold up nobody; what is locked\n"
		"is left for the next time. Then history without an operation, and workers and entrypoints\n"
		"that nobody has heard of for so long. Dead letters stay (kser dead drop). Unfinished\n"
		"operations are never touched. Interrupted, it has deleted some; run it again.\n"
		"An orchestrator does the same all the time with its setting retention.\n",
	.examples = "  kser db purge --older-than 30d --dry-run\n",
	.options = rows,
	.option_count = COUNT_OF(rows),
	.defaults = &(const struct purge_options){.older_than_ms = -1},
	.options_size = sizeof(struct purge_options),
	.formats = true,
	.database = true,
	.run = run_purge,
};
