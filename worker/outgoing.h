#pragma once

/*
 * A record for the results topic that is followed until the broker has acknowledged it: a task's reply or
 * a report. Embedded in what it belongs to, as its first member.
 */

#include <stdbool.h>

#include "common/buffer.h"

enum outgoing_kind { OUTGOING_REPLY, OUTGOING_REPORT };

struct outgoing {
	enum outgoing_kind kind;
	bool refused;       /* the broker would not have it as it was: another one was made */
	bool passing;       /* not worth sending again: the next one says more */
	bool written;       /* `text` is the record as it goes out, sealed where there is a key */
	struct buffer text; /* only while it waits to be sent or sent again */
	struct outgoing *next; /* in a list of those that wait */
};
