#include "common/settings_text.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/setting.h"
#include "common/url.h"

#define MASK "********"

/* ---- --help ---- */

static void add_defaults(struct buffer *out, const struct setting *setting)
{
	char room[SETTING_ENVIRONMENT_SIZE];
	buffer_add_text(out, "        [");
	if (setting->fallback && setting->fallback[0])
		buffer_printf(out, "default %s, ", setting->fallback);
	size_t before = out->length;
	setting_add_bounds(out, setting);
	if (out->length > before)
		buffer_add_text(out, ", ");
	buffer_printf(out, "%s%s]\n", setting_environment(setting, room), setting->kind == SETTING_SECRET ? ", or its name with _FILE" : "");
}

static void add_setting(struct buffer *out, const struct setting *setting)
{
	if (setting->kind == SETTING_KEY) {
		buffer_printf(out, "  %s, which is no flag", setting->name);
	} else {
		buffer_printf(out, "  --%s%s", setting->name, setting->kind == SETTING_FLAG ? "" : " ");
		setting_add_form(out, setting);
	}
	buffer_printf(out, "\n        %s\n", setting->help);
	add_defaults(out, setting);
}

static const char general_help[] =
	"\nGeneral:\n"
	"  --config FILE\n"
	"        read settings from this INI file\n"
	"        [KSER_CONFIG]\n"
	"  --print-config\n"
	"        show every setting, its value and where it comes from, and exit\n"
	"  --kafka.NAME=VALUE\n"
	"        a property of librdkafka, for what has no setting here; [kafka] in the file\n"
	"        [KSER_KAFKA_NAME, with _ for each dot]\n"
	"  -h, --help\n"
	"        show this help and exit\n"
	"  --version\n"
	"        show the version and exit\n";

void settings_add_help(struct buffer *out, const struct program *program)
{
	buffer_printf(out, "%s: %s\n\nUsage: %s %s\n", program->name, program->summary, program->name, program->usage);
	for (size_t i = 0; i < program->count; i++) {
		const struct setting *setting = &program->settings[i];
		if (setting_is_heading(setting)) {
			buffer_printf(out, "\n%s:\n", setting->help);
			continue;
		}
		if (i == 0)
			buffer_add_text(out, "\nSettings:\n");
		add_setting(out, setting);
	}
	buffer_add_text(out, general_help);
	buffer_printf(out, "\nThe first that is given counts: flag, environment, section [%s] of the file (with _ for each -), default.\n", program->section);
	buffer_add_text(out, "A duration has a unit: 250ms, 2s, 5m, 1h, 1d. A size may have one: 4096, 64k, 1m. [=yes|no]: with =, or alone for yes.\n");
}

/* ---- --print-config ---- */

static void add_name(struct buffer *out, const char *name)
{
	for (; *name; name++)
		buffer_add_char(out, *name == '-' ? '_' : *name);
}

/* A value as it may be seen. */
static const char *shown_text(const struct setting *setting, const char *text, struct buffer *room, bool *masked)
{
	*masked = text[0] && (setting->kind == SETTING_SECRET || setting->kind == SETTING_KEY);
	if (*masked)
		return MASK;
	if (setting->kind != SETTING_URL || !text[0])
		return text;
	*masked = url_add_shown(room, text);
	return !*masked ? text : room->length ? room->bytes : MASK;
}

void settings_add_config(struct buffer *out, const struct program *program, const struct chosen *chosen)
{
	buffer_printf(out, "[%s]\n", program->section);
	for (size_t i = 0; i < program->count; i++) {
		const struct setting *setting = &program->settings[i];
		if (setting_is_heading(setting))
			continue;
		buffer_printf(out, "; %s\n", chosen[i].origin);
		struct buffer room CLEANUP(buffer_clear) = {0};
		bool masked;
		const char *text = shown_text(setting, chosen[i].text ? chosen[i].text : "", &room, &masked);
		buffer_add_text(out, masked || !text[0] ? "; " : "");
		add_name(out, setting->name);
		buffer_printf(out, " = %s\n", text);
	}
}

static bool is_secret_property(const char *name)
{
	return strstr(name, "password") || strstr(name, "secret") || strstr(name, ".key.pem") || strstr(name, "jaas") ||
		strstr(name, "oauthbearer.config");
}

void settings_add_property(struct buffer *out, const struct property *property, const char *origin)
{
	bool masked = is_secret_property(property->name);
	buffer_printf(out, "; %s\n%s%s = %s\n", origin, masked ? "; " : "", property->name, masked ? MASK : property->value);
}

/* ---- the reference page ---- */

/* A text in a cell of a Markdown table. */
static void add_cell(struct buffer *out, const char *text)
{
	for (; *text; text++) {
		if (*text == '|')
			buffer_add_char(out, '\\');
		buffer_add_char(out, *text);
	}
}

static void add_row(struct buffer *out, const struct setting *setting)
{
	char room[SETTING_ENVIRONMENT_SIZE];
	struct buffer form CLEANUP(buffer_clear) = {0};
	setting_add_form(&form, setting);
	buffer_printf(out, setting->kind == SETTING_KEY ? "| no flag" : "| `--%s`", setting->name);
	buffer_add_text(out, form.length ? " " : "");
	add_cell(out, form.length ? form.bytes : "");
	buffer_printf(out, " | `%s` | ", setting_environment(setting, room));
	if (setting->fallback && setting->fallback[0])
		buffer_printf(out, "`%s`", setting->fallback);
	buffer_add_text(out, " | ");
	setting_add_bounds(out, setting);
	buffer_add_text(out, " | ");
	add_cell(out, setting->help);
	buffer_add_text(out, " |\n");
}

static void add_table_head(struct buffer *out)
{
	buffer_add_text(out, "| flag | environment | default | range | what it is |\n|---|---|---|---|---|\n");
}

void settings_add_reference(struct buffer *out, const struct program *program)
{
	buffer_printf(out, "## %s\n\n", program->name);
	buffer_printf(out, "%s Section `[%s]` of the file.\n\n", program->summary, program->section);
	for (size_t i = 0; i < program->count; i++) {
		const struct setting *setting = &program->settings[i];
		if (setting_is_heading(setting)) {
			buffer_printf(out, "%s### %s\n\n", i ? "\n" : "", setting->help);
			add_table_head(out);
			continue;
		}
		if (i == 0)
			add_table_head(out);
		add_row(out, setting);
	}
}
