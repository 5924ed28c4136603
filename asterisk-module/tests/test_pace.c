/* The pace: ticks that were missed, what is caught up of them, and how late the rest is. */

#include <stdlib.h>

#include "../playback_pace.h"
#include "test.h"

#define MS 1000000LL
#define TICK (20 * MS)
#define T0 (5000000000LL * 1000)
/* What RTP of 8 kHz makes up for */
#define SKEW (80 * MS)

static struct playback_pace pace;

static void begin(void)
{
	playback_pace_init(&pace, TICK);
	EXPECT(playback_pace_tick(&pace, T0), 0);
	pace.delivered_ns = T0;
}

/* A tick at which so much is queued; how many frames are caught up */
static unsigned int tick(int64_t now, int64_t queued)
{
	unsigned int missed = playback_pace_tick(&pace, now);

	if (missed) {
		playback_pace_missed(&pace, missed, queued, SKEW, now);
	}
	pace.delivered_ns = now;
	return pace.catch_up;
}

static void late_tick_misses_none(void)
{
	begin();
	EXPECT(playback_pace_tick(&pace, T0 + TICK + 19 * MS), 0);
	EXPECT(pace.tick_late_ns, 19 * MS);
	EXPECT(playback_pace_tick(&pace, T0 + 2 * TICK), 0);
	EXPECT(pace.tick_late_ns, 0);
	EXPECT(playback_pace_tick(&pace, T0 + 3 * TICK), 0);
}

static void first_tick_may_be_served_late(void)
{
	playback_pace_init(&pace, TICK);
	EXPECT(playback_pace_tick(&pace, T0 + 15 * MS), 0);
	EXPECT(pace.tick_late_ns, 0);
	/* The timer has ticked at T0 */
	EXPECT(playback_pace_tick(&pace, T0 + TICK), 0);
	EXPECT(playback_pace_tick(&pace, T0 + 2 * TICK + 19 * MS), 0);
	EXPECT(playback_pace_tick(&pace, T0 + 4 * TICK), 1);
}

static void missed_ticks_are_counted_once(void)
{
	begin();
	EXPECT(playback_pace_tick(&pace, T0 + 3 * TICK + 5 * MS), 2);
	EXPECT(pace.tick_late_ns, 5 * MS);
	EXPECT(playback_pace_tick(&pace, T0 + 4 * TICK), 0);
	EXPECT(playback_pace_tick(&pace, T0 + 5 * TICK), 0);
}

static void timer_that_begins_anew_has_missed_none(void)
{
	begin();
	playback_pace_restart(&pace);
	EXPECT(playback_pace_tick(&pace, T0 + 100 * TICK + 3 * MS), 0);
	EXPECT(playback_pace_tick(&pace, T0 + 101 * TICK + 3 * MS), 0);
}

static void short_stall_is_caught_up(void)
{
	begin();
	EXPECT(tick(T0 + TICK, 60 * MS), 0);
	EXPECT(tick(T0 + 3 * TICK + 5 * MS, 60 * MS), 1);
	EXPECT(pace.late_ns, 0);
	EXPECT(tick(T0 + 4 * TICK, 60 * MS), 0);
	EXPECT(tick(T0 + 8 * TICK, 100 * MS), 3);
	EXPECT(pace.late_ns, 0);
}

static void what_a_listener_would_wait_for_is_late(void)
{
	begin();
	/* 90 ms behind the one before it, a packet may get another timestamp */
	EXPECT(tick(T0 + 4 * TICK + 10 * MS, 5 * TICK), 0);
	EXPECT(pace.late_ns, 3 * TICK);
	EXPECT(tick(T0 + 104 * TICK, 103 * TICK), 0);
	EXPECT(pace.late_ns, 102 * TICK);
}

static void nothing_is_caught_up_where_nothing_is_known_of_packets(void)
{
	begin();
	EXPECT(playback_pace_tick(&pace, T0 + 2 * TICK), 1);
	playback_pace_missed(&pace, 1, 3 * TICK, 0, T0 + 2 * TICK);
	EXPECT(pace.catch_up, 0);
	EXPECT(pace.late_ns, TICK);
	/* At 32 kHz a frame right behind another one has a wrong timestamp */
	EXPECT(playback_pace_tick(&pace, T0 + 4 * TICK), 1);
	playback_pace_missed(&pace, 1, 3 * TICK, 20 * MS, T0 + 4 * TICK);
	EXPECT(pace.catch_up, 0);
	EXPECT(pace.late_ns, 2 * TICK);
}

static void media_is_no_later_than_what_waits(void)
{
	begin();
	tick(T0 + 50 * TICK, 2 * TICK);
	EXPECT(pace.late_ns, 2 * TICK);
	/* One that has sent minutes ahead is not late */
	begin();
	tick(T0 + 50 * TICK, 3000 * TICK);
	EXPECT(pace.late_ns, 0);
}

static void silence_is_left_out_while_media_is_late(void)
{
	begin();
	EXPECT(playback_pace_may_skip(&pace, TICK, TICK), 0);
	tick(T0 + 6 * TICK, 5 * TICK);
	EXPECT(pace.late_ns, 5 * TICK);
	EXPECT(playback_pace_may_skip(&pace, TICK, 7 * TICK), 1);
	EXPECT(playback_pace_may_skip(&pace, 5 * TICK, 7 * TICK), 1);
	EXPECT(playback_pace_may_skip(&pace, 6 * TICK, 7 * TICK), 0);
	/* It has begun to send ahead */
	EXPECT(playback_pace_may_skip(&pace, TICK, 100 * TICK), 0);
}

int main(void)
{
	RUN(late_tick_misses_none);
	RUN(first_tick_may_be_served_late);
	RUN(missed_ticks_are_counted_once);
	RUN(timer_that_begins_anew_has_missed_none);
	RUN(short_stall_is_caught_up);
	RUN(what_a_listener_would_wait_for_is_late);
	RUN(nothing_is_caught_up_where_nothing_is_known_of_packets);
	RUN(media_is_no_later_than_what_waits);
	RUN(silence_is_left_out_while_media_is_late);
	return failures ? EXIT_FAILURE : EXIT_SUCCESS;
}
