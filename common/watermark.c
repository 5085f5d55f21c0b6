#include "common/watermark.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/memory.h"

struct entry {
	int64_t offset;
	bool finished;
};

/* A ring in rising order of offset; its first entry is never finished. */
struct watermark {
	struct entry *entries;
	size_t capacity; /* a power of two */
	size_t first;
	size_t count;
	int64_t commit;
	int64_t last; /* entered */
};

static struct entry *entry_at(const struct watermark *watermark, size_t index)
{
	return &watermark->entries[(watermark->first + index) & (watermark->capacity - 1)];
}

struct watermark *watermark_new(void)
{
	struct watermark *watermark = xcalloc(1, sizeof *watermark);
	watermark->commit = -1;
	watermark->last = -1;
	watermark->capacity = 16;
	watermark->entries = xcalloc(watermark->capacity, sizeof *watermark->entries);
	return watermark;
}

void watermark_free(struct watermark *watermark)
{
	if (!watermark)
		return;
	free(watermark->entries);
	free(watermark);
}

static void grow(struct watermark *watermark)
{
	size_t capacity = watermark->capacity * 2;
	struct entry *entries = xcalloc(capacity, sizeof *entries);
	for (size_t i = 0; i < watermark->count; i++)
		entries[i] = *entry_at(watermark, i);
	free(watermark->entries);
	watermark->entries = entries;
	watermark->capacity = capacity;
	watermark->first = 0;
}

void watermark_begin(struct watermark *watermark, int64_t offset)
{
	assert(offset > watermark->last);
	if (watermark->count == watermark->capacity)
		grow(watermark);
	watermark->count++;
	*entry_at(watermark, watermark->count - 1) = (struct entry){offset, false};
	watermark->last = offset;
}

static struct entry *find(const struct watermark *watermark, int64_t offset)
{
	size_t low = 0;
	size_t high = watermark->count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (entry_at(watermark, middle)->offset < offset)
			low = middle + 1;
		else
			high = middle;
	}
	struct entry *entry = entry_at(watermark, low);
	assert(low < watermark->count && entry->offset == offset);
	return entry;
}

void watermark_finish(struct watermark *watermark, int64_t offset)
{
	struct entry *entry = find(watermark, offset);
	assert(!entry->finished);
	entry->finished = true;
	while (watermark->count && entry_at(watermark, 0)->finished) {
		watermark->commit = entry_at(watermark, 0)->offset + 1;
		watermark->first = (watermark->first + 1) & (watermark->capacity - 1);
		watermark->count--;
	}
}

int64_t watermark_commit(const struct watermark *watermark)
{
	return watermark->commit;
}

int64_t watermark_unfinished(const struct watermark *watermark)
{
	return watermark->count > 0 ? entry_at(watermark, 0)->offset : watermark->commit;
}

size_t watermark_pending(const struct watermark *watermark)
{
	return watermark->count;
}
