#include "orchestrator/rows.h"

#include <arpa/inet.h>
#include <endian.h>
#include <string.h>

bool row_null(const PGresult *result, int row, int column)
{
	return PQgetisnull(result, row, column);
}

bool row_bool(const PGresult *result, int row, int column)
{
	return !row_null(result, row, column) && PQgetvalue(result, row, column)[0] != 0;
}

int32_t row_int4(const PGresult *result, int row, int column)
{
	uint32_t wire = 0;
	if (!row_null(result, row, column))
		memcpy(&wire, PQgetvalue(result, row, column), sizeof wire);
	return (int32_t)ntohl(wire);
}

int64_t row_int8(const PGresult *result, int row, int column)
{
	uint64_t wire = 0;
	if (!row_null(result, row, column))
		memcpy(&wire, PQgetvalue(result, row, column), sizeof wire);
	return (int64_t)be64toh(wire);
}

struct slice row_text(const PGresult *result, int row, int column)
{
	return (struct slice){PQgetvalue(result, row, column), (size_t)PQgetlength(result, row, column)};
}

void row_uuid(const PGresult *result, int row, int column, uuid_t uuid)
{
	uuid_clear(uuid);
	if (!row_null(result, row, column))
		memcpy(uuid, PQgetvalue(result, row, column), sizeof(uuid_t));
}

static int32_t int4_at(const char *bytes)
{
	uint32_t wire;
	memcpy(&wire, bytes, sizeof wire);
	return (int32_t)ntohl(wire);
}

/* Header: dimensions, nulls, type; then for the one dimension its size and lower bound; then length and value of each element. */
int32_t row_int4_array(const PGresult *result, int row, int column, int32_t *values, int32_t max)
{
	enum { HEADER = 12, DIMENSION = 8, FIELD = 4 };
	int32_t found = 0;
	if (row_null(result, row, column))
		return 0;
	const char *at = PQgetvalue(result, row, column), *end = at + PQgetlength(result, row, column);
	if (end - at < HEADER + DIMENSION || int4_at(at) != 1)
		return 0;
	for (at += HEADER + DIMENSION; end - at >= FIELD && found < max;) {
		int32_t length = int4_at(at);
		at += FIELD;
		if (length == FIELD && end - at >= FIELD)
			values[found++] = int4_at(at);
		at += length > 0 ? length : 0;
	}
	return found;
}
