#pragma once

/* One setting: its names, its values as text, its bounds. What the reading, the help and the reference page share. */

#include "common/settings.h"

/* The longest name of an environment variable, with its end. */
#define SETTING_ENVIRONMENT_SIZE 100

/* A row of the table that is a heading: it has no name, and its help is the text. */
bool setting_is_heading(const struct setting *setting);

/* Writes the name of its environment variable into `room` and returns it. */
const char *setting_environment(const struct setting *setting, char room[SETTING_ENVIRONMENT_SIZE]);

/* Reads `text`, checks the bounds and stores the value in the struct at `into`. E_INVALID: `err` says what it must be. */
MUST_USE enum status setting_store(const struct setting *setting, const char *text, void *into, struct error *err);

/* Adds what a value looks like: NUMBER, DURATION, debug|info …; nothing for a flag. */
void setting_add_form(struct buffer *out, const struct setting *setting);

/* Adds the bounds: "1 to 64", "100ms to 2s"; nothing when there are none. */
void setting_add_bounds(struct buffer *out, const struct setting *setting);

/* Which of `count` names is close enough to `given` to be what was meant; NULL when none is. */
const char *setting_meant(const char *given, const char *const *names, size_t count);
