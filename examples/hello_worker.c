/* A complete worker in C. Built beside kser:  cc hello_worker.c $(pkg-config --cflags --libs kser-worker) -o hello-worker */

#include <json-c/json.h>
#include <kser/worker.h>

/* params: name, a text. Greets, and counts the letters for the tasks that follow. */
static enum kser_outcome greet(struct kser_task *task, struct kser_result *result, void *context)
{
	const char *greeting = context;
	const char *name = kser_task_text(task, "name", "");
	if (!*name)
		return kser_result_fail(result, 400, "ValidationError", "name: must not be empty");
	kser_result_print(result, "%s, %s!", greeting, name);
	kser_result_put(result, "letters", json_object_new_int(json_object_get_string_len(json_object_object_get(kser_task_params(task), "name"))));
	return KSER_SUCCESS;
}

int main(int argc, char **argv)
{
	static const char *const required[] = {"name", NULL};
	static char greeting[] = "Hello";
	int status;
	struct kser_worker *worker = kser_worker_new(argc, argv, &status);
	if (!worker)
		return status;
	kser_worker_register(worker, &(struct kser_entrypoint){KSER_ENTRYPOINT, .name = "hello.greet", .run = greet, .required = required, .context = greeting});
	status = kser_worker_run(worker);
	kser_worker_free(worker);
	return status;
}
