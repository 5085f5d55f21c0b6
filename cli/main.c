#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/session.h"
#include "common/memory.h"

static const struct command *const commands[] = {
	&command_submit,
	&command_ls,
	&command_show,
	&command_watch,
	&command_wait,
	&command_cancel,
	&command_pause,
	&command_resume,
	&command_retry,
	&command_explain,
	&command_worker_ls,
	&command_dead_ls,
	&command_dead_show,
	&command_dead_redrive,
	&command_dead_drop,
	&command_policy_ls,
	&command_policy_set,
	&command_policy_drop,
	&command_db_migrate,
	&command_db_status,
	&command_db_doctor,
	&command_db_purge,
	&command_db_new_generation,
	&command_message_check,
	&command_message_seal,
	&command_message_open,
	&command_message_sum,
	&command_dev,
};

static const char introduction[] =
	"kser: runs operations, ordered lists of tasks, and keeps every step in PostgreSQL\n"
	"\n"
	"Usage: kser COMMAND [OPTIONS] [ARGUMENTS]\n"
	"\n"
	"Commands:\n";

static const char ending[] =
	"\n"
	"kser COMMAND --help says more about one of them. All but dev and message talk only\n"
	"to the database: the one of --database URL, of KSER_DATABASE_URL, or of libpq's own\n"
	"environment (PGHOST, PGDATABASE, ...).\n"
	"\n"
	"Exit status: 0 done, 1 error, 2 wrong usage or input, 3 not let in by the database,\n"
	"4 no such thing, 5 refused in the present state, 6 the operation failed, 7 timed out.\n"
	"\n"
	"New here? Start everything in one terminal, and run something from another:\n"
	"  kser dev --dir /tmp/try\n"
	"  . /tmp/try/env && kser submit --name dice --wait\n";

static void help_all(const char *group)
{
	struct buffer text CLEANUP(buffer_clear) = {0};
	if (!group)
		buffer_add_text(&text, introduction);
	command_add_list(&text, commands, COUNT_OF(commands), group);
	if (!group)
		buffer_add_text(&text, ending);
	output_write(&text);
}

static enum exit_code help_one(const struct command *command)
{
	struct buffer text CLEANUP(buffer_clear) = {0};
	command_add_help(&text, command);
	output_write(&text);
	return EXIT_OK;
}

static enum exit_code show_version(void)
{
	puts("kser " KSER_VERSION);
	return EXIT_OK;
}

static bool is_group(const char *word)
{
	size_t length = strlen(word);
	for (size_t i = 0; i < COUNT_OF(commands); i++)
		if (strncmp(commands[i]->name, word, length) == 0 && commands[i]->name[length] == ' ')
			return true;
	return false;
}

/* The command whose name starts argv; `words` is how many of argv the name takes. */
static const struct command *find_command(int argc, char **argv, int *words)
{
	for (size_t i = 0; i < COUNT_OF(commands); i++) {
		const char *space = strchr(commands[i]->name, ' ');
		size_t length = space ? (size_t)(space - commands[i]->name) : strlen(commands[i]->name);
		if (strlen(argv[0]) != length || strncmp(commands[i]->name, argv[0], length) != 0)
			continue;
		*words = space ? 2 : 1;
		if (!space || (argc > 1 && strcmp(space + 1, argv[1]) == 0))
			return commands[i];
	}
	return NULL;
}

static enum exit_code wrong_usage(const char *of, const struct error *err)
{
	fprintf(stderr, "kser%s%s: %s (see kser%s%s --help)\n", of[0] ? " " : "", of, err->text, of[0] ? " " : "", of);
	return EXIT_USAGE;
}

static enum exit_code run_command(const struct command *command, int argc, char **argv, const struct common_options *common)
{
	struct error err;
	struct invocation invocation = {.common = *common};
	void *options CLEANUP(free_pointer) = xcalloc(1, command->options_size + 1);
	if (command->defaults)
		memcpy(options, command->defaults, command->options_size);
	if (command_read(command, argc, argv, &invocation, options, &err))
		return wrong_usage(command->name, &err);
	if (invocation.common.help)
		return help_one(command);
	if (invocation.common.version)
		return show_version();
	if ((!command->formats && common->format != OUTPUT_TABLE) || (!command->database && common->database)) {
		fail(&err, E_INVALID, "does not take %s", common->database ? "--database before its name" : "--output");
		return wrong_usage(command->name, &err);
	}
	if (command->database && !session_resolve(&invocation))
		return EXIT_USAGE;
	return command->run(&invocation);
}

static enum exit_code unknown_command(int argc, char **argv)
{
	struct error err;
	bool group = is_group(argv[0]);
	bool asks = group && argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0);
	if (asks || (group && argc == 1)) {
		help_all(argv[0]);
		return asks ? EXIT_OK : EXIT_USAGE;
	}
	fail(&err, E_INVALID, "unknown command \"%.100s%s%.100s\"", argv[0], group ? " " : "", group ? argv[1] : "");
	return wrong_usage("", &err);
}

static enum exit_code dispatch(int argc, char **argv)
{
	struct error err;
	struct common_options common = {0};
	int first = 0, words = 1;
	if (command_read_common(argc, argv, &common, &first, &err))
		return wrong_usage("", &err);
	if (common.version)
		return show_version();
	bool asks = common.help;
	if (first < argc && strcmp(argv[first], "help") == 0) {
		asks = true;
		first++;
	}
	if (first == argc) {
		help_all(NULL);
		return asks ? EXIT_OK : EXIT_USAGE;
	}
	const struct command *command = find_command(argc - first, argv + first, &words);
	if (!command)
		return unknown_command(argc - first, argv + first);
	if (asks)
		return help_one(command);
	return run_command(command, argc - first - words + 1, argv + first + words - 1, &common);
}

int main(int argc, char **argv)
{
	setlocale(LC_CTYPE, "C.UTF-8");
	enum exit_code code = dispatch(argc, argv);
	if (fflush(stdout) != 0 || ferror(stdout)) {
		perror("kser: cannot write");
		return code == EXIT_OK ? EXIT_ERROR : (int)code;
	}
	return (int)code;
}
