#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/limits.h"
#include "tests/worker/task_text.h"
#include "worker/command.h"
#include "worker/hooks.h"
#include "worker/lifecycle.h"
#include "worker/process.h"

/* ---- running one ---- */

static char folder[] = "/tmp/kser-test-command-XXXXXX";
static struct command_host host;

static void set_up(void)
{
	signal(SIGPIPE, SIG_IGN);
	cr_assert_not_null(mkdtemp(folder));
	host = (struct command_host){.launcher = LAUNCHER, .folder = folder};
}

static int files_left(void)
{
	DIR *directory = opendir(folder);
	int count = 0;
	for (struct dirent *entry; (entry = readdir(directory));)
		count += entry->d_name[0] != '.';
	closedir(directory);
	return count;
}

static void tear_down(void)
{
	cr_expect_eq(files_left(), 0, "result files are removed");
	cr_expect_eq(rmdir(folder), 0);
}

struct ran {
	enum kser_outcome outcome;
	struct json_object *reply;
	int64_t took_ms;
};

static struct ran run_with(struct command *command, struct kser_task *task)
{
	struct kser_result result CLEANUP(result_clear) = {0};
	struct answer answer CLEANUP(answer_clear) = {0};
	int64_t before_ms = clock_monotonic_ms();
	struct ran ran = {.outcome = command_run(task, &result, command)};
	ran.took_ms = clock_monotonic_ms() - before_ms;
	answer_make(&answer, task, ran.outcome, &result, slice_of("w"));
	ran.reply = json_tokener_parse(answer.record.bytes);
	cr_assert_not_null(ran.reply);
	task_forget(task);
	task_free(task);
	arguments_clear(&command->arguments);
	return ran;
}

static struct command parse(const char *text, int64_t timeout_ms)
{
	struct command command = {.timeout_ms = timeout_ms, .host = &host};
	struct error err;
	cr_assert_eq(arguments_parse(text, &command.arguments, &err), E_OK, "%s", err.text);
	return command;
}

static struct ran run(const char *text, const char *params, int64_t timeout_ms)
{
	struct command command = parse(text, timeout_ms);
	return run_with(&command, make_task(params, NULL, ""));
}

static struct json_object *part(const struct ran *ran, const char *name)
{
	return json_object_object_get(json_object_object_get(ran->reply, "result"), name);
}

static const char *text_part(const struct ran *ran, const char *name)
{
	return json_object_get_string(part(ran, name));
}

static int retcode(const struct ran *ran)
{
	return json_object_get_int(part(ran, "retcode"));
}

static const char *error_part(const struct ran *ran, const char *name)
{
	struct json_object *found = json_object_object_get(json_object_object_get(part(ran, "retval"), "error"), name);
	return found ? json_object_get_string(found) : "";
}

static void end(struct ran *ran)
{
	json_object_put(ran->reply);
}

/* ---- outcomes ---- */

TestSuite(command, .init = set_up, .fini = tear_down, .timeout = 30);

Test(command, success_and_output)
{
	struct ran ran = run("sh -c 'echo out; echo err >&2'", "{}", 0);
	cr_expect_eq(ran.outcome, KSER_SUCCESS);
	cr_expect_eq(retcode(&ran), 0);
	cr_expect_str_eq(text_part(&ran, "stdout"), "out\n");
	cr_expect_str_eq(text_part(&ran, "stderr"), "err\n");
	end(&ran);
}

static void expect_failure(const char *text, int code, const char *name, const char *message, bool retry)
{
	struct ran ran = run(text, "{}", 0);
	cr_expect_eq(ran.outcome, retry ? KSER_RETRY : KSER_FAILURE, "%s", text);
	cr_expect_eq(retcode(&ran), code, "%s: %d", text, retcode(&ran));
	cr_expect_str_eq(error_part(&ran, "name"), name, "%s", text);
	cr_expect_not_null(strstr(error_part(&ran, "message"), message), "%s: %s", text, error_part(&ran, "message"));
	end(&ran);
}

Test(command, exit_statuses)
{
	expect_failure("sh -c 'exit 1'", 1, "CommandError", "exit status 1", false);
	expect_failure("sh -c 'echo because >&2; exit 64'", 400, "ValidationError", "exit status 64: because", false);
	expect_failure("sh -c 'exit 75'", 503, "ServiceUnavailable", "exit status 75", true);
	expect_failure("sh -c 'exit 255'", 255, "CommandError", "exit status 255", false);
	expect_failure("sh -c 'kill -9 $$'", 137, "CommandError", "ended by signal 9", false);
	expect_failure("sh -c 'kill -15 $$'", 143, "CommandError", "ended by signal 15", false);
	expect_failure("/nowhere/at-all", 500, "InternalError", "cannot execute '/nowhere/at-all': No such file or directory", false);
	expect_failure("/etc/passwd", 500, "InternalError", "Permission denied", false);
}

Test(command, stderr_is_the_message_when_the_command_says_nothing)
{
	struct ran ran = run("sh -c 'exit 3'", "{}", 0);
	cr_expect_str_eq(text_part(&ran, "stderr"), "exit status 3");
	end(&ran);
	ran = run("sh -c 'echo line one >&2; echo line two >&2; exit 3'", "{}", 0);
	cr_expect_str_eq(text_part(&ran, "stderr"), "line one\nline two\n");
	cr_expect_str_eq(error_part(&ran, "message"), "exit status 3: line two");
	end(&ran);
}

Test(command, no_shell)
{
	struct ran ran = run("printf '%s|' {a} '$HOME' *", "{\"a\": \"x; echo $(id) 'q' \\\"\"}", 0);
	cr_expect_str_eq(text_part(&ran, "stdout"), "x; echo $(id) 'q' \"|$HOME|*|");
	end(&ran);
	ran = run("true {a}", "{}", 0);
	cr_expect_eq(retcode(&ran), 400);
	cr_expect_str_eq(error_part(&ran, "message"), "Missing parameter: a");
	end(&ran);
}

Test(command, message_on_stdin)
{
	struct ran ran = run("cat", "{\"x\": \"\\u00e9\"}", 0);
	struct json_object *message = json_tokener_parse(text_part(&ran, "stdout"));
	cr_expect_str_eq(json_object_get_string(json_object_object_get(message, "uuid")), TASK_UUID);
	json_object_put(message);
	end(&ran);
}

/* Far more than a pipe holds, to a command that closes its stdin or never looks at it. */
Test(command, message_not_read)
{
	char *params = malloc(700000);
	memset(params, 'x', 700000);
	memcpy(params, "{\"x\":\"", 6);
	memcpy(params + 600000, "\"}", 3);
	struct ran ran = run("sh -c 'exec <&-; echo fine'", params, 0);
	cr_expect_str_eq(text_part(&ran, "stdout"), "fine\n");
	end(&ran);
	ran = run("true", params, 0);
	cr_expect_eq(retcode(&ran), 0);
	end(&ran);
	ran = run("wc -c", params, 0);
	cr_expect_gt(atol(text_part(&ran, "stdout")), 600000);
	end(&ran);
	free(params);
}

Test(command, environment)
{
	setenv("KSER_KAFKA_SASL_PASSWORD", "secret", 1);
	setenv("KSER_SECRETBOX_KEY", "secret", 1);
	setenv("KSER_SECRETBOX_KEY_FILE", "/secret", 1);
	setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-key=secret", 1);
	setenv("OTEL_EXPORTER_OTLP_HEADERS_FILE", "/secret", 1);
	setenv("KSER_TASK", "of somebody else", 1);
	setenv("INHERITED", "yes", 1);
	setenv("REPLACED", "no", 1);
	static char replaced[] = "REPLACED=yes";
	char *variables[] = {replaced, NULL};
	struct command command = parse("sh -c 'echo $KSER_OPERATION $KSER_TASK $KSER_ATTEMPT $INHERITED $REPLACED [$KSER_KAFKA_SASL_PASSWORD$KSER_SECRETBOX_KEY$KSER_SECRETBOX_KEY_FILE$OTEL_EXPORTER_OTLP_HEADERS$OTEL_EXPORTER_OTLP_HEADERS_FILE]; test -f $KSER_RESULT_FILE'", 0);
	command.variables = variables;
	struct ran ran = run_with(&command, make_task("{}", NULL, ""));
	cr_expect_str_eq(text_part(&ran, "stdout"), OPERATION_UUID " " TASK_UUID " 2 yes yes []\n");
	cr_expect_eq(retcode(&ran), 0);
	end(&ran);
}

/* What started the worker is not what runs the command. */
Test(command, the_span_that_runs_it)
{
	setenv("TRACEPARENT", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", 1);
	struct command command = parse("sh -c 'echo [$TRACEPARENT]'", 0);
	struct ran ran = run_with(&command, make_task("{}", NULL, ""));
	cr_expect_str_eq(text_part(&ran, "stdout"), "[]\n");
	end(&ran);
	command = parse("sh -c 'echo [$TRACEPARENT]'", 0);
	ran = run_with(&command, make_task_of("{\"uuid\":\"" TASK_UUID "\",\"entrypoint\":\"e\",\"metadata\":{\"traceparent\":\"00-1af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00\"}}"));
	cr_expect_str_eq(text_part(&ran, "stdout"), "[00-1af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00]\n");
	end(&ran);
}

/* Of our own descriptors a command gets its three streams and nothing else; no signal is blocked, and SIGPIPE is as usual. */
Test(command, clean_start)
{
	int kept = dup(0);
	sigset_t all;
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	struct ran ran = run("grep ^SigBlk /proc/self/status", "{}", 0); /* a shell would clear it */
	cr_expect_str_eq(text_part(&ran, "stdout"), "SigBlk:\t0000000000000000\n");
	end(&ran);
	ran = run("sh -c 'ls /proc/self/fd | wc -l; kill -PIPE $$'", "{}", 0);
	cr_expect_str_eq(text_part(&ran, "stdout"), "4\n", "ls has the directory open too");
	cr_expect_eq(retcode(&ran), 128 + SIGPIPE);
	end(&ran);
	close(kept);
}

/* ---- the result file ---- */

static struct ran run_result(const char *content)
{
	struct command command = {.host = &host};
	struct error err;
	cr_assert_eq(arguments_parse("sh -c 'printf %s \"$1\" > \"$KSER_RESULT_FILE\"' x {content}", &command.arguments, &err), E_OK);
	struct json_object *params = json_object_new_object();
	json_object_object_add(params, "content", json_object_new_string(content));
	struct ran ran = run_with(&command, make_task(json_object_to_json_string(params), "{\"retval\": {\"before\": 1}}", ""));
	json_object_put(params);
	return ran;
}

Test(command, result_file)
{
	struct ran ran = run_result("{\"retval\": {\"a\": [1], \"b\": null}, \"tasks\": [{\"entrypoint\": \"next\", \"params\": {\"x\": 1}}, {\"entrypoint\": \"last\", \"queue\": \"slow\"}]}");
	cr_expect_eq(retcode(&ran), 0);
	cr_expect_str_eq(json_object_to_json_string_ext(part(&ran, "retval"), JSON_C_TO_STRING_PLAIN), "{\"before\":1,\"a\":[1],\"b\":null}");
	struct json_object *tasks = json_object_object_get(json_object_object_get(json_object_object_get(ran.reply, "metadata"), "kser"), "tasks");
	cr_expect_eq(json_object_array_length(tasks), 2);
	cr_expect_str_eq(json_object_to_json_string_ext(json_object_array_get_idx(tasks, 1), JSON_C_TO_STRING_PLAIN), "{\"entrypoint\":\"last\",\"queue\":\"slow\"}");
	end(&ran);
	ran = run_result("");
	cr_expect_eq(retcode(&ran), 0, "an empty file says nothing");
	end(&ran);
	ran = run("sh -c 'rm $KSER_RESULT_FILE'", "{}", 0);
	cr_expect_eq(retcode(&ran), 0, "no file says nothing");
	end(&ran);
}

Test(command, bad_result_file)
{
	static const struct {
		const char *content;
		const char *reason;
	} cases[] = {
		{"{", ""}, {"[]", "must hold an object, not"}, {"{\"retval\": []}", "retval must be an object"}, {"{\"tasks\": {}}", "tasks must be an array"},
		{"{\"retval\": {\"a\": 1, \"a\": 2}}", "a"}, {"{\"tasks\": [{}]}", "must have an entrypoint"}, {"{\"tasks\": [5]}", "must be an object"},
		{"{\"tasks\": [{\"entrypoint\": \"\"}]}", "1 to 255 bytes"}, {"{\"tasks\": [{\"entrypoint\": \"e\", \"params\": []}]}", "params"},
		{"{\"stdout\": \"x\"}", "knows retval and tasks, not stdout"}, {"{\"retval\": {}} x", ""},
	};
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct ran ran = run_result(cases[i].content);
		cr_expect_eq(retcode(&ran), 500, "%s", cases[i].content);
		cr_expect_not_null(strstr(error_part(&ran, "message"), "result file: "), "%s", error_part(&ran, "message"));
		cr_expect_not_null(strstr(error_part(&ran, "message"), cases[i].reason), "%s: %s", cases[i].content, error_part(&ran, "message"));
		end(&ran);
	}
	struct ran ran = run("sh -c 'rm $KSER_RESULT_FILE; mkfifo $KSER_RESULT_FILE'", "{}", 0);
	cr_expect_eq(retcode(&ran), 500);
	cr_expect_str_eq(error_part(&ran, "message"), "result file: is not a regular file");
	end(&ran);
	ran = run("sh -c 'head -c 3000000 /dev/zero > $KSER_RESULT_FILE'", "{}", 0);
	cr_expect_eq(retcode(&ran), 500);
	cr_expect_str_eq(error_part(&ran, "message"), "result file: has 3000000 bytes, 1048576 are the limit");
	end(&ran);
}

/* What the command says of itself counts before what it left in its file. */
Test(command, failed_with_a_result_file)
{
	struct ran ran = run("sh -c 'echo nonsense > $KSER_RESULT_FILE; exit 3'", "{}", 0);
	cr_expect_eq(retcode(&ran), 3);
	end(&ran);
}

/* ---- output ---- */

Test(command, output_is_cut)
{
	struct ran ran = run("sh -c 'head -c 300000 /dev/zero | tr \"\\\\000\" a; printf bad\\\\377 >&2'", "{}", 0);
	const char *text = text_part(&ran, "stdout");
	cr_expect_leq(strlen(text), OUTPUT_BYTES_MAX);
	cr_expect_not_null(strstr(text, "\n[cut: 300000 bytes in all]"));
	cr_expect_str_eq(text_part(&ran, "stderr"), "bad\xef\xbf\xbd");
	end(&ran);
}

/* ---- limits and groups ---- */

static bool is_alive(pid_t pid)
{
	char path[40], state = 'X';
	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	FILE *file = fopen(path, "r");
	if (file) {
		(void)!fscanf(file, "%*d (%*[^)]) %c", &state);
		fclose(file);
	}
	return state != 'X' && state != 'Z';
}

static void expect_gone(pid_t pid, int wait_ms)
{
	cr_assert_gt(pid, 0);
	int64_t until_ms = clock_monotonic_ms() + wait_ms;
	while (is_alive(pid) && clock_monotonic_ms() < until_ms)
		poll(NULL, 0, 5);
	cr_expect_not(is_alive(pid), "process %d is still there", (int)pid);
}

Test(command, time_limit_ends_the_whole_group)
{
	struct ran ran = run("sh -c 'sleep 60 & echo $!; exec sleep 60'", "{}", 200);
	cr_expect_eq(retcode(&ran), 504);
	cr_expect_str_eq(error_part(&ran, "name"), "Timeout");
	/* The limit counts from the task's start: a slow machine spends some of it before the command runs. */
	cr_expect_eq(strncmp(error_part(&ran, "message"), "ended at its time limit of 0.", 29), 0, "%s", error_part(&ran, "message"));
	expect_gone((pid_t)atoi(text_part(&ran, "stdout")), 1000);
	end(&ran);
}

/* The whole group hears SIGTERM and has its grace to tidy up, not only the leader. */
Test(command, time_limit_asks_the_whole_group)
{
	struct ran ran = run("sh -c 'sh -c \"trap \\\"echo background; exit\\\" TERM; while :; do sleep 0.05; done\" & trap \"wait; echo leader; exit\" TERM; wait'", "{}", 300);
	cr_expect_eq(retcode(&ran), 504);
	cr_expect_str_eq(text_part(&ran, "stdout"), "background\nleader\n");
	end(&ran);
}

/* Ctrl-C in a terminal reaches the launcher too, but it is for the worker. */
Test(command, launcher_ignores_the_terminal)
{
	struct ran ran = run("sh -c 'kill -INT $PPID; kill -HUP $PPID; kill -QUIT $PPID; sleep 0.1; echo alive'", "{}", 0);
	cr_expect_eq(retcode(&ran), 0);
	cr_expect_str_eq(text_part(&ran, "stdout"), "alive\n");
	end(&ran);
}

/* One that ignores SIGTERM is killed after the grace; what it wrote meanwhile is kept. */
Test(command, time_limit_kills_the_stubborn)
{
	struct ran ran = run("sh -c 'trap \"echo no\" TERM; echo $$; while :; do sleep 0.05; done'", "{}", 100);
	cr_expect_eq(retcode(&ran), 504);
	cr_expect_geq(ran.took_ms, 2100);
	cr_expect_not_null(strstr(text_part(&ran, "stdout"), "no\n"));
	expect_gone((pid_t)atoi(text_part(&ran, "stdout")), 1000);
	end(&ran);
}

Test(command, task_limit_and_deadline)
{
	struct command command = parse("sleep 60", 50000);
	struct ran ran = run_with(&command, make_task("{}", NULL, ", \"limit_ms\": 100"));
	cr_expect_eq(retcode(&ran), 504);
	cr_expect_lt(ran.took_ms, 20000);
	end(&ran);
	char further[60];
	snprintf(further, sizeof further, ", \"deadline\": %lld", (long long)clock_wall_ms() + 300);
	command = parse("sleep 60", 50000);
	ran = run_with(&command, make_task("{}", NULL, further));
	cr_expect_eq(retcode(&ran), 504);
	const char *by_deadline = "ended at the deadline of its operation, after 0.";
	cr_expect_eq(strncmp(error_part(&ran, "message"), by_deadline, strlen(by_deadline)), 0, "%s", error_part(&ran, "message"));
	end(&ran);
	command = parse("touch /tmp/kser-test-never", 0);
	ran = run_with(&command, make_task("{}", NULL, ", \"deadline\": 1000"));
	cr_expect_eq(retcode(&ran), 504);
	cr_expect_str_eq(error_part(&ran, "message"), "the deadline had passed before the start");
	cr_expect_eq(access("/tmp/kser-test-never", F_OK), -1);
	end(&ran);
}

/* The command ends, its background process does not: it is killed, and holding the pipes open delays nothing. */
Test(command, leftovers_are_killed)
{
	struct ran ran = run("sh -c 'sleep 60 & echo $!'", "{}", 0);
	cr_expect_eq(retcode(&ran), 0);
	expect_gone((pid_t)atoi(text_part(&ran, "stdout")), 1000);
	end(&ran);
}

/* One that has fled its group lives on, but nobody waits for its pipes. */
Test(command, fled_processes_delay_nothing)
{
	struct ran ran = run("sh -c 'setsid sleep 5 & echo here'", "{}", 0);
	cr_expect_eq(retcode(&ran), 0);
	cr_expect_str_eq(text_part(&ran, "stdout"), "here\n");
	cr_expect_lt(ran.took_ms, 4000);
	end(&ran);
}

static void *cancel_soon(void *task)
{
	poll(NULL, 0, 200);
	task_cancel(task);
	return NULL;
}

/* The whole group, though the shell does not wait for the one behind it. */
Test(command, ended_when_its_task_is_cancelled)
{
	struct command command = parse("sh -c 'sleep 987 & echo $!; sleep 987'", 0);
	struct kser_task *task = make_task("{}", NULL, "");
	pthread_t canceller;
	pthread_create(&canceller, NULL, cancel_soon, task);
	struct ran ran = run_with(&command, task);
	pthread_join(canceller, NULL);
	cr_expect_eq(ran.outcome, KSER_RETRY);
	expect_gone((pid_t)atoi(text_part(&ran, "stdout")), 1000);
	end(&ran);
}

/* The word may come before there is a command to end. */
Test(command, ended_when_cancelled_before)
{
	struct command command = parse("sh -c 'exec sleep 60'", 0);
	struct kser_task *task = make_task("{}", NULL, "");
	task_cancel(task);
	struct ran ran = run_with(&command, task);
	cr_expect_eq(ran.outcome, KSER_RETRY);
	end(&ran);
}

/* What does not heed SIGTERM is killed after the grace. */
Test(command, killed_after_the_grace)
{
	struct command command = parse("sh -c \"trap '' TERM; echo $$; while :; do sleep 0.1; done\"", 0);
	struct kser_task *task = make_task("{}", NULL, "");
	pthread_t canceller;
	pthread_create(&canceller, NULL, cancel_soon, task);
	struct ran ran = run_with(&command, task);
	pthread_join(canceller, NULL);
	cr_expect_eq(ran.outcome, KSER_RETRY);
	cr_expect_geq(ran.took_ms, 2000);
	expect_gone((pid_t)atoi(text_part(&ran, "stdout")), 1000);
	end(&ran);
}

/* A worker that is killed takes the whole group of its command with it, and the result file. */
Test(command, dies_with_its_worker)
{
	int fds[2];
	cr_assert_eq(pipe(fds), 0);
	pid_t worker = fork();
	if (worker == 0) {
		char text[200];
		snprintf(text, sizeof text, "sh -c 'sleep 60 & echo $! $$ > /proc/%d/fd/%d; trap \"\" TERM; wait; sleep 60'", (int)getppid(), fds[1]);
		struct ran ran = run(text, "{}", 0);
		end(&ran);
		_exit(0);
	}
	char line[40] = "";
	ssize_t got = 0;
	while (!strchr(line, '\n') && (got = read(fds[0], line + strlen(line), sizeof line - strlen(line) - 1)) > 0)
		;
	int background, leader;
	cr_assert_eq(sscanf(line, "%d %d", &background, &leader), 2);
	cr_expect(is_alive(background) && is_alive(leader));
	cr_expect_eq(files_left(), 1);
	kill(worker, SIGKILL);
	waitpid(worker, NULL, 0);
	expect_gone(background, 3000);
	expect_gone(leader, 3000);
	for (int i = 0; i < 200 && files_left() > 0; i++)
		poll(NULL, 0, 5);
}

/*
 * The threads of a worker that is killed end one after the other. When the one that started the launcher has ended and others have not,
 * the launcher is told by the signal of a request to stop, and the worker still seems to be there: the result file is its own to remove.
 */
Test(command, told_to_stop_the_launcher_removes_the_result_file)
{
	char path[100], worker[24], report[20] = "";
	int fds[2];
	snprintf(path, sizeof path, "%s/kser-result-test", folder);
	snprintf(worker, sizeof worker, "%d", (int)getpid());
	close(open(path, O_WRONLY | O_CREAT | O_EXCL, 0600));
	cr_assert_eq(pipe(fds), 0);
	sigset_t stop;
	sigemptyset(&stop);
	sigaddset(&stop, SIGTERM);
	sigprocmask(SIG_BLOCK, &stop, NULL);
	pid_t launcher = fork();
	if (launcher == 0) {
		setenv("KSER_RESULT_FILE", path, 1);
		dup2(fds[1], 3);
		execl(LAUNCHER, LAUNCHER, worker, "0", "sleep", "60", (char *)NULL);
		_exit(127);
	}
	close(fds[1]);
	kill(launcher, SIGTERM);
	cr_assert_gt(read(fds[0], report, sizeof report - 1), 0);
	cr_expect_str_eq(report, "stopped 0\n");
	cr_expect_eq(files_left(), 0);
	waitpid(launcher, NULL, 0);
	unlink(path);
}

/* Without a launcher the task fails and says so; nothing else happens. */
Test(command, launcher_missing)
{
	host.launcher = "/nowhere/kser-launch";
	struct ran ran = run("true", "{}", 0);
	cr_expect_eq(retcode(&ran), 500);
	cr_expect_not_null(strstr(error_part(&ran, "message"), "cannot start /nowhere/kser-launch: No such file"));
	end(&ran);
}

static void *run_many(void *argument)
{
	(void)argument;
	for (int i = 0; i < 10; i++) {
		struct ran ran = run("sh -c 'echo a; echo b >&2; exit 7'", "{}", 5000);
		cr_expect_eq(retcode(&ran), 7);
		cr_expect_str_eq(text_part(&ran, "stdout"), "a\n");
		end(&ran);
	}
	return NULL;
}

/* Several at once must not inherit each other's pipes, which would keep them open. */
Test(command, several_at_once)
{
	pthread_t threads[4];
	for (size_t i = 0; i < COUNT_OF(threads); i++)
		pthread_create(&threads[i], NULL, run_many, NULL);
	for (size_t i = 0; i < COUNT_OF(threads); i++)
		pthread_join(threads[i], NULL);
}

/* ---- commands around it ---- */

struct hooked {
	const char *command, *prerun, *postrun, *onsuccess, *onerror;
};

static struct ran run_hooked(const struct hooked *hooked, const char *previous)
{
	struct command command = parse(hooked->command, 0);
	const char *const texts[HOOKS] = {hooked->prerun, hooked->postrun, hooked->onsuccess, hooked->onerror};
	struct entrypoints entrypoints CLEANUP(entrypoints_clear) = {0};
	struct kser_result result CLEANUP(result_clear) = {0};
	struct answer answer CLEANUP(answer_clear) = {0};
	struct error err;
	for (size_t i = 0; i < HOOKS; i++)
		if (texts[i])
			cr_assert_eq(arguments_parse(texts[i], &command.hooks[i], &err), E_OK, "%s", err.text);
	struct kser_entrypoint entrypoint = {KSER_ENTRYPOINT, .name = "test", .run = command_run, .context = &command};
	hooks_set(&entrypoint, &command);
	cr_assert_eq(entrypoints_add(&entrypoints, &entrypoint, &err), E_OK);
	struct kser_task *task = make_task("{\"name\": \"x\"}", previous, "");
	struct ran ran = {.outcome = lifecycle_run(&entrypoints, entrypoints.table, task, &result, ERRORS_CAUGHT)};
	answer_make(&answer, task, ran.outcome, &result, slice_of("w"));
	ran.reply = json_tokener_parse(answer.record.bytes);
	task_forget(task);
	task_free(task);
	arguments_clear(&command.arguments);
	for (size_t i = 0; i < HOOKS; i++)
		arguments_clear(&command.hooks[i]);
	return ran;
}

/* What a hook finds on its standard input comes back as its word. */
#define TELL "sh -c 'sed \"s/.*\\\"result\\\":{{[^}]*\\\"stdout\\\":\\\"\\([^\\\"]*\\).*/{name} saw \\1/\"'"

Test(command, hooks_see_and_add)
{
	struct ran after = run_hooked(&(struct hooked){.command = "echo made", .prerun = "echo ignored", .postrun = TELL}, NULL);
	cr_expect_eq(after.outcome, KSER_SUCCESS);
	cr_expect_str_eq(text_part(&after, "stdout"), "x saw made\\n");
	end(&after);
	struct ran told = run_hooked(&(struct hooked){.command = "true", .onsuccess = TELL}, "{\"uuid\": \"u\", \"retcode\": 0, \"stdout\": \"before\", \"stderr\": \"\", \"retval\": {}}");
	cr_expect_str_eq(text_part(&told, "stdout"), "x saw before");
	end(&told);
	struct ran put = run_hooked(&(struct hooked){.command = "sh -c 'echo \"{{\\\"retval\\\": {{\\\"a\\\": 1, \\\"b\\\": 1}}\" > \"$KSER_RESULT_FILE\"'",
		.onsuccess = "sh -c 'echo \"{{\\\"retval\\\": {{\\\"b\\\": 2}}\" > \"$KSER_RESULT_FILE\"'"}, NULL);
	cr_expect_str_eq(json_object_to_json_string_ext(part(&put, "retval"), JSON_C_TO_STRING_PLAIN), "{\"a\":1,\"b\":2}");
	end(&put);
}

Test(command, a_hook_may_plan)
{
	struct ran ran = run_hooked(&(struct hooked){.command = "true", .postrun = "sh -c 'echo \"{{\\\"tasks\\\": [{{\\\"entrypoint\\\": \\\"next\\\"}]}\" > \"$KSER_RESULT_FILE\"'"}, NULL);
	struct json_object *kser = json_object_object_get(json_object_object_get(ran.reply, "metadata"), "kser");
	cr_expect_str_eq(json_object_to_json_string_ext(json_object_object_get(kser, "tasks"), JSON_C_TO_STRING_PLAIN), "[{\"entrypoint\":\"next\"}]", "%s", text_part(&ran, "stderr"));
	end(&ran);
}

Test(command, hooks_that_fail)
{
	struct ran before = run_hooked(&(struct hooked){.command = "echo made", .prerun = "sh -c 'echo no >&2; exit 64'", .onerror = "echo told"}, NULL);
	cr_expect_eq(before.outcome, KSER_FAILURE);
	cr_expect_eq(retcode(&before), 400);
	cr_expect_str_eq(text_part(&before, "stdout"), "told\n");
	cr_expect_str_eq(text_part(&before, "stderr"), "no\n");
	end(&before);
	struct ran again = run_hooked(&(struct hooked){.command = "echo made", .postrun = "sh -c 'exit 75'"}, NULL);
	cr_expect_eq(again.outcome, KSER_RETRY);
	cr_expect_str_eq(text_part(&again, "stdout"), "made\n");
	end(&again);
	struct ran both = run_hooked(&(struct hooked){.command = "sh -c 'exit 3'", .onsuccess = "echo never", .onerror = "sh -c 'exit 7'"}, NULL);
	cr_expect_eq(retcode(&both), 7);
	cr_expect_str_eq(error_part(&both, "message"), "exit status 7");
	end(&both);
}

Test(command, a_plan_of_nothing)
{
	struct ran ran = run("sh -c 'echo \"{{\\\"tasks\\\": []}\" > \"$KSER_RESULT_FILE\"'", "{}", 0);
	cr_expect_eq(retcode(&ran), 1);
	cr_expect_str_eq(text_part(&ran, "stderr"), "Nothing to do, empty operation !");
	end(&ran);
}
