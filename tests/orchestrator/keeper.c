#include "orchestrator/keeper.h"

#include <criterion/criterion.h>

Test(keeper, few_places_of_a_window_are_gathered)
{
	cr_assert(keeper_gathers(124, 2000, 0));
	cr_assert(keeper_gathers(1, 2000, 19));
	cr_assert_not(keeper_gathers(125, 2000, 0), "a sixteenth");
	cr_assert_not(keeper_gathers(1, 2000, 20), "long enough");
}

Test(keeper, a_small_window_is_filled_at_once)
{
	for (int window = 1; window < 32; window++)
		cr_assert_not(keeper_gathers(1, window, 0), "%d", window);
	cr_assert(keeper_gathers(1, 32, 0));
}
