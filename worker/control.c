#include "worker/control.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "common/kafka.h"
#include "common/log.h"
#include "common/memory.h"
#include "common/message.h"

struct control {
	struct control_setup setup;
	rd_kafka_t *consumer;
	rd_kafka_queue_t *records;
	atomic_bool came; /* since the queue was last empty */
};

/* ---- one record ---- */

static enum status read_stop(const struct control_ears *ears, void *context, struct json_value params, struct error *err)
{
	struct json_value tasks, element;
	struct task_name name;
	if (!json_find(params, "tasks", &tasks) || tasks.kind != JSON_ARRAY)
		return fail(err, E_INVALID, "params.tasks: must be an array");
	struct json_iterator elements = json_iterate(tasks);
	while (json_next_element(&elements, &element)) {
		if (!task_name_read(element, &name))
			return fail(err, E_INVALID, "params.tasks: has an element that is no name of a task");
		ears->stop(context, &name);
	}
	return E_OK;
}

static enum status read_generation(const struct control_ears *ears, void *context, struct json_value params, struct error *err)
{
	struct json_value value;
	int64_t generation;
	if (!json_find(params, "gen", &value) || !json_int64(value, &generation))
		return fail(err, E_INVALID, "params.gen: must be an integer");
	ears->generation(context, generation);
	return E_OK;
}

static enum status read_spare(const struct control_ears *ears, void *context, struct json_value params, struct error *err)
{
	struct json_value queue, slots;
	int64_t count;
	struct buffer scratch CLEANUP(buffer_clear) = {0};
	if (!json_find(params, "queue", &queue) || queue.kind != JSON_STRING)
		return fail(err, E_INVALID, "params.queue: must be a string");
	if (!json_find(params, "slots", &slots) || !json_int64(slots, &count) || count < 0)
		return fail(err, E_INVALID, "params.slots: must be an integer, at least 0");
	ears->spare(context, json_string(queue, &scratch), count);
	return E_OK;
}

static enum status read_record(const struct sealing *sealing, const struct control_ears *ears, void *context, struct slice record, struct error *err)
{
	static const struct {
		const char *kind;
		enum status (*read)(const struct control_ears *ears, void *context, struct json_value params, struct error *err);
	} known[] = {{"stop", read_stop}, {"generation", read_generation}, {"spare", read_spare}};
	struct message message;
	struct json_value value;
	struct buffer opened CLEANUP(buffer_clear) = {0}, scratch CLEANUP(buffer_clear) = {0};
	enum status status = sealing_read(sealing, record, &opened, &message, err);
	if (status)
		return status;
	if (message.stamp.kind != MESSAGE_CONTROL || !json_find(message.params, "kind", &value) || value.kind != JSON_STRING)
		return fail(err, E_INVALID, "is no word of an orchestrator");
	struct slice kind = json_string(value, &scratch);
	for (size_t i = 0; i < COUNT_OF(known); i++)
		if (slice_is(kind, known[i].kind))
			return known[i].read(ears, context, message.params, err);
	return E_OK; /* of a later version */
}

void control_read(const struct sealing *sealing, const struct control_ears *ears, void *context, struct slice record)
{
	struct error err;
	if (read_record(sealing, ears, context, record, &err))
		log_warning("a control record cannot be used", "reason", err.text);
}

/* ---- the consumer ---- */

static void on_event(rd_kafka_t *consumer, void *opaque)
{
	(void)consumer;
	struct control *control = opaque;
	atomic_store(&control->came, true);
	control->setup.wake(control->setup.context);
}

void control_serve(struct control *control)
{
	if (!control || !atomic_exchange(&control->came, false))
		return;
	rd_kafka_message_t *record;
	while ((record = rd_kafka_consumer_poll(control->consumer, 0))) {
		if (record->err)
			log_warning("could not read records", "topic", control->setup.topic, "error", rd_kafka_message_errstr(record));
		else if (record->len > 0)
			control_read(control->setup.sealing, &control->setup.ears, control->setup.context, (struct slice){record->payload, record->len});
		rd_kafka_message_destroy(record);
	}
}

/* An offset that is not there any more must not bring old words back, so this is ours whatever the user set. */
static enum status open_consumer(struct control *control, struct error *err)
{
	static char name[] = "auto.offset.reset", value[] = "latest";
	const struct properties *user = control->setup.properties;
	struct property *list CLEANUP(free_pointer) = xcalloc(user->count + 1, sizeof *list);
	memcpy(list, user->list, user->count * sizeof *list);
	list[user->count] = (struct property){name, value};
	struct properties properties = {list, user->count + 1};
	return kafka_consumer(control->setup.brokers, &properties, control->setup.client_id, NULL, NULL, NULL, &control->consumer, err);
}

static enum status assign(struct control *control, struct error *err)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
	for (int i = 0; i < control->setup.partitions; i++)
		rd_kafka_topic_partition_list_add(list, control->setup.topic, i)->offset = RD_KAFKA_OFFSET_END;
	rd_kafka_resp_err_t error = rd_kafka_assign(control->consumer, list);
	rd_kafka_topic_partition_list_destroy(list);
	return error ? fail(err, E_INVALID, "cannot read the topic %s: %s", control->setup.topic, rd_kafka_err2str(error)) : E_OK;
}

enum status control_open(const struct control_setup *setup, struct control **opened, struct error *err)
{
	struct control *control = xcalloc(1, sizeof *control);
	control->setup = *setup;
	enum status status = open_consumer(control, err);
	if (status) {
		free(control);
		return status;
	}
	control->records = rd_kafka_queue_get_consumer(control->consumer);
	rd_kafka_queue_cb_event_enable(control->records, on_event, control);
	status = assign(control, err);
	if (status)
		control_close(TAKE(control), 0);
	*opened = control;
	return status;
}

void control_close(struct control *control, int timeout_ms)
{
	if (!control)
		return;
	rd_kafka_queue_cb_event_enable(control->records, NULL, NULL);
	rd_kafka_queue_destroy(control->records);
	kafka_consumer_close(control->consumer, timeout_ms);
	free(control);
}
