#include "worker/heartbeat.h"

#include <inttypes.h>
#include <unistd.h>
#include <uuid/uuid.h>

static void add_text(struct buffer *out, const char *key, struct slice text)
{
	buffer_printf(out, ",\"%s\":", key);
	buffer_add_json_string(out, text);
}

static void add_count(struct buffer *out, const char *key, size_t count)
{
	buffer_printf(out, ",\"%s\":%zu", key, count);
}

void heartbeat_add(struct buffer *out, const struct heartbeat *heartbeat)
{
	uuid_t uuid;
	char text[UUID_STR_LEN];
	uuid_generate_random(uuid);
	uuid_unparse_lower(uuid, text);
	buffer_printf(out, "{\"uuid\":\"%s\",\"entrypoint\":\"kser.heartbeat\",\"params\":{},\"result\":null,\"metadata\":{\"kser\":{\"kind\":\"heartbeat\"", text);
	add_text(out, "worker", heartbeat->worker);
	add_text(out, "host", slice_of(heartbeat->host));
	add_count(out, "pid", (size_t)getpid());
	add_text(out, "version", slice_of(KSER_VERSION));
	add_text(out, "queue", slice_of(heartbeat->queue));
	add_count(out, "slots", heartbeat->slots);
	add_count(out, "free", heartbeat->free);
	if (heartbeat->entrypoints) {
		buffer_add_text(out, ",\"entrypoints\":");
		entrypoints_add_description(out, heartbeat->entrypoints);
	}
	if (heartbeat->leaving)
		buffer_add_text(out, ",\"leaving\":true");
	buffer_add_text(out, "}}}");
}
