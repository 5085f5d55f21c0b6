#include <criterion/criterion.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/log.h"
#include "tests/worker/task_text.h"
#include "worker/lifecycle.h"
#include "worker/router.h"

/* What was called, and what each call is to do. */
struct script {
	char calls[200];
	const char *fails_in; /* this trigger ends with an error */
	const char *retcode_in; /* this one sets retcode 3 */
	const char *clears_in;
	struct json_object *seen; /* the result that the last trigger was given */
};

static enum kser_outcome play(struct script *script, const char *name, struct kser_result *result)
{
	snprintf(script->calls + strlen(script->calls), sizeof script->calls - strlen(script->calls), "%s ", name);
	json_object_put(script->seen);
	script->seen = kser_result_object(result);
	if (script->clears_in && strcmp(script->clears_in, name) == 0)
		kser_result_clear(result);
	if (script->retcode_in && strcmp(script->retcode_in, name) == 0)
		kser_result_set_retcode(result, 3);
	if (script->fails_in && strcmp(script->fails_in, name) == 0)
		return kser_result_fail(result, 418, "Teapot", "in %s", name);
	return KSER_SUCCESS;
}

#define TRIGGER(name) \
	static enum kser_outcome name(struct kser_task *task, struct kser_result *result, void *context) \
	{ \
		(void)task; \
		return play(context, #name, result); \
	}

TRIGGER(postinit)
TRIGGER(prerun)
TRIGGER(postrun)
TRIGGER(onsuccess)
TRIGGER(onerror)

static enum kser_outcome run(struct kser_task *task, struct kser_result *result, void *context)
{
	kser_task_log(task, KSER_LOG_WARNING, "%s words", "own");
	kser_result_print(result, "ran");
	kser_result_put_integer(result, "new", 2);
	return play(context, "run", result);
}

static const char *const required[] = {"size", NULL};

struct played {
	struct script script;
	enum kser_outcome outcome;
	struct buffer reply;
	struct json_object *result; /* of the reply */
	struct json_object *inherited;
};

static void clear_played(struct played *played)
{
	buffer_clear(&played->reply);
	json_object_put(played->result);
	json_object_put(played->inherited);
	json_object_put(played->script.seen);
}

static struct entrypoints entrypoints;

static void setup(void)
{
	struct error err;
	struct kser_entrypoint entrypoint = {KSER_ENTRYPOINT, .name = "jobs.Test", .run = run, .required = required, .postinit = postinit, .prerun = prerun,
		.postrun = postrun, .onsuccess = onsuccess, .onerror = onerror};
	cr_assert_eq(entrypoints_add(&entrypoints, &entrypoint, &err), E_OK);
	log_set_level(LOG_LEVEL_ERROR);
}

static void teardown(void)
{
	entrypoints_clear(&entrypoints);
}

static void play_task(struct played *played, const char *params, const char *previous)
{
	struct kser_task *task = make_task(params, previous, "");
	struct kser_result result CLEANUP(result_clear) = {0};
	struct answer answer CLEANUP(answer_clear) = {0};
	entrypoints.table->context = &played->script;
	played->outcome = lifecycle_run(&entrypoints, entrypoints.table, task, &result, ERRORS_CAUGHT);
	answer_make(&answer, task, played->outcome, &result, slice_of("w"));
	struct json_object *reply = json_tokener_parse(answer.record.bytes);
	cr_assert_not_null(reply, "%s", answer.record.bytes);
	played->result = json_object_get(json_object_object_get(reply, "result"));
	struct json_object *ours = json_object_object_get(json_object_object_get(reply, "metadata"), "kser");
	played->inherited = json_object_get(json_object_object_get(ours, "inherited"));
	json_object_put(reply);
	task_forget(task);
	task_free(task);
}

static const char *text(struct json_object *object, const char *key)
{
	struct json_object *member = json_object_object_get(object, key);
	return member ? json_object_get_string(member) : "";
}

#define PREVIOUS "{\"uuid\": \"first\", \"retcode\": 0, \"stdout\": \"before\", \"stderr\": \"hint\", \"retval\": {\"old\": 1}}"

TestSuite(lifecycle, .init = setup, .fini = teardown);

Test(lifecycle, goes_through_all_steps)
{
	struct played played CLEANUP(clear_played) = {0};
	play_task(&played, "{\"size\": 1}", PREVIOUS);
	cr_expect_str_eq(played.script.calls, "postinit prerun run postrun onsuccess ");
	cr_expect_eq(played.outcome, KSER_SUCCESS);
	cr_expect_str_eq(json_object_to_json_string_ext(played.script.seen, JSON_C_TO_STRING_PLAIN),
		"{\"uuid\":\"first\",\"retcode\":0,\"stdout\":\"ran\\n\",\"stderr\":\"hint\",\"retval\":{\"old\":1,\"new\":2}}");
	cr_expect(json_object_equal(played.result, played.script.seen));
	cr_expect_str_eq(json_object_to_json_string_ext(played.inherited, JSON_C_TO_STRING_PLAIN), "{\"stderr\":true,\"retval\":[\"old\"]}");
}

struct step { const char *fails_in, *calls; };

/* An error skips all up to onerror, which sees it together with what came before. */
Test(lifecycle, an_error_goes_to_onerror)
{
	static const struct step steps[] = {
		{"postinit", "postinit onerror "}, {"prerun", "postinit prerun onerror "}, {"run", "postinit prerun run onerror "},
		{"postrun", "postinit prerun run postrun onerror "}, {"onsuccess", "postinit prerun run postrun onsuccess onerror "},
	};
	for (size_t i = 0; i < COUNT_OF(steps); i++) {
		struct played played CLEANUP(clear_played) = {.script = {.fails_in = steps[i].fails_in}};
		play_task(&played, "{\"size\": 1}", PREVIOUS);
		cr_expect_str_eq(played.script.calls, steps[i].calls);
		cr_expect_eq(played.outcome, KSER_FAILURE);
		cr_expect_eq(json_object_get_int(json_object_object_get(played.result, "retcode")), 418);
		cr_expect_str_eq(text(played.script.seen, "stderr") + 3, steps[i].fails_in);
		cr_expect(json_object_equal(played.result, played.script.seen));
		cr_expect_str_eq(text(json_object_object_get(played.result, "retval"), "old"), "1");
	}
}

Test(lifecycle, an_error_in_onerror_replaces_the_first)
{
	struct played played CLEANUP(clear_played) = {.script = {.fails_in = "onerror"}};
	play_task(&played, "{}", NULL);
	cr_expect_str_eq(played.script.calls, "postinit onerror ");
	cr_expect_str_eq(text(played.script.seen, "stderr"), "Missing parameter: size");
	cr_expect_str_eq(text(played.result, "stderr"), "in onerror");
	cr_expect_eq(played.outcome, KSER_FAILURE);
}

/* A retcode without an error is no success either. */
Test(lifecycle, a_retcode_goes_to_onerror)
{
	struct played played CLEANUP(clear_played) = {.script = {.retcode_in = "run"}};
	play_task(&played, "{\"size\": 1}", NULL);
	cr_expect_str_eq(played.script.calls, "postinit prerun run postrun onerror ");
	cr_expect_eq(played.outcome, KSER_FAILURE);
	cr_expect_str_eq(text(played.result, "retcode"), "3");
}

Test(lifecycle, onerror_may_recover)
{
	struct played played CLEANUP(clear_played) = {.script = {.fails_in = "run", .clears_in = "onerror"}};
	play_task(&played, "{\"size\": 1}", PREVIOUS);
	cr_expect_eq(played.outcome, KSER_SUCCESS);
	cr_expect_str_eq(json_object_to_json_string_ext(played.result, JSON_C_TO_STRING_PLAIN), "{\"uuid\":\"first\",\"retcode\":0,\"stdout\":\"\",\"stderr\":\"\",\"retval\":{}}");
	cr_expect_null(played.inherited);
}

Test(lifecycle, postrun_may_replace)
{
	struct played played CLEANUP(clear_played) = {.script = {.clears_in = "postrun"}};
	play_task(&played, "{\"size\": 1}", PREVIOUS);
	cr_expect_eq(played.outcome, KSER_SUCCESS);
	cr_expect_str_eq(text(played.result, "stdout"), "before");
	cr_expect_str_eq(json_object_to_json_string_ext(played.inherited, JSON_C_TO_STRING_PLAIN), "{\"stdout\":true,\"stderr\":true,\"retval\":[\"old\"]}");
}

/* Also of an entrypoint that nobody looks at. */
Test(lifecycle, a_retcode_is_no_success)
{
	entrypoints.table->triggers = (struct triggers){0};
	struct played played CLEANUP(clear_played) = {.script = {.retcode_in = "run"}};
	play_task(&played, "{\"size\": 1}", NULL);
	cr_expect_eq(played.outcome, KSER_FAILURE);
	cr_expect_str_eq(text(played.result, "retcode"), "3");
}

static enum kser_outcome say_more(struct kser_task *task, struct kser_result *result, void *context)
{
	(void)task;
	(void)context;
	kser_result_print(result, "more");
	return KSER_SUCCESS;
}

static enum kser_outcome do_nothing(struct kser_task *task, struct kser_result *result, void *context)
{
	(void)task;
	(void)result;
	(void)context;
	return KSER_SUCCESS;
}

/* What only came from before is not gone on with: a later stdout replaces an earlier one. */
Test(lifecycle, what_is_printed_at_the_end_replaces_what_came)
{
	entrypoints.table->triggers = (struct triggers){.onsuccess = say_more};
	entrypoints.table->run = do_nothing;
	struct played played CLEANUP(clear_played) = {0};
	play_task(&played, "{\"size\": 1}", PREVIOUS);
	cr_expect_str_eq(text(played.result, "stdout"), "more\n");
}

static enum kser_outcome give_size(struct kser_task *task, struct kser_result *result, void *context)
{
	(void)result;
	(void)context;
	kser_task_set(task, "size", json_object_new_int(7));
	return KSER_SUCCESS;
}

static enum kser_outcome tell_size(struct kser_task *task, struct kser_result *result, void *context)
{
	(void)context;
	kser_result_print(result, "%d of %d", (int)kser_task_integer(task, "size", 0), (int)kser_task_integer(task, "other", 0));
	return KSER_SUCCESS;
}

Test(lifecycle, postinit_may_add_what_is_required)
{
	entrypoints.table->triggers = (struct triggers){.postinit = give_size};
	entrypoints.table->run = tell_size;
	struct played played CLEANUP(clear_played) = {0};
	play_task(&played, "{\"other\": 9}", NULL);
	cr_expect_str_eq(text(played.result, "stdout"), "7 of 9\n");
}

/* ---- who looks on ---- */

static void note(void *context, const struct notice *notice)
{
	static const char *const names[] = {"execute(", "prerun(", ")", "run(", ")", "postrun(", ")", "+", "-", ")"};
	struct buffer *notes = context;
	buffer_add_text(notes, names[notice->place]);
	if (notice->outcome)
		buffer_add_text(notes, "!");
}

Test(lifecycle, observers_see_each_place)
{
	struct buffer notes CLEANUP(buffer_clear) = {0};
	const struct observer observer = {.notice = note, .context = &notes};
	lifecycle_observe(&entrypoints, &observer);
	struct played well CLEANUP(clear_played) = {0}, badly CLEANUP(clear_played) = {.script = {.fails_in = "run"}};
	play_task(&well, "{\"size\": 1}", NULL);
	cr_expect_str_eq(notes.bytes, "execute(prerun()run()postrun()+)");
	buffer_reset(&notes);
	play_task(&badly, "{\"size\": 1}", NULL);
	cr_expect_str_eq(notes.bytes, "execute(prerun()run()!-!)!");
	entrypoints.observer_count = 0;
}

/* ---- log lines ---- */

static void read_log(int fd, char *room, size_t size)
{
	ssize_t length = pread(fd, room, size - 1, 0);
	room[length > 0 ? length : 0] = '\0';
}

static void log_of(enum log_level level, const char *params, const char *fails_in, char *room, size_t size)
{
	int before = dup(STDERR_FILENO), fd = memfd_create("log", 0);
	struct played played CLEANUP(clear_played) = {.script = {.fails_in = fails_in}};
	log_set_level(level);
	dup2(fd, STDERR_FILENO);
	struct kser_task *task = make_task(params, NULL, "");
	task->message.entrypoint = (struct json_value){JSON_STRING, slice_of("\"jobs.Test\"")};
	struct kser_result result CLEANUP(result_clear) = {0};
	entrypoints.table->context = &played.script;
	enum kser_outcome outcome = router_run(&entrypoints, task, &result);
	task_free(task);
	dup2(before, STDERR_FILENO);
	close(before);
	cr_assert_eq(outcome == KSER_SUCCESS, strstr(params, "size") && !fails_in);
	read_log(fd, room, size);
	close(fd);
}

Test(lifecycle, log_lines_are_off_and_on)
{
	char room[4000];
	log_of(LOG_LEVEL_ERROR, "{\"size\": 1}", NULL, room, sizeof room);
	cr_expect_str_empty(room);
	log_of(LOG_LEVEL_INFO, "{\"size\": 1}", NULL, room, sizeof room);
	cr_expect(strstr(room, "level=warning program=kser message=\"Test.RUNNING: jobs.Test[" TASK_UUID "]: own words\" operation="), "%s", room);
	cr_expect_eq(strchr(room, '\n')[1], '\0');
	entrypoints.log_tasks = true;
	log_of(LOG_LEVEL_INFO, "{\"size\": 1}", NULL, room, sizeof room);
	cr_expect(strstr(room, "level=info") && strstr(room, "message=\"Test.Success: jobs.Test[" TASK_UUID "]: ran\" retcode=0 "), "%s", room);
	cr_expect(strstr(room, "message=\"Controller.Success: jobs.Test[" TASK_UUID "]: ran"), "%s", room);
	cr_expect_null(strstr(room, "PreRun"));
	log_of(LOG_LEVEL_INFO, "{}", NULL, room, sizeof room);
	cr_expect(strstr(room, "level=error") && strstr(room, "Test.Failed: jobs.Test[" TASK_UUID "]: Missing parameter: size\" retcode=400 operation=" OPERATION_UUID), "%s", room);
	entrypoints.log_tasks = false;
	log_of(LOG_LEVEL_DEBUG, "{\"size\": 1}", "run", room, sizeof room);
	cr_expect(strstr(room, "Controller.ReceivedMessage jobs.Test[") && strstr(room, "Test.PreRun: jobs.Test[") && strstr(room, "Test.Run: jobs.Test["), "%s", room);
	cr_expect_null(strstr(room, "PostRun"));
	cr_expect(strstr(room, "Test.Failed") && strstr(room, "Controller.Failed"), "%s", room);
	log_set_level(LOG_LEVEL_INFO);
}
