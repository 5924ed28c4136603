/* The ledger alone: bytes in four states, marks due to the sample, the clock. */

#include <stdlib.h>

#include "../playback_ledger.h"
#include "test.h"

#define MS 1000000LL
#define TICK (20 * MS)
/* An arbitrary start, far from 0 and past 32 bits */
#define T0 (5000000000LL * 1000)
/* When the audio of a frame handed over at T0 starts */
#define START (T0 + PLAYBACK_HANDOVER_NS)

static struct playback_ledger ledger;
static struct playback_mark marks[8];

static void begin(void)
{
	playback_ledger_init(&ledger, TICK);
	memset(marks, 0, sizeof(marks));
}

/* A full ulaw frame: 160 bytes, 20 ms */
static void hand_over(int64_t now)
{
	playback_ledger_handed(&ledger, 160, TICK, TICK, now);
}

static void mark(int i, int64_t now)
{
	playback_ledger_mark(&ledger, &marks[i], PLAYBACK_WAITING, now);
}

static void expect_pop(int i, enum playback_outcome outcome, int64_t now)
{
	struct playback_mark *popped = playback_ledger_pop(&ledger, now);

	EXPECT(popped ? popped - marks : -1, i);
	EXPECT(popped ? popped->outcome : PLAYBACK_WAITING, outcome);
}

static void expect_none(int64_t now)
{
	EXPECT(playback_ledger_pop(&ledger, now) == NULL, 1);
}

static void mark_before_any_media_is_due_at_once(void)
{
	begin();
	mark(0, T0);
	EXPECT(playback_ledger_next_due(&ledger), T0);
	expect_pop(0, PLAYBACK_PLAYED, T0);
	EXPECT(marks[0].offset, 0);
	expect_none(PLAYBACK_NEVER);
}

static void mark_on_a_frame_boundary_is_due_when_the_frame_has_played(void)
{
	begin();
	playback_ledger_received(&ledger, 160);
	mark(0, T0);
	EXPECT(playback_ledger_next_due(&ledger), PLAYBACK_NEVER);
	hand_over(T0);
	EXPECT(playback_ledger_next_due(&ledger), START + TICK);
	expect_none(START + TICK - 1);
	expect_pop(0, PLAYBACK_PLAYED, START + TICK);
	EXPECT(marks[0].offset, 160);
	EXPECT(marks[0].media_ns, TICK);
}

static void marks_inside_a_frame_are_due_that_far_into_it(void)
{
	begin();
	playback_ledger_received(&ledger, 40);
	mark(0, T0);
	playback_ledger_received(&ledger, 1);
	mark(1, T0);
	playback_ledger_received(&ledger, 119);
	hand_over(T0);
	expect_none(START + 5 * MS - 1);
	expect_pop(0, PLAYBACK_PLAYED, START + 5 * MS);
	EXPECT(playback_ledger_next_due(&ledger), START + 5125000);
	expect_pop(1, PLAYBACK_PLAYED, START + 5125000);
}

static void time_inside_a_frame_is_rounded_up(void)
{
	begin();
	playback_ledger_received(&ledger, 1);
	mark(0, T0);
	playback_ledger_received(&ledger, 2);
	playback_ledger_handed(&ledger, 3, 10, 10, T0);
	EXPECT(marks[0].due_ns, START + 4);
}

static void marks_at_one_offset_are_answered_in_order(void)
{
	int i;

	begin();
	playback_ledger_received(&ledger, 160);
	for (i = 0; i < 5; i++) {
		mark(i, T0);
	}
	EXPECT(ledger.pending, 5);
	hand_over(T0);
	for (i = 0; i < 5; i++) {
		expect_pop(i, PLAYBACK_PLAYED, START + TICK);
	}
	EXPECT(ledger.pending, 0);
}

static void mark_after_the_last_frame_waits_for_the_frame_in_play(void)
{
	begin();
	playback_ledger_received(&ledger, 160);
	hand_over(T0);
	mark(0, T0 + 3 * MS);
	EXPECT(playback_ledger_next_due(&ledger), START + TICK);
	mark(1, T0 + 50 * MS);
	EXPECT(marks[1].due_ns, T0 + 50 * MS);
	expect_pop(0, PLAYBACK_PLAYED, START + TICK);
	expect_none(START + TICK);
	expect_pop(1, PLAYBACK_PLAYED, T0 + 50 * MS);
}

static void partial_frame_is_wanted_only_by_a_mark_inside_it(void)
{
	begin();
	playback_ledger_received(&ledger, 210);
	EXPECT(playback_ledger_wants_partial(&ledger, 50), 0);
	mark(0, T0);
	EXPECT(playback_ledger_wants_partial(&ledger, 50), 1);
	EXPECT(playback_ledger_wants_partial(&ledger, 0), 0);
	hand_over(T0);
	expect_none(PLAYBACK_NEVER - 1);
	EXPECT(playback_ledger_wants_partial(&ledger, 50), 1);
	/* 50 bytes, padded to a full frame */
	playback_ledger_handed(&ledger, 50, 6250000, TICK, T0 + TICK);
	EXPECT(playback_ledger_wants_partial(&ledger, 0), 0);
	expect_pop(0, PLAYBACK_PLAYED, START + TICK + 6250000);
	/* The pad takes its time on the clock */
	EXPECT(ledger.frame_end_ns, START + 2 * TICK);
}

static void mark_at_the_queue_end_does_not_want_the_partial_frame(void)
{
	begin();
	playback_ledger_received(&ledger, 160);
	mark(0, T0);
	playback_ledger_received(&ledger, 50);
	EXPECT(playback_ledger_wants_partial(&ledger, 50), 0);
}

static void dropped_bytes_are_not_waited_for(void)
{
	begin();
	playback_ledger_received(&ledger, 200);
	playback_ledger_dropped(&ledger, 40);
	mark(0, T0);
	mark(1, T0);
	EXPECT(marks[0].offset, 200);
	EXPECT(marks[0].dropped, 40);
	EXPECT(marks[1].dropped, 0);
	EXPECT(playback_ledger_queued(&ledger), 160);
	hand_over(T0);
	EXPECT(playback_ledger_queued(&ledger), 0);
	expect_pop(0, PLAYBACK_PLAYED, START + TICK);
	expect_pop(1, PLAYBACK_PLAYED, START + TICK);
}

static void flush_settles_what_was_not_handed_over(void)
{
	begin();
	playback_ledger_received(&ledger, 160);
	mark(0, T0);
	hand_over(T0);
	playback_ledger_received(&ledger, 400);
	mark(1, T0);
	EXPECT(playback_ledger_flush(&ledger, PLAYBACK_FLUSHED, T0 + MS), 400);
	/* A fence after the flush waits for what is in play */
	mark(2, T0 + MS);
	EXPECT(ledger.flushed, 400);
	EXPECT(playback_ledger_queued(&ledger), 0);
	expect_none(T0 + MS);
	expect_pop(0, PLAYBACK_PLAYED, START + TICK);
	expect_pop(1, PLAYBACK_FLUSHED, START + TICK);
	EXPECT(marks[1].due_ns, T0 + MS);
	expect_pop(2, PLAYBACK_PLAYED, START + TICK);
	EXPECT(marks[2].offset, 560);
}

static void media_after_a_flush_is_counted_on(void)
{
	begin();
	playback_ledger_received(&ledger, 1000);
	playback_ledger_flush(&ledger, PLAYBACK_FLUSHED, T0);
	playback_ledger_received(&ledger, 160);
	mark(0, T0);
	hand_over(T0);
	expect_pop(0, PLAYBACK_PLAYED, START + TICK);
	EXPECT(marks[0].offset, 1160);
	EXPECT(marks[0].media_ns, TICK);
	EXPECT(playback_ledger_played(&ledger, PLAYBACK_NEVER), 160);
}

static void hangup_settles_the_frame_in_play_too(void)
{
	begin();
	playback_ledger_received(&ledger, 160);
	mark(0, T0);
	hand_over(T0);
	playback_ledger_flush(&ledger, PLAYBACK_HUNGUP, T0 + MS);
	expect_pop(0, PLAYBACK_HUNGUP, T0 + MS);
	expect_none(PLAYBACK_NEVER);
}

static void settled_mark_waits_for_its_turn(void)
{
	begin();
	playback_ledger_received(&ledger, 160);
	mark(0, T0);
	playback_ledger_mark(&ledger, &marks[1], PLAYBACK_DIRECTION, T0);
	mark(2, T0);
	expect_none(T0);
	hand_over(T0);
	expect_pop(0, PLAYBACK_PLAYED, START + TICK);
	expect_pop(1, PLAYBACK_DIRECTION, START + TICK);
	expect_pop(2, PLAYBACK_PLAYED, START + TICK);
}

static void note_comes_before_the_rest_of_its_frame(void)
{
	begin();
	playback_ledger_received(&ledger, 40);
	playback_ledger_note_queued(&ledger);
	EXPECT(playback_ledger_wants_partial(&ledger, 40), 1);
	playback_ledger_received(&ledger, 120);
	playback_ledger_note(&ledger, &marks[0], 40, T0);
	hand_over(T0);
	playback_ledger_note(&ledger, &marks[1], 0, T0 + TICK);
	EXPECT(marks[0].due_ns, START + 5 * MS);
	EXPECT(marks[1].due_ns, START + TICK);
	expect_pop(0, PLAYBACK_PLAYED, START + 5 * MS);
	expect_pop(1, PLAYBACK_PLAYED, START + TICK);
}

static void note_does_not_wait_for_a_mark_behind_it(void)
{
	begin();
	playback_ledger_received(&ledger, 160);
	playback_ledger_received(&ledger, 160);
	mark(0, T0);
	hand_over(T0);
	playback_ledger_note(&ledger, &marks[1], 0, T0 + TICK);
	hand_over(T0 + TICK);
	expect_pop(1, PLAYBACK_PLAYED, START + TICK);
	expect_none(START + TICK);
	expect_pop(0, PLAYBACK_PLAYED, START + 2 * TICK);
}

static void one_late_tick_moves_the_clock_by_a_quarter(void)
{
	begin();
	playback_ledger_received(&ledger, 160 * 3);
	hand_over(T0);
	hand_over(T0 + TICK + 4 * MS);
	EXPECT(ledger.frame_start_ns, START + TICK + MS);
	/* The next one on time pulls it back */
	hand_over(T0 + 2 * TICK);
	EXPECT(ledger.frame_start_ns, START + 2 * TICK);
}

static void missed_tick_starts_the_clock_anew(void)
{
	begin();
	playback_ledger_received(&ledger, 160 * 2);
	hand_over(T0);
	hand_over(T0 + 2 * TICK + MS);
	EXPECT(ledger.frame_start_ns, START + 2 * TICK + MS);
}

static void long_frames_each_tick_pile_up(void)
{
	begin();
	playback_ledger_received(&ledger, 90);
	mark(0, T0);
	playback_ledger_handed(&ledger, 30, 3 * TICK, 3 * TICK, T0);
	playback_ledger_handed(&ledger, 30, 3 * TICK, 3 * TICK, T0 + TICK);
	playback_ledger_handed(&ledger, 30, 3 * TICK, 3 * TICK, T0 + 2 * TICK);
	EXPECT(marks[0].due_ns, START + 9 * TICK);
}

static void played_follows_the_clock_and_never_goes_back(void)
{
	int64_t at;
	uint64_t last = 0;
	uint64_t now;

	begin();
	EXPECT(playback_ledger_played(&ledger, T0), 0);
	playback_ledger_received(&ledger, 320);
	hand_over(T0);
	EXPECT(playback_ledger_played(&ledger, T0), 0);
	EXPECT(playback_ledger_played(&ledger, START + 5 * MS), 40);
	EXPECT(playback_ledger_played(&ledger, START + 25 * MS), 160);
	hand_over(T0 + TICK + 2 * MS);
	for (at = T0 + TICK; at < T0 + 3 * TICK; at += 100000) {
		now = playback_ledger_played(&ledger, at);
		EXPECT(now >= last && now >= 160, 1);
		last = now;
	}
	EXPECT(last, 320);
}

static void counters_pass_32_bits(void)
{
	const uint64_t big = 3ULL << 32;

	begin();
	playback_ledger_received(&ledger, big);
	playback_ledger_flush(&ledger, PLAYBACK_FLUSHED, T0);
	playback_ledger_received(&ledger, 160);
	mark(0, T0);
	EXPECT(marks[0].offset == big + 160, 1);
	hand_over(T0);
	expect_pop(0, PLAYBACK_PLAYED, START + TICK);
	EXPECT(ledger.received == ledger.handed + ledger.flushed, 1);
}

int main(void)
{
	RUN(mark_before_any_media_is_due_at_once);
	RUN(mark_on_a_frame_boundary_is_due_when_the_frame_has_played);
	RUN(marks_inside_a_frame_are_due_that_far_into_it);
	RUN(time_inside_a_frame_is_rounded_up);
	RUN(marks_at_one_offset_are_answered_in_order);
	RUN(mark_after_the_last_frame_waits_for_the_frame_in_play);
	RUN(partial_frame_is_wanted_only_by_a_mark_inside_it);
	RUN(mark_at_the_queue_end_does_not_want_the_partial_frame);
	RUN(dropped_bytes_are_not_waited_for);
	RUN(flush_settles_what_was_not_handed_over);
	RUN(media_after_a_flush_is_counted_on);
	RUN(hangup_settles_the_frame_in_play_too);
	RUN(settled_mark_waits_for_its_turn);
	RUN(note_comes_before_the_rest_of_its_frame);
	RUN(note_does_not_wait_for_a_mark_behind_it);
	RUN(one_late_tick_moves_the_clock_by_a_quarter);
	RUN(missed_tick_starts_the_clock_anew);
	RUN(long_frames_each_tick_pile_up);
	RUN(played_follows_the_clock_and_never_goes_back);
	RUN(counters_pass_32_bits);
	return failures ? EXIT_FAILURE : EXIT_SUCCESS;
}
