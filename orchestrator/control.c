#include "orchestrator/control.h"

#include <assert.h>
#include <inttypes.h>

#include "orchestrator/rows.h"

static void begin(struct buffer *out)
{
	uuid_t uuid;
	char text[UUID_STR_LEN];
	uuid_generate_random(uuid);
	uuid_unparse_lower(uuid, text);
	buffer_printf(out, "{\"uuid\":\"%s\",\"entrypoint\":\"kser.control\",\"params\":{", text);
}

static void end(struct buffer *out)
{
	buffer_add_text(out, "},\"result\":null,\"metadata\":{\"kser\":{\"kind\":\"control\"}}}");
}

void control_add_stop(struct buffer *out, const struct task_name *names, size_t count)
{
	assert(count >= 1 && count <= CONTROL_NAMES_MAX);
	begin(out);
	buffer_add_text(out, "\"kind\":\"stop\",\"tasks\":[");
	for (size_t i = 0; i < count; i++) {
		if (i > 0)
			buffer_add_char(out, ',');
		task_name_add(out, &names[i]);
	}
	buffer_add_char(out, ']');
	end(out);
}

void control_add_generation(struct buffer *out, int64_t generation)
{
	begin(out);
	buffer_printf(out, "\"kind\":\"generation\",\"gen\":%" PRId64, generation);
	end(out);
}

void control_add_spare(struct buffer *out, const char *queue, int32_t slots)
{
	begin(out);
	buffer_add_text(out, "\"kind\":\"spare\",\"queue\":");
	buffer_add_json_string(out, slice_of(queue));
	buffer_printf(out, ",\"slots\":%" PRId32, slots);
	end(out);
}

static void tell(struct cell *cell, struct dispatcher *dispatcher, const struct buffer *record)
{
	char topic[250];
	dispatcher_tell(dispatcher, topics_named(cell_topics(cell), "control", topic), buffer_slice(record));
}

static struct task_name name_of(const PGresult *rows, int row)
{
	struct task_name name = {.position = row_int4(rows, row, 1), .attempt = row_int4(rows, row, 3), .generation = row_int8(rows, row, 4)};
	row_uuid(rows, row, 0, name.operation);
	row_uuid(rows, row, 2, name.uuid);
	return name;
}

void control_stop_rows(struct cell *cell, struct dispatcher *dispatcher, const PGresult *rows)
{
	struct task_name names[CONTROL_NAMES_MAX];
	size_t count = 0;
	struct buffer record CLEANUP(buffer_clear) = {0};
	for (int row = 0; row < PQntuples(rows); row++) {
		names[count++] = name_of(rows, row);
		if (count < CONTROL_NAMES_MAX && row + 1 < PQntuples(rows))
			continue;
		buffer_reset(&record);
		control_add_stop(&record, names, count);
		tell(cell, dispatcher, &record);
		count = 0;
	}
}

void control_generation(struct cell *cell, struct dispatcher *dispatcher, int64_t generation)
{
	struct buffer record CLEANUP(buffer_clear) = {0};
	control_add_generation(&record, generation);
	tell(cell, dispatcher, &record);
}

void control_spare(struct cell *cell, struct dispatcher *dispatcher, const char *queue, int32_t slots)
{
	struct buffer record CLEANUP(buffer_clear) = {0};
	control_add_spare(&record, queue, slots);
	tell(cell, dispatcher, &record);
}
