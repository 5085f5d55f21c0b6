#include "common/log.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/buffer.h"
#include "common/json.h"

/* Each send on a socket that keeps their bounds is one write of the log. */
static int log_end;

static void take_stderr(void)
{
	int ends[2];
	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
	cr_assert_geq(dup2(ends[1], STDERR_FILENO), 0);
	close(ends[1]);
	log_end = ends[0];
}

static const char *next_write(void)
{
	static char text[65536];
	ssize_t length = recv(log_end, text, sizeof text - 1, MSG_DONTWAIT);
	text[length > 0 ? length : 0] = '\0';
	return text;
}

/* The line behind its time, which differs. */
static const char *next_line(void)
{
	const char *text = next_write();
	const char *level = strstr(text, "level=");
	return level ? level : text;
}

Test(log, one_line_one_write, .init = take_stderr)
{
	log_open("kser-test", LOG_LEVEL_INFO, LOG_FORMAT_LOGFMT);
	log_info("started", "slots", LOG_INT(4), "queue", "a");
	log_warning("second");
	cr_expect_str_eq(next_line(), "level=info program=kser-test message=started slots=4 queue=a\n");
	cr_expect_str_eq(next_line(), "level=warning program=kser-test message=second\n");
	cr_expect_str_eq(next_line(), "");
}

Test(log, the_time_is_in_utc_with_milliseconds, .init = take_stderr)
{
	log_info("x");
	const char *text = next_write();
	const char form[] = "time=0000-00-00T00:00:00.000Z ";
	for (size_t i = 0; form[i]; i++)
		cr_assert(form[i] == '0' ? text[i] >= '0' && text[i] <= '9' : text[i] == form[i], "%s", text);
}

Test(log, below_the_least_level_nothing_is_written, .init = take_stderr)
{
	log_open("p", LOG_LEVEL_WARNING, LOG_FORMAT_LOGFMT);
	log_info("no");
	log_debug("no");
	cr_expect_str_eq(next_line(), "");
	log_error("yes");
	cr_expect_str_eq(next_line(), "level=error program=p message=yes\n");
	log_set_level(LOG_LEVEL_DEBUG);
	log_debug("now");
	cr_expect_str_eq(next_line(), "level=debug program=p message=now\n");
}

Test(log, a_null_value_is_left_out, .init = take_stderr)
{
	log_open("p", LOG_LEVEL_INFO, LOG_FORMAT_LOGFMT);
	log_info("m", "a", NULL, "b", "1", "c", NULL);
	cr_expect_str_eq(next_line(), "level=info program=p message=m b=1\n");
}

Test(log, values_are_quoted_and_escaped, .init = take_stderr)
{
	log_open("p", LOG_LEVEL_INFO, LOG_FORMAT_LOGFMT);
	log_info("two words", "empty", "", "equals", "a=b", "quote", "say \"x\"", "backslash", "a\\b", "line", "a\nlevel=error b", "tab", "\t",
		"escape", "\x1b[31m", "bad", "\xff", "c1", "\xc2\x9b", "good", "é😀");
	cr_expect_str_eq(next_line(), "level=info program=p message=\"two words\" empty=\"\" equals=\"a=b\" quote=\"say \\\"x\\\"\" backslash=\"a\\\\b\" "
		"line=\"a\\nlevel=error b\" tab=\"\\t\" escape=\"\\x1b[31m\" bad=\"\\xff\" c1=\"\\u009b\" good=é😀\n");
}

Test(log, json_lines_pass_the_scanner, .init = take_stderr)
{
	log_open("p", LOG_LEVEL_INFO, LOG_FORMAT_JSON);
	log_info("two \"words\"", "line", "a\nb\\c", "bad", "\xff\x01", "good", "é");
	const char *text = next_write();
	struct json_value root;
	struct json_value found;
	struct error err;
	cr_assert_eq(json_validate(slice_of(text), 10000, &root, &err), E_OK, "%s: %s", text, err.text);
	cr_assert_eq(text[strlen(text) - 1], '\n');
	const char *const pairs[][2] = {{"level", "\"info\""}, {"program", "\"p\""}, {"message", "\"two \\\"words\\\"\""}, {"line", "\"a\\\\nb\\\\c\""},
		{"bad", "\"\\\\xff\\\\x01\""}, {"good", "\"é\""}};
	for (size_t i = 0; i < COUNT_OF(pairs); i++) {
		cr_assert(json_find(root, pairs[i][0], &found));
		cr_expect(slice_is(found.text, pairs[i][1]), "%s: %s", pairs[i][0], text);
	}
	cr_assert(json_find(root, "time", &found));
}

Test(log, long_values_are_cut, .init = take_stderr)
{
	log_open("p", LOG_LEVEL_INFO, LOG_FORMAT_LOGFMT);
	char *value = malloc(30001);
	memset(value, 'x', 30000);
	value[30000] = '\0';
	log_info("m", "v", value, "w", "y");
	const char *text = next_line();
	cr_expect_lt(strlen(text), 4500);
	cr_expect_not_null(strstr(text, "xxx... (25904 bytes more)\" w=y\n"), "%s", text + strlen(text) - 60);
	free(value);
}

Test(log, numbers)
{
	cr_assert_str_eq(LOG_INT(INT64_MIN), "-9223372036854775808");
	cr_assert_str_eq(LOG_INT(0), "0");
}
