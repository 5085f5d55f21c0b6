#include "common/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum status file_open(const char *path, const char *what, int *file, struct error *err)
{
	struct stat about;
	int opened = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY); /* or a FIFO waits for its writer */
	if (opened < 0)
		return fail(err, E_INVALID, "cannot open %s %.300s: %s", what, path, strerror(errno));
	if (fstat(opened, &about) == 0 && S_ISREG(about.st_mode)) {
		*file = opened;
		return E_OK;
	}
	close(opened);
	return fail(err, E_INVALID, "cannot read %s %.300s: it is no regular file", what, path);
}
