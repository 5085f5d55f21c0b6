#include "common/sibling.h"

#include <criterion/criterion.h>
#include <string.h>
#include <unistd.h>

Test(sibling, finds_this_program_by_its_own_name)
{
	char own[PATH_MAX] = "", found[PATH_MAX];
	struct error err;
	cr_assert_gt(readlink("/proc/self/exe", own, sizeof own - 1), 0);
	cr_assert_eq(sibling_find(strrchr(own, '/') + 1, found, &err), E_OK, "%s", err.text);
	cr_assert_str_eq(found, own);
}

Test(sibling, names_what_is_missing)
{
	char found[PATH_MAX];
	struct error err;
	cr_assert_eq(sibling_find("no-such-program", found, &err), E_INVALID);
	cr_assert(strstr(err.text, "/no-such-program is missing"), "%s", err.text);
}

Test(sibling, a_name_that_has_no_room)
{
	char name[PATH_MAX + 1], found[PATH_MAX];
	struct error err;
	memset(name, 'n', PATH_MAX);
	name[PATH_MAX] = '\0';
	cr_assert_eq(sibling_find(name, found, &err), E_FATAL);
	name[PATH_MAX - 2] = '\0';
	cr_assert_eq(sibling_find(name, found, &err), E_FATAL);
}
