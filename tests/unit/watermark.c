#include "common/watermark.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#include "common/attributes.h"

Test(watermark, nothing_finished_is_nothing_to_commit)
{
	struct watermark *watermark = watermark_new();
	cr_assert_eq(watermark_commit(watermark), -1);
	watermark_begin(watermark, 7);
	cr_assert_eq(watermark_commit(watermark), -1);
	cr_assert_eq(watermark_pending(watermark), 1);
	watermark_free(watermark);
}

Test(watermark, waits_for_the_first_that_is_not_finished)
{
	struct watermark *watermark = watermark_new();
	watermark_begin(watermark, 10);
	watermark_begin(watermark, 11);
	watermark_begin(watermark, 12);
	watermark_finish(watermark, 12);
	watermark_finish(watermark, 11);
	cr_assert_eq(watermark_commit(watermark), -1);
	cr_assert_eq(watermark_pending(watermark), 3);
	watermark_finish(watermark, 10);
	cr_assert_eq(watermark_commit(watermark), 13);
	cr_assert_eq(watermark_pending(watermark), 0);
	watermark_free(watermark);
}

Test(watermark, gaps_are_passed_with_the_record_behind_them)
{
	struct watermark *watermark = watermark_new();
	watermark_begin(watermark, 5);
	watermark_begin(watermark, 900);
	watermark_finish(watermark, 5);
	cr_assert_eq(watermark_commit(watermark), 6);
	watermark_finish(watermark, 900);
	cr_assert_eq(watermark_commit(watermark), 901);
	watermark_free(watermark);
}

/* The same answers as a plain list, for random records with gaps that finish in random order. */
struct model {
	int64_t offsets[4000];
	bool finished[4000];
	size_t count;
};

static int64_t model_commit(const struct model *model)
{
	int64_t commit = -1;
	for (size_t i = 0; i < model->count && model->finished[i]; i++)
		commit = model->offsets[i] + 1;
	return commit;
}

static size_t model_pending(const struct model *model)
{
	size_t done = 0;
	while (done < model->count && model->finished[done])
		done++;
	return model->count - done;
}

static void run_model(unsigned seed)
{
	static struct model model;
	model.count = 0;
	srand(seed);
	struct watermark *watermark = watermark_new();
	int64_t next = rand() % 100;
	for (int step = 0; step < 6000; step++) {
		bool begin = model.count == 0 || (rand() % 5 < 3 && model.count < COUNT_OF(model.offsets));
		if (begin) {
			next += 1 + (rand() % 8 == 0 ? rand() % 1000 : 0);
			model.offsets[model.count] = next;
			model.finished[model.count++] = false;
			watermark_begin(watermark, next);
		} else {
			/* Near the end of the list as a rule, so that the unfinished stretch grows past its first room. */
			size_t back = (size_t)rand() % (rand() % 50 == 0 ? model.count : model.count < 64 ? model.count : 64);
			size_t pick = model.count - 1 - back;
			if (!model.finished[pick]) {
				model.finished[pick] = true;
				watermark_finish(watermark, model.offsets[pick]);
			}
		}
		cr_assert_eq(watermark_commit(watermark), model_commit(&model), "seed %u step %d", seed, step);
		cr_assert_eq(watermark_pending(watermark), model_pending(&model), "seed %u step %d", seed, step);
	}
	watermark_free(watermark);
}

Test(watermark, agrees_with_a_plain_list)
{
	for (unsigned seed = 1; seed <= 20; seed++)
		run_model(seed);
}
