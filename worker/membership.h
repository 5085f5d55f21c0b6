#pragma once

/*
 * This worker as a member of the workers' group: its consumer, and the partitions that are assigned to it.
 *
 * A member that the group has forgotten, or a client that has lost its way, would wait for ever: a new one takes its place. After an
 * assignment was lost its partitions are gone when the callbacks return. All calls and callbacks in one thread, the latter only while
 * the consumer is polled or closed.
 */

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/settings.h"
#include "worker/hand.h"

struct membership; /* opaque */

struct membership_setup {
	const char *brokers;
	const struct properties *properties;
	const char *client_id;
	const char *group;
	const char *topic;
	int wake_fd;       /* an eventfd, not blocking: written when something has come */
	int64_t rejoin_ms; /* without an assignment for so long it joins anew; longer each time that this did not help */
	/* There is a new member, whose consumer polls from now on; the one before, if any, is closed afterwards. */
	void (*joined)(void *context, rd_kafka_t *consumer);
	/* The partitions in `list` are marked as revoked and leave when this returns. `lost`: they are another's already. */
	void (*revoked)(void *context, const rd_kafka_topic_partition_list_t *list, bool lost);
	/* Goes on with other work for at most `wait_ms`, while the brokers are asked for something. */
	void (*serve)(void *context, int wait_ms);
	void *context;
};

/* Joins the group. E_INVALID: the properties are wrong. The setup's texts and properties must outlive it. */
MUST_USE enum status membership_open(const struct membership_setup *setup, struct membership **membership, struct error *err);

/* Leaves the group and closes its consumer within about `timeout_ms`: nothing is assigned any more. NULL is allowed. */
void membership_close(struct membership *membership, int timeout_ms);

/* Frees it; what its partitions hold in hand is left alone. NULL is allowed. */
void membership_free(struct membership *membership);

/* Joins anew if it has been without an assignment for too long. Whether it did; what goes wrong leaves the old member. */
bool membership_renew(struct membership *membership);

/* The present member's consumer. */
rd_kafka_t *membership_consumer(const struct membership *membership);

/* ---- its partitions ---- */

/* NULL: not assigned. */
struct partition *membership_find(const struct membership *membership, int32_t number);

/* All that are assigned, until one comes or goes; how many. */
size_t membership_partitions(const struct membership *membership, struct partition *const **partitions);

/* The partition is another one than before: its place is taken by one of which nothing is known. Returns that. */
struct partition *membership_begin_again(struct membership *membership, struct partition *partition);

/* Whether one that is not paused may be read no further before something of it is finished. */
bool membership_reads_full(const struct membership *membership);

/* Whether some record of the partitions in `list` is in hand. */
bool membership_holds(const struct membership *membership, const rd_kafka_topic_partition_list_t *list);

/* From now on all partitions are to be paused, also those that come, or only those that may be read no further. */
void membership_want_all_paused(struct membership *membership, bool all);

/* Whether all are to be paused. */
bool membership_is_all_paused(const struct membership *membership);

/* A record of the partition has come: before that it is not paused. */
void membership_note_read(struct membership *membership, struct partition *partition);

/* Pauses those that are to be and of which a record has come; the others when one comes. */
void membership_pause(struct membership *membership);

/* Resumes those that are not to be paused; one that was full when half of it is finished, so that it is not paused again at once. */
void membership_resume(struct membership *membership);
