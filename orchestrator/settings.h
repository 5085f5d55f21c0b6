#pragma once

/* The settings of kser-orchestrator, read once at start. */

#include <stdint.h>

#include "common/otlp.h"
#include "common/sealing.h"
#include "common/settings.h"

struct settings {
	const char *database;
	const char *brokers;
	const char *topic_prefix;
	int64_t lanes;
	int64_t lanes_max;
	int64_t task_partitions;
	int64_t result_partitions;
	int64_t batch;
	int64_t beat_ms;
	int64_t lease_ms;
	int64_t silence_ms;
	int64_t round_ms;
	int64_t claim_lease_ms;
	int64_t drain_ms;
	int64_t rejoin_ms;
	int64_t retention_ms; /* 0: nothing is deleted */
	struct otlp_settings otlp;
	bool short_trace_ids;
	struct sealing_settings sealing;
	bool metrics_enabled;
	const char *metrics_address;
	int64_t metrics_port;
	int log_level;
	int log_format;
	struct properties kafka;
};

extern const struct program orchestrator_program;
