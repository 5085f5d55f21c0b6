#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/dev_broker.h"
#include "cli/dev_child.h"
#include "cli/dev_place.h"
#include "cli/dev_postgres.h"
#include "cli/session.h"
#include "common/clock.h"
#include "common/memory.h"
#include "common/settings.h"
#include "common/sibling.h"
#include "sql/schema.h"

#define READY_TIMEOUT_MS 60000
#define READY_LOOK_MS 50

/* A worker finishes what runs, up to its own drain limit, which is shorter. */
#define WORKER_STOP_MS 30000
#define ORCHESTRATOR_STOP_MS 15000

#define SETTINGS_MAX 24

struct dev_options {
	const char *directory;
	bool no_worker;
	const char *worker_config;
	const char *brokers;
	const char *database;
	const char *postgres_bin;
};

struct dev {
	const struct dev_options *options;
	struct place place;
	struct dev_postgres postgres;
	struct dev_broker *broker;
	struct child orchestrator;
	struct child worker;
	struct connection *connection;
	struct buffer url;
	char since[40]; /* the database's clock when the stack began */
	char *settings[SETTINGS_MAX + 1]; /* NAME=VALUE: what the children and DIR/env get */
	size_t setting_count;
};

static void add_setting(struct dev *dev, const char *name, const char *value)
{
	struct buffer text = {0};
	if (dev->setting_count == SETTINGS_MAX)
		return;
	buffer_printf(&text, "%s=%s", name, value);
	dev->settings[dev->setting_count++] = text.bytes;
}

static const char *const *settings_of(const struct dev *dev)
{
	return (const char *const *)dev->settings;
}

/* For psql and other programs of PostgreSQL: what the URL says, under libpq's own names. */
static enum status add_libpq_settings(struct dev *dev, struct error *err)
{
	PQconninfoOption *parsed;
	enum status status = session_parse(dev->url.bytes, &parsed, err);
	for (const PQconninfoOption *option = parsed; option && option->keyword; option++)
		if (option->val && option->envvar)
			add_setting(dev, option->envvar, option->val);
	PQconninfoFree(parsed);
	return status;
}

static enum status start_place(struct dev *dev, struct error *err)
{
	enum status status = place_open(&dev->place, dev->options->directory, err);
	if (!status)
		printf("starting in %s\n", dev->place.directory);
	return status;
}

static enum status start_database(struct dev *dev, struct error *err)
{
	const char *given = dev->options->database;
	char log[PATH_MAX];
	enum status status = E_OK;
	if (given) {
		buffer_add_text(&dev->url, given);
	} else {
		place_log(&dev->place, "postgres", log);
		status = dev_postgres_make(&dev->postgres, dev->place.own, dev->options->postgres_bin, log, err);
		if (!status)
			status = dev_postgres_start(&dev->postgres, err);
		dev_postgres_add_url(&dev->url, &dev->postgres, DEV_POSTGRES_DATABASE);
	}
	if (status)
		return status;
	add_setting(dev, "KSER_DATABASE_URL", dev->url.bytes);
	printf("  PostgreSQL    %s\n", given ? "as given" : dev->url.bytes);
	return add_libpq_settings(dev, err);
}

static enum status start_broker(struct dev *dev, struct error *err)
{
	const char *prefix = settings_environment("KSER_TOPIC_PREFIX");
	if (dev->options->brokers) {
		add_setting(dev, "KSER_BROKERS", dev->options->brokers);
		printf("  Kafka         as given\n");
		return E_OK;
	}
	enum status status = dev_broker_start(prefix ? prefix : "kser", &dev->broker, err);
	if (status)
		return status;
	add_setting(dev, "KSER_BROKERS", dev_broker_address(dev->broker));
	add_setting(dev, "KSER_KAFKA_FETCH_WAIT_MAX_MS", DEV_BROKER_FETCH_WAIT_MS);
	printf("  Kafka         %s (embedded, in memory)\n", dev_broker_address(dev->broker));
	return E_OK;
}

static enum status migrate(struct dev *dev, struct error *err)
{
	PGresult *now CLEANUP(result_clear) = NULL;
	enum status status = connection_open(dev->url.bytes, "kser dev", CONNECTION_USER, &dev->connection, err);
	if (!status)
		status = schema_migrate(dev->connection, NULL, err);
	if (!status)
		status = session_run(dev->connection, "dev_clock.sql", NULL, 0, &now, err);
	if (!status)
		snprintf(dev->since, sizeof dev->since, "%s", PQgetvalue(now, 0, 0));
	return status;
}

/* With one option of its own, or none (NULL). */
static enum status start_program(struct dev *dev, struct child *child, const char *name, char *option, char *value, struct error *err)
{
	char path[PATH_MAX];
	char *arguments[] = {path, option, value, NULL};
	child->name = name;
	place_log(&dev->place, name + strlen("kser-"), child->log);
	enum status status = sibling_find(name, path, err);
	return status ? status : child_start(child, &(struct child_start){NULL, "KILL", NULL, arguments, settings_of(dev)}, err);
}

static enum status start_programs(struct dev *dev, struct error *err)
{
	char config[PATH_MAX];
	bool own = dev->options->worker_config != NULL;
	if (snprintf(config, sizeof config, "%s", own ? dev->options->worker_config : "") >= PATH_MAX)
		return fail(err, E_INVALID, "the path of the worker's file is too long");
	enum status status = start_program(dev, &dev->orchestrator, "kser-orchestrator", NULL, NULL, err);
	if (!status && !dev->options->no_worker)
		status = start_program(dev, &dev->worker, "kser-worker", own ? "--config" : NULL, config, err);
	return status;
}

static enum status fail_ended(const struct child *child, struct error *err)
{
	struct buffer end CLEANUP(buffer_clear) = {0};
	child_add_end(&end, child);
	return fail(err, E_FATAL, "%s ended by itself (%s)", child->name, end.bytes);
}

/* E_OK as long as all that was started is running. */
static enum status check_children(struct dev *dev, const struct child **dead, struct error *err)
{
	struct child *const children[] = {dev->postgres.server.name ? &dev->postgres.server : NULL, &dev->orchestrator,
		dev->options->no_worker ? NULL : &dev->worker};
	for (size_t i = 0; i < COUNT_OF(children); i++)
		if (children[i] && child_ended(children[i])) {
			*dead = children[i];
			return fail_ended(children[i], err);
		}
	return E_OK;
}

static enum status look_ready(struct dev *dev, bool *orchestrator, bool *worker, struct error *err)
{
	PGresult *rows CLEANUP(result_clear) = NULL;
	enum status status = session_run(dev->connection, "dev_ready.sql", (const char *[]){dev->since}, 1, &rows, err);
	if (status)
		return status;
	*orchestrator = PQgetvalue(rows, 0, 0)[0] == 't';
	*worker = dev->options->no_worker || PQgetvalue(rows, 0, 1)[0] == 't';
	return E_OK;
}

static enum status wait_ready(struct dev *dev, const struct child **dead, struct error *err)
{
	bool orchestrator = false, worker = false;
	int64_t until = clock_monotonic_ms() + READY_TIMEOUT_MS;
	for (;;) {
		enum status status = check_children(dev, dead, err);
		if (!status)
			status = look_ready(dev, &orchestrator, &worker, err);
		if (status || (orchestrator && worker))
			return status;
		if (clock_monotonic_ms() > until) {
			*dead = orchestrator ? &dev->worker : &dev->orchestrator;
			return fail(err, E_FATAL, "%s is not ready after %d s", (*dead)->name, READY_TIMEOUT_MS / 1000);
		}
		if (child_wait_signal(READY_LOOK_MS) == WAKE_STOP)
			return fail(err, E_RETRY, "stopped before all was ready");
	}
}

static void announce(const struct dev *dev, int64_t took_ms)
{
	printf("  orchestrator  pid %d, log %s\n", (int)dev->orchestrator.pid, dev->orchestrator.log);
	if (!dev->options->no_worker)
		printf("  worker        pid %d, log %s\n", (int)dev->worker.pid, dev->worker.log);
	printf("ready after %.1f s. In another terminal:\n", (double)took_ms / 1000);
	printf("  . %s/env\n", dev->place.directory);
	printf("  kser submit --name dice --wait && kser ls\n");
	printf("Ctrl-C stops it all and removes what it made.\n");
	fflush(stdout);
}

/* `dead` is who is to blame for a failure, if it is one of the children. */
static enum status start(struct dev *dev, const struct child **dead, struct error *err)
{
	static enum status (*const steps[])(struct dev *, struct error *) = {start_place, start_database, start_broker, migrate, start_programs};
	int64_t began = clock_monotonic_ms();
	for (size_t i = 0; i < COUNT_OF(steps); i++) {
		enum status status = steps[i](dev, err);
		if (status) {
			*dead = dev->postgres.server.name && child_ended(&dev->postgres.server) ? &dev->postgres.server : NULL;
			return status;
		}
		fflush(stdout);
	}
	enum status status = wait_ready(dev, dead, err);
	if (!status)
		status = place_write_env(&dev->place, settings_of(dev), err);
	if (!status)
		announce(dev, clock_monotonic_ms() - began);
	connection_close_pointer(&dev->connection);
	return status;
}

/* E_OK: asked to stop. */
static enum status live(struct dev *dev, const struct child **dead, struct error *err)
{
	enum status status = E_OK;
	do
		status = check_children(dev, dead, err);
	while (!status && child_wait_signal(-1) != WAKE_STOP);
	return status;
}

static void stop(struct dev *dev, bool failed)
{
	bool now = false;
	connection_close_pointer(&dev->connection);
	child_stop(&dev->worker, SIGTERM, SIGKILL, WORKER_STOP_MS, &now);
	child_stop(&dev->orchestrator, SIGTERM, SIGKILL, ORCHESTRATOR_STOP_MS, &now);
	dev_broker_stop(TAKE(dev->broker));
	dev_postgres_stop(&dev->postgres, &now);
	place_close(&dev->place, failed && dev->options->directory);
	buffer_clear(&dev->url);
	for (size_t i = 0; i < dev->setting_count; i++)
		free_pointer(&dev->settings[i]);
}

static void tell_failure(const struct child *dead, const struct error *err)
{
	struct buffer tail CLEANUP(buffer_clear) = {0};
	if (dead)
		child_add_log_tail(&tail, dead);
	fprintf(stderr, "kser dev: %s\n%s%s", err->text, tail.length ? "  the last lines of its log:\n" : "", tail.length ? tail.bytes : "");
}

static enum exit_code run_dev(const struct invocation *invocation)
{
	struct dev dev = {.options = invocation->options, .place.lock = -1};
	const struct child *dead = NULL;
	struct error err = {0};
	child_block_signals();
	enum status status = start(&dev, &dead, &err);
	if (!status)
		status = live(&dev, &dead, &err);
	if (status)
		tell_failure(dead, &err);
	else
		puts("stopping");
	fflush(stdout);
	stop(&dev, status == E_FATAL);
	return status ? exit_code_of(&err) : EXIT_OK;
}

static const struct option_row rows[] = {
	{.setting = {.name = "dir", .kind = SETTING_TEXT, .offset = offsetof(struct dev_options, directory),
		.help = "where env and the logs go; made when missing"}, .letter = 'd', .argument = "DIR"},
	{.setting = {.name = "no-worker", .kind = SETTING_FLAG, .offset = offsetof(struct dev_options, no_worker),
		.help = "without a worker: start your own"}},
	{.setting = {.name = "worker-config", .kind = SETTING_TEXT, .offset = offsetof(struct dev_options, worker_config),
		.help = "INI file of the worker: its entrypoints besides the stock ones"}, .argument = "FILE"},
	{.setting = {.name = "brokers", .kind = SETTING_TEXT, .offset = offsetof(struct dev_options, brokers),
		.help = "this Kafka instead of the embedded one"}, .argument = "HOST:PORT,..."},
	{.setting = {.name = "database", .kind = SETTING_TEXT, .offset = offsetof(struct dev_options, database),
		.help = "this database instead of a private one"}, .argument = "URL"},
	{.setting = {.name = "postgres-bin", .kind = SETTING_TEXT, .offset = offsetof(struct dev_options, postgres_bin),
		.help = "where initdb and postgres are (default: PATH, /usr/lib/postgresql)"}, .argument = "DIR"},
};

const struct command command_dev = {
	.name = "dev",
	.arguments = "",
	.summary = "start everything here, to try it out",
	.details =
		"A private PostgreSQL, an embedded Kafka (in memory: for trying out only), the\n"
		"orchestrator and a worker with the entrypoints echo, sleep, fail and dice. When all\n"
		"is ready DIR/env is written: the settings that other terminals need. Ctrl-C stops\n"
		"all and removes what was made; a second one does not wait for running tasks. If\n"
		"one of them dies, the rest is stopped too, with exit status 1 (logs stay in DIR).\n"
		"\n"
		"As root, PostgreSQL runs as the user postgres. --database takes a database of yours\n"
		"instead, and brings its schema up to this version.\n",
	.examples =
		"  kser dev --dir /tmp/try\n"
		"  . /tmp/try/env && kser submit --name dice --wait\n"
		"  kser dev --worker-config worker.ini\n",
	.options = rows,
	.option_count = COUNT_OF(rows),
	.defaults = &(const struct dev_options){0},
	.options_size = sizeof(struct dev_options),
	.run = run_dev,
};
