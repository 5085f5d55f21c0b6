/* The ready-made worker: all it can do, the library can. */

#include <signal.h>
#include <unistd.h>

#include "kser/worker.h"

int main(int argc, char **argv)
{
	int status;
	sigset_t hangup;
	/* The reader of our log may go away at any time, also before it runs and behind that. */
	signal(SIGPIPE, SIG_IGN);
	/* One that comes while it starts waits until the keys can be read again. */
	sigemptyset(&hangup);
	sigaddset(&hangup, SIGHUP);
	sigprocmask(SIG_BLOCK, &hangup, NULL);
	struct kser_worker *worker = kser_worker_new(argc, argv, &status);
	if (!worker)
		return status;
	status = kser_worker_run(worker);
	/* Tasks that it gave up may still run: nothing is to be torn down under them. */
	if (status == 1)
		_exit(status);
	kser_worker_free(worker);
	return status;
}
