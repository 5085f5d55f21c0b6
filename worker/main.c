/* The ready-made worker: all it can do, the library can. */

#include "kser/worker.h"

int main(int argc, char **argv)
{
	int status;
	struct kser_worker *worker = kser_worker_new(argc, argv, &status);
	if (!worker)
		return status;
	status = kser_worker_run(worker);
	kser_worker_free(worker);
	return status;
}
