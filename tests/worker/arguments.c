#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <string.h>

#include "common/buffer.h"
#include "common/limits.h"
#include "worker/arguments.h"

#define WORDS_MAX 6

struct words_case {
	char text[80];
	char words[WORDS_MAX][40];
};

/* The params of all cases. */
static const char params_text[] = "{\"a\": \"plain\", \"s\": \"two words; $(x) `y` 'z'\", \"n\": 42, \"d\": 1.50, \"b\": true, \"z\": null, \"l\": [1, \"x\"], \"u\": \"\\u00e9\\n\", \"e\": \"\", \"br\": \"{a}\"}";

static struct words_case words_cases[] = {
	{"ls", {"ls"}},
	{"  ls   -l\t/tmp  ", {"ls", "-l", "/tmp"}},
	{"a 'b c' d", {"a", "b c", "d"}},
	{"a \"b c\" d", {"a", "b c", "d"}},
	{"a b\\ c", {"a", "b c"}},
	{"a 'it'\\''s'", {"a", "it's"}},
	{"a \"say \\\"x\\\" \\\\ \\n $HOME\"", {"a", "say \"x\" \\ \\n $HOME"}},
	{"a '' \"\"", {"a", "", ""}},
	{"a b'c'\"d\"e", {"a", "bcde"}},
	{"a '\\'", {"a", "\\"}},
	{"a \\\"b", {"a", "\"b"}},
	{"a * $x ~ | > `b` #c", {"a", "*", "$x", "~", "|", ">"}},
	{"c {a}", {"c", "plain"}},
	{"c --x={a}.gz", {"c", "--x=plain.gz"}},
	{"c {s}", {"c", "two words; $(x) `y` 'z'"}},
	{"c {n} {d} {b} {z}", {"c", "42", "1.50", "true", "null"}},
	{"c '{l}'", {"c", "[1, \"x\"]"}},
	{"c {u}", {"c", "\xc3\xa9\n"}},
	{"c {e}x {e}", {"c", "x", ""}},
	{"c {br}", {"c", "{a}"}},
	{"c {{a}", {"c", "{a}"}},
	{"c {{{a}}", {"c", "{plain}"}},
	{"c a}b }", {"c", "a}b", "}"}},
	{"c {a}{n}{{", {"c", "plain42{"}},
};

ParameterizedTestParameters(arguments, fills)
{
	return cr_make_param_array(struct words_case, words_cases, COUNT_OF(words_cases));
}

ParameterizedTest(struct words_case *given, arguments, fills)
{
	struct arguments parsed CLEANUP(arguments_clear) = {0};
	struct arguments filled CLEANUP(arguments_clear) = {0};
	struct json_value params;
	struct error err;
	cr_assert_eq(json_validate(slice_of(params_text), MESSAGE_BYTES_MAX, &params, &err), E_OK);
	cr_assert_eq(arguments_parse(given->text, &parsed, &err), E_OK, "%s: %s", given->text, err.text);
	cr_assert_eq(arguments_fill(&parsed, params, &filled, &err), E_OK, "%s: %s", given->text, err.text);
	size_t count = filled.count < WORDS_MAX ? filled.count : WORDS_MAX;
	for (size_t i = 0; i < count; i++)
		cr_expect_str_eq(filled.words[i], given->words[i], "%s: word %zu is %s", given->text, i, filled.words[i]);
	for (size_t i = count; i < WORDS_MAX; i++)
		cr_expect_str_empty(given->words[i], "%s: word %zu is missing", given->text, i);
	cr_expect_null(filled.words[filled.count]);
}

struct refused_case {
	char text[40];
	char reason[60];
};

static struct refused_case refused_cases[] = {
	{"", "names no program"}, {"  \t", "names no program"}, {"''", "names no program"}, {"a 'b", "a ' is not closed"}, {"a \"b", "a \" is not closed"},
	{"a \"b\\", "a \" is not closed"}, {"a b\\", "a backslash stands at the end"}, {"a {", "holds no placeholder"}, {"a {b", "holds no placeholder"},
	{"a {}", "holds no placeholder"}, {"a {b{c}", "holds no placeholder"}, {"a {{{", "holds no placeholder"},
};

ParameterizedTestParameters(arguments, refuses)
{
	return cr_make_param_array(struct refused_case, refused_cases, COUNT_OF(refused_cases));
}

ParameterizedTest(struct refused_case *given, arguments, refuses)
{
	struct arguments parsed;
	struct error err;
	cr_assert_eq(arguments_parse(given->text, &parsed, &err), E_INVALID, "%s", given->text);
	cr_expect_not_null(strstr(err.text, given->reason), "%s: %s", given->text, err.text);
	cr_expect_null(parsed.words);
}

Test(arguments, missing_parameter)
{
	struct arguments parsed CLEANUP(arguments_clear) = {0};
	struct arguments filled;
	struct json_value params;
	struct error err;
	cr_assert_eq(json_validate(slice_of("{\"a\": 1}"), MESSAGE_BYTES_MAX, &params, &err), E_OK);
	cr_assert_eq(arguments_parse("c {a} {file}", &parsed, &err), E_OK);
	cr_expect_eq(arguments_fill(&parsed, params, &filled, &err), E_MISSING);
	cr_expect_str_eq(err.text, "Missing parameter: file");
	cr_expect_null(filled.words);
}
