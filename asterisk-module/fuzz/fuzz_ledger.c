/*
 * Fuzzing the ledger: any order of calls that keeps to the contract in playback_ledger.h.
 *
 * The first byte of an input chooses the kind of media and how far the counters are. Each
 * further two bytes are an operation, its letter, and an amount; both can be typed, see
 * seeds/ledger. After each operation the books must balance; every mark must come back
 * once, in order, and not before its media has been handed over.
 */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../playback_ledger.h"
#include "fuzz.h"

#define MS 1000000LL
#define TICK (20 * MS)
#define BYTE_NS 125000
#define MESSAGES_MAX 64

/* A mark or a note, each in memory of its own: ASan sees what is used after it came back */
struct answer {
	struct playback_mark mark;
	uint64_t number;
	/* Whether it was made with an outcome */
	int settled;
	int is_note;
};

struct run {
	struct playback_ledger ledger;
	int64_t now;
	/* What the ledger was told, counted once more */
	struct playback_media received, dropped, flushed, taken;
	uint64_t reported, played;
	/* Bytes that the marks that came back, with what is pending, were told are lost */
	uint64_t told;
	/* What was received behind the latest mark or note: a loss is known before these */
	uint64_t fresh;
	/* Where the latest note is; the next one is not before it */
	uint64_t note_position;
	/* Each message is a frame with a duration of its own; else each byte lasts the same */
	int passthrough;
	struct playback_media messages[MESSAGES_MAX];
	unsigned int message_count;
	uint64_t made[2], answered[2];
};

static struct playback_media media(uint64_t bytes)
{
	return (struct playback_media) { .bytes = bytes, .ns = (int64_t) bytes * BYTE_NS, };
}

static void count(struct playback_media *sum, struct playback_media part)
{
	sum->bytes += part.bytes;
	sum->ns += part.ns;
}

static uint64_t queued(const struct run *run)
{
	return run->received.bytes - run->dropped.bytes - run->flushed.bytes
		- run->taken.bytes;
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
	playback_ledger_received(&run->ledger, message);
	count(&run->received, message);
	run->fresh += size;
}

static void drop(struct run *run, unsigned int size)
{
	struct playback_media lost = media(least(size, least(run->fresh, queued(run))));

	if (run->passthrough) {
		if (!run->message_count || !run->fresh) {
			return;
		}
		lost = run->messages[--run->message_count];
	}
	playback_ledger_dropped(&run->ledger, lost, size % PLAYBACK_BRIDGE);
	count(&run->dropped, lost);
	/* Once a message */
	run->fresh = 0;
}

static void take(struct run *run, unsigned int size, int padded)
{
	struct playback_media frame = media(least(size, queued(run)));
	uint64_t lost, held;

	if (run->passthrough) {
		if (!run->message_count) {
			return;
		}
		frame = run->messages[0];
		memmove(run->messages, run->messages + 1,
			--run->message_count * sizeof(frame));
	}
	lost = run->ledger.lost.bytes;
	held = run->ledger.held.bytes;
	playback_ledger_taken(&run->ledger, frame,
		padded && frame.ns < TICK ? TICK : frame.ns, run->now);
	count(&run->taken, frame);
	/* A mixer throws away all it held, or nothing */
	CHECK(run->ledger.lost.bytes == lost || (run->ledger.lost.bytes == lost + held
		&& run->ledger.held.bytes == frame.bytes));
}

static void set_mixing(struct run *run, int mixing)
{
	uint64_t lost = run->ledger.lost.bytes + (mixing ? 0 : run->ledger.held.bytes);

	playback_ledger_mixing(&run->ledger, mixing, run->now);
	CHECK(run->ledger.lost.bytes == lost);
}

static struct playback_mark *new_answer(struct run *run, int is_note, int settled)
{
	struct answer *answer = calloc(1, sizeof(*answer));

	CHECK(answer);
	answer->is_note = is_note;
	answer->settled = settled;
	answer->number = run->made[is_note]++;
	return &answer->mark;
}

static void mark(struct run *run, enum playback_outcome outcome)
{
	playback_ledger_mark(&run->ledger, new_answer(run, 0, outcome != PLAYBACK_WAITING),
		outcome, run->now);
	run->fresh = 0;
}

static void note(struct run *run, unsigned int size)
{
	uint64_t begin = run->taken.bytes + run->flushed.bytes;
	uint64_t ahead = least(size, queued(run));

	if (begin + ahead < run->note_position) {
		ahead = run->note_position - begin;
	}
	run->note_position = begin + ahead;
	playback_ledger_note(&run->ledger, new_answer(run, 1, 0), ahead, run->now);
	run->fresh = least(run->fresh, queued(run) - ahead);
}

/* At most so many answers */
static void pop(struct run *run, unsigned int most, int64_t now)
{
	const struct playback_ledger *ledger = &run->ledger;
	struct answer *answer;

	while (most--) {
		int64_t due = playback_ledger_next_due(ledger);

		answer = (struct answer *) playback_ledger_pop(&run->ledger, now);
		CHECK(!!answer == (due <= now && ledger->marks.count
			+ ledger->notes.count + !!answer > 0));
		if (!answer) {
			return;
		}
		CHECK(answer->mark.due_ns == due);
		CHECK(answer->number == run->answered[answer->is_note]++);
		CHECK(answer->mark.outcome != PLAYBACK_WAITING);
		if (answer->mark.outcome == PLAYBACK_PLAYED && !answer->settled) {
			CHECK(answer->mark.position
				<= ledger->handed.bytes + ledger->lost.bytes + ledger->flushed.bytes);
			CHECK(answer->mark.media_ns >= 0);
		}
		run->told += answer->mark.dropped;
		free(answer);
	}
}

static void flush(struct run *run, enum playback_outcome outcome)
{
	uint64_t before = queued(run) + (outcome == PLAYBACK_HUNGUP ? run->ledger.held.bytes : 0);
	struct playback_media held = run->ledger.held;
	struct playback_media flushed = playback_ledger_flush(&run->ledger, outcome, run->now);

	CHECK(flushed.bytes == before);
	if (outcome == PLAYBACK_HUNGUP) {
		run->taken.bytes -= held.bytes;
		run->taken.ns -= held.ns;
	}
	count(&run->flushed, flushed);
	run->message_count = 0;
	run->fresh = 0;
}

static void pop_loss(struct run *run)
{
	struct playback_loss loss;
	int64_t due = playback_ledger_loss_due(&run->ledger);
	int lost = playback_ledger_pop_loss(&run->ledger, run->now, &loss);

	CHECK(lost == (due <= run->now));
	if (lost) {
		CHECK(loss.bytes && loss.reason < PLAYBACK_LOSS_REASONS);
		CHECK(loss.offset + loss.bytes <= run->received.bytes);
		run->reported += loss.bytes;
	}
}

static void check_queue(const struct playback_queue *queue)
{
	const struct playback_mark *mark, *last = NULL;
	unsigned int length = 0;
	int found = !queue->unplayed;

	for (mark = queue->head; mark; mark = mark->next) {
		CHECK(!last || mark->position >= last->position);
		found |= mark == queue->unplayed;
		/* Those from there on wait, or wait for their turn; those before are timed */
		CHECK(mark->due_ns != PLAYBACK_NEVER
			|| (mark->outcome == PLAYBACK_WAITING && queue->unplayed && found));
		last = mark;
		length++;
	}
	CHECK(found && last == queue->tail && length == queue->count);
}

static void check(struct run *run)
{
	const struct playback_ledger *ledger = &run->ledger;
	struct playback_snapshot snapshot = playback_ledger_snapshot(ledger, run->now);
	const struct playback_mark *mark, *last;
	uint64_t held = 0, pending = 0, told;
	int64_t held_ns = 0;
	unsigned int i;

	CHECK(ledger->received.bytes == run->received.bytes);
	CHECK(ledger->dropped.bytes == run->dropped.bytes);
	CHECK(ledger->flushed.bytes == run->flushed.bytes);
	CHECK(ledger->flushed.ns == run->flushed.ns);
	CHECK(ledger->handed.bytes + ledger->held.bytes + ledger->lost.bytes
		== run->taken.bytes);
	CHECK(ledger->handed.ns + ledger->held.ns + ledger->lost.ns == run->taken.ns);
	CHECK(playback_ledger_queued(ledger).bytes == queued(run));

	CHECK(ledger->held_count <= PLAYBACK_HELD_MAX);
	for (i = 0; i < ledger->held_count; i++) {
		held += ledger->held_frames[i].media.bytes;
		held_ns += ledger->held_frames[i].frame_ns;
	}
	CHECK(held == ledger->held.bytes && held_ns == ledger->held_frames_ns);

	CHECK(snapshot.received == snapshot.played.bytes + snapshot.queued.bytes
		+ snapshot.flushed + snapshot.dropped);
	CHECK(snapshot.played.bytes >= run->played);
	CHECK(snapshot.played.bytes <= ledger->handed.bytes);
	run->played = snapshot.played.bytes;

	for (i = 0; i < PLAYBACK_LOSS_REASONS; i++) {
		pending += ledger->losses[i].bytes;
	}
	CHECK(run->reported + pending == run->dropped.bytes + ledger->lost.bytes);
	CHECK(snapshot.dropped == run->dropped.bytes + ledger->lost.bytes);

	/* Each byte lost is told to one mark, or will be to the next one */
	told = run->told;
	for (mark = ledger->marks.head; mark; mark = mark->next) {
		told += mark->dropped;
	}
	CHECK(told == ledger->dropped_at_mark && told <= snapshot.dropped);

	check_queue(&ledger->marks);
	check_queue(&ledger->notes);
	CHECK(snapshot.marks == run->made[0] - run->answered[0]);
	CHECK(ledger->notes.count == run->made[1] - run->answered[1]);
	last = playback_ledger_last_taken(ledger);
	CHECK(!last || last->position <= run->taken.bytes + run->flushed.bytes);
}

static void operate(struct run *run, uint8_t operation, uint8_t amount)
{
	unsigned int size = size_of(amount);
	static const enum playback_outcome outcomes[] = {
		PLAYBACK_WAITING, PLAYBACK_DIRECTION, PLAYBACK_PLAYED,
	};

	switch ('`' + (operation & 15)) {
	case 'a':
		receive(run, size);
		break;
	case 'b':
		drop(run, size);
		break;
	case 'c':
		take(run, size, 0);
		break;
	case 'd':
		take(run, size, 1);
		break;
	case 'e':
		mark(run, outcomes[amount % 3]);
		break;
	case 'f':
		mark(run, PLAYBACK_WAITING);
		break;
	case 'g':
		playback_ledger_note_queued(&run->ledger);
		break;
	case 'h':
		note(run, size);
		break;
	case 'i':
		run->now += size * BYTE_NS / 2;
		break;
	case 'j':
		run->now += amount * 7919;
		break;
	case 'k':
		set_mixing(run, amount & 1);
		break;
	case 'l':
		if (amount & 128) {
			playback_ledger_mixer_holds(&run->ledger, (amount & 127) * MS, run->now);
		} else {
			playback_ledger_mixed(&run->ledger, (1 + amount % 8) * 10 * MS, run->now);
		}
		break;
	case 'm':
		pop(run, amount, run->now);
		break;
	case 'n':
		flush(run, PLAYBACK_FLUSHED);
		break;
	case 'o':
		pop_loss(run);
		break;
	default:
		playback_ledger_starved(&run->ledger);
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
	playback_ledger_init(&run.ledger, TICK);
	run.passthrough = data[0] & 4;
	run.received.bytes = before[data[0] & 3];
	playback_ledger_received(&run.ledger, run.received);
	flush(&run, PLAYBACK_FLUSHED);
	for (i = 1; i + 1 < size; i += 2) {
		operate(&run, data[i], data[i + 1]);
		check(&run);
	}
	flush(&run, PLAYBACK_HUNGUP);
	check(&run);
	CHECK(!queued(&run) && !run.ledger.held.bytes);
	pop(&run, UINT32_MAX, PLAYBACK_NEVER - 1);
	check(&run);
	CHECK(run.made[0] == run.answered[0] && run.made[1] == run.answered[1]);
	return 0;
}
