/*
 * A game of dice: a task, operations made of it, and one made of operations.
 * Built beside kser:  cc dice_worker.c $(pkg-config --cflags --libs kser-worker json-c) -o dice-worker
 *
 *     kser submit --wait - <<< '{"name": "jobs.DiceRoll"}'       one task
 *     kser submit --wait - <<< '{"name": "jobs.DiceLaunch"}'     three rolls, each where a worker is free
 *     kser submit --wait - <<< '{"name": "jobs.Yahtzee"}'        three launches, nine rolls in one list
 *     kser submit --wait - <<< '{"name": "jobs.YahtzeeHere"}'    the same in one task, one roll after the other
 */

#include <json-c/json.h>
#include <kser/operation.h>
#include <sys/random.h>

static enum kser_outcome roll(struct kser_task *task, struct kser_result *result, void *context)
{
	(void)task;
	(void)context;
	unsigned char byte;
	do {
		if (getrandom(&byte, 1, 0) != 1)
			return kser_result_fail(result, 500, NULL, "no randomness");
	} while (byte >= 252); /* 42 of each */
	kser_result_print(result, "You made a %d", byte % 6 + 1);
	kser_result_put_integer(result, "roll", byte % 6 + 1);
	return KSER_SUCCESS;
}

/* params: rolls, 3 unless given. */
static enum kser_outcome launch(struct kser_operation *operation, struct json_object *arguments, struct kser_result *result, void *context)
{
	(void)context;
	struct json_object *given = json_object_object_get(arguments, "rolls");
	int rolls = given ? json_object_get_int(given) : 3;
	for (int i = 0; i < rolls; i++)
		if (!kser_operation_add(operation, "jobs.DiceRoll", NULL, result))
			return KSER_FAILURE;
	return KSER_SUCCESS;
}

static enum kser_outcome yahtzee(struct kser_operation *operation, struct json_object *arguments, struct kser_result *result, void *context)
{
	(void)context;
	enum kser_outcome outcome = KSER_SUCCESS;
	for (int i = 0; i < 3 && !outcome; i++)
		outcome = kser_operation_add_tasks_of(operation, "jobs.DiceLaunch", json_object_get(arguments), result);
	return outcome;
}

/* The whole operation in this task; what its tasks make is what this one makes. */
static enum kser_outcome yahtzee_here(struct kser_task *task, struct kser_result *result, void *context)
{
	(void)context;
	struct json_object *params = kser_task_params(task);
	struct kser_operation *operation = kser_operation_new(kser_task_worker(task), "jobs.Yahtzee", NULL, json_object_get(params), result);
	if (!operation)
		return KSER_FAILURE;
	struct kser_result *made = kser_result_new();
	enum kser_outcome outcome = kser_operation_build(operation, params, made);
	if (!outcome)
		outcome = kser_operation_execute(operation, NULL, made, task);
	kser_result_add(result, made);
	kser_result_put_integer(result, "rolls", (int64_t)kser_operation_count(operation));
	kser_result_free(made);
	kser_operation_free(operation);
	return outcome;
}

static void register_all(struct kser_worker *worker)
{
	kser_worker_register(worker, &(struct kser_entrypoint){KSER_ENTRYPOINT, .name = "jobs.DiceRoll", .run = roll});
	kser_worker_register_operation(worker, &(struct kser_operation_class){KSER_OPERATION, .name = "jobs.DiceLaunch", .build_tasks = launch});
	kser_worker_register_operation(worker, &(struct kser_operation_class){KSER_OPERATION, .name = "jobs.Yahtzee", .build_tasks = yahtzee});
	kser_worker_register(worker, &(struct kser_entrypoint){KSER_ENTRYPOINT, .name = "jobs.YahtzeeHere", .run = yahtzee_here});
}

int main(int argc, char **argv)
{
	int status;
	struct kser_worker *worker = kser_worker_new(argc, argv, &status);
	if (!worker)
		return status;
	register_all(worker);
	status = kser_worker_run(worker);
	kser_worker_free(worker);
	return status;
}
