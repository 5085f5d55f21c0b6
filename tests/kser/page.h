#pragma once

/*
 * What docs/compatibility.md says of the vectors: a table of the differences, `family` and the names of vectors in each row, and a
 * table of counts. A test asks for each vector whether it is listed, and says at its end how many came out alike.
 * Criterion assertions; one thread.
 */

#include <stdbool.h>

/* Whether a row of the family names the vector: it is to come out differently, or does not apply. */
bool page_lists(const char *family, const char *vector);

/* Whether the row that names the vector has these words, too. */
bool page_says(const char *family, const char *vector, const char *words);

/* Fails the test unless the family's row of counts begins with these: so many vectors, so many the same. */
void page_expect_counts(const char *family, int vectors, int same);
