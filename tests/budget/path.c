#include "tests/budget/path.h"

#include <gnu/libc-version.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "common/message.h"

static void tell(const struct path *paths, size_t count)
{
	struct utsname machine;
	uname(&machine);
	printf("compiler %s, glibc %s, %s\n", __VERSION__, gnu_get_libc_version(), machine.machine);
	for (size_t i = 0; i < count; i++)
		puts(paths[i].name);
}

int path_main(int argc, char **argv, const struct path *paths, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (argc == 3 && strcmp(argv[1], paths[i].name) == 0) {
			paths[i].walk(atoi(argv[2]));
			return 0;
		}
	}
	tell(paths, count);
	return argc == 1 ? 0 : 2;
}

void must(enum status status)
{
	if (status)
		abort();
}

void path_add_dispatch(struct buffer *out, int number)
{
	struct dispatch dispatch = {
		.entrypoint = slice_of("images.resize"),
		.params = slice_of("{\"width\": 640, \"height\": 480, \"source\": \"s3://images/0001.png\"}"),
		.result = slice_of("{\"uuid\":\"01a20a2d-b27e-7b0c-9631-5904d68f478d\",\"retcode\":0,\"stdout\":\"fetched\",\"stderr\":\"\",\"retval\":{\"bytes\":81920}}"),
		.metadata = slice_of("{\"tenant\": \"north\"}"),
		.stamp = {.position = 3, .attempt = 1, .generation = PATH_GENERATION, .epoch = PATH_EPOCH, .limit_ms = 60000},
	};
	for (size_t i = 0; i < sizeof dispatch.uuid; i++)
		dispatch.uuid[i] = dispatch.stamp.operation[i] = (unsigned char)(number * 37 + (int)i * 11);
	message_add_dispatch(out, &dispatch);
}

static void make_reply(struct buffer *reply, int number)
{
	struct buffer task CLEANUP(buffer_clear) = {0};
	struct message message;
	path_add_dispatch(&task, number);
	must(message_parse(buffer_slice(&task), &message, NULL));
	message_add_reply(reply, &message, &(struct reply){.worker = slice_of("host:4711:a1b2"), .inherited = slice_of("{\"retval\":[\"bytes\"]}"),
		.result = slice_of("{\"uuid\":\"01a20a2d-b27e-7b0c-9631-5904d68f478d\",\"retcode\":0,\"stdout\":\"resized\",\"stderr\":\"\",\"retval\":{\"bytes\":81920,\"pixels\":307200}}")});
}

struct slice path_reply(int number)
{
	static struct buffer replies[PATH_BATCH];
	for (int i = 0; i < PATH_BATCH && !replies[PATH_BATCH - 1].length; i++)
		make_reply(&replies[i], i);
	return buffer_slice(&replies[number]);
}
