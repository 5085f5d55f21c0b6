#pragma once

/*
 * The triggers of an entrypoint that is a command: commands too. Each gets the task's message on its standard input, with the result so
 * far from postrun on; its exit status means what that of the command means. What it says is added by kser's sum, a plan too, but what
 * prerun says on its way to a success.
 */

#include "worker/command.h"
#include "worker/entrypoints.h"

/* Sets the triggers for the hooks that `command` has. */
void hooks_set(struct kser_entrypoint *entrypoint, const struct command *command);
