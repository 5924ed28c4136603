/*
 * Fuzzing the ledger: any order of calls that keeps to the contract in playback_ledger.h.
 *
 * The first byte of an input chooses the kind of media and how far the counters are. Each
 * further two bytes are an operation, its letter, and an amount; both can be typed, see
 * seeds/ledger. After each operation the books must balance; every mark must come back
 * once, in the order of the stream, and not before its media has been sent.
 */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Its struct is opaque elsewhere */
#include "../playback_ledger.c"
#include "fuzz.h"

#define MS 1000000LL
#define TICK (20 * MS)
#define BYTE_NS 125000
#define MESSAGES_MAX 64

/* A mark or an event, each in memory of its own: ASan sees what is used after it */
struct pending {
	struct playback_mark mark;
	uint64_t number;
	/* Whether it was made with an outcome */
	int settled;
	int is_event;
	/* Among the marks and events that have not come back, as they have to */
	struct pending *next;
};

struct run {
	struct playback_ledger ledger;
	int64_t now;
	/* What the ledger was told, counted once more */
	struct playback_media received, dropped, flushed, delivered;
	uint64_t reported, played;
	/* Bytes that the marks which came back say were dropped */
	uint64_t counted;
	/* Marks, and events, that have not come back, in the order of their offsets */
	struct pending *pending[2];
	int hung_up;
	/* What was received behind the latest mark or event: a drop is known before these */
	uint64_t fresh;
	/* Where the latest event is; the next one is not before it */
	uint64_t event_position;
	/* Each message is a frame with its own duration; else each byte lasts the same */
	int passthrough;
	struct playback_media messages[MESSAGES_MAX];
	unsigned int message_count;
	uint64_t made[2], returned[2];
};

static struct playback_media media(uint64_t bytes)
{
	return (struct playback_media) { .bytes = bytes, .ns = (int64_t) bytes * BYTE_NS, };
}

static uint64_t total(const uint64_t *bytes)
{
	uint64_t sum = 0;
	int i;

	for (i = 0; i < PLAYBACK_DROP_REASONS; i++) {
		sum += bytes[i];
	}
	return sum;
}

static void count(struct playback_media *sum, struct playback_media part)
{
	sum->bytes += part.bytes;
	sum->ns += part.ns;
}

static uint64_t queued(const struct run *run)
{
	return run->received.bytes - run->dropped.bytes - run->flushed.bytes
		- run->delivered.bytes;
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* 'A' to 'Z' are 20 to 520 bytes, 'H' a frame of 160; other values are odd */
static unsigned int size_of(uint8_t amount)
{
	return 20 * (amount & 31) + (amount & 64 ? 0 : amount >> 5);
}

static void receive(struct run *run, unsigned int size)
{
	struct playback_media message = media(size);

	if (run->passthrough) {
		/* 0 to 80 ms, whatever its size */
		message.ns = size / 20 % 5 * TICK;
		if (!size || run->message_count == MESSAGES_MAX) {
			return;
		}
		run->messages[run->message_count++] = message;
	}
	playback_ledger_received(&run->ledger, message, run->now);
	count(&run->received, message);
	run->fresh += size;
}

static void drop(struct run *run, unsigned int size)
{
	uint64_t newest = least(run->fresh, queued(run));
	/* Half a sample, which is kept */
	uint64_t behind = !run->passthrough && size & 1 && newest ? 1 : 0;
	struct playback_media dropped = media(least(size, newest - behind));

	if (run->passthrough) {
		if (!run->message_count
			|| run->messages[run->message_count - 1].bytes > run->fresh) {
			return;
		}
		dropped = run->messages[--run->message_count];
	}
	playback_ledger_dropped(&run->ledger, dropped, behind, size % PLAYBACK_DROP_BRIDGE,
		run->now);
	count(&run->dropped, dropped);
	/* Once a message */
	run->fresh = 0;
}

static void deliver(struct run *run, unsigned int size, int padded)
{
	struct playback_media frame = media(least(size, queued(run)));
	uint64_t dropped, now_dropped, held;

	if (run->passthrough) {
		if (!run->message_count) {
			return;
		}
		frame = run->messages[0];
		memmove(run->messages, run->messages + 1,
			--run->message_count * sizeof(frame));
	}
	dropped = run->ledger.dropped_of_held.bytes;
	held = run->ledger.held.bytes;
	playback_ledger_delivered(&run->ledger, frame,
		padded && frame.ns < TICK ? TICK : frame.ns, run->now);
	count(&run->delivered, frame);
	/* A mixer drops all it held, or nothing */
	now_dropped = run->ledger.dropped_of_held.bytes;
	CHECK(now_dropped == dropped || (now_dropped == dropped + held
		&& run->ledger.held.bytes == frame.bytes));
}

/* A tick after missed ones: a frame of one of these, and the one that is due */
static void catch_up(struct run *run, unsigned int size)
{
	struct playback_frame frame = {
		.media = media(least(size, queued(run))), .frame_ns = TICK,
		.delivered_ns = run->now, .behind_ns = TICK,
	};

	/* No frame is shorter than what is in it */
	frame.frame_ns = frame.media.ns > TICK ? frame.media.ns : TICK;
	if (!run->passthrough) {
		playback_ledger_caught_up(&run->ledger, &frame);
		count(&run->delivered, frame.media);
	}
	deliver(run, size, 1);
}

/* The oldest media queued is silence, and late */
static void skip(struct run *run, unsigned int size)
{
	struct playback_media skipped = media(least(size, queued(run)));

	if (run->passthrough || !skipped.bytes
		|| !playback_ledger_can_skip(&run->ledger, skipped.bytes)) {
		return;
	}
	CHECK(!run->ledger.held_count || in_resamplers(&run->ledger));
	playback_ledger_skipped(&run->ledger, skipped, PLAYBACK_DROP_LATE, run->now);
	count(&run->delivered, skipped);
	/* It was queued and not dropped at once */
	run->fresh = least(run->fresh, queued(run));
}

/* A tick without media: silence may have to push out what a mixer keeps, once */
static void starve(struct run *run)
{
	const struct playback_ledger *ledger = &run->ledger;
	uint64_t held = ledger->held.bytes, dropped = ledger->dropped_of_held.bytes;
	uint64_t sent = ledger->sent.bytes;
	int64_t silence_ns = playback_ledger_wants_silence(ledger, run->now);

	playback_ledger_starved(&run->ledger);
	CHECK(silence_ns >= 0 && silence_ns < (ledger->mixing ? ledger->mixer_interval_ns
		: peer_packet(ledger)) + in_resamplers(ledger) + MS);
	if (!silence_ns) {
		return;
	}
	CHECK((ledger->mixing || peer_packet(ledger)) && held);
	playback_ledger_delivered(&run->ledger, media(0), silence_ns, run->now);
	/* A packet is filled tick by tick, and what resamplers keep may need another interval */
	CHECK(!ledger->mixing || in_resamplers(ledger)
		|| !playback_ledger_wants_silence(ledger, PLAYBACK_NEVER));
	CHECK(held == ledger->held.bytes + ledger->dropped_of_held.bytes - dropped
		+ ledger->sent.bytes - sent);
}

static void set_mixing(struct run *run, int mixing, int64_t packet_ns)
{
	uint64_t dropped = run->ledger.dropped_of_held.bytes
		+ (mixing && run->ledger.mixing ? 0 : run->ledger.held.bytes);
	int resampled = run->ledger.resampled_ns || run->ledger.listener_resampled_ns;

	/* One or the other */
	playback_ledger_watching(&run->ledger, 0, 0, run->now);
	playback_ledger_mixing(&run->ledger, mixing, run->now);
	if (mixing) {
		playback_ledger_watching(&run->ledger, 0, packet_ns, run->now);
	}
	/* Resamplers may stay as they are, wherever their channel goes */
	CHECK(resampled ? run->ledger.dropped_of_held.bytes <= dropped
		: run->ledger.dropped_of_held.bytes == dropped);
}

static void set_watching(struct run *run, int watching, int64_t packet_ns)
{
	playback_ledger_mixing(&run->ledger, 0, run->now);
	playback_ledger_watching(&run->ledger, watching, packet_ns, run->now);
	CHECK(run->ledger.watching == watching
		&& (watching || peer_packet(&run->ledger) || !run->ledger.held.bytes));
}

/* Other resamplers, of our channel or on the way to who listens; or none */
static void resample(struct run *run, int64_t resampled_ns, int of_listener, int anew)
{
	uint64_t held = run->ledger.held.bytes, sent = run->ledger.sent.bytes;

	if (of_listener) {
		playback_ledger_listener_resampled(&run->ledger, resampled_ns, anew, run->now);
	} else {
		playback_ledger_resampled(&run->ledger, resampled_ns, anew, run->now);
	}
	CHECK(sent == run->ledger.sent.bytes && run->ledger.held.bytes <= held);
}

/* The peer has sent so many packets, which may be more than it was given */
static void look(struct run *run, unsigned int packets, int done)
{
	const struct playback_ledger *ledger = &run->ledger;
	uint64_t sent = ledger->sent.bytes, held = ledger->held.bytes;
	uint64_t dropped = ledger->dropped_of_held.bytes;
	int entered = playback_ledger_looked(&run->ledger, packets, done, run->now);

	CHECK(entered || (packets && !done && sent == ledger->sent.bytes));
	CHECK(sent + held + dropped == ledger->sent.bytes + ledger->held.bytes
		+ ledger->dropped_of_held.bytes);
	CHECK(packets || sent == ledger->sent.bytes);
	CHECK(done || dropped == ledger->dropped_of_held.bytes);
	CHECK(!done || !playback_ledger_owes_packet(ledger)
		|| (!ledger->packet_ns && !ledger->held_frames_ns));
}

static struct pending *new_pending(struct run *run, int is_event, int settled)
{
	struct pending *pending = malloc(sizeof(*pending));

	CHECK(pending);
	/* The ledger sets all fields of the mark */
	memset(pending, 0xa5, sizeof(*pending));
	pending->is_event = is_event;
	pending->settled = settled;
	pending->number = run->made[is_event]++;
	return pending;
}

/* Remember its turn: behind those that are not behind it */
static void queue_up(struct run *run, struct pending *pending)
{
	struct pending **place = &run->pending[pending->is_event];

	while (*place && (*place)->mark.offset <= pending->mark.offset) {
		place = &(*place)->next;
	}
	pending->next = *place;
	*place = pending;
}

static void mark(struct run *run, enum playback_outcome outcome)
{
	struct pending *pending = new_pending(run, 0, outcome != PLAYBACK_WAITING);

	playback_ledger_mark(&run->ledger, &pending->mark, outcome, run->now);
	queue_up(run, pending);
	run->fresh = 0;
}

/* 128 is at the end of what was received, less is before it and more is ahead */
static void mark_at(struct run *run, uint8_t amount, enum playback_outcome outcome)
{
	struct pending *pending = new_pending(run, 0, outcome != PLAYBACK_WAITING);
	const struct playback_gaps *gaps = &run->ledger.gaps;
	uint64_t before = least(20 * (uint64_t) (128 - (amount & 127)), run->received.bytes);
	uint64_t offset = amount & 128 ? run->received.bytes + (amount & 127)
		: run->received.bytes - before;

	if (playback_ledger_mark_at(&run->ledger, &pending->mark, offset, outcome, run->now)) {
		CHECK(offset <= gaps->forgotten_end);
		run->made[0]--;
		free(pending);
		return;
	}
	CHECK(pending->mark.offset == offset);
	queue_up(run, pending);
	/* A drop is known before something is set in what is dropped */
	if (offset <= run->received.bytes) {
		run->fresh = least(run->fresh, run->received.bytes - offset);
	}
}

static void dequeue_event(struct run *run, unsigned int size)
{
	uint64_t begin = run->delivered.bytes + run->flushed.bytes;
	uint64_t ahead = least(size, queued(run));
	struct pending *pending;

	if (begin + ahead < run->event_position) {
		ahead = run->event_position - begin;
	}
	run->event_position = begin + ahead;
	pending = new_pending(run, 1, 0);
	playback_ledger_event_dequeued(&run->ledger, &pending->mark, ahead, run->now);
	queue_up(run, pending);
	run->fresh = least(run->fresh, queued(run) - ahead);
}

/* At most so many */
static void pop(struct run *run, unsigned int most, int64_t now)
{
	const struct playback_ledger *ledger = &run->ledger;
	struct pending *pending;

	while (most--) {
		int64_t due = playback_ledger_next_due(ledger);

		pending = (struct pending *) playback_ledger_pop(&run->ledger, now);
		CHECK(!!pending == (due <= now && ledger->marks.count
			+ ledger->events.count + !!pending > 0));
		if (!pending) {
			return;
		}
		CHECK(pending->mark.due_ns == due);
		CHECK(pending == run->pending[pending->is_event]);
		run->pending[pending->is_event] = pending->next;
		run->returned[pending->is_event]++;
		CHECK(pending->mark.outcome != PLAYBACK_WAITING);
		if (pending->mark.outcome == PLAYBACK_PLAYED && !pending->settled) {
			CHECK(pending->mark.position <= ledger->sent.bytes
				+ ledger->dropped_of_held.bytes + ledger->flushed.bytes);
			CHECK(pending->mark.media_ns >= 0);
		}
		if (pending->mark.outcome != PLAYBACK_ORDERED_EVENT) {
			run->counted += pending->mark.dropped;
		}
		free(pending);
	}
}

/* Nothing that was queued is there any more */
static void emptied(struct run *run, struct playback_media flushed)
{
	count(&run->flushed, flushed);
	run->message_count = 0;
	run->fresh = 0;
}

static void flush(struct run *run)
{
	uint64_t before = queued(run);
	struct playback_media flushed = playback_ledger_flush(&run->ledger, run->now);

	CHECK(flushed.bytes == before);
	emptied(run, flushed);
}

static void hangup(struct run *run)
{
	struct playback_media held = run->ledger.held;
	uint64_t before = queued(run) + held.bytes;
	struct playback_media flushed = playback_ledger_hangup(&run->ledger, run->now);

	CHECK(flushed.bytes == before);
	run->hung_up = 1;
	run->delivered.bytes -= held.bytes;
	run->delivered.ns -= held.ns;
	emptied(run, flushed);
}

static void pop_drop(struct run *run)
{
	struct playback_drop drop;
	int64_t due = playback_ledger_drop_due(&run->ledger);
	int dropped = playback_ledger_pop_drop(&run->ledger, run->now, &drop);

	CHECK(dropped == (due <= run->now));
	if (dropped) {
		CHECK(drop.bytes && drop.reason < PLAYBACK_DROP_REASONS);
		CHECK(drop.offset + drop.bytes <= run->received.bytes);
		run->reported += drop.bytes;
	}
}

static void check_queue(const struct playback_ledger *ledger,
	const struct playback_queue *queue)
{
	const struct playback_mark *mark, *last = NULL;
	uint64_t position = 0;
	unsigned int length = 0;
	int found = 0, found_latest = !queue->latest;

	for (mark = queue->head; mark; mark = mark->next) {
		CHECK(!last || mark->offset >= last->offset);
		if (mark->outcome == PLAYBACK_WAITING) {
			/* But for a sample that began elsewhere, when an odd frame had been delivered */
			CHECK(mark->position + 1 >= position);
			position = mark->position;
		}
		found_latest |= mark == queue->latest;
		found |= mark == queue->unplayed;
		/* For a packet those wait alone that are timed, and only in a mixer */
		CHECK(!mark->intervals || (ledger->mixing && !found
			&& mark->outcome == PLAYBACK_WAITING));
		/* Those from there on wait, or are events; those before are timed */
		CHECK(mark->due_ns != PLAYBACK_NEVER
			|| ((mark->outcome == PLAYBACK_WAITING
			|| mark->outcome == PLAYBACK_ORDERED_EVENT) && queue->unplayed && found));
		last = mark;
		length++;
	}
	CHECK((found || !queue->unplayed) && found_latest && last == queue->tail && length == queue->count);
}

/* The gaps are all that is not played, in order, and say where the end is */
static void check_gaps(const struct run *run)
{
	const struct playback_ledger *ledger = &run->ledger;
	const struct playback_gaps *gaps = &ledger->gaps;
	struct playback_place end = playback_gaps_place(gaps, run->received.bytes);
	const struct playback_gap *gap;
	unsigned int i;

	CHECK(gaps->count <= PLAYBACK_GAPS_MAX);
	for (i = 0; i < gaps->count; i++) {
		gap = &gaps->latest[i];
		CHECK(gap->begin < gap->end && gap->end <= run->received.bytes);
		CHECK(gap->not_queued <= gap->end - gap->begin);
		CHECK(!i || gap[-1].end < gap->begin
			|| (gap[-1].end == gap->begin && gap[-1].kind != gap->kind));
	}
	if (end.forgotten) {
		CHECK(gaps->forgotten_end == run->received.bytes);
		return;
	}
	CHECK(end.position == run->received.bytes - run->dropped.bytes);
	CHECK(end.playable == run->received.bytes - run->dropped.bytes - run->flushed.bytes
		- ledger->dropped_of_held.bytes);
	CHECK(end.dropped == run->dropped.bytes + ledger->dropped_of_held.bytes);
}

static void check(struct run *run)
{
	const struct playback_ledger *ledger = &run->ledger;
	struct playback_snapshot snapshot = playback_ledger_snapshot(ledger, run->now);
	const struct playback_mark *mark;
	uint64_t held = 0, pending = 0;
	int64_t held_ns = 0;
	unsigned int i;

	CHECK(ledger->received.bytes == run->received.bytes);
	CHECK(ledger->dropped.bytes == run->dropped.bytes);
	CHECK(ledger->flushed.bytes == run->flushed.bytes);
	CHECK(ledger->flushed.ns == run->flushed.ns);
	CHECK(ledger->sent.bytes + ledger->held.bytes + ledger->dropped_of_held.bytes
		== run->delivered.bytes);
	CHECK(ledger->sent.ns + ledger->held.ns + ledger->dropped_of_held.ns
		== run->delivered.ns);
	CHECK(playback_ledger_queued(ledger).bytes == queued(run));

	CHECK(ledger->held_count <= PLAYBACK_HELD_MAX);
	for (i = 0; i < ledger->held_count; i++) {
		held += ledger->held_frames[i].media.bytes;
		held_ns += ledger->held_frames[i].frame_ns;
	}
	CHECK(held == ledger->held.bytes && held_ns == ledger->held_frames_ns);
	CHECK(ledger->part_sent_ns >= 0 && ledger->part_sent_ns <= ledger->held_frames_ns);
	/* Where nothing is held for a packet, nor by resamplers, all has been sent */
	CHECK(ledger->watching || ledger->mixing || peer_packet(ledger)
		|| !ledger->held_count);

	CHECK(snapshot.received == snapshot.played.bytes + snapshot.queued.bytes
		+ snapshot.flushed + snapshot.dropped);
	CHECK(snapshot.dropped == total(snapshot.dropped_by));
	CHECK(snapshot.played.bytes >= run->played);
	CHECK(snapshot.played.bytes <= ledger->sent.bytes);
	run->played = snapshot.played.bytes;

	for (i = 0; i < PLAYBACK_DROP_REASONS; i++) {
		pending += ledger->drops[i].bytes;
	}
	CHECK(run->reported + pending == run->dropped.bytes + ledger->dropped_of_held.bytes);
	CHECK(snapshot.dropped == run->dropped.bytes + ledger->dropped_of_held.bytes);

	/* Each byte dropped is told by one mark, or will be by the next one */
	CHECK(run->counted == ledger->told_dropped && run->counted <= snapshot.dropped);
	for (mark = ledger->marks.head; mark; mark = mark->next) {
		CHECK(mark->dropped <= snapshot.dropped
			|| mark->outcome == PLAYBACK_ORDERED_EVENT);
		CHECK(run->hung_up || mark->offset <= run->received.bytes);
	}

	/* No mark is set after hang-up */
	if (!run->hung_up) {
		check_gaps(run);
	}
	check_queue(ledger, &ledger->marks);
	check_queue(ledger, &ledger->events);
	for (mark = ledger->ahead.head; mark; mark = mark->next) {
		CHECK(mark->offset > run->received.bytes);
		CHECK(!mark->next || mark->next->offset >= mark->offset);
	}
	CHECK(snapshot.marks == run->made[0] - run->returned[0]
		- playback_ledger_ordered_events(ledger));
	CHECK(ledger->events.count == run->made[1] - run->returned[1]);
}

static void operate(struct run *run, uint8_t operation, uint8_t amount)
{
	unsigned int size = size_of(amount);
	static const enum playback_outcome outcomes[] = {
		PLAYBACK_WAITING, PLAYBACK_DIRECTION, PLAYBACK_PLAYED, PLAYBACK_ORDERED_EVENT,
	};

	switch ('`' + (operation & 15)) {
	case 'a':
		receive(run, size);
		break;
	case 'b':
		if (operation & 128) {
			skip(run, size);
		} else {
			drop(run, size);
		}
		break;
	case 'c':
		if (operation & 128) {
			catch_up(run, size);
		} else {
			deliver(run, size, 0);
		}
		break;
	case 'd':
		deliver(run, size, 1);
		break;
	case 'e':
		mark(run, outcomes[amount % 4]);
		break;
	case 'f':
		if (operation & 32) {
			mark(run, PLAYBACK_WAITING);
		} else {
			mark_at(run, amount, operation & 64 ? PLAYBACK_WAITING : PLAYBACK_DIRECTION);
		}
		break;
	case 'g':
		playback_ledger_event_queued(&run->ledger);
		break;
	case 'h':
		dequeue_event(run, size);
		break;
	case 'i':
		run->now += size * BYTE_NS / 2;
		break;
	case 'j':
		run->now += amount * 7919;
		break;
	case 'k':
		if (amount & 128 && amount & 64 && !(amount & 32)) {
			resample(run, (amount / 4 & 7) * MS * 5 / 4, amount & 1, amount & 2);
		} else if (amount & 128 && amount & 64 && amount & 1) {
			playback_ledger_lost(&run->ledger, amount / 2 & 3, run->now);
		} else if (amount & 128 && amount & 64) {
			playback_ledger_leave_rest(&run->ledger, run->now);
		} else if (amount & 64 && amount & 32 && run->ledger.watching) {
			playback_ledger_repacked(&run->ledger, (1 + (amount / 2 & 7)) * 10 * MS,
				amount & 1);
		} else if (amount & 32) {
			set_watching(run, amount & 1, (amount / 2 & 7) * 10 * MS);
		} else {
			set_mixing(run, amount & 1, (amount / 2 & 7) * 10 * MS);
		}
		break;
	case 'l':
		if (run->ledger.watching && amount == 255) {
			playback_ledger_unheard(&run->ledger, run->now);
		} else if (run->ledger.watching && amount > 252) {
			playback_ledger_shut(&run->ledger, amount & 1, run->now);
		} else if (run->ledger.watching) {
			look(run, amount / 2 & 7, amount & 1);
		} else if (amount & 128) {
			playback_ledger_mixer_holds(&run->ledger, (amount & 127) * MS, run->now);
		} else {
			if (amount & 64) {
				playback_ledger_mixer_writes(&run->ledger, (1 + amount % 8) * 10 * MS,
					(amount / 8 & 7) * 10 * MS, run->now);
			}
			playback_ledger_mixed(&run->ledger, (1 + amount % 8) * 10 * MS, run->now);
		}
		break;
	case 'm':
		pop(run, amount, run->now);
		break;
	case 'n':
		flush(run);
		break;
	case 'o':
		pop_drop(run);
		break;
	default:
		starve(run);
		playback_ledger_wants_partial(&run->ledger, least(size, queued(run)));
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* Bytes that went before; nothing lasts so long that its time would overflow */
	static const uint64_t before[] = { 0, UINT32_MAX - 300, INT64_MAX - 300UL, 0 };
	struct run run = { .now = 5000000LL * MS, };
	size_t i;

	if (!size) {
		return 0;
	}
	run.passthrough = data[0] & 4;
	playback_ledger_init(&run.ledger, TICK, run.passthrough ? 0 : 1 + (data[0] >> 3 & 1));
	run.received.bytes = before[data[0] & 3];
	playback_ledger_received(&run.ledger, run.received, run.now);
	flush(&run);
	for (i = 1; i + 1 < size; i += 2) {
		operate(&run, data[i], data[i + 1]);
		check(&run);
	}
	hangup(&run);
	check(&run);
	CHECK(!queued(&run) && !run.ledger.held.bytes);
	pop(&run, UINT32_MAX, PLAYBACK_NEVER - 1);
	check(&run);
	CHECK(run.made[0] == run.returned[0] && run.made[1] == run.returned[1]);
	return 0;
}
