#pragma once

/* What verbs answer: rows with the columns id, answer, detail. */

#include "cli/output.h"
#include "cli/exit.h"

extern const struct column answer_columns[];
extern const size_t answer_column_count;

/* The exit status of all of them: the worst. */
MUST_USE enum exit_code answers_outcome(const PGresult *rows);

/* Whether a row was answered "moved": somebody else had it, the caller tries again. */
bool answers_moved(const PGresult *rows, int row);

/* A copy of the rows that were `moved`, or of those that were not. The result belongs to the caller. */
MUST_USE PGresult *answers_where(const PGresult *rows, bool moved);
