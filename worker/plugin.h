#pragma once

/* Loading of plug-ins: shared objects that register entrypoints. */

#include "common/error.h"
#include "kser/worker.h"

/* Loads each of `paths`, separated by commas, and calls its kser_plugin. E_INVALID: one cannot be loaded or refused. They stay loaded. */
MUST_USE enum status plugins_load(const char *paths, struct kser_worker *worker, struct error *err);
