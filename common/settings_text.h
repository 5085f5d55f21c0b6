#pragma once

/* What is printed of a program's settings: --help and --print-config. */

#include "common/settings.h"

/* A value that was chosen, and from where: "default", "--slots", "KSER_SLOTS", "kser.ini line 7". */
struct chosen {
	const char *text;   /* NULL: none */
	const char *origin;
	int line;           /* of the file, when it is there; also when something else went before it */
};

void settings_add_help(struct buffer *out, const struct program *program);

/* An INI file that says the same, with the origin of each value in a comment before it; secrets are masked. */
void settings_add_config(struct buffer *out, const struct program *program, const struct chosen *chosen);
void settings_add_property(struct buffer *out, const struct property *property, const char *origin);
