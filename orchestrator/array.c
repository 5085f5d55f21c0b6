#include "orchestrator/array.h"

#include <arpa/inet.h>
#include <endian.h>
#include <string.h>

#define HEADER_BYTES 20

/* Object ids of PostgreSQL's built-in types, fixed for ever. */
static const struct {
	Oid element;
	Oid array;
} oids[] = {
	[ARRAY_BOOL] = {16, 1000}, [ARRAY_INT4] = {23, 1007}, [ARRAY_INT8] = {20, 1016}, [ARRAY_TEXT] = {25, 1009},
	[ARRAY_JSON] = {114, 199}, [ARRAY_JSONB] = {3802, 3807}, [ARRAY_UUID] = {2950, 2951},
};

void array_begin(struct array *array, enum array_type type)
{
	array->type = type;
	array->count = 0;
	array->values = false;
	buffer_reset(&array->bytes);
	memset(buffer_reserve(&array->bytes, HEADER_BYTES), 0, HEADER_BYTES);
	array->bytes.length = HEADER_BYTES;
}

void array_clear(struct array *array)
{
	buffer_clear(&array->bytes);
}

static void add_length(struct array *array, int32_t length)
{
	uint32_t wire = htonl((uint32_t)length);
	buffer_add(&array->bytes, &wire, sizeof wire);
	array->count++;
	array->values |= length >= 0;
}

void array_add_null(struct array *array)
{
	add_length(array, -1);
}

void array_add_bool(struct array *array, bool value)
{
	add_length(array, 1);
	buffer_add_char(&array->bytes, value ? 1 : 0);
}

void array_add_int4(struct array *array, int32_t value)
{
	uint32_t wire = htonl((uint32_t)value);
	add_length(array, sizeof wire);
	buffer_add(&array->bytes, &wire, sizeof wire);
}

void array_add_int8(struct array *array, int64_t value)
{
	uint64_t wire = htobe64((uint64_t)value);
	add_length(array, sizeof wire);
	buffer_add(&array->bytes, &wire, sizeof wire);
}

void array_add_bytes(struct array *array, struct slice value)
{
	bool jsonb = array->type == ARRAY_JSONB;
	add_length(array, (int32_t)value.length + jsonb);
	if (jsonb)
		buffer_add_char(&array->bytes, 1); /* the version of jsonb's binary form: text follows */
	buffer_add_slice(&array->bytes, value);
}

struct parameter array_parameter(struct array *array)
{
	const uint32_t header[] = {htonl(1), htonl(1), htonl(oids[array->type].element), htonl((uint32_t)array->count), htonl(1)};
	memcpy(array->bytes.bytes, header, sizeof header);
	return (struct parameter){oids[array->type].array, array->bytes.bytes, (int)array->bytes.length, true};
}

struct parameter array_parameter_or_null(struct array *array)
{
	if (array->values)
		return array_parameter(array);
	return (struct parameter){oids[array->type].array, NULL, 0, true};
}

struct parameter parameter_int4(char room[8], int32_t value)
{
	uint32_t wire = htonl((uint32_t)value);
	memcpy(room, &wire, sizeof wire);
	return (struct parameter){oids[ARRAY_INT4].element, room, sizeof wire, true};
}

struct parameter parameter_int8(char room[8], int64_t value)
{
	uint64_t wire = htobe64((uint64_t)value);
	memcpy(room, &wire, sizeof wire);
	return (struct parameter){oids[ARRAY_INT8].element, room, sizeof wire, true};
}

struct parameter parameter_bool(char room[8], bool value)
{
	room[0] = value ? 1 : 0;
	return (struct parameter){oids[ARRAY_BOOL].element, room, 1, true};
}

struct parameter parameter_uuid(const unsigned char uuid[16])
{
	return (struct parameter){oids[ARRAY_UUID].element, (const char *)uuid, 16, true};
}

struct parameter parameter_text(const char *text)
{
	return (struct parameter){oids[ARRAY_TEXT].element, text, 0, false};
}
