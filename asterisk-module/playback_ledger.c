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

/*! \brief What part of its rounds' lateness the mixer's clock follows, as a divisor */
#define MIXER_FOLLOWS 16

void playback_ledger_init(struct playback_ledger *ledger, int64_t tick_ns)
{
	memset(ledger, 0, sizeof(*ledger));
	ledger->tick_ns = tick_ns;
	ledger->mixer_interval_ns = tick_ns;
}

static void add(struct playback_media *sum, struct playback_media media)
{
	sum->bytes += media.bytes;
	sum->ns += media.ns;
}

static void subtract(struct playback_media *sum, struct playback_media media)
{
	sum->bytes -= media.bytes;
	sum->ns -= media.ns;
}

/*! \brief Position at which the frame queue begins: bytes that have left it */
static uint64_t queue_begin(const struct playback_ledger *ledger)
{
	return ledger->handed.bytes + ledger->held.bytes + ledger->lost.bytes
		+ ledger->flushed.bytes;
}

/*! \brief Position at which the frame queue ends: bytes accepted for playing */
static uint64_t queue_end(const struct playback_ledger *ledger)
{
	return ledger->received.bytes - ledger->dropped.bytes;
}

struct playback_media playback_ledger_queued(const struct playback_ledger *ledger)
{
	struct playback_media queued = ledger->received;

	subtract(&queued, ledger->dropped);
	subtract(&queued, ledger->lost);
	subtract(&queued, ledger->flushed);
	subtract(&queued, ledger->held);
	subtract(&queued, ledger->handed);
	return queued;
}

/*!
 * \brief How long the first \a bytes of some media last, in ns, rounded up: never early
 */
static int64_t part_ns(struct playback_media media, uint64_t bytes)
{
	if (bytes >= media.bytes) {
		return media.ns;
	}
	return (int64_t) ((media.ns * bytes + media.bytes - 1) / media.bytes);
}

void playback_ledger_received(struct playback_ledger *ledger, struct playback_media media)
{
	add(&ledger->received, media);
}

/*! \brief Add to what is to be reported as lost for a reason */
static void enter_loss(struct playback_ledger *ledger, enum playback_loss_reason reason,
	uint64_t bytes, uint64_t offset)
{
	struct playback_loss *loss = &ledger->losses[reason];

	if (!loss->bytes) {
		loss->offset = offset;
		loss->reason = reason;
	}
	loss->bytes += bytes;
}

void playback_ledger_dropped(struct playback_ledger *ledger, struct playback_media media,
	enum playback_loss_reason reason)
{
	add(&ledger->dropped, media);
	enter_loss(ledger, reason, media.bytes, ledger->received.bytes - media.bytes);
}

/*!
 * \brief When media that leaves now starts on the media clock
 *
 * The media clock is the lower envelope of the latest few handovers: a tick that came
 * late does not move the end of the audio it carries, every receiver plays by the RTP
 * timestamp; ticks that stay late do.
 */
static int64_t playing_start(struct playback_ledger *ledger, int64_t now_ns)
{
	int64_t arrival_ns = now_ns
		+ (ledger->mixing ? PLAYBACK_MIXED_HANDOVER_NS : PLAYBACK_HANDOVER_NS);
	int64_t delay_ns;
	unsigned int i;

	if (arrival_ns < ledger->playing_end_ns
		&& ledger->playing_end_ns - ledger->playing_start_ns > ledger->tick_ns) {
		/* Frames longer than a tick, handed over each tick, pile up at the receiver */
		return ledger->playing_end_ns;
	}
	if (!ledger->handed.bytes
		|| arrival_ns - ledger->playing_end_ns >= ledger->tick_ns / 2) {
		/* A tick was missed; ticks being off a little, it need not be a whole one */
		ledger->clock_count = 0;
	}
	delay_ns = arrival_ns - ledger->clock_media_ns;
	ledger->clock_delays_ns[ledger->clock_count++ % PLAYBACK_CLOCK_FRAMES] = delay_ns;
	for (i = 0; i < ledger->clock_count && i < PLAYBACK_CLOCK_FRAMES; i++) {
		if (ledger->clock_delays_ns[i] < delay_ns) {
			delay_ns = ledger->clock_delays_ns[i];
		}
	}
	return ledger->clock_media_ns + delay_ns;
}

/*! \brief Set the time of all marks before \a limit, which lies in or behind \a frame */
static void play_marks(struct playback_queue *queue, const struct playback_frame *frame,
	uint64_t limit, int64_t start_ns)
{
	struct playback_mark *mark;

	for (mark = queue->unplayed; mark; mark = mark->next) {
		if (mark->outcome != PLAYBACK_WAITING) {
			continue;
		}
		if (mark->position > limit) {
			break;
		}
		mark->due_ns = start_ns + part_ns(frame->media, mark->position - frame->position);
	}
	queue->unplayed = mark;
}

/*! \brief A frame leaves towards the listener */
static void play(struct playback_ledger *ledger, const struct playback_frame *frame,
	int64_t now_ns)
{
	int64_t start_ns = playing_start(ledger, now_ns);
	uint64_t limit = frame->position + frame->media.bytes;

	add(&ledger->handed, frame->media);
	if (!ledger->held.bytes) {
		/* What was flushed behind the last frame is not waited for */
		limit = queue_begin(ledger);
	}
	play_marks(&ledger->marks, frame, limit, start_ns);
	play_marks(&ledger->notes, frame, limit, start_ns);
	ledger->playing = frame->media;
	ledger->playing_start_ns = start_ns;
	ledger->playing_end_ns = start_ns + frame->frame_ns;
	ledger->clock_media_ns += frame->frame_ns;
}

/*! \brief Take up to \a most_ns off the front of what the mixer holds */
static struct playback_frame take_held(struct playback_ledger *ledger, int64_t most_ns)
{
	struct playback_frame *held = &ledger->held_frames[0];
	struct playback_frame part = *held;

	if (held->frame_ns > most_ns) {
		part.frame_ns = most_ns;
		if (held->media.ns > most_ns) {
			part.media.bytes = held->media.bytes * most_ns / held->media.ns;
			part.media.ns = most_ns;
		}
		held->position += part.media.bytes;
		held->frame_ns -= part.frame_ns;
		subtract(&held->media, part.media);
	} else {
		ledger->held_count--;
		memmove(held, held + 1, ledger->held_count * sizeof(*held));
	}
	subtract(&ledger->held, part.media);
	ledger->held_frames_ns -= part.frame_ns;
	return part;
}

/*! \brief Play \a most_ns of what the mixer holds */
static void play_held(struct playback_ledger *ledger, int64_t most_ns, int64_t now_ns)
{
	struct playback_frame part;

	while (ledger->held_count && most_ns > 0) {
		part = take_held(ledger, most_ns);
		play(ledger, &part, now_ns);
		most_ns -= part.frame_ns;
		now_ns += part.frame_ns;
	}
}

/*!
 * \brief Enter what was lost of a frame into the marks it was to be played before
 *
 * What no pending mark comes after is left for the next one that is made.
 */
static void tell_marks(struct playback_ledger *ledger, const struct playback_frame *lost)
{
	uint64_t told = 0;
	uint64_t before;
	struct playback_mark *mark;

	for (mark = ledger->marks.head; mark; mark = mark->next) {
		if (mark->position <= lost->position || mark->outcome == PLAYBACK_TURN) {
			continue;
		}
		before = mark->position - lost->position;
		mark->media_ns -= part_ns(lost->media, before);
		if (before > lost->media.bytes) {
			before = lost->media.bytes;
		}
		mark->dropped += before - told;
		told = before;
	}
	ledger->dropped_at_mark += told;
}

/*! \brief When a mark is reached that has nothing left to play before it */
static int64_t reached_ns(const struct playback_ledger *ledger, int64_t now_ns)
{
	int64_t played_ns = ledger->playing_start_ns + ledger->playing.ns;

	return ledger->handed.bytes && played_ns > now_ns ? played_ns : now_ns;
}

/*! \brief The mixer has thrown away the oldest \a most_ns of what it held */
static void lose_held(struct playback_ledger *ledger, int64_t most_ns, int64_t now_ns)
{
	const struct playback_frame nothing = { .position = 0, };
	int64_t due_ns = reached_ns(ledger, now_ns);
	struct playback_frame lost;
	uint64_t limit = 0;

	if (!ledger->held_count) {
		return;
	}
	while (ledger->held_count && most_ns > 0) {
		lost = take_held(ledger, most_ns);
		most_ns -= lost.frame_ns;
		limit = lost.position + lost.media.bytes;
		if (!lost.media.bytes) {
			/* Other audio */
			continue;
		}
		add(&ledger->lost, lost.media);
		enter_loss(ledger, PLAYBACK_BRIDGE, lost.media.bytes,
			lost.position + ledger->dropped.bytes);
		tell_marks(ledger, &lost);
	}
	if (!ledger->held.bytes) {
		/* What was flushed behind it is not waited for */
		limit = queue_begin(ledger);
	}
	play_marks(&ledger->marks, &nothing, limit, due_ns);
	play_marks(&ledger->notes, &nothing, limit, due_ns);
}

void playback_ledger_taken(struct playback_ledger *ledger, struct playback_media media,
	int64_t frame_ns, int64_t now_ns)
{
	const struct playback_frame frame = {
		.position = queue_begin(ledger),
		.media = media,
		.frame_ns = frame_ns,
		.taken_ns = now_ns,
	};

	if (!ledger->mixing) {
		play(ledger, &frame, now_ns);
		return;
	}
	if (ledger->held_count == PLAYBACK_HELD_MAX) {
		/* Cannot be seen, and holds more than any mixer does */
		lose_held(ledger, PLAYBACK_NEVER, now_ns);
	}
	ledger->held_frames[ledger->held_count++] = frame;
	ledger->held_frames_ns += frame_ns;
	add(&ledger->held, media);
}

void playback_ledger_starved(struct playback_ledger *ledger)
{
	if (ledger->handed.bytes + ledger->held.bytes + ledger->lost.bytes
		&& ledger->wanted < queue_end(ledger) - ledger->cut.bytes) {
		ledger->underruns++;
	}
}

void playback_ledger_mixing(struct playback_ledger *ledger, int mixing, int64_t now_ns)
{
	if (!mixing) {
		lose_held(ledger, PLAYBACK_NEVER, now_ns);
	}
	if (mixing != ledger->mixing) {
		/*
		 * The mixer's rounds come between our ticks, and it fills up with silence of its
		 * own: what was before says nothing of when the next frame starts.
		 */
		ledger->clock_count = 0;
	}
	ledger->mixing = mixing;
}

/*! \brief When the mixer took what it mixed in the round whose result arrives now */
static int64_t mixer_round(const struct playback_ledger *ledger, int64_t now_ns)
{
	int64_t expected_ns = ledger->mixer_round_ns + ledger->mixer_interval_ns;
	int64_t late_ns = now_ns - expected_ns;

	if (late_ns < 0 || late_ns >= ledger->mixer_interval_ns) {
		return now_ns;
	}
	return expected_ns + late_ns / MIXER_FOLLOWS;
}

/*!
 * \brief How long the frames last together that the mixer had \a guard_ns before its
 * latest round
 */
static int64_t held_before_round(const struct playback_ledger *ledger, int64_t guard_ns)
{
	int64_t before_ns = 0;
	unsigned int i;

	for (i = 0; i < ledger->held_count; i++) {
		if (ledger->held_frames[i].taken_ns + guard_ns > ledger->mixer_round_ns) {
			break;
		}
		before_ns += ledger->held_frames[i].frame_ns;
	}
	return before_ns;
}

void playback_ledger_mixed(struct playback_ledger *ledger, int64_t interval_ns,
	int64_t now_ns)
{
	if (!ledger->mixing) {
		return;
	}
	if (now_ns - ledger->mixer_round_ns < interval_ns / 2) {
		/*
		 * Too soon for another round: something else was written to the channel, or the
		 * round before was late and then its time says nothing of those to come.
		 */
		ledger->clock_count = 0;
		return;
	}
	ledger->mixer_interval_ns = interval_ns;
	ledger->mixer_round_ns = mixer_round(ledger, now_ns);
	ledger->mixer_heard_ns = now_ns;
	/* A mixer takes a whole interval or nothing */
	if (held_before_round(ledger, PLAYBACK_MIXER_GUARD_NS) >= interval_ns) {
		play_held(ledger, interval_ns, now_ns);
	} else {
		/* The listener got silence, which is not on our clock */
		ledger->clock_count = 0;
	}
}

void playback_ledger_mixer_holds(struct playback_ledger *ledger, int64_t held_ns,
	int64_t now_ns)
{
	int64_t most_ns = PLAYBACK_MIXER_INTERVALS * ledger->mixer_interval_ns;
	int64_t surplus_ns = ledger->held_frames_ns - held_ns;
	struct playback_frame *first = &ledger->held_frames[0];
	int64_t before_ns;
	unsigned int i;

	if (!ledger->mixing) {
		return;
	}
	if (surplus_ns > most_ns + PLAYBACK_MIXER_TOLERANCE_NS) {
		/* The mixer had more than it keeps, and threw all away when it got a new frame */
		lose_held(ledger, surplus_ns, now_ns);
	} else if (surplus_ns > PLAYBACK_MIXER_TOLERANCE_NS) {
		/* The latest round took it after all; what came later, one not yet heard of */
		before_ns = held_before_round(ledger, 0);
		play_held(ledger, surplus_ns < before_ns ? surplus_ns : before_ns,
			ledger->mixer_heard_ns);
	} else if (surplus_ns < -PLAYBACK_MIXER_TOLERANCE_NS
		&& ledger->held_count < PLAYBACK_HELD_MAX) {
		/* Other audio is ahead of ours */
		memmove(first + 1, first, ledger->held_count * sizeof(*first));
		memset(first, 0, sizeof(*first));
		first->position = ledger->held_count ? first[1].position : queue_begin(ledger);
		first->frame_ns = -surplus_ns;
		ledger->held_count++;
		ledger->held_frames_ns = held_ns;
	}
	/* What is still there the latest round did not have: if it goes, a later one takes it */
	for (i = 0; i < ledger->held_count; i++) {
		if (ledger->held_frames[i].taken_ns <= ledger->mixer_round_ns) {
			ledger->held_frames[i].taken_ns = ledger->mixer_round_ns + 1;
		}
	}
}

/*! \brief Settle the marks of a queue that wait for more than \a position */
static void settle(struct playback_queue *queue, uint64_t position,
	enum playback_outcome outcome, int64_t now_ns)
{
	struct playback_mark *unplayed = NULL;
	struct playback_mark *mark;

	mark = outcome == PLAYBACK_HUNGUP ? queue->head : queue->unplayed;
	for (; mark; mark = mark->next) {
		if (mark->outcome != PLAYBACK_WAITING) {
			continue;
		}
		if (outcome == PLAYBACK_HUNGUP || mark->position > position) {
			mark->outcome = outcome;
			mark->due_ns = now_ns;
		} else if (!unplayed) {
			unplayed = mark;
		}
	}
	queue->unplayed = unplayed;
}

struct playback_media playback_ledger_flush(struct playback_ledger *ledger,
	enum playback_outcome outcome, int64_t now_ns)
{
	struct playback_media flushed = playback_ledger_queued(ledger);
	uint64_t position = queue_begin(ledger);

	settle(&ledger->marks, position, outcome, now_ns);
	settle(&ledger->notes, position, outcome, now_ns);
	if (outcome == PLAYBACK_HUNGUP) {
		add(&flushed, ledger->held);
		subtract(&ledger->held, ledger->held);
		ledger->held_count = 0;
		ledger->held_frames_ns = 0;
		/* What is in play leaves Asterisk all the same: it counts as played */
		subtract(&ledger->playing, ledger->playing);
	}
	add(&ledger->flushed, flushed);
	memset(&ledger->cut, 0, sizeof(ledger->cut));
	ledger->wanted = queue_end(ledger);
	return flushed;
}

/*! \brief Put a mark whose fields are set at the end of a queue */
static void append(struct playback_ledger *ledger, struct playback_queue *queue,
	struct playback_mark *mark, int64_t now_ns)
{
	mark->next = NULL;
	mark->due_ns = now_ns;
	if (mark->outcome == PLAYBACK_WAITING) {
		if (mark->position > queue_begin(ledger) || ledger->held.bytes) {
			mark->due_ns = PLAYBACK_NEVER;
			if (!queue->unplayed) {
				queue->unplayed = mark;
			}
		} else {
			mark->due_ns = reached_ns(ledger, now_ns);
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
	queue->count++;
}

void playback_ledger_cut(struct playback_ledger *ledger, struct playback_media media)
{
	ledger->cut = media;
}

void playback_ledger_mark(struct playback_ledger *ledger, struct playback_mark *mark,
	enum playback_outcome outcome, int64_t now_ns)
{
	uint64_t dropped = ledger->dropped.bytes + ledger->lost.bytes;

	if (outcome == PLAYBACK_TURN) {
		/* The next mark is to be told what was dropped */
		dropped = ledger->dropped_at_mark;
		ledger->turns++;
	}
	mark->offset = ledger->received.bytes;
	mark->position = queue_end(ledger) - ledger->cut.bytes;
	mark->dropped = dropped - ledger->dropped_at_mark;
	mark->media_ns = ledger->received.ns - ledger->dropped.ns - ledger->lost.ns
		- ledger->flushed.ns - ledger->cut.ns;
	mark->outcome = outcome;
	ledger->dropped_at_mark = dropped;
	append(ledger, &ledger->marks, mark, now_ns);
}

void playback_ledger_note_queued(struct playback_ledger *ledger)
{
	ledger->wanted = queue_end(ledger) - ledger->cut.bytes;
}

void playback_ledger_note(struct playback_ledger *ledger, struct playback_mark *note,
	uint64_t bytes_ahead, int64_t now_ns)
{
	note->position = queue_begin(ledger) + bytes_ahead;
	note->offset = note->position + ledger->dropped.bytes;
	note->dropped = 0;
	note->media_ns = ledger->handed.ns + ledger->held.ns;
	note->outcome = PLAYBACK_WAITING;
	append(ledger, &ledger->notes, note, now_ns);
}

/*! \brief The queue whose oldest mark is due first, NULL if both are empty */
static struct playback_queue *next_queue(struct playback_ledger *ledger)
{
	const struct playback_mark *mark = ledger->marks.head;
	const struct playback_mark *note = ledger->notes.head;

	if (!mark && !note) {
		return NULL;
	}
	return !note || (mark && mark->due_ns <= note->due_ns)
		? &ledger->marks : &ledger->notes;
}

int64_t playback_ledger_next_due(const struct playback_ledger *ledger)
{
	const struct playback_mark *mark = ledger->marks.head;
	const struct playback_mark *note = ledger->notes.head;
	int64_t mark_ns = mark ? mark->due_ns : PLAYBACK_NEVER;
	int64_t note_ns = note ? note->due_ns : PLAYBACK_NEVER;

	return mark_ns < note_ns ? mark_ns : note_ns;
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
	queue->count--;
	mark->next = NULL;
	if (mark->outcome == PLAYBACK_WAITING) {
		mark->outcome = PLAYBACK_PLAYED;
	} else if (mark->outcome == PLAYBACK_TURN) {
		ledger->turns--;
	}
	return mark;
}

/*! \brief What has been played by the media clock */
static struct playback_media played(const struct playback_ledger *ledger, int64_t now_ns)
{
	int64_t into_ns = now_ns - ledger->playing_start_ns;
	struct playback_media played = ledger->handed;
	struct playback_media rest = ledger->playing;

	if (into_ns < rest.ns) {
		if (into_ns > 0) {
			rest.bytes -= rest.bytes * into_ns / rest.ns;
			rest.ns -= into_ns;
		}
		subtract(&played, rest);
	}
	return played;
}

unsigned int playback_ledger_marks(const struct playback_ledger *ledger)
{
	return ledger->marks.count - ledger->turns;
}

struct playback_snapshot playback_ledger_snapshot(const struct playback_ledger *ledger,
	int64_t now_ns)
{
	struct playback_snapshot snapshot = {
		.received = ledger->received.bytes,
		.played = played(ledger, now_ns),
		.queued = ledger->received,
		.flushed = ledger->flushed.bytes,
		.dropped = ledger->dropped.bytes + ledger->lost.bytes,
		.marks = playback_ledger_marks(ledger),
		.underruns = ledger->underruns,
	};

	subtract(&snapshot.queued, snapshot.played);
	subtract(&snapshot.queued, ledger->flushed);
	subtract(&snapshot.queued, ledger->dropped);
	subtract(&snapshot.queued, ledger->lost);
	return snapshot;
}

const struct playback_mark *playback_ledger_last_taken(
	const struct playback_ledger *ledger)
{
	const struct playback_mark *last = NULL;
	const struct playback_mark *mark;

	for (mark = ledger->marks.head; mark; mark = mark->next) {
		if (mark->outcome == PLAYBACK_WAITING) {
			if (mark->position > queue_begin(ledger)) {
				break;
			}
			last = mark;
		}
	}
	return last;
}

int64_t playback_ledger_loss_due(const struct playback_ledger *ledger)
{
	int i;

	for (i = 0; i < PLAYBACK_LOSS_REASONS; i++) {
		if (ledger->losses[i].bytes) {
			return ledger->next_loss_ns;
		}
	}
	return PLAYBACK_NEVER;
}

int playback_ledger_pop_loss(struct playback_ledger *ledger, int64_t now_ns,
	struct playback_loss *loss)
{
	int i;

	if (now_ns < ledger->next_loss_ns) {
		return 0;
	}
	for (i = 0; i < PLAYBACK_LOSS_REASONS; i++) {
		if (ledger->losses[i].bytes) {
			*loss = ledger->losses[i];
			ledger->losses[i].bytes = 0;
			ledger->next_loss_ns = now_ns + PLAYBACK_LOSS_INTERVAL_NS;
			return 1;
		}
	}
	return 0;
}

int playback_ledger_wants_partial(const struct playback_ledger *ledger,
	size_t partial_bytes)
{
	return ledger->wanted > queue_end(ledger) - partial_bytes;
}
