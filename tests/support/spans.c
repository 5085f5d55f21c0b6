/*
 * bin/spans COUNT INSTANCE: exports COUNT spans as the programs do, to where OTEL_EXPORTER_OTLP_* and JAEGER_HOST of the
 * environment say, and prints how many were dropped when it was told to leave. For the tests of the exporter.
 */

#include <stdio.h>
#include <stdlib.h>

#include "common/limits.h"
#include "common/log.h"
#include "common/otlp.h"
#include "common/settings.h"

#define FLUSH_MS 3000

static const char *given(const char *name, const char *fallback)
{
	const char *value = settings_environment(name);
	return value ? value : fallback;
}

/* Every kind of thing that a span can have; the last one is not sampled. */
static void add_spans(struct otlp *otlp, int count)
{
	struct trace_span root;
	char reason[2 * ERROR_INPUT_BYTES_MAX];
	trace_begin(NULL, &root);
	reason[0] = '!'; /* so that the limit falls into a character */
	for (size_t i = 1; i + 1 < sizeof reason; i += 2)
		memcpy(reason + i, "\xC3\xA9", 2);
	for (int i = 0; i <= count; i++) {
		const struct span_attribute attributes[] = {{.key = "number", .number = INT64_MAX - i}, {.key = "text", .text = slice_of("a \"quote\", a\ttab and \xF0\x9F\x8E\xB2")},
			{.key = "empty", .text = slice_of("")}};
		struct span span = {.at = root, .kind = i ? SPAN_INTERNAL : SPAN_CONSUMER, .name = slice_of("span"), .start_us = 1700000000000001 + i, .end_us = 1700000000000500 + i,
			.parent = i ? root.id : NULL, .attributes = attributes, .attribute_count = COUNT_OF(attributes), .failed = i % 2, .error = slice_of("NotFound"),
			.reason = i % 4 < 2 ? (struct slice){reason, sizeof reason - 1} : slice_of("no such file")};
		if (i > 0)
			trace_begin(&root, &span.at);
		span.at.sampled = i < count;
		otlp_add(otlp, &span);
	}
}

int main(int argc, char **argv)
{
	struct error err;
	struct otlp *otlp;
	if (argc != 3)
		return 2;
	log_open("spans", LOG_LEVEL_DEBUG, LOG_FORMAT_LOGFMT);
	const struct otlp_settings settings = {.traces_endpoint = given("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", ""), .endpoint = given("OTEL_EXPORTER_OTLP_ENDPOINT", ""),
		.headers = given("OTEL_EXPORTER_OTLP_HEADERS", ""), .jaeger_host = given("JAEGER_HOST", ""), .service = "kser"};
	if (otlp_open(&settings, argv[2], &otlp, &err)) {
		fprintf(stderr, "%s\n", err.text);
		return 2;
	}
	add_spans(otlp, atoi(argv[1]));
	fflush(stdout);
	/* Until whoever started it closes its input. */
	while (getchar() != EOF)
		continue;
	uint64_t lost = otlp_lost(otlp);
	otlp_close(otlp, FLUSH_MS);
	printf("%llu\n", (unsigned long long)lost);
	return 0;
}
