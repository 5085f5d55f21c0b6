#pragma once

/*
 * Crash points, in test builds only (CMake option KSER_FAULTS); elsewhere they are nothing.
 *
 * KSER_FAULT lists what is to happen: POINT=ACTION[:MS][@N], separated by commas. ACTION: kill (SIGKILL to this process),
 * stop (SIGSTOP), sleep:MS, error. @N: the Nth time that the point is reached, and then no more; without: each time.
 * Each time that something happens, a line "POINT ACTION PID" is appended to the file KSER_FAULT_LOG first.
 */

#include <stdbool.h>

#ifdef KSER_FAULTS
/* True: an error is to be injected at this point. Any thread. */
bool fault_reach(const char *point);
#define FAULT(point) fault_reach(point)
#else
#define FAULT(point) false
#endif
