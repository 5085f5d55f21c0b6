#include "cli/dev_place.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/buffer.h"
#include "common/settings.h"

/* A socket's path has room for 107 bytes. */
#define TEMPORARY_BYTES_MAX 60

static const char *const logs[] = {"postgres", "orchestrator", "worker"};

static void path_in(const char *directory, const char *name, char path[PATH_MAX])
{
	if (snprintf(path, PATH_MAX, "%s/%s", directory, name) >= PATH_MAX)
		path[0] = '\0';
}

static enum status make_own(struct place *place, struct error *err)
{
	const char *parent = settings_environment("TMPDIR");
	if (!parent || strlen(parent) > TEMPORARY_BYTES_MAX)
		parent = "/tmp";
	snprintf(place->own, sizeof place->own, "%s/kser-dev-XXXXXX", parent);
	if (!mkdtemp(place->own)) {
		place->own[0] = '\0';
		return fail(err, E_INVALID, "cannot make a directory in %s: %s", parent, strerror(errno));
	}
	/* PostgreSQL's user passes through on the way to its own, as root runs the rest. */
	if (geteuid() == 0 && chmod(place->own, 0711) != 0)
		return fail(err, E_INVALID, "cannot open %s to others: %s", place->own, strerror(errno));
	return E_OK;
}

/* Users run what stands there: a directory that others could have prepared, or can change, is not used. */
static enum status check_private(const char *directory, struct error *err)
{
	struct stat found;
	if (lstat(directory, &found) != 0)
		return fail(err, E_INVALID, "cannot use %.300s: %s", directory, strerror(errno));
	if (S_ISLNK(found.st_mode))
		return fail(err, E_INVALID, "%.300s is a symbolic link: name the directory itself", directory);
	if (!S_ISDIR(found.st_mode))
		return fail(err, E_INVALID, "%.300s is not a directory", directory);
	if (found.st_uid != geteuid())
		return fail(err, E_INVALID, "%.300s belongs to another user", directory);
	if (found.st_mode & (S_IWGRP | S_IWOTH))
		return fail(err, E_INVALID, "others can write in %.300s: take that from them (chmod go-w)", directory);
	return E_OK;
}

static enum status make_private(const char *directory, bool *made, struct error *err)
{
	*made = mkdir(directory, 0700) == 0;
	if (!*made && errno != EEXIST)
		return fail(err, E_INVALID, "cannot make %.300s: %s", directory, strerror(errno));
	return check_private(directory, err);
}

static enum status find_directory(struct place *place, const char *directory, struct error *err)
{
	char name[PATH_MAX];
	if (!directory) {
		memcpy(place->directory, place->own, sizeof place->directory);
		return E_OK;
	}
	size_t length = strlen(directory);
	while (length > 1 && directory[length - 1] == '/')
		length--; /* with a slash at its end a link counts as what it leads to */
	if (length >= sizeof name)
		return fail(err, E_INVALID, "cannot use %.300s: %s", directory, strerror(ENAMETOOLONG));
	memcpy(name, directory, length);
	name[length] = '\0';
	enum status status = make_private(name, &place->made, err);
	if (!status && !realpath(name, place->directory))
		status = fail(err, E_INVALID, "cannot use %.300s: %s", name, strerror(errno));
	return status;
}

static enum status make_log(const struct place *place, struct error *err)
{
	char path[PATH_MAX];
	bool made;
	path_in(place->directory, "log", path);
	return make_private(path, &made, err);
}

static enum status lock_directory(struct place *place, struct error *err)
{
	char path[PATH_MAX];
	struct stat found;
	path_in(place->directory, "lock", path);
	int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (file < 0)
		return fail(err, E_INVALID, "cannot write in %.300s: %s", place->directory, strerror(errno));
	if (flock(file, LOCK_EX | LOCK_NB) != 0 || fstat(file, &found) != 0 || found.st_nlink == 0) {
		close(file);
		return fail(err, E_CONFLICT, "another kser dev lives in %.300s: stop it first, or name another --dir", place->directory);
	}
	place->lock = file;
	return E_OK;
}

static void remove_in(const char *directory, const char *name)
{
	char path[PATH_MAX];
	path_in(directory, name, path);
	unlink(path);
}

/* What a stack that was killed may have left. */
static void prepare_directory(const struct place *place)
{
	char path[PATH_MAX];
	remove_in(place->directory, "env");
	remove_in(place->directory, "env.new");
	for (size_t i = 0; i < COUNT_OF(logs); i++) {
		place_log(place, logs[i], path);
		unlink(path);
	}
}

enum status place_open(struct place *place, const char *directory, struct error *err)
{
	*place = (struct place){.lock = -1};
	enum status status = make_own(place, err);
	if (!status)
		status = find_directory(place, directory, err);
	if (!status)
		status = make_log(place, err);
	if (!status)
		status = lock_directory(place, err);
	if (!status)
		prepare_directory(place);
	return status;
}

void place_log(const struct place *place, const char *name, char path[PATH_MAX])
{
	if (snprintf(path, PATH_MAX, "%s/log/%s.log", place->directory, name) >= PATH_MAX)
		path[0] = '\0';
}

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
	(void)status;
	(void)kind;
	(void)walk;
	remove(path);
	return 0;
}

static void clear_directory(const struct place *place, bool keep_logs)
{
	char path[PATH_MAX];
	remove_in(place->directory, "env");
	for (size_t i = 0; i < COUNT_OF(logs) && !keep_logs; i++) {
		place_log(place, logs[i], path);
		unlink(path);
	}
	path_in(place->directory, "log", path);
	rmdir(path);
	remove_in(place->directory, "lock");
	if (place->made)
		rmdir(place->directory);
}

void place_close(struct place *place, bool keep_logs)
{
	if (place->lock >= 0) {
		clear_directory(place, keep_logs);
		close(place->lock);
		place->lock = -1;
	}
	if (place->own[0])
		nftw(place->own, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	place->own[0] = '\0';
}

/* In single quotes; one in the text closes them, stands for itself and opens them again. */
static void add_export(struct buffer *text, const char *setting)
{
	size_t name = strcspn(setting, "=");
	buffer_add_text(text, "export ");
	buffer_add(text, setting, name);
	buffer_add_text(text, "='");
	for (const char *at = setting + name + 1; *at; at++)
		if (*at == '\'')
			buffer_add_text(text, "'\\''");
		else
			buffer_add_char(text, *at);
	buffer_add_text(text, "'\n");
}

/* O_EXCL: neither through a link nor with the mode of a file that was there. */
static bool write_new(const char *path, const struct buffer *text)
{
	int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (file < 0)
		return false;
	bool written = write(file, text->bytes, text->length) == (ssize_t)text->length;
	return close(file) == 0 && written;
}

enum status place_write_env(const struct place *place, const char *const *settings, struct error *err)
{
	struct buffer text CLEANUP(buffer_clear) = {0};
	char unfinished[PATH_MAX], path[PATH_MAX];
	path_in(place->directory, "env.new", unfinished);
	path_in(place->directory, "env", path);
	for (size_t i = 0; settings[i]; i++)
		add_export(&text, settings[i]);
	if (write_new(unfinished, &text) && rename(unfinished, path) == 0)
		return E_OK;
	enum status status = fail(err, E_FATAL, "cannot write %.300s: %s", path, strerror(errno));
	unlink(unfinished);
	return status;
}
