#pragma once

/*
 * Entrypoints for demonstrations and tests:
 *
 *     echo    prints params.text, or all params; retval = params
 *     sleep   ends after params.seconds; holds a timer, not a thread
 *     fail    fails with params.code (500) and params.message; with params.retry true it may be tried again
 *     dice    rolls a die of params.sides (6); retval {"roll": n}
 */

#include "common/error.h"
#include "worker/entrypoints.h"

/* Adds those whose names are not taken yet. */
MUST_USE enum status stock_add(struct entrypoints *entrypoints, struct error *err);
