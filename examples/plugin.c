/*
 * A plug-in for kser-worker: more entrypoints without a program of one's own.
 *
 *     cc -shared -fPIC plugin.c $(pkg-config --cflags kser-worker) -o plugin.so
 *     kser-worker --plugin ./plugin.so
 *     kser submit --name plugin.sum --params '{"numbers": [1, 2, 3]}' --wait
 */

#include <json-c/json.h>
#include <kser/worker.h>

/* params: numbers, an array. Their sum goes to retval and, if asked for, a task that echoes it to the plan. */
static enum kser_outcome sum(struct kser_task *task, struct kser_result *result, void *context)
{
	(void)context;
	struct json_object *numbers = json_object_object_get(kser_task_params(task), "numbers");
	if (!json_object_is_type(numbers, json_type_array))
		return kser_result_fail(result, 400, "ValidationError", "numbers: must be an array");
	double total = 0;
	for (size_t i = 0; i < json_object_array_length(numbers); i++)
		total += json_object_get_double(json_object_array_get_idx(numbers, i));
	kser_result_put(result, "sum", json_object_new_double(total));
	if (json_object_get_boolean(json_object_object_get(kser_task_params(task), "tell"))) {
		struct json_object *params = json_object_new_object();
		json_object_object_add(params, "text", json_object_new_string("the sum is known"));
		kser_result_add_task(result, "echo", params);
	}
	return KSER_SUCCESS;
}

int kser_plugin(struct kser_worker *worker)
{
	static const char *const required[] = {"numbers", NULL};
	return kser_worker_register(worker, &(struct kser_entrypoint){KSER_ENTRYPOINT, .name = "plugin.sum", .run = sum, .required = required}) ? 0 : 1;
}
