/* A worker plug-in for the bench: `noop` does nothing, `stamp` leaves the moment of its start in its result. */

#include <time.h>

#include "kser/worker.h"

static enum kser_outcome run_noop(struct kser_task *task, struct kser_result *result, void *context)
{
	(void)task;
	(void)result;
	(void)context;
	return KSER_SUCCESS;
}

/* In microseconds since 1970, the clock that the database tells too when both are on one machine. */
static enum kser_outcome run_stamp(struct kser_task *task, struct kser_result *result, void *context)
{
	struct timespec now;
	(void)task;
	(void)context;
	clock_gettime(CLOCK_REALTIME, &now);
	kser_result_put_integer(result, "at_us", (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000);
	return KSER_SUCCESS;
}

int kser_plugin(struct kser_worker *worker)
{
	bool noop = kser_worker_register(worker, &(struct kser_entrypoint){KSER_ENTRYPOINT, .name = "noop", .run = run_noop});
	bool stamp = kser_worker_register(worker, &(struct kser_entrypoint){KSER_ENTRYPOINT, .name = "stamp", .run = run_stamp});
	return noop && stamp ? 0 : 1;
}
