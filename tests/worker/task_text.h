#pragma once

/* Tasks and answers for tests, without a broker. */

#include "worker/answer.h"
#include "worker/result.h"
#include "worker/task.h"

#define TASK_UUID "0190aaaa-0000-7000-8000-000000000001"
#define OPERATION_UUID "0190bbbb-0000-7000-8000-000000000001"

/* A dispatched task; `params`, `result` (NULL: none): JSON; `further`: more members of metadata.kser, or "". Freed with task_free. */
struct kser_task *make_task(const char *params, const char *result, const char *further);

/* A dispatched task at that position of the one operation. All have one uuid: users may give their own, so that it says nothing. */
struct kser_task *make_numbered_task(int position, int attempt);

/* A task of any text, which must be a usable message. */
struct kser_task *make_task_of(const char *text);
