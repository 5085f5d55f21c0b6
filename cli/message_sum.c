#include "cli/commands.h"
#include "cli/input.h"
#include "common/limits.h"
#include "common/sum.h"

/* A Result in a file; `text` holds what `result` borrows. */
static enum status read_result(const char *path, struct buffer *text, struct result *result, struct error *err)
{
	struct error reason = {0};
	struct json_value root;
	enum status status = input_read(path, MESSAGE_BYTES_MAX, text, err);
	if (status)
		return status;
	status = json_validate(buffer_slice(text), MESSAGE_BYTES_MAX, &root, &reason);
	if (!status && root.kind == JSON_NULL)
		status = fail(&reason, E_INVALID, "result: must be an object, not null");
	if (!status)
		status = result_parse(root, result, &reason);
	return status ? fail(err, status, "%.100s: %.500s", path, reason.text) : E_OK;
}

static enum exit_code run_sum(const struct invocation *invocation)
{
	struct buffer texts[2] = {{0}, {0}}, line CLEANUP(buffer_clear) = {0};
	struct result results[2];
	struct error err = {0};
	enum status status = E_OK;
	for (int i = 0; i < 2 && !status; i++)
		status = read_result(invocation->arguments[i], &texts[i], &results[i], &err);
	if (!status) {
		sum_add(&line, &results[0], &results[1]);
		buffer_add_char(&line, '\n');
		output_write(&line);
	}
	for (int i = 0; i < 2; i++)
		buffer_clear(&texts[i]);
	return status ? complain(&err) : EXIT_OK;
}

const struct command command_message_sum = {
	.name = "message sum",
	.arguments = "FILE|- FILE|-",
	.summary = "add two results as kser does: what came before, plus what was added",
	.details =
		"The greater retcode; retval of the first updated by that of the second; stdout and\n"
		"stderr of the second where they are not empty; the uuid of the first.\n"
		"\n"
		"Exit status 0: the sum, as one line of JSON. 2: the reason why one of them is not a\n"
		"result, with its place.\n",
	.examples = "  kser message sum before.json added.json\n",
	.arguments_min = 2,
	.arguments_max = 2,
	.run = run_sum,
};
