/*
 * Asterisk -- An open source telephony toolkit.
 *
 * Playback acknowledgements for chan_websocket.
 *
 * This program is free software, distributed under the terms of
 * the GNU General Public License Version 2. See the LICENSE file
 * at the top of the source tree.
 */

/*!
 * \file
 * \brief Where each byte of a media stream is, and which marks are due
 *
 * Standard C only, without asterisk.h: it is built, tested and fuzzed alone too.
 */

#include <string.h>

#include "playback_ledger.h"

/*!
 * \brief What part of a late frame's lateness the media clock follows, as a divisor
 *
 * One late tick does not move the end of the audio it carries, every receiver plays by
 * the RTP timestamp; ticks that stay late do.  A quarter each frame follows within 100
 * ms.
 */
#define CLOCK_FOLLOWS 4

void playback_ledger_init(struct playback_ledger *ledger, int64_t tick_ns)
{
	memset(ledger, 0, sizeof(*ledger));
	ledger->tick_ns = tick_ns;
}

/*!
 * \brief Bytes that left the queue, by playing or by a flush: where the next frame begins
 */
static uint64_t queue_begin(const struct playback_ledger *ledger)
{
	return ledger->handed + ledger->flushed;
}

/*! \brief Bytes accepted for playing: where the queue ends */
static uint64_t queue_end(const struct playback_ledger *ledger)
{
	return ledger->received - ledger->dropped;
}

uint64_t playback_ledger_queued(const struct playback_ledger *ledger)
{
	return queue_end(ledger) - queue_begin(ledger);
}

/*!
 * \brief \a part of \a whole bytes that last \a whole_ns, in ns, rounded up: never early
 */
static int64_t part_ns(int64_t whole_ns, uint64_t part, uint64_t whole)
{
	return (int64_t) ((whole_ns * part + whole - 1) / whole);
}

void playback_ledger_received(struct playback_ledger *ledger, uint64_t bytes)
{
	ledger->received += bytes;
}

void playback_ledger_dropped(struct playback_ledger *ledger, uint64_t bytes)
{
	ledger->dropped += bytes;
}

/*!
 * \brief When a frame handed over now starts on the media clock
 *
 * The media clock is the lower envelope of the handovers: a frame follows the one before
 * it unless there was a gap, and the clock is pulled forward by each tick that comes
 * sooner.
 */
static int64_t frame_start(const struct playback_ledger *ledger, int64_t now_ns)
{
	int64_t arrival_ns = now_ns + PLAYBACK_HANDOVER_NS;
	int64_t late_ns = arrival_ns - ledger->frame_end_ns;
	int64_t previous_ns = ledger->frame_end_ns - ledger->frame_start_ns;

	if (!ledger->handed || late_ns >= ledger->tick_ns) {
		return arrival_ns;
	}
	if (late_ns >= 0) {
		return ledger->frame_end_ns + late_ns / CLOCK_FOLLOWS;
	}
	if (previous_ns > ledger->tick_ns) {
		/* Frames longer than a tick, handed over each tick, pile up at the receiver */
		return ledger->frame_end_ns;
	}
	return arrival_ns;
}

/*! \brief A frame that is handed over */
struct frame {
	/*! Position of its first byte */
	uint64_t begin;
	uint64_t bytes;
	int64_t start_ns;
	/*! How long its media lasts */
	int64_t media_ns;
	/*! Media time before it */
	int64_t before_ns;
};

/*! \brief Set the time of all that lies in a frame */
static void play_marks(struct playback_queue *queue, const struct frame *frame)
{
	struct playback_mark *mark;
	int64_t into_ns;

	for (mark = queue->unplayed; mark; mark = mark->next) {
		if (mark->outcome != PLAYBACK_WAITING) {
			continue;
		}
		if (mark->position > frame->begin + frame->bytes) {
			break;
		}
		into_ns = part_ns(frame->media_ns, mark->position - frame->begin, frame->bytes);
		mark->media_ns = frame->before_ns + into_ns;
		mark->due_ns = frame->start_ns + into_ns;
	}
	queue->unplayed = mark;
}

void playback_ledger_handed(struct playback_ledger *ledger, uint64_t bytes,
	int64_t media_ns, int64_t frame_ns, int64_t now_ns)
{
	int64_t start_ns = frame_start(ledger, now_ns);
	const struct frame frame = {
		.begin = queue_begin(ledger),
		.bytes = bytes,
		.start_ns = start_ns,
		.media_ns = media_ns,
		.before_ns = ledger->handed_ns,
	};

	play_marks(&ledger->marks, &frame);
	play_marks(&ledger->notes, &frame);
	ledger->handed += bytes;
	ledger->handed_ns += media_ns;
	ledger->frame_bytes = bytes;
	ledger->frame_start_ns = start_ns;
	ledger->frame_media_ns = media_ns;
	ledger->frame_end_ns = start_ns + frame_ns;
}

/*! \brief Settle what waits in a queue, beginning with \a mark */
static void settle(struct playback_queue *queue, struct playback_mark *mark,
	enum playback_outcome outcome, int64_t now_ns)
{
	for (; mark; mark = mark->next) {
		if (mark->outcome == PLAYBACK_WAITING) {
			mark->outcome = outcome;
			mark->due_ns = now_ns;
		}
	}
	queue->unplayed = NULL;
}

uint64_t playback_ledger_flush(struct playback_ledger *ledger,
	enum playback_outcome outcome, int64_t now_ns)
{
	uint64_t bytes = playback_ledger_queued(ledger);
	int hangup = outcome == PLAYBACK_HUNGUP;

	settle(&ledger->marks, hangup ? ledger->marks.head : ledger->marks.unplayed,
		outcome, now_ns);
	settle(&ledger->notes, hangup ? ledger->notes.head : ledger->notes.unplayed,
		outcome, now_ns);
	ledger->flushed += bytes;
	return bytes;
}

/*! \brief Put a mark whose fields are set at the end of a queue */
static void append(struct playback_ledger *ledger, struct playback_queue *queue,
	struct playback_mark *mark, int64_t now_ns)
{
	int64_t played_ns = ledger->frame_start_ns + ledger->frame_media_ns;

	mark->next = NULL;
	mark->media_ns = ledger->handed_ns;
	mark->due_ns = now_ns;
	if (mark->outcome == PLAYBACK_WAITING) {
		if (mark->position > queue_begin(ledger)) {
			mark->due_ns = PLAYBACK_NEVER;
			if (!queue->unplayed) {
				queue->unplayed = mark;
			}
		} else if (ledger->handed && played_ns > now_ns) {
			mark->due_ns = played_ns;
		}
		if (mark->position > ledger->wanted) {
			ledger->wanted = mark->position;
		}
	}

	if (queue->tail) {
		queue->tail->next = mark;
	} else {
		queue->head = mark;
	}
	queue->tail = mark;
	ledger->pending++;
}

void playback_ledger_mark(struct playback_ledger *ledger, struct playback_mark *mark,
	enum playback_outcome outcome, int64_t now_ns)
{
	mark->offset = ledger->received;
	mark->position = queue_end(ledger);
	mark->dropped = ledger->dropped - ledger->dropped_at_mark;
	mark->outcome = outcome;
	ledger->dropped_at_mark = ledger->dropped;
	append(ledger, &ledger->marks, mark, now_ns);
}

void playback_ledger_note_queued(struct playback_ledger *ledger)
{
	ledger->wanted = queue_end(ledger);
}

void playback_ledger_note(struct playback_ledger *ledger, struct playback_mark *note,
	uint64_t bytes_ahead, int64_t now_ns)
{
	note->position = queue_begin(ledger) + bytes_ahead;
	note->offset = note->position + ledger->dropped;
	note->dropped = 0;
	note->outcome = PLAYBACK_WAITING;
	append(ledger, &ledger->notes, note, now_ns);
}

/*! \brief The queue whose oldest mark is due first, NULL if none is known to be due */
static struct playback_queue *next_queue(const struct playback_ledger *ledger)
{
	const struct playback_mark *mark = ledger->marks.head;
	const struct playback_mark *note = ledger->notes.head;
	const struct playback_queue *queue;

	queue = !note || (mark && mark->due_ns <= note->due_ns)
		? &ledger->marks : &ledger->notes;
	return queue->head ? (struct playback_queue *) queue : NULL;
}

int64_t playback_ledger_next_due(const struct playback_ledger *ledger)
{
	struct playback_queue *queue = next_queue(ledger);

	return queue ? queue->head->due_ns : PLAYBACK_NEVER;
}

struct playback_mark *playback_ledger_pop(struct playback_ledger *ledger, int64_t now_ns)
{
	struct playback_queue *queue = next_queue(ledger);
	struct playback_mark *mark;

	if (!queue || queue->head->due_ns > now_ns) {
		return NULL;
	}
	mark = queue->head;
	queue->head = mark->next;
	if (!queue->head) {
		queue->tail = NULL;
	}
	ledger->pending--;
	mark->next = NULL;
	if (mark->outcome == PLAYBACK_WAITING) {
		mark->outcome = PLAYBACK_PLAYED;
	}
	return mark;
}

uint64_t playback_ledger_played(const struct playback_ledger *ledger, int64_t now_ns)
{
	int64_t into_ns = now_ns - ledger->frame_start_ns;
	uint64_t before = ledger->handed - ledger->frame_bytes;

	if (!ledger->handed || into_ns >= ledger->frame_media_ns) {
		return ledger->handed;
	}
	if (into_ns <= 0) {
		return before;
	}
	return before + ledger->frame_bytes * into_ns / ledger->frame_media_ns;
}

int playback_ledger_wants_partial(const struct playback_ledger *ledger,
	size_t partial_bytes)
{
	return ledger->wanted > queue_end(ledger) - partial_bytes;
}
