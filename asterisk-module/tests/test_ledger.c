/* The ledger alone: bytes in their states, marks due to the sample, the clock. */

#include <stdlib.h>

/* Its struct is opaque elsewhere */
#include "../playback_ledger.c"
#include "test.h"

#define MS 1000000LL
#define TICK (20 * MS)
/* An arbitrary start, far from 0 and past 32 bits */
#define T0 (5000000000LL * 1000)
/* When the audio of a frame delivered at T0 starts */
#define START (T0 + PLAYBACK_SEND_DELAY_NS)

/* And of one that a mixer wrote */
#define MIXED_START (T0 + PLAYBACK_MIXED_SEND_DELAY_NS)

static struct playback_ledger ledger;
static struct playback_mark marks[8];
/* When media is received or dropped, which matters to marks by position alone */
static int64_t now;

static void begin(void)
{
	playback_ledger_init(&ledger, TICK, 1);
	now = T0;
	memset(marks, 0, sizeof(marks));
}

/* Media of ulaw: 8 bytes a millisecond */
static struct playback_media ulaw(uint64_t bytes)
{
	struct playback_media media = { .bytes = bytes, .ns = (int64_t) bytes * 125000, };

	return media;
}

static void receive(uint64_t bytes)
{
	playback_ledger_received(&ledger, ulaw(bytes), now);
}

/* The newest bytes are dropped */
static void drop_newest(uint64_t bytes)
{
	playback_ledger_dropped(&ledger, ulaw(bytes), 0, PLAYBACK_DROP_PARTIAL, now);
}

/* A full frame: 160 bytes, 20 ms */
static void deliver(int64_t now)
{
	playback_ledger_delivered(&ledger, ulaw(160), TICK, now);
}

static uint64_t flush(int64_t now)
{
	return playback_ledger_flush(&ledger, now).bytes;
}

static uint64_t hangup(int64_t now)
{
	return playback_ledger_hangup(&ledger, now).bytes;
}

static uint64_t played_bytes(int64_t now)
{
	return playback_ledger_snapshot(&ledger, now).played.bytes;
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
	receive(160);
	mark(0, T0);
	EXPECT(playback_ledger_next_due(&ledger), PLAYBACK_NEVER);
	deliver(T0);
	EXPECT(playback_ledger_next_due(&ledger), START + TICK);
	expect_none(START + TICK - 1);
	expect_pop(0, PLAYBACK_PLAYED, START + TICK);
	EXPECT(marks[0].offset, 160);
	EXPECT(marks[0].media_ns, TICK);
}

static void marks_inside_a_frame_are_due_that_far_into_it(void)
{
	begin();
	receive(40);
	mark(0, T0);
	receive(1);
	mark(1, T0);
	receive(119);
	deliver(T0);
	expect_none(START + 5 * MS - 1);
	expect_pop(0, PLAYBACK_PLAYED, START + 5 * MS);
	EXPECT(playback_ledger_next_due(&ledger), START + 5125000);
	expect_pop(1, PLAYBACK_PLAYED, START + 5125000);
}

static void time_inside_a_frame_is_rounded_up(void)
{
	begin();
	receive(1);
	mark(0, T0);
	receive(2);
	playback_ledger_delivered(&ledger, (struct playback_media) { 3, 10 }, 10, T0);
	EXPECT(marks[0].due_ns, START + 4);
}

static void marks_at_one_offset_are_due_in_order(void)
{
	int i;

	begin();
	receive(160);
	for (i = 0; i < 5; i++) {
		mark(i, T0);
	}
	EXPECT(ledger.marks.count, 5);
	deliver(T0);
	for (i = 0; i < 5; i++) {
		expect_pop(i, PLAYBACK_PLAYED, START + TICK);
	}
	EXPECT(ledger.marks.count, 0);
}

static void mark_after_the_last_frame_waits_for_the_frame_in_play(void)
{
	begin();
	receive(160);
	deliver(T0);
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
	receive(210);
	EXPECT(playback_ledger_wants_partial(&ledger, 50), 0);
	mark(0, T0);
	EXPECT(playback_ledger_wants_partial(&ledger, 50), 1);
	EXPECT(playback_ledger_wants_partial(&ledger, 0), 0);
	deliver(T0);
	expect_none(PLAYBACK_NEVER - 1);
	EXPECT(playback_ledger_wants_partial(&ledger, 50), 1);
	/* 50 bytes, padded to a full frame */
	playback_ledger_delivered(&ledger, ulaw(50), TICK, T0 + TICK);
	EXPECT(playback_ledger_wants_partial(&ledger, 0), 0);
	expect_pop(0, PLAYBACK_PLAYED, START + TICK + 6250000);
	/* The pad takes its time on the clock */
	EXPECT(ledger.playing_end_ns, START + 2 * TICK);
}

static void mark_at_the_queue_end_does_not_want_the_partial_frame(void)
{
	begin();
	receive(160);
	mark(0, T0);
	receive(50);
	EXPECT(playback_ledger_wants_partial(&ledger, 50), 0);
}

static void dropped_bytes_are_not_waited_for(void)
{
	begin();
	receive(200);
	drop_newest(40);
	mark(0, T0);
	mark(1, T0);
	EXPECT(marks[0].offset, 200);
	EXPECT(playback_ledger_queued(&ledger).bytes, 160);
	deliver(T0);
	EXPECT(playback_ledger_queued(&ledger).bytes, 0);
	expect_pop(0, PLAYBACK_PLAYED, START + TICK);
	expect_pop(1, PLAYBACK_PLAYED, START + TICK);
	EXPECT(marks[0].dropped, 40);
	EXPECT(marks[1].dropped, 0);
}

static void flush_settles_what_was_not_delivered(void)
{
	begin();
	receive(160);
	mark(0, T0);
	deliver(T0);
	receive(400);
	mark(1, T0);
	EXPECT(flush(T0 + MS), 400);
	/* A fence after the flush waits for what is in play */
	mark(2, T0 + MS);
	EXPECT(ledger.flushed.bytes, 400);
	EXPECT(playback_ledger_queued(&ledger).bytes, 0);
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
	receive(1000);
	flush(T0);
	receive(160);
	mark(0, T0);
	deliver(T0);
	expect_pop(0, PLAYBACK_PLAYED, START + TICK);
	EXPECT(marks[0].offset, 1160);
	EXPECT(marks[0].media_ns, TICK);
	EXPECT(played_bytes(PLAYBACK_NEVER), 160);
}

static void hangup_settles_the_frame_in_play_too(void)
{
	begin();
	receive(160);
	mark(0, T0);
	deliver(T0);
	hangup(T0 + MS);
	expect_pop(0, PLAYBACK_HUNGUP, T0 + MS);
	expect_none(PLAYBACK_NEVER);
}

static void settled_mark_waits_for_those_before_it(void)
{
	begin();
	receive(160);
	mark(0, T0);
	playback_ledger_mark(&ledger, &marks[1], PLAYBACK_DIRECTION, T0);
	mark(2, T0);
	expect_none(T0);
	deliver(T0);
	expect_pop(0, PLAYBACK_PLAYED, START + TICK);
	expect_pop(1, PLAYBACK_DIRECTION, START + TICK);
	expect_pop(2, PLAYBACK_PLAYED, START + TICK);
}

static void ordered_event_waits_for_the_marks_before_it_and_counts_no_drops(void)
{
	begin();
	receive(170);
	drop_newest(10);
	playback_ledger_mark(&ledger, &marks[0], PLAYBACK_ORDERED_EVENT, T0);
	mark(1, T0);
	EXPECT(marks[0].dropped, 0);
	EXPECT(marks[1].dropped, 10);
	EXPECT(ledger.marks.count, 2);
	EXPECT(playback_ledger_marks(&ledger), 1);
	EXPECT(playback_ledger_snapshot(&ledger, T0).marks, 1);
	expect_pop(0, PLAYBACK_ORDERED_EVENT, T0);
	EXPECT(playback_ledger_marks(&ledger), 1);
	deliver(T0);
	expect_pop(1, PLAYBACK_PLAYED, START + TICK);
	EXPECT(playback_ledger_marks(&ledger), 0);
}

static void half_a_sample_is_not_waited_for(void)
{
	begin();
	receive(161);
	playback_ledger_half_sample(&ledger, ulaw(1));
	mark(0, T0);
	EXPECT(marks[0].offset, 161);
	EXPECT(marks[0].media_ns, TICK);
	deliver(T0);
	/* The byte that is left is neither wanted nor missed */
	EXPECT(playback_ledger_wants_partial(&ledger, 0), 0);
	playback_ledger_starved(&ledger);
	EXPECT(ledger.underruns, 0);
	expect_pop(0, PLAYBACK_PLAYED, START + TICK);
	/* Its other half comes, and more */
	receive(159);
	playback_ledger_half_sample(&ledger, ulaw(0));
	mark(1, T0 + TICK);
	deliver(T0 + TICK);
	expect_pop(1, PLAYBACK_PLAYED, START + 2 * TICK);
	EXPECT(marks[1].offset, 320);
}

static void queued_event_comes_before_the_rest_of_its_frame(void)
{
	begin();
	receive(40);
	playback_ledger_event_queued(&ledger);
	EXPECT(playback_ledger_wants_partial(&ledger, 40), 1);
	receive(120);
	playback_ledger_event_dequeued(&ledger, &marks[0], 40, T0);
	deliver(T0);
	playback_ledger_event_dequeued(&ledger, &marks[1], 0, T0 + TICK);
	EXPECT(marks[0].due_ns, START + 5 * MS);
	EXPECT(marks[1].due_ns, START + TICK);
	expect_pop(0, PLAYBACK_PLAYED, START + 5 * MS);
	expect_pop(1, PLAYBACK_PLAYED, START + TICK);
}

static void queued_event_does_not_wait_for_a_mark_behind_it(void)
{
	begin();
	receive(160);
	receive(160);
	mark(0, T0);
	deliver(T0);
	playback_ledger_event_dequeued(&ledger, &marks[1], 0, T0 + TICK);
	deliver(T0 + TICK);
	expect_pop(1, PLAYBACK_PLAYED, START + TICK);
	expect_none(START + TICK);
	expect_pop(0, PLAYBACK_PLAYED, START + 2 * TICK);
}

static void short_frame_is_not_followed_at_once(void)
{
	begin();
	receive(160 + 120 + 8);
	mark(0, T0);
	deliver(T0);
	playback_ledger_delivered(&ledger, ulaw(120), ulaw(120).ns, T0 + TICK);
	/* Its packet leaves 5 ms after the one before it has ended */
	playback_ledger_delivered(&ledger, ulaw(8), ulaw(8).ns, T0 + 2 * TICK);
	EXPECT(marks[0].due_ns, START + 2 * TICK + MS);
}

static void one_late_tick_does_not_move_the_clock(void)
{
	begin();
	receive(160 * 3);
	deliver(T0);
	deliver(T0 + TICK + 4 * MS);
	EXPECT(ledger.playing_start_ns, START + TICK);
	/* One that comes sooner pulls it forward */
	deliver(T0 + 2 * TICK - MS);
	EXPECT(ledger.playing_start_ns, START + 2 * TICK - MS);
}

static void ticks_that_stay_late_move_the_clock(void)
{
	int i;

	begin();
	receive(160 * 6);
	deliver(T0);
	for (i = 1; i < PLAYBACK_CLOCK_FRAMES; i++) {
		deliver(T0 + i * TICK + 4 * MS);
		EXPECT(ledger.playing_start_ns, START + i * TICK);
	}
	deliver(T0 + i * TICK + 4 * MS);
	EXPECT(ledger.playing_start_ns, START + i * TICK + 4 * MS);
}

static void missed_tick_starts_the_clock_anew(void)
{
	begin();
	receive(160 * 2);
	deliver(T0);
	deliver(T0 + 2 * TICK - MS);
	EXPECT(ledger.playing_start_ns, START + 2 * TICK - MS);
}

static void long_frames_each_tick_pile_up(void)
{
	const struct playback_media long_frame = { .bytes = 30, .ns = 3 * TICK, };

	begin();
	receive(90);
	mark(0, T0);
	playback_ledger_delivered(&ledger, long_frame, 3 * TICK, T0);
	playback_ledger_delivered(&ledger, long_frame, 3 * TICK, T0 + TICK);
	playback_ledger_delivered(&ledger, long_frame, 3 * TICK, T0 + 2 * TICK);
	EXPECT(marks[0].due_ns, START + 9 * TICK);
}

static void played_follows_the_clock_and_never_goes_back(void)
{
	int64_t at;
	uint64_t last = 0;
	uint64_t now;

	begin();
	EXPECT(played_bytes(T0), 0);
	receive(320);
	deliver(T0);
	EXPECT(played_bytes(T0), 0);
	EXPECT(played_bytes(START + 5 * MS), 40);
	EXPECT(played_bytes(START + 25 * MS), 160);
	deliver(T0 + TICK + 2 * MS);
	for (at = T0 + TICK; at < T0 + 3 * TICK; at += 100000) {
		now = played_bytes(at);
		EXPECT(now >= last && now >= 160, 1);
		last = now;
	}
	EXPECT(last, 320);
}

static void counters_pass_32_bits(void)
{
	const uint64_t big = 3ULL << 32;

	begin();
	receive(big);
	flush(T0);
	receive(160);
	mark(0, T0);
	EXPECT(marks[0].offset == big + 160, 1);
	deliver(T0);
	expect_pop(0, PLAYBACK_PLAYED, START + TICK);
	EXPECT(ledger.received.bytes == ledger.sent.bytes + ledger.flushed.bytes, 1);
}

/* A mixer with an interval of 20 ms writes to the channel */
static void mix(int64_t now)
{
	playback_ledger_mixed(&ledger, TICK, now);
}

/* What is seen in the mixer */
static void holds(int64_t held_ns)
{
	playback_ledger_mixer_holds(&ledger, held_ns, T0 + 10 * TICK);
}

static void mixer_holds_a_frame_until_its_next_mixing_interval(void)
{
	begin();
	playback_ledger_mixing(&ledger, 1, T0);
	receive(160);
	mark(0, T0);
	deliver(T0);
	EXPECT(ledger.held.bytes, 160);
	EXPECT(playback_ledger_next_due(&ledger), PLAYBACK_NEVER);
	EXPECT(playback_ledger_snapshot(&ledger, T0 + MS).queued.bytes, 160);
	mix(T0 + 7 * MS);
	EXPECT(ledger.held.bytes, 0);
	expect_pop(0, PLAYBACK_PLAYED, MIXED_START + 7 * MS + TICK);
	EXPECT(marks[0].due_ns, MIXED_START + 7 * MS + TICK);
}

static void frame_just_before_mixing_is_taken_to_miss_it(void)
{
	begin();
	playback_ledger_mixing(&ledger, 1, T0);
	receive(160);
	mark(0, T0);
	deliver(T0);
	mix(T0 + PLAYBACK_MIXER_GUARD_NS - 1);
	EXPECT(playback_ledger_next_due(&ledger), PLAYBACK_NEVER);
	mix(T0 + PLAYBACK_MIXER_GUARD_NS - 1 + TICK);
	EXPECT(marks[0].due_ns, MIXED_START + PLAYBACK_MIXER_GUARD_NS - 1 + 2 * TICK);
}

static void late_mixing_does_not_take_a_frame_that_came_after_its_time(void)
{
	begin();
	playback_ledger_mixing(&ledger, 1, T0);
	mix(T0);
	mix(T0 + TICK);
	receive(160);
	mark(0, T0);
	deliver(T0 + 2 * TICK + MS);
	/* It mixed before that frame came, but the result arrives late */
	mix(T0 + 2 * TICK + 5 * MS);
	EXPECT(playback_ledger_next_due(&ledger), PLAYBACK_NEVER);
	mix(T0 + 3 * TICK);
	EXPECT(playback_ledger_next_due(&ledger) < PLAYBACK_NEVER, 1);
}

static void mark_is_not_due_before_what_is_late_has_left(void)
{
	int64_t late = T0 + TICK + 5 * MS;

	/* The clock does not follow one late interval, but its packet has to leave first */
	begin();
	playback_ledger_mixing(&ledger, 1, T0 - TICK);
	receive(320);
	playback_ledger_mark_at(&ledger, &marks[0], 161, PLAYBACK_WAITING, T0);
	playback_ledger_mark_at(&ledger, &marks[1], 320, PLAYBACK_WAITING, T0);
	deliver(T0 - MS);
	mix(T0);
	deliver(T0 + TICK - MS);
	mix(late);
	EXPECT(marks[0].due_ns, late + PLAYBACK_MIXED_SEND_DELAY_NS);
	EXPECT(marks[1].due_ns, MIXED_START + 2 * TICK);
	/* Where nothing is seen but the delivery */
	begin();
	receive(320);
	playback_ledger_mark_at(&ledger, &marks[0], 161, PLAYBACK_WAITING, T0);
	deliver(T0);
	deliver(late);
	EXPECT(marks[0].due_ns, late + PLAYBACK_SEND_DELAY_NS);
}

static void what_the_mixer_did_not_write_is_ignored(void)
{
	begin();
	playback_ledger_mixing(&ledger, 1, T0);
	mix(T0);
	receive(160);
	deliver(T0 + 4 * MS);
	mix(T0 + 5 * MS);
	EXPECT(ledger.held.bytes, 160);
}

static void what_the_mixer_really_holds_counts(void)
{
	begin();
	playback_ledger_mixing(&ledger, 1, T0);
	receive(320);
	mark(0, T0);
	deliver(T0);
	/* Too close to tell, but the mixer no longer has it */
	mix(T0 + PLAYBACK_MIXER_GUARD_NS - 1);
	holds(0);
	EXPECT(ledger.held.bytes, 0);
	deliver(T0 + TICK);
	EXPECT(ledger.held.bytes, 160);
	/* Or has more than we know of, which goes first */
	holds(2 * TICK);
	EXPECT(ledger.held.bytes, 160);
	mix(T0 + TICK + 5 * MS);
	EXPECT(ledger.held.bytes, 160);
	mix(T0 + 2 * TICK + 5 * MS);
	EXPECT(ledger.held.bytes, 0);
	EXPECT(marks[0].due_ns, MIXED_START + PLAYBACK_MIXER_GUARD_NS - 1 + 3 * TICK);
	/* A few samples are no difference */
	holds(MS);
	EXPECT(ledger.held_count, 0);
}

static void what_was_seen_in_the_mixer_had_not_been_mixed_before(void)
{
	begin();
	playback_ledger_mixing(&ledger, 1, T0);
	mix(T0);
	receive(160);
	mark(0, T0);
	deliver(T0 + TICK - MS / 10);
	/* Too close to tell, and the mixer still has it */
	mix(T0 + TICK);
	holds(TICK);
	/* It has not any longer: it has mixed, and the result is to come */
	holds(0);
	EXPECT(ledger.held.bytes, 160);
	mix(T0 + 2 * TICK);
	EXPECT(marks[0].due_ns, MIXED_START + 3 * TICK);
}

static void what_was_mixed_plays_when_the_result_arrives(void)
{
	begin();
	playback_ledger_mixing(&ledger, 1, T0);
	mix(T0);
	receive(160);
	mark(0, T0);
	deliver(T0 + TICK - MS / 10);
	/* It is taken to have mixed sooner, so that frame to have missed it */
	mix(T0 + TICK + 4 * MS);
	EXPECT(ledger.held.bytes, 160);
	holds(0);
	EXPECT(ledger.held.bytes, 0);
	EXPECT(marks[0].due_ns, MIXED_START + 2 * TICK + 4 * MS);
}

static void silence_left_in_the_mixer_is_not_waited_for(void)
{
	begin();
	playback_ledger_mixing(&ledger, 1, T0);
	receive(80 + 1);
	/* 10 ms, then 1 byte padded to 20 ms: 10 ms of the silence stay */
	playback_ledger_delivered(&ledger, ulaw(80), TICK / 2, T0);
	playback_ledger_delivered(&ledger, ulaw(1), TICK, T0);
	receive(500);
	flush(T0);
	mark(0, T0);
	mix(T0 + MS);
	EXPECT(ledger.held_count, 1);
	EXPECT(ledger.held.bytes, 0);
	EXPECT(marks[0].due_ns, MIXED_START + MS + TICK / 2 + 125000);
	mark(1, T0 + 2 * MS);
	EXPECT(marks[1].due_ns, MIXED_START + MS + TICK / 2 + 125000);
}

static void short_mixing_interval_takes_a_frame_in_parts(void)
{
	begin();
	playback_ledger_mixing(&ledger, 1, T0);
	receive(160);
	mark(0, T0);
	deliver(T0);
	playback_ledger_mixed(&ledger, TICK / 2, T0 + MS);
	EXPECT(ledger.held.bytes, 80);
	EXPECT(playback_ledger_next_due(&ledger), PLAYBACK_NEVER);
	playback_ledger_mixed(&ledger, TICK / 2, T0 + MS + TICK / 2);
	EXPECT(ledger.held.bytes, 0);
	EXPECT(marks[0].due_ns, MIXED_START + MS + TICK);
}

static void long_mixing_interval_waits_for_enough_frames(void)
{
	begin();
	playback_ledger_mixing(&ledger, 1, T0);
	receive(320);
	mark(0, T0);
	deliver(T0);
	playback_ledger_mixed(&ledger, 2 * TICK, T0 + MS);
	EXPECT(ledger.held.bytes, 160);
	deliver(T0 + TICK);
	playback_ledger_mixed(&ledger, 2 * TICK, T0 + MS + 2 * TICK);
	EXPECT(ledger.held.bytes, 0);
	EXPECT(marks[0].due_ns, MIXED_START + MS + 4 * TICK);
}

/* A mixer with an interval of two ticks, which is known; 160 bytes are held of 480 */
static void hold_the_rest_of_an_utterance(void)
{
	begin();
	playback_ledger_mixing(&ledger, 1, T0);
	receive(480);
	deliver(T0 - 2 * TICK);
	deliver(T0 - TICK);
	playback_ledger_mixed(&ledger, 2 * TICK, T0);
	EXPECT(ledger.sent.bytes, 320);
	deliver(T0 + MS);
}

static void silence_pushes_the_rest_out_of_a_mixer(void)
{
	int64_t tick = T0 + MS + TICK;

	hold_the_rest_of_an_utterance();
	mark(0, T0 + MS);
	EXPECT(playback_ledger_wants_silence(&ledger, tick), TICK);
	playback_ledger_delivered(&ledger, ulaw(0), TICK, tick);
	/* Once */
	EXPECT(playback_ledger_wants_silence(&ledger, tick + TICK), 0);
	EXPECT(playback_ledger_next_due(&ledger), PLAYBACK_NEVER);
	playback_ledger_mixed(&ledger, 2 * TICK, T0 + 2 * TICK);
	EXPECT(ledger.held_count, 0);
	EXPECT(marks[0].due_ns, MIXED_START + 3 * TICK);
	/* It is no media of the application's */
	EXPECT(playback_ledger_snapshot(&ledger, T0 + 2 * TICK).played.bytes, 320);
	EXPECT(playback_ledger_snapshot(&ledger, MIXED_START + 3 * TICK).played.bytes, 480);
	EXPECT(playback_ledger_snapshot(&ledger, MIXED_START + 3 * TICK).played.ns, 3 * TICK);
}

static void silence_comes_as_late_as_it_can(void)
{
	hold_the_rest_of_an_utterance();
	mark(0, T0 + MS);
	/* There is another tick in which media may come; a late one will do */
	EXPECT(playback_ledger_wants_silence(&ledger, T0 + TICK - TICK / 4 - 1), 0);
	EXPECT(playback_ledger_wants_silence(&ledger, T0 + TICK - TICK / 4), TICK);
	EXPECT(playback_ledger_wants_silence(&ledger, PLAYBACK_NEVER), TICK);
}

static void silence_is_pushed_only_where_something_waits(void)
{
	struct playback_mark event;
	int64_t tick = T0 + MS + TICK;

	hold_the_rest_of_an_utterance();
	EXPECT(playback_ledger_wants_silence(&ledger, tick), 0);
	/* A mark before it does not */
	begin();
	playback_ledger_mixing(&ledger, 1, T0);
	receive(320);
	mark(0, T0);
	receive(160);
	deliver(T0 - 2 * TICK);
	deliver(T0 - TICK);
	playback_ledger_mixed(&ledger, 2 * TICK, T0);
	deliver(T0 + MS);
	EXPECT(playback_ledger_wants_silence(&ledger, tick), 0);
	/* An event does */
	playback_ledger_event_queued(&ledger);
	EXPECT(playback_ledger_wants_silence(&ledger, tick), TICK);
	playback_ledger_event_dequeued(&ledger, &event, 0, tick);
	EXPECT(playback_ledger_wants_silence(&ledger, tick), TICK);
	/* And so does a flush, which has left it there to be heard */
	hold_the_rest_of_an_utterance();
	flush(T0 + MS);
	EXPECT(playback_ledger_wants_silence(&ledger, tick), TICK);
	/* Nothing is there to be pushed, and nobody to hear it */
	playback_ledger_mixing(&ledger, 0, tick);
	EXPECT(playback_ledger_wants_silence(&ledger, tick), 0);
}

static void silence_fills_any_interval(void)
{
	int64_t took = T0 + 4 * TICK;

	/* 80 ms, mixed each 83.3 ms: 60 ms for a frame; a part of a ms is a whole one */
	begin();
	playback_ledger_mixing(&ledger, 1, T0);
	receive(160 + 33);
	deliver(T0);
	mark(0, T0);
	playback_ledger_mixed(&ledger, 4 * TICK, took);
	EXPECT(playback_ledger_wants_silence(&ledger, took + 2 * TICK - 2 * MS), 0);
	EXPECT(playback_ledger_wants_silence(&ledger, took + 3 * TICK - MS), 3 * TICK);
	playback_ledger_delivered(&ledger, ulaw(33), 33 * 125000, took + MS);
	EXPECT(playback_ledger_wants_silence(&ledger, took + 3 * TICK), 56 * MS);
	playback_ledger_delivered(&ledger, ulaw(0), 56 * MS, took + 3 * TICK);
	/* The part of a ms that is left over is not media */
	EXPECT(playback_ledger_wants_silence(&ledger, took + 3 * TICK), 0);
	playback_ledger_mixed(&ledger, 4 * TICK, took + 1000 * MS / 12);
	EXPECT(ledger.held.bytes, 0);
	/* 10 ms are filled by any frame of 20 ms */
	begin();
	playback_ledger_mixing(&ledger, 1, T0);
	receive(160);
	playback_ledger_mixed(&ledger, TICK / 2, T0);
	deliver(T0 + MS);
	mark(0, T0 + MS);
	EXPECT(playback_ledger_wants_silence(&ledger, T0 + TICK), 0);
}

static void frame_without_duration_is_no_mixing_interval(void)
{
	begin();
	playback_ledger_mixing(&ledger, 1, T0);
	receive(160);
	deliver(T0);
	mark(0, T0);
	playback_ledger_mixed(&ledger, 0, T0 + MS);
	EXPECT(playback_ledger_wants_silence(&ledger, T0 + TICK), 0);
	EXPECT(ledger.held.bytes, 160);
}

static void played_follows_the_clock_through_a_long_mixing_interval(void)
{
	begin();
	playback_ledger_mixing(&ledger, 1, T0);
	receive(640);
	for (int i = 0; i < 4; i++) {
		deliver(T0 + i * TICK);
	}
	playback_ledger_mixed(&ledger, 4 * TICK, T0 + 4 * TICK);
	for (int i = 0; i <= 4; i++) {
		EXPECT(playback_ledger_snapshot(&ledger, MIXED_START + (4 + i) * TICK)
			.played.bytes, i * 160);
	}
}

static void mixer_that_begins_with_a_shorter_interval_drops_what_it_held(void)
{
	begin();
	playback_ledger_mixing(&ledger, 1, T0);
	receive(320);
	mark(0, T0);
	EXPECT(playback_ledger_mixer_wrote(&ledger), 0);
	deliver(T0);
	/* No interval of 10 ms takes 20 */
	playback_ledger_mixer_writes(&ledger, TICK / 2, 0, T0 + MS);
	playback_ledger_mixed(&ledger, TICK / 2, T0 + MS);
	EXPECT(playback_ledger_mixer_wrote(&ledger), TICK / 2);
	EXPECT(ledger.sent.bytes, 0);
	EXPECT(marks[0].dropped, 160);
	/* Had it taken just that, it may always have been one of 10 ms */
	begin();
	playback_ledger_mixing(&ledger, 1, T0);
	receive(320);
	deliver(T0);
	playback_ledger_mixer_writes(&ledger, TICK / 2, TICK / 2, T0 + 5 * MS);
	playback_ledger_mixed(&ledger, TICK / 2, T0 + 5 * MS);
	EXPECT(ledger.sent.bytes, 80);
	EXPECT(ledger.dropped_of_held.bytes, 0);
	/* But not once its interval is known */
	deliver(T0 + 6 * MS);
	EXPECT(ledger.held_frames_ns, TICK + TICK / 2);
	playback_ledger_mixer_writes(&ledger, TICK, TICK / 2, T0 + 15 * MS);
	EXPECT(ledger.held_frames_ns, TICK / 2);
	EXPECT(ledger.dropped_of_held.bytes, 160);
	/* In another bridge it is not */
	playback_ledger_mixing(&ledger, 0, T0 + 15 * MS);
	EXPECT(playback_ledger_mixer_wrote(&ledger), 0);
}

static void interval_that_comes_too_soon_is_known_from_then_on(void)
{
	begin();
	playback_ledger_mixing(&ledger, 1, T0);
	receive(4 * 160);
	playback_ledger_mixer_writes(&ledger, TICK, 0, T0);
	playback_ledger_mixed(&ledger, TICK, T0);
	playback_ledger_mixer_writes(&ledger, 4 * TICK, 0, T0 + TICK);
	playback_ledger_mixed(&ledger, 4 * TICK, T0 + TICK);
	EXPECT(playback_ledger_mixer_wrote(&ledger), 4 * TICK);
	for (int i = 0; i < 4; i++) {
		deliver(T0 + TICK + MS + i * TICK);
	}
	/* All of it was mixed, not dropped */
	playback_ledger_mixer_writes(&ledger, 4 * TICK, 0, T0 + 5 * TICK + 3 * MS);
	playback_ledger_mixed(&ledger, 4 * TICK, T0 + 5 * TICK + 3 * MS);
	EXPECT(ledger.dropped_of_held.bytes, 0);
	EXPECT(ledger.sent.bytes, 4 * 160);
}

static void mixer_that_cannot_be_seen_keeps_what_came_just_now(void)
{
	begin();
	playback_ledger_mixing(&ledger, 1, T0);
	receive(320);
	deliver(T0);
	deliver(T0 + TICK);
	playback_ledger_mixer_began(&ledger, -1, T0 + TICK + PLAYBACK_MIXER_GUARD_NS - 1);
	EXPECT(ledger.dropped_of_held.bytes, 160);
	playback_ledger_mixer_began(&ledger, -1, T0 + TICK + PLAYBACK_MIXER_GUARD_NS);
	EXPECT(ledger.dropped_of_held.bytes, 320);
	/* The first interval seen says nothing then */
	begin();
	playback_ledger_mixing(&ledger, 1, T0);
	receive(160);
	deliver(T0);
	playback_ledger_mixer_writes(&ledger, TICK / 2, -1, T0 + MS);
	EXPECT(ledger.dropped_of_held.bytes, 0);
}

static void mixer_that_begins_anew_keeps_what_came_afterwards(void)
{
	begin();
	playback_ledger_mixing(&ledger, 1, T0);
	receive(320);
	mark(0, T0);
	deliver(T0);
	deliver(T0 + TICK);
	/* Less than 2 ms comes of resampling */
	playback_ledger_mixer_began(&ledger, 2 * TICK - 2 * MS, T0 + TICK);
	EXPECT(ledger.dropped_of_held.bytes, 0);
	playback_ledger_mixer_began(&ledger, TICK, T0 + TICK);
	EXPECT(ledger.dropped_of_held.bytes, 160);
	EXPECT(marks[0].dropped, 160);
	mix(T0 + TICK + MS);
	mix(T0 + 2 * TICK + MS);
	EXPECT(ledger.sent.bytes, 160);
	/* Nobody mixes */
	playback_ledger_mixing(&ledger, 0, T0 + 3 * TICK);
	playback_ledger_mixer_began(&ledger, 0, T0 + 3 * TICK);
	EXPECT(ledger.dropped_of_held.bytes, 160);
}

static void mixer_that_writes_nothing_is_seen_to_have_mixed(void)
{
	begin();
	playback_ledger_mixing(&ledger, 1, T0);
	receive(3 * 160);
	mark(0, T0);
	mix(T0);
	deliver(T0 + MS);
	deliver(T0 + TICK + MS);
	/* Its result may be about to come */
	playback_ledger_mixer_took(&ledger, TICK, T0 + 17 * MS);
	EXPECT(ledger.sent.bytes, 0);
	/* It has not mixed yet */
	playback_ledger_mixer_took(&ledger, 2 * TICK, T0 + 2 * TICK);
	EXPECT(ledger.sent.bytes, 0);
	playback_ledger_mixer_took(&ledger, TICK, T0 + 2 * TICK + MS);
	EXPECT(ledger.sent.bytes, 160);
	EXPECT(ledger.dropped_of_held.bytes, 0);
}

/* What is written, and what the mixer holds then */
static void mix_holding(int64_t held_ns, int64_t now)
{
	mix(now);
	playback_ledger_mixer_took(&ledger, held_ns, now);
	playback_ledger_mixer_holds(&ledger, held_ns, now);
}

static void interval_behind_a_late_one_is_not_taken_for_that(void)
{
	int64_t stalled = T0 + 3 * TICK + 16 * MS;

	begin();
	playback_ledger_mixing(&ledger, 1, T0);
	receive(4 * 160);
	mix(T0);
	deliver(T0 + MS);
	mix_holding(0, T0 + TICK);
	deliver(T0 + TICK + MS);
	/* The tick behind a stall sees that the mixer has it, and gives it another one */
	playback_ledger_mixer_took(&ledger, 0, stalled);
	playback_ledger_mixer_holds(&ledger, 0, stalled);
	EXPECT(ledger.sent.bytes, 320);
	deliver(stalled);
	/* The result of that, and of the next interval, which is in time again */
	mix_holding(TICK, stalled + MS);
	EXPECT(ledger.sent.bytes, 320);
	mix_holding(0, stalled + 5 * MS);
	EXPECT(ledger.sent.bytes, 480);
	EXPECT(ledger.playing_start_ns, stalled + 5 * MS + PLAYBACK_MIXED_SEND_DELAY_NS);
	deliver(stalled + 20 * MS);
	mix_holding(0, stalled + 25 * MS);
	EXPECT(ledger.sent.bytes, 640);
	EXPECT(ledger.playing_start_ns, stalled + 25 * MS + PLAYBACK_MIXED_SEND_DELAY_NS);
	EXPECT(ledger.dropped_of_held.bytes, 0);
}

static void mixer_is_full_with_more_than_four_intervals(void)
{
	begin();
	playback_ledger_mixing(&ledger, 1, T0);
	receive(5 * 160 + 80);
	mark(0, T0);
	for (int i = 0; i < 4; i++) {
		deliver(T0 + i * TICK);
	}
	EXPECT(playback_ledger_mixer_is_full(&ledger, -1), 0);
	playback_ledger_delivered(&ledger, ulaw(80), TICK / 2, T0 + 4 * TICK);
	EXPECT(playback_ledger_mixer_is_full(&ledger, -1), 1);
	/* What is seen counts */
	EXPECT(playback_ledger_mixer_is_full(&ledger, 4 * TICK), 0);
	EXPECT(playback_ledger_mixer_is_full(&ledger, 4 * TICK + 1), 1);
	/* Nor has it room for silence, but where there will be no better time */
	deliver(T0 + 5 * TICK);
	EXPECT(playback_ledger_wants_silence(&ledger, T0 + 9 * TICK), 0);
	EXPECT(playback_ledger_wants_silence(&ledger, PLAYBACK_NEVER), TICK / 2);
	/* Out of it there is none */
	playback_ledger_mixing(&ledger, 0, T0 + 9 * TICK);
	EXPECT(playback_ledger_mixer_is_full(&ledger, 9 * TICK), 0);
	/* Of long intervals fewer do */
	playback_ledger_mixing(&ledger, 1, T0 + 9 * TICK);
	playback_ledger_mixed(&ledger, 2 * TICK, T0 + 11 * TICK);
	EXPECT(playback_ledger_mixer_is_full(&ledger, 4 * TICK), 0);
	EXPECT(playback_ledger_mixer_is_full(&ledger, 4 * TICK + 1), 1);
	playback_ledger_mixed(&ledger, 4 * TICK, T0 + 15 * TICK);
	EXPECT(playback_ledger_mixer_is_full(&ledger, 6 * TICK), 0);
	EXPECT(playback_ledger_mixer_is_full(&ledger, 6 * TICK + 1), 1);
	playback_ledger_mixed(&ledger, TICK / 2, T0 + 16 * TICK);
	EXPECT(playback_ledger_mixer_is_full(&ledger, 2 * TICK), 0);
	EXPECT(playback_ledger_mixer_is_full(&ledger, 2 * TICK + 1), 1);
}

static void mixer_that_begins_with_another_interval_drops_what_it_held(void)
{
	begin();
	playback_ledger_mixing(&ledger, 1, T0);
	receive(160);
	mark(0, T0);
	deliver(T0);
	playback_ledger_mixed(&ledger, 4 * TICK, T0 + MS);
	playback_ledger_mixer_holds(&ledger, 0, T0 + MS);
	EXPECT(ledger.sent.bytes, 0);
	EXPECT(ledger.dropped_of_held.bytes, 160);
	EXPECT(marks[0].dropped, 160);
}

static void clock_begins_anew_with_and_without_a_mixer(void)
{
	int64_t mixed = T0 + TICK + 5 * MS;

	begin();
	receive(160 * 4);
	deliver(T0);
	playback_ledger_mixing(&ledger, 1, T0 + TICK);
	deliver(T0 + TICK);
	mix(mixed);
	/* Later than if the bridge had gone on, less than a missed tick */
	EXPECT(ledger.playing_start_ns, mixed + PLAYBACK_MIXED_SEND_DELAY_NS);
	playback_ledger_mixing(&ledger, 0, mixed + TICK + 4 * MS);
	deliver(mixed + TICK + 4 * MS);
	EXPECT(ledger.playing_start_ns, mixed + TICK + 4 * MS + PLAYBACK_SEND_DELAY_NS);
	deliver(mixed + 2 * TICK + 8 * MS);
	EXPECT(ledger.playing_start_ns, mixed + 2 * TICK + 4 * MS + PLAYBACK_SEND_DELAY_NS);
}

static void clock_begins_anew_after_mixing_out_of_step(void)
{
	int i;

	begin();
	playback_ledger_mixing(&ledger, 1, T0);
	receive(160 * 6);
	for (i = 0; i < 3; i++) {
		deliver(T0 + i);
	}
	/* Late by more than an interval, and so the next one seems too soon */
	mix(T0 + TICK);
	mix(T0 + 4 * TICK - 4 * MS);
	mix(T0 + 4 * TICK);
	EXPECT(ledger.sent.bytes, 320);
	mix(T0 + 5 * TICK);
	EXPECT(ledger.playing_start_ns, MIXED_START + 5 * TICK);
	/* One that is late, one that has nothing of ours, then one in time */
	deliver(T0 + 5 * TICK + MS);
	mix(T0 + 6 * TICK + 12 * MS);
	mix(T0 + 7 * TICK + 3 * MS);
	deliver(T0 + 7 * TICK + 5 * MS);
	mix(T0 + 8 * TICK);
	EXPECT(ledger.playing_start_ns, MIXED_START + 8 * TICK);
}

static void flush_leaves_what_the_mixer_holds(void)
{
	begin();
	playback_ledger_mixing(&ledger, 1, T0);
	receive(160);
	mark(0, T0);
	deliver(T0);
	receive(160);
	mark(1, T0);
	EXPECT(flush(T0 + MS), 160);
	mark(2, T0 + MS);
	EXPECT(ledger.held.bytes, 160);
	expect_none(T0 + MS);
	mix(T0 + 5 * MS);
	expect_pop(0, PLAYBACK_PLAYED, MIXED_START + 5 * MS + TICK);
	expect_pop(1, PLAYBACK_FLUSHED, MIXED_START + 5 * MS + TICK);
	expect_pop(2, PLAYBACK_PLAYED, MIXED_START + 5 * MS + TICK);
	EXPECT(marks[2].media_ns, TICK);
}

static void leaving_the_mixer_drops_what_it_held(void)
{
	struct playback_snapshot now;
	struct playback_drop drop;

	begin();
	playback_ledger_mixing(&ledger, 1, T0);
	receive(100);
	drop_newest(100);
	receive(320);
	mark(0, T0);
	deliver(T0);
	deliver(T0 + TICK);
	EXPECT(playback_ledger_pop_drop(&ledger, T0, &drop), 1);
	playback_ledger_mixing(&ledger, 0, T0 + TICK + MS);
	EXPECT(ledger.held.bytes, 0);
	EXPECT(ledger.sent.bytes, 0);
	/* Nothing is left to play before the mark */
	expect_none(T0 + TICK + MS - 1);
	expect_pop(0, PLAYBACK_DROPPED, T0 + TICK + MS);
	EXPECT(marks[0].drop_reason, PLAYBACK_DROP_BRIDGE);
	EXPECT(marks[0].dropped, 420);
	EXPECT(marks[0].dropped_ns, 420 * 125000);
	EXPECT(marks[0].media_ns, 0);
	now = playback_ledger_snapshot(&ledger, T0 + TICK + MS);
	EXPECT(now.dropped, 420);
	EXPECT(now.played.bytes, 0);
	EXPECT(now.queued.bytes, 0);
	EXPECT(now.queued.ns, 0);
	EXPECT(playback_ledger_pop_drop(&ledger, PLAYBACK_NEVER / 2, &drop), 1);
	EXPECT(drop.reason, PLAYBACK_DROP_BRIDGE);
	EXPECT(drop.bytes, 320);
	EXPECT(drop.offset, 100);
	EXPECT(playback_ledger_drop_due(&ledger), PLAYBACK_NEVER);
	/* Once: it is out of the mixer now */
	playback_ledger_mixing(&ledger, 0, T0 + 2 * TICK);
	EXPECT(playback_ledger_drop_due(&ledger), PLAYBACK_NEVER);
}

static void marks_say_what_was_dropped_before_them(void)
{
	begin();
	playback_ledger_mixing(&ledger, 1, T0);
	receive(160);
	mark(0, T0);
	deliver(T0);
	mix(T0 + 5 * MS);
	/* Dropped: 40 bytes, a mark, 120 bytes; then 80 bytes that stay, and a mark */
	receive(40);
	mark(1, T0);
	receive(200);
	mark(2, T0);
	mark(3, T0);
	deliver(T0 + TICK);
	playback_ledger_mixing(&ledger, 0, T0 + TICK + MS);
	/* Not before what was sent before it has been played */
	EXPECT(marks[0].due_ns, MIXED_START + 5 * MS + TICK);
	EXPECT(marks[1].due_ns, MIXED_START + 5 * MS + TICK);
	EXPECT(marks[2].due_ns, PLAYBACK_NEVER);
	playback_ledger_delivered(&ledger, ulaw(80), TICK, T0 + 2 * TICK);
	expect_pop(0, PLAYBACK_PLAYED, MIXED_START + 5 * MS + TICK);
	expect_pop(1, PLAYBACK_DROPPED, MIXED_START + 5 * MS + TICK);
	expect_pop(2, PLAYBACK_PLAYED, START + 2 * TICK + 10 * MS);
	expect_pop(3, PLAYBACK_PLAYED, START + 2 * TICK + 10 * MS);
	EXPECT(marks[0].dropped, 0);
	EXPECT(marks[1].dropped, 40);
	EXPECT(marks[2].dropped, 120);
	EXPECT(marks[2].dropped_ns, 15 * MS);
	EXPECT(marks[3].dropped, 0);
	EXPECT(marks[0].media_ns, TICK);
	EXPECT(marks[1].media_ns, TICK);
	EXPECT(marks[2].media_ns, TICK + 10 * MS);
	EXPECT(marks[2].offset, 400);
}

static void next_mark_says_what_was_dropped_behind_the_last_one(void)
{
	begin();
	playback_ledger_mixing(&ledger, 1, T0);
	receive(60);
	mark(0, T0);
	receive(100);
	deliver(T0);
	playback_ledger_mixing(&ledger, 0, T0 + MS);
	receive(167);
	drop_newest(7);
	mark(1, T0 + MS);
	mark(2, T0 + MS);
	EXPECT(marks[1].offset, 327);
	EXPECT(marks[1].media_ns, TICK);
	expect_pop(0, PLAYBACK_DROPPED, T0 + MS);
	deliver(T0 + TICK);
	expect_pop(1, PLAYBACK_PLAYED, START + 2 * TICK);
	expect_pop(2, PLAYBACK_PLAYED, START + 2 * TICK);
	EXPECT(marks[0].dropped, 60);
	EXPECT(marks[1].dropped, 107);
	EXPECT(marks[2].dropped, 0);
}

static void queued_events_do_not_wait_for_what_was_dropped(void)
{
	begin();
	playback_ledger_mixing(&ledger, 1, T0);
	receive(160);
	deliver(T0);
	playback_ledger_event_dequeued(&ledger, &marks[0], 0, T0);
	expect_none(T0);
	playback_ledger_mixing(&ledger, 0, T0 + MS);
	expect_pop(0, PLAYBACK_PLAYED, T0 + MS);
}

static void mark_behind_a_flush_does_not_wait_for_what_was_dropped_before_it(void)
{
	begin();
	playback_ledger_mixing(&ledger, 1, T0);
	receive(160);
	deliver(T0);
	receive(500);
	flush(T0);
	mark(0, T0);
	expect_none(T0);
	playback_ledger_mixing(&ledger, 0, T0 + MS);
	/* Nothing is between the flush and the mark that could be played */
	expect_pop(0, PLAYBACK_PLAYED, T0 + MS);
	EXPECT(marks[0].dropped, 160);
	EXPECT(marks[0].media_ns, 0);
}

static void other_audio_in_the_mixer_is_not_ours_to_drop(void)
{
	begin();
	playback_ledger_mixing(&ledger, 1, T0);
	holds(2 * TICK);
	receive(160);
	mark(0, T0);
	deliver(T0);
	EXPECT(ledger.held_count, 2);
	playback_ledger_mixing(&ledger, 0, T0 + MS);
	EXPECT(ledger.held_count, 0);
	EXPECT(ledger.held_frames_ns, 0);
	EXPECT(ledger.dropped_of_held.bytes, 160);
	expect_pop(0, PLAYBACK_DROPPED, T0 + MS);
	EXPECT(marks[0].dropped, 160);
}

static void mixer_that_does_not_mix_drops_all(void)
{
	int i;

	begin();
	playback_ledger_mixing(&ledger, 1, T0);
	receive(160 * 6);
	mark(0, T0);
	deliver(T0);
	mix(T0 + MS);
	expect_none(MIXED_START);
	receive(160);
	mark(1, T0);
	for (i = 1; i < 6; i++) {
		deliver(T0 + i * TICK);
		holds(i * TICK);
	}
	EXPECT(ledger.dropped_of_held.bytes, 0);
	deliver(T0 + 6 * TICK);
	/* Five frames are more than it keeps: only the newest is left */
	holds(TICK);
	EXPECT(ledger.dropped_of_held.bytes, 5 * 160);
	EXPECT(ledger.held.bytes, 160);
	EXPECT(marks[0].due_ns, T0 + 10 * TICK);
	EXPECT(marks[0].dropped, 5 * 160);
	EXPECT(marks[0].media_ns, TICK);
	EXPECT(marks[1].due_ns, PLAYBACK_NEVER);
	mix(T0 + 11 * TICK);
	EXPECT(ledger.held.bytes, 0);
	EXPECT(marks[1].due_ns, MIXED_START + 12 * TICK);
	EXPECT(marks[1].media_ns, 2 * TICK);
}

static void mixer_that_cannot_be_seen_holds_a_bounded_amount(void)
{
	int i;

	begin();
	playback_ledger_mixing(&ledger, 1, T0);
	for (i = 0; i < 100; i++) {
		receive(160);
		deliver(T0 + i * TICK);
		EXPECT(ledger.held_count <= PLAYBACK_HELD_MAX, 1);
	}
	EXPECT(ledger.sent.bytes, 0);
	EXPECT(ledger.received.bytes, ledger.dropped_of_held.bytes + ledger.held.bytes);
}

static void hangup_counts_what_the_mixer_held_as_flushed(void)
{
	struct playback_snapshot last;

	begin();
	playback_ledger_mixing(&ledger, 1, T0);
	receive(160);
	deliver(T0);
	mix(T0 + 5 * MS);
	receive(200);
	deliver(T0 + TICK);
	EXPECT(hangup(T0 + TICK), 200);
	last = playback_ledger_snapshot(&ledger, T0 + TICK);
	EXPECT(last.played.bytes, 160);
	EXPECT(last.queued.bytes, 0);
	EXPECT(last.queued.ns, 0);
}

static int mark_at(int i, uint64_t offset, int64_t time)
{
	return playback_ledger_mark_at(&ledger, &marks[i], offset, PLAYBACK_WAITING, time);
}

static void mark_at_an_offset_is_due_when_the_byte_before_it_has_played(void)
{
	begin();
	receive(400);
	EXPECT(mark_at(0, 1, T0), 0);
	EXPECT(mark_at(1, 168, T0), 0);
	EXPECT(mark_at(2, 400, T0), 0);
	EXPECT(playback_ledger_next_due(&ledger), PLAYBACK_NEVER);
	/* The last one stands where a mark without offset would, and wants the partial frame */
	EXPECT(playback_ledger_wants_partial(&ledger, 80), 1);
	deliver(T0);
	expect_none(START + 124999);
	/* It has begun */
	expect_pop(0, PLAYBACK_PLAYED, START + 125000);
	EXPECT(marks[0].offset, 1);
	EXPECT(marks[0].media_ns, 125000);
	EXPECT(playback_ledger_next_due(&ledger), PLAYBACK_NEVER);
	deliver(T0 + TICK);
	expect_pop(1, PLAYBACK_PLAYED, START + TICK + MS);
	playback_ledger_delivered(&ledger, ulaw(80), TICK, T0 + 2 * TICK);
	expect_pop(2, PLAYBACK_PLAYED, START + 2 * TICK + 10 * MS);
	EXPECT(marks[2].media_ns, 50 * MS);
}

static void mark_at_an_offset_behind_what_was_played_is_due_at_once(void)
{
	begin();
	/* Before anything came, too */
	EXPECT(mark_at(0, 0, T0), 0);
	expect_pop(0, PLAYBACK_PLAYED, T0);
	receive(480);
	deliver(T0);
	deliver(T0 + TICK);
	mark(1, T0 + TICK);
	EXPECT(mark_at(2, 300, T0 + TICK + MS), 0);
	EXPECT(mark_at(3, 168, T0 + TICK + 4 * MS), 0);
	EXPECT(mark_at(4, 160, T0 + TICK + 5 * MS), 0);
	expect_pop(4, PLAYBACK_PLAYED, T0 + TICK + 5 * MS);
	EXPECT(marks[4].media_ns, TICK);
	expect_pop(3, PLAYBACK_PLAYED, T0 + TICK + 5 * MS);
	EXPECT(marks[3].due_ns, T0 + TICK + 4 * MS);
	/* In the frame that plays it is due to the sample */
	expect_none(START + TICK + 17500000 - 1);
	expect_pop(2, PLAYBACK_PLAYED, START + TICK + 17500000);
	EXPECT(marks[2].media_ns, TICK + 17500000);
	expect_none(PLAYBACK_NEVER - 1);
	EXPECT(mark_at(5, 320, T0 + 10 * TICK), 0);
	expect_pop(5, PLAYBACK_PLAYED, T0 + 10 * TICK);
	deliver(T0 + 10 * TICK);
	expect_pop(1, PLAYBACK_PLAYED, START + 11 * TICK);
}

static void marks_at_offsets_come_in_the_order_of_the_stream(void)
{
	static const int order[] = { 2, 4, 1, 3, 6, 0, 5, };
	size_t i;

	begin();
	receive(160);
	mark(0, T0);
	EXPECT(mark_at(1, 80, T0), 0);
	EXPECT(mark_at(2, 8, T0), 0);
	EXPECT(mark_at(3, 80, T0), 0);
	EXPECT(mark_at(4, 16, T0), 0);
	mark(5, T0);
	EXPECT(mark_at(6, 80, T0), 0);
	EXPECT(ledger.marks.count, 7);
	deliver(T0);
	for (i = 0; i < sizeof(order) / sizeof(*order); i++) {
		expect_pop(order[i], PLAYBACK_PLAYED, START + TICK);
	}
	EXPECT(marks[6].due_ns, START + 10 * MS);
	EXPECT(ledger.marks.count, 0);
	/* Those that are left are the caller's again: none is remembered */
	receive(160);
	mark(0, T0);
	EXPECT(mark_at(1, 240, T0), 0);
	deliver(T0 + TICK);
	expect_pop(1, PLAYBACK_PLAYED, START + 2 * TICK);
	EXPECT(mark_at(2, 200, START + 2 * TICK), 0);
	expect_pop(2, PLAYBACK_PLAYED, START + 2 * TICK);
	expect_pop(0, PLAYBACK_PLAYED, START + 2 * TICK);
}

static void mark_ahead_waits_for_its_byte(void)
{
	begin();
	EXPECT(mark_at(0, 330, T0), 0);
	EXPECT(mark_at(1, 170, T0), 0);
	EXPECT(mark_at(2, 170, T0), 0);
	mark(3, T0);
	EXPECT(playback_ledger_marks(&ledger), 4);
	/* What was received so far is before them */
	expect_pop(3, PLAYBACK_PLAYED, T0);
	receive(169);
	mark(4, T0);
	deliver(T0);
	EXPECT(playback_ledger_next_due(&ledger), PLAYBACK_NEVER);
	EXPECT(ledger.marks.count, 1);
	receive(151);
	EXPECT(ledger.marks.count, 3);
	EXPECT(playback_ledger_marks(&ledger), 4);
	deliver(T0 + TICK);
	expect_pop(4, PLAYBACK_PLAYED, START + TICK + 9 * 125000);
	expect_pop(1, PLAYBACK_PLAYED, START + TICK + 10 * 125000);
	expect_pop(2, PLAYBACK_PLAYED, START + TICK + 10 * 125000);
	EXPECT(marks[1].media_ns, 170 * 125000);
	receive(160);
	/* Nothing waits for bytes that may never come */
	EXPECT(playback_ledger_wants_partial(&ledger, 159), 1);
	deliver(T0 + 2 * TICK);
	expect_pop(0, PLAYBACK_PLAYED, START + 2 * TICK + 10 * 125000);
	EXPECT(marks[0].offset, 330);
}

static void mark_ahead_stays_when_something_is_flushed(void)
{
	begin();
	receive(480);
	EXPECT(mark_at(0, 480, T0), 0);
	EXPECT(mark_at(1, 481, T0), 0);
	deliver(T0);
	EXPECT(flush(T0), 320);
	playback_ledger_mark(&ledger, &marks[2], PLAYBACK_ORDERED_EVENT, T0);
	expect_pop(0, PLAYBACK_FLUSHED, T0);
	expect_pop(2, PLAYBACK_ORDERED_EVENT, T0);
	expect_none(PLAYBACK_NEVER - 1);
	now = T0 + TICK;
	receive(160);
	deliver(T0 + TICK);
	expect_pop(1, PLAYBACK_PLAYED, START + TICK + 125000);
	EXPECT(marks[1].media_ns, TICK + 125000);
	EXPECT(marks[1].offset, 481);
}

static void mark_at_an_offset_that_was_flushed_is_discarded(void)
{
	begin();
	receive(480);
	deliver(T0);
	flush(T0);
	mark(0, T0);
	EXPECT(mark_at(1, 161, T0 + MS), 0);
	EXPECT(mark_at(2, 480, T0 + MS), 0);
	EXPECT(mark_at(3, 160, T0 + MS), 0);
	receive(160);
	EXPECT(mark_at(4, 481, T0 + MS), 0);
	expect_pop(3, PLAYBACK_PLAYED, START + TICK);
	expect_pop(1, PLAYBACK_FLUSHED, START + TICK);
	EXPECT(marks[1].due_ns, T0 + MS);
	/* What is set behind the flush is no question for its end: first come, first served */
	expect_pop(0, PLAYBACK_PLAYED, START + TICK);
	expect_pop(2, PLAYBACK_FLUSHED, START + TICK);
	deliver(T0 + TICK);
	expect_pop(4, PLAYBACK_PLAYED, START + TICK + 125000);
	EXPECT(marks[4].media_ns, TICK + 125000);
}

static void mark_at_an_offset_knows_what_was_dropped_before_it(void)
{
	begin();
	receive(200);
	drop_newest(40);
	receive(160);
	drop_newest(160);
	receive(160);
	/* 160 bytes, 200 dropped, 160 bytes */
	mark(0, T0);
	EXPECT(mark_at(1, 361, T0), 0);
	EXPECT(mark_at(2, 300, T0), 0);
	EXPECT(mark_at(3, 160, T0), 0);
	deliver(T0);
	expect_pop(3, PLAYBACK_PLAYED, START + TICK);
	expect_pop(2, PLAYBACK_DROPPED, START + TICK);
	EXPECT(playback_ledger_next_due(&ledger), PLAYBACK_NEVER);
	deliver(T0 + TICK);
	expect_pop(1, PLAYBACK_PLAYED, START + TICK + 125000);
	expect_pop(0, PLAYBACK_PLAYED, START + 2 * TICK);
	/* Each byte is told once, by the first mark behind it */
	EXPECT(marks[3].dropped, 0);
	EXPECT(marks[2].dropped, 140);
	EXPECT(marks[1].dropped, 60);
	EXPECT(marks[0].dropped, 0);
	EXPECT(marks[3].media_ns, TICK);
	EXPECT(marks[2].media_ns, TICK);
	EXPECT(marks[1].media_ns, TICK + 125000);
	/* And not again by one that is set late */
	EXPECT(mark_at(4, 360, T0 + 9 * TICK), 0);
	expect_pop(4, PLAYBACK_PLAYED, T0 + 9 * TICK);
	EXPECT(marks[4].dropped, 0);
	EXPECT(marks[4].media_ns, TICK);
}

static void mark_ahead_does_not_wait_for_what_is_dropped(void)
{
	begin();
	EXPECT(mark_at(0, 200, T0), 0);
	EXPECT(mark_at(1, 330, T0), 0);
	EXPECT(mark_at(2, 400, T0), 0);
	EXPECT(mark_at(3, 500, T0), 0);
	receive(330);
	drop_newest(170);
	/* Up to a byte that is there no more, and to the last one that is */
	EXPECT(marks[0].position, 160);
	EXPECT(marks[1].position, 160);
	EXPECT(playback_ledger_wants_partial(&ledger, 0), 0);
	deliver(T0);
	now = T0 + 9 * TICK;
	receive(100);
	drop_newest(100);
	expect_pop(0, PLAYBACK_PLAYED, START + TICK);
	EXPECT(marks[0].dropped, 40);
	expect_pop(1, PLAYBACK_DROPPED, START + TICK);
	EXPECT(marks[1].dropped, 130);
	/* With nothing left to play it is due when that is known */
	EXPECT(playback_ledger_next_due(&ledger), now);
	expect_pop(2, PLAYBACK_DROPPED, now);
	EXPECT(marks[2].dropped, 70);
	EXPECT(marks[2].media_ns, TICK);
	expect_none(PLAYBACK_NEVER - 1);
	EXPECT(playback_ledger_wants_partial(&ledger, 0), 0);
	receive(100);
	EXPECT(playback_ledger_wants_partial(&ledger, 100), 1);
	playback_ledger_delivered(&ledger, ulaw(100), TICK, now);
	expect_pop(3, PLAYBACK_PLAYED, now + PLAYBACK_SEND_DELAY_NS + 70 * 125000);
	EXPECT(marks[3].dropped, 30);
}

static void mark_ahead_ends_with_the_call(void)
{
	begin();
	receive(160);
	EXPECT(mark_at(0, 1000, T0), 0);
	EXPECT(mark_at(1, 900, T0), 0);
	mark(2, T0);
	deliver(T0);
	hangup(T0 + MS);
	expect_pop(2, PLAYBACK_HUNGUP, T0 + MS);
	expect_pop(1, PLAYBACK_HUNGUP, T0 + MS);
	expect_pop(0, PLAYBACK_HUNGUP, T0 + MS);
	EXPECT(marks[0].offset, 1000);
	EXPECT(playback_ledger_marks(&ledger), 0);
	expect_none(PLAYBACK_NEVER);
}

static void settled_mark_ahead_takes_its_turn(void)
{
	begin();
	playback_ledger_mark_at(&ledger, &marks[0], 160, PLAYBACK_DIRECTION, T0);
	expect_none(PLAYBACK_NEVER - 1);
	now = T0 + MS;
	receive(160);
	drop_newest(160);
	expect_pop(0, PLAYBACK_DIRECTION, T0 + MS);
	EXPECT(marks[0].due_ns, T0);
}

static void mark_inside_a_sample_stands_where_that_begins(void)
{
	begin();
	ledger.sample_bytes = 2;
	EXPECT(mark_at(0, 161, T0), 0);
	receive(161);
	EXPECT(mark_at(1, 161, T0), 0);
	EXPECT(mark_at(2, 33, T0), 0);
	EXPECT(marks[0].position, 160);
	EXPECT(marks[1].position, 160);
	EXPECT(marks[2].position, 32);
	EXPECT(playback_ledger_wants_partial(&ledger, 0), 0);
	deliver(T0);
	expect_pop(2, PLAYBACK_PLAYED, START + 4 * MS);
	EXPECT(marks[2].media_ns, 4 * MS);
	expect_pop(0, PLAYBACK_PLAYED, START + TICK);
	expect_pop(1, PLAYBACK_PLAYED, START + TICK);
	EXPECT(marks[1].offset, 161);
	EXPECT(marks[1].media_ns, TICK);
	/* The first byte of a sample that is alone: all before it has been played */
	EXPECT(mark_at(3, 162, T0), 0);
	receive(1);
	flush(T0 + TICK);
	expect_pop(3, PLAYBACK_FLUSHED, T0 + TICK);
	/* After the flush samples begin elsewhere */
	now = T0 + 2 * TICK;
	EXPECT(mark_at(4, 163, now), 0);
	receive(1);
	expect_pop(4, PLAYBACK_PLAYED, now);
	receive(2);
	EXPECT(mark_at(5, 165, now), 0);
	EXPECT(marks[5].position, 164);
}

static void mark_inside_a_message_of_passthrough_mode(void)
{
	/* 20 ms each, of any size */
	static const uint64_t sizes[] = { 10, 100, 30, };
	int i;

	begin();
	ledger.sample_bytes = 0;
	for (i = 0; i < 3; i++) {
		playback_ledger_received(&ledger,
			(struct playback_media) { sizes[i], TICK, }, T0);
	}
	EXPECT(mark_at(0, 60, T0), 0);
	EXPECT(mark_at(1, 111, T0), 0);
	for (i = 0; i < 3; i++) {
		playback_ledger_delivered(&ledger,
			(struct playback_media) { sizes[i], TICK, }, TICK, T0 + i * TICK);
	}
	/* That far into its message, by its bytes */
	expect_pop(0, PLAYBACK_PLAYED, START + TICK + TICK / 2);
	EXPECT(marks[0].media_ns, TICK + TICK / 2);
	expect_pop(1, PLAYBACK_PLAYED, START + 2 * TICK + (TICK + 29) / 30);
	EXPECT(marks[1].media_ns, 2 * TICK + (TICK + 29) / 30);
	/* Where it was before the frame that plays is not known: when that begins, at last */
	EXPECT(mark_at(2, 60, T0 + 2 * TICK), 0);
	EXPECT(marks[2].due_ns, START + 2 * TICK);
}

static void mark_in_what_piles_up_is_not_early(void)
{
	int i;

	begin();
	receive(480 * 4);
	for (i = 0; i < 3; i++) {
		playback_ledger_delivered(&ledger, ulaw(480), 3 * TICK, T0 + i * TICK);
	}
	EXPECT(mark_at(0, 600, T0 + 2 * TICK), 0);
	EXPECT(marks[0].due_ns, START + 3 * TICK + 15 * MS);
}

static void mark_at_an_offset_in_a_mixer(void)
{
	struct playback_drop drop;

	begin();
	playback_ledger_mixing(&ledger, 1, T0);
	receive(480);
	drop_newest(40);
	receive(20);
	deliver(T0);
	mix(T0 + 5 * MS);
	deliver(T0 + TICK);
	/* One is sent, one is held */
	EXPECT(mark_at(0, 80, T0 + 5 * MS), 0);
	EXPECT(mark_at(1, 160, T0 + TICK), 0);
	EXPECT(mark_at(2, 161, T0 + TICK), 0);
	EXPECT(mark_at(3, 480, T0 + TICK), 0);
	EXPECT(marks[0].due_ns, MIXED_START + 15 * MS);
	EXPECT(marks[1].due_ns, MIXED_START + 25 * MS);
	EXPECT(marks[2].due_ns, PLAYBACK_NEVER);
	playback_ledger_mixing(&ledger, 0, T0 + 2 * TICK);
	expect_pop(0, PLAYBACK_PLAYED, T0 + 2 * TICK);
	expect_pop(1, PLAYBACK_PLAYED, T0 + 2 * TICK);
	expect_pop(2, PLAYBACK_DROPPED, T0 + 2 * TICK);
	EXPECT(marks[2].dropped, 1);
	EXPECT(marks[2].media_ns, TICK);
	expect_none(PLAYBACK_NEVER - 1);
	/* What the mixer dropped is a gap, too, and its offset is known */
	EXPECT(playback_ledger_pop_drop(&ledger, T0, &drop), 1);
	EXPECT(playback_ledger_pop_drop(&ledger, T0 + 9 * TICK, &drop), 1);
	EXPECT(drop.reason, PLAYBACK_DROP_BRIDGE);
	EXPECT(drop.offset, 160);
	EXPECT(mark_at(4, 321, T0 + 2 * TICK), 0);
	EXPECT(marks[4].media_ns, TICK + 125000);
	deliver(T0 + 2 * TICK);
	expect_pop(4, PLAYBACK_PLAYED, START + 2 * TICK + 125000);
	EXPECT(marks[4].dropped, 159);
	expect_pop(3, PLAYBACK_PLAYED, START + 3 * TICK);
	EXPECT(marks[3].dropped, 40);
}

static void what_a_mixer_dropped_before_a_flush_was_not_flushed(void)
{
	begin();
	playback_ledger_mixing(&ledger, 1, T0);
	receive(480);
	deliver(T0);
	flush(T0);
	playback_ledger_mixing(&ledger, 0, T0 + MS);
	EXPECT(mark_at(0, 100, T0 + MS), 0);
	EXPECT(mark_at(1, 160, T0 + MS), 0);
	EXPECT(mark_at(2, 161, T0 + MS), 0);
	expect_pop(0, PLAYBACK_DROPPED, T0 + MS);
	expect_pop(1, PLAYBACK_DROPPED, T0 + MS);
	expect_pop(2, PLAYBACK_FLUSHED, T0 + MS);
	EXPECT(marks[0].dropped, 100);
	EXPECT(marks[1].dropped, 60);
	EXPECT(marks[2].dropped, 0);
}

static void mark_before_all_that_is_remembered_is_refused(void)
{
	int i;

	begin();
	for (i = 0; i < PLAYBACK_GAPS_MAX; i++) {
		receive(10);
		drop_newest(1);
	}
	EXPECT(mark_at(0, 1, T0), 0);
	receive(11);
	drop_newest(1);
	/* The gap that ends at 10 is forgotten */
	EXPECT(mark_at(1, 10, T0), -1);
	EXPECT(mark_at(2, 11, T0), 0);
	EXPECT(marks[2].position, 10);
	EXPECT(marks[2].dropped, 1);
	/* What touches is one gap */
	for (i = 0; i < 1000; i++) {
		receive(10);
		drop_newest(10);
	}
	EXPECT(mark_at(3, 11, T0), 0);
	/* And a flush has one, whatever had been dropped there */
	flush(T0);
	EXPECT(ledger.gaps.count, 1);
	EXPECT(ledger.marks.count, 3);
	mark(4, T0);
	expect_pop(0, PLAYBACK_FLUSHED, T0);
	expect_pop(2, PLAYBACK_FLUSHED, T0);
	expect_pop(3, PLAYBACK_FLUSHED, T0);
	expect_pop(4, PLAYBACK_PLAYED, T0);
	EXPECT(marks[2].dropped + marks[4].dropped, PLAYBACK_GAPS_MAX + 1 + 10000);
}

static void underrun_is_silence_where_more_was_to_come(void)
{
	begin();
	playback_ledger_starved(&ledger);
	receive(160);
	deliver(T0);
	EXPECT(ledger.underruns, 0);
	playback_ledger_starved(&ledger);
	EXPECT(ledger.underruns, 1);
	/* A mark with nothing after it says that this was all */
	mark(0, T0);
	playback_ledger_starved(&ledger);
	EXPECT(ledger.underruns, 1);
	receive(160);
	deliver(T0 + TICK);
	playback_ledger_starved(&ledger);
	EXPECT(ledger.underruns, 2);
	/* So does STOP_MEDIA_BUFFERING, whose event is queued */
	playback_ledger_event_queued(&ledger);
	playback_ledger_starved(&ledger);
	EXPECT(ledger.underruns, 2);
	/* And a flush */
	receive(160);
	flush(T0);
	playback_ledger_starved(&ledger);
	EXPECT(ledger.underruns, 2);
}

static void drops_are_reported_ten_times_a_second(void)
{
	struct playback_drop drop;

	begin();
	EXPECT(playback_ledger_drop_due(&ledger), PLAYBACK_NEVER);
	receive(100);
	receive(40);
	drop_newest(40);
	EXPECT(playback_ledger_pop_drop(&ledger, T0, &drop), 1);
	EXPECT(drop.bytes, 40);
	EXPECT(drop.offset, 100);
	receive(7);
	drop_newest(7);
	receive(100);
	receive(8);
	drop_newest(8);
	EXPECT(playback_ledger_drop_due(&ledger), T0 + PLAYBACK_DROP_INTERVAL_NS);
	EXPECT(playback_ledger_pop_drop(&ledger, T0 + PLAYBACK_DROP_INTERVAL_NS - 1, &drop),
		0);
	EXPECT(playback_ledger_pop_drop(&ledger, T0 + PLAYBACK_DROP_INTERVAL_NS, &drop), 1);
	EXPECT(drop.bytes, 15);
	EXPECT(drop.offset, 140);
	EXPECT(playback_ledger_drop_due(&ledger), PLAYBACK_NEVER);
}

static void nothing_of_its_media_left_discards_a_mark(void)
{
	begin();
	receive(160);
	drop_newest(160);
	mark(0, T0);
	mark(1, T0);
	receive(160);
	deliver(T0);
	receive(40);
	drop_newest(40);
	/* Something of it was played, and something dropped */
	mark(2, T0);
	receive(160);
	drop_newest(160);
	receive(160);
	flush(T0);
	/* Nothing is between the flush and this one */
	mark(3, T0);
	receive(80);
	drop_newest(80);
	mark(4, T0);
	expect_pop(0, PLAYBACK_DROPPED, T0);
	EXPECT(marks[0].drop_reason, PLAYBACK_DROP_PARTIAL);
	EXPECT(marks[0].dropped, 160);
	EXPECT(marks[0].dropped_ns, TICK);
	/* Nothing is behind the mark before it */
	expect_pop(1, PLAYBACK_PLAYED, T0);
	expect_pop(2, PLAYBACK_PLAYED, START + TICK);
	EXPECT(marks[2].dropped, 40);
	expect_pop(3, PLAYBACK_PLAYED, START + TICK);
	EXPECT(marks[3].dropped, 160);
	expect_pop(4, PLAYBACK_DROPPED, START + TICK);
	EXPECT(marks[4].dropped, 80);
}

/* When a frame delivered at T0 is first looked for */
#define LOOK (T0 + PLAYBACK_LOOK_NS)

static void begin_watching(int64_t packet_ns)
{
	begin();
	playback_ledger_watching(&ledger, 1, packet_ns, T0);
	/* The host has time */
	ledger.uneven_ns = 0;
}

/* The peer, done with all it was given, had sent so many packets since the latest look */
static void look(unsigned int packets, int64_t now)
{
	EXPECT(playback_ledger_looked(&ledger, packets, 1, now), 1);
}

static void frame_is_held_until_the_peer_has_sent_it(void)
{
	begin_watching(0);
	receive(160);
	EXPECT(playback_ledger_look_due(&ledger), PLAYBACK_NEVER);
	deliver(T0);
	EXPECT(playback_ledger_owes_packet(&ledger), 1);
	/* Nobody waits for it */
	EXPECT(playback_ledger_look_due(&ledger), PLAYBACK_NEVER);
	mark(0, T0);
	EXPECT(playback_ledger_look_due(&ledger), LOOK);
	EXPECT(playback_ledger_next_due(&ledger), PLAYBACK_NEVER);
	EXPECT(playback_ledger_snapshot(&ledger, START + TICK).queued.bytes, 160);
	/* Not yet */
	EXPECT(playback_ledger_looked(&ledger, 0, 0, LOOK), 1);
	EXPECT(ledger.held.bytes, 160);
	look(1, LOOK + MS / 10);
	EXPECT(playback_ledger_look_due(&ledger), PLAYBACK_NEVER);
	expect_pop(0, PLAYBACK_PLAYED, LOOK + MS / 10 + TICK);
	EXPECT(marks[0].due_ns, LOOK + MS / 10 + TICK);
	EXPECT(marks[0].stage, PLAYBACK_STAGE_SENT);
	EXPECT(playback_ledger_snapshot(&ledger, T0).stage, PLAYBACK_STAGE_SENT);
}

static void look_long_after_does_not_move_the_clock(void)
{
	begin_watching(0);
	receive(320);
	mark(0, T0);
	deliver(T0);
	look(1, T0 + TICK);
	EXPECT(marks[0].due_ns, PLAYBACK_NEVER);
	EXPECT(ledger.playing_start_ns, START);
	deliver(T0 + TICK);
	/* It was seen not to have left by then, so it left at the latest now */
	EXPECT(playback_ledger_looked(&ledger, 0, 0, START + TICK), 1);
	look(1, START + TICK + MS);
	/* It took longer than it was taken for, so may have the one before it */
	EXPECT(ledger.playing_start_ns, START + TICK + MS);
	EXPECT(marks[0].due_ns, START + 2 * TICK + MS);
	begin_watching(0);
	receive(160);
	deliver(T0);
	EXPECT(playback_ledger_looked(&ledger, 0, 0, START), 1);
	look(1, START + MS);
	EXPECT(ledger.playing_start_ns, START + MS);
}

/* A frame that is seen to leave in time after its delivery, as those before it */
static void learn(int64_t delivered, int64_t delay)
{
	ledger.quick_looks = PLAYBACK_LEARN_LOOKS - 1;
	ledger.send_delay_ns = delay;
	deliver(delivered);
	look(1, delivered + delay);
}

static void next_frames_are_taken_to_leave_as_soon(void)
{
	int64_t delay = PLAYBACK_LOOK_NS + MS / 20;
	int64_t second = T0 + TICK;

	begin_watching(0);
	receive(480);
	learn(T0, delay);
	playback_ledger_mark_at(&ledger, &marks[0], 160 + 40, PLAYBACK_WAITING, T0);
	playback_ledger_mark_at(&ledger, &marks[1], 320, PLAYBACK_WAITING, T0);
	deliver(second);
	/* It is looked at when the first mark in it is due, which is then known */
	EXPECT(playback_ledger_look_due(&ledger), second + delay + 5 * MS);
	look(1, second + delay + 5 * MS);
	EXPECT(marks[0].due_ns, second + delay + 5 * MS);
	EXPECT(marks[1].due_ns, second + delay + TICK);
	EXPECT(playback_ledger_look_due(&ledger), PLAYBACK_NEVER);
	/* One whose tick is late leaves no later on the media clock, one in time no sooner */
	playback_ledger_mark_at(&ledger, &marks[2], 480, PLAYBACK_WAITING, T0);
	deliver(T0 + 2 * TICK + MS / 10);
	EXPECT(playback_ledger_look_due(&ledger), T0 + 3 * TICK + delay);
}

static void where_frames_are_delivered_unevenly_each_is_looked_at_soon(void)
{
	int64_t delay = PLAYBACK_LOOK_NS + MS / 20;
	int64_t late = 3 * MS;
	int64_t now = T0 + TICK + late;
	int i;

	begin_watching(0);
	receive(100 * 160);
	learn(T0, delay);
	mark(0, T0);
	deliver(now);
	playback_ledger_mark_at(&ledger, &marks[1], 320, PLAYBACK_WAITING, T0);
	EXPECT(playback_ledger_look_due(&ledger),
		now + PLAYBACK_LOOK_NS + PLAYBACK_LOOK_LATER_NS);
	/* It is known by when it has left; that it came late does not move the clock */
	look(1, now + delay);
	EXPECT(marks[1].due_ns, T0 + 2 * TICK + delay);
	/* Of the next one it is not, though it was delivered in time */
	deliver(T0 + 2 * TICK);
	look(1, T0 + 3 * TICK);
	EXPECT(ledger.clock_delays_ns[2], T0 + delay + late);
	/* Some frames later all is as it was */
	for (i = 3; i < 60; i++) {
		deliver(T0 + i * TICK);
		look(1, T0 + (i + 1) * TICK);
	}
	EXPECT(ledger.uneven_ns <= PLAYBACK_EVEN_NS, 1);
}

static void what_was_to_be_seen_leaving_and_was_not_is_taken_to_leave_late(void)
{
	int i;

	begin_watching(0);
	receive(8 * 160);
	mark_at(0, 5 * 160 + 8, T0);
	for (i = 0; i < 5; i++) {
		deliver(T0 + i * TICK);
		look(1, LOOK + i * TICK);
	}
	deliver(T0 + 5 * TICK);
	EXPECT(playback_ledger_look_due(&ledger), LOOK + 5 * TICK);
	/* The host stood still: it may have left just now, and the clock with it */
	look(1, T0 + 5 * TICK + 12 * MS);
	EXPECT(marks[0].due_ns, T0 + 5 * TICK + 13 * MS);
	/* So it is where that is known of those before it, but these came unevenly */
	begin_watching(0);
	receive(2 * 160);
	learn(T0, PLAYBACK_LOOK_NS + MS / 20);
	ledger.uneven_ns = 4 * MS;
	mark_at(0, 160 + 8, T0);
	deliver(T0 + TICK);
	look(1, T0 + TICK + 12 * MS);
	EXPECT(marks[0].due_ns, T0 + TICK + 13 * MS);
	/* One that nothing waited for may have left when it should have */
	begin_watching(0);
	receive(2 * 160);
	deliver(T0);
	mark_at(0, 8, T0 + 11 * MS);
	look(1, T0 + 12 * MS);
	EXPECT(marks[0].due_ns, START + MS);
}

static void frame_of_a_late_tick_is_taken_to_leave_late(void)
{
	struct playback_frame frame = {
		.media = ulaw(160),
		.frame_ns = TICK,
		.delivered_ns = T0 + 4 * MS,
		.late_ns = 4 * MS,
	};

	begin_watching(0);
	receive(160);
	/* The first of a talkspurt: none before it shows that the host is busy */
	playback_ledger_caught_up(&ledger, &frame);
	mark(0, T0 + 15 * MS);
	look(1, T0 + 15 * MS);
	EXPECT(marks[0].due_ns, START + 8 * MS + TICK);
	/* As late as it is on any host */
	begin_watching(0);
	receive(160);
	frame.delivered_ns = T0;
	frame.late_ns = PLAYBACK_EVEN_NS;
	playback_ledger_caught_up(&ledger, &frame);
	mark(0, T0 + 15 * MS);
	look(1, T0 + 15 * MS);
	EXPECT(marks[0].due_ns, START + TICK);
}

static void what_is_late_is_looked_for_again(void)
{
	int64_t looked;

	begin_watching(0);
	receive(320);
	deliver(T0);
	EXPECT(playback_ledger_look_again(&ledger, T0), PLAYBACK_NEVER);
	mark_at(0, 160, T0);
	EXPECT(playback_ledger_look_again(&ledger, T0), LOOK);
	/* In vain: the more rarely the longer it takes, but once in a ms and a little */
	EXPECT(playback_ledger_look_again(&ledger, LOOK), LOOK + PLAYBACK_LOOK_NS);
	looked = LOOK + MS / 2;
	EXPECT(playback_ledger_look_again(&ledger, looked), looked + PLAYBACK_LOOK_NS + MS / 2);
	looked = LOOK + 10 * MS;
	EXPECT(playback_ledger_look_again(&ledger, looked), looked + PLAYBACK_LOOK_NS + MS);
	/* Where more is held the peer's thread is kept from its work, maybe for long */
	deliver(T0 + TICK);
	looked = LOOK + TICK + 10 * MS;
	EXPECT(playback_ledger_look_again(&ledger, looked),
		looked + PLAYBACK_LOOK_NS + 10 * MS);
}

static void what_may_have_left_just_now_is_taken_to_have(void)
{
	const int64_t late = PLAYBACK_SEND_DELAY_NS + MS / 2;

	/* The first frame of a call on a busy host: it took longer than it mostly does */
	begin_watching(0);
	receive(100 * 160);
	mark_at(0, 160, T0);
	deliver(T0);
	look(1, T0 + late);
	EXPECT(marks[0].due_ns, T0 + late + TICK);
	/* What frames took before a pause in speech tells nothing of those behind it */
	begin_watching(0);
	receive(100 * 160);
	learn(T0, PLAYBACK_LOOK_NS);
	mark_at(0, 320, T0);
	deliver(T0 + PLAYBACK_LEARN_NS + TICK);
	look(1, T0 + PLAYBACK_LEARN_NS + TICK + late);
	EXPECT(marks[0].due_ns, T0 + PLAYBACK_LEARN_NS + 2 * TICK + late);
	/* Looked for in vain, and then not seen for long */
	begin_watching(0);
	receive(160);
	mark_at(0, 160, T0);
	deliver(T0);
	EXPECT(playback_ledger_looked(&ledger, 0, 0, LOOK), 1);
	look(1, T0 + 5 * MS);
	EXPECT(marks[0].due_ns, T0 + 5 * MS + TICK);
	/* Where they have been seen to leave soon just before, only the look was late */
	begin_watching(0);
	receive(100 * 160);
	learn(T0, PLAYBACK_LOOK_NS);
	mark_at(0, 320, T0);
	deliver(T0 + TICK);
	look(1, T0 + TICK + late);
	EXPECT(marks[0].due_ns, T0 + 2 * TICK + PLAYBACK_LOOK_NS);
	/* What nobody waited for has left long before it is looked */
	begin_watching(0);
	receive(160);
	deliver(T0);
	look(1, T0 + TICK);
	EXPECT(ledger.playing_start_ns, START);
}

static void a_mark_that_is_due_sooner_is_looked_for_soon(void)
{
	begin_watching(0);
	receive(320);
	learn(T0, PLAYBACK_LOOK_NS);
	/* The tick is late, and the mark was due before it */
	playback_ledger_mark_at(&ledger, &marks[0], 161, PLAYBACK_WAITING, T0);
	deliver(T0 + TICK + MS / 5);
	EXPECT(playback_ledger_look_due(&ledger), LOOK + TICK + MS / 5 + MS / 10);
}

static void how_soon_frames_leave_is_learned_anew(void)
{
	int64_t late = T0 + PLAYBACK_LEARN_NS + TICK;
	int64_t stands;

	begin_watching(0);
	receive(100 * 160);
	learn(T0, PLAYBACK_LOOK_NS);
	mark(0, T0);
	for (stands = T0 + TICK; stands < late; stands += TICK) {
		deliver(stands);
		look(1, stands + TICK);
	}
	/* It has stood long enough, whether a mark waits or not */
	playback_ledger_mark_at(&ledger, &marks[1], 52 * 160, PLAYBACK_WAITING, T0);
	deliver(late);
	EXPECT(playback_ledger_look_due(&ledger), late + PLAYBACK_LOOK_NS);
	look(1, late + PLAYBACK_LOOK_NS);
	/* Looked for in vain, then it had left: it took longer than those before */
	playback_ledger_mark_at(&ledger, &marks[2], 53 * 160, PLAYBACK_WAITING, T0);
	deliver(late + TICK);
	EXPECT(playback_ledger_looked(&ledger, 0, 0, late + TICK + MS), 1);
	look(1, late + TICK + 3 * MS);
	playback_ledger_mark_at(&ledger, &marks[3], 54 * 160, PLAYBACK_WAITING, T0);
	deliver(late + 2 * TICK);
	EXPECT(playback_ledger_look_due(&ledger),
		late + 2 * TICK + PLAYBACK_LOOK_NS + PLAYBACK_LOOK_LATER_NS);
	EXPECT(ledger.send_delay_ns, PLAYBACK_SEND_DELAY_NS);
	/* Another peer is not known */
	look(1, late + 2 * TICK + PLAYBACK_LOOK_NS);
	EXPECT(ledger.send_delay_ns, PLAYBACK_LOOK_NS);
	playback_ledger_watching(&ledger, 0, 0, late + 3 * TICK);
	playback_ledger_watching(&ledger, 1, 0, late + 3 * TICK);
	EXPECT(ledger.send_delay_ns, PLAYBACK_SEND_DELAY_NS);
}

static void what_may_leave_otherwise_is_looked_for_soon(void)
{
	int64_t next = T0 + TICK;

	/* A flush asks what was sent */
	begin_watching(0);
	receive(160);
	learn(T0, PLAYBACK_LOOK_NS);
	receive(160);
	deliver(next);
	playback_ledger_mark(&ledger, &marks[0], PLAYBACK_ORDERED_EVENT, next);
	EXPECT(playback_ledger_look_due(&ledger), LOOK + TICK);
	/* After a tick that was missed the clock begins anew */
	begin_watching(0);
	receive(320);
	learn(T0, PLAYBACK_LOOK_NS);
	mark(0, T0);
	deliver(next + TICK);
	EXPECT(playback_ledger_look_due(&ledger), LOOK + 2 * TICK);
	/* Two frames are held */
	begin_watching(0);
	receive(480);
	learn(T0, PLAYBACK_LOOK_NS);
	mark(0, T0);
	deliver(next);
	deliver(next + TICK);
	EXPECT(playback_ledger_look_due(&ledger), LOOK + 2 * TICK);
	/* Packets are made of several frames */
	begin_watching(2 * TICK);
	ledger.quick_looks = PLAYBACK_LEARN_LOOKS;
	ledger.send_delay_seen_ns = T0;
	receive(320);
	mark(0, T0);
	deliver(T0);
	deliver(next);
	EXPECT(playback_ledger_look_due(&ledger), LOOK + TICK);
}

static void where_frames_leave_slowly_none_is_taken_to_leave_sooner(void)
{
	const int64_t slow = 3 * MS;
	int64_t now = T0;
	int i;

	/* The peer's thread takes as long for each frame, and one in ten is looked at */
	begin_watching(0);
	receive(100 * 160);
	for (i = 0; i < 40; i++, now += TICK) {
		if (i % 10 == 9) {
			mark_at(i / 10, (i + 1) * 160, now);
		}
		deliver(now);
		if (i % 10 == 9) {
			EXPECT(playback_ledger_looked(&ledger, 0, 0, now + slow - 1), 1);
			look(1, now + slow);
			EXPECT(marks[i / 10].due_ns, now + slow + TICK);
		} else {
			look(1, now + TICK);
		}
	}
	EXPECT(ledger.slowest_ns, slow);
	/* It wanes by looks that find less, and not by frames nobody looked at */
	mark_at(4, 41 * 160, now);
	deliver(now);
	look(1, now + PLAYBACK_LOOK_NS);
	EXPECT(ledger.slowest_ns, slow - slow / 8);
	/* None is taken to leave so late that the clock would begin anew */
	now += TICK;
	mark_at(5, 42 * 160, now);
	deliver(now);
	EXPECT(playback_ledger_looked(&ledger, 0, 0, now + 8 * MS), 1);
	look(1, now + 9 * MS);
	EXPECT(ledger.slowest_ns, TICK / 4);
}

static void clock_begins_anew_behind_what_was_seen_late(void)
{
	int64_t next;

	begin_watching(0);
	receive(320);
	deliver(T0);
	deliver(T0);
	/* The host stalls: both have left and ended when the second look comes */
	EXPECT(playback_ledger_looked(&ledger, 0, 0, T0 + MS), 1);
	look(2, T0 + 8 * TICK);
	next = ledger.playing_end_ns + 4 * MS;
	receive(160);
	mark(0, T0);
	deliver(next);
	look(1, next + PLAYBACK_LOOK_NS);
	EXPECT(marks[0].due_ns, next + PLAYBACK_LOOK_NS + TICK);
}

/* A full frame that should have been delivered so many ticks ago */
static void catch_up(int64_t ticks, int64_t now)
{
	const struct playback_frame frame = {
		.media = ulaw(160), .frame_ns = TICK, .delivered_ns = now,
		.behind_ns = ticks * TICK,
	};

	playback_ledger_caught_up(&ledger, &frame);
}

static void what_catches_up_does_not_move_the_clock(void)
{
	/* The tick after the first frame is missed, and 5 ms of the next one */
	int64_t late = T0 + 2 * TICK + 5 * MS;

	begin_watching(0);
	receive(4 * 160);
	deliver(T0);
	look(1, T0 + TICK / 2);
	mark(0, T0);
	playback_ledger_mark_at(&ledger, &marks[1], 160 + 80, PLAYBACK_WAITING, T0);
	playback_ledger_mark_at(&ledger, &marks[2], 2 * 160 + 80, PLAYBACK_WAITING, T0);
	catch_up(1, late);
	catch_up(0, late);
	EXPECT(playback_ledger_owes_packet(&ledger), 1);
	/* Nothing is played before it was seen to have left */
	expect_none(late);
	look(2, late + MS);
	/* This one ended while the host stalled, as the listener plays it */
	EXPECT(marks[1].due_ns, START + TICK + TICK / 2);
	EXPECT(marks[2].due_ns, START + 2 * TICK + TICK / 2);
	expect_pop(1, PLAYBACK_PLAYED, late + MS);
	expect_none(START + 2 * TICK + TICK / 2 - 1);
	expect_pop(2, PLAYBACK_PLAYED, START + 2 * TICK + TICK / 2);
	deliver(T0 + 3 * TICK);
	look(1, T0 + 3 * TICK + MS);
	expect_pop(0, PLAYBACK_PLAYED, START + 4 * TICK);
}

static void what_catches_up_where_nobody_looks_is_just_late(void)
{
	begin();
	receive(2 * 160);
	deliver(T0);
	mark(0, T0);
	catch_up(2, T0 + 3 * TICK);
	expect_pop(0, PLAYBACK_PLAYED, START + 4 * TICK);
}

static void what_nobody_hears_is_dropped(void)
{
	struct playback_drop drop;

	begin_watching(0);
	receive(4 * 160);
	playback_ledger_event_dequeued(&ledger, &marks[0], 40, T0);
	playback_ledger_skipped(&ledger, ulaw(160), PLAYBACK_DROP_UNSENT, T0);
	/* Nothing is waited for */
	expect_pop(0, PLAYBACK_PLAYED, T0);
	deliver(T0 + TICK);
	/* What was delivered before is not settled by what is lost behind it */
	playback_ledger_event_dequeued(&ledger, &marks[1], 160, T0 + TICK);
	playback_ledger_skipped(&ledger, ulaw(160), PLAYBACK_DROP_UNSENT, T0 + 2 * TICK);
	expect_none(T0 + 2 * TICK);
	mark(2, T0 + 2 * TICK);
	look(1, T0 + 2 * TICK);
	expect_pop(1, PLAYBACK_PLAYED, T0 + 3 * TICK + PLAYBACK_SEND_DELAY_NS);
	deliver(T0 + 3 * TICK);
	look(1, T0 + 3 * TICK + MS);
	expect_pop(2, PLAYBACK_PLAYED, T0 + 5 * TICK);
	EXPECT(marks[2].dropped, 320);
	EXPECT(marks[2].media_ns, 2 * TICK);
	EXPECT(playback_ledger_pop_drop(&ledger, PLAYBACK_NEVER / 2, &drop), 1);
	EXPECT(drop.reason, PLAYBACK_DROP_UNSENT);
	EXPECT(drop.bytes, 320);
	EXPECT(drop.offset, 0);
}

static void silence_that_is_left_out_is_dropped(void)
{
	struct playback_drop drop;

	begin_watching(0);
	receive(4 * 160);
	mark(0, T0);
	receive(160);
	mark(1, T0);
	EXPECT(playback_ledger_can_skip(&ledger, 160), 1);
	deliver(T0);
	/* What is before it may still be lost */
	EXPECT(playback_ledger_can_skip(&ledger, 160), 0);
	look(1, T0 + MS);
	playback_ledger_skipped(&ledger, ulaw(160), PLAYBACK_DROP_LATE, T0 + TICK);
	playback_ledger_skipped(&ledger, ulaw(160), PLAYBACK_DROP_LATE, T0 + TICK);
	/* A mark stands at the end of this one, and of the next one */
	EXPECT(playback_ledger_can_skip(&ledger, 160), 0);
	EXPECT(playback_ledger_can_skip(&ledger, 159), 1);
	deliver(T0 + TICK);
	look(1, T0 + TICK + MS);
	EXPECT(playback_ledger_can_skip(&ledger, 160), 0);
	expect_none(T0 + TICK + MS);
	expect_pop(0, PLAYBACK_PLAYED, T0 + 2 * TICK + MS);
	EXPECT(marks[0].dropped, 320);
	EXPECT(marks[0].media_ns, 2 * TICK);
	EXPECT(playback_ledger_pop_drop(&ledger, PLAYBACK_NEVER / 2, &drop), 1);
	EXPECT(drop.reason, PLAYBACK_DROP_LATE);
	EXPECT(drop.bytes, 320);
	EXPECT(drop.offset, 160);
	EXPECT(playback_ledger_queued(&ledger).bytes, 160);
	EXPECT(playback_ledger_snapshot(&ledger, T0 + 2 * TICK + MS).played.bytes, 320);
	EXPECT(playback_ledger_snapshot(&ledger, T0 + 2 * TICK + MS).dropped, 320);
	/* One that is set behind it later knows what was left out, too */
	playback_ledger_mark_at(&ledger, &marks[2], 330, PLAYBACK_WAITING, START + 2 * TICK);
	expect_pop(2, PLAYBACK_PLAYED, START + 2 * TICK);
	EXPECT(marks[2].media_ns, TICK);
}

static void what_the_peer_did_not_send_is_dropped(void)
{
	struct playback_drop drop;

	begin_watching(0);
	receive(160);
	mark(0, T0);
	receive(160);
	mark(1, T0);
	receive(40);
	mark(2, T0);
	receive(120);
	mark(3, T0);
	deliver(T0);
	look(1, LOOK);
	deliver(T0 + TICK);
	look(0, T0 + TICK + MS);
	EXPECT(marks[1].due_ns, T0 + TICK + MS);
	deliver(T0 + 2 * TICK);
	look(1, LOOK + 2 * TICK);
	expect_pop(0, PLAYBACK_PLAYED, LOOK + TICK);
	expect_pop(1, PLAYBACK_DROPPED, T0 + TICK + MS);
	EXPECT(marks[1].dropped, 160);
	EXPECT(marks[1].drop_reason, PLAYBACK_DROP_UNSENT);
	expect_pop(2, PLAYBACK_PLAYED, PLAYBACK_NEVER);
	EXPECT(marks[2].dropped, 0);
	EXPECT(marks[2].due_ns, LOOK + 2 * TICK + 5 * MS);
	EXPECT(marks[2].media_ns, TICK + 5 * MS);
	expect_pop(3, PLAYBACK_PLAYED, PLAYBACK_NEVER);
	EXPECT(playback_ledger_pop_drop(&ledger, PLAYBACK_NEVER / 2, &drop), 1);
	EXPECT(drop.reason, PLAYBACK_DROP_UNSENT);
	EXPECT(drop.bytes, 160);
	EXPECT(drop.offset, 160);
}

static void after_silence_the_latest_frames_are_those_that_left(void)
{
	int i;

	begin_watching(0);
	receive(160 * 4);
	deliver(T0);
	look(0, T0 + TICK);
	EXPECT(ledger.dropped_of_held.bytes, 160);
	for (i = 1; i < 4; i++) {
		deliver(T0 + i * TICK);
	}
	/* Which of the three is not known before the peer is done */
	EXPECT(playback_ledger_looked(&ledger, 1, 0, T0 + 3 * TICK), 0);
	EXPECT(ledger.held.bytes, 480);
	look(1, T0 + 4 * TICK);
	EXPECT(ledger.dropped_of_held.bytes, 480);
	EXPECT(ledger.sent.bytes, 160);
}

static void packet_longer_than_a_frame_leaves_with_its_last_frame(void)
{
	begin_watching(2 * TICK);
	receive(160);
	deliver(T0);
	EXPECT(playback_ledger_owes_packet(&ledger), 0);
	mark(0, T0);
	/* There is nothing to be seen yet */
	EXPECT(playback_ledger_look_due(&ledger), PLAYBACK_NEVER);
	look(0, T0 + TICK);
	EXPECT(ledger.held.bytes, 160);
	receive(160);
	deliver(T0 + TICK);
	mark(1, T0);
	EXPECT(playback_ledger_look_due(&ledger), LOOK + TICK);
	look(1, LOOK + TICK);
	EXPECT(ledger.held.bytes, 0);
	EXPECT(marks[0].due_ns, LOOK + 2 * TICK);
	EXPECT(marks[1].due_ns, LOOK + 3 * TICK);
	EXPECT(playback_ledger_snapshot(&ledger, LOOK + 2 * TICK).played.bytes, 160);
}

static void packets_of_any_length_take_their_part_of_the_frames(void)
{
	begin_watching(3 * TICK / 2);
	receive(160 * 3);
	mark(0, T0);
	deliver(T0);
	deliver(T0 + TICK);
	look(1, T0 + TICK + MS);
	EXPECT(ledger.sent.bytes, 240);
	EXPECT(ledger.held.bytes, 80);
	deliver(T0 + 2 * TICK);
	look(1, T0 + 2 * TICK + MS);
	EXPECT(ledger.sent.bytes, 480);
	/* Two packets a frame: it has left when both have */
	begin_watching(TICK / 2);
	receive(160);
	deliver(T0);
	EXPECT(playback_ledger_looked(&ledger, 1, 0, T0 + MS), 1);
	EXPECT(ledger.sent.bytes, 0);
	EXPECT(playback_ledger_owes_packet(&ledger), 1);
	look(1, T0 + MS);
	EXPECT(ledger.sent.bytes, 160);
	EXPECT(ledger.part_sent_ns, 0);
}

static void packets_of_another_length_have_the_latest(void)
{
	begin_watching(2 * TICK);
	receive(4 * 160);
	mark(0, T0);
	deliver(T0);
	/* Another smoother is there, and has left what the old one had: this is the second frame */
	deliver(T0 + TICK);
	playback_ledger_repacked(&ledger, TICK, 1);
	EXPECT(playback_ledger_looked(&ledger, 1, 0, T0 + TICK), 0);
	look(1, T0 + TICK);
	EXPECT(ledger.dropped_of_held.bytes, 160);
	EXPECT(ledger.sent.bytes, 160);
	/* Longer ones: nothing has left of this frame yet, and nothing is lost */
	deliver(T0 + 2 * TICK);
	playback_ledger_repacked(&ledger, 2 * TICK, 0);
	look(0, T0 + 2 * TICK);
	EXPECT(ledger.held.bytes, 160);
	deliver(T0 + 3 * TICK);
	look(1, T0 + 3 * TICK);
	EXPECT(ledger.sent.bytes, 3 * 160);
	expect_pop(0, PLAYBACK_PLAYED, T0 + 5 * TICK);
	EXPECT(marks[0].dropped, 160);
}

static void rest_that_fills_no_packet_is_not_lost(void)
{
	begin_watching(2 * TICK);
	receive(160 * 5);
	deliver(T0);
	look(0, T0 + TICK);
	EXPECT(ledger.held.bytes, 160);
	/* Nobody hears: one of the two may be kept by the peer, and so may the next one */
	deliver(T0 + TICK);
	look(0, T0 + 2 * TICK);
	EXPECT(ledger.dropped_of_held.bytes, 160);
	deliver(T0 + 2 * TICK);
	look(0, T0 + 3 * TICK);
	EXPECT(ledger.dropped_of_held.bytes, 320);
	deliver(T0 + 3 * TICK);
	look(1, T0 + 4 * TICK);
	EXPECT(ledger.dropped_of_held.bytes, 320);
	EXPECT(ledger.sent.bytes, 320);
	EXPECT(ledger.held.bytes, 0);
}

static void other_audio_that_the_peer_has_kept_is_played_first(void)
{
	int64_t resumed = T0 + 10 * TICK + MS;

	begin_watching(3 * TICK);
	receive(160 * 7);
	playback_ledger_mark_at(&ledger, &marks[0], 160, PLAYBACK_WAITING, T0);
	playback_ledger_mark_at(&ledger, &marks[1], 160 * 2 + 80, PLAYBACK_WAITING, T0);
	playback_ledger_mark_at(&ledger, &marks[2], 160 * 5, PLAYBACK_WAITING, T0);
	/* What it had been given before it was met fills the packet */
	deliver(T0);
	look(0, T0 + MS);
	deliver(T0 + TICK);
	look(1, T0 + TICK + MS);
	EXPECT(ledger.sent.bytes, 320);
	expect_pop(0, PLAYBACK_PLAYED, T0 + TICK + MS + 2 * TICK);
	/* Other audio in mid-packet: what is held is ahead of it */
	deliver(T0 + 2 * TICK);
	look(1, T0 + 4 * TICK);
	expect_pop(1, PLAYBACK_PLAYED, T0 + 4 * TICK + TICK / 2);
	/* More of it while nothing is held, and what is left of that is ahead again */
	look(2, T0 + 10 * TICK);
	deliver(resumed);
	look(0, resumed);
	deliver(resumed + TICK);
	look(1, resumed + TICK);
	expect_pop(2, PLAYBACK_PLAYED, resumed + TICK + 3 * TICK);
	deliver(resumed + 2 * TICK);
	deliver(resumed + 3 * TICK);
	look(0, resumed + 3 * TICK);
	EXPECT(ledger.held.bytes, 320);
	EXPECT(ledger.sent.bytes, 800);
	EXPECT(ledger.dropped_of_held.bytes, 0);
}

static void rest_leaves_with_what_comes_next_when_the_peer_is_met_again(void)
{
	int64_t met = T0 + 10 * TICK;

	begin_watching(2 * TICK);
	receive(160 * 2);
	mark(0, T0);
	deliver(T0);
	look(0, T0 + MS);
	EXPECT(playback_ledger_leave_rest(&ledger, T0 + TICK), 1);
	EXPECT(ledger.held.bytes, 160);
	playback_ledger_watching(&ledger, 1, 2 * TICK, met);
	deliver(met);
	look(1, met + MS);
	EXPECT(ledger.sent.bytes, 320);
	EXPECT(ledger.dropped_of_held.bytes, 0);
	expect_pop(0, PLAYBACK_PLAYED, met + MS + 2 * TICK);
	/* Another one is met */
	begin_watching(2 * TICK);
	receive(160);
	deliver(T0);
	EXPECT(playback_ledger_leave_rest(&ledger, T0 + TICK), 1);
	playback_ledger_watching(&ledger, 0, 2 * TICK, met);
	EXPECT(ledger.dropped_of_held.bytes, 160);
}

static void only_what_the_peer_was_seen_to_keep_is_a_rest(void)
{
	/* The second frame was thrown away by the peer that left */
	begin_watching(2 * TICK);
	receive(160 * 2);
	deliver(T0);
	look(0, T0 + MS);
	playback_ledger_shut(&ledger, 0, T0 + MS);
	deliver(T0 + TICK);
	EXPECT(playback_ledger_leave_rest(&ledger, T0 + TICK + MS), 1);
	EXPECT(ledger.held.bytes, 160);
	EXPECT(ledger.dropped_of_held.bytes, 160);
	/* Both frames were */
	begin_watching(2 * TICK);
	receive(160 * 2);
	deliver(T0);
	deliver(T0 + TICK);
	EXPECT(playback_ledger_leave_rest(&ledger, T0 + TICK + MS), 0);
	EXPECT(ledger.dropped_of_held.bytes, 320);
	/* Each frame is a packet */
	begin_watching(0);
	receive(160);
	deliver(T0);
	EXPECT(playback_ledger_leave_rest(&ledger, T0 + MS), 0);
	EXPECT(ledger.held.bytes, 160);
	/* There is nothing */
	begin_watching(2 * TICK);
	EXPECT(playback_ledger_leave_rest(&ledger, T0 + MS), 0);
}

static void what_got_lost_is_not_in_the_packet(void)
{
	begin_watching(3 * TICK);
	receive(160 * 4);
	mark_at(0, 160, T0);
	mark_at(1, 320, T0);
	deliver(T0);
	look(0, T0 + MS);
	deliver(T0 + TICK);
	playback_ledger_lost(&ledger, 1, T0 + TICK + MS);
	EXPECT(ledger.held.bytes, 160);
	EXPECT(ledger.dropped_of_held.bytes, 160);
	EXPECT(playback_ledger_leave_rest(&ledger, T0 + 2 * TICK), 1);
	playback_ledger_watching(&ledger, 1, 3 * TICK, T0 + 2 * TICK);
	deliver(T0 + 2 * TICK);
	EXPECT(playback_ledger_owes_packet(&ledger), 0);
	deliver(T0 + 3 * TICK);
	look(1, T0 + 3 * TICK);
	EXPECT(ledger.sent.bytes, 480);
	expect_pop(0, PLAYBACK_PLAYED, T0 + 4 * TICK);
	expect_pop(1, PLAYBACK_DROPPED, T0 + 4 * TICK);
	/* All of it, or where nothing is followed */
	begin_watching(3 * TICK);
	receive(160);
	deliver(T0);
	playback_ledger_lost(&ledger, 2, T0 + MS);
	EXPECT(ledger.held.bytes, 0);
	EXPECT(ledger.dropped_of_held.bytes, 160);
	playback_ledger_watching(&ledger, 0, 0, T0 + TICK);
	receive(160);
	deliver(T0 + TICK);
	playback_ledger_lost(&ledger, 1, T0 + TICK + MS);
	EXPECT(ledger.sent.bytes, 160);
}

static void what_is_kept_over_a_hold_leaves_behind_it(void)
{
	begin_watching(3 * TICK);
	receive(160 * 7);
	deliver(T0);
	mark_at(0, 160, T0);
	mark_at(1, 320, T0);
	mark_at(2, 640, T0);
	playback_ledger_shut(&ledger, 0, T0 + TICK);
	/* It is found to hold: one that was delivered before that has been taken, too */
	deliver(T0 + TICK);
	playback_ledger_shut(&ledger, 1, T0 + 2 * TICK);
	EXPECT(ledger.held.bytes, 320);
	/* Two that come meanwhile are lost; nothing is pushed out, and nothing told */
	deliver(T0 + 2 * TICK);
	playback_ledger_shut(&ledger, 1, T0 + 3 * TICK);
	EXPECT(ledger.dropped_of_held.bytes, 160);
	EXPECT(playback_ledger_wants_silence(&ledger, T0 + 3 * TICK), 0);
	EXPECT(playback_ledger_next_due(&ledger), PLAYBACK_NEVER);
	deliver(T0 + 3 * TICK);
	playback_ledger_shut(&ledger, 0, T0 + 4 * TICK);
	EXPECT(ledger.dropped_of_held.bytes, 320);
	EXPECT(ledger.held.bytes, 320);
	/* With the next one the packet is full */
	deliver(T0 + 4 * TICK);
	look(1, T0 + 4 * TICK + MS);
	EXPECT(ledger.sent.bytes, 480);
	expect_pop(0, PLAYBACK_PLAYED, T0 + 5 * TICK + MS);
	expect_pop(1, PLAYBACK_PLAYED, T0 + 6 * TICK + MS);
	EXPECT(playback_ledger_next_due(&ledger), T0 + 6 * TICK + MS);
	expect_pop(2, PLAYBACK_DROPPED, T0 + 6 * TICK + MS);
	/* One that fills a packet would have left, had it been taken */
	deliver(T0 + 5 * TICK);
	deliver(T0 + 6 * TICK);
	playback_ledger_shut(&ledger, 0, T0 + 7 * TICK);
	receive(160);
	deliver(T0 + 7 * TICK);
	playback_ledger_shut(&ledger, 1, T0 + 8 * TICK);
	EXPECT(ledger.held.bytes, 320);
	EXPECT(ledger.dropped_of_held.bytes, 480);
}

static void what_was_taken_just_when_a_hold_ended_is_not_played_early(void)
{
	const int64_t begin = T0 + 3 * TICK;
	int i;

	begin_watching(3 * TICK);
	receive(160 * 6);
	mark_at(0, 960, T0);
	for (i = 0; i < 3; i++) {
		deliver(T0 + i * TICK);
	}
	look(1, T0 + 2 * TICK + MS);
	deliver(begin);
	playback_ledger_shut(&ledger, 1, begin + TICK);
	EXPECT(ledger.held.bytes, 160);
	/* Taken, but the hold was seen to have ended only later */
	deliver(begin + TICK);
	playback_ledger_shut(&ledger, 0, begin + 2 * TICK);
	EXPECT(ledger.dropped_of_held.bytes, 160);
	/* So this one fills the packet, and is the last one in it */
	deliver(begin + 2 * TICK);
	look(1, begin + 2 * TICK + MS);
	EXPECT(ledger.sent.bytes, 800);
	expect_none(begin + 4 * TICK + 2 * MS);
	expect_pop(0, PLAYBACK_PLAYED, begin + 5 * TICK + MS);
}

static void what_is_dropped_behind_newer_media_is_reported_from_its_own_place(void)
{
	struct playback_drop drop;

	begin_watching(3 * TICK);
	receive(160 * 4);
	deliver(T0);
	playback_ledger_shut(&ledger, 0, T0 + TICK);
	deliver(T0 + TICK);
	deliver(T0 + 2 * TICK);
	playback_ledger_shut(&ledger, 1, T0 + 3 * TICK);
	EXPECT(ledger.dropped_of_held.bytes, 160);
	/* The peer that kept the oldest two is gone before it sent them */
	playback_ledger_watching(&ledger, 0, 0, T0 + 4 * TICK);
	EXPECT(ledger.dropped_of_held.bytes, 480);
	EXPECT(playback_ledger_pop_drop(&ledger, T0 + 4 * TICK, &drop), 1);
	EXPECT(drop.bytes, 480);
	EXPECT(drop.offset, 0);
}

static void what_is_dropped_of_a_packet_leaves_no_part_of_it(void)
{
	begin_watching(TICK / 2);
	receive(160 * 2);
	deliver(T0);
	deliver(T0 + MS);
	/* Half of the second frame has left when it is given up */
	EXPECT(playback_ledger_looked(&ledger, 3, 0, T0 + 2 * MS), 1);
	EXPECT(ledger.part_sent_ns, TICK / 2);
	playback_ledger_unheard(&ledger, T0 + 2 * MS);
	EXPECT(ledger.held_count, 0);
	/* Silence fills what is left of the next packet, and no more */
	receive(40);
	playback_ledger_delivered(&ledger, ulaw(40), TICK / 4, T0 + TICK);
	mark(0, T0 + TICK);
	EXPECT(playback_ledger_wants_silence(&ledger, PLAYBACK_NEVER), TICK / 4);
}

static void silence_pushes_the_rest_out_of_the_peer(void)
{
	begin_watching(3 * TICK);
	receive(160);
	deliver(T0);
	EXPECT(playback_ledger_wants_silence(&ledger, T0 + TICK), 0);
	mark(0, T0);
	EXPECT(playback_ledger_wants_silence(&ledger, T0 + TICK), TICK);
	/* All of it where no tick will come */
	EXPECT(playback_ledger_wants_silence(&ledger, PLAYBACK_NEVER), 2 * TICK);
	playback_ledger_delivered(&ledger, ulaw(0), TICK, T0 + TICK);
	EXPECT(playback_ledger_look_due(&ledger), PLAYBACK_NEVER);
	EXPECT(playback_ledger_wants_silence(&ledger, T0 + 2 * TICK), TICK);
	playback_ledger_delivered(&ledger, ulaw(0), TICK, T0 + 2 * TICK);
	EXPECT(playback_ledger_wants_silence(&ledger, T0 + 3 * TICK), 0);
	EXPECT(playback_ledger_look_due(&ledger), LOOK + 2 * TICK);
	look(1, LOOK + 2 * TICK);
	expect_pop(0, PLAYBACK_PLAYED, LOOK + 3 * TICK);
	EXPECT(playback_ledger_wants_silence(&ledger, T0 + 3 * TICK), 0);
	/* What a flush has left there, too; not where each frame is a packet */
	receive(160);
	deliver(T0 + 4 * TICK);
	flush(T0 + 4 * TICK);
	EXPECT(playback_ledger_wants_silence(&ledger, T0 + 5 * TICK), TICK);
	begin_watching(0);
	receive(160);
	deliver(T0);
	mark(0, T0);
	EXPECT(playback_ledger_wants_silence(&ledger, T0 + TICK), 0);
}

static void ordered_event_waits_until_it_is_known_what_left(void)
{
	begin_watching(0);
	receive(160);
	mark(0, T0);
	receive(160);
	deliver(T0);
	deliver(T0);
	receive(160);
	mark(1, T0);
	flush(T0);
	playback_ledger_mark(&ledger, &marks[2], PLAYBACK_ORDERED_EVENT, T0);
	mark(3, T0);
	EXPECT(playback_ledger_look_due(&ledger), LOOK);
	look(1, LOOK);
	expect_none(LOOK + TICK - 1);
	expect_pop(0, PLAYBACK_PLAYED, LOOK + TICK);
	expect_pop(1, PLAYBACK_FLUSHED, LOOK + TICK);
	/* 160 of the 320 bytes delivered before it were dropped after all */
	expect_pop(2, PLAYBACK_ORDERED_EVENT, LOOK + TICK);
	EXPECT(marks[2].dropped, 160);
	EXPECT(marks[2].media_ns, TICK);
	/* And are told once by a mark */
	EXPECT(marks[0].dropped, 0);
	EXPECT(marks[1].dropped, 160);
	/* It does not wait for its time to pass */
	receive(160);
	deliver(T0 + TICK);
	flush(T0 + TICK);
	playback_ledger_mark(&ledger, &marks[4], PLAYBACK_ORDERED_EVENT, T0 + TICK);
	expect_pop(3, PLAYBACK_PLAYED, PLAYBACK_NEVER - 1);
	EXPECT(marks[3].dropped, 0);
	expect_none(PLAYBACK_NEVER - 1);
	look(1, LOOK + TICK);
	expect_pop(4, PLAYBACK_ORDERED_EVENT, LOOK + TICK);
	/* Nor for what was on its way when the call ended, which did not leave */
	receive(160);
	deliver(T0 + 2 * TICK);
	flush(T0 + 2 * TICK);
	playback_ledger_mark(&ledger, &marks[5], PLAYBACK_ORDERED_EVENT, T0 + 2 * TICK);
	EXPECT(marks[5].media_ns, 3 * TICK);
	hangup(T0 + 2 * TICK);
	expect_pop(5, PLAYBACK_ORDERED_EVENT, T0 + 2 * TICK);
	EXPECT(marks[5].dropped, 160);
	EXPECT(marks[5].media_ns, 2 * TICK);
}

static void nobody_hears_what_is_replaced(void)
{
	begin_watching(2 * TICK);
	receive(160);
	deliver(T0);
	mark(0, T0);
	playback_ledger_unheard(&ledger, T0);
	expect_pop(0, PLAYBACK_DROPPED, T0);
	/* Elsewhere nothing is known of that */
	begin();
	receive(160);
	deliver(T0);
	playback_ledger_unheard(&ledger, T0);
	EXPECT(ledger.sent.bytes, 160);
}

static void what_is_held_when_watching_ends_is_dropped(void)
{
	begin_watching(0);
	receive(160);
	deliver(T0);
	mark(0, T0);
	playback_ledger_watching(&ledger, 0, 0, T0 + MS);
	expect_pop(0, PLAYBACK_DROPPED, T0 + MS);
	receive(160);
	deliver(T0 + TICK);
	mark(1, T0 + TICK);
	expect_pop(1, PLAYBACK_PLAYED, START + 2 * TICK);
	EXPECT(marks[1].stage, PLAYBACK_STAGE_DELIVERED);
}

/* The peer cannot be seen, but its packets are known */
static void begin_unseen(int64_t packet_ns)
{
	begin();
	playback_ledger_watching(&ledger, 0, packet_ns, T0);
}

static void what_fills_no_packet_is_not_taken_to_be_sent(void)
{
	begin_unseen(2 * TICK);
	receive(160);
	mark(0, T0);
	deliver(T0);
	EXPECT(playback_ledger_next_due(&ledger), PLAYBACK_NEVER);
	EXPECT(ledger.held.bytes, 160);
	/* Nothing is to be seen */
	EXPECT(playback_ledger_look_due(&ledger), PLAYBACK_NEVER);
	receive(160);
	mark(1, T0);
	deliver(T0 + TICK);
	/* Both leave now, and play one after the other */
	expect_pop(0, PLAYBACK_PLAYED, START + 2 * TICK);
	EXPECT(marks[0].due_ns, START + 2 * TICK);
	EXPECT(marks[0].stage, PLAYBACK_STAGE_DELIVERED);
	expect_pop(1, PLAYBACK_PLAYED, START + 3 * TICK);
	EXPECT(marks[1].due_ns, START + 3 * TICK);
	EXPECT(playback_ledger_wants_silence(&ledger, T0 + 2 * TICK), 0);
}

static void rest_of_an_unseen_packet_is_filled_with_silence(void)
{
	begin_unseen(3 * TICK);
	receive(160);
	mark(0, T0);
	deliver(T0);
	/* A tick's at each tick */
	EXPECT(playback_ledger_wants_silence(&ledger, T0 + TICK), TICK);
	playback_ledger_delivered(&ledger, ulaw(0), TICK, T0 + TICK);
	EXPECT(marks[0].due_ns, PLAYBACK_NEVER);
	EXPECT(playback_ledger_wants_silence(&ledger, T0 + 2 * TICK), TICK);
	playback_ledger_delivered(&ledger, ulaw(0), TICK, T0 + 2 * TICK);
	EXPECT(marks[0].due_ns, START + 3 * TICK);
	EXPECT(playback_ledger_wants_silence(&ledger, T0 + 3 * TICK), 0);
}

static void coder_with_frames_of_22_ms_keeps_a_part(void)
{
	/* LPC10 */
	const int64_t packet = 22500000;
	int i;

	begin_unseen(packet);
	receive(160 * 9);
	for (i = 0; i < 9; i++) {
		deliver(T0 + i * TICK);
		/* As many whole ones as fit */
		EXPECT(ledger.sent.bytes, (i + 1) * TICK / packet * 180);
	}
	EXPECT(ledger.held_count, 0);
	receive(160);
	mark(0, T0);
	deliver(T0 + 9 * TICK);
	EXPECT(playback_ledger_wants_silence(&ledger, T0 + 10 * TICK), 3 * MS);
	playback_ledger_delivered(&ledger, ulaw(0), 3 * MS, T0 + 10 * TICK);
	EXPECT(marks[0].due_ns, START + 11 * TICK);
}

static void what_an_unseen_peer_kept_is_dropped_with_it(void)
{
	struct playback_drop drop;

	begin_unseen(2 * TICK);
	receive(160);
	mark(0, T0);
	deliver(T0);
	playback_ledger_watching(&ledger, 0, 0, T0 + MS);
	expect_pop(0, PLAYBACK_DROPPED, T0 + MS);
	EXPECT(playback_ledger_pop_drop(&ledger, PLAYBACK_NEVER / 2, &drop), 1);
	EXPECT(drop.reason, PLAYBACK_DROP_UNSENT);
	EXPECT(drop.bytes, 160);
	receive(160);
	mark(1, T0);
	deliver(T0 + TICK);
	expect_pop(1, PLAYBACK_PLAYED, START + 2 * TICK);
}

static void listeners_of_a_mixer_get_long_packets(void)
{
	int i;

	begin();
	playback_ledger_mixing(&ledger, 1, T0);
	playback_ledger_watching(&ledger, 0, 3 * TICK, T0);
	receive(160 * 4);
	mark(0, T0);
	for (i = 0; i < 4; i++) {
		deliver(T0 + i * TICK);
		mix(T0 + i * TICK + MS);
		/* None of the first three has left when the third one is mixed */
		EXPECT(played_bytes(MIXED_START + MS + i * TICK), i < 3 ? 0 : 159);
	}
	/* What a packet begins with leaves two mixing intervals later, all else as late */
	mix(T0 + 4 * TICK + MS);
	EXPECT(marks[0].due_ns, MIXED_START + MS + (3 + 2 + 1) * TICK
		+ PLAYBACK_MIXER_WAIT_NS);
	mix(T0 + 5 * TICK + MS);
	EXPECT(marks[0].due_ns, MIXED_START + MS + (3 + 2 + 1) * TICK);
	EXPECT(marks[0].stage, PLAYBACK_STAGE_MIXED);
	EXPECT(played_bytes(MIXED_START + MS + (3 + 2 + 1) * TICK), 160 * 4);
	/* They are not dropped when the bridge ceases to mix */
	playback_ledger_mixing(&ledger, 0, T0 + 5 * TICK + MS);
	EXPECT(ledger.dropped_of_held.bytes, 0);
	receive(160);
	deliver(T0 + 20 * TICK);
	EXPECT(ledger.held.bytes, 0);
}

/* A mixer whose listener gets packets of 40 ms; 20 ms were mixed, with a mark in them */
static void begin_half_a_packet(void)
{
	begin();
	playback_ledger_mixing(&ledger, 1, T0);
	playback_ledger_watching(&ledger, 0, 2 * TICK, T0);
	receive(160);
	playback_ledger_mark_at(&ledger, &marks[0], 8, PLAYBACK_WAITING, T0);
	mark(1, T0);
	deliver(T0);
	mix(T0 + MS);
}

static void packet_leaves_with_the_interval_that_fills_it(void)
{
	const int64_t late = T0 + TICK + 8 * MS;
	const int64_t left = late + PLAYBACK_MIXED_SEND_DELAY_NS;

	begin_half_a_packet();
	/* The host stalls: by the clock it had left, and 1 ms of it was played */
	playback_ledger_mark_at(&ledger, &marks[2], 16, PLAYBACK_WAITING, T0 + 2 * MS);
	expect_none(late);
	EXPECT(played_bytes(late), 0);
	mix(late);
	EXPECT(marks[0].due_ns, left);
	EXPECT(marks[2].due_ns, left);
	/* All else is played in its time */
	EXPECT(marks[1].due_ns, MIXED_START + MS + 2 * TICK);
	EXPECT(played_bytes(left - 1), 0);
	EXPECT(played_bytes(left) > 48, 1);
	/* One in what has left just now, and one in what has been played */
	playback_ledger_mark_at(&ledger, &marks[3], 8, PLAYBACK_WAITING, late);
	EXPECT(marks[3].due_ns, left);
	expect_pop(0, PLAYBACK_PLAYED, left);
	expect_pop(3, PLAYBACK_PLAYED, left);
	expect_pop(2, PLAYBACK_PLAYED, left);
	playback_ledger_mark_at(&ledger, &marks[4], 16, PLAYBACK_WAITING, left + MS);
	EXPECT(marks[4].due_ns, left + MS);
	expect_pop(4, PLAYBACK_PLAYED, left + MS);
	expect_pop(1, PLAYBACK_PLAYED, MIXED_START + MS + 2 * TICK);
	expect_none(PLAYBACK_NEVER - 1);
}

static void no_mark_waits_forever_for_a_packet(void)
{
	const int64_t due = MIXED_START + MS + TICK + MS;

	/* The mixer writes no more */
	begin_half_a_packet();
	expect_none(due + PLAYBACK_MIXER_WAIT_NS - MS - 1);
	expect_pop(0, PLAYBACK_PLAYED, due + PLAYBACK_MIXER_WAIT_NS);
	expect_pop(1, PLAYBACK_PLAYED, due + PLAYBACK_MIXER_WAIT_NS + TICK);
	EXPECT(played_bytes(due + PLAYBACK_MIXER_WAIT_NS + TICK), 160);
	mix(T0 + PLAYBACK_MIXER_WAIT_NS + 10 * TICK);
	expect_none(PLAYBACK_NEVER - 1);
	/* The channel leaves the bridge, or the bridge ceases to mix */
	begin_half_a_packet();
	playback_ledger_mixing(&ledger, 0, T0 + 2 * MS);
	expect_none(due - 1);
	expect_pop(0, PLAYBACK_PLAYED, due);
	expect_pop(1, PLAYBACK_PLAYED, MIXED_START + MS + 2 * TICK);
	EXPECT(played_bytes(MIXED_START + MS + 2 * TICK), 160);
	/* In another one it is not waited for either */
	playback_ledger_mixing(&ledger, 1, T0 + 3 * TICK);
	mark(2, T0 + 3 * TICK);
	expect_pop(2, PLAYBACK_PLAYED, T0 + 3 * TICK);
	expect_none(PLAYBACK_NEVER - 1);
	/* The call ends */
	begin_half_a_packet();
	hangup(T0 + 4 * TICK);
	expect_pop(0, PLAYBACK_HUNGUP, T0 + 4 * TICK);
	expect_pop(1, PLAYBACK_HUNGUP, T0 + 4 * TICK);
	expect_none(PLAYBACK_NEVER - 1);
}

static void only_what_a_packet_begins_with_waits_for_the_next_interval(void)
{
	int i;

	/* 80 ms fill a packet of 40 ms whatever it began with, but for the last 20 ms */
	begin();
	playback_ledger_mixing(&ledger, 1, T0);
	playback_ledger_watching(&ledger, 0, 2 * TICK, T0);
	receive(640);
	playback_ledger_mark_at(&ledger, &marks[0], 480, PLAYBACK_WAITING, T0);
	playback_ledger_mark_at(&ledger, &marks[1], 481, PLAYBACK_WAITING, T0);
	playback_ledger_event_dequeued(&ledger, &marks[2], 640, T0);
	for (i = 0; i < 4; i++) {
		deliver(T0 + i * TICK);
	}
	playback_ledger_mixed(&ledger, 4 * TICK, T0 + 4 * TICK);
	expect_pop(0, PLAYBACK_PLAYED, MIXED_START + 8 * TICK);
	EXPECT(marks[0].due_ns, MIXED_START + 8 * TICK);
	expect_none(MIXED_START + 10 * TICK);
	playback_ledger_mixed(&ledger, 4 * TICK, T0 + 9 * TICK);
	EXPECT(marks[1].due_ns, MIXED_START + 9 * TICK);
	EXPECT(marks[2].due_ns, MIXED_START + 9 * TICK);
	/* Packets of 120 ms wait for two such intervals */
	begin();
	playback_ledger_mixing(&ledger, 1, T0);
	playback_ledger_watching(&ledger, 0, 6 * TICK, T0);
	receive(640);
	mark(0, T0);
	for (i = 0; i < 4; i++) {
		deliver(T0 + i * TICK);
	}
	playback_ledger_mixed(&ledger, 4 * TICK, T0 + 4 * TICK);
	playback_ledger_mixed(&ledger, 4 * TICK, T0 + 8 * TICK);
	expect_none(MIXED_START + 15 * TICK);
	playback_ledger_mixed(&ledger, 4 * TICK, T0 + 15 * TICK);
	expect_pop(0, PLAYBACK_PLAYED, MIXED_START + 15 * TICK);
	EXPECT(marks[0].due_ns, MIXED_START + 15 * TICK);
}

/* Resamplers on the way to the listener make media 5 ms later */
#define RESAMPLED (5 * MS)

static void begin_resampled(int64_t packet_ns)
{
	begin();
	playback_ledger_listener_resampled(&ledger, RESAMPLED, 0, T0);
	playback_ledger_watching(&ledger, 1, packet_ns, T0);
	/* The host has time */
	ledger.uneven_ns = 0;
}

/* Packets of 40 ms, of three frames: 20 ms fill none, the last 5 of these are in a resampler */
static void begin_resampled_rest(void)
{
	begin_resampled(2 * TICK);
	receive(480);
	deliver(T0);
	deliver(T0 + TICK);
	deliver(T0 + 2 * TICK);
	look(1, T0 + 2 * TICK);
	mark(0, T0 + 2 * TICK);
}

static void end_of_a_resampled_frame_leaves_with_the_next_one(void)
{
	begin_resampled(0);
	receive(120);
	mark(0, T0);
	receive(40);
	mark(1, T0);
	deliver(T0);
	EXPECT(playback_ledger_owes_packet(&ledger), 1);
	look(1, LOOK);
	/* Behind 5 ms of silence */
	EXPECT(marks[0].due_ns, LOOK + RESAMPLED + 15 * MS);
	EXPECT(marks[1].due_ns, PLAYBACK_NEVER);
	EXPECT(ledger.held.bytes, 40);
	EXPECT(playback_ledger_snapshot(&ledger, LOOK + 2 * TICK).played.bytes, 120);
	receive(160);
	deliver(T0 + TICK);
	look(1, LOOK + TICK);
	EXPECT(marks[1].due_ns, LOOK + RESAMPLED + TICK);
	EXPECT(ledger.held.bytes, 40);
	EXPECT(playback_ledger_owes_packet(&ledger), 0);
}

static void silence_pushes_out_what_is_in_resamplers(void)
{
	begin_resampled(0);
	receive(160);
	deliver(T0);
	look(1, LOOK);
	/* Nobody waits for it */
	EXPECT(playback_ledger_wants_silence(&ledger, T0 + TICK), 0);
	mark(0, T0 + TICK);
	EXPECT(playback_ledger_wants_silence(&ledger, T0 + TICK), TICK);
	playback_ledger_delivered(&ledger, ulaw(0), TICK, T0 + TICK);
	EXPECT(playback_ledger_wants_silence(&ledger, T0 + TICK), 0);
	look(1, LOOK + TICK);
	EXPECT(marks[0].due_ns, LOOK + TICK + RESAMPLED);
	EXPECT(ledger.held.bytes, 0);
	/* There is silence in them now, which is nothing to be held */
	EXPECT(ledger.held_count, 0);
	EXPECT(playback_ledger_wants_silence(&ledger, T0 + 2 * TICK), 0);
	EXPECT(playback_ledger_can_skip(&ledger, 160), 1);
	/* A packet of 40 ms is full with three frames and the silence of the fourth */
	begin_resampled_rest();
	EXPECT(ledger.sent.bytes, 280);
	EXPECT(playback_ledger_wants_silence(&ledger, T0 + 3 * TICK), TICK);
	playback_ledger_delivered(&ledger, ulaw(0), TICK, T0 + 3 * TICK);
	look(1, T0 + 3 * TICK);
	EXPECT(ledger.sent.bytes, 480);
}

static void what_is_in_resamplers_is_lost_with_them(void)
{
	struct playback_drop drop;

	begin_resampled_rest();
	playback_ledger_listener_resampled(&ledger, RESAMPLED, 1, T0 + 3 * TICK);
	/* What has come out of them stays in the packet */
	EXPECT(ledger.held.bytes, 160);
	EXPECT(playback_ledger_pop_drop(&ledger, T0 + 3 * TICK, &drop), 1);
	EXPECT(drop.bytes, 40);
	EXPECT(drop.offset, 440);
	EXPECT(drop.reason, PLAYBACK_DROP_UNSENT);
	receive(160);
	deliver(T0 + 3 * TICK);
	look(1, LOOK + 3 * TICK);
	/* And silence is where it was */
	EXPECT(ledger.sent.bytes, 560);
	EXPECT(marks[0].due_ns, LOOK + 4 * TICK);
	EXPECT(marks[0].dropped, 40);
	/* Other audio that goes the same way takes it along */
	begin_resampled(0);
	receive(160);
	mark(0, T0);
	deliver(T0);
	look(1, LOOK);
	EXPECT(marks[0].due_ns, PLAYBACK_NEVER);
	look(1, LOOK + TICK);
	EXPECT(ledger.held.bytes, 0);
	EXPECT(marks[0].due_ns, LOOK + TICK + RESAMPLED);
}

static void resampled_frame_that_is_not_sent_leaves_its_end(void)
{
	begin_resampled(0);
	receive(320);
	deliver(T0);
	look(1, LOOK);
	mark(0, T0);
	deliver(T0 + TICK);
	/* The packet was made, of the end of the first one and most of the second */
	look(0, T0 + TICK + MS);
	EXPECT(ledger.sent.bytes, 120);
	EXPECT(ledger.dropped_of_held.bytes, 160);
	EXPECT(ledger.held.bytes, 40);
	receive(160);
	deliver(T0 + 2 * TICK);
	look(1, LOOK + 2 * TICK);
	EXPECT(ledger.sent.bytes, 280);
	EXPECT(marks[0].due_ns, LOOK + 2 * TICK + RESAMPLED);
	/* Of one that nobody is given nothing was made */
	receive(160);
	deliver(T0 + 3 * TICK);
	playback_ledger_unheard(&ledger, T0 + 3 * TICK);
	EXPECT(ledger.held.bytes, 40);
	EXPECT(ledger.dropped_of_held.bytes, 320);
}

static void short_resampled_frame_is_gathered_by_nobody(void)
{
	begin();
	playback_ledger_listener_resampled(&ledger, RESAMPLED, 0, T0);
	receive(60);
	playback_ledger_delivered(&ledger, ulaw(60), 60 * MS / 8, T0);
	mark(0, T0);
	EXPECT(ledger.sent.bytes, 20);
	EXPECT(ledger.held_frames_ns, RESAMPLED);
	/* The listener has gone, and its resamplers with it */
	playback_ledger_listener_resampled(&ledger, 0, 0, T0 + TICK);
	EXPECT(ledger.held_count, 0);
	EXPECT(ledger.dropped_of_held.bytes, 40);
	EXPECT(playback_ledger_wants_silence(&ledger, T0 + TICK), 0);
	expect_pop(0, PLAYBACK_PLAYED, T0 + TICK);
	EXPECT(marks[0].dropped, 40);
}

static void mixer_is_given_what_comes_out_of_resamplers(void)
{
	begin();
	playback_ledger_resampled(&ledger, RESAMPLED, 0, T0);
	playback_ledger_mixing(&ledger, 1, T0);
	playback_ledger_mixed(&ledger, TICK, T0 - TICK);
	receive(160);
	mark(0, T0);
	deliver(T0);
	holds(TICK);
	mix(T0 + TICK);
	EXPECT(ledger.sent.bytes, 120);
	EXPECT(marks[0].due_ns, PLAYBACK_NEVER);
	holds(0);
	EXPECT(ledger.held.bytes, 40);
	EXPECT(playback_ledger_wants_silence(&ledger, T0 + 2 * TICK), TICK);
	playback_ledger_delivered(&ledger, ulaw(0), TICK, T0 + TICK + 2 * MS);
	mix(T0 + 2 * TICK);
	EXPECT(marks[0].due_ns, MIXED_START + 2 * TICK + RESAMPLED);
	/* It goes on with another rate, for which nothing is resampled */
	receive(160);
	deliver(T0 + 2 * TICK + MS);
	playback_ledger_resampled(&ledger, 0, 1, T0 + 3 * TICK);
	playback_ledger_mixer_began(&ledger, 0, T0 + 3 * TICK);
	EXPECT(ledger.held.bytes, 0);
	EXPECT(ledger.dropped_of_held.bytes, 160);
}

static void listeners_of_a_mixer_are_resampled(void)
{
	begin();
	playback_ledger_mixing(&ledger, 1, T0);
	playback_ledger_listener_resampled(&ledger, RESAMPLED, 0, T0);
	playback_ledger_mixed(&ledger, TICK, T0 - TICK);
	receive(160);
	playback_ledger_mark_at(&ledger, &marks[0], 100, PLAYBACK_WAITING, T0);
	mark(1, T0);
	deliver(T0);
	mix(T0 + TICK);
	EXPECT(marks[0].due_ns, MIXED_START + TICK + RESAMPLED + 12500000);
	/* The end of it leaves with the next interval */
	EXPECT(played_bytes(MIXED_START + 3 * TICK), 120);
	EXPECT(marks[1].due_ns, MIXED_START + 2 * TICK + RESAMPLED + PLAYBACK_MIXER_WAIT_NS);
	mix(T0 + 2 * TICK);
	EXPECT(marks[1].due_ns, MIXED_START + 2 * TICK + RESAMPLED);
	EXPECT(ledger.held.bytes, 0);
}

static void peer_that_is_kept_from_its_work_is_waited_for(void)
{
	int i;

	begin_watching(0);
	for (i = 0; i < 2 * PLAYBACK_HELD_MAX; i++) {
		receive(160);
		deliver(T0 + i * TICK);
		EXPECT(playback_ledger_looked(&ledger, 0, 0, T0 + i * TICK + MS), 1);
	}
	EXPECT(ledger.held_count, PLAYBACK_HELD_MAX);
	EXPECT(ledger.held.bytes, 2 * PLAYBACK_HELD_MAX * 160);
	EXPECT(ledger.dropped_of_held.bytes, 0);
}

static void stages_are_told_apart(void)
{
	begin();
	mark(0, T0);
	EXPECT(marks[0].stage, PLAYBACK_STAGE_DELIVERED);
	playback_ledger_mixing(&ledger, 1, T0);
	mark(1, T0);
	EXPECT(marks[1].stage, PLAYBACK_STAGE_MIXED);
	receive(160);
	mark(2, T0);
	deliver(T0);
	mix(T0 + MS);
	playback_ledger_mixing(&ledger, 0, T0 + 2 * MS);
	EXPECT(marks[2].stage, PLAYBACK_STAGE_MIXED);
	receive(160);
	mark(3, T0);
	flush(T0);
	EXPECT(marks[3].stage, PLAYBACK_STAGE_DELIVERED);
}

static void flush_ends_the_piece_before_it(void)
{
	begin_watching(0);
	receive(160);
	mark(0, T0);
	deliver(T0);
	look(1, LOOK);
	receive(160);
	deliver(T0 + TICK);
	receive(160);
	flush(T0 + TICK);
	/* Of what came behind the flush nothing is played, of what came before it something */
	receive(160);
	mark(1, T0 + TICK);
	look(1, LOOK + TICK);
	deliver(T0 + 2 * TICK);
	look(0, T0 + 3 * TICK);
	expect_pop(0, PLAYBACK_PLAYED, PLAYBACK_NEVER - 1);
	expect_pop(1, PLAYBACK_DROPPED, PLAYBACK_NEVER - 1);
	EXPECT(marks[1].dropped, 160);
	/* A mark that waits for nothing tells nothing of what is still to be played */
	receive(160);
	playback_ledger_mark(&ledger, &marks[2], PLAYBACK_DIRECTION, T0);
	expect_pop(2, PLAYBACK_DIRECTION, T0);
	flush(T0);
	receive(200);
	mark(3, T0);
	playback_ledger_delivered(&ledger, ulaw(100), TICK, T0 + 3 * TICK);
	look(0, T0 + 4 * TICK);
	playback_ledger_delivered(&ledger, ulaw(100), TICK, T0 + 4 * TICK);
	look(1, T0 + 5 * TICK);
	expect_pop(3, PLAYBACK_PLAYED, PLAYBACK_NEVER - 1);
	EXPECT(marks[3].dropped, 100);
}

int main(void)
{
	RUN(mark_before_any_media_is_due_at_once);
	RUN(mark_on_a_frame_boundary_is_due_when_the_frame_has_played);
	RUN(marks_inside_a_frame_are_due_that_far_into_it);
	RUN(time_inside_a_frame_is_rounded_up);
	RUN(marks_at_one_offset_are_due_in_order);
	RUN(mark_after_the_last_frame_waits_for_the_frame_in_play);
	RUN(partial_frame_is_wanted_only_by_a_mark_inside_it);
	RUN(mark_at_the_queue_end_does_not_want_the_partial_frame);
	RUN(dropped_bytes_are_not_waited_for);
	RUN(flush_settles_what_was_not_delivered);
	RUN(media_after_a_flush_is_counted_on);
	RUN(hangup_settles_the_frame_in_play_too);
	RUN(settled_mark_waits_for_those_before_it);
	RUN(ordered_event_waits_for_the_marks_before_it_and_counts_no_drops);
	RUN(half_a_sample_is_not_waited_for);
	RUN(queued_event_comes_before_the_rest_of_its_frame);
	RUN(queued_event_does_not_wait_for_a_mark_behind_it);
	RUN(short_frame_is_not_followed_at_once);
	RUN(one_late_tick_does_not_move_the_clock);
	RUN(ticks_that_stay_late_move_the_clock);
	RUN(missed_tick_starts_the_clock_anew);
	RUN(long_frames_each_tick_pile_up);
	RUN(played_follows_the_clock_and_never_goes_back);
	RUN(counters_pass_32_bits);
	RUN(mixer_holds_a_frame_until_its_next_mixing_interval);
	RUN(frame_just_before_mixing_is_taken_to_miss_it);
	RUN(late_mixing_does_not_take_a_frame_that_came_after_its_time);
	RUN(mark_is_not_due_before_what_is_late_has_left);
	RUN(what_the_mixer_did_not_write_is_ignored);
	RUN(what_the_mixer_really_holds_counts);
	RUN(what_was_seen_in_the_mixer_had_not_been_mixed_before);
	RUN(what_was_mixed_plays_when_the_result_arrives);
	RUN(silence_left_in_the_mixer_is_not_waited_for);
	RUN(short_mixing_interval_takes_a_frame_in_parts);
	RUN(long_mixing_interval_waits_for_enough_frames);
	RUN(silence_pushes_the_rest_out_of_a_mixer);
	RUN(silence_comes_as_late_as_it_can);
	RUN(silence_is_pushed_only_where_something_waits);
	RUN(silence_fills_any_interval);
	RUN(frame_without_duration_is_no_mixing_interval);
	RUN(played_follows_the_clock_through_a_long_mixing_interval);
	RUN(mixer_that_begins_with_a_shorter_interval_drops_what_it_held);
	RUN(interval_that_comes_too_soon_is_known_from_then_on);
	RUN(mixer_that_cannot_be_seen_keeps_what_came_just_now);
	RUN(mixer_that_begins_anew_keeps_what_came_afterwards);
	RUN(mixer_that_writes_nothing_is_seen_to_have_mixed);
	RUN(interval_behind_a_late_one_is_not_taken_for_that);
	RUN(mixer_is_full_with_more_than_four_intervals);
	RUN(mixer_that_begins_with_another_interval_drops_what_it_held);
	RUN(clock_begins_anew_with_and_without_a_mixer);
	RUN(clock_begins_anew_after_mixing_out_of_step);
	RUN(flush_leaves_what_the_mixer_holds);
	RUN(leaving_the_mixer_drops_what_it_held);
	RUN(marks_say_what_was_dropped_before_them);
	RUN(next_mark_says_what_was_dropped_behind_the_last_one);
	RUN(queued_events_do_not_wait_for_what_was_dropped);
	RUN(mark_behind_a_flush_does_not_wait_for_what_was_dropped_before_it);
	RUN(other_audio_in_the_mixer_is_not_ours_to_drop);
	RUN(mixer_that_does_not_mix_drops_all);
	RUN(mixer_that_cannot_be_seen_holds_a_bounded_amount);
	RUN(hangup_counts_what_the_mixer_held_as_flushed);
	RUN(mark_at_an_offset_is_due_when_the_byte_before_it_has_played);
	RUN(mark_at_an_offset_behind_what_was_played_is_due_at_once);
	RUN(marks_at_offsets_come_in_the_order_of_the_stream);
	RUN(mark_ahead_waits_for_its_byte);
	RUN(mark_ahead_stays_when_something_is_flushed);
	RUN(mark_at_an_offset_that_was_flushed_is_discarded);
	RUN(mark_at_an_offset_knows_what_was_dropped_before_it);
	RUN(mark_ahead_does_not_wait_for_what_is_dropped);
	RUN(mark_ahead_ends_with_the_call);
	RUN(settled_mark_ahead_takes_its_turn);
	RUN(mark_inside_a_sample_stands_where_that_begins);
	RUN(mark_inside_a_message_of_passthrough_mode);
	RUN(mark_in_what_piles_up_is_not_early);
	RUN(mark_at_an_offset_in_a_mixer);
	RUN(what_a_mixer_dropped_before_a_flush_was_not_flushed);
	RUN(mark_before_all_that_is_remembered_is_refused);
	RUN(underrun_is_silence_where_more_was_to_come);
	RUN(drops_are_reported_ten_times_a_second);
	RUN(nothing_of_its_media_left_discards_a_mark);
	RUN(frame_is_held_until_the_peer_has_sent_it);
	RUN(look_long_after_does_not_move_the_clock);
	RUN(next_frames_are_taken_to_leave_as_soon);
	RUN(where_frames_are_delivered_unevenly_each_is_looked_at_soon);
	RUN(where_frames_leave_slowly_none_is_taken_to_leave_sooner);
	RUN(what_was_to_be_seen_leaving_and_was_not_is_taken_to_leave_late);
	RUN(frame_of_a_late_tick_is_taken_to_leave_late);
	RUN(what_is_late_is_looked_for_again);
	RUN(what_may_have_left_just_now_is_taken_to_have);
	RUN(a_mark_that_is_due_sooner_is_looked_for_soon);
	RUN(how_soon_frames_leave_is_learned_anew);
	RUN(what_may_leave_otherwise_is_looked_for_soon);
	RUN(clock_begins_anew_behind_what_was_seen_late);
	RUN(what_catches_up_does_not_move_the_clock);
	RUN(what_catches_up_where_nobody_looks_is_just_late);
	RUN(what_nobody_hears_is_dropped);
	RUN(silence_that_is_left_out_is_dropped);
	RUN(what_the_peer_did_not_send_is_dropped);
	RUN(after_silence_the_latest_frames_are_those_that_left);
	RUN(packet_longer_than_a_frame_leaves_with_its_last_frame);
	RUN(packets_of_any_length_take_their_part_of_the_frames);
	RUN(packets_of_another_length_have_the_latest);
	RUN(rest_that_fills_no_packet_is_not_lost);
	RUN(other_audio_that_the_peer_has_kept_is_played_first);
	RUN(rest_leaves_with_what_comes_next_when_the_peer_is_met_again);
	RUN(only_what_the_peer_was_seen_to_keep_is_a_rest);
	RUN(what_got_lost_is_not_in_the_packet);
	RUN(what_is_kept_over_a_hold_leaves_behind_it);
	RUN(what_was_taken_just_when_a_hold_ended_is_not_played_early);
	RUN(what_is_dropped_behind_newer_media_is_reported_from_its_own_place);
	RUN(what_is_dropped_of_a_packet_leaves_no_part_of_it);
	RUN(silence_pushes_the_rest_out_of_the_peer);
	RUN(ordered_event_waits_until_it_is_known_what_left);
	RUN(flush_ends_the_piece_before_it);
	RUN(nobody_hears_what_is_replaced);
	RUN(what_is_held_when_watching_ends_is_dropped);
	RUN(what_fills_no_packet_is_not_taken_to_be_sent);
	RUN(rest_of_an_unseen_packet_is_filled_with_silence);
	RUN(coder_with_frames_of_22_ms_keeps_a_part);
	RUN(what_an_unseen_peer_kept_is_dropped_with_it);
	RUN(listeners_of_a_mixer_get_long_packets);
	RUN(packet_leaves_with_the_interval_that_fills_it);
	RUN(no_mark_waits_forever_for_a_packet);
	RUN(only_what_a_packet_begins_with_waits_for_the_next_interval);
	RUN(end_of_a_resampled_frame_leaves_with_the_next_one);
	RUN(silence_pushes_out_what_is_in_resamplers);
	RUN(what_is_in_resamplers_is_lost_with_them);
	RUN(resampled_frame_that_is_not_sent_leaves_its_end);
	RUN(short_resampled_frame_is_gathered_by_nobody);
	RUN(mixer_is_given_what_comes_out_of_resamplers);
	RUN(listeners_of_a_mixer_are_resampled);
	RUN(peer_that_is_kept_from_its_work_is_waited_for);
	RUN(stages_are_told_apart);
	return failures ? EXIT_FAILURE : EXIT_SUCCESS;
}
