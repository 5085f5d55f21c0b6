/* Several threads add spans while nobody takes them: none waits, each is either dropped and counted or still there at the end, when all are. */

#include <assert.h>
#include <pthread.h>
#include <string.h>

#include "common/log.h"
#include "common/otlp.h"

#define THREADS 4
#define SPANS 5000

static void *add_spans(void *argument)
{
	struct trace_span root;
	trace_begin(NULL, &root);
	for (int i = 0; i < SPANS; i++) {
		const struct span_attribute attributes[] = {{.key = "number", .number = i}, {.key = "text", .text = slice_of("a\"b\n")}};
		struct span span = {.parent = root.id, .kind = SPAN_INTERNAL, .name = slice_of("span"), .start_us = 1, .end_us = 2, .attributes = attributes, .attribute_count = 2,
			.failed = i % 2, .error = slice_of("Error"), .reason = slice_of("why")};
		trace_begin(&root, &span.at);
		otlp_add(argument, &span);
	}
	return NULL;
}

int main(void)
{
	struct error err;
	struct otlp *otlp;
	pthread_t threads[THREADS];
	log_open("otlp-threads", LOG_LEVEL_ERROR, LOG_FORMAT_LOGFMT);
	/* Port 1: nobody is there. */
	const struct otlp_settings settings = {.endpoint = "http://127.0.0.1:1", .service = "test"};
	enum status status = otlp_open(&settings, "one", &otlp, &err);
	assert(status == E_OK && otlp);
	for (int i = 0; i < THREADS; i++)
		assert(pthread_create(&threads[i], NULL, add_spans, otlp) == 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	assert(otlp_lost(otlp) > 0 && otlp_lost(otlp) < (uint64_t)THREADS * SPANS);
	otlp_close(otlp, 200);
	return 0;
}
