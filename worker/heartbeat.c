#include "worker/heartbeat.h"

#include <inttypes.h>
#include <unistd.h>

#include "worker/report.h"

static void add_text(struct buffer *out, const char *key, struct slice text)
{
	buffer_printf(out, ",\"%s\":", key);
	buffer_add_json_string(out, text);
}

static void add_count(struct buffer *out, const char *key, size_t count)
{
	buffer_printf(out, ",\"%s\":%zu", key, count);
}

static void add_partitions(struct buffer *out, const struct heartbeat *heartbeat)
{
	buffer_add_text(out, ",\"partitions\":[");
	for (size_t i = 0; i < heartbeat->partition_count; i++)
		buffer_printf(out, "%s%" PRId32, i ? "," : "", heartbeat->partitions[i]);
	buffer_add_char(out, ']');
}

void heartbeat_add(struct buffer *out, const struct heartbeat *heartbeat)
{
	report_begin(out, "heartbeat", heartbeat->worker);
	add_text(out, "host", slice_of(heartbeat->host));
	add_count(out, "pid", (size_t)getpid());
	add_text(out, "version", slice_of(KSER_VERSION));
	add_text(out, "queue", slice_of(heartbeat->queue));
	add_count(out, "slots", heartbeat->slots);
	add_count(out, "free", heartbeat->free);
	add_count(out, "waiting", heartbeat->waiting);
	add_count(out, "claims", heartbeat->claims);
	add_partitions(out, heartbeat);
	if (heartbeat->entrypoints) {
		buffer_add_text(out, ",\"entrypoints\":");
		entrypoints_add_description(out, heartbeat->entrypoints);
	}
	if (heartbeat->leaving)
		buffer_add_text(out, ",\"leaving\":true");
	report_end(out);
}
