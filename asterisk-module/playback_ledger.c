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

#include "playback_gaps.h"
#include "playback_ledger.h"

/*!
 * \brief Divisor of how late a mixed frame is: what of it the mixer's clock follows
 */
#define MIXER_FOLLOWS 16

/*! \brief Divisor of a tick: how late the next one may be */
#define TICK_SLACK 4

/*! \brief Divisor of how slowly frames left: what of it each look takes off that finds less */
#define SLOWNESS_WANES 8

/*! \brief Less than a sample, and more than what durations are rounded by, in ns */
#define ROUNDED_NS 1000

#define NS_PER_MS 1000000LL
#define NS_PER_S 1000000000LL

/*!
 * \brief Pending marks in the order of their offsets, for equal ones in that of the
 * commands
 *
 * The positions of those that wait never go back, but for half a sample; settled ones wait
 * for those before them.
 */
struct playback_queue {
	/*! First mark, NULL if there is none */
	struct playback_mark *head;
	/*! Last mark, NULL if there is none */
	struct playback_mark *tail;
	/*! First mark that waits for media to be sent or dropped, NULL if none does */
	struct playback_mark *unplayed;
	/*! Mark that was put between others latest, NULL if it is gone: see find_place() */
	struct playback_mark *latest;
	/*! Number of marks */
	unsigned int count;
};

struct playback_ledger {
	/*
	 * Bytes by state: received = dropped + flushed + dropped_of_held + held + sent +
	 * what is in the frame queue
	 */
	/*! Media the application has sent us */
	struct playback_media received;
	/*! Media dropped instead of being queued */
	struct playback_media dropped;
	/*! Media flushed by FLUSH_MEDIA or at hang-up */
	struct playback_media flushed;
	/*!
	 * Media dropped out of what was held, or left out of the queue; apart from \c dropped
	 * since it was queued, so that positions count it
	 */
	struct playback_media dropped_of_held;
	/*! Media a mixer or the peer's channel holds */
	struct playback_media held;
	/*! Media sent towards the listener */
	struct playback_media sent;

	/*! Where in the stream what was dropped or flushed is missing */
	struct playback_gaps gaps;

	/* What the marks say was dropped, and what they wait for */
	/*! Bytes of what was dropped that marks have told when they were popped */
	uint64_t told_dropped;
	/*! Media time up to the latest mark that was popped, without what of it was dropped */
	int64_t told_media_ns;
	/*! The same up to the latest flush, 0 if a mark was put behind that */
	int64_t flush_media_ns;
	/*! Bytes received before that flush */
	uint64_t flush_offset;
	/*! Why what was dropped latest was dropped */
	enum playback_drop_reason drop_reason;
	/*! Furthest position a mark or an event waits, or has waited, for */
	uint64_t wanted;
	/*! Half a sample at the end of what was received, as of the latest mark or event */
	struct playback_media half_sample;
	/*! Number of underruns */
	uint64_t underruns;

	/* The media clock */
	/*! How often the core asks for a frame, in ns */
	int64_t tick_ns;
	/*! Bytes of a sample, 0 where only whole messages last some time */
	unsigned int sample_bytes;
	/*! Media of the latest frame sent, or of all that the latest mixing interval took */
	struct playback_media playing;
	/*! When that media starts on the media clock, in ns */
	int64_t playing_start_ns;
	/*! When all that was sent ends, with the silence that pads it, in ns */
	int64_t playing_end_ns;
	/*! How long the latest frame sent that was not silence only lasts, in ns */
	int64_t sent_frame_ns;
	/*! Whether the latest frame of media that was delivered is shorter than a tick */
	int delivered_short;
	/*! When the latest frame sent was delivered, or should have been, in ns */
	int64_t sent_delivered_ns;
	/*! When the latest media leaves, at the latest, where that is not seen, in ns */
	int64_t left_ns;
	/*! Delays of the latest frames sent, against the time of their media, in ns */
	int64_t clock_delays_ns[PLAYBACK_CLOCK_FRAMES];
	/*! Number of delays there have been since the clock began anew */
	unsigned int clock_count;
	/*! How long all frames sent last together, in ns */
	int64_t clock_media_ns;

	/* The peer */
	/*! Whether it can be seen what it sends */
	int watching;
	/*!
	 * How long its packets last in ns, 0 if each frame is one; of a bridge that mixes the
	 * longest ones that any listener gets
	 */
	int64_t packet_ns;
	/*! By how much resamplers make media later: those ahead of the bridge, and behind it, in ns */
	int64_t resampled_ns;
	int64_t listener_resampled_ns;
	/*! What was seen to be sent of the oldest frame held, but is not all of it, in ns */
	int64_t part_sent_ns;
	/*! Whether the latest packet that should have left did not */
	int silent;
	/*! When it was looked latest and the oldest frame held had not been sent, in ns */
	int64_t unsent_at_ns;
	/*! How long after its delivery a frame is taken to leave that was not seen leaving, in ns */
	int64_t send_delay_ns;
	/*! When that was seen of a frame, in ns */
	int64_t send_delay_seen_ns;
	/*! In how many looks in a row the frame had left as soon */
	unsigned int quick_looks;
	/*! The longest that was seen of it lately, in ns; see learn_send_delay() */
	int64_t slowest_ns;
	/*! Whether the latest frame held was to be looked at as soon as it could be */
	int looks_soon;
	/*! Delays of the latest frames delivered, against the time of their media, in ns */
	int64_t delivered_delays_ns[PLAYBACK_CLOCK_FRAMES];
	/*! Number of delays there have been since a tick was missed */
	unsigned int delivered_count;
	/*! How far these were apart lately, in ns; see see_unevenness() */
	int64_t uneven_ns;
	/*! Whether it has nowhere to send to, as of the latest look */
	int shut;
	/*! How much of what is held the peer keeps and will send in any case, in ns */
	int64_t kept_ns;
	/*! Whether it may keep part of a packet of other audio, ahead of what is held */
	int keeps_others;

	/* The mixer of the bridge the channel is in */
	/*! Whether that bridge mixes */
	int mixing;
	/*! How long the frame lasts that it wrote latest in ns, 0 if none since the channel is there */
	int64_t mixer_wrote_ns;
	/*! Mixing interval: what the mixer takes of each party at once, in ns */
	int64_t mixer_interval_ns;
	/*! How often it does, in ns; see mixer_period() */
	int64_t mixer_period_ns;
	/*! When the mixer took what it mixed latest, at the earliest, in ns */
	int64_t mixer_took_ns;
	/*! When the result of that arrived here, in ns */
	int64_t mixer_result_ns;
	/*! When something was written here latest that came too soon for one, in ns */
	int64_t mixer_soon_ns;
	/*! How long all its results last together, in ns */
	int64_t mixed_ns;
	/*!
	 * How long they do when the packet is full that the latest media sent ends in, at the
	 * latest, in ns; of no meaning out of a mixer, and 0 if that was sent before it
	 */
	int64_t full_ns;
	/*! Frames the mixer or the peer holds, oldest first */
	struct playback_frame held_frames[PLAYBACK_HELD_MAX];
	/*! Number of these frames */
	unsigned int held_count;
	/*! How long these frames last together, in ns */
	int64_t held_frames_ns;

	/* Reports of what was dropped */
	/*! Media dropped and not reported yet, by reason */
	struct playback_drop drops[PLAYBACK_DROP_REASONS];
	/*! Bytes dropped in all, by reason */
	uint64_t dropped_by[PLAYBACK_DROP_REASONS];
	/*! Earliest time of the next report, in ns */
	int64_t next_drop_ns;

	/* What is pending */
	/*! The application's marks at offsets that have been received */
	struct playback_queue marks;
	/*! Its marks at offsets that have not been received yet */
	struct playback_queue ahead;
	/*! Number of those that are not marks, see \c PLAYBACK_ORDERED_EVENT */
	unsigned int ordered_events;
	/*! Events that left the frame queue, in that order */
	struct playback_queue events;
};

size_t playback_ledger_size(void)
{
	return sizeof(struct playback_ledger);
}

/*! \brief It is not known how long frames take from their delivery until they leave */
static void forget_send_delay(struct playback_ledger *ledger)
{
	ledger->send_delay_ns = PLAYBACK_SEND_DELAY_NS;
	ledger->quick_looks = 0;
}

void playback_ledger_init(struct playback_ledger *ledger, int64_t tick_ns,
	unsigned int sample_bytes)
{
	memset(ledger, 0, sizeof(*ledger));
	ledger->tick_ns = tick_ns;
	ledger->sample_bytes = sample_bytes;
	ledger->mixer_interval_ns = tick_ns;
	ledger->mixer_period_ns = tick_ns;
	/* Not known either */
	ledger->uneven_ns = 2 * PLAYBACK_SEND_DELAY_NS;
	forget_send_delay(ledger);
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
	return ledger->sent.bytes + ledger->held.bytes + ledger->dropped_of_held.bytes
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
	subtract(&queued, ledger->dropped_of_held);
	subtract(&queued, ledger->flushed);
	subtract(&queued, ledger->held);
	subtract(&queued, ledger->sent);
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

/*! \brief Add to what is to be reported as dropped for a reason */
static void enter_drop(struct playback_ledger *ledger, enum playback_drop_reason reason,
	uint64_t bytes, uint64_t offset)
{
	struct playback_drop *drop = &ledger->drops[reason];

	ledger->drop_reason = reason;
	/* What was kept of older media can be dropped behind newer media, when a hold ends */
	if (!drop->bytes || offset < drop->offset) {
		drop->offset = offset;
		drop->reason = reason;
	}
	drop->bytes += bytes;
	ledger->dropped_by[reason] += bytes;
}

static enum playback_stage current_stage(const struct playback_ledger *ledger)
{
	return ledger->watching ? PLAYBACK_STAGE_SENT
		: ledger->mixing ? PLAYBACK_STAGE_MIXED : PLAYBACK_STAGE_DELIVERED;
}

/*!
 * \brief How much of what was delivered latest resamplers keep until they are given more, in
 * ns
 *
 * Behind a mixer they are given more in any case.
 */
static inline int64_t in_resamplers(const struct playback_ledger *ledger)
{
	return ledger->resampled_ns + (ledger->mixing ? 0 : ledger->listener_resampled_ns);
}

/*! \brief How long all of what is held lasts that has come out of them, in ns */
static inline int64_t held_behind_resamplers(const struct playback_ledger *ledger)
{
	return ledger->held_frames_ns > in_resamplers(ledger)
		? ledger->held_frames_ns - in_resamplers(ledger) : 0;
}

/*!
 * \brief How long each of the peer's packets lasts, in ns; 0 if each has a whole frame
 *
 * Resampled, the end of a frame is in the next packet, be they as long as frames.
 */
static inline int64_t peer_packet(const struct playback_ledger *ledger)
{
	return ledger->packet_ns || !in_resamplers(ledger) ? ledger->packet_ns : ledger->tick_ns;
}

/*!
 * \brief How much can be left that does not fill a packet of what comes in frames of
 * \a frame_ns, in ns
 *
 * It is a packet without the smallest part of one that such frames leave over.
 */
static int64_t rest_of_packet(int64_t packet_ns, int64_t frame_ns)
{
	int64_t over_ns = packet_ns % frame_ns;

	return packet_ns - (over_ns || !packet_ns ? over_ns : frame_ns);
}

/*! \brief How much later than with what a mixer wrote its audio leaves at the most, in ns */
static int64_t rest_of_mixed(const struct playback_ledger *ledger)
{
	/* A packet may have begun with a frame of what the listener was played before */
	return ledger->listener_resampled_ns + rest_of_packet(ledger->packet_ns,
		ledger->mixer_interval_ns < ledger->tick_ns
		? ledger->mixer_interval_ns : ledger->tick_ns);
}

/*! \brief When a frame has left at the latest that is sent now */
static int64_t leaving_ns(const struct playback_ledger *ledger, int64_t now_ns)
{
	switch (current_stage(ledger)) {
	case PLAYBACK_STAGE_SENT:
		return now_ns;
	case PLAYBACK_STAGE_MIXED:
		/* The mixer goes on, if with silence: a packet is filled in time */
		return now_ns + PLAYBACK_MIXED_SEND_DELAY_NS + rest_of_mixed(ledger);
	case PLAYBACK_STAGE_DELIVERED:
		break;
	}
	return now_ns + PLAYBACK_SEND_DELAY_NS;
}

/*!
 * \brief Whether the media clock begins anew with a frame that leaves at \a arrival_ns
 *
 * So it does where a tick was missed; ticks being off a little, it need not be a whole one.
 * What was seen to have left when the host had stalled may have left, and ended, long
 * before: then only the time of delivery shows it.  One behind a short frame comes later than
 * that ends.
 */
static int is_clock_new(const struct playback_ledger *ledger,
	const struct playback_frame *frame, int64_t arrival_ns)
{
	int64_t delivered_ns = frame->delivered_ns - frame->behind_ns;

	return !ledger->sent.bytes || frame->follows_short
		|| arrival_ns - ledger->playing_end_ns >= ledger->tick_ns / 2
		|| (ledger->watching && delivered_ns - ledger->sent_delivered_ns
		>= ledger->tick_ns + ledger->tick_ns / 2);
}

/*!
 * \brief When a frame starts by its own delay and those of the latest few before it
 *
 * The media clock follows the smallest of them: a tick that came late does not move the end
 * of the audio it carries, every receiver plays by the RTP timestamp; ticks that stay late
 * do.
 */
static int64_t start_by_clock(const struct playback_ledger *ledger, int64_t delay_ns)
{
	int64_t before_ns;
	unsigned int i;

	for (i = 1; i <= ledger->clock_count && i < PLAYBACK_CLOCK_FRAMES; i++) {
		before_ns = ledger->clock_delays_ns[(ledger->clock_count - i)
			% PLAYBACK_CLOCK_FRAMES];
		delay_ns = before_ns < delay_ns ? before_ns : delay_ns;
	}
	return ledger->clock_media_ns + delay_ns;
}

/*! \brief Whether frames longer than a tick, sent each tick, pile up at the receiver */
static int piles_up(const struct playback_ledger *ledger, int64_t arrival_ns)
{
	return arrival_ns < ledger->playing_end_ns && ledger->sent_frame_ns > ledger->tick_ns;
}

/*! \brief When a frame that is sent now starts on the media clock */
static int64_t playing_start(struct playback_ledger *ledger,
	const struct playback_frame *frame, int64_t now_ns)
{
	/* One that catches up goes on where those before it ended */
	int64_t arrival_ns = leaving_ns(ledger, now_ns) - frame->behind_ns;
	int64_t delay_ns = arrival_ns - ledger->clock_media_ns;
	int64_t start_ns;

	if (piles_up(ledger, arrival_ns)) {
		return ledger->playing_end_ns;
	}
	if (is_clock_new(ledger, frame, arrival_ns)) {
		ledger->clock_count = 0;
	}
	start_ns = start_by_clock(ledger, delay_ns);
	ledger->clock_delays_ns[ledger->clock_count++ % PLAYBACK_CLOCK_FRAMES] = delay_ns;
	return start_ns;
}

static int64_t later(int64_t a_ns, int64_t b_ns)
{
	return a_ns > b_ns ? a_ns : b_ns;
}

static int64_t at_most(int64_t ns, int64_t most_ns)
{
	return ns < most_ns ? ns : most_ns;
}

/*! \brief How many mixing intervals fill \a missing_ns */
static unsigned char intervals_of(int64_t missing_ns, int64_t interval_ns)
{
	int64_t intervals = (missing_ns + interval_ns - 1) / interval_ns;

	return intervals < UINT8_MAX ? intervals : UINT8_MAX;
}

/*!
 * \brief A mark whose time is set is not due before the packet with its media has left
 *
 * The packet leaves with the mixing interval that fills it, which comes late where the host
 * keeps the mixer waiting.
 *
 * \param ledger
 * \param mark
 * \param full_ns how long all results of the mixer last when that packet is full
 */
static void await_packet(const struct playback_ledger *ledger, struct playback_mark *mark,
	int64_t full_ns)
{
	int64_t missing_ns = full_ns - ledger->mixed_ns;

	if (current_stage(ledger) != PLAYBACK_STAGE_MIXED
		|| missing_ns <= -ledger->mixer_interval_ns) {
		return;
	}
	if (missing_ns <= 0) {
		/* The latest one has filled it */
		mark->due_ns = later(mark->due_ns,
			ledger->mixer_result_ns + PLAYBACK_MIXED_SEND_DELAY_NS);
		return;
	}
	mark->intervals = intervals_of(missing_ns, ledger->mixer_interval_ns);
	mark->due_ns += PLAYBACK_MIXER_WAIT_NS;
}

/*!
 * \brief A mark need not wait for the mixer any longer
 *
 * \param mark which did
 * \param left_ns when the packet with its media has left
 */
static void leave_packet(struct playback_mark *mark, int64_t left_ns)
{
	mark->intervals = 0;
	mark->due_ns = later(mark->due_ns - PLAYBACK_MIXER_WAIT_NS, left_ns);
}

/*! \brief The mixer has written another interval; those before it lasted \a before_ns */
static void fill_packets(const struct playback_queue *queue, int64_t before_ns,
	int64_t interval_ns, int64_t left_ns)
{
	struct playback_mark *mark;

	for (mark = queue->head; mark && mark != queue->unplayed; mark = mark->next) {
		if (!mark->intervals) {
			continue;
		}
		mark->intervals = intervals_of(mark->intervals * before_ns, interval_ns);
		if (!--mark->intervals) {
			leave_packet(mark, left_ns);
		}
	}
}

/*! \brief The mixer fills no packet any more */
static void leave_packets(const struct playback_queue *queue)
{
	struct playback_mark *mark;

	for (mark = queue->head; mark && mark != queue->unplayed; mark = mark->next) {
		if (mark->intervals) {
			leave_packet(mark, 0);
		}
	}
}

/*!
 * \brief Set the time of all marks before \a limit, which lies in or behind \a frame
 *
 * None is due before what was sent has left: the media clock does not follow what is late.
 *
 * An event that is ordered among the marks waits until it is known what was sent, not until
 * that has been played.
 *
 * \param ledger
 * \param queue
 * \param frame what was sent
 * \param limit how far what was sent goes
 * \param media_ns media time sent before the frame
 * \param start_ns when the frame starts on the media clock
 * \param full_ns how long all results of the mixer last when the packet is full in which the
 *        frame starts
 */
static void schedule_marks(struct playback_ledger *ledger, struct playback_queue *queue,
	const struct playback_frame *frame, uint64_t limit, int64_t media_ns,
	int64_t start_ns, int64_t full_ns)
{
	struct playback_mark *mark;
	int64_t before_ns;

	for (mark = queue->unplayed; mark; mark = mark->next) {
		if (mark->due_ns != PLAYBACK_NEVER) {
			continue;
		}
		if (mark->position > limit) {
			break;
		}
		before_ns = part_ns(frame->media, mark->position - frame->position);
		mark->media_ns = media_ns + before_ns;
		mark->stage = current_stage(ledger);
		if (mark->outcome == PLAYBACK_ORDERED_EVENT) {
			mark->due_ns = 0;
			continue;
		}
		mark->due_ns = later(start_ns + before_ns, ledger->left_ns);
		await_packet(ledger, mark, full_ns + before_ns);
	}
	queue->unplayed = mark;
}

/*!
 * \brief Up to which position it is settled what became of all media
 *
 * What was flushed or dropped between two frames that are held waits for neither.
 */
static uint64_t settled_end(const struct playback_ledger *ledger)
{
	return ledger->held.bytes ? ledger->held_frames[0].position : queue_begin(ledger);
}

/*! \brief A frame is sent towards the listener; \a full_ns: see schedule_marks() */
static void send_frame(struct playback_ledger *ledger, const struct playback_frame *frame,
	int64_t full_ns, int64_t now_ns)
{
	int64_t start_ns = playing_start(ledger, frame, now_ns);
	int64_t media_ns = ledger->sent.ns;
	uint64_t limit;

	add(&ledger->sent, frame->media);
	limit = settled_end(ledger);
	schedule_marks(ledger, &ledger->marks, frame, limit, media_ns, start_ns, full_ns);
	schedule_marks(ledger, &ledger->events, frame, limit, media_ns, start_ns, full_ns);
	if (frame->media.bytes) {
		ledger->full_ns = full_ns + frame->media.ns;
		ledger->playing = frame->media;
		ledger->playing_start_ns = start_ns;
		ledger->sent_frame_ns = frame->frame_ns;
	}
	ledger->playing_end_ns = start_ns + frame->frame_ns;
	ledger->clock_media_ns += frame->frame_ns;
	ledger->sent_delivered_ns = frame->delivered_ns - frame->behind_ns;
}

/*! \brief Media that is sent now has not left yet, unless it was seen */
static void note_leaving(struct playback_ledger *ledger, uint64_t bytes, int64_t now_ns)
{
	if (bytes) {
		ledger->left_ns = current_stage(ledger) == PLAYBACK_STAGE_SENT ? 0
			: leaving_ns(ledger, now_ns);
	}
}

/*! \brief Take \a ns off the front of a frame that lasts longer */
static struct playback_frame take_part(struct playback_frame *frame, int64_t ns)
{
	struct playback_frame part = *frame;

	part.frame_ns = ns;
	if (frame->media.ns > ns) {
		part.media.bytes = frame->media.bytes * ns / frame->media.ns;
		part.media.ns = ns;
	}
	frame->position += part.media.bytes;
	frame->frame_ns -= part.frame_ns;
	frame->follows_short = 0;
	subtract(&frame->media, part.media);
	return part;
}

/*! \brief Take up to \a most_ns off the front of what is held */
static struct playback_frame take_held(struct playback_ledger *ledger, int64_t most_ns)
{
	struct playback_frame *held = &ledger->held_frames[0];
	struct playback_frame part = *held;

	if (held->frame_ns > most_ns) {
		part = take_part(held, most_ns);
	} else {
		ledger->held_count--;
		memmove(held, held + 1, ledger->held_count * sizeof(*held));
	}
	subtract(&ledger->held, part.media);
	ledger->held_frames_ns -= part.frame_ns;
	ledger->kept_ns = ledger->kept_ns > part.frame_ns ? ledger->kept_ns - part.frame_ns : 0;
	return part;
}

/*! \brief Nobody's media is held, as frame number \a place, if there is room for it */
static void insert_others(struct playback_ledger *ledger, unsigned int place,
	struct playback_frame others)
{
	struct playback_frame *frame = &ledger->held_frames[place];

	if (others.frame_ns < ROUNDED_NS || ledger->held_count == PLAYBACK_HELD_MAX) {
		return;
	}
	others.position = place < ledger->held_count ? frame->position : queue_begin(ledger);
	memmove(frame + 1, frame, (ledger->held_count++ - place) * sizeof(*frame));
	*frame = others;
	ledger->held_frames_ns += others.frame_ns;
}

/*! \brief Send \a most_ns of what is held */
static void send_held(struct playback_ledger *ledger, int64_t most_ns, int64_t now_ns)
{
	struct playback_media sent = { .bytes = 0, };
	struct playback_frame part;
	/* What a mixer took latest is at the end of what it has written */
	int64_t full_ns = ledger->mixed_ns - most_ns + rest_of_mixed(ledger);
	int64_t start_ns = 0;

	note_leaving(ledger, ledger->held.bytes, now_ns);
	while (ledger->held_count && most_ns > 0) {
		part = take_held(ledger, most_ns);
		send_frame(ledger, &part, full_ns, now_ns);
		most_ns -= part.frame_ns;
		now_ns += part.frame_ns;
		full_ns += part.frame_ns;
		if (part.media.bytes && !sent.bytes) {
			start_ns = ledger->playing_start_ns;
		}
		add(&sent, part.media);
	}
	if (sent.bytes) {
		/* It was sent at once, and plays one after the other */
		ledger->playing = sent;
		ledger->playing_start_ns = start_ns;
	}
}

/*!
 * \brief How much at the end of what was sent may be in packets that the mixer has not
 * filled yet, in ns; 0 or less for nothing
 */
static int64_t not_left(const struct playback_ledger *ledger, int64_t now_ns)
{
	int64_t left_ns = ledger->mixed_ns;

	if (current_stage(ledger) != PLAYBACK_STAGE_MIXED) {
		return 0;
	}
	if (now_ns < ledger->mixer_result_ns + PLAYBACK_MIXED_SEND_DELAY_NS) {
		left_ns -= ledger->mixer_interval_ns;
	}
	return ledger->full_ns - left_ns;
}

/*! \brief What of the media that was sent has not been played by the media clock */
static struct playback_media unplayed(const struct playback_ledger *ledger,
	int64_t now_ns)
{
	int64_t into_ns = now_ns - ledger->playing_start_ns;
	struct playback_media rest = ledger->playing;

	if (into_ns < rest.ns + PLAYBACK_MIXER_WAIT_NS
		&& into_ns > rest.ns - not_left(ledger, now_ns)) {
		into_ns = rest.ns - not_left(ledger, now_ns);
	}
	if (into_ns >= rest.ns) {
		memset(&rest, 0, sizeof(rest));
	} else if (into_ns > 0) {
		rest.bytes -= rest.bytes * into_ns / rest.ns;
		rest.ns -= into_ns;
	}
	return rest;
}

/*! \brief Send \a most_ns of what a mixer holds, the result of which came at \a result_ns */
static void send_mixed(struct playback_ledger *ledger, int64_t most_ns, int64_t result_ns,
	int64_t now_ns)
{
	struct playback_media rest = unplayed(ledger, now_ns);
	uint64_t before = ledger->sent.bytes;

	send_held(ledger, most_ns, result_ns);
	if (rest_of_mixed(ledger) && ledger->sent.bytes > before) {
		/* A packet, or a resampler, keeps back more than the latest interval */
		add(&ledger->playing, rest);
		ledger->playing_start_ns -= rest.ns;
	}
}

/*!
 * \brief Take \a dropped_ns, which were to be sent after \a ahead_ns, off a time that may
 * count them
 */
static void take_unsent(const struct playback_ledger *ledger, int64_t *media_ns,
	int64_t ahead_ns, int64_t dropped_ns)
{
	int64_t unsent_ns = *media_ns - ledger->sent.ns - ahead_ns;

	if (unsent_ns > 0) {
		*media_ns -= unsent_ns < dropped_ns ? unsent_ns : dropped_ns;
	}
}

/*! \brief Enter what was dropped of a frame into the marks it was to be played before */
static void count_in_marks(struct playback_ledger *ledger,
	const struct playback_frame *dropped, int64_t ahead_ns)
{
	uint64_t counted = 0;
	uint64_t before;
	struct playback_mark *mark;

	for (mark = ledger->marks.head; mark; mark = mark->next) {
		if (mark->position <= dropped->position) {
			continue;
		}
		before = mark->position - dropped->position;
		mark->media_ns -= part_ns(dropped->media, before);
		take_unsent(ledger, &mark->flush_media_ns, ahead_ns, dropped->media.ns);
		if (before > dropped->media.bytes) {
			before = dropped->media.bytes;
		}
		mark->dropped += before;
		if (before > counted && mark->outcome != PLAYBACK_ORDERED_EVENT) {
			/* Some of it lies behind the mark before this one */
			mark->drop_reason = ledger->drop_reason;
			counted = before;
		}
	}
}

/*! \brief Media that was queued is dropped; \a ahead_ns ahead of it are still to be sent */
static void enter_lost(struct playback_ledger *ledger, const struct playback_frame *lost,
	int64_t ahead_ns, enum playback_drop_reason reason)
{
	add(&ledger->dropped_of_held, lost->media);
	/* A mark that did not wait for it may have told it, and a flush came behind it */
	take_unsent(ledger, &ledger->told_media_ns, ahead_ns, lost->media.ns);
	take_unsent(ledger, &ledger->flush_media_ns, ahead_ns, lost->media.ns);
	enter_drop(ledger, reason, lost->media.bytes,
		playback_gaps_lost(&ledger->gaps, lost->position, lost->media.bytes));
	count_in_marks(ledger, lost, ahead_ns);
}

/*! \brief When a mark is reached that has nothing left to play before it */
static int64_t reached_ns(const struct playback_ledger *ledger, int64_t now_ns)
{
	int64_t played_ns = ledger->playing_start_ns + ledger->playing.ns;

	return ledger->sent.bytes && played_ns > now_ns ? played_ns : now_ns;
}

/*! \brief Set the time of all marks that have nothing left to be sent before them */
static void schedule_reached(struct playback_ledger *ledger, uint64_t limit,
	int64_t due_ns)
{
	const struct playback_frame nothing = { .position = 0, };

	schedule_marks(ledger, &ledger->marks, &nothing, limit, ledger->sent.ns, due_ns,
		ledger->full_ns);
	schedule_marks(ledger, &ledger->events, &nothing, limit, ledger->sent.ns, due_ns,
		ledger->full_ns);
}

/*! \brief A frame is dropped that was held, with \a ahead_ns of media ahead of it */
static void drop_frame(struct playback_ledger *ledger,
	const struct playback_frame *dropped, int64_t ahead_ns)
{
	if (!dropped->media.bytes) {
		/* Other audio, or less than a byte */
		add(&ledger->dropped_of_held, dropped->media);
	} else {
		enter_lost(ledger, dropped, ahead_ns,
			ledger->mixing ? PLAYBACK_DROP_BRIDGE : PLAYBACK_DROP_UNSENT);
	}
}

/*! \brief The oldest \a most_ns of what was held is dropped */
static void drop_held(struct playback_ledger *ledger, int64_t most_ns, int64_t now_ns)
{
	int64_t due_ns = reached_ns(ledger, now_ns);
	struct playback_frame dropped;

	if (!ledger->held_count) {
		return;
	}
	while (ledger->held_count && most_ns > 0) {
		ledger->part_sent_ns = 0;
		dropped = take_held(ledger, most_ns);
		most_ns -= dropped.frame_ns;
		drop_frame(ledger, &dropped, 0);
	}
	schedule_reached(ledger, settled_end(ledger), due_ns);
}

/*!
 * \brief Have a frame begin \a at_ns into what is held, if there is room for one more
 * \return the number of that frame
 */
static unsigned int split_held(struct playback_ledger *ledger, int64_t at_ns)
{
	struct playback_frame *frame;
	struct playback_frame begin;
	unsigned int i;

	for (i = 0; i < ledger->held_count && at_ns > 0; i++) {
		frame = &ledger->held_frames[i];
		if (at_ns < frame->frame_ns && ledger->held_count < PLAYBACK_HELD_MAX) {
			memmove(frame + 1, frame, (ledger->held_count++ - i) * sizeof(*frame));
			begin = take_part(frame + 1, at_ns);
			*frame = begin;
		}
		at_ns -= frame->frame_ns;
	}
	return i;
}

/*!
 * \brief What is held from \a begin_ns to \a end_ns is dropped, and \a others_ns of nobody's
 * media are in its place; not where nothing is held
 */
static void replace_held(struct playback_ledger *ledger, int64_t begin_ns, int64_t end_ns,
	int64_t others_ns, int64_t now_ns)
{
	int64_t due_ns = reached_ns(ledger, now_ns);
	struct playback_frame others = { .frame_ns = others_ns, };
	struct playback_frame *frame;
	int64_t ahead_ns = 0;
	unsigned int first;
	unsigned int last;
	unsigned int i;

	if (!ledger->held_count) {
		schedule_reached(ledger, queue_begin(ledger), due_ns);
		return;
	}
	first = split_held(ledger, begin_ns);
	/* A frame may last no time at all */
	last = end_ns < ledger->held_frames_ns ? split_held(ledger, end_ns)
		: ledger->held_count;
	for (i = 0; i < last; i++) {
		frame = &ledger->held_frames[i];
		if (i < first) {
			ahead_ns += frame->media.ns;
			continue;
		}
		subtract(&ledger->held, frame->media);
		ledger->held_frames_ns -= frame->frame_ns;
		drop_frame(ledger, frame, ahead_ns);
	}
	last = last > first ? last : first;
	frame = &ledger->held_frames[first];
	memmove(frame, &ledger->held_frames[last],
		(ledger->held_count - last) * sizeof(*frame));
	ledger->held_count -= last - first;
	insert_others(ledger, first, others);
	ledger->part_sent_ns = at_most(ledger->part_sent_ns, ledger->held_frames_ns);
	schedule_reached(ledger, settled_end(ledger), due_ns);
}

/*!
 * \brief All is dropped that has come out of this channel's resamplers, but for the oldest
 * \a keep_ns of what is held, as it was before the frames that are dropped
 */
static void drop_behind(struct playback_ledger *ledger, int64_t keep_ns, int64_t now_ns)
{
	replace_held(ledger, keep_ns - ledger->resampled_ns,
		ledger->held_frames_ns - ledger->resampled_ns, 0, now_ns);
}

/*! \brief Make one frame of the two oldest held between which nothing was flushed */
static void merge_held(struct playback_ledger *ledger)
{
	struct playback_frame *frame;
	unsigned int i;

	for (i = 0; i + 1 < ledger->held_count; i++) {
		frame = &ledger->held_frames[i];
		if (frame->position + frame->media.bytes == frame[1].position) {
			add(&frame->media, frame[1].media);
			frame->frame_ns += frame[1].frame_ns;
			frame->delivered_ns = frame[1].delivered_ns;
			frame->behind_ns = frame[1].behind_ns;
			ledger->held_count--;
			memmove(frame + 1, frame + 2, (ledger->held_count - i - 1) * sizeof(*frame));
			return;
		}
	}
}

void playback_ledger_watching(struct playback_ledger *ledger, int watching,
	int64_t packet_ns, int64_t now_ns)
{
	if (ledger->watching == watching && ledger->packet_ns == packet_ns) {
		return;
	}
	if (ledger->watching ? !watching : !ledger->mixing) {
		/* What the mixer holds stays there, and what this channel's own resamplers keep */
		drop_behind(ledger, 0, now_ns);
	}
	ledger->part_sent_ns = 0;
	ledger->kept_ns = 0;
	ledger->keeps_others = 1;
	ledger->packet_ns = packet_ns;
	ledger->silent = ledger->silent && watching;
	ledger->shut = ledger->shut && watching;
	ledger->watching = watching;
	forget_send_delay(ledger);
	/* What is seen and what is estimated, and another estimate, do not go together */
	ledger->clock_count = 0;
}

void playback_ledger_resampled(struct playback_ledger *ledger, int64_t resampled_ns,
	int anew, int64_t now_ns)
{
	if (ledger->resampled_ns == resampled_ns && !(anew && resampled_ns)) {
		return;
	}
	replace_held(ledger, ledger->held_frames_ns - ledger->resampled_ns,
		ledger->held_frames_ns, resampled_ns, now_ns);
	ledger->resampled_ns = resampled_ns;
	ledger->clock_count = 0;
}

void playback_ledger_listener_resampled(struct playback_ledger *ledger,
	int64_t resampled_ns, int anew, int64_t now_ns)
{
	int64_t end_ns = ledger->held_frames_ns - ledger->resampled_ns;

	if (ledger->listener_resampled_ns == resampled_ns && !(anew && resampled_ns)) {
		return;
	}
	if (!ledger->mixing) {
		replace_held(ledger, end_ns - ledger->listener_resampled_ns, end_ns, resampled_ns,
			now_ns);
	}
	ledger->listener_resampled_ns = resampled_ns;
	ledger->clock_count = 0;
}

int playback_ledger_leave_rest(struct playback_ledger *ledger, int64_t now_ns)
{
	if (!ledger->watching || !peer_packet(ledger) || ledger->silent) {
		return 0;
	}
	if (playback_ledger_owes_packet(ledger)) {
		/* Of what would have filled it the peer was rid when it left its bridge */
		drop_behind(ledger, ledger->kept_ns, now_ns);
	}
	if (!ledger->held_count || playback_ledger_owes_packet(ledger)) {
		return 0;
	}
	ledger->kept_ns = ledger->held_frames_ns;
	ledger->clock_count = 0;
	return 1;
}

void playback_ledger_lost(struct playback_ledger *ledger, unsigned int frames,
	int64_t now_ns)
{
	int64_t keep_ns = 0;
	unsigned int i;

	if (ledger->watching) {
		for (i = 0; i + frames < ledger->held_count; i++) {
			keep_ns += ledger->held_frames[i].frame_ns;
		}
		drop_behind(ledger, keep_ns, now_ns);
	}
}

void playback_ledger_repacked(struct playback_ledger *ledger, int64_t packet_ns, int seen)
{
	ledger->packet_ns = packet_ns;
	ledger->part_sent_ns = 0;
	ledger->kept_ns = 0;
	ledger->silent = ledger->silent || seen;
	ledger->clock_count = 0;
	forget_send_delay(ledger);
}

int playback_ledger_owes_packet(const struct playback_ledger *ledger)
{
	return ledger->watching && ledger->held_count
		&& ledger->held_frames_ns - in_resamplers(ledger) - ledger->part_sent_ns
			>= peer_packet(ledger);
}

/*!
 * \brief See how unevenly frames are delivered
 *
 * Where this channel's thread has to wait for a processor, so has the peer's, and the frame
 * that was delivered soonest may leave latest.  What was seen wanes within some frames.  Of
 * the first frame of a talkspurt it shows in its tick alone.
 */
static void see_unevenness(struct playback_ledger *ledger,
	const struct playback_frame *frame)
{
	int64_t delay_ns = frame->delivered_ns - frame->behind_ns - ledger->clock_media_ns
		- ledger->held_frames_ns;
	int64_t least_ns = delay_ns;
	int64_t most_ns = delay_ns;
	int64_t before_ns;
	unsigned int i;

	for (i = 0; i < ledger->delivered_count && i < PLAYBACK_CLOCK_FRAMES; i++) {
		before_ns = ledger->delivered_delays_ns[i];
		least_ns = before_ns < least_ns ? before_ns : least_ns;
		most_ns = before_ns > most_ns ? before_ns : most_ns;
	}
	ledger->uneven_ns -= ledger->uneven_ns / PLAYBACK_UNEVEN_FRAMES;
	if (frame->follows_short || most_ns - least_ns >= ledger->tick_ns / 2) {
		/* A tick was missed, or what was dropped took no time */
		ledger->delivered_count = 0;
	} else {
		/* One that leaves half a tick later begins another clock */
		ledger->uneven_ns = later(ledger->uneven_ns,
			at_most(most_ns - least_ns, ledger->tick_ns / 4));
	}
	if (frame->late_ns > PLAYBACK_EVEN_NS) {
		ledger->uneven_ns = later(ledger->uneven_ns,
			at_most(frame->late_ns, ledger->tick_ns / 4));
	}
	ledger->delivered_delays_ns[ledger->delivered_count++ % PLAYBACK_CLOCK_FRAMES] =
		delay_ns;
}

static int is_send_delay_known(const struct playback_ledger *ledger)
{
	return ledger->quick_looks >= PLAYBACK_LEARN_LOOKS;
}

/*! \brief The frame of what is held with which \a packet_ns of that were delivered */
static const struct playback_frame *frame_at(const struct playback_ledger *ledger,
	int64_t packet_ns)
{
	unsigned int i = 0;

	while (i + 1 < ledger->held_count && packet_ns > ledger->held_frames[i].frame_ns) {
		packet_ns -= ledger->held_frames[i++].frame_ns;
	}
	return &ledger->held_frames[i];
}

/*! \brief When a frame is taken to have left at the latest that was not seen leaving */
static int64_t expected_left_ns(const struct playback_ledger *ledger,
	const struct playback_frame *frame)
{
	int64_t delay_ns = later(PLAYBACK_SEND_DELAY_NS, ledger->slowest_ns);

	return frame->delivered_ns + ledger->uneven_ns
		+ (is_send_delay_known(ledger) ? ledger->send_delay_ns : delay_ns);
}

/*! \brief Whether a frame that is delivered \a now_ns need not be looked at soon */
static int is_send_delay_fresh(const struct playback_ledger *ledger, int64_t now_ns)
{
	return !peer_packet(ledger) && is_send_delay_known(ledger)
		&& now_ns - ledger->send_delay_seen_ns <= PLAYBACK_LEARN_NS;
}

/*!
 * \brief Whether a look at \a now_ns that finds a frame gone says when that left
 *
 * It does if the frame was looked for in vain before, or was to be looked at as soon as it
 * could be: what has kept this thread from that may have kept the peer's from sending.  What
 * else is looked at later may have left long before.
 */
static int is_seen_leaving(const struct playback_ledger *ledger,
	const struct playback_frame *frame, int64_t now_ns)
{
	if (ledger->looks_soon && ledger->held_count == 1) {
		return 1;
	}
	return now_ns - frame->delivered_ns < ledger->tick_ns / 2
		&& (ledger->looks_soon || ledger->unsent_at_ns > frame->delivered_ns);
}

/*!
 * \brief When the frame of what is held has left at the latest with which \a packet_ns of
 * it were delivered
 *
 * It may have left long before it was looked.
 */
static int64_t left_ns(const struct playback_ledger *ledger, int64_t packet_ns,
	int64_t now_ns)
{
	const struct playback_frame *frame = frame_at(ledger, packet_ns);
	int64_t left_ns;

	if (is_seen_leaving(ledger, frame, now_ns)) {
		/* Nothing says that it has not left right now */
		return now_ns;
	}
	left_ns = expected_left_ns(ledger, frame);
	return left_ns > ledger->unsent_at_ns && left_ns < now_ns ? left_ns : now_ns;
}

/*!
 * \brief What resamplers kept of other frames leaves with the one that fills a packet of
 * \a packet_ns: that is the one which says when
 */
static void leave_with_latest(struct playback_ledger *ledger, int64_t packet_ns)
{
	const struct playback_frame *latest = frame_at(ledger,
		packet_ns + in_resamplers(ledger));
	struct playback_frame *frame;

	for (frame = ledger->held_frames; frame < latest && packet_ns > 0; frame++) {
		packet_ns -= frame->frame_ns;
		frame->delivered_ns = latest->delivered_ns;
		frame->behind_ns = latest->behind_ns;
		frame->late_ns = latest->late_ns;
		frame->follows_short = latest->follows_short;
	}
}

/*! \brief Forget what resamplers keep, if it is nobody's media */
static void forget_resampled(struct playback_ledger *ledger)
{
	if (!ledger->held.bytes && in_resamplers(ledger) && !held_behind_resamplers(ledger)) {
		ledger->held_count = 0;
		ledger->held_frames_ns = 0;
		ledger->part_sent_ns = 0;
	}
}

/*! \brief Send as many of the peer's packets out of what is held */
static void send_packets(struct playback_ledger *ledger, unsigned int packets,
	int64_t now_ns)
{
	int64_t packet_ns = peer_packet(ledger);
	int64_t sent_ns = ledger->part_sent_ns + packets * packet_ns;
	int64_t behind_ns;
	int64_t part_ns;

	while (ledger->held_count && (packet_ns || packets)) {
		behind_ns = held_behind_resamplers(ledger);
		part_ns = ledger->held_frames[0].frame_ns;
		if (packet_ns) {
			/* Never less than a frame: the packets of one frame leave at one moment */
			part_ns = later(part_ns, packet_ns);
			if (in_resamplers(ledger)) {
				/* What is held first may be the end of one */
				part_ns = at_most(later(part_ns, ledger->tick_ns), behind_ns);
			}
			if ((sent_ns < part_ns && sent_ns < behind_ns)
				|| (in_resamplers(ledger) && !behind_ns)) {
				break;
			}
			sent_ns -= part_ns;
		} else {
			packets--;
		}
		if (in_resamplers(ledger)) {
			leave_with_latest(ledger, part_ns);
		}
		send_held(ledger, part_ns,
			left_ns(ledger, part_ns + in_resamplers(ledger), now_ns));
	}
	ledger->part_sent_ns = held_behind_resamplers(ledger) ? sent_ns : 0;
	forget_resampled(ledger);
}

/*!
 * \brief What resamplers keep when they are given more, if nothing is known of it, is other
 * audio, or silence: it leaves ahead of what is held
 */
static void fill_resamplers(struct playback_ledger *ledger)
{
	const struct playback_frame others = { .frame_ns = in_resamplers(ledger)
		+ ledger->part_sent_ns - ledger->held_frames_ns, };

	insert_others(ledger, 0, others);
}

void playback_ledger_delivered(struct playback_ledger *ledger,
	struct playback_media media, int64_t frame_ns, int64_t now_ns)
{
	const struct playback_frame frame = {
		.media = media,
		.frame_ns = frame_ns,
		.delivered_ns = now_ns,
	};

	playback_ledger_caught_up(ledger, &frame);
}

/*! \brief Whether a queue has a mark that waits for what was delivered */
static int waits_for_held(const struct playback_ledger *ledger,
	const struct playback_queue *queue)
{
	return queue->unplayed && queue->unplayed->position <= queue_begin(ledger);
}

/*! \brief Whether a mark or an event does */
static int is_held_awaited(const struct playback_ledger *ledger)
{
	return waits_for_held(ledger, &ledger->marks) || waits_for_held(ledger, &ledger->events);
}

/*!
 * \brief When the first mark of a queue is due that waits for the only frame held, if that
 * starts at \a start_ns: PLAYBACK_NEVER if none does, 0 if one wants to know what was sent
 */
static int64_t due_in_held(const struct playback_ledger *ledger,
	const struct playback_queue *queue, int64_t start_ns)
{
	const struct playback_frame *frame = &ledger->held_frames[0];
	const struct playback_mark *mark = queue->unplayed;

	if (!waits_for_held(ledger, queue)) {
		return PLAYBACK_NEVER;
	}
	return mark->outcome == PLAYBACK_WAITING
		? start_ns + part_ns(frame->media, mark->position - frame->position) : 0;
}

/*!
 * \brief When the first mark that waits for the frame that is held is due, if that leaves as
 * soon as those before it; 0 if that cannot be said
 */
static int64_t expected_due(const struct playback_ledger *ledger)
{
	const struct playback_frame *frame = &ledger->held_frames[0];
	int64_t left_ns = expected_left_ns(ledger, frame);
	int64_t start_ns;
	int64_t mark_ns;
	int64_t event_ns;

	if (ledger->held_count != 1 || ledger->silent
		|| frame->frame_ns > ledger->tick_ns || frame->behind_ns
		|| ledger->uneven_ns > PLAYBACK_EVEN_NS
		|| !is_send_delay_fresh(ledger, left_ns)
		|| is_clock_new(ledger, frame, left_ns)) {
		return 0;
	}
	start_ns = start_by_clock(ledger, left_ns - ledger->clock_media_ns);
	mark_ns = due_in_held(ledger, &ledger->marks, start_ns);
	event_ns = due_in_held(ledger, &ledger->events, start_ns);
	return mark_ns < event_ns ? mark_ns : event_ns;
}

/*! \brief Send what must have been sent of what is held, where that is not seen */
static void send_unseen(struct playback_ledger *ledger, int64_t now_ns)
{
	int64_t unsent_ns = held_behind_resamplers(ledger) - ledger->part_sent_ns;

	if (!ledger->packet_ns) {
		/* Nothing gathers what comes out of the resamplers, be it less than a tick's */
		unsent_ns += ledger->tick_ns - 1;
	}
	/* What fills no packet cannot be sent */
	send_packets(ledger, unsent_ns / peer_packet(ledger), now_ns);
}

void playback_ledger_caught_up(struct playback_ledger *ledger,
	const struct playback_frame *delivered)
{
	struct playback_frame frame = *delivered;
	int64_t now_ns = frame.delivered_ns;

	frame.position = queue_begin(ledger);
	frame.follows_short = ledger->delivered_short;
	ledger->delivered_short = frame.media.bytes && frame.frame_ns < ledger->tick_ns;
	if (current_stage(ledger) != PLAYBACK_STAGE_SENT) {
		/* What becomes of its timestamp is not known */
		frame.behind_ns = 0;
	}
	if (current_stage(ledger) == PLAYBACK_STAGE_DELIVERED && !peer_packet(ledger)) {
		note_leaving(ledger, frame.media.bytes, now_ns);
		send_frame(ledger, &frame, 0, now_ns);
		return;
	}
	if (ledger->held_count == PLAYBACK_HELD_MAX && !ledger->mixing) {
		/* The peer's thread is kept from its work, and will send them all */
		merge_held(ledger);
	}
	if (ledger->held_count == PLAYBACK_HELD_MAX) {
		/* Cannot be seen, and holds more than any mixer does */
		drop_held(ledger, PLAYBACK_NEVER, now_ns);
	}
	if (in_resamplers(ledger) && ledger->held_count + 1 < PLAYBACK_HELD_MAX) {
		fill_resamplers(ledger);
	}
	see_unevenness(ledger, &frame);
	ledger->held_frames[ledger->held_count++] = frame;
	ledger->held_frames_ns += frame.frame_ns;
	add(&ledger->held, frame.media);
	ledger->looks_soon = is_held_awaited(ledger) && !expected_due(ledger);
	if (current_stage(ledger) == PLAYBACK_STAGE_DELIVERED) {
		send_unseen(ledger, now_ns);
	}
}

/*! \brief Whether a mark of a queue stands in the oldest \a bytes queued, or behind them */
static int stands_in(const struct playback_ledger *ledger,
	const struct playback_queue *queue, uint64_t bytes)
{
	const struct playback_mark *mark = queue->unplayed;

	while (mark && mark->position <= queue_begin(ledger)) {
		mark = mark->next;
	}
	return mark && mark->position <= queue_begin(ledger) + bytes;
}

int playback_ledger_can_skip(const struct playback_ledger *ledger, uint64_t bytes)
{
	return (!ledger->held_count || (in_resamplers(ledger) && !held_behind_resamplers(ledger)))
		&& !stands_in(ledger, &ledger->marks, bytes)
		&& !stands_in(ledger, &ledger->events, bytes);
}

void playback_ledger_skipped(struct playback_ledger *ledger, struct playback_media media,
	enum playback_drop_reason reason, int64_t now_ns)
{
	const struct playback_frame skipped = {
		.position = queue_begin(ledger),
		.media = media,
	};

	enter_lost(ledger, &skipped, ledger->held.ns, reason);
	schedule_reached(ledger, settled_end(ledger), reached_ns(ledger, now_ns));
}

/*! \brief How much of what is held is older than the \a packets that left latest, in ns */
static int64_t before_packets(const struct playback_ledger *ledger, unsigned int packets)
{
	int64_t before_ns = 0;
	unsigned int i;

	if (peer_packet(ledger)) {
		return held_behind_resamplers(ledger) - packets * peer_packet(ledger);
	}
	for (i = 0; i + packets < ledger->held_count; i++) {
		before_ns += ledger->held_frames[i].frame_ns;
	}
	return before_ns;
}

/*!
 * \brief Learn from the latest frame held, which has left, how long that takes
 *
 * What it took some frames in a row that were looked at soon is taken for those after them,
 * too: these are looked at when it matters whether they have left.  Where it takes longer,
 * none is taken to have left sooner than the slowest lately.  If one took longer than that,
 * so may those before it that were not looked at: it is the only one to be relied on.
 */
static void learn_send_delay(struct playback_ledger *ledger, int64_t now_ns)
{
	const struct playback_frame *frame = &ledger->held_frames[ledger->held_count - 1];
	int64_t took_ns = now_ns - frame->delivered_ns;

	if (took_ns >= PLAYBACK_SEND_DELAY_NS && !is_seen_leaving(ledger, frame, now_ns)) {
		return;
	}
	if (now_ns > expected_left_ns(ledger, frame)) {
		ledger->clock_count = 0;
	}
	ledger->slowest_ns -= ledger->slowest_ns / SLOWNESS_WANES;
	ledger->slowest_ns = later(ledger->slowest_ns, at_most(took_ns, ledger->tick_ns / 4));
	if (took_ns >= PLAYBACK_SEND_DELAY_NS) {
		if (ledger->unsent_at_ns > frame->delivered_ns) {
			forget_send_delay(ledger);
		}
		/* Else it was looked late, and may have left soon */
		return;
	}
	ledger->send_delay_ns = ledger->quick_looks && took_ns < ledger->send_delay_ns
		? (ledger->send_delay_ns + took_ns) / 2 : took_ns;
	ledger->send_delay_seen_ns = now_ns;
	ledger->quick_looks++;
}

/*! \brief Whether all that is held leaves with so many packets, and nothing else */
static int is_all_of_held(const struct playback_ledger *ledger, unsigned int packets)
{
	return peer_packet(ledger) ? packets && ledger->part_sent_ns
		+ packets * peer_packet(ledger) == held_behind_resamplers(ledger)
		: packets == ledger->held_count;
}

/*!
 * \brief Packets that have left are longer than what is held: other audio is in them, too
 *
 * It is ahead of what is held if the peer had kept it before, else behind.
 */
static void find_others(struct playback_ledger *ledger, unsigned int packets)
{
	const struct playback_frame others = {
		.delivered_ns = ledger->held_frames[0].delivered_ns,
		.frame_ns = ledger->part_sent_ns + packets * peer_packet(ledger)
			- held_behind_resamplers(ledger),
	};

	if (others.frame_ns < ROUNDED_NS) {
		ledger->keeps_others = 0;
		return;
	}
	if (ledger->keeps_others) {
		insert_others(ledger, 0, others);
	}
	ledger->keeps_others = !ledger->keeps_others;
}

/*!
 * \brief Other audio has left, and with it what the resamplers on the way to the listener kept
 * of media
 */
static void push_out(struct playback_ledger *ledger, int64_t now_ns)
{
	const struct playback_frame others = { .frame_ns = ledger->listener_resampled_ns, };

	if (ledger->watching && ledger->held.bytes && others.frame_ns) {
		send_held(ledger, others.frame_ns, now_ns);
		insert_others(ledger, 0, others);
		ledger->clock_count = 0;
	}
}

int playback_ledger_looked(struct playback_ledger *ledger, unsigned int packets, int done,
	int64_t now_ns)
{
	if (!ledger->watching || !ledger->held_count
		|| (in_resamplers(ledger) && !held_behind_resamplers(ledger))) {
		if (packets) {
			ledger->keeps_others = 1;
			push_out(ledger, now_ns);
		}
		return 1;
	}
	if (ledger->silent && packets) {
		if (!done) {
			return 0;
		}
		/* It was silent first, and these are the latest */
		ledger->part_sent_ns = 0;
		drop_held(ledger, before_packets(ledger, packets), now_ns);
	}
	if (is_all_of_held(ledger, packets)) {
		learn_send_delay(ledger, now_ns);
	}
	if (packets && peer_packet(ledger)) {
		find_others(ledger, packets);
	}
	if (packets) {
		send_packets(ledger, packets, now_ns);
		ledger->silent = 0;
	}
	if (done && playback_ledger_owes_packet(ledger)) {
		ledger->part_sent_ns = 0;
		ledger->silent = 1;
		/* What resamplers were given they keep, also where nothing is sent */
		drop_held(ledger, peer_packet(ledger) ? held_behind_resamplers(ledger)
			- rest_of_packet(peer_packet(ledger), ledger->tick_ns) : PLAYBACK_NEVER, now_ns);
	}
	if (in_resamplers(ledger) && !ledger->packet_ns && !playback_ledger_owes_packet(ledger)) {
		ledger->kept_ns = ledger->held_frames_ns;
	}
	ledger->unsent_at_ns = now_ns;
	return 1;
}

void playback_ledger_unheard(struct playback_ledger *ledger, int64_t now_ns)
{
	if (ledger->watching) {
		drop_behind(ledger, ledger->kept_ns, now_ns);
		ledger->keeps_others = ledger->keeps_others || !ledger->held_count;
	}
}

void playback_ledger_shut(struct playback_ledger *ledger, int shut, int64_t now_ns)
{
	unsigned int i;
	int64_t before_ns = 0;

	if (!ledger->watching || !ledger->packet_ns) {
		return;
	}
	/*
	 * A frame is written as soon as it is delivered, so mostly while the peer was as it was
	 * found before that.  Had it been taken and filled a packet, that would have left.
	 */
	for (i = 0; i < ledger->held_count && !ledger->shut; i++) {
		before_ns += ledger->held_frames[i].frame_ns;
		if (shut && before_ns - in_resamplers(ledger) - ledger->part_sent_ns
			>= ledger->packet_ns) {
			break;
		}
		ledger->kept_ns = before_ns > ledger->kept_ns ? before_ns : ledger->kept_ns;
	}
	if (shut || ledger->shut) {
		/* What it throws away has gone through the resamplers */
		replace_held(ledger, ledger->kept_ns - in_resamplers(ledger),
			held_behind_resamplers(ledger), 0, now_ns);
	}
	if (!shut && ledger->shut) {
		/* Just when it opened one may have been taken that was dropped here */
		ledger->keeps_others = 1;
	}
	ledger->shut = shut;
}

int playback_ledger_waits_for_rest(const struct playback_ledger *ledger)
{
	return ledger->watching && ledger->held_count && !playback_ledger_owes_packet(ledger)
		&& is_held_awaited(ledger);
}

int64_t playback_ledger_look_due(const struct playback_ledger *ledger)
{
	int64_t later_ns = later(ledger->uneven_ns,
		ledger->slowest_ns - PLAYBACK_SEND_DELAY_NS) / 2;
	int64_t soon_ns;
	int64_t due_ns;

	if (!playback_ledger_owes_packet(ledger) || !is_held_awaited(ledger)) {
		return PLAYBACK_NEVER;
	}
	soon_ns = ledger->held_frames[ledger->held_count - 1].delivered_ns + PLAYBACK_LOOK_NS
		+ at_most(later_ns, PLAYBACK_LOOK_LATER_NS);
	due_ns = expected_due(ledger);
	return due_ns > soon_ns ? due_ns : soon_ns;
}

int64_t playback_ledger_look_again(const struct playback_ledger *ledger,
	int64_t looked_ns)
{
	int64_t due_ns = playback_ledger_look_due(ledger);
	int64_t waited_ns = looked_ns - due_ns;

	if (due_ns == PLAYBACK_NEVER || waited_ns < 0) {
		return due_ns;
	}
	if (held_behind_resamplers(ledger) <= ledger->tick_ns) {
		waited_ns = at_most(waited_ns, PLAYBACK_LOOK_AGAIN_NS);
	}
	return looked_ns + PLAYBACK_LOOK_NS + waited_ns;
}

void playback_ledger_starved(struct playback_ledger *ledger)
{
	if (ledger->sent.bytes + ledger->held.bytes + ledger->dropped_of_held.bytes
		&& ledger->wanted < queue_end(ledger) - ledger->half_sample.bytes) {
		ledger->underruns++;
	}
}

void playback_ledger_mixing(struct playback_ledger *ledger, int mixing, int64_t now_ns)
{
	if (!mixing && ledger->mixing) {
		drop_behind(ledger, 0, now_ns);
		leave_packets(&ledger->marks);
		leave_packets(&ledger->events);
		ledger->packet_ns = 0;
		ledger->listener_resampled_ns = 0;
	}
	if (mixing != ledger->mixing) {
		/*
		 * The mixer mixes between our ticks, and pads with silence of its own: what was
		 * before says nothing of when the next frame starts, and has left.
		 */
		ledger->clock_count = 0;
		ledger->full_ns = 0;
		/* What this channel's resamplers keep goes with it, and is in no packet */
		ledger->part_sent_ns = 0;
	}
	ledger->mixing = mixing;
	if (!mixing) {
		ledger->mixer_wrote_ns = 0;
	}
}

/*!
 * \brief How long what is held lasts up to the last media in it that a mark or an event
 * waits for, or that was ahead of a flush; 0 if there is none
 */
static int64_t wanted_of_held(const struct playback_ledger *ledger)
{
	const struct playback_frame *frame;
	int64_t before_ns = 0;
	int64_t wanted_ns = 0;
	unsigned int i;

	for (i = 0; i < ledger->held_count; i++) {
		frame = &ledger->held_frames[i];
		if (frame->media.bytes && frame->position < ledger->wanted) {
			wanted_ns = before_ns + frame->media.ns;
		}
		before_ns += frame->frame_ns;
	}
	return wanted_ns;
}

/*! \brief \a ns as a whole number of ms, which is whole samples in every format */
static int64_t whole_ms(int64_t ns)
{
	ns += NS_PER_MS - 1;
	return ns - ns % NS_PER_MS;
}

/*!
 * \brief Silence for what is missing in a packet, in ns
 *
 * A tick's at each tick: were it given at once, the packet would leave ahead of its time.
 */
static int64_t rest_silence(const struct playback_ledger *ledger, int64_t now_ns)
{
	int64_t rest_ns = whole_ms(peer_packet(ledger) + in_resamplers(ledger)
		+ ledger->part_sent_ns - ledger->held_frames_ns);

	return now_ns != PLAYBACK_NEVER && rest_ns > ledger->tick_ns
		? ledger->tick_ns : rest_ns;
}

/*! \brief For how long a mixer keeps audio; if it holds more, the next frame displaces all */
static int64_t mixer_keeps(const struct playback_ledger *ledger)
{
	return PLAYBACK_MIXER_INTERVALS * ledger->mixer_interval_ns;
}

int playback_ledger_mixer_is_full(const struct playback_ledger *ledger, int64_t held_ns)
{
	int64_t room_ns = ledger->mixer_interval_ns + 2 * ledger->tick_ns;

	room_ns = room_ns < PLAYBACK_MIXER_ROOM_NS ? PLAYBACK_MIXER_ROOM_NS : room_ns;
	room_ns = room_ns < mixer_keeps(ledger) ? room_ns : mixer_keeps(ledger);
	return ledger->mixing
		&& (held_ns < 0 ? held_behind_resamplers(ledger) : held_ns) > room_ns;
}

int64_t playback_ledger_wants_silence(const struct playback_ledger *ledger,
	int64_t now_ns)
{
	int64_t interval_ns = ledger->mixer_interval_ns;
	int64_t intervals = held_behind_resamplers(ledger) / interval_ns;
	/* When the mixer has taken these, and takes what does not fill another one */
	int64_t mixes_ns = ledger->mixer_took_ns
		+ (intervals + 1) * ledger->mixer_period_ns;

	if (!ledger->mixing) {
		return ledger->shut || playback_ledger_owes_packet(ledger)
			|| !wanted_of_held(ledger) ? 0 : rest_silence(ledger, now_ns);
	}
	if (wanted_of_held(ledger) <= intervals * interval_ns
		|| (now_ns != PLAYBACK_NEVER && playback_ledger_mixer_is_full(ledger, -1))
		|| now_ns < mixes_ns - ledger->tick_ns - ledger->tick_ns / TICK_SLACK) {
		return 0;
	}
	return whole_ms((intervals + 1) * interval_ns - held_behind_resamplers(ledger));
}

/*!
 * \brief How often a mixer mixes, in ns
 *
 * It sets its timer to a whole number of times a second (bridge_softmix): with an interval
 * of 80 ms that is each 83.3 ms.
 */
static int64_t mixer_period(int64_t interval_ns)
{
	int64_t rate = NS_PER_S / interval_ns;

	return rate ? NS_PER_S / rate : interval_ns;
}

/*! \brief When the mixer took what it mixed, the result of which arrives now */
static int64_t mixing_time(const struct playback_ledger *ledger, int64_t now_ns)
{
	int64_t expected_ns = ledger->mixer_took_ns + ledger->mixer_period_ns;
	int64_t late_ns = now_ns - expected_ns;

	if (late_ns < 0 || late_ns >= ledger->mixer_period_ns) {
		return now_ns;
	}
	return expected_ns + late_ns / MIXER_FOLLOWS;
}

/*! \brief How long the frames last together that were delivered by then */
static int64_t delivered_by(const struct playback_ledger *ledger, int64_t time_ns)
{
	int64_t before_ns = 0;
	unsigned int i;

	for (i = 0; i < ledger->held_count
		&& ledger->held_frames[i].delivered_ns <= time_ns; i++) {
		before_ns += ledger->held_frames[i].frame_ns;
	}
	return before_ns;
}

/*!
 * \brief How long the frames last together that the mixer had \a guard_ns before it mixed
 * latest
 *
 * With 1 these are all it can have mixed: what it is given at the very moment at which it is
 * seen to have mixed comes behind that.
 */
static int64_t held_before_mixing(const struct playback_ledger *ledger, int64_t guard_ns)
{
	return later(0, delivered_by(ledger, ledger->mixer_took_ns - guard_ns)
		- in_resamplers(ledger));
}

/*! \brief What a mixer holds with what resamplers keep ahead of it; -1 if it is not seen */
static int64_t with_resampled(const struct playback_ledger *ledger, int64_t held_ns)
{
	return held_ns < 0 ? held_ns : held_ns + in_resamplers(ledger);
}

void playback_ledger_mixer_began(struct playback_ledger *ledger, int64_t held_ns,
	int64_t now_ns)
{
	int64_t lost_ns = held_ns < 0
		? delivered_by(ledger, now_ns - PLAYBACK_MIXER_GUARD_NS)
		: ledger->held_frames_ns - with_resampled(ledger, held_ns);

	if (ledger->mixing && lost_ns > PLAYBACK_MIXER_TOLERANCE_NS) {
		drop_held(ledger, lost_ns, now_ns);
	}
}

void playback_ledger_mixer_writes(struct playback_ledger *ledger, int64_t interval_ns,
	int64_t held_ns, int64_t now_ns)
{
	int64_t more_ns = ledger->held_frames_ns - with_resampled(ledger, held_ns)
		- interval_ns;
	int is_first = !ledger->mixer_wrote_ns;

	if (interval_ns == (is_first ? ledger->mixer_interval_ns : ledger->mixer_wrote_ns)) {
		return;
	}
	/* It may have taken just the first one */
	if (!is_first || (held_ns >= 0 && (more_ns > PLAYBACK_MIXER_TOLERANCE_NS
		|| more_ns < -PLAYBACK_MIXER_TOLERANCE_NS))) {
		playback_ledger_mixer_began(ledger, held_ns, now_ns);
	}
}

/*! \brief The mixer has mixed another interval, the result of which arrives now */
static void enter_interval(struct playback_ledger *ledger, int64_t interval_ns,
	int64_t now_ns)
{
	ledger->mixer_wrote_ns = interval_ns;
	fill_packets(&ledger->marks, ledger->mixer_interval_ns, interval_ns,
		now_ns + PLAYBACK_MIXED_SEND_DELAY_NS);
	fill_packets(&ledger->events, ledger->mixer_interval_ns, interval_ns,
		now_ns + PLAYBACK_MIXED_SEND_DELAY_NS);
	ledger->mixer_interval_ns = interval_ns;
	ledger->mixer_period_ns = mixer_period(interval_ns);
	if (ledger->mixer_period_ns - interval_ns > PLAYBACK_MIXER_TOLERANCE_NS) {
		/* There is a gap behind each interval: the listener is the later for it */
		ledger->clock_count = 0;
	}
	ledger->mixer_took_ns = mixing_time(ledger, now_ns);
	ledger->mixer_result_ns = now_ns;
	ledger->mixed_ns += interval_ns;
	/* A mixer takes a whole interval or nothing */
	if (held_before_mixing(ledger, PLAYBACK_MIXER_GUARD_NS) >= interval_ns) {
		send_mixed(ledger, interval_ns, now_ns, now_ns);
	} else {
		/* The listener got silence, which is not on our clock */
		ledger->clock_count = 0;
	}
}

void playback_ledger_mixed(struct playback_ledger *ledger, int64_t interval_ns,
	int64_t now_ns)
{
	if (!ledger->mixing || interval_ns <= 0) {
		return;
	}
	if (now_ns - ledger->mixer_took_ns < interval_ns / 2) {
		/*
		 * Too soon for another mixing interval: something else was written to the
		 * channel, or the one before was late and then its time says nothing of those to
		 * come.  What the mixer holds tells which.
		 */
		ledger->clock_count = 0;
		ledger->mixer_wrote_ns = interval_ns;
		ledger->mixer_soon_ns = now_ns;
		return;
	}
	enter_interval(ledger, interval_ns, now_ns);
}

int64_t playback_ledger_mixer_wrote(const struct playback_ledger *ledger)
{
	return ledger->mixer_wrote_ns;
}

/*!
 * \brief Whether what was just written, though it came soon, is what the mixer has mixed of
 * frames that it had not got when it mixed before: then that was late
 */
static int is_mixed_soon(const struct playback_ledger *ledger, int64_t now_ns)
{
	return ledger->mixer_soon_ns == now_ns && !held_before_mixing(ledger, 1);
}

void playback_ledger_mixer_took(struct playback_ledger *ledger, int64_t held_ns,
	int64_t now_ns)
{
	int64_t taken_ns = ledger->held_frames_ns - with_resampled(ledger, held_ns);

	if (ledger->mixing
		&& taken_ns + PLAYBACK_MIXER_TOLERANCE_NS >= ledger->mixer_interval_ns
		&& taken_ns <= mixer_keeps(ledger) + PLAYBACK_MIXER_TOLERANCE_NS
		&& (now_ns - ledger->mixer_result_ns
			> ledger->mixer_period_ns - PLAYBACK_MIXER_TOLERANCE_NS
		|| is_mixed_soon(ledger, now_ns))) {
		enter_interval(ledger, ledger->mixer_interval_ns, now_ns);
	}
}

/*! \brief What of \a ns is more than whole mixing intervals, 0 for no difference */
static int64_t odd_part(const struct playback_ledger *ledger, int64_t ns)
{
	int64_t odd_ns = ns % ledger->mixer_interval_ns;

	return odd_ns > PLAYBACK_MIXER_TOLERANCE_NS
		&& ledger->mixer_interval_ns - odd_ns > PLAYBACK_MIXER_TOLERANCE_NS ? odd_ns : 0;
}

void playback_ledger_mixer_holds(struct playback_ledger *ledger, int64_t held_ns,
	int64_t now_ns)
{
	int64_t surplus_ns = ledger->held_frames_ns - with_resampled(ledger, held_ns);
	struct playback_frame others = { .position = 0, };
	int64_t before_ns;
	int64_t odd_ns;
	unsigned int i;

	if (!ledger->mixing) {
		return;
	}
	if (surplus_ns > mixer_keeps(ledger) + PLAYBACK_MIXER_TOLERANCE_NS) {
		/* The mixer had more than it keeps, and dropped all when it got a new frame */
		drop_held(ledger, surplus_ns, now_ns);
	} else if (surplus_ns > PLAYBACK_MIXER_TOLERANCE_NS) {
		before_ns = held_before_mixing(ledger, 1);
		odd_ns = odd_part(ledger, surplus_ns);
		if (odd_ns && odd_ns <= before_ns) {
			/* No mixing takes so little: the mixer has begun anew with another interval */
			drop_held(ledger, odd_ns, now_ns);
			surplus_ns -= odd_ns;
			before_ns -= odd_ns;
		}
		/* It was mixed after all; what came later, in an interval yet to be seen */
		before_ns = surplus_ns < before_ns ? surplus_ns : before_ns;
		send_mixed(ledger, before_ns - odd_part(ledger, before_ns),
			ledger->mixer_result_ns, now_ns);
	} else if (surplus_ns < -PLAYBACK_MIXER_TOLERANCE_NS) {
		/* Other audio is ahead of ours */
		others.frame_ns = -surplus_ns;
		insert_others(ledger, 0, others);
	}
	/* What is still there was not mixed: if it goes, a later mixing interval takes it */
	for (i = 0; i < ledger->held_count; i++) {
		if (ledger->held_frames[i].delivered_ns <= ledger->mixer_took_ns) {
			ledger->held_frames[i].delivered_ns = ledger->mixer_took_ns + 1;
		}
	}
}

/*!
 * \brief The mark behind which one with this offset belongs, NULL for the front
 *
 * Mostly that is the last one, or the one that was put between others before.  Else it
 * costs a walk over those before it.
 */
static struct playback_mark *find_place(const struct playback_queue *queue,
	uint64_t offset)
{
	struct playback_mark *mark = queue->head;

	if (!queue->tail || queue->tail->offset <= offset) {
		return queue->tail;
	}
	if (queue->latest && queue->latest->offset <= offset) {
		mark = queue->latest;
	} else if (mark->offset > offset) {
		return NULL;
	}
	while (mark->next->offset <= offset) {
		mark = mark->next;
	}
	return mark;
}

/*! \brief Put a mark into a queue, by its offset */
static void link_mark(struct playback_queue *queue, struct playback_mark *mark)
{
	struct playback_mark *before = find_place(queue, mark->offset);

	mark->next = before ? before->next : queue->head;
	if (before) {
		before->next = mark;
	} else {
		queue->head = mark;
	}
	if (mark->next) {
		queue->latest = mark;
	} else {
		queue->tail = mark;
	}
	queue->count++;
}

/*! \brief Take the first mark out of a queue, NULL if there is none */
static struct playback_mark *take_head(struct playback_queue *queue)
{
	struct playback_mark *mark = queue->head;

	if (!mark) {
		return NULL;
	}
	queue->head = mark->next;
	if (!queue->head) {
		queue->tail = NULL;
	}
	if (queue->latest == mark) {
		queue->latest = NULL;
	}
	queue->count--;
	mark->next = NULL;
	return mark;
}

static void settle(struct playback_ledger *ledger, struct playback_mark *mark,
	enum playback_outcome outcome, int64_t now_ns)
{
	mark->outcome = outcome;
	mark->stage = current_stage(ledger);
	mark->due_ns = now_ns;
	mark->intervals = 0;
}

/*! \brief Settle the marks of a queue that wait for more than what was delivered */
static void flush_marks(struct playback_ledger *ledger, struct playback_queue *queue,
	int64_t now_ns)
{
	uint64_t position = queue_begin(ledger);
	struct playback_mark *unplayed = NULL;
	struct playback_mark *mark;

	for (mark = queue->unplayed; mark; mark = mark->next) {
		if (mark->due_ns != PLAYBACK_NEVER) {
			continue;
		}
		if (mark->outcome == PLAYBACK_ORDERED_EVENT && !ledger->held.bytes) {
			mark->due_ns = 0;
		} else if (mark->outcome != PLAYBACK_ORDERED_EVENT
			&& mark->position > position) {
			settle(ledger, mark, PLAYBACK_FLUSHED, now_ns);
			mark->media_ns = ledger->sent.ns + ledger->held.ns;
		} else if (!unplayed) {
			unplayed = mark;
		}
	}
	queue->unplayed = unplayed;
}

/*! \brief An event waited for what is held, which nobody will hear any more */
static void leave_held(const struct playback_ledger *ledger, struct playback_mark *event)
{
	const struct playback_frame *frame = ledger->held_frames;

	for (; frame < ledger->held_frames + ledger->held_count; frame++) {
		if (frame->position < event->position) {
			event->dropped += frame->media.bytes;
			event->media_ns -= frame->media.ns;
		}
	}
}

/*! \brief Settle all marks of a queue that are not settled yet */
static void hangup_marks(struct playback_ledger *ledger, struct playback_queue *queue,
	int64_t now_ns)
{
	struct playback_mark *mark;

	for (mark = queue->head; mark; mark = mark->next) {
		if (mark->outcome == PLAYBACK_WAITING) {
			settle(ledger, mark, PLAYBACK_HUNGUP, now_ns);
		} else if (mark->due_ns == PLAYBACK_NEVER) {
			leave_held(ledger, mark);
			mark->due_ns = 0;
		}
	}
	queue->unplayed = NULL;
}

/*! \brief Count \a flushed, which was all that could still be played */
static void enter_flushed(struct playback_ledger *ledger, struct playback_media flushed)
{
	add(&ledger->flushed, flushed);
	memset(&ledger->half_sample, 0, sizeof(ledger->half_sample));
	ledger->wanted = queue_end(ledger);
}

struct playback_media playback_ledger_flush(struct playback_ledger *ledger,
	int64_t now_ns)
{
	struct playback_mark *mark;
	struct playback_media flushed = playback_ledger_queued(ledger);
	uint64_t position = queue_begin(ledger);

	flush_marks(ledger, &ledger->marks, now_ns);
	flush_marks(ledger, &ledger->events, now_ns);
	playback_gaps_flushed(&ledger->gaps, position, ledger->received.bytes);
	ledger->flush_media_ns = ledger->sent.ns + ledger->held.ns;
	ledger->flush_offset = ledger->received.bytes;
	for (mark = ledger->marks.head; mark; mark = mark->next) {
		/* One that was settled already does not tell what was flushed either */
		if (mark->media_ns > ledger->flush_media_ns) {
			mark->media_ns = ledger->flush_media_ns;
		}
	}
	if (ledger->told_media_ns > ledger->flush_media_ns) {
		/* What a mark has told that did not wait for it was flushed */
		ledger->told_media_ns = ledger->flush_media_ns;
	}
	enter_flushed(ledger, flushed);
	if (!ledger->held.bytes) {
		/* One may have waited for another that is half a sample further */
		schedule_reached(ledger, position, reached_ns(ledger, now_ns));
	}
	return flushed;
}

struct playback_media playback_ledger_hangup(struct playback_ledger *ledger,
	int64_t now_ns)
{
	struct playback_media flushed = playback_ledger_queued(ledger);
	struct playback_mark *mark;

	/* What is ahead will not come any more */
	while ((mark = take_head(&ledger->ahead))) {
		mark->position = queue_end(ledger);
		mark->dropped = ledger->dropped.bytes + ledger->dropped_of_held.bytes;
		mark->media_ns = 0;
		link_mark(&ledger->marks, mark);
	}
	hangup_marks(ledger, &ledger->marks, now_ns);
	hangup_marks(ledger, &ledger->events, now_ns);
	add(&flushed, ledger->held);
	memset(&ledger->held, 0, sizeof(ledger->held));
	ledger->held_count = 0;
	ledger->held_frames_ns = 0;
	ledger->part_sent_ns = 0;
	/* What was sent leaves Asterisk all the same: it counts as played */
	memset(&ledger->playing, 0, sizeof(ledger->playing));
	enter_flushed(ledger, flushed);
	return flushed;
}

/*!
 * \brief Enter a mark whose fields are set
 *
 * \param ledger
 * \param queue
 * \param mark
 * \param due_ns PLAYBACK_NEVER if it waits
 * \param full_ns see await_packet()
 */
static void enter_mark(struct playback_ledger *ledger, struct playback_queue *queue,
	struct playback_mark *mark, int64_t due_ns, int64_t full_ns)
{
	mark->stage = current_stage(ledger);
	mark->due_ns = due_ns;
	if (mark->outcome == PLAYBACK_WAITING && due_ns != PLAYBACK_NEVER) {
		await_packet(ledger, mark, full_ns);
	}
	if (due_ns == PLAYBACK_NEVER
		&& (!queue->unplayed || queue->unplayed->offset > mark->offset)) {
		queue->unplayed = mark;
	}
	if (mark->outcome == PLAYBACK_WAITING && mark->position > ledger->wanted) {
		ledger->wanted = mark->position;
	}
	link_mark(queue, mark);
}

/*! \brief Put a mark whose fields are set behind all that was received */
static void append(struct playback_ledger *ledger, struct playback_queue *queue,
	struct playback_mark *mark, int64_t now_ns)
{
	int64_t due_ns = now_ns;

	if (mark->outcome == PLAYBACK_WAITING) {
		due_ns = mark->position > queue_begin(ledger) || ledger->held.bytes
			? PLAYBACK_NEVER : reached_ns(ledger, now_ns);
	} else if (mark->outcome == PLAYBACK_ORDERED_EVENT && ledger->held.bytes) {
		due_ns = PLAYBACK_NEVER;
	}
	enter_mark(ledger, queue, mark, due_ns, ledger->full_ns);
}

/*! \brief How long \a bytes of what is played last on average, in ns */
static int64_t media_time(const struct playback_ledger *ledger, uint64_t bytes)
{
	struct playback_media all = playback_ledger_queued(ledger);

	add(&all, ledger->held);
	add(&all, ledger->sent);
	/* As a double, since the product of both would not fit; it is exact enough for years */
	return all.bytes ? (int64_t) ((double) bytes * all.ns / all.bytes + 0.5) : 0;
}

/*! \brief Where a mark stands by its offset, which has been received */
static struct playback_place place_mark(const struct playback_ledger *ledger,
	struct playback_mark *mark)
{
	struct playback_place place = playback_gaps_place(&ledger->gaps, mark->offset);
	uint64_t begin = queue_begin(ledger);
	uint64_t into_sample = 0;

	if (place.position > begin && ledger->sample_bytes) {
		/* A frame begins with a sample */
		into_sample = (place.position - begin) % ledger->sample_bytes;
		into_sample = into_sample < place.playable ? into_sample : place.playable;
	}
	place.position -= into_sample;
	place.playable -= into_sample;
	mark->position = place.position;
	mark->dropped = place.dropped;
	mark->drop_reason = ledger->drop_reason;
	mark->media_ns = media_time(ledger, place.playable);
	return place;
}

/*! \brief How long all lasts that was sent behind its first \a playable bytes, in ns */
static int64_t sent_behind(const struct playback_ledger *ledger, uint64_t playable)
{
	uint64_t before = ledger->sent.bytes - ledger->playing.bytes;

	if (playable > before) {
		return ledger->playing.ns - part_ns(ledger->playing, playable - before);
	}
	/* What was sent before may still be playing, where more piles up behind it */
	return ledger->playing.ns
		+ (ledger->sample_bytes ? media_time(ledger, before - playable) : 0);
}

/*! \brief Enter a mark behind the first \a playable bytes of what is played */
static void enter_playable(struct playback_ledger *ledger, struct playback_mark *mark,
	uint64_t playable, int64_t now_ns)
{
	int64_t behind_ns;

	if (playable > ledger->sent.bytes) {
		enter_mark(ledger, &ledger->marks, mark, PLAYBACK_NEVER, 0);
		return;
	}
	behind_ns = sent_behind(ledger, playable);
	enter_mark(ledger, &ledger->marks, mark,
		later(reached_ns(ledger, 0) - behind_ns, now_ns), ledger->full_ns - behind_ns);
}

/*! \brief Enter a mark by its offset, which has been received */
static int enter_by_offset(struct playback_ledger *ledger, struct playback_mark *mark,
	int64_t now_ns)
{
	struct playback_place place = place_mark(ledger, mark);

	if (place.forgotten) {
		return -1;
	}
	if (mark->outcome == PLAYBACK_WAITING) {
		if (place.flushed) {
			mark->outcome = PLAYBACK_FLUSHED;
		} else {
			enter_playable(ledger, mark, place.playable, now_ns);
			return 0;
		}
	}
	enter_mark(ledger, &ledger->marks, mark, now_ns, 0);
	return 0;
}

int playback_ledger_mark_at(struct playback_ledger *ledger, struct playback_mark *mark,
	uint64_t offset, enum playback_outcome outcome, int64_t now_ns)
{
	memset(mark, 0, sizeof(*mark));
	mark->offset = offset;
	mark->outcome = outcome;
	mark->drop_reason = ledger->drop_reason;
	if (offset <= ledger->received.bytes) {
		return enter_by_offset(ledger, mark, now_ns);
	}
	mark->due_ns = now_ns;
	link_mark(&ledger->ahead, mark);
	return 0;
}

void playback_ledger_received(struct playback_ledger *ledger, struct playback_media media,
	int64_t now_ns)
{
	struct playback_mark *mark;

	add(&ledger->received, media);
	while (ledger->ahead.head && ledger->ahead.head->offset <= ledger->received.bytes) {
		mark = take_head(&ledger->ahead);
		enter_by_offset(ledger, mark,
			mark->outcome == PLAYBACK_WAITING ? now_ns : mark->due_ns);
	}
}

/*!
 * \brief The marks behind \a offset, now the begin of a gap, were ahead of it, or in the
 * sample that it begins with
 */
static void place_marks_behind(struct playback_ledger *ledger, uint64_t offset,
	int64_t now_ns)
{
	struct playback_mark *mark;

	for (mark = ledger->marks.head; mark; mark = mark->next) {
		if (mark->offset > offset && mark->outcome != PLAYBACK_ORDERED_EVENT) {
			place_mark(ledger, mark);
		}
	}
	if (!ledger->held.bytes) {
		schedule_reached(ledger, queue_begin(ledger), reached_ns(ledger, now_ns));
	}
}

void playback_ledger_dropped(struct playback_ledger *ledger, struct playback_media media,
	uint64_t behind, enum playback_drop_reason reason, int64_t now_ns)
{
	uint64_t end = ledger->received.bytes - behind;
	uint64_t offset = end - media.bytes;
	uint64_t position;

	add(&ledger->dropped, media);
	position = queue_end(ledger) - behind;
	enter_drop(ledger, reason, media.bytes, offset);
	playback_gaps_not_queued(&ledger->gaps, offset, end);
	if (ledger->marks.tail && ledger->marks.tail->offset > offset) {
		place_marks_behind(ledger, offset, now_ns);
	}
	if (ledger->wanted > position) {
		ledger->wanted = ledger->wanted - position > media.bytes
			? ledger->wanted - media.bytes : position;
	}
}

void playback_ledger_half_sample(struct playback_ledger *ledger,
	struct playback_media media)
{
	ledger->half_sample = media;
}

void playback_ledger_mark(struct playback_ledger *ledger, struct playback_mark *mark,
	enum playback_outcome outcome, int64_t now_ns)
{
	memset(mark, 0, sizeof(*mark));
	mark->offset = ledger->received.bytes;
	mark->position = queue_end(ledger) - ledger->half_sample.bytes;
	mark->drop_reason = ledger->drop_reason;
	mark->dropped = ledger->dropped.bytes + ledger->dropped_of_held.bytes;
	if (outcome == PLAYBACK_ORDERED_EVENT) {
		/* The next mark is to say what was dropped */
		mark->dropped = 0;
		ledger->ordered_events++;
	} else {
		mark->is_fence = mark->offset == ledger->flush_offset;
		mark->flush_media_ns = ledger->flush_media_ns;
		ledger->flush_media_ns = 0;
	}
	mark->media_ns = ledger->received.ns - ledger->dropped.ns
		- ledger->dropped_of_held.ns - ledger->flushed.ns - ledger->half_sample.ns;
	mark->outcome = outcome;
	append(ledger, &ledger->marks, mark, now_ns);
}

void playback_ledger_event_queued(struct playback_ledger *ledger)
{
	ledger->wanted = queue_end(ledger) - ledger->half_sample.bytes;
}

void playback_ledger_event_dequeued(struct playback_ledger *ledger,
	struct playback_mark *event, uint64_t bytes_ahead, int64_t now_ns)
{
	memset(event, 0, sizeof(*event));
	event->position = queue_begin(ledger) + bytes_ahead;
	event->offset = event->position + ledger->dropped.bytes;
	event->media_ns = ledger->sent.ns + ledger->held.ns;
	event->outcome = PLAYBACK_WAITING;
	append(ledger, &ledger->events, event, now_ns);
}

/*! \brief The queue whose oldest mark is due first, NULL if both are empty */
static struct playback_queue *next_queue(struct playback_ledger *ledger)
{
	const struct playback_mark *mark = ledger->marks.head;
	const struct playback_mark *event = ledger->events.head;

	if (!mark && !event) {
		return NULL;
	}
	return !event || (mark && mark->due_ns <= event->due_ns)
		? &ledger->marks : &ledger->events;
}

int64_t playback_ledger_next_due(const struct playback_ledger *ledger)
{
	const struct playback_mark *mark = ledger->marks.head;
	const struct playback_mark *event = ledger->events.head;
	int64_t mark_ns = mark ? mark->due_ns : PLAYBACK_NEVER;
	int64_t event_ns = event ? event->due_ns : PLAYBACK_NEVER;

	return mark_ns < event_ns ? mark_ns : event_ns;
}

/*! \brief How long \a bytes of what was dropped last on average, in ns */
static int64_t dropped_time(const struct playback_ledger *ledger, uint64_t bytes)
{
	struct playback_media all = ledger->dropped;

	add(&all, ledger->dropped_of_held);
	return all.bytes ? (int64_t) ((double) bytes * all.ns / all.bytes + 0.5) : 0;
}

/*!
 * \brief Whether something between the previous mark or flush and this mark was played, or
 * nothing is between them
 */
static int is_fence_or_played(const struct playback_ledger *ledger,
	const struct playback_mark *mark)
{
	int64_t before_ns = mark->flush_media_ns > ledger->told_media_ns
		? mark->flush_media_ns : ledger->told_media_ns;

	return mark->is_fence || mark->media_ns - before_ns > ROUNDED_NS;
}

/*! \brief A mark tells what of the stream up to it no mark has told before */
static void tell(struct playback_ledger *ledger, struct playback_mark *mark)
{
	mark->dropped -= mark->dropped < ledger->told_dropped
		? mark->dropped : ledger->told_dropped;
	mark->dropped_ns = dropped_time(ledger, mark->dropped);
	ledger->told_dropped += mark->dropped;
	if (mark->media_ns > ledger->told_media_ns) {
		ledger->told_media_ns = mark->media_ns;
	}
}

struct playback_mark *playback_ledger_pop(struct playback_ledger *ledger, int64_t now_ns)
{
	struct playback_queue *queue = next_queue(ledger);
	struct playback_mark *mark;
	int has_played;

	if (!queue || queue->head->due_ns > now_ns) {
		return NULL;
	}
	mark = take_head(queue);
	has_played = is_fence_or_played(ledger, mark);
	if (queue == &ledger->marks && mark->outcome != PLAYBACK_ORDERED_EVENT) {
		tell(ledger, mark);
	}
	if (mark->outcome == PLAYBACK_WAITING) {
		mark->outcome = mark->dropped && !has_played ? PLAYBACK_DROPPED : PLAYBACK_PLAYED;
	} else if (mark->outcome == PLAYBACK_ORDERED_EVENT) {
		ledger->ordered_events--;
	}
	return mark;
}

/*! \brief What has been played by the media clock */
static struct playback_media played(const struct playback_ledger *ledger, int64_t now_ns)
{
	struct playback_media played = ledger->sent;

	subtract(&played, unplayed(ledger, now_ns));
	return played;
}

struct playback_media playback_ledger_delivered_media(
	const struct playback_ledger *ledger)
{
	struct playback_media delivered = ledger->sent;

	add(&delivered, ledger->held);
	return delivered;
}

unsigned int playback_ledger_marks(const struct playback_ledger *ledger)
{
	return ledger->marks.count + ledger->ahead.count - ledger->ordered_events;
}

unsigned int playback_ledger_ordered_events(const struct playback_ledger *ledger)
{
	return ledger->ordered_events;
}

unsigned int playback_ledger_dequeued_events(const struct playback_ledger *ledger)
{
	return ledger->events.count;
}

struct playback_snapshot playback_ledger_snapshot(const struct playback_ledger *ledger,
	int64_t now_ns)
{
	struct playback_snapshot snapshot = {
		.received = ledger->received.bytes,
		.played = played(ledger, now_ns),
		.queued = ledger->received,
		.flushed = ledger->flushed.bytes,
		.dropped = ledger->dropped.bytes + ledger->dropped_of_held.bytes,
		.marks = playback_ledger_marks(ledger),
		.underruns = ledger->underruns,
		.stage = current_stage(ledger),
	};

	subtract(&snapshot.queued, snapshot.played);
	subtract(&snapshot.queued, ledger->flushed);
	subtract(&snapshot.queued, ledger->dropped);
	subtract(&snapshot.queued, ledger->dropped_of_held);
	memcpy(snapshot.dropped_by, ledger->dropped_by, sizeof(snapshot.dropped_by));
	return snapshot;
}

int64_t playback_ledger_drop_due(const struct playback_ledger *ledger)
{
	int i;

	for (i = 0; i < PLAYBACK_DROP_REASONS; i++) {
		if (ledger->drops[i].bytes) {
			return ledger->next_drop_ns;
		}
	}
	return PLAYBACK_NEVER;
}

int playback_ledger_pop_drop(struct playback_ledger *ledger, int64_t now_ns,
	struct playback_drop *drop)
{
	int i;

	if (now_ns < ledger->next_drop_ns) {
		return 0;
	}
	for (i = 0; i < PLAYBACK_DROP_REASONS; i++) {
		if (ledger->drops[i].bytes) {
			*drop = ledger->drops[i];
			ledger->drops[i].bytes = 0;
			ledger->next_drop_ns = now_ns + PLAYBACK_DROP_INTERVAL_NS;
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
