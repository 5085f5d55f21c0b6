#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/answers.h"
#include "cli/commands.h"
#include "cli/input.h"
#include "cli/operations.h"
#include "common/clock.h"

/* Operations steered in one transaction: none of them is locked for long. */
#define VERB_CHUNK 100

/* How long operations that others have locked are tried again. Forgotten transactions with a verb end after 10 s. */
#define MOVED_MS 15000

struct verb_options {
	const char *reason;
	const char *status;
	const char *name;
	const char *queue;
	bool yes;
	bool force;
	int64_t deadline_ms;
};

/* One run of a verb. */
struct steering {
	const struct invocation *invocation;
	const struct verb_options *options;
	struct connection *connection;
	struct output output;
	enum exit_code code; /* the worst so far */
};

static enum exit_code worse(enum exit_code one, enum exit_code other)
{
	return one > other ? one : other;
}

static enum status call_verb(const struct steering *steering, const char *ids, PGresult **rows, struct error *err)
{
	const struct verb_options *options = steering->options;
	char statement[32], deadline[24];
	const char *name = steering->invocation->command->name;
	snprintf(statement, sizeof statement, "%s.sql", name);
	snprintf(deadline, sizeof deadline, "%" PRId64, options->deadline_ms);
	const char *parameters[] = {ids, options->reason, options->force ? "true" : "false", options->deadline_ms ? deadline : NULL};
	return session_run(steering->connection, statement, parameters, strcmp(name, "retry") == 0 ? 4 : 2, rows, err);
}

static void add_ids(struct buffer *ids, const PGresult *rows)
{
	buffer_reset(ids);
	for (int row = 0; row < PQntuples(rows); row++)
		buffer_printf(ids, "%c%s", row ? ',' : '{', PQgetvalue(rows, row, 0));
	buffer_add_text(ids, PQntuples(rows) ? "}" : "{}");
}

static void tell_answers(struct steering *steering, const PGresult *rows)
{
	if (PQntuples(rows) == 0)
		return;
	output_rows(&steering->output, rows);
	fflush(stdout);
	steering->code = worse(steering->code, answers_outcome(rows));
}

/* `ids`: the text of a uuid[]; what others have locked is tried again for a while. */
static enum status steer(struct steering *steering, struct buffer *ids, struct error *err)
{
	int64_t until = clock_monotonic_ms() + MOVED_MS;
	for (int64_t pause = 0; strcmp(ids->bytes, "{}") != 0; operations_pause(&pause)) {
		PGresult *rows CLEANUP(result_clear) = NULL;
		enum status status = call_verb(steering, ids->bytes, &rows, err);
		if (status)
			return status;
		PGresult *settled CLEANUP(result_clear) = answers_where(rows, false), *moved CLEANUP(result_clear) = answers_where(rows, true);
		tell_answers(steering, settled);
		add_ids(ids, moved);
		if (clock_monotonic_ms() < until)
			continue;
		tell_answers(steering, moved);
		break;
	}
	return E_OK;
}

static enum status steer_named(struct steering *steering, const struct buffer *all, int count, struct error *err)
{
	struct buffer ids CLEANUP(buffer_clear) = {0};
	enum status status = E_OK;
	for (int first = 0; first < count && !status; first += VERB_CHUNK) {
		buffer_reset(&ids);
		for (int i = first; i < count && i < first + VERB_CHUNK; i++) {
			char id[INPUT_ID_LENGTH + 1];
			input_id(all, i, id);
			buffer_printf(&ids, "%c%s", i > first ? ',' : '{', id);
		}
		buffer_add_char(&ids, '}');
		status = steer(steering, &ids, err);
	}
	return status;
}

/* Does it with --yes; else only shows which it would be. */
static enum status steer_filtered(struct steering *steering, struct error *err)
{
	const struct verb_options *options = steering->options;
	struct buffer ids CLEANUP(buffer_clear) = {0};
	char last[40] = "", limit[16];
	int64_t found = 0;
	snprintf(limit, sizeof limit, "%d", VERB_CHUNK);
	for (int got = VERB_CHUNK; got == VERB_CHUNK;) {
		PGresult *rows CLEANUP(result_clear) = NULL;
		const char *parameters[] = {NULL, options->status, options->name, last[0] ? last : NULL, limit, options->queue, steering->invocation->command->name};
		enum status status = session_run(steering->connection, "operations.sql", parameters, 7, &rows, err);
		if (status)
			return status;
		got = PQntuples(rows);
		found += got;
		add_ids(&ids, rows);
		if (got > 0)
			snprintf(last, sizeof last, "%s", PQgetvalue(rows, got - 1, 0));
		if (!options->yes)
			output_rows(&steering->output, rows);
		else if (steer(steering, &ids, err))
			return err->status;
	}
	if (found == 0) {
		fprintf(stderr, "kser: no operation matches that %s can be done to\n", steering->invocation->command->name);
		steering->code = EXIT_MISSING;
	} else if (!options->yes)
		fprintf(stderr, "kser: %s would be asked of %" PRId64 " operation%s; to do it, say --yes\n", steering->invocation->command->name, found, found == 1 ? "" : "s");
	return E_OK;
}

static enum exit_code run_verb(const struct invocation *invocation)
{
	struct steering steering = {.invocation = invocation, .options = invocation->options};
	const struct verb_options *options = invocation->options;
	struct buffer ids CLEANUP(buffer_clear) = {0};
	struct connection *connection CLEANUP(connection_close_pointer) = NULL;
	struct error err = {0};
	int count = 0;
	bool filtered = options->status || options->name || options->queue;
	if (filtered == (invocation->argument_count > 0)) {
		fail(&err, E_INVALID, "expected ids (or -), or --status, --name, --queue: which operations?");
		return complain(&err);
	}
	if (operations_check_status(options->status, &err))
		return complain(&err);
	if (!filtered && input_ids(invocation->arguments, invocation->argument_count, &ids, &count, &err))
		return complain(&err);
	enum exit_code code = session_open(invocation, true, &connection);
	if (code != EXIT_OK)
		return code;
	steering.connection = connection;
	bool shows = filtered && !options->yes;
	output_begin(&steering.output, invocation->common.format, shows ? operation_columns : answer_columns, shows ? operation_column_count : answer_column_count);
	enum status status = filtered ? steer_filtered(&steering, &err) : steer_named(&steering, &ids, count, &err);
	output_end(&steering.output);
	return status ? complain(&err) : steering.code;
}

#define AT(member) offsetof(struct verb_options, member)

/* retry has all of them, the others the first ones. */
static const struct option_row rows[] = {
	{.setting = {.name = "reason", .kind = SETTING_TEXT, .offset = AT(reason),
		.help = "why; kept in kser.history"}, .letter = 'r', .argument = "TEXT"},
	{.setting = {.name = "status", .kind = SETTING_TEXT, .offset = AT(status),
		.help = "instead of ids: those of this status that it can be done to"}, .letter = 's', .argument = "STATUS"},
	{.setting = {.name = "name", .kind = SETTING_TEXT, .offset = AT(name),
		.help = "instead of ids: those of this name; * is any letters, ? is one"}, .argument = "NAME"},
	{.setting = {.name = "queue", .kind = SETTING_TEXT, .offset = AT(queue),
		.help = "instead of ids: those of this queue"}, .argument = "QUEUE"},
	{.setting = {.name = "yes", .kind = SETTING_FLAG, .offset = AT(yes),
		.help = "do it; without, operations found by a filter are only shown"}, .letter = 'y'},
	{.setting = {.name = "force", .kind = SETTING_FLAG, .offset = AT(force),
		.help = "also where the last attempt may still run"}},
	{.setting = {.name = "deadline", .kind = SETTING_DURATION, .offset = AT(deadline_ms), .min = 1, .max = 315360000000,
		.help = "a new deadline, so long from now; needed when it has passed"}, .argument = "TIME"},
};
#define ROWS_OF_ALL (COUNT_OF(rows) - 2)

#define VERB(NAME, SUMMARY, DETAILS, EXAMPLES, COUNT) \
	{ \
		.name = NAME, .arguments = "ID...|-", .summary = SUMMARY, .details = DETAILS VERB_DETAILS, .examples = EXAMPLES, .options = rows, .option_count = COUNT, \
		.defaults = &(const struct verb_options){0}, .options_size = sizeof(struct verb_options), .arguments_max = INT32_MAX, .formats = true, .database = true, .run = run_verb, \
	}

#define VERB_DETAILS \
	"\nOne line for each id; - reads ids from standard input. Exit status: 4: one does not\n" \
	"exist, or no operation matches, 5: one was refused (and says why). Filters show what they\n" \
	"find; with --yes they do it.\n"

const struct command command_cancel = VERB("cancel", "end operations that have not ended",
	"withdrawn: nothing was running, it is FAILED (Cancelled) now. asked: its task runs and is\n"
	"told to stop; it is FAILED when the worker says so, after five seconds at the latest.\n",
	"  kser cancel 019a1b2c-0000-7000-8000-000000000000 --reason 'wrong host'\n"
	"  kser cancel --name nightly --status PENDING --yes\n", ROWS_OF_ALL);

const struct command command_pause = VERB("pause", "hold operations: no further task of theirs starts",
	"A task that runs goes on, and its result counts.\n",
	"  kser pause --queue gpu --reason 'driver update' --yes\n", ROWS_OF_ALL);

const struct command command_resume = VERB("resume", "let paused operations go on",
	"From where they stood; a task that waited for its next try still waits until then.\n",
	"  kser resume --queue gpu --yes\n", ROWS_OF_ALL);

const struct command command_retry = VERB("retry", "run FAILED operations again, from the task that failed",
	"Tasks that succeeded are not run again; failures are counted from 0. Refused while the\n"
	"last attempt may still run: a worker holds it, or nothing was heard of it.\n",
	"  kser ls --status FAILED --name nightly -o ids | kser retry - --reason 'disk replaced'\n"
	"  kser retry 019a1b2c-0000-7000-8000-000000000000 --deadline 2h\n", COUNT_OF(rows));
