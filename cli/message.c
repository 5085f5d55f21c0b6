#include "common/message.h"

#include "cli/commands.h"
#include "cli/input.h"
#include "common/limits.h"

static enum exit_code run_check(const struct invocation *invocation)
{
	struct buffer record CLEANUP(buffer_clear) = {0}, text CLEANUP(buffer_clear) = {0};
	struct message message;
	struct error err = {0};
	if (input_read(invocation->arguments[0], MESSAGE_BYTES_MAX, &record, &err))
		return complain(&err);
	if (message_parse(buffer_slice(&record), &message, &err))
		return complain(&err);
	message_add_normalized(&text, &message);
	buffer_add_char(&text, '\n');
	output_write(&text);
	return EXIT_OK;
}

const struct command command_message_check = {
	.name = "message check",
	.arguments = "FILE|-",
	.summary = "say what the programs make of the bytes of one message",
	.details =
		"Exit status 0: the message with its defaults filled in, as one line of JSON. 2: the\n"
		"reason why it would become a dead letter, with its place.\n",
	.examples = "  kcat -b localhost:9092 -t kser.results -C -o -1 -e | kser message check -\n",
	.arguments_min = 1,
	.arguments_max = 1,
	.run = run_check,
};
