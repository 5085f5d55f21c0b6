#pragma once

/* SIGTERM, SIGINT and SIGHUP while a worker runs: counted, and told by an eventfd. SIGPIPE is ignored meanwhile. One user in a process at a time. */

/* Catches them from now on; each one writes to `wake_fd`. The counts begin at 0, and a SIGHUP that was blocked comes now. */
void signals_catch(int wake_fd);

/* How many SIGTERM and SIGINT have come. */
int signals_count(void);

/* How many SIGHUP. */
int signals_hangups(void);

/* What was there before is in place again. */
void signals_release(void);
