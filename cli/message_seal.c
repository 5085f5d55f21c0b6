#include "cli/commands.h"
#include "cli/input.h"
#include "common/limits.h"
#include "common/message.h"
#include "common/seal.h"
#include "common/settings.h"

/* The keyring of the environment; keys do not belong on a command line. */
static enum status open_keyring(struct keyring **keyring, struct error *err)
{
	return keyring_open(settings_environment("KSER_SECRETBOX_KEY"), settings_environment("KSER_SECRETBOX_KEY_FILE"), keyring, err);
}

static void free_keyring(struct keyring **keyring)
{
	keyring_free(*keyring);
}

static struct slice without_space_around(struct slice text)
{
	static const char space[] = " \t\r\n";
	while (text.length && memchr(space, text.start[0], sizeof space - 1)) {
		text.start++;
		text.length--;
	}
	while (text.length && memchr(space, text.start[text.length - 1], sizeof space - 1))
		text.length--;
	return text;
}

/* A JSON text on one line: line ends can only stand between its tokens. */
static void add_line(struct buffer *out, struct slice text)
{
	for (size_t i = 0; i < text.length; i++)
		if (text.start[i] != '\n' && text.start[i] != '\r')
			buffer_add_char(out, text.start[i]);
	buffer_add_char(out, '\n');
}

static enum status seal(const char *path, struct buffer *line, struct error *err)
{
	struct keyring *keyring CLEANUP(free_keyring) = NULL;
	struct buffer record CLEANUP(buffer_clear) = {0};
	struct message message;
	enum status status = open_keyring(&keyring, err);
	if (!status)
		status = input_read(path, MESSAGE_BYTES_MAX, &record, err);
	if (!status)
		status = message_parse(buffer_slice(&record), &message, err);
	if (!status)
		status = seal_add(keyring, without_space_around(buffer_slice(&record)), line, err);
	buffer_add_char(line, '\n');
	return status;
}

static enum status unseal(const char *path, struct buffer *line, struct error *err)
{
	struct keyring *keyring CLEANUP(free_keyring) = NULL;
	struct buffer record CLEANUP(buffer_clear) = {0}, text CLEANUP(buffer_clear) = {0};
	struct message message;
	enum status status = open_keyring(&keyring, err);
	if (!status)
		status = input_read(path, MESSAGE_BYTES_MAX, &record, err);
	if (!status)
		status = seal_open(keyring, buffer_slice(&record), &text, err);
	if (!status)
		status = message_parse(buffer_slice(&text), &message, err);
	add_line(line, without_space_around(buffer_slice(&text)));
	return status;
}

static enum exit_code answer(const struct invocation *invocation, enum status (*make)(const char *, struct buffer *, struct error *))
{
	struct buffer line CLEANUP(buffer_clear) = {0};
	struct error err = {0};
	if (make(invocation->arguments[0], &line, &err))
		return complain(&err);
	output_write(&line);
	return EXIT_OK;
}

static enum exit_code run_seal(const struct invocation *invocation)
{
	return answer(invocation, seal);
}

static enum exit_code run_open(const struct invocation *invocation)
{
	return answer(invocation, unseal);
}

#define KEYS_HELP \
	"Keys are those of KSER_SECRETBOX_KEY, or of the file that KSER_SECRETBOX_KEY_FILE\n" \
	"names: base64 of 32 bytes, several separated by white space or commas. The first\n" \
	"one seals, all of them open.\n" \
	"\n"

const struct command command_message_seal = {
	.name = "message seal",
	.arguments = "FILE|-",
	.summary = "seal a message, as kser's Python library does",
	.details = KEYS_HELP
		"Exit status 0: the envelope, as one line of JSON. 2: the reason why not.\n",
	.examples = "  kser message seal message.json | kcat -b localhost:9092 -t kser.operations -P\n",
	.arguments_min = 1,
	.arguments_max = 1,
	.run = run_seal,
};

const struct command command_message_open = {
	.name = "message open",
	.arguments = "FILE|-",
	.summary = "open a sealed message and say what is in it",
	.details = KEYS_HELP
		"Exit status 0: the message as it was sealed, as one line of JSON. 2: the reason why it\n"
		"cannot be opened, or why what was sealed is not a message.\n",
	.examples = "  kcat -b localhost:9092 -t kser.results -C -o -1 -e | kser message open -\n",
	.arguments_min = 1,
	.arguments_max = 1,
	.run = run_open,
};
