#pragma once

/*
 * The spans of a task's life, for the export of traces: Execute around PreRun, Run and PostRun, named as the Python library
 * kser names them. An observer of the life cycle: where nothing is exported there is none, and nothing is paid.
 *
 * Execute is a child of the span that the task's metadata names (the operation's root span, where an orchestrator exports traces). Where
 * it names none it has no parent, in the trace whose id is the operation's. A task that code executes while another one runs is a child of
 * that one's step.
 */

#include "common/otlp.h"
#include "worker/observer.h"

struct spans {
	struct otlp *otlp;      /* borrowed */
	struct slice worker;    /* the incarnation; borrowed */
	struct observer observer;
};

/* Makes it ready for lifecycle_observe. It stays where it is. */
void spans_init(struct spans *spans, struct otlp *otlp, struct slice worker);
