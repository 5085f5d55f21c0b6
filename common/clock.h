#pragma once

/* Time. Waits and leases use the monotonic clock; the wall clock is for people and deadlines on the wire. */

#include <stdint.h>

int64_t clock_monotonic_ms(void);
int64_t clock_monotonic_us(void);
int64_t clock_boot_ms(void); /* monotonic, and goes on while the machine is suspended */
int64_t clock_wall_ms(void); /* since 1970 */
int64_t clock_wall_us(void);

/* The earlier of two moments, the shorter of two times. */
static inline int64_t clock_sooner(int64_t one, int64_t other)
{
	return one < other ? one : other;
}
