/* What an orchestrator does with each step: parts of it, and the lane as a whole. */

#include <stdlib.h>

#include "common/limits.h"
#include "common/sealing.h"
#include "common/watermark.h"
#include "orchestrator/batch.h"
#include "tests/budget/lane.h"
#include "tests/budget/path.h"

/* The scanner, on 1,000 bytes of every kind of value. */
static void walk_scan(int steps)
{
	struct buffer text CLEANUP(buffer_clear) = {0};
	buffer_add_text(&text, "[");
	for (int i = 0; text.length < 900; i++)
		buffer_printf(&text, "{\"name\": \"caf\xc3\xa9 %d\", \"said\": \"one\\ntwo \\u00e9\", \"at\": [1.5e3, -%d, true, null, {}], \"path\": \"/srv/images/2026/%04d.png\"},", i, i * 1000, i);
	buffer_printf(&text, "\"%*s\"]", (int)(996 - text.length), "x");
	for (int i = 0; i < steps; i++)
		must(json_validate(buffer_slice(&text), MESSAGE_BYTES_MAX, NULL, NULL));
}

/* A reply is read. */
static void walk_read(int steps)
{
	struct message message;
	struct buffer opened = {0};
	for (int i = 0; i < steps; i++)
		must(sealing_read(NULL, path_reply(i % PATH_BATCH), &opened, &message, NULL));
}

/* A dispatch is written. */
static void walk_dispatch(int steps)
{
	struct buffer text CLEANUP(buffer_clear) = {0};
	for (int i = 0; i < steps; i++) {
		buffer_reset(&text);
		path_add_dispatch(&text, i);
	}
}

/* The records of a partition finish in another order than they came in. */
static void walk_watermark(int steps)
{
	struct watermark *watermark = watermark_new();
	for (int from = 0; from < steps; from += PATH_BATCH) {
		for (int i = 0; i < PATH_BATCH; i++)
			watermark_begin(watermark, from + i);
		for (int i = 0; i < PATH_BATCH; i++)
			watermark_finish(watermark, from + i * 7 % PATH_BATCH);
		must(watermark_commit(watermark) == from + PATH_BATCH ? E_OK : E_INVALID);
	}
	watermark_free(watermark);
}

/* Replies that were read become the parameters of the statement for plain successes. */
static void walk_batch(int steps)
{
	struct settings settings = {.topic_prefix = "t"};
	struct cell *cell = cell_new(&settings, NULL);
	struct batch *batch = batch_new();
	struct parameter parameters[APPLY_PLAIN_PARAMETERS];
	struct buffer opened = {0};
	struct message messages[PATH_BATCH];
	cell_set_partitions(cell, cell_queue(cell, slice_of("")), 4);
	for (int i = 0; i < PATH_BATCH; i++)
		must(message_parse(path_reply(i), &messages[i], NULL));
	for (int from = 0; from < steps; from += PATH_BATCH) {
		for (int i = 0; i < PATH_BATCH; i++)
			must(batch_add(batch, cell, NULL, &opened, &messages[i], (struct origin){.offset = from + i}, NULL));
		must(batch_choose_plain(batch, PATH_GENERATION) == PATH_BATCH ? E_OK : E_INVALID);
		batch_plain_parameters(batch, cell, PATH_GENERATION, parameters);
		batch_reset(batch);
	}
	batch_free(batch);
	cell_free(cell);
}

int main(int argc, char **argv)
{
	static const struct path paths[] = {{"scan", walk_scan}, {"read", walk_read}, {"dispatch", walk_dispatch}, {"watermark", walk_watermark}, {"batch", walk_batch},
		{"lane", path_walk_lane}};
	return path_main(argc, argv, paths, COUNT_OF(paths));
}
