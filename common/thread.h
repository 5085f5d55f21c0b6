#pragma once

/* Threads that are no concern of signals: those go to the threads that wait for them. */

#include <pthread.h>

#include "common/attributes.h"

/* Starts a thread with all signals blocked. `name`: for debuggers, at most 15 bytes. 0, or the error's number: there is no thread then. */
MUST_USE int thread_start(pthread_t *thread, const char *name, void *(*function)(void *), void *argument);
