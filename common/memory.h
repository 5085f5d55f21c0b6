#pragma once

/* Allocation that aborts when memory runs out: all durable state is elsewhere, a restart heals. */

#include <stddef.h>

#include "common/attributes.h"

MUST_USE void *xmalloc(size_t size);
MUST_USE void *xcalloc(size_t count, size_t size);
MUST_USE void *xrealloc(void *memory, size_t size);
MUST_USE char *xstrdup(const char *text);
MUST_USE char *xstrndup(const char *text, size_t length);

/* Frees what a pointer from the functions above points to, and sets the pointer to NULL. Also for CLEANUP. */
void free_pointer(void *address_of_pointer);
