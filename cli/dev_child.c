#include "cli/dev_child.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cli/output.h"
#include "common/clock.h"
#include "common/memory.h"

#define SETPRIV "/usr/bin/setpriv"
#define ARGUMENTS_MAX 40
#define HURRY_MS 2000

/* Of a log: enough to see the reason, little enough to read. */
#define TAIL_BYTES 4096
#define TAIL_LINES 12

extern char **environ;

static sigset_t awaited_signals(void)
{
	sigset_t set;
	struct sigaction hangup;
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	/* Started with nohup, it is to outlive the terminal. */
	if (sigaction(SIGHUP, NULL, &hangup) == 0 && hangup.sa_handler != SIG_IGN)
		sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGCHLD);
	return set;
}

void child_block_signals(void)
{
	sigset_t set = awaited_signals();
	sigprocmask(SIG_BLOCK, &set, NULL);
	/* A shell starts what is in the background with SIGINT ignored. */
	signal(SIGINT, SIG_DFL);
	/* A reader of our words who goes away must not keep us from cleaning up. */
	signal(SIGPIPE, SIG_IGN);
}

enum wake child_wait_signal(int timeout_ms)
{
	sigset_t set = awaited_signals();
	int64_t until = clock_monotonic_ms() + timeout_ms;
	for (;;) {
		int64_t left = until - clock_monotonic_ms();
		left = left > 0 ? left : 0;
		struct timespec time = {left / 1000, left % 1000 * 1000000};
		int number = timeout_ms < 0 ? sigwaitinfo(&set, NULL) : sigtimedwait(&set, NULL, &time);
		if (number == SIGCHLD)
			return WAKE_CHILD;
		if (number > 0)
			return WAKE_STOP;
		if (errno == EAGAIN)
			return WAKE_TIMEOUT;
	}
}

static bool same_name(const char *setting, const char *other)
{
	size_t length = strcspn(setting, "=");
	return strncmp(setting, other, length) == 0 && other[length] == '=';
}

/* Our environment with the settings in it. The strings are borrowed. */
static char **merged_environment(const char *const *settings)
{
	size_t ours = 0, added = 0, count = 0;
	while (environ[ours])
		ours++;
	while (settings[added])
		added++;
	char **merged = xcalloc(ours + added + 1, sizeof *merged);
	for (size_t i = 0; i < ours; i++) {
		bool replaced = false;
		for (size_t k = 0; k < added; k++)
			replaced |= same_name(settings[k], environ[i]);
		if (!replaced)
			merged[count++] = environ[i];
	}
	for (size_t k = 0; k < added; k++)
		merged[count++] = (char *)(uintptr_t)settings[k];
	return merged;
}

/* setpriv becomes the program itself, so that the process id is the program's. */
static enum status complete_arguments(const struct child_start *start, const char *arguments[ARGUMENTS_MAX], struct error *err)
{
	size_t count = 0;
	bool wrapped = access(SETPRIV, X_OK) == 0;
	if (!wrapped && start->user)
		return fail(err, E_INVALID, "%s is missing (package util-linux): needed to run PostgreSQL as another user than root", SETPRIV);
	if (wrapped) {
		arguments[count++] = SETPRIV;
		arguments[count++] = "--pdeathsig";
		arguments[count++] = start->last_signal;
	}
	if (start->user) {
		const char *const switches[] = {"--reuid", start->user, "--regid", start->user, "--init-groups"};
		for (size_t i = 0; i < COUNT_OF(switches); i++)
			arguments[count++] = switches[i];
	}
	for (size_t i = 0; start->arguments[i]; i++) {
		assert(count < ARGUMENTS_MAX - 1);
		arguments[count++] = start->arguments[i];
	}
	arguments[count] = NULL;
	return E_OK;
}

static void set_signals(posix_spawnattr_t *attributes)
{
	sigset_t none, standard;
	sigemptyset(&none);
	sigfillset(&standard);
	posix_spawnattr_setsigmask(attributes, &none);
	posix_spawnattr_setsigdefault(attributes, &standard);
	posix_spawnattr_setpgroup(attributes, 0);
	posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
}

enum status child_start(struct child *child, const struct child_start *start, struct error *err)
{
	const char *arguments[ARGUMENTS_MAX];
	char **environment CLEANUP(free_pointer) = merged_environment(start->settings);
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attributes;
	enum status status = complete_arguments(start, arguments, err);
	if (status)
		return status;
	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, child->log, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW, 0600);
	posix_spawn_file_actions_adddup2(&files, STDOUT_FILENO, STDERR_FILENO);
	if (start->directory)
		posix_spawn_file_actions_addchdir_np(&files, start->directory);
	posix_spawnattr_init(&attributes);
	set_signals(&attributes);
	int problem = posix_spawn(&child->pid, arguments[0], &files, &attributes, (char *const *)(uintptr_t)arguments, environment);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&files);
	if (problem == 0)
		return E_OK;
	child->pid = 0;
	return fail(err, E_FATAL, "cannot start %s (%s): %s", child->name, start->arguments[0], strerror(problem));
}

bool child_ended(struct child *child)
{
	if (child->pid > 0 && waitpid(child->pid, &child->status, WNOHANG) != 0)
		child->pid = 0;
	return child->pid == 0;
}

enum status child_finish(struct child *child, struct error *err)
{
	while (!child_ended(child))
		if (child_wait_signal(-1) == WAKE_STOP)
			return fail(err, E_RETRY, "stopped while %s was at work", child->name);
	if (child->status == 0)
		return E_OK;
	struct buffer end CLEANUP(buffer_clear) = {0};
	child_add_end(&end, child);
	return fail(err, E_FATAL, "%s failed (%s)", child->name, end.bytes);
}

/* True when it has ended in time. */
static bool wait_for_end(struct child *child, int timeout_ms, bool *now)
{
	bool patient = !*now;
	int64_t until = clock_monotonic_ms() + timeout_ms;
	for (int64_t left = timeout_ms; !child_ended(child) && left > 0; left = until - clock_monotonic_ms())
		if (child_wait_signal((int)left) == WAKE_STOP) {
			*now = true;
			if (patient)
				return false;
		}
	return child_ended(child);
}

void child_stop(struct child *child, int first, int hurry, int timeout_ms, bool *now)
{
	if (child_ended(child))
		return;
	if (!*now) {
		kill(child->pid, first);
		if (wait_for_end(child, timeout_ms, now))
			return;
	}
	if (*now) {
		kill(child->pid, hurry);
		if (wait_for_end(child, HURRY_MS, now))
			return;
	}
	kill(child->pid, SIGKILL);
	waitpid(child->pid, &child->status, 0);
	child->pid = 0;
}

void child_add_end(struct buffer *out, const struct child *child)
{
	if (WIFSIGNALED(child->status))
		buffer_printf(out, "signal %d", WTERMSIG(child->status));
	else
		buffer_printf(out, "exit status %d", WEXITSTATUS(child->status));
}

/* The last lines of a text, as far as they are whole. */
static struct slice last_lines(struct slice text, size_t lines)
{
	size_t start = text.length;
	while (start > 0 && lines > 0) {
		start--;
		if (start > 0 && text.start[start - 1] == '\n')
			lines--;
	}
	return (struct slice){text.start + start, text.length - start};
}

static size_t read_tail(const char *path, char bytes[TAIL_BYTES])
{
	int file = open(path, O_RDONLY | O_CLOEXEC);
	if (file < 0)
		return 0;
	off_t size = lseek(file, 0, SEEK_END);
	off_t from = size > TAIL_BYTES ? size - TAIL_BYTES : 0;
	ssize_t got = pread(file, bytes, TAIL_BYTES, from);
	close(file);
	return got > 0 ? (size_t)got : 0;
}

void child_add_log_tail(struct buffer *out, const struct child *child)
{
	char bytes[TAIL_BYTES];
	struct slice text = last_lines((struct slice){bytes, read_tail(child->log, bytes)}, TAIL_LINES);
	while (text.length > 0) {
		const char *end = memchr(text.start, '\n', text.length);
		size_t length = end ? (size_t)(end - text.start) : text.length;
		buffer_add_text(out, "    ");
		output_add_printable(out, (struct slice){text.start, length});
		buffer_add_char(out, '\n');
		length += end ? 1 : 0;
		text = (struct slice){text.start + length, text.length - length};
	}
}
