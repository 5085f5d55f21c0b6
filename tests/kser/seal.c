#include "common/seal.h"

#include <criterion/criterion.h>
#include <json-c/json.h>
#include <sodium.h>

/* ---- the nonce of a vector in place of a random one ---- */

static unsigned char nonce[crypto_secretbox_NONCEBYTES];

static const char *fixed_name(void)
{
	return "fixed";
}

static uint32_t fixed_number(void)
{
	return 4;
}

static void fixed_bytes(void *to, size_t size)
{
	memset(to, 0, size);
	if (size == sizeof nonce)
		memcpy(to, nonce, size);
}

static struct randombytes_implementation fixed = {
	.implementation_name = fixed_name,
	.random = fixed_number,
	.buf = fixed_bytes,
};

/* ---- vectors ---- */

static const char *text_of(struct json_object *vector, const char *key)
{
	return json_object_get_string(json_object_object_get(vector, key));
}

static void check_bytes(struct json_object *vector)
{
	struct keyring *ring = NULL;
	struct buffer envelope = {0};
	struct error err = {0};
	size_t length = 0;
	cr_assert_eq(sodium_base642bin(nonce, sizeof nonce, text_of(vector, "nonce"), strlen(text_of(vector, "nonce")), NULL, &length, NULL,
		sodium_base64_VARIANT_ORIGINAL), 0);
	cr_assert_eq(length, sizeof nonce);
	cr_assert_eq(keyring_open(text_of(vector, "key"), NULL, &ring, &err), E_OK, "%s", err.text);
	cr_assert_eq(seal_add(ring, slice_of(text_of(vector, "message")), &envelope, &err), E_OK, "%s", err.text);
	cr_expect_str_eq(envelope.bytes, text_of(vector, "envelope"), "%s", text_of(vector, "name"));
	buffer_clear(&envelope);
	keyring_free(ring);
}

/* To the byte, line ends and order included: with the same nonce, what kser would have sent. */
Test(kser_seal, makes_the_same_bytes)
{
	randombytes_set_implementation(&fixed);
	struct json_object *file = json_object_from_file(TEST_DATA "/crypto.json");
	struct json_object *cases = json_object_object_get(file, "cases");
	int checked = 0;
	for (size_t i = 0; i < json_object_array_length(cases); i++) {
		struct json_object *vector = json_object_array_get_idx(cases, i);
		if (!json_object_object_get(vector, "nonce"))
			continue;
		check_bytes(vector);
		checked++;
	}
	cr_expect_eq(checked, 13);
	json_object_put(file);
}
