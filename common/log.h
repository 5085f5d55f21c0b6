#pragma once

/*
 * One event, one line, on stderr: logfmt (default) or JSON. Lower case; "could not" for what may
 * heal, "cannot" for what will not. Values are escaped: no control character, invalid UTF-8 or line
 * break reaches the terminal. Never a secret; no payload above debug, but in the lines that
 * the worker's setting log-tasks switches on and in those of entrypoints themselves. Any thread.
 *
 *     log_warning("could not reach the database", "error", err.text, "wait_ms", LOG_INT(250));
 */

#include <stdbool.h>
#include <stdint.h>

#include "common/attributes.h"

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARNING, LOG_LEVEL_ERROR };
enum log_format { LOG_FORMAT_LOGFMT, LOG_FORMAT_JSON };

/* Call once, before threads start. `program` is static text and stands in every line. */
void log_open(const char *program, enum log_level least, enum log_format format);

/* Changes the least level; any thread, at any time. */
void log_set_level(enum log_level least);

/* Whether a line of that level would be written: for lines that are costly to make. Any thread. */
MUST_USE bool log_is_on(enum log_level level);

/* `message`, then pairs of key and value, all texts, ended by NULL; a NULL value is left out. */
void log_event(enum log_level level, const char *message, ...) __attribute__((sentinel));

#define log_debug(...) log_event(LOG_LEVEL_DEBUG, __VA_ARGS__, NULL)
#define log_info(...) log_event(LOG_LEVEL_INFO, __VA_ARGS__, NULL)
#define log_warning(...) log_event(LOG_LEVEL_WARNING, __VA_ARGS__, NULL)
#define log_error(...) log_event(LOG_LEVEL_ERROR, __VA_ARGS__, NULL)

/* A number as a value: lives until the end of the full expression's block. */
#define LOG_INT(number) log_int_((char[24]){0}, (int64_t)(number))
const char *log_int_(char *room, int64_t number);
