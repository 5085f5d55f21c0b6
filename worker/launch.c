/*
 * kser-launch: runs one command for a worker and outlives it in no case.
 *
 *     kser-launch WORKER_PID LIMIT_MS PROGRAM [ARGUMENT …]
 *
 * The command gets a process group of its own. The group is killed when the command has ended, when
 * the time limit is over (SIGTERM, then SIGKILL after a grace), when the worker asks for it (SIGTERM to
 * this process, the same grace), and at once when the worker has died. LIMIT_MS 0: no limit.
 *
 * What became of the command is one line on descriptor 3: "exit N", "signal N", "timeout", "stopped" or
 * "errno N" (could not be executed). The file that KSER_RESULT_FILE names is removed when nobody is left to do it.
 */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define REPORT_FD 3
#define GRACE_MS 2000

extern char **environ;

static int64_t now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void report(const char *what, int number)
{
	char line[64];
	int length = snprintf(line, sizeof line, "%s %d\n", what, number);
	ssize_t written = write(REPORT_FD, line, (size_t)length);
	(void)written; /* nobody is left to hear of it */
}

/* ---- starting ---- */

static _Noreturn void run_command(char **arguments, int errno_fd)
{
	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execvp(arguments[0], arguments);
	int number = errno;
	ssize_t written = write(errno_fd, &number, sizeof number);
	(void)written;
	_exit(127);
}

/* The command's pid, or -1 with errno set when it could not be executed. */
static pid_t start(char **arguments)
{
	int pipe_fds[2];
	if (pipe2(pipe_fds, O_CLOEXEC))
		return -1;
	pid_t pid = fork();
	if (pid == 0)
		run_command(arguments, pipe_fds[1]);
	close(pipe_fds[1]);
	int number = errno;
	ssize_t got = 0;
	if (pid > 0) {
		setpgid(pid, pid);
		got = read(pipe_fds[0], &number, sizeof number);
	}
	close(pipe_fds[0]);
	if (pid > 0 && got != (ssize_t)sizeof number)
		return pid;
	if (pid > 0)
		waitpid(pid, NULL, 0);
	errno = number;
	return -1;
}

/* ---- ending ---- */

static const char *variable(const char *name)
{
	size_t length = strlen(name);
	for (char **entry = environ; *entry; entry++)
		if (strncmp(*entry, name, length) == 0 && (*entry)[length] == '=')
			return *entry + length + 1;
	return NULL;
}

static void remove_result_file(void)
{
	const char *result_file = variable("KSER_RESULT_FILE");
	if (result_file)
		unlink(result_file);
}

/* True when the command has ended; it is not reaped, so that its group's id is nobody else's yet. */
static bool has_ended(pid_t pid)
{
	siginfo_t info = {0};
	return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == pid;
}

struct watch {
	pid_t worker;
	pid_t command;
	int64_t until_ms;   /* 0 = for ever */
	const char *ending; /* why the command is being ended; NULL: it is not */
};

/* What a worker that is gone has left: its command, if there is one yet, and its file. */
static void end_with_worker(const struct watch *watch)
{
	if (getppid() == watch->worker)
		return;
	if (watch->command > 0)
		kill(-watch->command, SIGKILL);
	remove_result_file();
	_exit(1);
}

static void begin_end(struct watch *watch, const char *why)
{
	if (watch->ending)
		return;
	watch->ending = why;
	watch->until_ms = now_ms() + GRACE_MS;
	kill(-watch->command, SIGTERM);
	kill(-watch->command, SIGCONT);
}

static void wait_for_signal(struct watch *watch, const sigset_t *signals)
{
	int64_t left = watch->until_ms ? watch->until_ms - now_ms() : INT_MAX;
	left = left > 0 ? left : 0;
	struct timespec timeout = {.tv_sec = (time_t)(left / 1000), .tv_nsec = (long)(left % 1000) * 1000000};
	int number = sigtimedwait(signals, NULL, &timeout);
	end_with_worker(watch);
	if (number == SIGTERM)
		begin_end(watch, "stopped");
}

static void watch_command(struct watch *watch, const sigset_t *signals)
{
	while (!has_ended(watch->command)) {
		wait_for_signal(watch, signals);
		if (!watch->until_ms || now_ms() < watch->until_ms)
			continue;
		if (!watch->ending) {
			begin_end(watch, "timeout");
		} else {
			kill(-watch->command, SIGKILL);
			watch->until_ms = 0;
		}
	}
	kill(-watch->command, SIGKILL);
}

static void report_end(const struct watch *watch)
{
	int status = 0;
	waitpid(watch->command, &status, 0);
	/* Nobody reads the result of what was ended; and who seems to ask for a stop may be a worker that is being killed, of which some threads are left. */
	if (watch->ending) {
		remove_result_file();
		report(watch->ending, 0);
	} else if (WIFSIGNALED(status)) {
		report("signal", WTERMSIG(status));
	} else {
		report("exit", WEXITSTATUS(status));
	}
}

int main(int argc, char **argv)
{
	if (argc < 4) {
		fprintf(stderr, "usage: kser-launch WORKER_PID LIMIT_MS PROGRAM [ARGUMENT ...]\n(kser-worker starts it)\n");
		return 2;
	}
	/* Ctrl-C in the worker's terminal is for the worker, which may want to wait for the command. */
	sigset_t all, signals;
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	sigemptyset(&signals);
	sigaddset(&signals, SIGCHLD);
	sigaddset(&signals, SIGTERM);
	struct watch watch = {.worker = (pid_t)strtol(argv[1], NULL, 10)};
	int64_t limit_ms = strtoll(argv[2], NULL, 10);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	end_with_worker(&watch);
	fcntl(REPORT_FD, F_SETFD, FD_CLOEXEC);
	watch.until_ms = limit_ms > 0 ? now_ms() + limit_ms : 0;
	watch.command = start(argv + 3);
	if (watch.command < 0) {
		report("errno", errno);
		return 0;
	}
	/* The command alone keeps its streams open, so that their end is its end. */
	for (int fd = 0; fd < REPORT_FD; fd++)
		close(fd);
	watch_command(&watch, &signals);
	end_with_worker(&watch);
	report_end(&watch);
	return 0;
}
