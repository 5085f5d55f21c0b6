/*
 * To be preloaded: a wall clock that is wrong by WRONG_CLOCK_SECONDS for those programs and libraries whose file name contains
 * WRONG_CLOCK_OF. libfaketime shifts every caller's clock, also librdkafka's, whose waits (cnd_timedwait) it does not shift:
 * they would last that much longer.
 */

#include <dlfcn.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

static time_t shift_for(const void *caller)
{
	const char *seconds = getenv("WRONG_CLOCK_SECONDS"), *of = getenv("WRONG_CLOCK_OF");
	Dl_info file;
	if (!seconds || !of || !dladdr(caller, &file))
		return 0;
	const char *slash = strrchr(file.dli_fname, '/');
	return strstr(slash ? slash : file.dli_fname, of) ? atol(seconds) : 0;
}

EXPORT int clock_gettime(clockid_t clock, struct timespec *now)
{
	int error = (int)syscall(SYS_clock_gettime, clock, now);
	if (error == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
		now->tv_sec += shift_for(__builtin_return_address(0));
	return error;
}

EXPORT int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
	int error = (int)syscall(SYS_gettimeofday, now, zone);
	if (error == 0)
		now->tv_sec += shift_for(__builtin_return_address(0));
	return error;
}

EXPORT time_t time(time_t *kept)
{
	struct timespec now;
	syscall(SYS_clock_gettime, CLOCK_REALTIME, &now);
	now.tv_sec += shift_for(__builtin_return_address(0));
	if (kept)
		*kept = now.tv_sec;
	return now.tv_sec;
}
