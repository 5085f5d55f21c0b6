#pragma once

/* All subcommands, each defined beside the function that runs it. */

#include "cli/command.h"

extern const struct command command_submit;
extern const struct command command_ls;
extern const struct command command_show;
extern const struct command command_watch;
extern const struct command command_wait;
extern const struct command command_cancel;
extern const struct command command_pause;
extern const struct command command_resume;
extern const struct command command_retry;
extern const struct command command_explain;
extern const struct command command_worker_ls;
extern const struct command command_dead_ls;
extern const struct command command_dead_show;
extern const struct command command_dead_redrive;
extern const struct command command_dead_drop;
extern const struct command command_policy_ls;
extern const struct command command_policy_set;
extern const struct command command_policy_drop;
extern const struct command command_db_migrate;
extern const struct command command_db_status;
extern const struct command command_db_doctor;
extern const struct command command_db_new_generation;
extern const struct command command_db_purge;
extern const struct command command_message_check;
extern const struct command command_message_seal;
extern const struct command command_message_open;
extern const struct command command_message_sum;
extern const struct command command_dev;
