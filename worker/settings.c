#include "worker/settings.h"

#include <stddef.h>
#include <stdlib.h>

#include "common/kafka.h"
#include "common/limits.h"
#include "common/memory.h"
#include "common/setting.h"

static const char *const log_levels[] = {"debug", "info", "warning", "error", NULL};
static const char *const log_formats[] = {"logfmt", "json", NULL};

#define AT(member) offsetof(struct worker_settings, member)

static const struct setting settings_table[] = {
	{.name = "brokers", .kind = SETTING_TEXT, .offset = AT(brokers), .fallback = "127.0.0.1:9092", .help = "Kafka brokers, host:port, separated by commas"},
	{.name = "topic-prefix", .kind = SETTING_TEXT, .offset = AT(topic_prefix), .fallback = "kser", .help = "first part of the names of all topics and groups; one prefix, one database"},
	{.name = "queue", .kind = SETTING_TEXT, .offset = AT(queue), .fallback = "", .help = "whose tasks it runs; empty: the default queue. All workers of a queue must serve the same entrypoints"},
	{.name = "slots", .kind = SETTING_INTEGER, .offset = AT(slots), .fallback = "8", .min = 1, .max = SLOTS_MAX, .help = "tasks at once"},
	{.name = "plugin", .kind = SETTING_TEXT, .offset = AT(plugin), .fallback = "", .help = "shared objects that add entrypoints, paths separated by commas"},
	{.name = "stock", .kind = SETTING_FLAG, .offset = AT(stock), .fallback = "yes", .help = "serve the entrypoints echo, sleep, fail and dice too"},
	{.name = "drain-timeout", .kind = SETTING_DURATION, .offset = AT(drain_ms), .fallback = "15s", .min = 0, .max = 86400000,
		.help = "how long SIGTERM waits for running tasks before it gives them up"},
	{.name = "claim-after", .kind = SETTING_DURATION, .offset = AT(claim_after_ms), .fallback = "1s", .min = 100, .max = 60000,
		.help = "a task that runs for so long is claimed: it stays this worker's whatever becomes of its partition"},
	{.name = "heartbeat-interval", .kind = SETTING_DURATION, .offset = AT(beat_ms), .fallback = "2s", .min = 100, .max = 60000,
		.help = "between heartbeats while claims are held; a third of the orchestrators' claim lease at most, else every 10s will do"},
	{.name = "silence-limit", .kind = SETTING_DURATION, .offset = AT(silence_ms), .fallback = "6s", .min = 500, .max = 600000,
		.help = "heartbeats unacknowledged for longer end the tasks that are to stop then; two heartbeats at least, and less than the claim lease"},
	{.name = "group-session", .kind = SETTING_DURATION, .offset = AT(session_ms), .fallback = "6s", .min = 1000, .max = 1800000,
		.help = "a worker that the brokers have not heard of for so long is gone; they have bounds of their own for it"},
	{.name = "rejoin-after", .kind = SETTING_DURATION, .offset = AT(rejoin_ms), .fallback = "12s", .min = 1000, .max = 3600000,
		.help = "a worker that the group gives no assignment for so long joins it anew, then after twice as long, up to a minute"},
	{.name = "log-tasks", .kind = SETTING_FLAG, .offset = AT(log_tasks), .fallback = "no",
		.help = "log the beginning and end of each task in the words of the Python library; with log-level debug it is on"},
	{.name = "launcher", .kind = SETTING_TEXT, .offset = AT(launcher), .fallback = "", .help = "path of kser-launch, which runs commands; empty: beside this program, or in ../bin of the library"},
	OTLP_SETTINGS(AT(otlp)),
	SEALING_SETTINGS(AT(keys)),
	{.name = "metrics-enabled", .kind = SETTING_FLAG, .offset = AT(metrics_enabled), .fallback = "no", .help = "serve Prometheus metrics by HTTP, on /metrics"},
	{.name = "metrics-address", .kind = SETTING_TEXT, .offset = AT(metrics_address), .fallback = "0.0.0.0", .help = "address or host name to serve metrics on"},
	{.name = "metrics-port", .kind = SETTING_INTEGER, .offset = AT(metrics_port), .fallback = "8888", .min = 0, .max = 65535,
		.help = "port to serve metrics on; 0: a free one, which the log tells"},
	{.name = "log-level", .kind = SETTING_CHOICE, .offset = AT(log_level), .fallback = "info", .choices = log_levels, .help = "least level of what is logged"},
	{.name = "log-format", .kind = SETTING_CHOICE, .offset = AT(log_format), .fallback = "logfmt", .choices = log_formats, .help = "form of a log line"},
};

const struct program worker_program = {
	.name = "kser-worker",
	.summary = "Runs the tasks of a queue: commands, plug-ins and a few entrypoints for trying out. The file names commands as "
		"[entrypoint NAME] with command, timeout, required, env.NAME, and commands around it: prerun, postrun, onsuccess, onerror.",
	.usage = "[options]",
	.section = "worker",
	.settings = settings_table,
	.count = COUNT_OF(settings_table),
};

/* ---- [entrypoint NAME] ---- */

static const struct setting timeout_setting = {
	.name = "timeout", .kind = SETTING_DURATION, .offset = offsetof(struct command, timeout_ms), .min = 1, .max = (int64_t)366 * 86400000,
};

static struct command_entrypoint *find_command(struct worker_settings *settings, const char *name)
{
	struct command_entrypoint **at = &settings->commands;
	while (*at && strcmp((*at)->name, name) != 0)
		at = &(*at)->next;
	if (!*at) {
		*at = xcalloc(1, sizeof **at);
		(*at)->name = xstrdup(name);
	}
	return *at;
}

static void add_text(char ***list, char *text)
{
	size_t count = 0;
	while (*list && (*list)[count])
		count++;
	*list = xrealloc(*list, (count + 2) * sizeof **list);
	(*list)[count] = text;
	(*list)[count + 1] = NULL;
}

static enum status set_required(struct command_entrypoint *entrypoint, const char *value)
{
	char *list CLEANUP(free_pointer) = xstrdup(value);
	char *rest = list;
	for (char *name = strsep(&rest, ", \t"); name; name = strsep(&rest, ", \t"))
		if (*name)
			add_text(&entrypoint->required, xstrdup(name));
	return E_OK;
}

static enum status set_variable(struct command_entrypoint *entrypoint, const char *name, const char *value, struct error *err)
{
	if (!*name || strchr(name, '='))
		return fail(err, E_INVALID, "env.%.100s: is no name of a variable", name);
	if (strncmp(name, "KSER_", 5) == 0)
		return fail(err, E_INVALID, "env.%.100s: names that begin with KSER_ are the worker's", name);
	struct buffer text = {0};
	buffer_printf(&text, "%s=%s", name, value);
	add_text(&entrypoint->command.variables, text.bytes);
	return E_OK;
}

static const char *const hook_names[HOOKS] = {[HOOK_PRERUN] = "prerun", [HOOK_POSTRUN] = "postrun", [HOOK_ONSUCCESS] = "onsuccess", [HOOK_ONERROR] = "onerror"};

/* Where the command line of a key goes; NULL: it is none's. */
static struct arguments *arguments_of(struct command_entrypoint *entrypoint, const char *key)
{
	if (strcmp(key, "command") == 0)
		return &entrypoint->command.arguments;
	for (size_t i = 0; i < HOOKS; i++)
		if (strcmp(key, hook_names[i]) == 0)
			return &entrypoint->command.hooks[i];
	return NULL;
}

static enum status set_command(const char *name, struct arguments *arguments, const char *key, const char *value, struct error *err)
{
	if (arguments->words)
		return fail(err, E_INVALID, "entrypoint %s: %s is given twice", name, key);
	struct error reason;
	if (arguments_parse(value, arguments, &reason))
		return fail(err, E_INVALID, "entrypoint %s: %s: %s", name, key, reason.text);
	return E_OK;
}

static enum status take_key(void *context, const char *section, const char *key, const char *value, int line, struct error *err)
{
	(void)line;
	static const char prefix[] = "entrypoint ";
	bool known = strncmp(section, prefix, sizeof prefix - 1) == 0;
	if (!known && !key)
		return E_OK; /* its keys are refused */
	if (!known)
		return fail(err, E_INVALID, "unknown section [%.100s], known are [worker], [kafka] and [entrypoint NAME]", section);
	const char *name = section + sizeof prefix - 1;
	struct command_entrypoint *entrypoint = find_command(context, name + strspn(name, " \t"));
	if (!key)
		return E_OK; /* whether it has a command is known at the end */
	struct arguments *arguments = arguments_of(entrypoint, key);
	if (arguments)
		return set_command(entrypoint->name, arguments, key, value, err);
	if (strcmp(key, "required") == 0)
		return set_required(entrypoint, value);
	if (strncmp(key, "env.", 4) == 0)
		return set_variable(entrypoint, key + 4, value, err);
	if (strcmp(key, "timeout") != 0)
		return fail(err, E_INVALID, "entrypoint %s: unknown key %.100s, known are command, prerun, postrun, onsuccess, onerror, timeout, required and env.NAME", entrypoint->name, key);
	struct error reason;
	if (setting_store(&timeout_setting, value, &entrypoint->command, &reason))
		return fail(err, E_INVALID, "entrypoint %s: timeout: %s", entrypoint->name, reason.text);
	return E_OK;
}

/* ---- all together ---- */

static void check(struct worker_settings *settings, struct buffer *errors)
{
	struct error err;
	if (topics_check(settings->topic_prefix, settings->queue, &err))
		buffer_printf(errors, "%s\n", err.text);
	if (otlp_check(&settings->otlp, &err))
		buffer_printf(errors, "%s\n", err.text);
	if (sealing_open(&settings->keys, &settings->sealing, &err))
		buffer_printf(errors, "%s\n", err.text);
	if (settings->silence_ms < 2 * settings->beat_ms)
		buffer_printf(errors, "silence-limit: must be at least two heartbeat-intervals, or one lost heartbeat would end tasks\n");
	for (const struct command_entrypoint *entrypoint = settings->commands; entrypoint; entrypoint = entrypoint->next)
		if (!entrypoint->command.arguments.words)
			buffer_printf(errors, "entrypoint %s: has no command\n", entrypoint->name);
}

/* A caller's flags may be gone before the worker is. */
static void keep_texts(struct worker_settings *settings)
{
	const char **texts[] = {&settings->brokers, &settings->topic_prefix, &settings->queue, &settings->plugin, &settings->launcher, &settings->metrics_address,
		&settings->otlp.endpoint, &settings->otlp.traces_endpoint, &settings->otlp.headers, &settings->otlp.jaeger_host, &settings->otlp.service};
	for (size_t i = 0; i < COUNT_OF(texts); i++)
		settings->texts[i] = xstrdup(*texts[i] ? *texts[i] : "");
	for (size_t i = 0; i < COUNT_OF(texts); i++)
		*texts[i] = settings->texts[i];
}

enum status worker_settings_read(struct worker_settings *settings, int argc, char **argv, int *status)
{
	static char program_name[] = "kser-worker";
	char *no_flags[] = {program_name, NULL};
	struct buffer errors CLEANUP(buffer_clear) = {0};
	int count = argc > 0 ? argc : 1;
	char **flags = argc > 0 ? argv : no_flags;
	int first = count;
	enum settings_answer answer = settings_read(&worker_program, count, flags, settings, &settings->kafka, take_key, settings, &first, &errors);
	*status = 0;
	if (answer == SETTINGS_DONE)
		return E_INVALID;
	if (first < count)
		buffer_printf(&errors, "%s: takes no arguments%s\n", flags[first], settings_argument_hint(flags[first]));
	keep_texts(settings);
	check(settings, &errors);
	if (errors.length == 0)
		return E_OK;
	fprintf(stderr, "%s", errors.bytes);
	*status = 2;
	return E_INVALID;
}

static void free_list(char **list)
{
	for (char **text = list; text && *text; text++)
		free(*text);
	free(list);
}

void worker_settings_clear(struct worker_settings *settings)
{
	properties_clear(&settings->kafka);
	sealing_free(TAKE(settings->sealing));
	for (size_t i = 0; i < COUNT_OF(settings->texts); i++)
		free(settings->texts[i]);
	while (settings->commands) {
		struct command_entrypoint *entrypoint = settings->commands;
		settings->commands = entrypoint->next;
		arguments_clear(&entrypoint->command.arguments);
		for (size_t i = 0; i < HOOKS; i++)
			arguments_clear(&entrypoint->command.hooks[i]);
		free_list(entrypoint->command.variables);
		free_list(entrypoint->required);
		free(entrypoint->name);
		free(entrypoint);
	}
}
