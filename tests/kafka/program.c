#include "tests/kafka/program.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/settings.h"

struct child program_start(struct cluster *cluster, const char *program, const char *const *flags)
{
	char brokers[300];
	snprintf(brokers, sizeof brokers, "--brokers=%s", cluster->brokers);
	char *words[32] = {(char *)(uintptr_t)program, brokers, (char *)(uintptr_t)"--kafka.fetch.wait.max.ms=5", (char *)(uintptr_t)"--log-level=debug"};
	size_t count = 4;
	for (; flags && *flags; flags++)
		words[count++] = (char *)(uintptr_t)*flags;
	struct child child = {.log = "/tmp/kser-test-worker-XXXXXX"};
	int fd = mkstemp(child.log);
	cr_assert_geq(fd, 0);
	child.pid = fork();
	if (child.pid == 0) {
		/* A test that fails takes its programs with it. */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(fd, 1);
		dup2(fd, 2);
		execv(program, words);
		_exit(127);
	}
	cr_assert_gt(child.pid, 0);
	close(fd);
	snprintf(cluster->log, sizeof cluster->log, "%s", child.log);
	return child;
}

struct child worker_start(struct cluster *cluster, const char *const *flags)
{
	return program_start(cluster, BUILD_FOLDER "/bin/kser-worker", flags);
}

static char *read_log(const char *path)
{
	static char text[16 << 20]; /* at log-level debug a task takes a kilobyte */
	int fd = open(path, O_RDONLY);
	ssize_t length = read(fd, text, sizeof text - 1);
	text[length > 0 ? length : 0] = '\0';
	close(fd);
	return text;
}

const char *program_log_end(const char *path, size_t most)
{
	const char *text = read_log(path);
	size_t length = strlen(text);
	return text + (length > most ? length - most : 0);
}

/* What a sanitizer says in a child must fail the test, so it has to reach the test's own output. */
static void forget_log(const struct child *child, bool show)
{
	if (show || settings_environment("SHOW_LOGS") || strstr(read_log(child->log), "Sanitizer") || strstr(read_log(child->log), "runtime error:"))
		fprintf(stderr, "--- log of the worker\n%s---\n", read_log(child->log));
	unlink(child->log);
}

int program_wait(struct child *child, int seconds)
{
	int64_t until_ms = clock_monotonic_ms() + 1000 * (int64_t)seconds;
	int status;
	while (waitpid(child->pid, &status, WNOHANG) == 0) {
		if (clock_monotonic_ms() > until_ms) {
			kill(child->pid, SIGKILL);
			forget_log(child, true);
			cr_assert_fail("the program did not end in %d s", seconds);
		}
		poll(NULL, 0, 5);
	}
	child->pid = 0;
	int code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
	forget_log(child, code != 0 && code != 128 + SIGKILL);
	return code;
}

int program_end(struct child *child, int number)
{
	kill(child->pid, number);
	return program_wait(child, 40);
}

void program_wait_log(const struct child *child, const char *text, int seconds)
{
	int64_t until_ms = clock_monotonic_ms() + 1000 * (int64_t)seconds;
	while (!strstr(read_log(child->log), text)) {
		/* Criterion cannot take a long message. */
		cr_assert_lt(clock_monotonic_ms(), until_ms, "\"%s\" did not come in the log, which ends:\n%s", text, program_log_end(child->log, 4000));
		poll(NULL, 0, 10);
	}
}
