/* Prints one program's part of docs/settings.md: from the table that the program itself reads. */

#include <stdio.h>

#include PROGRAM_HEADER

int main(void)
{
	struct buffer page = {0};
	settings_add_reference(&page, &PROGRAM);
	printf("%s", page.bytes);
	buffer_clear(&page);
	return 0;
}
