#include "common/settings.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <ini.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/file.h"
#include "common/memory.h"
#include "common/setting.h"
#include "common/settings_text.h"
#include "common/slice.h"

/* A line of the file and a secret's file: more is a mistake. */
#define LINE_BYTES_MAX (64 * 1024)
#define SECRET_BYTES_MAX (64 * 1024)

#define SECTION_BYTES_MAX 400

/* What getopt_long returns for the flag of the setting with that index, and for the general ones. */
#define FLAG_OF_SETTING 1000
enum general_flag { FLAG_HELP = 'h', FLAG_VERSION = 300, FLAG_PRINT_CONFIG, FLAG_CONFIG };

extern char **environ;

struct reading {
	const struct program *program;
	struct chosen *chosen; /* by setting */
	struct properties *kafka;
	const char **property_origins; /* by property */
	struct buffer *errors;
	settings_section *section;
	void *context;
	const char *config_path;
	bool help;
	bool version;
	bool print_config;
};

/* ---- texts that live as long as the process ---- */

struct kept {
	struct kept *next;
	char text[];
};
static struct kept *all_kept;

static const char *keep(const char *text, size_t length)
{
	struct kept *kept = xmalloc(sizeof *kept + length + 1);
	memcpy(kept->text, text, length);
	kept->text[length] = '\0';
	kept->next = all_kept;
	all_kept = kept;
	return kept->text;
}

static const char *keep_printf(const char *format, ...) PRINTF_LIKE(1, 2);
static const char *keep_printf(const char *format, ...)
{
	char text[1024];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	return keep(text, strlen(text));
}

/* ---- errors ---- */

static void wrong(struct reading *reading, const char *format, ...) PRINTF_LIKE(2, 3);
static void wrong(struct reading *reading, const char *format, ...)
{
	char text[1024];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	struct error err;
	(void)fail(&err, E_INVALID, "%s", text);
	buffer_add_text(reading->errors, err.text);
	buffer_add_char(reading->errors, '\n');
}

/* ", did you mean …?" or nothing; `written` is how names are written where it was given. */
static const char *meant(const struct reading *reading, const char *given, const char *prefix)
{
	const struct program *program = reading->program;
	const char **names CLEANUP(free_pointer) = xcalloc(program->count + 1, sizeof *names);
	for (size_t i = 0; i < program->count; i++)
		names[i] = program->settings[i].name;
	const char *name = setting_meant(given, names, program->count);
	return name ? keep_printf(", did you mean %s%s?", prefix, name) : "";
}

/* ---- properties of librdkafka ---- */

void properties_clear(struct properties *properties)
{
	for (size_t i = 0; i < properties->count; i++) {
		free(properties->list[i].name);
		free(properties->list[i].value);
	}
	free(properties->list);
	*properties = (struct properties){0};
}

static void append_properties(struct properties *all, const struct properties *more)
{
	for (size_t i = 0; i < more->count; i++)
		all->list[all->count++] = (struct property){xstrdup(more->list[i].name), xstrdup(more->list[i].value)};
}

struct properties properties_joined(const struct properties *first, const struct properties *second)
{
	struct properties all = {.list = xcalloc(first->count + second->count, sizeof *all.list)};
	append_properties(&all, first);
	append_properties(&all, second);
	return all;
}

/* What was given first counts: the sources are read by precedence. */
static void add_property(struct reading *reading, const char *name, size_t name_length, const char *value, const char *origin)
{
	struct properties *properties = reading->kafka;
	for (size_t i = 0; i < properties->count; i++)
		if (slice_is((struct slice){name, name_length}, properties->list[i].name))
			return;
	properties->list = xrealloc(properties->list, (properties->count + 1) * sizeof *properties->list);
	reading->property_origins = xrealloc(reading->property_origins, (properties->count + 1) * sizeof *reading->property_origins);
	reading->property_origins[properties->count] = origin;
	properties->list[properties->count++] = (struct property){xstrndup(name, name_length), xstrdup(value)};
}

/* ---- flags ---- */

static struct option *long_flags(const struct program *program)
{
	static const struct option general[] = {
		{"help", no_argument, NULL, FLAG_HELP},
		{"version", no_argument, NULL, FLAG_VERSION},
		{"print-config", no_argument, NULL, FLAG_PRINT_CONFIG},
		{"config", required_argument, NULL, FLAG_CONFIG},
	};
	struct option *flags = xcalloc(program->count + COUNT_OF(general) + 1, sizeof *flags);
	size_t count = 0;
	for (size_t i = 0; i < program->count; i++) {
		const struct setting *setting = &program->settings[i];
		if (!setting_is_heading(setting))
			flags[count++] = (struct option){setting->name, setting->kind == SETTING_FLAG ? optional_argument : required_argument, NULL,
				FLAG_OF_SETTING + (int)i};
	}
	memcpy(flags + count, general, sizeof general);
	return flags;
}

/* A flag that getopt does not know: a property, or a mistake. */
static void take_unknown_flag(struct reading *reading, const char *flag)
{
	const char *equals = strchr(flag, '=');
	size_t length = equals ? (size_t)(equals - flag) : strlen(flag);
	if (reading->kafka && strncmp(flag, "--kafka.", 8) == 0) {
		if (equals && length > 8)
			add_property(reading, flag + 8, length - 8, equals + 1, keep(flag, length));
		else
			wrong(reading, "%.100s: must be --kafka.NAME=VALUE", flag);
		return;
	}
	const char *name = flag;
	while (*name == '-')
		name++;
	char *bare CLEANUP(free_pointer) = xstrndup(name, length - (size_t)(name - flag));
	wrong(reading, "unknown flag %.*s%s", length > 100 ? 100 : (int)length, flag, meant(reading, bare, "--"));
}

static void take_flag(struct reading *reading, int flag, char **argv)
{
	const char *written = optind > 1 ? argv[optind - 1] : "";
	char letter[3] = {'-', (char)optopt, '\0'};
	switch (flag) {
	case FLAG_HELP: reading->help = true; return;
	case FLAG_VERSION: reading->version = true; return;
	case FLAG_PRINT_CONFIG: reading->print_config = true; return;
	case FLAG_CONFIG: reading->config_path = optarg; return;
	case ':': wrong(reading, "%.100s: needs a value", written); return;
	case '?': take_unknown_flag(reading, optopt > 0 && optopt < 256 ? letter : written); return;
	default: break;
	}
	size_t i = (size_t)(flag - FLAG_OF_SETTING);
	assert(i < reading->program->count);
	if (reading->program->settings[i].kind == SETTING_KEY) {
		wrong(reading, "--%s: cannot be given as a flag, which others can read", reading->program->settings[i].name);
		return;
	}
	reading->chosen[i].text = optarg ? optarg : "yes";
	reading->chosen[i].origin = keep_printf("--%s", reading->program->settings[i].name);
}

static int read_flags(struct reading *reading, int argc, char **argv)
{
	struct option *flags CLEANUP(free_pointer) = long_flags(reading->program);
	opterr = 0;
	optind = 0; /* glibc: from the start */
	for (int flag; (flag = getopt_long(argc, argv, ":h", flags, NULL)) != -1;)
		take_flag(reading, flag, argv);
	return optind;
}

const char *settings_argument_hint(const char *argument)
{
	bool value = strcmp(argument, "yes") == 0 || strcmp(argument, "no") == 0;
	return value ? " (a flag of yes or no is written --NAME, --NAME=yes or --NAME=no)" : "";
}

/* ---- environment ---- */

const char *settings_environment(const char *name)
{
	const char *value = getenv(name);
	return value && value[0] ? value : NULL;
}

/* The file's bytes but for the line end that editors add; NULL: told. */
static const char *read_secret(struct reading *reading, const char *variable, const char *path)
{
	char *bytes CLEANUP(free_pointer) = xmalloc(SECRET_BYTES_MAX + 1);
	struct error err;
	int opened;
	if (file_open(path, "the file", &opened, &err)) {
		wrong(reading, "%s: %s", variable, err.text);
		return NULL;
	}
	FILE *file = fdopen(opened, "r");
	size_t length = fread(bytes, 1, SECRET_BYTES_MAX + 1, file);
	bool failed = ferror(file);
	fclose(file);
	if (failed || length > SECRET_BYTES_MAX || memchr(bytes, '\0', length)) {
		wrong(reading, "%s: %.300s cannot be read, or is not a text of at most %d bytes", variable, path, SECRET_BYTES_MAX);
		return NULL;
	}
	if (length && bytes[length - 1] == '\n')
		length--;
	if (length && bytes[length - 1] == '\r')
		length--;
	return keep(bytes, length);
}

static void read_variable(struct reading *reading, size_t i)
{
	const struct setting *setting = &reading->program->settings[i];
	struct chosen *chosen = &reading->chosen[i];
	char variable[SETTING_ENVIRONMENT_SIZE + 8];
	setting_environment(setting, variable);
	const char *value = settings_environment(variable);
	const char *origin = value ? keep_printf("%s", variable) : NULL;
	if (setting->kind == SETTING_SECRET) {
		memcpy(variable + strlen(variable), "_FILE", sizeof "_FILE");
		const char *path = settings_environment(variable);
		if (path && value)
			wrong(reading, "%s and %s are both given", origin, variable);
		else if (path && !chosen->text) {
			value = read_secret(reading, variable, path);
			origin = keep_printf("%s", variable);
		}
	}
	if (value && !chosen->text)
		*chosen = (struct chosen){.text = value, .origin = origin};
}

/* KSER_KAFKA_MESSAGE_TIMEOUT_MS=… is message.timeout.ms. */
static void read_property_variables(struct reading *reading)
{
	static const char prefix[] = "KSER_KAFKA_";
	for (char **variable = environ; variable && *variable; variable++) {
		const char *equals = strchr(*variable, '=');
		if (!equals || strncmp(*variable, prefix, sizeof prefix - 1) != 0 || equals[1] == '\0')
			continue;
		size_t length = (size_t)(equals - *variable) - (sizeof prefix - 1);
		char *name CLEANUP(free_pointer) = xstrndup(*variable + sizeof prefix - 1, length);
		for (char *at = name; *at; at++)
			*at = *at == '_' ? '.' : (char)tolower((unsigned char)*at);
		add_property(reading, name, length, equals + 1, keep(*variable, (size_t)(equals - *variable)));
	}
}

static void read_environment(struct reading *reading)
{
	for (size_t i = 0; i < reading->program->count; i++)
		if (!setting_is_heading(&reading->program->settings[i]))
			read_variable(reading, i);
	if (reading->kafka)
		read_property_variables(reading);
	if (!reading->config_path)
		reading->config_path = settings_environment("KSER_CONFIG");
}

/* ---- the file ---- */

/* The reader knows the lines and the whole names of sections, which inih cuts at 49 bytes. */
struct ini_file {
	struct reading *reading;
	FILE *stream;
	const char *path;
	int line;
	char section[SECTION_BYTES_MAX + 1];
};

/* A section may be without keys: the program is told where each begins. */
static void tell_section(struct ini_file *file)
{
	struct reading *reading = file->reading;
	struct error err;
	if (!reading->section || strcmp(file->section, reading->program->section) == 0 || (reading->kafka && strcmp(file->section, "kafka") == 0))
		return;
	if (reading->section(reading->context, file->section, NULL, NULL, file->line, &err))
		wrong(reading, "%s line %d: %s", file->path, file->line, err.text);
}

static void note_section(struct ini_file *file, const char *text)
{
	while (isspace((unsigned char)*text))
		text++;
	const char *end = *text == '[' ? strchr(text, ']') : NULL;
	if (!end)
		return;
	size_t length = (size_t)(end - text) - 1;
	if (length > SECTION_BYTES_MAX) {
		wrong(file->reading, "%s line %d: a section's name of more than %d bytes", file->path, file->line, SECTION_BYTES_MAX);
		length = SECTION_BYTES_MAX;
	}
	memcpy(file->section, text + 1, length);
	file->section[length] = '\0';
	tell_section(file);
}

/* For inih: the next line, at most `size` bytes with its end. */
static char *next_line(char *text, int size, void *context)
{
	struct ini_file *file = context;
	char *line CLEANUP(free_pointer) = NULL;
	size_t room = 0;
	ssize_t length = getline(&line, &room, file->stream);
	if (length < 0)
		return NULL;
	file->line++;
	if (length >= size || strlen(line) != (size_t)length) {
		wrong(file->reading, "%s line %d: longer than %d bytes, or with a NUL", file->path, file->line, size - 1);
		line[0] = '\0';
		length = 0;
	}
	memcpy(text, line, (size_t)length + 1);
	note_section(file, text);
	return text;
}

static void take_file_setting(struct ini_file *file, const char *key, const char *value)
{
	struct reading *reading = file->reading;
	char *name CLEANUP(free_pointer) = xstrdup(key);
	for (char *at = name; *at; at++)
		*at = *at == '_' ? '-' : *at;
	for (size_t i = 0; i < reading->program->count; i++) {
		const struct setting *setting = &reading->program->settings[i];
		struct chosen *chosen = &reading->chosen[i];
		if (setting_is_heading(setting) || strcmp(setting->name, name) != 0)
			continue;
		if (chosen->line)
			wrong(reading, "%s: given twice, in %s lines %d and %d", name, file->path, chosen->line, file->line);
		chosen->line = file->line;
		if (!chosen->text) {
			chosen->text = keep(value, strlen(value));
			chosen->origin = keep_printf("%s line %d", file->path, file->line);
		}
		return;
	}
	wrong(reading, "%s line %d: unknown key %.100s%s", file->path, file->line, key, meant(reading, name, ""));
}

/* For inih. Always 1: mistakes are noted and the rest is read. */
static int take_pair(void *context, const char *cut_section, const char *key, const char *value)
{
	(void)cut_section;
	struct ini_file *file = context;
	struct reading *reading = file->reading;
	struct error err;
	if (strcmp(file->section, reading->program->section) == 0)
		take_file_setting(file, key, value);
	else if (reading->kafka && strcmp(file->section, "kafka") == 0)
		add_property(reading, key, strlen(key), value, keep_printf("%s line %d", file->path, file->line));
	else if (!reading->section)
		wrong(reading, "%s line %d: unknown section [%.100s], known are [%s]%s", file->path, file->line, file->section,
			reading->program->section, reading->kafka ? " and [kafka]" : "");
	else if (reading->section(reading->context, file->section, key, value, file->line, &err))
		wrong(reading, "%s line %d: %s", file->path, file->line, err.text);
	return 1;
}

/* A pipe will do, and so will /dev/stdin; a directory would be an empty file. NULL: told. */
static FILE *open_config(struct reading *reading)
{
	struct stat about;
	FILE *file = fopen(reading->config_path, "re");
	if (!file) {
		wrong(reading, "cannot open the file %.300s: %s", reading->config_path, strerror(errno));
		return NULL;
	}
	if (fstat(fileno(file), &about) == 0 && !S_ISDIR(about.st_mode) && !S_ISBLK(about.st_mode))
		return file;
	fclose(file);
	wrong(reading, "cannot read the file %.300s: it is a %s", reading->config_path, S_ISDIR(about.st_mode) ? "directory" : "device");
	return NULL;
}

static void read_file(struct reading *reading)
{
	struct ini_file file = {.reading = reading, .path = reading->config_path, .stream = open_config(reading)};
	if (!file.stream)
		return;
	/* A command in the file may hold a semicolon, be long, and be indented. */
	ini_allow_inline_comments = false;
	ini_allow_multiline = false;
	ini_use_stack = false;
	ini_max_line = LINE_BYTES_MAX;
	ini_initial_alloc = LINE_BYTES_MAX;
	int line = ini_parse_stream(next_line, &file, take_pair, &file);
	if (line != 0)
		wrong(reading, "%s line %d: neither a [section] nor name = value nor a comment", file.path, line);
	fclose(file.stream);
}

/* ---- all together ---- */

static void store_all(struct reading *reading, void *into)
{
	for (size_t i = 0; i < reading->program->count; i++) {
		const struct setting *setting = &reading->program->settings[i];
		struct chosen *chosen = &reading->chosen[i];
		if (setting_is_heading(setting))
			continue;
		if (!chosen->text) {
			chosen->text = setting->fallback;
			chosen->origin = "default";
		}
		struct error err;
		bool text = setting->kind == SETTING_TEXT || setting->kind == SETTING_URL || setting->kind == SETTING_SECRET || setting->kind == SETTING_KEY;
		if ((text || chosen->text) && setting_store(setting, chosen->text, into, &err))
			wrong(reading, "%s: %s, from %s", setting->name, err.text, chosen->origin);
	}
}

static void print(const struct buffer *text)
{
	fwrite(text->bytes, 1, text->length, stdout);
	fflush(stdout);
}

static void print_config(const struct reading *reading)
{
	struct buffer text CLEANUP(buffer_clear) = {0};
	settings_add_config(&text, reading->program, reading->chosen);
	if (reading->kafka && reading->kafka->count) {
		buffer_add_text(&text, "\n[kafka]\n");
		for (size_t i = 0; i < reading->kafka->count; i++)
			settings_add_property(&text, &reading->kafka->list[i], reading->property_origins[i]);
	}
	print(&text);
}

/* --help and --version are answered whatever else is wrong. */
static bool answer(const struct reading *reading)
{
	struct buffer text CLEANUP(buffer_clear) = {0};
	if (reading->help)
		settings_add_help(&text, reading->program);
	else if (reading->version)
		buffer_printf(&text, "%s %s\n", reading->program->name, KSER_VERSION);
	if (text.length)
		print(&text);
	return text.length > 0;
}

static enum settings_answer read_all(struct reading *reading, int argc, char **argv, void *into, int *first_argument)
{
	*first_argument = read_flags(reading, argc, argv);
	if (answer(reading))
		return SETTINGS_DONE;
	read_environment(reading);
	if (reading->config_path)
		read_file(reading);
	store_all(reading, into);
	if (reading->errors->length)
		return SETTINGS_WRONG;
	if (!reading->print_config)
		return SETTINGS_RUN;
	print_config(reading);
	return SETTINGS_DONE;
}

enum settings_answer settings_read(const struct program *program, int argc, char **argv, void *into,
	struct properties *kafka, settings_section *section, void *context, int *first_argument, struct buffer *errors)
{
	struct chosen *chosen CLEANUP(free_pointer) = xcalloc(program->count, sizeof *chosen);
	struct reading reading = {.program = program, .chosen = chosen, .kafka = kafka, .errors = errors, .section = section, .context = context};
	if (kafka)
		*kafka = (struct properties){0};
	int first;
	enum settings_answer outcome = read_all(&reading, argc, argv, into, &first);
	if (first_argument)
		*first_argument = first;
	free(reading.property_origins);
	return outcome;
}
