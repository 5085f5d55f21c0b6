#pragma once

/*
 * kser's sum of two Results: what came before plus what was added. The greater retcode, so that a later success hides no
 * failure; retval updated key by key, nested objects replaced whole; stdout and stderr replaced where the right one says
 * something; the left one's uuid. Any thread.
 */

#include "common/buffer.h"
#include "common/message.h"

/* Adds the Result object left + right, without white space between its tokens. */
void sum_add(struct buffer *out, const struct result *left, const struct result *right);
