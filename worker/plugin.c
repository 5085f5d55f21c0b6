#include "worker/plugin.h"

#include <dlfcn.h>
#include <string.h>

#include "common/memory.h"

static enum status load(const char *path, struct kser_worker *worker, struct error *err)
{
	void *object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!object)
		return fail(err, E_INVALID, "plugin: cannot load %s", dlerror());
	int (*start)(struct kser_worker *);
	void *symbol = dlsym(object, "kser_plugin");
	if (!symbol)
		return fail(err, E_INVALID, "plugin %s: defines no function kser_plugin", path);
	memcpy(&start, &symbol, sizeof start);
	int refused = start(worker);
	return refused ? fail(err, E_INVALID, "plugin %s: kser_plugin returned %d", path, refused) : E_OK;
}

enum status plugins_load(const char *paths, struct kser_worker *worker, struct error *err)
{
	enum status status = E_OK;
	char *list CLEANUP(free_pointer) = xstrdup(paths ? paths : "");
	char *rest = list;
	for (char *path = strsep(&rest, ","); path && !status; path = strsep(&rest, ",")) {
		path += strspn(path, " \t");
		path[strcspn(path, " \t")] = '\0';
		if (*path)
			status = load(path, worker, err);
	}
	return status;
}
