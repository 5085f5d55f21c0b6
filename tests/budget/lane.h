#pragma once

/*
 * A lane between a Kafka client and a database that answer at once and cost nothing: lane_run with its intake, its batch, its
 * engine and its dispatcher, in one thread, by a clock that only the database moves. What stands in for the two is linked in place
 * of librdkafka's functions and those of common/kafka.h, common/clock.h and sql/connection.h.
 */

/* Results arrive, are applied, and cause dispatches (but for one in ten, which ends its operation), which are acknowledged; offsets are committed. */
void path_walk_lane(int steps);
