#include "common/sibling.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum status sibling_find(const char *name, char path[PATH_MAX], struct error *err)
{
	ssize_t length = readlink("/proc/self/exe", path, PATH_MAX);
	if (length <= 0)
		return fail(err, E_FATAL, "cannot find out where this program is: %s", strerror(errno));
	while (length > 0 && path[length - 1] != '/')
		length--;
	size_t size = strlen(name) + 1;
	if (size > PATH_MAX - (size_t)length)
		return fail(err, E_FATAL, "the path of this program is too long");
	memcpy(path + length, name, size);
	return access(path, X_OK) == 0 ? E_OK : fail(err, E_INVALID, "%.300s is missing: it belongs beside this program", path);
}
