#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "worker/settings.h"

static char path[] = "/tmp/kser-test-settings-XXXXXX";

static enum status read_file(const char *text, struct worker_settings *settings, int *status)
{
	int fd = mkstemp(path);
	cr_assert_geq(fd, 0);
	cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
	char program[] = "kser-worker", flag[] = "--config";
	char *argv[] = {program, flag, path, NULL};
	enum status answer = worker_settings_read(settings, 3, argv, status);
	unlink(path);
	return answer;
}

Test(settings, reads_commands)
{
	struct worker_settings settings = {0};
	int status;
	cr_assert_eq(read_file(
		"[worker]\nslots = 3\nqueue = slow\n"
		"[entrypoint backup.dump]\ncommand = pg_dump --file '{file}' ; x\ntimeout = 2m\nrequired = file, database\nprerun = check {file}\nonerror = tell failed\nenv.LC_ALL = C\nenv.EMPTY =\n"
		"[entrypoint other]\ncommand = true\n"
		"[kafka]\nfetch.wait.max.ms = 5\n", &settings, &status), E_OK);
	cr_expect_eq(settings.slots, 3);
	cr_expect_str_eq(settings.queue, "slow");
	const struct command_entrypoint *first = settings.commands;
	cr_expect_str_eq(first->command.hooks[HOOK_PRERUN].words[0], "check");
	cr_expect_eq(first->command.hooks[HOOK_ONERROR].count, 2);
	cr_expect_null(first->command.hooks[HOOK_POSTRUN].words);
	cr_expect_str_eq(first->name, "backup.dump");
	cr_expect_eq(first->command.arguments.count, 5);
	cr_expect_str_eq(first->command.arguments.words[2], "{file}");
	cr_expect_str_eq(first->command.arguments.words[3], ";", "a semicolon begins no comment within a command");
	cr_expect_eq(first->command.timeout_ms, 120000);
	cr_expect_str_eq(first->required[0], "file");
	cr_expect_str_eq(first->required[1], "database");
	cr_expect_null(first->required[2]);
	cr_expect_str_eq(first->command.variables[0], "LC_ALL=C");
	cr_expect_str_eq(first->command.variables[1], "EMPTY=");
	cr_expect_str_eq(first->next->name, "other");
	cr_expect_eq(first->next->command.timeout_ms, 0);
	cr_expect_null(first->next->next);
	cr_expect_eq(settings.kafka.count, 1);
	worker_settings_clear(&settings);
}

Test(settings, lists_all_mistakes, .init = cr_redirect_stderr)
{
	struct worker_settings settings = {0};
	int status = 0;
	cr_assert_eq(read_file(
		"[worker]\nslots = 0\nqueue = a b\n[what]\nx = 1\n"
		"[entrypoint a]\ncommand = 'open\ntimeout = 5\ncolour = red\nenv.KSER_TASK = mine\n"
		"[entrypoint b]\ntimeout = 1s\n"
		"[entrypoint d]\n[entrypoint c]\ncommand = true\ncommand = false\n", &settings, &status), E_INVALID);
	cr_expect_eq(status, 2);
	static const char *const wanted[] = {"slots: 0", "the queue \"a b\"", "unknown section [what]", "a: command: a ' is not closed", "a: timeout:",
		"a: unknown key colour", "begin with KSER_", "b: has no command", "d: has no command", "c: command is given twice"};
	fflush(stderr);
	FILE *redirected = cr_get_redirected_stderr();
	char text[4096];
	text[fread(text, 1, sizeof text - 1, redirected)] = '\0';
	for (size_t i = 0; i < COUNT_OF(wanted); i++)
		cr_expect_not_null(strstr(text, wanted[i]), "\"%s\" is not told in:\n%s", wanted[i], text);
	worker_settings_clear(&settings);
}

Test(settings, no_flags_at_all)
{
	struct worker_settings settings = {0};
	int status;
	cr_assert_eq(worker_settings_read(&settings, 0, NULL, &status), E_OK);
	cr_expect_eq(settings.slots, 8);
	cr_expect(settings.stock);
	worker_settings_clear(&settings);
}

/* ---- keys ---- */

#define KEY "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

Test(settings, keys)
{
	struct worker_settings settings = {0};
	int status;
	cr_assert_eq(read_file("[worker]\nqueue = q\n", &settings, &status), E_OK);
	cr_expect_null(settings.sealing);
	worker_settings_clear(&settings);
	strcpy(path, "/tmp/kser-test-settings-XXXXXX");
	cr_assert_eq(read_file("[worker]\nsecretbox_key = " KEY "\n", &settings, &status), E_OK);
	cr_expect_not_null(settings.sealing);
	worker_settings_clear(&settings);
	strcpy(path, "/tmp/kser-test-settings-XXXXXX");
	setenv("KSER_SECRETBOX_KEY", KEY, 1);
	cr_assert_eq(read_file("", &settings, &status), E_OK);
	cr_expect_not_null(settings.sealing);
	worker_settings_clear(&settings);
}

Test(settings, a_key_that_is_none, .init = cr_redirect_stderr)
{
	struct worker_settings settings = {0};
	int status = 0;
	cr_assert_eq(read_file("[worker]\nsecretbox_key = " KEY "x\n", &settings, &status), E_INVALID);
	cr_expect_eq(status, 2);
	worker_settings_clear(&settings);
	cr_assert_stderr_eq_str("KSER_SECRETBOX_KEY: key 1 is not 32 bytes in base64: 44 letters of the standard alphabet with their padding\n");
}
