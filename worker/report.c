#include "worker/report.h"

#include <uuid/uuid.h>

void report_begin(struct buffer *out, const char *kind, struct slice worker)
{
	uuid_t uuid;
	char text[UUID_STR_LEN];
	uuid_generate_random(uuid);
	uuid_unparse_lower(uuid, text);
	buffer_printf(out, "{\"uuid\":\"%s\",\"entrypoint\":\"kser.%s\",\"params\":{},\"result\":null,\"metadata\":{\"kser\":{\"kind\":\"%s\",\"worker\":", text, kind, kind);
	buffer_add_json_string(out, worker);
}

void report_end(struct buffer *out)
{
	buffer_add_text(out, "}}}");
}
