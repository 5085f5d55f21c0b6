#pragma once

/* Values that are as deep as one likes. */

#include <json-c/json.h>

/* Arrays within one another, `depth` levels; the caller's reference. */
static inline struct json_object *nested_arrays(int depth)
{
	struct json_object *value = json_object_new_array();
	for (int i = 1; i < depth; i++) {
		struct json_object *outer = json_object_new_array();
		json_object_array_add(outer, value);
		value = outer;
	}
	return value;
}
