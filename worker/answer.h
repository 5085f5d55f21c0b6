#pragma once

/*
 * The record that answers a task: its message with the result so far plus its own. Whatever the
 * entrypoint did, there is one and it fits, also when it is to be sealed: a result that is too large or unusable is replaced by an
 * error that says so. A struct with nothing but `sealing` set holds the memory of the next one; one thread.
 */

#include "common/buffer.h"
#include "common/sealing.h"
#include "kser/worker.h"

struct answer {
	const struct sealing *sealing; /* NULL: there is no key */
	struct buffer record; /* as text, not sealed yet */
	struct buffer result;
	struct buffer inherited;
	struct buffer plan;
};

void answer_clear(struct answer *answer);

/*
 * Makes answer->record. `worker`: the incarnation. `result` may be changed: a failure that says nothing gets its words here.
 */
void answer_make(struct answer *answer, const struct kser_task *task, enum kser_outcome outcome, struct kser_result *result, struct slice worker);

/* Makes answer->record the release of a task that was told to end. */
void answer_make_release(struct answer *answer, const struct kser_task *task, struct slice worker);

/* Makes answer->record once more when the broker found one of so many bytes too large, though it is within our limit. */
void answer_make_refused(struct answer *answer, const struct kser_task *task, size_t bytes, const char *reason, struct slice worker);
