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

/* How long after its start to begin something again that took so long: so that it has a twentieth of the time at most, as far as `most_ms` gives that. */
static inline int64_t clock_pace(int64_t interval_ms, int64_t took_ms, int64_t most_ms)
{
	int64_t paced_ms = clock_sooner(took_ms * 20, most_ms);
	return paced_ms > interval_ms ? paced_ms : interval_ms;
}
