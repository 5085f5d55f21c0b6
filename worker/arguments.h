#pragma once

/*
 * A command line of the settings: words split and quoted as in a shell, but no shell: nothing is
 * expanded, matched or substituted except {name}, which stands for a parameter of the task, inside
 * one argument. {{ is a literal brace. Any thread once parsed.
 */

#include "common/error.h"
#include "common/json.h"

struct arguments {
	char **words; /* NULL-terminated, at least one */
	size_t count;
};

/*
 * Words are separated by blanks. '…' is literal; in "…" a backslash escapes " and \, elsewhere any byte.
 * E_INVALID: nothing there, a quote that is not closed, a backslash at the end, a placeholder without a name or an end.
 */
MUST_USE enum status arguments_parse(const char *text, struct arguments *arguments, struct error *err);

/*
 * The arguments with the values of `params` (an object) in place: strings as they are, anything else as JSON.
 * E_MISSING: `err` is "Missing parameter: x". `filled` belongs to the caller.
 */
MUST_USE enum status arguments_fill(const struct arguments *arguments, struct json_value params, struct arguments *filled, struct error *err);

void arguments_clear(struct arguments *arguments);
