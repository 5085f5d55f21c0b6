#include "common/task_name.h"

#include <inttypes.h>

#include "common/uuid_text.h"

void task_name_add(struct buffer *out, const struct task_name *name)
{
	char uuid[UUID_STR_LEN], operation[UUID_STR_LEN];
	uuid_unparse_lower(name->uuid, uuid);
	uuid_unparse_lower(name->operation, operation);
	buffer_printf(out, "{\"uuid\":\"%s\",\"op\":\"%s\",\"pos\":%" PRId32 ",\"attempt\":%" PRId32 ",\"gen\":%" PRId64 "}",
		uuid, operation, name->position, name->attempt, name->generation);
}

static bool read_uuid(struct json_value object, const char *key, uuid_t uuid)
{
	struct json_value value;
	struct buffer scratch CLEANUP(buffer_clear) = {0};
	if (!json_find(object, key, &value) || value.kind != JSON_STRING)
		return false;
	struct slice text = json_string(value, &scratch);
	return uuid_text_read(text, uuid);
}

static bool read_number(struct json_value object, const char *key, int64_t min, int64_t max, int64_t *number)
{
	struct json_value value;
	return json_find(object, key, &value) && json_int64(value, number) && *number >= min && *number <= max;
}

bool task_name_read(struct json_value object, struct task_name *name)
{
	int64_t position, attempt;
	if (object.kind != JSON_OBJECT || !read_uuid(object, "uuid", name->uuid) || !read_uuid(object, "op", name->operation)
		|| !read_number(object, "pos", 0, INT32_MAX, &position) || !read_number(object, "attempt", 1, INT32_MAX, &attempt)
		|| !read_number(object, "gen", INT64_MIN, INT64_MAX, &name->generation))
		return false;
	name->position = (int32_t)position;
	name->attempt = (int32_t)attempt;
	return true;
}
