/* Arguments of commands: what is taken, and the edges of what is not. */

#include <stdlib.h>

#include "../playback_arguments.h"
#include "test.h"

static void plain_ids(void)
{
	struct playback_id id;
	char text[PLAYBACK_ID_MAX + 5] = "id=";

	EXPECT(playback_id_from_plain(&id, "id=m1"), 0);
	EXPECT_TEXT(id.text, "m1");
	EXPECT(id.is_integer, 0);
	EXPECT(playback_id_from_plain(&id, "id=a=b"), 0);
	EXPECT_TEXT(id.text, "a=b");
	EXPECT(playback_id_from_plain(&id, NULL), -1);
	EXPECT(playback_id_from_plain(&id, ""), -1);
	EXPECT(playback_id_from_plain(&id, "m1"), -1);
	EXPECT(playback_id_from_plain(&id, "id="), -1);
	EXPECT(playback_id_from_plain(&id, "id=a b"), -1);
	EXPECT(playback_id_from_plain(&id, "id=a\tb"), -1);
	EXPECT(playback_id_from_plain(&id, "id=\xc3\xa4"), -1);
	EXPECT(playback_id_from_plain(&id, " id=a"), -1);
	memset(text + 3, 'x', PLAYBACK_ID_MAX);
	EXPECT(playback_id_from_plain(&id, text), 0);
	text[3 + PLAYBACK_ID_MAX] = 'x';
	EXPECT(playback_id_from_plain(&id, text), -1);
}

static void json_ids(void)
{
	struct playback_id id;

	EXPECT(playback_id_from_string(&id, ""), -1);
	EXPECT(playback_id_from_string(&id, "a b"), 0);
	EXPECT_TEXT(id.text, "a b");
	playback_id_from_integer(&id, INTMAX_MIN);
	EXPECT(id.is_integer, 1);
	EXPECT_TEXT(id.text, "-9223372036854775808");
}

static void plain_marks(void)
{
	static const struct {
		const char *arguments;
		int expected;
		int64_t offset;
	} cases[] = {
		{ "id=a", 0, PLAYBACK_OFFSET_NONE },
		{ "id=a offset=0", 0, 0 },
		{ "id=a offset=00017", 0, 17 },
		{ "id=a offset=9007199254740991", 0, PLAYBACK_OFFSET_MAX },
		{ "id=offset=5 offset=6", 0, 6 },
		{ "id=a offset=9007199254740992", -1, 0 },
		{ "id=a offset=99999999999999999999999999", -1, 0 },
		/* 5 if only its lower 64 bits were looked at */
		{ "id=a offset=18446744073709551621", -1, 0 },
		{ "id=a offset=", -1, 0 },
		{ "id=a offset=-1", -1, 0 },
		{ "id=a offset=+1", -1, 0 },
		{ "id=a offset=1.0", -1, 0 },
		{ "id=a offset=1e3", -1, 0 },
		{ "id=a offset=0x10", -1, 0 },
		{ "id=a offset= 1", -1, 0 },
		{ "id=a offset=1 ", -1, 0 },
		{ "id=a offset=1 offset=1", -1, 0 },
		{ "id=a id=a", -1, 0 },
		{ "id=a  offset=1", -1, 0 },
		{ "id=a\toffset=1", -1, 0 },
		{ "id=a ", -1, 0 },
		{ "id=a offset", -1, 0 },
		{ "id=a Offset=1", -1, 0 },
		{ "id= offset=1", -1, 0 },
		{ "offset=1 id=a", -1, 0 },
		{ "offset=1", -1, 0 },
		{ " id=a", -1, 0 },
		{ "", -1, 0 },
		{ NULL, -1, 0 },
	};
	char text[PLAYBACK_ID_MAX + 20] = "id=";
	struct playback_id id;
	int64_t offset;
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		EXPECT(playback_mark_from_plain(&id, &offset, cases[i].arguments),
			cases[i].expected);
		if (!cases[i].expected) {
			EXPECT(offset, cases[i].offset);
		}
	}
	EXPECT(playback_mark_from_plain(&id, &offset, "id=a=b offset=5"), 0);
	EXPECT_TEXT(id.text, "a=b");
	EXPECT(id.is_integer, 0);
	memset(text + 3, 'x', PLAYBACK_ID_MAX);
	strcpy(text + 3 + PLAYBACK_ID_MAX, " offset=3");
	EXPECT(playback_mark_from_plain(&id, &offset, text), 0);
	EXPECT(strlen(id.text), PLAYBACK_ID_MAX);
	EXPECT(offset, 3);
	strcpy(text + 3 + PLAYBACK_ID_MAX, "x offset=3");
	EXPECT(playback_mark_from_plain(&id, &offset, text), -1);
}

static void json_offsets(void)
{
	int64_t offset = -7;

	EXPECT(playback_offset_from_integer(&offset, -1), -1);
	EXPECT(playback_offset_from_integer(&offset, PLAYBACK_OFFSET_MAX + 1), -1);
	EXPECT(playback_offset_from_integer(&offset, INTMAX_MIN), -1);
	EXPECT(offset, -7);
	EXPECT(playback_offset_from_integer(&offset, 0), 0);
	EXPECT(offset, 0);
	EXPECT(playback_offset_from_integer(&offset, PLAYBACK_OFFSET_MAX), 0);
	EXPECT(offset, 9007199254740991);
}

static void plain_intervals(void)
{
	static const struct {
		const char *arguments;
		enum playback_interval expected;
		int interval_ms;
	} cases[] = {
		{ NULL, PLAYBACK_INTERVAL_NONE, -1 },
		{ "", PLAYBACK_INTERVAL_NONE, -1 },
		{ "interval_ms=0", PLAYBACK_INTERVAL_VALID, 0 },
		{ "interval_ms=20", PLAYBACK_INTERVAL_VALID, 20 },
		{ "interval_ms=00020", PLAYBACK_INTERVAL_VALID, 20 },
		{ "interval_ms=3600000", PLAYBACK_INTERVAL_VALID, 3600000 },
		{ "interval_ms=19", PLAYBACK_INTERVAL_INVALID, -1 },
		{ "interval_ms=3600001", PLAYBACK_INTERVAL_INVALID, -1 },
		{ "interval_ms=99999999999999999999999", PLAYBACK_INTERVAL_INVALID, -1 },
		{ "interval_ms=", PLAYBACK_INTERVAL_INVALID, -1 },
		{ "interval_ms=-20", PLAYBACK_INTERVAL_INVALID, -1 },
		{ "interval_ms=+20", PLAYBACK_INTERVAL_INVALID, -1 },
		{ "interval_ms= 20", PLAYBACK_INTERVAL_INVALID, -1 },
		{ "interval_ms=20 ", PLAYBACK_INTERVAL_INVALID, -1 },
		{ "interval_ms=20ms", PLAYBACK_INTERVAL_INVALID, -1 },
		{ "interval=20", PLAYBACK_INTERVAL_INVALID, -1 },
		{ "20", PLAYBACK_INTERVAL_INVALID, -1 },
	};
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		int interval_ms = -1;

		EXPECT(playback_interval_from_plain(&interval_ms, cases[i].arguments),
			cases[i].expected);
		EXPECT(interval_ms, cases[i].interval_ms);
	}
}

static void json_intervals(void)
{
	int interval_ms = -1;

	EXPECT(playback_interval_from_integer(&interval_ms, 19), PLAYBACK_INTERVAL_INVALID);
	EXPECT(playback_interval_from_integer(&interval_ms, -1), PLAYBACK_INTERVAL_INVALID);
	EXPECT(playback_interval_from_integer(&interval_ms, 3600001),
		PLAYBACK_INTERVAL_INVALID);
	/* 20 if only its lower 32 bits were looked at */
	EXPECT(playback_interval_from_integer(&interval_ms, (1LL << 32) + 20),
		PLAYBACK_INTERVAL_INVALID);
	EXPECT(interval_ms, -1);
	EXPECT(playback_interval_from_integer(&interval_ms, 0), PLAYBACK_INTERVAL_VALID);
	EXPECT(interval_ms, 0);
	EXPECT(playback_interval_from_integer(&interval_ms, 3600000),
		PLAYBACK_INTERVAL_VALID);
	EXPECT(interval_ms, 3600000);
}

int main(void)
{
	RUN(plain_ids);
	RUN(json_ids);
	RUN(plain_marks);
	RUN(json_offsets);
	RUN(plain_intervals);
	RUN(json_intervals);
	return failures ? EXIT_FAILURE : EXIT_SUCCESS;
}
