/* Events formatted: the exact text of each in both formats, and the edges. */

#include <stdlib.h>

#include "../playback_events.h"
#include "test.h"

static char event[PLAYBACK_EVENT_MAX];
static const struct playback_event_style plain = { .json = 0, .channel_id = "1.2" };
static const struct playback_event_style json = { .json = 1, .channel_id = "1.2" };
static const struct playback_far_end unknown = { .rtt_us = -1, .jitter_us = -1, };
static const struct playback_far_end reported = { .rtt_us = 81234, .jitter_us = 125, };

static void played_mark(void)
{
	struct playback_mark mark = { .outcome = PLAYBACK_PLAYED, .offset = 1ULL << 40,
		.dropped = 7, .dropped_ns = 875000, .media_ns = 1234125000,
		.stage = PLAYBACK_STAGE_SENT, };
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
		"\"dropped_ms\":0.875,\"stage\":\"sent\",\"at\":1790000000000.001}");
	playback_event_mark(event, sizeof(event), &json, &number, &mark, 0);
	EXPECT(strstr(event, "\"id\":42,\"correlation_id\":42,") != NULL, 1);
}

static void discarded_mark(void)
{
	static const struct {
		enum playback_outcome outcome;
		enum playback_drop_reason drop_reason;
		const char *reason;
	} cases[] = {
		{ PLAYBACK_FLUSHED, PLAYBACK_DROP_UNSENT, "flush" },
		{ PLAYBACK_HUNGUP, PLAYBACK_DROP_UNSENT, "hangup" },
		{ PLAYBACK_LIMIT, PLAYBACK_DROP_UNSENT, "limit" },
		{ PLAYBACK_DIRECTION, PLAYBACK_DROP_UNSENT, "direction" },
		{ PLAYBACK_DROPPED, PLAYBACK_DROP_OVERFLOW, "overflow" },
		{ PLAYBACK_DROPPED, PLAYBACK_DROP_PARTIAL, "partial" },
		{ PLAYBACK_DROPPED, PLAYBACK_DROP_DIRECTION, "direction" },
		{ PLAYBACK_DROPPED, PLAYBACK_DROP_BRIDGE, "bridge" },
		{ PLAYBACK_DROPPED, PLAYBACK_DROP_UNSENT, "unsent" },
		{ PLAYBACK_DROPPED, PLAYBACK_DROP_LATE, "late" },
	};
	struct playback_mark mark = { .offset = 5, .dropped = 2, .dropped_ns = 250000,
		.stage = PLAYBACK_STAGE_MIXED, };
	struct playback_id id = { .text = "m1", };
	char expected[PLAYBACK_EVENT_MAX];
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		mark.outcome = cases[i].outcome;
		mark.drop_reason = cases[i].drop_reason;
		playback_event_mark(event, sizeof(event), &plain, &id, &mark, 2500);
		snprintf(expected, sizeof(expected), "MARK_DISCARDED id=m1 reason=%s",
			cases[i].reason);
		EXPECT_TEXT(event, expected);
		playback_event_mark(event, sizeof(event), &json, &id, &mark, 2500);
		snprintf(expected, sizeof(expected), "{\"event\":\"MARK_DISCARDED\","
			"\"channel_id\":\"1.2\",\"id\":\"m1\",\"reason\":\"%s\","
			"\"correlation_id\":\"m1\",\"offset\":5,\"dropped\":2,\"dropped_ms\":0.250,"
			"\"stage\":\"mixed\",\"at\":2.500}", cases[i].reason);
		EXPECT_TEXT(event, expected);
	}
	mark.outcome = PLAYBACK_WAITING;
	EXPECT(playback_discard_reason(&mark) == NULL, 1);
	mark.outcome = PLAYBACK_PLAYED;
	EXPECT(playback_discard_reason(&mark) == NULL, 1);
	mark.outcome = PLAYBACK_ORDERED_EVENT;
	EXPECT(playback_discard_reason(&mark) == NULL, 1);
}

static void error(void)
{
	playback_event_error(event, sizeof(event), &plain, "MARK", "no: good");
	EXPECT_TEXT(event, "ERROR channel_id:1.2 command:MARK error_text:no: good");
	playback_event_error(event, sizeof(event), &plain, NULL, "no: good");
	EXPECT_TEXT(event, "ERROR channel_id:1.2 error_text:no: good");
	playback_event_error(event, sizeof(event), &json, "MARK", "no \"id\"");
	EXPECT_TEXT(event, "{\"event\":\"ERROR\",\"channel_id\":\"1.2\","
		"\"error_text\":\"no \\\"id\\\"\",\"command\":\"MARK\"}");
	playback_event_error(event, sizeof(event), &json, NULL, "no \"id\"");
	EXPECT_TEXT(event, "{\"event\":\"ERROR\",\"channel_id\":\"1.2\","
		"\"error_text\":\"no \\\"id\\\"\"}");
}

static void flushed(void)
{
	struct playback_id id = { .text = "f1", };
	struct playback_id last_mark = { .is_integer = 1, .text = "-7", };
	struct playback_flush_result flush = {
		.played = { .bytes = 17600, .ns = 2200000000LL, },
		.flushed = { .bytes = 10400, .ns = 1300000999LL, },
		.since_mark_ns = 700000000LL,
		.far_end = unknown,
	};

	playback_event_flushed(event, sizeof(event), &plain, &id, &flush);
	EXPECT_TEXT(event, "MEDIA_FLUSHED id=f1 played=17600 flushed=10400 played_ms=2200.000"
		" flushed_ms=1300.000");
	playback_event_flushed(event, sizeof(event), &json, &id, &flush);
	EXPECT_TEXT(event, "{\"event\":\"MEDIA_FLUSHED\",\"channel_id\":\"1.2\","
		"\"id\":\"f1\",\"correlation_id\":\"f1\",\"played\":17600,\"flushed\":10400,"
		"\"played_ms\":2200.000,\"flushed_ms\":1300.000}");
	flush.last_mark = &last_mark;
	playback_event_flushed(event, sizeof(event), &plain, &id, &flush);
	EXPECT_TEXT(event, "MEDIA_FLUSHED id=f1 played=17600 flushed=10400 played_ms=2200.000"
		" flushed_ms=1300.000 last_mark=-7 since_mark_ms=700.000");
	playback_event_flushed(event, sizeof(event), &json, &id, &flush);
	EXPECT_TEXT(event, "{\"event\":\"MEDIA_FLUSHED\",\"channel_id\":\"1.2\","
		"\"id\":\"f1\",\"correlation_id\":\"f1\",\"played\":17600,\"flushed\":10400,"
		"\"played_ms\":2200.000,\"flushed_ms\":1300.000,\"last_mark\":-7,"
		"\"since_mark_ms\":700.000}");
	flush.last_mark = NULL;
	flush.far_end = reported;
	playback_event_flushed(event, sizeof(event), &plain, &id, &flush);
	EXPECT_TEXT(event, "MEDIA_FLUSHED id=f1 played=17600 flushed=10400 played_ms=2200.000"
		" flushed_ms=1300.000");
	playback_event_flushed(event, sizeof(event), &json, &id, &flush);
	EXPECT_TEXT(event, "{\"event\":\"MEDIA_FLUSHED\",\"channel_id\":\"1.2\","
		"\"id\":\"f1\",\"correlation_id\":\"f1\",\"played\":17600,\"flushed\":10400,"
		"\"played_ms\":2200.000,\"flushed_ms\":1300.000,\"rtt_ms\":81.234,"
		"\"jitter_ms\":0.125}");
}

static void playback(void)
{
	struct playback_snapshot snapshot = {
		.received = 100,
		.played = { .bytes = 60, .ns = 7500000, },
		.queued = { .bytes = 25, .ns = 3125000, },
		.flushed = 10,
		.dropped = 5,
		.marks = 3,
		.underruns = 2,
		.stage = PLAYBACK_STAGE_SENT,
	};

	playback_event_playback(event, sizeof(event), &plain, &snapshot, &reported, 0, 0, 1500);
	EXPECT_TEXT(event, "PLAYBACK received=100 played=60 queued=25 flushed=10 dropped=5"
		" played_ms=7.500 queued_ms=3.125 marks=3 underruns=2 paused=0"
		" stage=sent at=1.500");
	playback_event_playback(event, sizeof(event), &plain, &snapshot, &unknown, 1, 1, 1500);
	EXPECT_TEXT(event, "PLAYBACK received=100 played=60 queued=25 flushed=10 dropped=5"
		" played_ms=7.500 queued_ms=3.125 marks=3 underruns=2 paused=1"
		" stage=sent at=1.500 final=1");
	playback_event_playback(event, sizeof(event), &json, &snapshot, &unknown, 0, 0, 1500);
	EXPECT_TEXT(event, "{\"event\":\"PLAYBACK\",\"channel_id\":\"1.2\","
		"\"received\":100,\"played\":60,\"queued\":25,\"flushed\":10,\"dropped\":5,"
		"\"played_ms\":7.500,\"queued_ms\":3.125,\"marks\":3,\"underruns\":2,"
		"\"paused\":false,\"stage\":\"sent\",\"at\":1.500}");
	playback_event_playback(event, sizeof(event), &json, &snapshot, &reported, 1, 1, 1500);
	EXPECT_TEXT(event, "{\"event\":\"PLAYBACK\",\"channel_id\":\"1.2\","
		"\"received\":100,\"played\":60,\"queued\":25,\"flushed\":10,\"dropped\":5,"
		"\"played_ms\":7.500,\"queued_ms\":3.125,\"marks\":3,\"underruns\":2,"
		"\"paused\":true,\"stage\":\"sent\",\"at\":1.500,\"rtt_ms\":81.234,"
		"\"jitter_ms\":0.125,\"final\":true}");
	/* Of a far end that has received no report itself */
	playback_event_playback(event, sizeof(event), &json, &snapshot,
		&(struct playback_far_end) { -1, 0, }, 0, 0, 1500);
	EXPECT(strstr(event, "\"at\":1.500,\"jitter_ms\":0.000}") != NULL, 1);
}

static void suspension(void)
{
	static const char *const reasons[] = {
		[PLAYBACK_UNBRIDGED] = "unbridged",
		[PLAYBACK_ALONE] = "alone",
		[PLAYBACK_DIAL] = "dial",
		[PLAYBACK_RINGING] = "ringing",
		[PLAYBACK_UNANSWERED] = "unanswered",
		[PLAYBACK_HOLDING] = "holding",
		[PLAYBACK_HOLD] = "hold",
		[PLAYBACK_AUDIO] = "audio",
		[PLAYBACK_DIGIT] = "digit",
		[PLAYBACK_MUTE] = "mute",
	};
	const struct playback_snapshot snapshot = {
		.received = 100,
		.played = { .bytes = 60, .ns = 7500000, },
		.queued = { .bytes = 25, .ns = 3125000, },
		.flushed = 10,
		.dropped = 5,
		.marks = 3,
		.underruns = 2,
	};
	char expected[PLAYBACK_EVENT_MAX];
	unsigned int i;

	for (i = PLAYBACK_UNBRIDGED; i <= PLAYBACK_MUTE; i++) {
		playback_event_suspension(event, sizeof(event), &plain, i, &snapshot, 0, 1500);
		snprintf(expected, sizeof(expected), "PLAYBACK_SUSPENDED reason=%s", reasons[i]);
		EXPECT_TEXT(event, expected);
		playback_event_suspension(event, sizeof(event), &json, i, &snapshot, 1, 1500);
		snprintf(expected, sizeof(expected), "{\"event\":\"PLAYBACK_SUSPENDED\","
			"\"channel_id\":\"1.2\",\"reason\":\"%s\",\"received\":100,\"played\":60,"
			"\"queued\":25,\"flushed\":10,\"dropped\":5,\"played_ms\":7.500,"
			"\"queued_ms\":3.125,\"marks\":3,\"underruns\":2,\"paused\":true,"
			"\"stage\":\"delivered\",\"at\":1.500}", reasons[i]);
		EXPECT_TEXT(event, expected);
	}
	playback_event_suspension(event, sizeof(event), &plain, PLAYBACK_NOT_SUSPENDED,
		&snapshot, 0, 1500);
	EXPECT_TEXT(event, "PLAYBACK_RESUMED");
	playback_event_suspension(event, sizeof(event), &json, PLAYBACK_NOT_SUSPENDED,
		&snapshot, 0, 1500);
	EXPECT_TEXT(event, "{\"event\":\"PLAYBACK_RESUMED\",\"channel_id\":\"1.2\","
		"\"received\":100,\"played\":60,\"queued\":25,\"flushed\":10,\"dropped\":5,"
		"\"played_ms\":7.500,\"queued_ms\":3.125,\"marks\":3,\"underruns\":2,"
		"\"paused\":false,\"stage\":\"delivered\",\"at\":1.500}");
}

static void dropped(void)
{
	static const char *const reasons[PLAYBACK_DROP_REASONS] = {
		"overflow", "partial", "direction", "bridge", "unsent", "late",
	};
	struct playback_drop drop = { .bytes = 40, .offset = 1ULL << 40, };
	char expected[PLAYBACK_EVENT_MAX];
	int i;

	for (i = 0; i < PLAYBACK_DROP_REASONS; i++) {
		drop.reason = i;
		playback_event_dropped(event, sizeof(event), &plain, &drop);
		snprintf(expected, sizeof(expected),
			"MEDIA_DROPPED bytes=40 reason=%s offset=1099511627776", reasons[i]);
		EXPECT_TEXT(event, expected);
		playback_event_dropped(event, sizeof(event), &json, &drop);
		snprintf(expected, sizeof(expected), "{\"event\":\"MEDIA_DROPPED\","
			"\"channel_id\":\"1.2\",\"bytes\":40,\"reason\":\"%s\","
			"\"offset\":1099511627776}", reasons[i]);
		EXPECT_TEXT(event, expected);
	}
}

static void items_of_the_channel_function(void)
{
	const struct playback_snapshot counts = {
		.received = 100,
		.played = { .bytes = 60, .ns = 7500000, },
		.queued = { .bytes = 25, .ns = 3125000, },
		.flushed = 10,
		.dropped = 5,
		.dropped_by = { [PLAYBACK_DROP_OVERFLOW] = 4, [PLAYBACK_DROP_LATE] = 1, },
		.marks = 3,
		.underruns = 2,
	};

	EXPECT(playback_event_item(event, sizeof(event), "all", &counts, PLAYBACK_HOLD, 1, 1500)
		> 0, 1);
	EXPECT_TEXT(event, "dropped_overflow=4 dropped_partial=0 dropped_direction=0"
		" dropped_bridge=0 dropped_unsent=0 dropped_late=1 suspended=hold received=100"
		" played=60 queued=25 flushed=10 dropped=5 played_ms=7.500 queued_ms=3.125 marks=3"
		" underruns=2 paused=1 stage=delivered at=1.500");
	EXPECT(playback_event_item(event, sizeof(event), "dropped_overflow", &counts,
		PLAYBACK_NOT_SUSPENDED, 0, 1500), 1);
	EXPECT_TEXT(event, "4");
	playback_event_item(event, sizeof(event), "dropped", &counts, PLAYBACK_NOT_SUSPENDED, 0,
		1500);
	EXPECT_TEXT(event, "5");
	playback_event_item(event, sizeof(event), "suspended", &counts, PLAYBACK_NOT_SUSPENDED,
		0, 1500);
	EXPECT_TEXT(event, "no");
	playback_event_item(event, sizeof(event), "at", &counts, PLAYBACK_NOT_SUSPENDED, 0,
		1500);
	EXPECT_TEXT(event, "1.500");
	EXPECT(playback_event_item(event, sizeof(event), "drop", &counts, PLAYBACK_HOLD, 0, 0),
		0);
	EXPECT(playback_event_item(event, sizeof(event), "", &counts, PLAYBACK_HOLD, 0, 0), 0);
	EXPECT(playback_event_item(event, sizeof(event), "4 dropped_partial", &counts,
		PLAYBACK_HOLD, 0, 0), 0);
	EXPECT(playback_event_item(event, 60, "all", &counts, PLAYBACK_HOLD, 0, 0), 0);
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
		.dropped = UINT64_MAX, .dropped_ns = INT64_MAX, .media_ns = INT64_MAX,
		.stage = PLAYBACK_STAGE_DELIVERED, };
	struct playback_id id;
	char channel_id[151];
	const struct playback_event_style style = { .json = 1, .channel_id = channel_id };

	memset(channel_id, 1, sizeof(channel_id) - 1);
	channel_id[sizeof(channel_id) - 1] = '\0';
	memset(id.text, 1, PLAYBACK_ID_MAX);
	id.text[PLAYBACK_ID_MAX] = '\0';
	id.is_integer = 0;
	EXPECT(playback_event_mark(event, sizeof(event), &style, &id, &mark, INT64_MAX) > 0,
		1);
}

int main(void)
{
	RUN(played_mark);
	RUN(discarded_mark);
	RUN(error);
	RUN(flushed);
	RUN(playback);
	RUN(suspension);
	RUN(dropped);
	RUN(items_of_the_channel_function);
	RUN(too_small_a_buffer_gives_nothing_and_is_not_overrun);
	RUN(the_largest_event_fits);
	return failures ? EXIT_FAILURE : EXIT_SUCCESS;
}
