/*
 * A command for the fault suite, run by kser-worker as any other: notes its start, sleeps, notes its end.
 * ledger-command LEDGER MILLISECONDS
 */

#include <stdlib.h>

#include "tests/support/execution.h"

static const char *variable(const char *name)
{
	const char *value = getenv(name);
	return value ? value : "-";
}

static bool leave_result(const struct execution *execution)
{
	FILE *file = fopen(variable("KSER_RESULT_FILE"), "w");
	if (!file)
		return false;
	bool printed = fprintf(file, "{\"retval\": {\"nonce\": \"%s\"}}\n", execution->nonce) > 0;
	return fclose(file) == 0 && printed;
}

int main(int argc, char **argv)
{
	if (argc != 3)
		return 64;
	struct execution execution = {.path = argv[1], .operation = variable("KSER_OPERATION"), .task = variable("KSER_TASK"), .attempt = atoi(variable("KSER_ATTEMPT"))};
	long ms = strtol(argv[2], NULL, 10);
	execution_draw_nonce(&execution);
	if (!execution_note(&execution, 'S'))
		return 1;
	nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
	return execution_note(&execution, 'E') && leave_result(&execution) ? 0 : 1;
}
