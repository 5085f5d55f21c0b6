/*
 * A worker plug-in for the tests: entrypoints that note each execution in a file, for counting. One
 * write(2) with O_APPEND for each line, so that workers share the file and a kill loses nothing.
 */

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "kser/worker.h"
#include "tests/support/execution.h"

/* Appends "OPERATION POSITION ATTEMPT PID". */
static bool note(struct kser_task *task, const char *path)
{
	char line[200];
	int length = snprintf(line, sizeof line, "%s %d %d %d\n", kser_task_operation(task), kser_task_position(task), kser_task_attempt(task), (int)getpid());
	int file = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
	if (file < 0)
		return false;
	bool written = write(file, line, (size_t)length) == length;
	close(file);
	return written;
}

/* params: ledger, the file; code, to fail with unless 0. */
static enum kser_outcome run_note(struct kser_task *task, struct kser_result *result, void *context)
{
	(void)context;
	int64_t code = kser_task_integer(task, "code", 0);
	if (!note(task, kser_task_text(task, "ledger", "")))
		return kser_result_fail(result, 500, "LedgerError", "cannot write the ledger");
	if (code)
		return kser_result_fail(result, (int32_t)code, "Wanted", "failed as asked for");
	kser_result_put_integer(result, "position", kser_task_position(task));
	return KSER_SUCCESS;
}

/* As note, then holds the task until the file named by the parameter `gate` exists. */
static enum kser_outcome run_hold(struct kser_task *task, struct kser_result *result, void *context)
{
	const struct timespec pause = {.tv_nsec = 20 * 1000 * 1000};
	enum kser_outcome outcome = run_note(task, result, context);
	while (access(kser_task_text(task, "gate", ""), F_OK) != 0 && !kser_task_cancelled(task))
		nanosleep(&pause, NULL);
	return outcome;
}

static void pause_ms(int64_t ms)
{
	nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

/* params: ledger; ms, how long it runs. Notes start and end for the fault suite (tests/support/execution.h). */
static enum kser_outcome run_work(struct kser_task *task, struct kser_result *result, void *context)
{
	(void)context;
	struct execution execution = {.path = kser_task_text(task, "ledger", ""), .operation = kser_task_operation(task), .task = kser_task_uuid(task),
				      .attempt = kser_task_attempt(task)};
	execution_draw_nonce(&execution);
	if (!execution_note(&execution, 'S'))
		return kser_result_fail(result, 500, "LedgerError", "cannot write the ledger");
	const int64_t step = 20;
	for (int64_t left = kser_task_integer(task, "ms", 0); left > 0; left -= step) {
		if (kser_task_cancelled(task))
			return kser_result_fail(result, 499, "Cancelled", "was told to stop");
		pause_ms(left < step ? left : step);
	}
	if (!execution_note(&execution, 'E'))
		return kser_result_fail(result, 500, "LedgerError", "cannot write the ledger");
	kser_result_put_text(result, "nonce", execution.nonce);
	return KSER_SUCCESS;
}

/* As work, once the file named by the parameter `mended` exists; until then it fails with 500. */
static enum kser_outcome run_broken(struct kser_task *task, struct kser_result *result, void *context)
{
	enum kser_outcome outcome = run_work(task, result, context);
	if (access(kser_task_text(task, "mended", ""), F_OK) == 0)
		return outcome;
	return kser_result_fail(result, 500, "Broken", "fails until it is mended");
}

/* As work, but its worker does not survive it: the segmentation fault of a bad plug-in. */
static enum kser_outcome run_crash(struct kser_task *task, struct kser_result *result, void *context)
{
	enum kser_outcome outcome = run_work(task, result, context);
	kill(getpid(), SIGKILL);
	return outcome;
}

int kser_plugin(struct kser_worker *worker)
{
	static const char *const required[] = {"ledger", NULL};
	static const char *const required_hold[] = {"ledger", "gate", NULL};
	kser_worker_register(worker, &(struct kser_entrypoint){KSER_ENTRYPOINT, .name = "ledger.note", .run = run_note, .required = required});
	kser_worker_register(worker, &(struct kser_entrypoint){KSER_ENTRYPOINT, .name = "ledger.hold", .run = run_hold, .required = required_hold});
	kser_worker_register(worker, &(struct kser_entrypoint){KSER_ENTRYPOINT, .name = "ledger.work", .run = run_work, .required = required});
	kser_worker_register(worker, &(struct kser_entrypoint){KSER_ENTRYPOINT, .name = "ledger.crash", .run = run_crash, .required = required});
	kser_worker_register(worker, &(struct kser_entrypoint){KSER_ENTRYPOINT, .name = "ledger.broken", .run = run_broken, .required = required});
	return 0;
}
