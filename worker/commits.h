#pragma once

/*
 * Commits the offsets of what is finished, at most one commit on its way.
 *
 * What is done may be repeated by another worker until its offset is committed, so that what was claimed is committed soon, the rest
 * when something has gathered. A commit that fails is tried again with all that has come since. One thread.
 */

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "worker/membership.h"

struct commits {
	const struct hand *hand;
	const struct membership *membership;
	const char *topic;
	int wake_fd;               /* an eventfd, not blocking: written when an answer has come */
	rd_kafka_queue_t *answers; /* of the present consumer; NULL: none */
	bool on_way;
	bool failed;      /* to be tried again */
	int64_t sent_ms;  /* when the last one was sent, monotonic */
	size_t finished;  /* records finished before that */
	size_t passed;    /* records passed by a claim before that */
};

/* A new consumer commits from now on; what the one before has not answered is not waited for. */
void commits_attach(struct commits *commits, rd_kafka_t *consumer);

/* Before the consumer is closed. */
void commits_detach(struct commits *commits);

/* Takes in the broker's answers. */
void commits_serve(struct commits *commits);

/* Commits if it is time; `hurry`: at once, if anything has been finished since the last one. */
void commits_keep_up(struct commits *commits, int64_t now_ms, bool hurry);

/* When commits_keep_up wants to be called next, monotonic; INT64_MAX: not before something comes into hand or is finished. */
int64_t commits_next_ms(const struct commits *commits, int64_t now_ms);

/* Commits all that is finished and waits for the answer, so that whoever gets the partitions next starts behind what we did. */
void commits_settle(struct commits *commits, int64_t until_ms);
