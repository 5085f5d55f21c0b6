#pragma once

/* The settings of a worker and the commands of its file, read once at start. */

#include <stdint.h>

#include "common/otlp.h"
#include "common/sealing.h"
#include "common/settings.h"
#include "worker/command.h"

/* One [entrypoint NAME] of the file. */
struct command_entrypoint {
	char *name;
	struct command command;
	char **required; /* NULL-terminated; NULL = none */
	struct command_entrypoint *next;
};

struct worker_settings {
	const char *brokers;
	const char *topic_prefix;
	const char *queue;
	const char *plugin;
	const char *launcher;
	int64_t slots;
	int64_t drain_ms;
	int64_t session_ms;
	int64_t rejoin_ms;
	int64_t claim_after_ms;
	int64_t beat_ms;
	int64_t silence_ms;
	bool stock;
	bool log_tasks;
	struct otlp_settings otlp;
	struct sealing_settings keys;
	struct sealing *sealing; /* NULL: there is no key */
	bool metrics_enabled;
	const char *metrics_address;
	int64_t metrics_port;
	int log_level;
	int log_format;
	struct properties kafka;
	struct command_entrypoint *commands;
	char *texts[11]; /* what the texts above point to */
};

extern const struct program worker_program;

/* E_OK: *status is untouched. Else there is nothing to run, and all was told: *status is the exit status. */
MUST_USE enum status worker_settings_read(struct worker_settings *settings, int argc, char **argv, int *status);

void worker_settings_clear(struct worker_settings *settings);
