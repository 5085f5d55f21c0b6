#include "worker/signals.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include "common/attributes.h"

static const int numbers[] = {SIGTERM, SIGINT, SIGHUP};

static struct sigaction before[COUNT_OF(numbers)];
static struct sigaction pipe_before;
static sigset_t mask_before;
static atomic_int wake = -1;
static atomic_int count;
static atomic_int hangups;

static void on_signal(int number)
{
	int saved_errno = errno;
	atomic_fetch_add(number == SIGHUP ? &hangups : &count, 1);
	const uint64_t one = 1;
	ssize_t written = write(atomic_load(&wake), &one, sizeof one);
	(void)written; /* a full eventfd wakes as well */
	errno = saved_errno;
}

/* Who reads our log may go away: that is a write that fails. A program that handles the signal itself goes on doing so. */
static void ignore_broken_pipes(void)
{
	struct sigaction ignore = {.sa_handler = SIG_IGN};
	sigemptyset(&ignore.sa_mask);
	sigaction(SIGPIPE, NULL, &pipe_before);
	if (!(pipe_before.sa_flags & SA_SIGINFO) && pipe_before.sa_handler == SIG_DFL)
		sigaction(SIGPIPE, &ignore, NULL);
}

void signals_catch(int wake_fd)
{
	atomic_store(&wake, wake_fd);
	atomic_store(&count, 0);
	atomic_store(&hangups, 0);
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
	sigemptyset(&action.sa_mask);
	for (size_t i = 0; i < COUNT_OF(numbers); i++)
		sigaction(numbers[i], &action, &before[i]);
	ignore_broken_pipes();
	sigset_t hangup;
	sigemptyset(&hangup);
	sigaddset(&hangup, SIGHUP);
	pthread_sigmask(SIG_UNBLOCK, &hangup, &mask_before);
}

int signals_count(void)
{
	return atomic_load(&count);
}

int signals_hangups(void)
{
	return atomic_load(&hangups);
}

void signals_release(void)
{
	pthread_sigmask(SIG_SETMASK, &mask_before, NULL);
	for (size_t i = 0; i < COUNT_OF(numbers); i++)
		sigaction(numbers[i], &before[i], NULL);
	sigaction(SIGPIPE, &pipe_before, NULL);
	atomic_store(&wake, -1);
}
