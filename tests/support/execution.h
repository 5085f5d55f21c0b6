#pragma once

/*
 * The workers' ledger of the fault suite: a file to which every execution appends a line when it starts and one when it ends,
 * each with a single write(2) and O_APPEND, so that all workers share it and a kill loses nothing that was written.
 *
 *     S OPERATION TASK ATTEMPT PID WALL MONOTONIC NONCE
 *     E OPERATION TASK ATTEMPT PID WALL MONOTONIC NONCE
 *
 * Clocks in nanoseconds. The nonce is made for this one execution and is part of its result: it tells whose result a row holds.
 */

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

struct execution {
	const char *path;
	const char *operation;
	const char *task;
	int attempt;
	char nonce[33];
};

static inline long long execution_clock(clockid_t clock)
{
	struct timespec time;
	clock_gettime(clock, &time);
	return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static inline void execution_draw_nonce(struct execution *execution)
{
	unsigned char bytes[16] = {0};
	if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes)
		bytes[0] = 0;
	for (size_t i = 0; i < sizeof bytes; i++)
		snprintf(execution->nonce + 2 * i, 3, "%02x", bytes[i]);
}

static inline bool execution_note(const struct execution *execution, char what)
{
	char line[300];
	int length = snprintf(line, sizeof line, "%c %s %s %d %d %lld %lld %s\n", what, execution->operation, execution->task, execution->attempt, (int)getpid(),
			      execution_clock(CLOCK_REALTIME), execution_clock(CLOCK_MONOTONIC), execution->nonce);
	int file = open(execution->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
	if (file < 0)
		return false;
	bool written = write(file, line, (size_t)length) == length;
	close(file);
	return written;
}
