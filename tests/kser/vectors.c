#include "tests/kser/vectors.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "tests/kser/page.h"

static char difference[4000];

struct json_object *vectors_get(struct json_object *object, const char *key)
{
	return json_object_object_get(object, key);
}

const char *vectors_text(struct json_object *object, const char *key)
{
	struct json_object *member = vectors_get(object, key);
	return member ? json_object_get_string(member) : "";
}

struct json_object *vectors_read(const char *family)
{
	char path[500];
	snprintf(path, sizeof path, "%s/%s.json", TEST_DATA, family);
	struct json_object *file = json_object_from_file(path);
	cr_assert_not_null(file, "%s", path);
	return file;
}

static bool is_about_calls(const char *differs)
{
	return strncmp(differs, "calls", 5) == 0 || strncmp(differs, "logs", 4) == 0;
}

void vectors_try(const char *family, const char *(*same)(struct json_object *vector))
{
	struct json_object *file = vectors_read(family);
	struct json_object *cases = vectors_get(file, "cases");
	int count = 0;
	for (size_t i = 0; i < json_object_array_length(cases); i++) {
		struct json_object *vector = json_object_array_get_idx(cases, i);
		const char *name = vectors_text(vector, "name");
		const char *differs = same(vector);
		count += !differs;
		cr_expect_eq(differs != NULL, page_lists(family, name), "%s: %s", name, differs ? differs : "is the same, but listed as different");
		cr_expect(!page_says(family, name, "the same result") || !differs || is_about_calls(differs), "%s: is to have the same result: %s", name, differs);
	}
	page_expect_counts(family, (int)json_object_array_length(cases), count);
	json_object_put(file);
}

static bool is_anything(struct json_object *wanted)
{
	if (!json_object_is_type(wanted, json_type_string))
		return false;
	const char *text = json_object_get_string(wanted);
	return strcmp(text, "<random>") == 0 || strcmp(text, "<uuid>") == 0 || strcmp(text, "<traceback>") == 0;
}

static const char *differ(const char *path, struct json_object *wanted, struct json_object *found)
{
	snprintf(difference, sizeof difference, "%s: wanted %.800s, found %.800s", path, json_object_to_json_string(wanted), json_object_to_json_string(found));
	return difference;
}

static const char *difference_of_arrays(const char *path, struct json_object *wanted, struct json_object *found)
{
	if (json_object_array_length(wanted) != json_object_array_length(found))
		return differ(path, wanted, found);
	const char *result = NULL;
	for (size_t i = 0; !result && i < json_object_array_length(wanted); i++) {
		char place[300];
		snprintf(place, sizeof place, "%.250s[%zu]", path, i);
		result = vectors_difference(place, json_object_array_get_idx(wanted, i), json_object_array_get_idx(found, i));
	}
	return result;
}

const char *vectors_difference(const char *path, struct json_object *wanted, struct json_object *found)
{
	if (is_anything(wanted))
		return NULL;
	if (json_object_is_type(wanted, json_type_array) && json_object_is_type(found, json_type_array))
		return difference_of_arrays(path, wanted, found);
	if (!json_object_is_type(wanted, json_type_object) || !json_object_is_type(found, json_type_object))
		return json_object_equal(wanted, found) ? NULL : differ(path, wanted, found);
	json_object_object_foreach(found, key, value)
		if (value && !json_object_object_get_ex(wanted, key, NULL))
			return differ(path, wanted, found);
	json_object_object_foreach(wanted, name, member) {
		char place[300];
		snprintf(place, sizeof place, "%.200s.%.90s", path, name);
		const char *result = vectors_difference(place, member, vectors_get(found, name));
		if (result)
			return result;
	}
	return NULL;
}
