#include "common/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/buffer.h"
#include "common/clock.h"
#include "common/utf8.h"

/* Longer values are cut: a line must stay readable, and short enough not to be torn apart by a pipe's reader. */
#define LOG_VALUE_BYTES_MAX 4096

static const char *log_program = "kser";
static enum log_format log_form = LOG_FORMAT_LOGFMT;
static atomic_int log_least = LOG_LEVEL_INFO;

void log_open(const char *program, enum log_level least, enum log_format format)
{
	log_program = program;
	log_form = format;
	atomic_store(&log_least, (int)least);
}

void log_set_level(enum log_level least)
{
	atomic_store(&log_least, (int)least);
}

bool log_is_on(enum log_level level)
{
	return (int)level >= atomic_load_explicit(&log_least, memory_order_relaxed);
}

static const char *level_name(enum log_level level)
{
	switch (level) {
	case LOG_LEVEL_DEBUG: return "debug";
	case LOG_LEVEL_INFO: return "info";
	case LOG_LEVEL_WARNING: return "warning";
	case LOG_LEVEL_ERROR: return "error";
	}
	return "error";
}

/* `escaped`: bytes that get a backslash before them. */
static void add_visible(struct buffer *out, const char *text, const char *escaped)
{
	const char *end = text + strlen(text);
	size_t start = out->length;
	while (text < end) {
		if (out->length - start >= LOG_VALUE_BYTES_MAX) {
			buffer_printf(out, "... (%zu bytes more)", (size_t)(end - text));
			return;
		}
		if (strchr(escaped, *text))
			buffer_add_char(out, '\\');
		char room[UTF8_VISIBLE_MAX];
		size_t length = utf8_visible(&text, end, room);
		buffer_add(out, room, length);
	}
}

static void add_logfmt_value(struct buffer *out, const char *text)
{
	struct buffer visible CLEANUP(buffer_clear) = {0};
	add_visible(&visible, text, "\"\\");
	bool bare = visible.length && !strpbrk(visible.bytes, " =\"\\");
	buffer_add_text(out, bare ? "" : "\"");
	buffer_add_slice(out, buffer_slice(&visible));
	buffer_add_text(out, bare ? "" : "\"");
}

static void add_json_value(struct buffer *out, const char *text)
{
	struct buffer visible CLEANUP(buffer_clear) = {0};
	add_visible(&visible, text, "");
	buffer_add_json_string(out, buffer_slice(&visible));
}

static void add_pair(struct buffer *out, const char *key, const char *value)
{
	if (log_form == LOG_FORMAT_JSON) {
		buffer_add_text(out, out->length ? ", " : "{");
		buffer_add_json_string(out, slice_of(key));
		buffer_add_text(out, ": ");
		add_json_value(out, value);
		return;
	}
	if (out->length)
		buffer_add_char(out, ' ');
	buffer_add_text(out, key);
	buffer_add_char(out, '=');
	add_logfmt_value(out, value);
}

static const char *time_text(char room[40])
{
	int64_t now_ms = clock_wall_ms();
	time_t seconds = (time_t)(now_ms / 1000);
	struct tm parts;
	gmtime_r(&seconds, &parts);
	size_t length = strftime(room, 32, "%Y-%m-%dT%H:%M:%S", &parts);
	snprintf(room + length, 40 - length, ".%03dZ", (int)(now_ms % 1000));
	return room;
}

/* One write a line, so that lines of several threads and processes do not mix. A full pipe loses the rest rather than stop the program. */
static void write_line(const struct buffer *line)
{
	size_t done = 0;
	while (done < line->length) {
		ssize_t written = write(STDERR_FILENO, line->bytes + done, line->length - done);
		if (written < 0 && errno == EINTR)
			continue;
		if (written <= 0)
			return;
		done += (size_t)written;
	}
}

void log_event(enum log_level level, const char *message, ...)
{
	if (!log_is_on(level))
		return;
	int saved_errno = errno;
	struct buffer line CLEANUP(buffer_clear) = {0};
	char now[40];
	add_pair(&line, "time", time_text(now));
	add_pair(&line, "level", level_name(level));
	add_pair(&line, "program", log_program);
	add_pair(&line, "message", message);
	va_list pairs;
	va_start(pairs, message);
	for (const char *key = va_arg(pairs, const char *); key; key = va_arg(pairs, const char *)) {
		const char *value = va_arg(pairs, const char *);
		if (value)
			add_pair(&line, key, value);
	}
	va_end(pairs);
	buffer_add_text(&line, log_form == LOG_FORMAT_JSON ? "}\n" : "\n");
	write_line(&line);
	errno = saved_errno;
}

const char *log_int_(char *room, int64_t number)
{
	snprintf(room, 24, "%" PRId64, number);
	return room;
}
