#pragma once

/*
 * When heartbeats are due, and whether they are heard. A round is a heartbeat with the records that name
 * the claims; it is heard once all of them are acknowledged. Times are of the clock that goes on while the
 * machine is suspended (clock_boot_ms): a worker that slept was silent. Sees no broker; one thread.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Rounds on their way at once. More would only wait behind them. */
#define PULSE_ROUNDS_MAX 3

struct pulse {
	int64_t quick_ms;   /* between rounds while claims are held */
	int64_t slow_ms;    /* else */
	int64_t silence_ms; /* unheard for longer: silent */
	bool quick;
	int64_t sent_ms;    /* the last round */
	int64_t heard_ms;   /* when the last round that was heard was sent, or claims began to be held */
	uint64_t number;    /* of the last round, from 1 */
	struct pulse_round {
		uint64_t number;
		int64_t sent_ms;
		size_t left; /* records not acknowledged yet; 0: the place is free */
		bool failed; /* one of them was given up */
	} rounds[PULSE_ROUNDS_MAX];
};

/* Claims are held, or none. */
void pulse_set_quick(struct pulse *pulse, bool quick, int64_t now_ms);

/* Milliseconds until the next round may be due; 0: it is. */
int64_t pulse_wait_ms(const struct pulse *pulse, int64_t now_ms);

/* Begins a round; its number. Its records are counted with pulse_add. One too many is sent, but not listened for. */
uint64_t pulse_begin(struct pulse *pulse, int64_t now_ms);
void pulse_add(struct pulse *pulse, uint64_t round);

/* One of its records came to the broker, or was given up. */
void pulse_record_done(struct pulse *pulse, uint64_t round, bool acknowledged);

/* Whether tasks that are to end in silence are to be ended. */
bool pulse_is_silent(const struct pulse *pulse, int64_t now_ms);
