#pragma once

/*
 * Which offset of a partition may be committed when its records finish in any order: the end of
 * the contiguous prefix of finished ones. Records enter in rising order of offset (gaps are normal:
 * compaction, control records). One thread; whoever shares it locks.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct watermark; /* opaque */

struct watermark *watermark_new(void);
void watermark_free(struct watermark *watermark);

/* Enters a record. Its offset must be above all that entered before. */
void watermark_begin(struct watermark *watermark, int64_t offset);

/* The record is finished; must have been entered, once. */
void watermark_finish(struct watermark *watermark, int64_t offset);

/* The offset to commit (one past the last of the finished prefix), or -1 when no prefix has finished yet. */
int64_t watermark_commit(const struct watermark *watermark);

/* The offset of the first record that entered and is not finished, or one past the last when all are; -1 when none has entered. */
int64_t watermark_unfinished(const struct watermark *watermark);

/* How many records entered and are not behind the commit offset. */
size_t watermark_pending(const struct watermark *watermark);
