#include "common/sealing.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/limits.h"
#include "common/seal.h"

#define FIRST "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
#define OTHER "ZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXp7fH1+f4CBgoM="

#define TEXT "{\"uuid\":\"u\",\"entrypoint\":\"e\",\"params\":{\"secret\":\"tomato\"}}"

static struct sealing *made(const char *keys, enum plaintext plaintext)
{
	struct sealing *sealing;
	struct error err = {0};
	struct sealing_settings settings = {.key = keys, .key_file = "", .plaintext = plaintext};
	cr_assert_eq(sealing_open(&settings, &sealing, &err), E_OK, "%s", err.text);
	return sealing;
}

/* The record of TEXT. */
static struct buffer written(const struct sealing *sealing)
{
	struct buffer room = {0}, record = {0};
	struct slice bytes;
	cr_assert_eq(sealing_write(sealing, slice_of(TEXT), &room, &bytes, NULL), E_OK);
	buffer_add_slice(&record, bytes);
	buffer_clear(&room);
	return record;
}

/* "": it was read, and is TEXT; else why not. */
static const char *refusal(const struct sealing *sealing, struct slice record)
{
	static struct error err;
	struct buffer opened = {0};
	struct message message;
	err = (struct error){0};
	enum status status = sealing_read(sealing, record, &opened, &message, &err);
	if (!status)
		cr_expect(slice_is(message.text, TEXT), "%.*s", (int)message.text.length, message.text.start);
	else
		cr_expect_eq(status, E_INVALID);
	buffer_clear(&opened);
	return err.text;
}

#define REFUSED "is not sealed, and plaintext is refused"
#define OTHERS_KEY "cannot be opened: another key sealed it, or it was altered"

/* Who reads what whom has written: nobody's key, the first key, another one, and what they do with plaintext. */
Test(sealing, who_reads_what)
{
	struct sealing *first = made(FIRST, PLAINTEXT_REFUSED), *accepts = made(FIRST, PLAINTEXT_ACCEPTED), *sends = made(FIRST, PLAINTEXT_SENT),
		*other = made(OTHER, PLAINTEXT_ACCEPTED);
	const struct {
		const struct sealing *writer, *reader;
		const char *refusal;
	} cases[] = {
		{NULL, NULL, ""}, {NULL, first, REFUSED}, {NULL, accepts, ""}, {NULL, sends, ""},
		{first, NULL, "is sealed, and no key is given"}, {first, first, ""}, {first, accepts, ""}, {first, sends, ""}, {first, other, OTHERS_KEY},
		{accepts, first, ""}, {sends, NULL, ""}, {sends, first, REFUSED}, {sends, accepts, ""}, {other, first, OTHERS_KEY},
	};
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct buffer record = written(cases[i].writer);
		cr_expect_str_eq(refusal(cases[i].reader, buffer_slice(&record)), cases[i].refusal, "case %zu: %s", i, refusal(cases[i].reader, buffer_slice(&record)));
		buffer_clear(&record);
	}
	sealing_free(first);
	sealing_free(accepts);
	sealing_free(sends);
	sealing_free(other);
}

/* What is in a sealed message is checked as ever, and what is wrong with it is told as ever. */
Test(sealing, what_is_sealed_is_a_message)
{
	struct sealing *sealing = made(FIRST, PLAINTEXT_REFUSED);
	struct buffer room = {0};
	struct slice record;
	cr_assert_eq(sealing_write(sealing, slice_of("{\"uuid\":\"u\"}"), &room, &record, NULL), E_OK);
	cr_expect_not_null(strstr(refusal(sealing, record), "entrypoint: is missing"), "%s", refusal(sealing, record));
	cr_expect_str_eq(refusal(sealing, slice_of("")), REFUSED);
	cr_expect_str_eq(refusal(sealing, slice_of("{\"data\": \"AA==\", \"nonce\": \"AA==\"}")), "not a sealed message: nonce must be 24 bytes in base64");
	char *large = calloc(1, MESSAGE_BYTES_MAX + 1);
	cr_expect_not_null(strstr(refusal(sealing, (struct slice){large, MESSAGE_BYTES_MAX + 1}), "the limit is 1048576"));
	free(large);
	buffer_clear(&room);
	sealing_free(sealing);
}

/* What was on a topic before goes there again sealed once. */
Test(sealing, again)
{
	struct sealing *sealing = made(FIRST, PLAINTEXT_REFUSED), *other = made(OTHER, PLAINTEXT_REFUSED);
	struct buffer sealed = written(sealing), room = {0};
	struct slice record;
	cr_assert_eq(sealing_write_again(other, buffer_slice(&sealed), &room, &record, NULL), E_OK);
	cr_expect_eq(record.start, sealed.bytes, "also when another key sealed it");
	cr_assert_eq(sealing_write_again(sealing, slice_of(TEXT), &room, &record, NULL), E_OK);
	cr_expect_str_eq(refusal(sealing, record), "");
	cr_assert_eq(sealing_write_again(NULL, slice_of("anything"), &room, &record, NULL), E_OK);
	cr_expect(slice_is(record, "anything"));
	buffer_clear(&sealed);
	buffer_clear(&room);
	sealing_free(sealing);
	sealing_free(other);
}

Test(sealing, limits)
{
	struct sealing *sealing = made(FIRST, PLAINTEXT_REFUSED), *sends = made(FIRST, PLAINTEXT_SENT);
	struct buffer room = {0};
	struct slice record;
	struct error err;
	size_t most = sealing_text_max(sealing, MESSAGE_BYTES_MAX);
	char *text = calloc(1, most + 1);
	cr_expect_gt(most, 700000);
	cr_expect_eq(sealing_write(sealing, (struct slice){text, most}, &room, &record, &err), E_OK);
	cr_expect_eq(sealing_write(sealing, (struct slice){text, most + 1}, &room, &record, &err), E_INVALID);
	cr_expect_not_null(strstr(err.text, "1048576 are the limit"), "%s", err.text);
	cr_expect_eq(sealing_text_max(NULL, 1000), 1000);
	cr_expect_eq(sealing_text_max(sends, 1000), 1000);
	free(text);
	buffer_clear(&room);
	sealing_free(sealing);
	sealing_free(sends);
}

Test(sealing, without_a_key)
{
	struct sealing *sealing;
	struct error err;
	struct sealing_settings none = {.key = "", .key_file = ""}, lost = {.key = "", .key_file = "", .plaintext = PLAINTEXT_ACCEPTED};
	cr_expect_eq(sealing_open(&none, &sealing, &err), E_OK);
	cr_expect_null(sealing);
	cr_expect_eq(sealing_open(&lost, &sealing, &err), E_INVALID, "a key was meant");
	cr_expect_not_null(strstr(err.text, "secretbox-plaintext"));
	cr_expect_eq(sealing_open(&(struct sealing_settings){.key = FIRST "x"}, &sealing, &err), E_INVALID);
	cr_expect_null(strstr(err.text, "AAEC"), "%s", err.text);
	sealing_tell(NULL);
	sealing_reload(NULL);
}

static char path[] = "/tmp/kser-sealing-XXXXXX";

static void put(const char *keys)
{
	int fd = open(path, O_WRONLY | O_TRUNC);
	cr_assert_eq(write(fd, keys, strlen(keys)), (ssize_t)strlen(keys));
	close(fd);
}

/* A rotation: the second key, then first, then alone; a file that is broken meanwhile changes nothing. */
Test(sealing, a_file_that_changes)
{
	struct sealing *sealing, *old = made(FIRST, PLAINTEXT_REFUSED), *fresh = made(OTHER, PLAINTEXT_REFUSED);
	struct buffer by_old = written(old), by_fresh = written(fresh);
	close(mkstemp(path));
	put(FIRST);
	cr_assert_eq(sealing_open(&(struct sealing_settings){.key_file = path}, &sealing, NULL), E_OK);
	const struct {
		const char *keys;
		bool opens_old, opens_fresh, seals_fresh;
	} steps[] = {{FIRST "\n" OTHER, true, true, false}, {"oops", true, true, false}, {OTHER "\n" FIRST, true, true, true}, {"", true, true, true}, {OTHER, false, true, true}};
	for (size_t i = 0; i < COUNT_OF(steps); i++) {
		put(steps[i].keys);
		sealing_reload(sealing);
		cr_expect_eq(refusal(sealing, buffer_slice(&by_old))[0] == '\0', steps[i].opens_old, "step %zu", i);
		cr_expect_eq(refusal(sealing, buffer_slice(&by_fresh))[0] == '\0', steps[i].opens_fresh, "step %zu", i);
		struct buffer own = written(sealing);
		cr_expect_eq(refusal(fresh, buffer_slice(&own))[0] == '\0', steps[i].seals_fresh, "step %zu", i);
		buffer_clear(&own);
	}
	unlink(path);
	buffer_clear(&by_old);
	buffer_clear(&by_fresh);
	sealing_free(sealing);
	sealing_free(old);
	sealing_free(fresh);
}
