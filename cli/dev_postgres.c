#include "cli/dev_postgres.h"

#include <errno.h>
#include <glob.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/input.h"
#include "cli/session.h"
#include "common/clock.h"
#include "common/settings.h"

#define POSTGRES_VERSION_MIN 15
#define START_TIMEOUT_MS 60000
#define STOP_TIMEOUT_MS 15000

static const char *const no_settings[] = {NULL};

static bool has_programs(const char *directory)
{
	char initdb[PATH_MAX], postgres[PATH_MAX];
	return snprintf(initdb, sizeof initdb, "%s/initdb", directory) < PATH_MAX && access(initdb, X_OK) == 0 &&
	       snprintf(postgres, sizeof postgres, "%s/postgres", directory) < PATH_MAX && access(postgres, X_OK) == 0;
}

static bool find_in_path(char found[PATH_MAX])
{
	const char *path = settings_environment("PATH");
	for (const char *at = path ? path : ""; *at;) {
		size_t length = strcspn(at, ":");
		if (snprintf(found, PATH_MAX, "%.*s", (int)length, at) < PATH_MAX && length > 0 && has_programs(found))
			return true;
		at += length + (at[length] == ':');
	}
	return false;
}

/* Debian's places: /usr/lib/postgresql/15/bin. */
static bool find_newest(char found[PATH_MAX])
{
	glob_t places;
	long best = 0;
	if (glob("/usr/lib/postgresql/[0-9]*/bin", 0, NULL, &places) != 0)
		return false;
	for (size_t i = 0; i < places.gl_pathc; i++) {
		long version = strtol(places.gl_pathv[i] + strlen("/usr/lib/postgresql/"), NULL, 10);
		if (version > best && has_programs(places.gl_pathv[i])) {
			best = version;
			snprintf(found, PATH_MAX, "%s", places.gl_pathv[i]);
		}
	}
	globfree(&places);
	return best > 0;
}

static enum status find_binaries(struct dev_postgres *postgres, const char *given, struct error *err)
{
	if (given) {
		snprintf(postgres->binaries, sizeof postgres->binaries, "%s", given);
		return has_programs(given) ? E_OK : fail(err, E_INVALID, "no initdb and postgres in %.300s", given);
	}
	if (find_in_path(postgres->binaries) || find_newest(postgres->binaries))
		return E_OK;
	return fail(err, E_INVALID, "cannot find PostgreSQL (initdb and postgres): install it (apt-get install postgresql), or name --postgres-bin or --database");
}

static enum status make_home(struct dev_postgres *postgres, const char *own, struct error *err)
{
	snprintf(postgres->home, sizeof postgres->home, "%s/pg", own);
	if (mkdir(postgres->home, 0700) != 0)
		return fail(err, E_INVALID, "cannot make %.300s: %s", postgres->home, strerror(errno));
	if (geteuid() != 0)
		return E_OK;
	postgres->user = "postgres";
	const struct passwd *entry = getpwnam(postgres->user);
	if (!entry)
		return fail(err, E_INVALID, "PostgreSQL does not run as root, and there is no user %s to run it as", postgres->user);
	if (chown(postgres->home, entry->pw_uid, entry->pw_gid) != 0)
		return fail(err, E_INVALID, "cannot give %.300s to %s: %s", postgres->home, postgres->user, strerror(errno));
	return E_OK;
}

static enum status check_version(const struct dev_postgres *postgres, struct error *err)
{
	char path[PATH_MAX];
	struct buffer text CLEANUP(buffer_clear) = {0};
	if (snprintf(path, sizeof path, "%s/data/PG_VERSION", postgres->home) >= PATH_MAX)
		return fail(err, E_INVALID, "the path of %.300s is too long", postgres->home);
	enum status status = input_read(path, 20, &text, err);
	if (!status && strtol(text.bytes, NULL, 10) < POSTGRES_VERSION_MIN)
		return fail(err, E_INVALID, "%.300s has PostgreSQL %.10s: version %d or newer is needed (--postgres-bin)", postgres->binaries, text.bytes,
			POSTGRES_VERSION_MIN);
	return status;
}

enum status dev_postgres_make(struct dev_postgres *postgres, const char *own, const char *binaries, const char *log, struct error *err)
{
	char program[PATH_MAX + 8], data[PATH_MAX + 8];
	struct child initdb = {.name = "initdb"};
	postgres->server.name = "PostgreSQL";
	snprintf(initdb.log, sizeof initdb.log, "%s", log);
	snprintf(postgres->server.log, sizeof postgres->server.log, "%s", log);
	enum status status = find_binaries(postgres, binaries, err);
	if (!status)
		status = make_home(postgres, own, err);
	if (status)
		return status;
	snprintf(program, sizeof program, "%s/initdb", postgres->binaries);
	snprintf(data, sizeof data, "%s/data", postgres->home);
	char *arguments[] = {program, "-D", data, "-U", DEV_POSTGRES_ROLE, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions", NULL};
	status = child_start(&initdb, &(struct child_start){postgres->user, "KILL", postgres->home, arguments, no_settings}, err);
	if (!status)
		status = child_finish(&initdb, err);
	bool now = true;
	child_stop(&initdb, SIGTERM, SIGKILL, 0, &now);
	return status ? status : check_version(postgres, err);
}

void dev_postgres_add_url(struct buffer *out, const struct dev_postgres *postgres, const char *database)
{
	buffer_printf(out, "postgresql:///%s?host=", database);
	for (const char *at = postgres->home; *at; at++)
		if (strchr("/-_.", *at) || (*at >= '0' && *at <= '9') || (*at >= 'A' && *at <= 'Z') || (*at >= 'a' && *at <= 'z'))
			buffer_add_char(out, *at);
		else
			buffer_printf(out, "%%%02X", (unsigned)(unsigned char)*at);
	buffer_printf(out, "&port=5432&user=%s", DEV_POSTGRES_ROLE);
}

/* Connects as soon as the server lets us. */
static enum status wait_for_server(struct dev_postgres *postgres, struct connection **connection, struct error *err)
{
	struct buffer url CLEANUP(buffer_clear) = {0};
	int64_t until = clock_monotonic_ms() + START_TIMEOUT_MS;
	dev_postgres_add_url(&url, postgres, "postgres");
	for (;;) {
		enum status status = connection_open(url.bytes, "kser dev", CONNECTION_USER, connection, err);
		if (status != E_RETRY)
			return status;
		if (child_ended(&postgres->server))
			return fail(err, E_FATAL, "PostgreSQL ended before it was ready");
		if (clock_monotonic_ms() > until)
			return fail(err, E_FATAL, "PostgreSQL is not ready after %d s", START_TIMEOUT_MS / 1000);
		if (child_wait_signal(50) == WAKE_STOP)
			return fail(err, E_RETRY, "stopped while PostgreSQL was starting");
	}
}

enum status dev_postgres_start(struct dev_postgres *postgres, struct error *err)
{
	char program[PATH_MAX + 16], data[PATH_MAX + 8], socket[PATH_MAX + 40];
	struct connection *connection CLEANUP(connection_close_pointer) = NULL;
	PGresult *made CLEANUP(result_clear) = NULL;
	snprintf(program, sizeof program, "%s/postgres", postgres->binaries);
	snprintf(data, sizeof data, "%s/data", postgres->home);
	snprintf(socket, sizeof socket, "unix_socket_directories=%s", postgres->home);
	/* Nothing here outlives the stack: no need to wait for disks, no need for much memory. */
	char *arguments[] = {program, "-D", data, "-c", socket, "-c", "listen_addresses=", "-c", "port=5432", "-c", "fsync=off", "-c", "full_page_writes=off",
		"-c", "shared_buffers=32MB", "-c", "wal_level=minimal", "-c", "max_wal_senders=0", "-c", "max_connections=50", NULL};
	enum status status = child_start(&postgres->server, &(struct child_start){postgres->user, "QUIT", postgres->home, arguments, no_settings}, err);
	if (!status)
		status = wait_for_server(postgres, &connection, err);
	if (!status)
		status = session_run(connection, "dev_database.sql", NULL, 0, &made, err);
	return status;
}

void dev_postgres_stop(struct dev_postgres *postgres, bool *now)
{
	/* Its own words: SIGINT is a fast shutdown, SIGQUIT an immediate one. */
	child_stop(&postgres->server, SIGINT, SIGQUIT, STOP_TIMEOUT_MS, now);
}
