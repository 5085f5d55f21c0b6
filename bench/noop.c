/* A worker plug-in for the bench: the entrypoint `noop` does nothing. */

#include "kser/worker.h"

static enum kser_outcome run_noop(struct kser_task *task, struct kser_result *result, void *context)
{
	(void)task;
	(void)result;
	(void)context;
	return KSER_SUCCESS;
}

int kser_plugin(struct kser_worker *worker)
{
	return kser_worker_register(worker, &(struct kser_entrypoint){KSER_ENTRYPOINT, .name = "noop", .run = run_noop}) ? 0 : 1;
}
