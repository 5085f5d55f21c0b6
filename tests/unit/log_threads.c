/* Several threads log while another changes the level: whole lines, none lost, nothing for ThreadSanitizer to tell. */

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/log.h"

#define THREADS 4
#define LINES 500

static void *write_lines(void *argument)
{
	const char *name = argument;
	for (int i = 0; i < LINES; i++)
		log_error("line", "thread", name, "number", LOG_INT(i), "text", "a\nb");
	return NULL;
}

static void *change_level(void *argument)
{
	(void)argument;
	for (int i = 0; i < LINES; i++)
		log_set_level(i % 2 ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERROR);
	return NULL;
}

/* Reads one line of each write; the next number of each thread must follow. */
static void check_line(int end, int next[THREADS])
{
	char line[1000];
	ssize_t length = recv(end, line, sizeof line - 1, 0);
	assert(length > 0);
	line[length] = '\0';
	assert(strchr(line, '\n') == line + length - 1);
	int thread;
	int number;
	const char *place = strstr(line, "thread=");
	assert(place && sscanf(place, "thread=%d number=%d text=\"a\\nb\"\n", &thread, &number) == 2);
	assert(thread >= 0 && thread < THREADS && number == next[thread]++);
}

int main(void)
{
	int ends[2];
	int outcome = socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends);
	assert(outcome == 0);
	int kept = dup(STDERR_FILENO); /* a sanitizer writes there as well, at the end */
	dup2(ends[1], STDERR_FILENO);
	log_open("test", LOG_LEVEL_INFO, LOG_FORMAT_LOGFMT);
	static char names[THREADS][2] = {"0", "1", "2", "3"};
	pthread_t threads[THREADS + 1];
	for (int i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, write_lines, names[i]);
	pthread_create(&threads[THREADS], NULL, change_level, NULL);
	int next[THREADS] = {0};
	for (int i = 0; i < THREADS * LINES; i++)
		check_line(ends[0], next);
	for (int i = 0; i <= THREADS; i++)
		pthread_join(threads[i], NULL);
	dup2(kept, STDERR_FILENO);
	return 0;
}
