#include "cli/answers.h"

#include <string.h>

#include "common/memory.h"

const struct column answer_columns[] = {
	{.name = "id", .heading = "ID"},
	{.name = "answer", .heading = "ANSWER"},
	{.name = "detail", .heading = "DETAIL"},
};
const size_t answer_column_count = COUNT_OF(answer_columns);

static const char *answer_of(const PGresult *rows, int row)
{
	return PQgetvalue(rows, row, PQfnumber(rows, "answer"));
}

enum exit_code answers_outcome(const PGresult *rows)
{
	enum exit_code code = EXIT_OK;
	for (int row = 0; row < PQntuples(rows); row++) {
		const char *answer = answer_of(rows, row);
		if (strcmp(answer, "refused") == 0 || strcmp(answer, "moved") == 0)
			return EXIT_REFUSED;
		if (strcmp(answer, "missing") == 0)
			code = EXIT_MISSING;
	}
	return code;
}

bool answers_moved(const PGresult *rows, int row)
{
	return strcmp(answer_of(rows, row), "moved") == 0;
}

PGresult *answers_where(const PGresult *rows, bool moved)
{
	PGresult *chosen = PQcopyResult(rows, PG_COPYRES_ATTRS);
	for (int row = 0; row < PQntuples(rows); row++) {
		int at = PQntuples(chosen);
		if (answers_moved(rows, row) != moved)
			continue;
		for (int column = 0; column < PQnfields(rows); column++)
			PQsetvalue(chosen, at, column, PQgetvalue(rows, row, column), PQgetisnull(rows, row, column) ? -1 : PQgetlength(rows, row, column));
	}
	return chosen;
}
