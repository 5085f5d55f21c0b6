#include "cli/exit.h"

#include <stdio.h>
#include <string.h>

enum exit_code exit_code_of(const struct error *err)
{
	if (strncmp(err->sqlstate, "28", 2) == 0 || strcmp(err->sqlstate, "42501") == 0)
		return EXIT_AUTHENTICATION;
	if (strcmp(err->sqlstate, "3D000") == 0)
		return EXIT_MISSING;
	switch (err->status) {
	case E_OK:
		return EXIT_OK;
	case E_INVALID:
		return EXIT_USAGE;
	case E_MISSING:
		return EXIT_MISSING;
	case E_CONFLICT:
		return EXIT_REFUSED;
	case E_RETRY:
	case E_FATAL:
		break;
	}
	return EXIT_ERROR;
}

enum exit_code complain(const struct error *err)
{
	fprintf(stderr, "kser: %s\n", err->text);
	return exit_code_of(err);
}
