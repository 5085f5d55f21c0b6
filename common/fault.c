#include "common/fault.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/settings.h"

#define POINTS_MAX 32

struct point {
	char name[80];
	char action[16];
	long wait_ms;
	long only; /* the Nth time; 0: each time */
	long count;
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct point points[POINTS_MAX];
static int point_count;

static void read_point(char *text)
{
	struct point *point = &points[point_count];
	char *action = strchr(text, '=');
	if (!action || point_count == POINTS_MAX) {
		fprintf(stderr, "KSER_FAULT: cannot read '%s'\n", text);
		_exit(2);
	}
	*action++ = '\0';
	char *only = strchr(action, '@'), *wait = strchr(action, ':');
	point->only = only ? strtol(only + 1, NULL, 10) : 0;
	point->wait_ms = wait ? strtol(wait + 1, NULL, 10) : 0;
	snprintf(point->name, sizeof point->name, "%s", text);
	snprintf(point->action, sizeof point->action, "%.*s", (int)strcspn(action, ":@"), action);
	point_count++;
}

static void read_points(void)
{
	const char *given = settings_environment("KSER_FAULT");
	char *list = strdup(given ? given : ""), *rest = list;
	for (char *text = strsep(&rest, ","); text; text = strsep(&rest, ","))
		if (*text)
			read_point(text);
	free(list);
}

static void tell(const struct point *point)
{
	const char *path = settings_environment("KSER_FAULT_LOG");
	char line[128];
	int length = snprintf(line, sizeof line, "%s %s %d\n", point->name, point->action, (int)getpid());
	int fd = path ? open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666) : -1;
	if (fd < 0)
		return;
	ssize_t written = write(fd, line, (size_t)length);
	(void)written;
	close(fd);
}

static bool act(const struct point *point)
{
	tell(point);
	if (strcmp(point->action, "kill") == 0)
		kill(getpid(), SIGKILL);
	else if (strcmp(point->action, "stop") == 0)
		kill(getpid(), SIGSTOP);
	else if (strcmp(point->action, "sleep") == 0)
		nanosleep(&(struct timespec){.tv_sec = point->wait_ms / 1000, .tv_nsec = point->wait_ms % 1000 * 1000000}, NULL);
	return strcmp(point->action, "error") == 0;
}

static bool is_due(struct point *point)
{
	pthread_mutex_lock(&lock);
	long count = ++point->count;
	pthread_mutex_unlock(&lock);
	return point->only == 0 || count == point->only;
}

bool fault_reach(const char *name)
{
	bool error = false;
	pthread_once(&once, read_points);
	for (int i = 0; i < point_count; i++)
		if (strcmp(points[i].name, name) == 0 && is_due(&points[i]))
			error |= act(&points[i]);
	return error;
}
