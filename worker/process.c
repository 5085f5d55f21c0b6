#include "worker/process.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/fault.h"
#include "common/memory.h"

/* The ends of the four pipes, in the order of the launcher's descriptors. */
enum stream { STREAM_IN, STREAM_OUT, STREAM_ERR, STREAM_REPORT, STREAMS };

struct running {
	pid_t launcher;
	int ours[STREAMS];
	int theirs[STREAMS];
	struct slice input; /* not yet written */
	char report[64];
	size_t report_length;
	bool stopping;
};

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void close_all(int fds[STREAMS])
{
	for (int stream = 0; stream < STREAMS; stream++)
		close_fd(&fds[stream]);
}

/* ---- starting ---- */

static enum status open_pipes(struct running *running, struct error *err)
{
	for (int stream = 0; stream < STREAMS; stream++) {
		int fds[2];
		if (pipe2(fds, O_CLOEXEC))
			return fail(err, E_FATAL, "cannot make a pipe: %s", strerror(errno));
		bool we_write = stream == STREAM_IN;
		running->ours[stream] = fds[we_write ? 1 : 0];
		running->theirs[stream] = fds[we_write ? 0 : 1];
		fcntl(running->ours[stream], F_SETFL, O_NONBLOCK);
	}
	return E_OK;
}

/*
 * Moves a descriptor above those that the launcher expects: a dup2 onto its own number would keep it close-on-exec,
 * and one onto another one's would close that.
 */
static void move_up(int *fd)
{
	int moved = fcntl(*fd, F_DUPFD_CLOEXEC, STREAMS);
	if (moved < 0)
		return;
	close(*fd);
	*fd = moved;
}

static int spawn(const struct process_request *request, char **words, struct running *running)
{
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attributes;
	sigset_t all;
	sigfillset(&all);
	posix_spawn_file_actions_init(&files);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setsigdefault(&attributes, &all);
	/* The launcher is to end by a signal only when it listens for them: before that it could not report. */
	posix_spawnattr_setsigmask(&attributes, &all);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
	for (int stream = 0; stream < STREAMS; stream++) {
		if (running->theirs[stream] < STREAMS)
			move_up(&running->theirs[stream]);
		posix_spawn_file_actions_adddup2(&files, running->theirs[stream], stream);
	}
	posix_spawn_file_actions_addclosefrom_np(&files, STREAMS);
	int number = posix_spawn(&running->launcher, request->launcher, &files, &attributes, words, request->environment);
	posix_spawn_file_actions_destroy(&files);
	posix_spawnattr_destroy(&attributes);
	return number;
}

static enum status start(const struct process_request *request, struct running *running, struct error *err)
{
	enum status status = open_pipes(running, err);
	if (status)
		return status;
	size_t count = 0;
	while (request->words[count])
		count++;
	char pid[24], limit[24];
	snprintf(pid, sizeof pid, "%d", (int)getpid());
	snprintf(limit, sizeof limit, "%" PRId64, request->limit_ms);
	char **words CLEANUP(free_pointer) = xcalloc(count + 4, sizeof *words);
	words[0] = (char *)(uintptr_t)request->launcher;
	words[1] = pid;
	words[2] = limit;
	memcpy(words + 3, request->words, count * sizeof *words);
	int number = spawn(request, words, running);
	close_all(running->theirs);
	if (number)
		return fail(err, E_FATAL, "cannot start %s: %s", request->launcher, strerror(number));
	return E_OK;
}

/* ---- talking ---- */

static void write_input(struct running *running)
{
	while (running->input.length > 0) {
		ssize_t written = write(running->ours[STREAM_IN], running->input.start, running->input.length);
		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0 && errno == EAGAIN)
			return;
		if (written < 0)
			break;
		running->input.start += written;
		running->input.length -= (size_t)written;
	}
	close_fd(&running->ours[STREAM_IN]);
}

static void take_report(struct running *running, const char *bytes, size_t length)
{
	size_t room = sizeof running->report - 1 - running->report_length;
	length = length < room ? length : room;
	memcpy(running->report + running->report_length, bytes, length);
	running->report_length += length;
}

/* Reads what is there; closes our end when the other is closed. */
static void read_stream(struct running *running, enum stream stream, struct process_outcome *outcome)
{
	char bytes[16384];
	for (;;) {
		ssize_t got = read(running->ours[stream], bytes, sizeof bytes);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0 && errno == EAGAIN)
			return;
		if (got <= 0)
			break;
		if (stream == STREAM_REPORT)
			take_report(running, bytes, (size_t)got);
		else
			output_add(stream == STREAM_OUT ? &outcome->out : &outcome->err, bytes, (size_t)got);
	}
	close_fd(&running->ours[stream]);
}

static void talk_once(struct running *running, int stop_fd, struct process_outcome *outcome)
{
	struct pollfd polled[STREAMS + 1];
	for (int stream = 0; stream < STREAMS; stream++)
		polled[stream] = (struct pollfd){.fd = running->ours[stream], .events = stream == STREAM_IN ? POLLOUT : POLLIN};
	polled[STREAMS] = (struct pollfd){.fd = running->stopping ? -1 : stop_fd, .events = POLLIN};
	if (poll(polled, STREAMS + 1, -1) < 0)
		return;
	if (polled[STREAM_IN].revents)
		write_input(running);
	for (int stream = STREAM_OUT; stream < STREAMS; stream++)
		if (polled[stream].revents)
			read_stream(running, (enum stream)stream, outcome);
	if (polled[STREAMS].revents) {
		running->stopping = true;
		kill(running->launcher, SIGTERM);
	}
}

/*
 * Until the launcher has told the end. What the command wrote is in the pipes by then; a process that
 * fled its group may keep them open, but nobody waits for it.
 */
static void talk(struct running *running, int stop_fd, struct process_outcome *outcome)
{
	while (running->ours[STREAM_REPORT] >= 0)
		talk_once(running, stop_fd, outcome);
	for (int stream = STREAM_OUT; stream <= STREAM_ERR; stream++)
		if (running->ours[stream] >= 0)
			read_stream(running, (enum stream)stream, outcome);
}

static enum status read_report(const char *report, struct process_outcome *outcome, struct error *err)
{
	static const struct {
		const char *word;
		enum process_end end;
	} ends[] = {
		{"exit ", PROCESS_EXIT}, {"signal ", PROCESS_SIGNAL}, {"timeout ", PROCESS_TIMEOUT},
		{"stopped ", PROCESS_STOPPED}, {"errno ", PROCESS_NOT_EXECUTED},
	};
	for (size_t i = 0; i < COUNT_OF(ends); i++) {
		if (strncmp(report, ends[i].word, strlen(ends[i].word)) != 0)
			continue;
		outcome->end = ends[i].end;
		outcome->number = (int)strtol(report + strlen(ends[i].word), NULL, 10);
		return E_OK;
	}
	return fail(err, E_FATAL, "kser-launch ended without a report");
}

static void reap(pid_t pid)
{
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

enum status process_run(const struct process_request *request, struct process_outcome *outcome, struct error *err)
{
	*outcome = (struct process_outcome){0};
	struct running running = {.ours = {-1, -1, -1, -1}, .theirs = {-1, -1, -1, -1}, .input = request->input};
	enum status status = start(request, &running, err);
	if (!status) {
		(void)FAULT("worker.mid_run");
		talk(&running, request->stop_fd, outcome);
		reap(running.launcher);
		status = read_report(running.report, outcome, err);
	}
	close_all(running.ours);
	close_all(running.theirs);
	return status;
}

void process_outcome_clear(struct process_outcome *outcome)
{
	output_clear(&outcome->out);
	output_clear(&outcome->err);
}
