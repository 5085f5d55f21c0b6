#pragma once

/*
 * Paths that every step of an operation takes, walked under a tool that counts instructions. A program has some of them:
 * without arguments it names them, one a line, behind a line that tells the toolchain; with PATH STEPS it walks one.
 *
 * A walk does the same for each of its steps, whatever the time; only by their number do two walks differ.
 */

#include <stddef.h>

#include "common/buffer.h"
#include "common/error.h"

struct path {
	const char *name;
	void (*walk)(int steps);
};

int path_main(int argc, char **argv, const struct path *paths, size_t count);

/* Ends the program when something could not be done that always can. */
void must(enum status status);

#define PATH_GENERATION 5
#define PATH_EPOCH 41

/* Adds the record of a dispatch: step 3 of operation `number`, with a result so far. */
void path_add_dispatch(struct buffer *out, int number);

/* The reply to it, a plain success with stdout and a retval of its own; `number` is below PATH_BATCH. All are made at the first use, and kept. */
struct slice path_reply(int number);

/* Results that a busy lane finds at once. It divides the steps of a walk. */
#define PATH_BATCH 150
