#include "orchestrator/settings.h"

#include <stddef.h>

#include "common/limits.h"

static const char *const log_levels[] = {"debug", "info", "warning", "error", NULL};
static const char *const log_formats[] = {"logfmt", "json", NULL};

#define AT(member) offsetof(struct settings, member)

static const struct setting settings[] = {
	{.name = "database", .environment = "KSER_DATABASE_URL", .kind = SETTING_SECRET, .offset = AT(database), .fallback = "",
		.help = "PostgreSQL, as URI or key=value text; empty: libpq's own environment (PGHOST, PGSERVICE ...)"},
	{.name = "brokers", .kind = SETTING_TEXT, .offset = AT(brokers), .fallback = "127.0.0.1:9092", .help = "Kafka brokers, host:port, separated by commas"},
	{.name = "topic-prefix", .kind = SETTING_TEXT, .offset = AT(topic_prefix), .fallback = "kser", .help = "first part of the names of all topics and groups; one prefix, one database"},
	{.name = "lanes", .kind = SETTING_INTEGER, .offset = AT(lanes), .fallback = "1", .min = 1, .max = 64,
		.help = "threads that apply results from the start, each with a database connection of its own"},
	{.name = "lanes-max", .kind = SETTING_INTEGER, .offset = AT(lanes_max), .fallback = "2", .min = 1, .max = 64,
		.help = "beyond lanes another one begins when one is busy with large batches, up to so many in all; they stay"},
	{.name = "task-partitions", .kind = SETTING_INTEGER, .offset = AT(task_partitions), .fallback = "12", .min = 1, .max = PARTITIONS_MAX,
		.help = "partitions of a topic of tasks, when this program creates it: the most workers that share a queue"},
	{.name = "result-partitions", .kind = SETTING_INTEGER, .offset = AT(result_partitions), .fallback = "4", .min = 1, .max = PARTITIONS_MAX,
		.help = "partitions of the topic of results, when this program creates it: the most lanes that share the work"},
	{.name = "batch", .kind = SETTING_INTEGER, .offset = AT(batch), .fallback = "1000", .min = 1, .max = BATCH_REPLIES_MAX,
		.help = "results applied in one transaction, at most; what has arrived is the batch, nothing is waited for"},
	{.name = "beat-interval", .kind = SETTING_DURATION, .offset = AT(beat_ms), .fallback = "1s", .min = 100, .max = 2000,
		.help = "between two signs of life in the database"},
	{.name = "keeper-lease", .kind = SETTING_DURATION, .offset = AT(lease_ms), .fallback = "4s", .min = 1000, .max = 60000,
		.help = "how long the keeper's role lasts without a sign of life; dispatches stop as long before as the beat takes"},
	{.name = "silence-limit", .kind = SETTING_DURATION, .offset = AT(silence_ms), .fallback = "6s", .min = 2000, .max = 600000,
		.help = "after which a silent orchestrator counts as gone; more than the keeper's lease"},
	{.name = "round-interval", .kind = SETTING_DURATION, .offset = AT(round_ms), .fallback = "1500ms", .min = 500, .max = 60000,
		.help = "between two looks for what was lost, while anything is in flight"},
	{.name = "claim-lease", .kind = SETTING_DURATION, .offset = AT(claim_lease_ms), .fallback = "8s", .min = 3000, .max = 600000,
		.help = "a task whose worker is silent for so long goes to another one; at least four times the workers' heartbeat-interval, and more than the round-interval"},
	{.name = "drain-timeout", .kind = SETTING_DURATION, .offset = AT(drain_ms), .fallback = "10s", .min = 0, .max = 600000,
		.help = "how long SIGTERM waits for acknowledgements before it leaves"},
	{.name = "rejoin-after", .kind = SETTING_DURATION, .offset = AT(rejoin_ms), .fallback = "12s", .min = 1000, .max = 3600000,
		.help = "a lane that the group gives no assignment for so long joins it anew, then after twice as long, up to a minute"},
	{.name = "retention", .kind = SETTING_DURATION, .offset = AT(retention_ms), .fallback = "0s", .min = 0, .max = 315360000000,
		.help = "operations that ended longer ago are deleted, with their tasks and history; 0s: none ever is; else 1h or more"},
	OTLP_SETTINGS(AT(otlp)),
	{.name = "short-trace-ids", .kind = SETTING_FLAG, .offset = AT(short_trace_ids), .fallback = "no",
		.help = "traces begun here have ids of 64 bits, which workers of the Python library kser 0.8.2 can continue"},
	SEALING_SETTINGS(AT(sealing)),
	{.name = "metrics-enabled", .kind = SETTING_FLAG, .offset = AT(metrics_enabled), .fallback = "no", .help = "serve Prometheus metrics by HTTP, on /metrics"},
	{.name = "metrics-address", .kind = SETTING_TEXT, .offset = AT(metrics_address), .fallback = "0.0.0.0", .help = "address or host name to serve metrics on"},
	{.name = "metrics-port", .kind = SETTING_INTEGER, .offset = AT(metrics_port), .fallback = "8889", .min = 0, .max = 65535,
		.help = "port to serve metrics on, another one than a worker's by default; 0: a free one, which the log tells"},
	{.name = "log-level", .kind = SETTING_CHOICE, .offset = AT(log_level), .fallback = "info", .choices = log_levels, .help = "least level of what is logged"},
	{.name = "log-format", .kind = SETTING_CHOICE, .offset = AT(log_format), .fallback = "logfmt", .choices = log_formats, .help = "form of a log line"},
};

const struct program orchestrator_program = {
	.name = "kser-orchestrator",
	.summary = "Keeps operations and their tasks in PostgreSQL, sends the tasks whose turn it is to Kafka, and starts the next on each result.",
	.usage = "[options]",
	.section = "orchestrator",
	.settings = settings,
	.count = COUNT_OF(settings),
};
