#include "common/settings.h"

#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/settings_text.h"

struct values {
	const char *brokers;
	const char *database;
	const char *nothing;
	int64_t slots;
	int64_t offset;
	int64_t drain_ms;
	int64_t message_bytes;
	bool watch;
	int level;
	const char *key;
};

#define AT(member) offsetof(struct values, member)
static const char *const levels[] = {"debug", "info", "error", NULL};
static const struct setting table[] = {
	{.help = "Connections"},
	{.name = "brokers", .kind = SETTING_TEXT, .offset = AT(brokers), .fallback = "127.0.0.1:9092", .help = "where Kafka is"},
	{.name = "database", .environment = "KSER_DATABASE_URL", .kind = SETTING_SECRET, .offset = AT(database), .help = "where PostgreSQL is"},
	{.name = "nothing", .kind = SETTING_TEXT, .offset = AT(nothing), .help = "a text without a default"},
	{.help = "Work"},
	{.name = "slots", .kind = SETTING_INTEGER, .offset = AT(slots), .fallback = "4", .min = 1, .max = 100, .help = "tasks at once"},
	{.name = "offset", .kind = SETTING_INTEGER, .offset = AT(offset), .help = "any number"},
	{.name = "drain-timeout", .kind = SETTING_DURATION, .offset = AT(drain_ms), .fallback = "10s", .min = 0, .max = 600000, .help = "at the end"},
	{.name = "message-bytes", .kind = SETTING_SIZE, .offset = AT(message_bytes), .fallback = "1m", .help = "of a message"},
	{.name = "watch", .kind = SETTING_FLAG, .offset = AT(watch), .fallback = "no", .help = "look at files | again"},
	{.name = "level", .kind = SETTING_CHOICE, .offset = AT(level), .fallback = "info", .choices = levels, .help = "least level"},
	{.name = "seal-key", .kind = SETTING_KEY, .offset = AT(key), .fallback = "", .help = "opens what is sealed"},
};
static const struct program program = {
	.name = "kser-test", .summary = "Tests settings.", .usage = "[options]", .section = "test", .settings = table, .count = COUNT_OF(table)};

/* One reading. The tests run in processes of their own, so the environment is theirs. */
struct reading {
	struct values values;
	struct properties kafka;
	struct buffer errors;
	struct buffer sections; /* what the callback was told */
	int first;
	enum settings_answer answer;
};

static enum status note_section(void *context, const char *section, const char *key, const char *value, int line, struct error *err)
{
	if (!key) {
		buffer_printf(context, "%d [%s]\n", line, section);
		return E_OK;
	}
	buffer_printf(context, "%d [%s] %s=%s\n", line, section, key, value);
	return strcmp(key, "bad") == 0 ? fail(err, E_INVALID, "a bad key") : E_OK;
}

static struct reading read_arguments(char **argv, bool sections)
{
	struct reading reading = {0};
	int argc = 0;
	while (argv[argc])
		argc++;
	reading.answer = settings_read(&program, argc, argv, &reading.values, &reading.kafka, sections ? note_section : NULL, &reading.sections,
		&reading.first, &reading.errors);
	return reading;
}

#define READ(...) read_arguments((char *[]){"kser-test", __VA_ARGS__, NULL}, false)
#define READ_NOTHING() read_arguments((char *[]){"kser-test", NULL}, false)

static void done(struct reading *reading)
{
	properties_clear(&reading->kafka);
	buffer_clear(&reading->errors);
	buffer_clear(&reading->sections);
}

static void expect_errors(struct reading reading, const char *errors)
{
	cr_expect_eq(reading.answer, SETTINGS_WRONG);
	cr_expect_str_eq(buffer_slice(&reading.errors).start, errors, "%s", buffer_slice(&reading.errors).start);
	done(&reading);
}

/* A file that is removed when the test's process ends. */
static char file_path[] = "/tmp/kser-settings-XXXXXX";
static void remove_file(void)
{
	unlink(file_path);
}
static const char *file_with(const char *text)
{
	int fd = mkstemp(file_path);
	cr_assert_geq(fd, 0);
	atexit(remove_file);
	cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
	return file_path;
}

Test(settings, defaults)
{
	struct reading reading = READ_NOTHING();
	cr_assert_eq(reading.answer, SETTINGS_RUN, "%s", buffer_slice(&reading.errors).start);
	cr_expect_str_eq(reading.values.brokers, "127.0.0.1:9092");
	cr_expect_null(reading.values.database);
	cr_expect_null(reading.values.nothing);
	cr_expect_eq(reading.values.slots, 4);
	cr_expect_eq(reading.values.drain_ms, 10000);
	cr_expect_eq(reading.values.message_bytes, 1048576);
	cr_expect_not(reading.values.watch);
	cr_expect_eq(reading.values.level, 1);
	cr_expect_eq(reading.kafka.count, 0);
	done(&reading);
}

Test(settings, flags_in_both_forms_and_what_is_left)
{
	char *argv[] = {"kser-test", "one", "--slots=7", "--brokers", "b:1", "--watch", "two", "--level", "error", "--", "--slots=9", NULL};
	struct reading reading = read_arguments(argv, false);
	cr_assert_eq(reading.answer, SETTINGS_RUN, "%s", buffer_slice(&reading.errors).start);
	cr_expect_eq(reading.values.slots, 7);
	cr_expect_str_eq(reading.values.brokers, "b:1");
	cr_expect(reading.values.watch);
	cr_expect_eq(reading.values.level, 2);
	cr_assert_eq(reading.first, 8);
	cr_expect_str_eq(argv[reading.first], "one");
	cr_expect_str_eq(argv[reading.first + 1], "two");
	cr_expect_str_eq(argv[reading.first + 2], "--slots=9");
	done(&reading);
}

Test(settings, flag_before_environment_before_file_before_default)
{
	const char *path = file_with("[test]\nslots = 5\ndrain_timeout = 5s\nbrokers = file:1\nmessage-bytes = 5k\n");
	setenv("KSER_CONFIG", path, 1);
	setenv("KSER_SLOTS", "6", 1);
	setenv("KSER_DRAIN_TIMEOUT", "6s", 1);
	setenv("KSER_BROKERS", "", 1);
	struct reading reading = READ("--slots", "7");
	cr_assert_eq(reading.answer, SETTINGS_RUN, "%s", buffer_slice(&reading.errors).start);
	cr_expect_eq(reading.values.slots, 7);
	cr_expect_eq(reading.values.drain_ms, 6000);
	cr_expect_str_eq(reading.values.brokers, "file:1", "an empty variable is as good as none");
	cr_expect_eq(reading.values.message_bytes, 5120);
	cr_expect_eq(reading.values.level, 1);
	done(&reading);
}

Test(settings, another_file_by_flag)
{
	setenv("KSER_CONFIG", "/nowhere", 1);
	struct reading reading = READ("--config", (char *)file_with("[test]\nslots = 5\n"));
	cr_assert_eq(reading.answer, SETTINGS_RUN);
	cr_expect_eq(reading.values.slots, 5);
	done(&reading);
}

Test(settings, all_errors_at_once)
{
	setenv("KSER_DRAIN_TIMEOUT", "abc", 1);
	setenv("KSER_UNKNOWN_THING", "1", 1);
	const char *path = file_with("[test]\nslotz = 3\nlevel = loud\n\n# a comment\n; another\nwatch\n[other]\nx = 1\n[test]\nwatch = maybe\nlevel = info\n");
	struct buffer expected = {0};
	buffer_printf(&expected, "unknown flag --slot-count\n"
		"unknown flag --drain-timeoot, did you mean --drain-timeout?\n"
		"--level: needs a value\n"
		"%s line 2: unknown key slotz, did you mean slots?\n"
		"%s line 9: unknown section [other], known are [test] and [kafka]\n"
		"level: given twice, in %s lines 3 and 12\n"
		"%s line 7: neither a [section] nor name = value nor a comment\n"
		"slots: 0 is not in the range 1 to 100, from --slots\n"
		"drain-timeout: \"abc\" is not a duration (e.g. 250ms, 2s, 5m), from KSER_DRAIN_TIMEOUT\n"
		"watch: \"maybe\" is neither yes nor no, from %s line 11\n"
		"level: \"loud\" is not one of debug, info, error, from %s line 3\n", path, path, path, path, path, path);
	expect_errors(READ("--slots=0", "--slot-count=3", "--drain-timeoot=4s", "--config", (char *)path, "--level"), expected.bytes);
	buffer_clear(&expected);
}

Test(settings, a_file_that_is_not_there)
{
	expect_errors(READ("--config=/nowhere/kser.ini"), "cannot open the file /nowhere/kser.ini: No such file or directory\n");
}

Test(settings, errors_are_one_line_without_control_characters)
{
	expect_errors(READ("--slots=1\n\x1b[31m"), "slots: \"1\\n\\x1b[31m\" is not a whole number, from --slots\n");
}

/* ---- values ---- */

static int64_t accepted(const char *flag, const char *text, size_t offset)
{
	struct reading reading = READ((char *)flag, (char *)text);
	cr_expect_eq(reading.answer, SETTINGS_RUN, "%s %s: %s", flag, text, buffer_slice(&reading.errors).start);
	int64_t number;
	memcpy(&number, (char *)&reading.values + offset, sizeof number);
	done(&reading);
	return number;
}

static void not_accepted(const char *flag, const char *text)
{
	struct reading reading = READ((char *)flag, (char *)text);
	cr_expect_eq(reading.answer, SETTINGS_WRONG, "%s %s", flag, text);
	done(&reading);
}

Test(settings, durations)
{
	cr_expect_eq(accepted("--drain-timeout", "250ms", AT(drain_ms)), 250);
	cr_expect_eq(accepted("--drain-timeout", "0s", AT(drain_ms)), 0);
	cr_expect_eq(accepted("--drain-timeout", "2s", AT(drain_ms)), 2000);
	cr_expect_eq(accepted("--drain-timeout", "5m", AT(drain_ms)), 300000);
	cr_expect_eq(accepted("--drain-timeout", "600000ms", AT(drain_ms)), 600000);
	const char *const wrong[] = {"", "5", "ms", "-1s", "1.5s", "1 s", " 1s", "1S", "1sec", "1s1", "600001ms", "1h", "99999999999999999999d", "9223372036854775807d"};
	for (size_t i = 0; i < COUNT_OF(wrong); i++)
		not_accepted("--drain-timeout", wrong[i]);
	expect_errors(READ("--drain-timeout=1d"), "drain-timeout: 1d is not in the range 0ms to 10m, from --drain-timeout\n");
}

Test(settings, sizes)
{
	cr_expect_eq(accepted("--message-bytes", "0", AT(message_bytes)), 0);
	cr_expect_eq(accepted("--message-bytes", "100", AT(message_bytes)), 100);
	cr_expect_eq(accepted("--message-bytes", "64k", AT(message_bytes)), 65536);
	cr_expect_eq(accepted("--message-bytes", "3m", AT(message_bytes)), 3 << 20);
	cr_expect_eq(accepted("--message-bytes", "8g", AT(message_bytes)), INT64_C(8) << 30);
	const char *const wrong[] = {"", "k", "-1", "1kb", "1.5m", "9223372036854775807g"};
	for (size_t i = 0; i < COUNT_OF(wrong); i++)
		not_accepted("--message-bytes", wrong[i]);
}

Test(settings, integers)
{
	cr_expect_eq(accepted("--slots", "1", AT(slots)), 1);
	cr_expect_eq(accepted("--slots", "100", AT(slots)), 100);
	cr_expect_eq(accepted("--offset", "-9223372036854775808", AT(offset)), INT64_MIN);
	not_accepted("--offset", "9223372036854775808");
	const char *const wrong[] = {"", "0", "101", "4x", "x", " 4", "4 ", "0x10", "99999999999999999999"};
	for (size_t i = 0; i < COUNT_OF(wrong); i++)
		not_accepted("--slots", wrong[i]);
}

/* ---- the file ---- */

Test(settings, other_sections_go_to_the_program)
{
	/* Longer than libinih keeps, and with what it takes for a comment. */
	static const char section[] = "entrypoint a.very.long.name.of.an.entrypoint.that.does.not.end.soon.at.all";
	struct buffer text = {0};
	buffer_printf(&text, "[test]\nslots = 5\n\n[%s]\n  command = sh -c \"a ; b\"  \n  bad = 1\n[without keys]\n", section);
	struct reading reading = read_arguments((char *[]){"kser-test", "--config", (char *)file_with(text.bytes), NULL}, true);
	struct buffer expected = {0};
	buffer_printf(&expected, "4 [%s]\n5 [%s] command=sh -c \"a ; b\"\n6 [%s] bad=1\n7 [without keys]\n", section, section, section);
	cr_expect_str_eq(reading.sections.bytes, expected.bytes);
	cr_expect_eq(reading.answer, SETTINGS_WRONG);
	cr_expect_not_null(strstr(reading.errors.bytes, " line 6: a bad key\n"));
	buffer_clear(&text);
	buffer_clear(&expected);
	done(&reading);
}

Test(settings, long_lines)
{
	struct buffer text = {0};
	buffer_add_text(&text, "[test]\nbrokers = ");
	for (int i = 0; i < 60000; i++)
		buffer_add_char(&text, 'b');
	buffer_add_char(&text, '\n');
	struct reading reading = READ("--config", (char *)file_with(text.bytes));
	cr_assert_eq(reading.answer, SETTINGS_RUN);
	cr_expect_eq(strlen(reading.values.brokers), 60000);
	done(&reading);
	buffer_reset(&text);
	buffer_add_text(&text, "[test]\nbrokers = ");
	for (int i = 0; i < 70000; i++)
		buffer_add_char(&text, 'b');
	memcpy(file_path + strlen(file_path) - 6, "XXXXXX", 6);
	reading = READ("--config", (char *)file_with(text.bytes));
	cr_expect_eq(reading.answer, SETTINGS_WRONG);
	cr_expect_not_null(strstr(reading.errors.bytes, " line 2: longer than 65535 bytes, or with a NUL\n"), "%s", reading.errors.bytes);
	buffer_clear(&text);
	done(&reading);
}

/* ---- secrets ---- */

Test(settings, a_secret_from_a_file)
{
	setenv("KSER_DATABASE_URL_FILE", file_with("postgresql://u:p@h/d\n"), 1);
	struct reading reading = READ_NOTHING();
	cr_assert_eq(reading.answer, SETTINGS_RUN, "%s", buffer_slice(&reading.errors).start);
	cr_expect_str_eq(reading.values.database, "postgresql://u:p@h/d");
	done(&reading);
	setenv("KSER_DATABASE_URL", "x", 1);
	expect_errors(READ_NOTHING(), "KSER_DATABASE_URL and KSER_DATABASE_URL_FILE are both given\n");
	unsetenv("KSER_DATABASE_URL");
	setenv("KSER_DATABASE_URL_FILE", "/nowhere/secret", 1);
	expect_errors(READ_NOTHING(), "KSER_DATABASE_URL_FILE: cannot open the file /nowhere/secret: No such file or directory\n");
}

/* Nobody writes to the FIFO: opening it would wait for ever. */
Test(settings, what_is_no_file, .timeout = 20)
{
	char place[] = "/tmp/kser-settings-XXXXXX", fifo[64], expected[160];
	cr_assert_not_null(mkdtemp(place));
	snprintf(fifo, sizeof fifo, "%s/fifo", place);
	cr_assert_eq(mkfifo(fifo, 0600), 0);
	snprintf(expected, sizeof expected, "KSER_DATABASE_URL_FILE: cannot read the file %s: it is no regular file\n", fifo);
	setenv("KSER_DATABASE_URL_FILE", fifo, 1);
	expect_errors(READ_NOTHING(), expected);
	unsetenv("KSER_DATABASE_URL_FILE");
	snprintf(expected, sizeof expected, "cannot read the file %s: it is a directory\n", place);
	expect_errors(READ("--config", place), expected);
	unlink(fifo);
	rmdir(place);
}

/* Whoever may list processes would read it; what it was is not told again. */
Test(settings, a_key_is_no_flag)
{
	expect_errors(READ("--seal-key", "hush"), "--seal-key: cannot be given as a flag, which others can read\n");
	expect_errors(READ("--seal-key=hush"), "--seal-key: cannot be given as a flag, which others can read\n");
	setenv("KSER_SEAL_KEY_FILE", "/nowhere", 1);
	struct reading reading = READ("--config", (char *)file_with("[test]\nseal_key = hush\n"));
	cr_assert_eq(reading.answer, SETTINGS_RUN, "%s", buffer_slice(&reading.errors).start);
	cr_expect_str_eq(reading.values.key, "hush");
	done(&reading);
}

/* Only secrets are read from files that a variable names. */
Test(settings, no_file_for_what_is_no_secret)
{
	setenv("KSER_BROKERS_FILE", "/etc/passwd", 1);
	struct reading reading = READ_NOTHING();
	cr_expect_str_eq(reading.values.brokers, "127.0.0.1:9092");
	done(&reading);
}

/* ---- properties ---- */

static const char *property(const struct reading *reading, const char *name)
{
	for (size_t i = 0; i < reading->kafka.count; i++)
		if (strcmp(reading->kafka.list[i].name, name) == 0)
			return reading->kafka.list[i].value;
	return "";
}

Test(settings, properties_of_librdkafka_from_all_three)
{
	setenv("KSER_KAFKA_FETCH_WAIT_MAX_MS", "6", 1);
	setenv("KSER_KAFKA_LINGER_MS", "6", 1);
	struct reading reading = READ("--kafka.linger.ms=7", "--kafka.sasl.password=a=b", "--config",
		(char *)file_with("[kafka]\nlinger.ms = 5\nfetch.wait.max.ms = 5\nclient.rack = 5\n"));
	cr_assert_eq(reading.answer, SETTINGS_RUN, "%s", buffer_slice(&reading.errors).start);
	cr_assert_eq(reading.kafka.count, 4);
	cr_expect_str_eq(property(&reading, "linger.ms"), "7");
	cr_expect_str_eq(property(&reading, "fetch.wait.max.ms"), "6");
	cr_expect_str_eq(property(&reading, "client.rack"), "5");
	cr_expect_str_eq(property(&reading, "sasl.password"), "a=b");
	done(&reading);
	expect_errors(READ("--kafka.linger.ms"), "--kafka.linger.ms: must be --kafka.NAME=VALUE\n");
}

Test(settings, a_program_without_kafka)
{
	struct values values;
	struct buffer errors = {0};
	setenv("KSER_KAFKA_LINGER_MS", "6", 1);
	char *argv[] = {"kser-test", "--kafka.linger.ms=7", "--config", (char *)file_with("[kafka]\nx = 1\n"), NULL};
	cr_assert_eq(settings_read(&program, 4, argv, &values, NULL, NULL, NULL, NULL, &errors), SETTINGS_WRONG);
	cr_expect_not_null(strstr(errors.bytes, "unknown flag --kafka.linger.ms\n"));
	cr_expect_not_null(strstr(errors.bytes, " line 2: unknown section [kafka], known are [test]\n"));
	buffer_clear(&errors);
}

/* ---- what is printed ---- */

Test(settings, help_and_version_are_answered_whatever_is_wrong, .init = cr_redirect_stdout)
{
	struct reading reading = READ("--slots=0", "--nonsense", "--version");
	cr_expect_eq(reading.answer, SETTINGS_DONE);
	done(&reading);
	cr_assert_stdout_eq_str("kser-test " KSER_VERSION "\n");
}

Test(settings, help)
{
	struct buffer text = {0};
	settings_add_help(&text, &program);
	const char *const parts[] = {
		"kser-test: Tests settings.\n\nUsage: kser-test [options]\n\nConnections:\n  --brokers TEXT\n        where Kafka is\n"
		"        [default 127.0.0.1:9092, KSER_BROKERS]\n",
		"  --database SECRET\n        where PostgreSQL is\n        [KSER_DATABASE_URL, or its name with _FILE]\n",
		"\nWork:\n  --slots NUMBER\n        tasks at once\n        [default 4, 1 to 100, KSER_SLOTS]\n",
		"  --watch[=yes|no]\n        look at files | again\n        [default no, KSER_WATCH]\n",
		"  --level debug|info|error\n",
		"  seal-key, which is no flag\n        opens what is sealed\n        [KSER_SEAL_KEY]\n",
		"\nGeneral:\n",
	};
	for (size_t i = 0; i < COUNT_OF(parts); i++)
		cr_expect_not_null(strstr(text.bytes, parts[i]), "%s\nis not in\n%s", parts[i], text.bytes);
	buffer_clear(&text);
}

Test(settings, print_config_masks_secrets_and_says_where_from, .init = cr_redirect_stdout)
{
	setenv("KSER_DATABASE_URL", "postgresql://u:hush@h/d", 1);
	setenv("KSER_SEAL_KEY", "hush", 1);
	struct reading reading = READ("--print-config", "--slots=7", "--kafka.ssl.key.password=hush", "--kafka.linger.ms=1");
	cr_expect_eq(reading.answer, SETTINGS_DONE);
	done(&reading);
	cr_assert_stdout_eq_str("[test]\n; default\nbrokers = 127.0.0.1:9092\n; KSER_DATABASE_URL\n; database = ********\n; default\n; nothing = \n"
		"; --slots\nslots = 7\n; default\n; offset = \n; default\ndrain_timeout = 10s\n; default\nmessage_bytes = 1m\n; default\nwatch = no\n; default\nlevel = info\n; KSER_SEAL_KEY\n; seal_key = ********\n"
		"\n[kafka]\n; --kafka.ssl.key.password\n; ssl.key.password = ********\n; --kafka.linger.ms\nlinger.ms = 1\n");
}

Test(settings, print_config_of_what_is_wrong_tells_the_errors)
{
	expect_errors(READ("--print-config", "--slots=0"), "slots: 0 is not in the range 1 to 100, from --slots\n");
}

Test(settings, reference_page)
{
	struct buffer text = {0};
	settings_add_reference(&text, &program);
	const char *const parts[] = {
		"## kser-test\n\nTests settings. Section `[test]` of the file.\n\n### Connections\n\n| flag | environment | default | range | what it is |\n|---|---|---|---|---|\n"
		"| `--brokers` TEXT | `KSER_BROKERS` | `127.0.0.1:9092` |  | where Kafka is |\n",
		"| `--drain-timeout` DURATION | `KSER_DRAIN_TIMEOUT` | `10s` | 0ms to 10m | at the end |\n",
		"| `--watch` [=yes\\|no] | `KSER_WATCH` | `no` |  | look at files \\| again |\n",
		"| `--level` debug\\|info\\|error |",
		"| no flag SECRET | `KSER_SEAL_KEY` |  |  | opens what is sealed |\n",
	};
	for (size_t i = 0; i < COUNT_OF(parts); i++)
		cr_expect_not_null(strstr(text.bytes, parts[i]), "%s\nis not in\n%s", parts[i], text.bytes);
	buffer_clear(&text);
}

Test(settings, environment_of_others)
{
	setenv("KSER_TEST_OTHER", "x", 1);
	setenv("KSER_TEST_EMPTY", "", 1);
	cr_expect_str_eq(settings_environment("KSER_TEST_OTHER"), "x");
	cr_expect_null(settings_environment("KSER_TEST_EMPTY"));
	cr_expect_null(settings_environment("KSER_TEST_NONE"));
}
