#include "tests/kser/page.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static const char *page(void)
{
	static char room[200000];
	if (!room[0]) {
		FILE *file = fopen(TEST_DATA "/../../docs/compatibility.md", "r");
		cr_assert_not_null(file);
		size_t length = fread(room, 1, sizeof room - 1, file);
		cr_assert(feof(file), "the page has more than %zu bytes", sizeof room - 1);
		room[length] = '\0';
		fclose(file);
	}
	return room;
}

/* The row that names the vector, up to its end; NULL when there is none. */
static const char *find_row(const char *family, const char *vector, const char **end)
{
	char row[100], name[300];
	snprintf(row, sizeof row, "\n| `%s` |", family);
	snprintf(name, sizeof name, "`%s`", vector);
	for (const char *line = page(); (line = strstr(line, row)); line++) {
		*end = strchr(line + 1, '\n');
		const char *found = strstr(line + strlen(row), name);
		if (found && *end && found < *end)
			return line;
	}
	return NULL;
}

bool page_lists(const char *family, const char *vector)
{
	const char *end;
	return find_row(family, vector, &end) != NULL;
}

bool page_says(const char *family, const char *vector, const char *words)
{
	const char *end, *row = find_row(family, vector, &end), *found = row ? strstr(row, words) : NULL;
	return found && found < end;
}

void page_expect_counts(const char *family, int vectors, int same)
{
	char row[200];
	snprintf(row, sizeof row, "\n| `%s.json` | %d | %d |", family, vectors, same);
	cr_expect(strstr(page(), row), "%s: %d vectors, %d the same, but docs/compatibility.md counts otherwise", family, vectors, same);
}
