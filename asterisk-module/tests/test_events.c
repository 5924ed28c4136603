/* Ids parsed, events formatted: the exact text of each, and the edges of both. */

#include <stdlib.h>

#include "../playback_events.h"
#include "test.h"

static char event[PLAYBACK_EVENT_MAX];
static const struct playback_format plain = { .json = 0, .channel_id = "1.2" };
static const struct playback_format json = { .json = 1, .channel_id = "1.2" };

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

static void played_mark(void)
{
	struct playback_mark mark = { .outcome = PLAYBACK_PLAYED, .offset = 1ULL << 40,
		.dropped = 7, .media_ns = 1234125000, };
	struct playback_id id = { .text = "m\"1\\\n\xc3\xa4", };
	struct playback_id number = { .is_integer = 1, .text = "42", };

	EXPECT(playback_event_mark(event, sizeof(event), &plain, &number, &mark, 0),
		strlen("MARK_PLAYED id=42"));
	EXPECT_TEXT(event, "MARK_PLAYED id=42");
	playback_event_mark(event, sizeof(event), &json, &id, &mark, 1790000000000001LL);
	EXPECT_TEXT(event, "{\"event\":\"MARK_PLAYED\",\"channel_id\":\"1.2\","
		"\"id\":\"m\\\"1\\\\\\u000a\xc3\xa4\","
		"\"correlation_id\":\"m\\\"1\\\\\\u000a\xc3\xa4\","
		"\"offset\":1099511627776,\"played_ms\":1234.125,\"dropped\":7,"
		"\"at\":1790000000000.001}");
	playback_event_mark(event, sizeof(event), &json, &number, &mark, 0);
	EXPECT(strstr(event, "\"id\":42,\"correlation_id\":42,") != NULL, 1);
}

static void discarded_mark(void)
{
	struct playback_mark mark = { .outcome = PLAYBACK_FLUSHED, .offset = 5, };
	struct playback_id id = { .text = "m1", };

	playback_event_mark(event, sizeof(event), &plain, &id, &mark, 0);
	EXPECT_TEXT(event, "MARK_DISCARDED id=m1 reason=flush");
	mark.outcome = PLAYBACK_HUNGUP;
	playback_event_mark(event, sizeof(event), &json, &id, &mark, 2500);
	EXPECT_TEXT(event, "{\"event\":\"MARK_DISCARDED\",\"channel_id\":\"1.2\","
		"\"id\":\"m1\","
		"\"reason\":\"hangup\",\"correlation_id\":\"m1\",\"offset\":5,\"at\":2.500}");
	EXPECT_TEXT(playback_reason(PLAYBACK_LIMIT), "limit");
	EXPECT_TEXT(playback_reason(PLAYBACK_DIRECTION), "direction");
	EXPECT(playback_reason(PLAYBACK_WAITING) == NULL, 1);
}

static void error(void)
{
	struct playback_id id = { .text = "m1", };

	playback_event_error(event, sizeof(event), &plain, "MARK", &id, "no: good");
	EXPECT_TEXT(event, "ERROR channel_id:1.2 command:MARK id:m1 error_text:no: good");
	playback_event_error(event, sizeof(event), &json, "MARK", NULL, "no \"id\"");
	EXPECT_TEXT(event, "{\"event\":\"ERROR\",\"channel_id\":\"1.2\","
		"\"error_text\":\"no \\\"id\\\"\",\"command\":\"MARK\"}");
}

static void too_small_a_buffer_gives_nothing_and_is_not_overrun(void)
{
	struct playback_mark mark = { .outcome = PLAYBACK_PLAYED, };
	struct playback_id id = { .text = "m1", };
	size_t needed = playback_event_mark(event, sizeof(event), &json, &id, &mark, 0);
	size_t size;

	for (size = 0; size <= needed; size++) {
		char *small = malloc(size ? size : 1);

		EXPECT(playback_event_mark(small, size, &json, &id, &mark, 0), 0);
		free(small);
	}
}

static void the_largest_event_fits(void)
{
	struct playback_mark mark = { .outcome = PLAYBACK_PLAYED, .offset = UINT64_MAX,
		.dropped = UINT64_MAX, .media_ns = INT64_MAX, };
	struct playback_id id;
	char channel_id[151];
	const struct playback_format format = { .json = 1, .channel_id = channel_id };

	memset(channel_id, 1, sizeof(channel_id) - 1);
	channel_id[sizeof(channel_id) - 1] = '\0';
	memset(id.text, 1, PLAYBACK_ID_MAX);
	id.text[PLAYBACK_ID_MAX] = '\0';
	id.is_integer = 0;
	EXPECT(playback_event_mark(event, sizeof(event), &format, &id, &mark, INT64_MAX) > 0,
		1);
}

int main(void)
{
	RUN(plain_ids);
	RUN(json_ids);
	RUN(played_mark);
	RUN(discarded_mark);
	RUN(error);
	RUN(too_small_a_buffer_gives_nothing_and_is_not_overrun);
	RUN(the_largest_event_fits);
	return failures ? EXIT_FAILURE : EXIT_SUCCESS;
}
