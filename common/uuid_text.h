#pragma once

/* The text of a uuid. libuuid writes it; its reader takes ten times as long, and each message has two of them. Any thread. */

#include <stdbool.h>
#include <uuid/uuid.h>

#include "common/slice.h"

/* Reads 36 characters: hexadecimal digits of either case with four dashes between. False: `text` is none, and `uuid` is what it was. */
bool uuid_text_read(struct slice text, uuid_t uuid);
