/* Prints one program's part of docs/metrics.md: from the table that the program itself exposes. */

#include <stdio.h>

#include PROGRAM_HEADER

int main(void)
{
	struct buffer page = {0};
	metrics_add_reference(&page, FAMILIES, FAMILIES_COUNT);
	printf("%s", page.bytes);
	buffer_clear(&page);
	return 0;
}
