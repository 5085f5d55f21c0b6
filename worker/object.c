#include "worker/object.h"

#include <json-c/json.h>

#include "common/limits.h"

struct slice object_text(struct json_object *object)
{
	struct slice text;
	text.start = json_object_to_json_string_length(object, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &text.length);
	return text;
}

/* json-c finds nothing to refuse but depth, of which it allows one less than it is told. */
struct json_object *object_parse(struct slice text, int deeper)
{
	struct json_tokener *tokener = json_tokener_new_ex(JSON_DEPTH_MAX + 1 + deeper);
	struct json_object *object = json_tokener_parse_ex(tokener, text.start, (int)text.length);
	json_tokener_free(tokener);
	return object;
}
