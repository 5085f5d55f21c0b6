#include "orchestrator/control.h"

#include <criterion/criterion.h>

static struct buffer out;

static void teardown(void)
{
	buffer_clear(&out);
}

/* The record as a worker reads it; its params. */
static struct json_value params_of(const struct buffer *record)
{
	struct error err = {0};
	struct message message;
	cr_assert_eq(message_parse(buffer_slice(record), &message, &err), E_OK, "%s", err.text);
	cr_assert(message.stamped && message.stamp.kind == MESSAGE_CONTROL);
	cr_assert(slice_is(message.entrypoint.text, "\"kser.control\""));
	return message.params;
}

static struct json_value member(struct json_value object, const char *name)
{
	struct json_value value;
	cr_assert(json_find(object, name, &value), "%s is missing", name);
	return value;
}

static bool says(struct json_value object, const char *name, const char *json)
{
	return slice_is(member(object, name).text, json);
}

Test(control, a_stop_names_its_tasks, .fini = teardown)
{
	struct task_name names[CONTROL_NAMES_MAX] = {0}, read;
	for (int i = 0; i < CONTROL_NAMES_MAX; i++) {
		names[i] = (struct task_name){.position = i, .attempt = i + 1, .generation = -i};
		names[i].uuid[0] = 7;
		names[i].operation[15] = 9;
	}
	control_add_stop(&out, names, CONTROL_NAMES_MAX);
	struct json_value params = params_of(&out), element;
	cr_assert(says(params, "kind", "\"stop\""));
	struct json_iterator tasks = json_iterate(member(params, "tasks"));
	int count = 0;
	for (; json_next_element(&tasks, &element); count++) {
		cr_assert(task_name_read(element, &read));
		cr_assert_eq(memcmp(&read, &names[count], sizeof read), 0);
	}
	cr_assert_eq(count, CONTROL_NAMES_MAX);
}

Test(control, a_generation_and_spare_slots, .fini = teardown)
{
	control_add_generation(&out, INT64_MIN);
	cr_assert(says(params_of(&out), "kind", "\"generation\""));
	cr_assert(says(params_of(&out), "gen", "-9223372036854775808"));
	buffer_reset(&out);
	control_add_spare(&out, "a.b", 12);
	cr_assert(says(params_of(&out), "kind", "\"spare\""));
	cr_assert(says(params_of(&out), "queue", "\"a.b\""));
	cr_assert(says(params_of(&out), "slots", "12"));
}
