#include "sql/schema.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/buffer.h"
#include "common/fault.h"

#define STATUS_TIMEOUT_MS 10000
#define MIGRATE_TIMEOUT_MS 600000

/* FNV-1a, 64 bits: tells whether the installed functions are the same text; nothing rests on it against malice. */
static void functions_hash(char text[17])
{
	uint64_t hash = 14695981039346656037u;
	for (size_t i = 0; i < embedded_functions_count; i++)
		for (size_t k = 0; k < embedded_functions[i].length; k++)
			hash = (hash ^ (unsigned char)embedded_functions[i].bytes[k]) * 1099511628211u;
	snprintf(text, 17, "%016" PRIx64, hash);
}

static const struct embedded_file *statement(const char *name)
{
	return embedded_find(embedded_statements, embedded_statements_count, name);
}

static enum status run(struct connection *connection, const char *name, const struct parameter *parameters, int count, PGresult **result, struct error *err)
{
	return connection_run(connection, statement(name), parameters, count, false, STATUS_TIMEOUT_MS, result, err);
}

enum status schema_status(struct connection *connection, struct schema_status *status, struct error *err)
{
	PGresult *installed CLEANUP(result_clear) = NULL, *meta CLEANUP(result_clear) = NULL;
	char hash[17];
	functions_hash(hash);
	*status = (struct schema_status){.wanted = (int)embedded_migrations_count};
	enum status outcome = run(connection, "schema_installed.sql", NULL, 0, &installed, err);
	if (outcome || PQgetvalue(installed, 0, 0)[0] != 't')
		return outcome;
	outcome = run(connection, "schema_version.sql", (struct parameter[]){{.bytes = hash}}, 1, &meta, err);
	if (outcome || PQntuples(meta) == 0)
		return outcome;
	status->installed = (int)strtol(PQgetvalue(meta, 0, 0), NULL, 10);
	status->functions_same = PQgetvalue(meta, 0, 1)[0] == 't';
	return E_OK;
}

enum status schema_check(struct connection *connection, struct error *err)
{
	struct schema_status schema;
	enum status status = schema_status(connection, &schema, err);
	if (status)
		return status;
	if (schema.installed == 0)
		return fail(err, E_CONFLICT, "the database has no kser schema; run: kser db migrate");
	if (schema.installed < schema.wanted)
		return fail(err, E_CONFLICT, "the schema is version %d, this program needs %d; run: kser db migrate", schema.installed, schema.wanted);
	if (schema.installed > schema.wanted)
		return fail(err, E_CONFLICT, "the schema is version %d, newer than this program's %d; install a newer kser", schema.installed, schema.wanted);
	if (!schema.functions_same)
		return fail(err, E_CONFLICT, "the functions in the database are of another kser; run: kser db migrate");
	return E_OK;
}

static void add_migrations(struct buffer *text, const struct schema_status *schema)
{
	buffer_add_text(text, "begin;\n");
	for (int i = schema->installed; i < schema->wanted; i++)
		buffer_add(text, embedded_migrations[i].bytes, embedded_migrations[i].length);
}

static void add_functions(struct buffer *text, const struct schema_status *schema)
{
	char hash[17];
	functions_hash(hash);
	for (size_t i = 0; i < embedded_functions_count; i++)
		buffer_add(text, embedded_functions[i].bytes, embedded_functions[i].length);
	buffer_printf(text, "\ndo $$ begin perform kser.schema_installed(%d, '%s'); end $$;\ncommit;\n", schema->wanted, hash);
}

/* Two texts, the first begins and the second commits: one transaction. */
static enum status migrate_locked(struct connection *connection, struct schema_status *before, struct error *err)
{
	struct buffer migrations CLEANUP(buffer_clear) = {0}, functions CLEANUP(buffer_clear) = {0};
	enum status status = schema_status(connection, before, err);
	if (status)
		return status;
	if (before->installed > before->wanted)
		return fail(err, E_CONFLICT, "the schema is version %d, newer than this program's %d; install a newer kser", before->installed, before->wanted);
	add_migrations(&migrations, before);
	add_functions(&functions, before);
	status = connection_script(connection, migrations.bytes, MIGRATE_TIMEOUT_MS, err);
	if (!status && FAULT("migrate.midway"))
		status = fail(err, E_FATAL, "the migration was broken off by a test");
	return status ? status : connection_script(connection, functions.bytes, MIGRATE_TIMEOUT_MS, err);
}

enum status schema_migrate(struct connection *connection, struct schema_status *before, struct error *err)
{
	struct schema_status found;
	PGresult *locked CLEANUP(result_clear) = NULL, *unlocked CLEANUP(result_clear) = NULL;
	enum status status = connection_run(connection, statement("schema_lock.sql"), NULL, 0, false, MIGRATE_TIMEOUT_MS, &locked, err);
	if (!status)
		status = migrate_locked(connection, before ? before : &found, err);
	if (status && connection_usable(connection)) {
		struct error ignored;
		if (connection_script(connection, "rollback", STATUS_TIMEOUT_MS, &ignored))
			return status;
	}
	if (connection_usable(connection)) {
		struct error ignored;
		enum status released = run(connection, "schema_unlock.sql", NULL, 0, &unlocked, &ignored);
		(void)released;
	}
	return status;
}
