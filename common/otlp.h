#pragma once

/*
 * Exports spans by OTLP/HTTP with JSON (docs/decisions), from a thread of its own. Who adds a span never waits: what
 * waits for the receiver has a bound in bytes, beyond which spans are dropped, counted and told in the log at most once a
 * minute. A batch that the receiver cannot take is sent again for a minute, as OTLP has it; then it is dropped as well.
 *
 * Any thread may add spans while it is open. A NULL exporter is one that is switched off: it takes everything and does nothing.
 */

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "common/settings.h"
#include "common/slice.h"
#include "common/trace.h"

struct otlp; /* opaque */

/* Where to, as the settings say; texts are "" when not given. */
struct otlp_settings {
	const char *traces_endpoint; /* the whole URL; before all others */
	const char *endpoint;        /* /v1/traces is added */
	const char *jaeger_host;     /* http, port 4318 */
	const char *headers;         /* name=value,name=value, values percent-encoded: secret */
	const char *service;         /* service.name */
};

/* The rows of a program's table of settings that fill it; `at`: its offset in the program's struct. */
#define OTLP_SETTINGS(at) \
	{.name = "otlp-endpoint", .environment = "OTEL_EXPORTER_OTLP_ENDPOINT", .kind = SETTING_URL, .offset = (at) + offsetof(struct otlp_settings, endpoint), .fallback = "", \
		.help = "traces are exported by OTLP/HTTP to this URL with /v1/traces behind it; empty: to jaeger-host, or not at all"}, \
	{.name = "otlp-traces-endpoint", .environment = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", .kind = SETTING_URL, .offset = (at) + offsetof(struct otlp_settings, traces_endpoint), \
		.fallback = "", .help = "the whole URL that traces are exported to, in place of otlp-endpoint"}, \
	{.name = "otlp-headers", .environment = "OTEL_EXPORTER_OTLP_HEADERS", .kind = SETTING_SECRET, .offset = (at) + offsetof(struct otlp_settings, headers), .fallback = "", \
		.help = "headers of such a request: name=value, separated by commas, values percent-encoded"}, \
	{.name = "jaeger-host", .environment = "JAEGER_HOST", .kind = SETTING_TEXT, .offset = (at) + offsetof(struct otlp_settings, jaeger_host), .fallback = "", \
		.help = "a Jaeger that traces are exported to, by OTLP/HTTP on its port 4318, when no OTLP endpoint is given"}, \
	{.name = "service-name", .environment = "OTEL_SERVICE_NAME", .kind = SETTING_TEXT, .offset = (at) + offsetof(struct otlp_settings, service), .fallback = "kser", \
		.help = "the service of exported spans"}

/* Whether spans are to be exported at all. */
bool otlp_is_wanted(const struct otlp_settings *settings);

/* E_INVALID: which setting is wrong and why. */
MUST_USE enum status otlp_check(const struct otlp_settings *settings, struct error *err);

/*
 * Starts the exporter; *otlp is NULL when none is wanted. `instance` names this life of this process. Settings are copied.
 * Once the process has threads that use curl too, curl_global_init is theirs to call first. E_INVALID as otlp_check, E_FATAL: no thread.
 */
MUST_USE enum status otlp_open(const struct otlp_settings *settings, const char *instance, struct otlp **otlp, struct error *err);

/* Sends what waits, for at most so long, and ends the thread. NULL is allowed. */
void otlp_close(struct otlp *otlp, int timeout_ms);

enum span_kind { SPAN_INTERNAL = 1, SPAN_CONSUMER = 5 }; /* OTLP's numbers */

/* Either a text (UTF-8) or, where it has none (start NULL), a number. */
struct span_attribute {
	const char *key;
	struct slice text;
	int64_t number;
};

struct span {
	struct trace_span at;
	const uint8_t *parent; /* the id of 8 bytes; NULL: a root */
	enum span_kind kind;
	struct slice name;     /* UTF-8 */
	int64_t start_us;      /* wall clock since 1970 */
	int64_t end_us;
	const struct span_attribute *attributes;
	size_t attribute_count;
	bool failed;
	struct slice error;    /* of a failed one: the error's name */
	struct slice reason;   /* and its text, cut at ERROR_INPUT_BYTES_MAX */
};

/* Copies it. A span that is not sampled is passed over. */
void otlp_add(struct otlp *otlp, const struct span *span);

/* How many spans were dropped so far. */
uint64_t otlp_lost(struct otlp *otlp);
