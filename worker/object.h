#pragma once

/* Between json-c's objects, which never cross threads, and texts that the scanner has passed or is to pass. */

#include "common/slice.h"

struct json_object;

/* Its text, borrowed until the object is changed or put. NULL: null. */
struct slice object_text(struct json_object *object);

/* The value of a text that json_validate has passed, or of one made of such texts, `deeper` levels around them; the caller puts the reference. */
struct json_object *object_parse(struct slice text, int deeper);
