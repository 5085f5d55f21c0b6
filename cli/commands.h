#pragma once

/* All subcommands, each defined beside the function that runs it. */

#include "cli/command.h"

extern const struct command command_submit;
extern const struct command command_ls;
extern const struct command command_show;
extern const struct command command_watch;
extern const struct command command_wait;
extern const struct command command_worker_ls;
extern const struct command command_db_migrate;
extern const struct command command_db_status;
extern const struct command command_message_check;
extern const struct command command_message_seal;
extern const struct command command_message_open;
extern const struct command command_message_sum;
extern const struct command command_dev;
