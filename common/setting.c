#include "common/setting.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>


/* How much of a wrong value an error repeats. */
#define SHOWN 100

struct unit {
	const char *name;
	int64_t factor;
};

/* Descending, so that the first that divides a number writes it shortest. */
static const struct unit durations[] = {{"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};
static const struct unit sizes[] = {{"g", 1 << 30}, {"m", 1 << 20}, {"k", 1 << 10}, {"", 1}};

bool setting_is_heading(const struct setting *setting)
{
	return setting->name == NULL;
}

const char *setting_environment(const struct setting *setting, char room[SETTING_ENVIRONMENT_SIZE])
{
	if (setting->environment) {
		snprintf(room, SETTING_ENVIRONMENT_SIZE, "%s", setting->environment);
		return room;
	}
	snprintf(room, SETTING_ENVIRONMENT_SIZE, "KSER_%s", setting->name);
	for (char *at = room; *at; at++)
		*at = *at == '-' ? '_' : (char)toupper((unsigned char)*at);
	return room;
}

static void add_in_units(struct buffer *out, int64_t number, const struct unit *units, size_t count)
{
	size_t i = 0;
	while (i + 1 < count && (number == 0 || number % units[i].factor != 0))
		i++;
	buffer_add_int(out, number / units[i].factor);
	buffer_add_text(out, units[i].name);
}

static void add_number(struct buffer *out, const struct setting *setting, int64_t number)
{
	if (setting->kind == SETTING_DURATION)
		add_in_units(out, number, durations, COUNT_OF(durations));
	else if (setting->kind == SETTING_SIZE)
		add_in_units(out, number, sizes, COUNT_OF(sizes));
	else
		buffer_add_int(out, number);
}

void setting_add_bounds(struct buffer *out, const struct setting *setting)
{
	if (setting->min == 0 && setting->max == 0)
		return;
	add_number(out, setting, setting->min);
	buffer_add_text(out, " to ");
	add_number(out, setting, setting->max);
}

static void add_choices(struct buffer *out, const struct setting *setting, const char *between)
{
	for (const char *const *choice = setting->choices; *choice; choice++) {
		buffer_add_text(out, choice == setting->choices ? "" : between);
		buffer_add_text(out, *choice);
	}
}

void setting_add_form(struct buffer *out, const struct setting *setting)
{
	switch (setting->kind) {
	case SETTING_TEXT: buffer_add_text(out, "TEXT"); break;
	case SETTING_URL: buffer_add_text(out, "URL"); break;
	case SETTING_SECRET:
	case SETTING_KEY: buffer_add_text(out, "SECRET"); break;
	case SETTING_INTEGER: buffer_add_text(out, "NUMBER"); break;
	case SETTING_DURATION: buffer_add_text(out, "DURATION"); break;
	case SETTING_SIZE: buffer_add_text(out, "SIZE"); break;
	case SETTING_CHOICE: add_choices(out, setting, "|"); break;
	case SETTING_FLAG: buffer_add_text(out, "[=yes|no]"); break;
	}
}

static enum status check_bounds(const struct setting *setting, const char *text, int64_t number, struct error *err)
{
	if ((setting->min == 0 && setting->max == 0) || (number >= setting->min && number <= setting->max))
		return E_OK;
	struct buffer bounds CLEANUP(buffer_clear) = {0};
	setting_add_bounds(&bounds, setting);
	return fail(err, E_INVALID, "%.*s is not in the range %s", SHOWN, text, bounds.bytes);
}

/* A number, then one of the units. */
static bool read_in_units(const char *text, const struct unit *units, size_t count, int64_t *number)
{
	char *rest;
	errno = 0;
	long long value = strtoll(text, &rest, 10);
	if (errno || !isdigit((unsigned char)text[0]))
		return false;
	for (size_t i = 0; i < count; i++)
		if (strcmp(rest, units[i].name) == 0)
			return !__builtin_mul_overflow(value, units[i].factor, number);
	return false;
}

static bool read_integer(const char *text, int64_t *number)
{
	char *end;
	errno = 0;
	*number = strtoll(text, &end, 10);
	return !errno && end != text && *end == '\0' && !isspace((unsigned char)text[0]);
}

static enum status read_number(const struct setting *setting, const char *text, int64_t *number, struct error *err)
{
	switch (setting->kind) {
	case SETTING_DURATION:
		if (!read_in_units(text, durations, COUNT_OF(durations), number))
			return fail(err, E_INVALID, "\"%.*s\" is not a duration (e.g. 250ms, 2s, 5m)", SHOWN, text);
		break;
	case SETTING_SIZE:
		if (!read_in_units(text, sizes, COUNT_OF(sizes), number))
			return fail(err, E_INVALID, "\"%.*s\" is not a size (e.g. 4096, 64k, 1m)", SHOWN, text);
		break;
	default:
		if (!read_integer(text, number))
			return fail(err, E_INVALID, "\"%.*s\" is not a whole number", SHOWN, text);
	}
	return check_bounds(setting, text, *number, err);
}

static enum status store_number(const struct setting *setting, const char *text, void *member, struct error *err)
{
	int64_t number = 0;
	enum status status = read_number(setting, text, &number, err);
	if (!status)
		memcpy(member, &number, sizeof number);
	return status;
}

static enum status store_flag(const char *text, void *member, struct error *err)
{
	bool yes = strcmp(text, "yes") == 0;
	if (!yes && strcmp(text, "no") != 0)
		return fail(err, E_INVALID, "\"%.*s\" is neither yes nor no", SHOWN, text);
	memcpy(member, &yes, sizeof yes);
	return E_OK;
}

static enum status store_choice(const struct setting *setting, const char *text, void *member, struct error *err)
{
	for (int i = 0; setting->choices[i]; i++)
		if (strcmp(setting->choices[i], text) == 0) {
			memcpy(member, &i, sizeof i);
			return E_OK;
		}
	struct buffer choices CLEANUP(buffer_clear) = {0};
	add_choices(&choices, setting, ", ");
	return fail(err, E_INVALID, "\"%.*s\" is not one of %s", SHOWN, text, choices.bytes);
}

enum status setting_store(const struct setting *setting, const char *text, void *into, struct error *err)
{
	void *member = (char *)into + setting->offset;
	switch (setting->kind) {
	case SETTING_TEXT:
	case SETTING_URL:
	case SETTING_SECRET:
	case SETTING_KEY:
		memcpy(member, &text, sizeof text);
		return E_OK;
	case SETTING_INTEGER:
	case SETTING_DURATION:
	case SETTING_SIZE:
		return store_number(setting, text, member, err);
	case SETTING_FLAG:
		return store_flag(text, member, err);
	case SETTING_CHOICE:
		return store_choice(setting, text, member, err);
	}
	return fail(err, E_FATAL, "a setting of an unknown kind");
}

/* Names longer than this are never close to anything. */
#define NAME_MAX_MEANT 64

/* How many letters must be changed, added or taken away to turn one into the other. */
static size_t distance(const char *from, const char *to)
{
	size_t row[NAME_MAX_MEANT + 1];
	size_t width = strlen(to);
	assert(width <= NAME_MAX_MEANT);
	for (size_t j = 0; j <= width; j++)
		row[j] = j;
	for (size_t i = 1; from[i - 1]; i++) {
		size_t diagonal = row[0];
		row[0] = i;
		for (size_t j = 1; j <= width; j++) {
			size_t best = diagonal + (from[i - 1] != to[j - 1]);
			diagonal = row[j];
			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			row[j] = best;
		}
	}
	return row[width];
}

const char *setting_meant(const char *given, const char *const *names, size_t count)
{
	if (strlen(given) > NAME_MAX_MEANT)
		return NULL;
	const char *best = NULL;
	size_t closest = strlen(given) / 4 + 2;
	for (size_t i = 0; i < count; i++) {
		if (!names[i] || strlen(names[i]) > NAME_MAX_MEANT)
			continue;
		size_t changes = distance(given, names[i]);
		if (changes < closest) {
			closest = changes;
			best = names[i];
		}
	}
	return best;
}
