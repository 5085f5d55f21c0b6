#pragma once

/* The SQL files of sql/ and migrations/, embedded at build time. Static, read-only. */

#include <stddef.h>

struct embedded_file {
	const char *name;  /* base name: 0001_init.sql */
	const char *bytes; /* NUL-terminated */
	size_t length;
};

extern const struct embedded_file embedded_migrations[]; /* in rising order of their numbers */
extern const size_t embedded_migrations_count;
extern const struct embedded_file embedded_functions[]; /* in the order in which they are to be created */
extern const size_t embedded_functions_count;

extern const struct embedded_file embedded_statements[]; /* sql/statements/: what the engine calls */
extern const size_t embedded_statements_count;
