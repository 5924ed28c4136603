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
 * The ledger is told what happened to the bytes an application sent and keeps the marks
 * the application put between them.  Asked for the next mark that is due it gives the
 * oldest one whose outcome is known.
 *
 * It does no I/O, takes no lock, allocates nothing and reads no clock: the time is an
 * argument, and the memory of the ledger and of its marks belongs to the caller.  The
 * caller serialises access.
 *
 * Times are nanoseconds of any monotonic clock, the same in every call.  Byte counts are
 * 64 bit and never go back.
 *
 * Every received byte is in exactly one state:
 *
 *     received -> queued -> delivered -> [held ->] sent -> played
 *                    |                     |
 *                    |-> dropped           '-> dropped
 *                    '-> flushed
 *
 * "delivered" is to Asterisk's core, "sent" is towards the listener.  Between the two it
 * is held by a bridge that mixes, by a resampler, or by the peer's channel where it can be
 * seen what that sends, or known that it does not fill a packet; else the two are one
 * moment.  "played" is as much of what was sent as has had its time on the media clock.  At
 * every moment received = queued + held + sent + flushed + dropped.
 */

#ifndef PLAYBACK_LEDGER_H
#define PLAYBACK_LEDGER_H

#include <stddef.h>
#include <stdint.h>

/*! \brief A time that never comes */
#define PLAYBACK_NEVER INT64_MAX

/*!
 * \brief How long after its delivery to the core a frame's audio is taken to start, in ns
 *
 * From the channel's read to the caller's socket a frame crosses one thread (the peer's
 * bridge thread).  That takes 0.05 to 0.2 ms, on a busy virtual machine up to 0.5 ms for
 * some frames in a row; an acknowledgement's own way from its timer to the application's
 * socket takes about half as long.  Without this allowance an acknowledgement could
 * overtake its audio by that difference.
 */
#define PLAYBACK_SEND_DELAY_NS 400000

/*!
 * \brief The same for a frame that a mixer wrote, in ns
 *
 * A mixing interval is seen when this channel's thread writes its mixed frame; the
 * caller's frame of the same interval is encoded and sent by another thread, which may
 * come that much later.
 */
#define PLAYBACK_MIXED_SEND_DELAY_NS 600000

/*!
 * \brief Number of recent frames whose smallest delay defines the media clock
 *
 * Few enough to follow within 100 ms when ticks stay late.
 */
#define PLAYBACK_CLOCK_FRAMES 5

/*!
 * \brief A frame is sure to be mixed only if it was delivered this long before, in ns
 *
 * When the mixer mixed is known by the frames it writes to the channel.  These arrive
 * some 0.1 ms after it took what it mixes, and a frame takes as long to reach it.
 */
#define PLAYBACK_MIXER_GUARD_NS 500000

/*!
 * \brief Less than this is not a difference in what a mixer holds, in ns: it comes of
 * resampling
 */
#define PLAYBACK_MIXER_TOLERANCE_NS 2000000

/*!
 * \brief For how long a mark waits for a mixer that writes no more, in ns
 *
 * Beyond the time at which the packet with its media should have left and been played.
 */
#define PLAYBACK_MIXER_WAIT_NS 1000000000

/*! \brief How many of its intervals a mixer holds before it drops all (bridge_softmix) */
#define PLAYBACK_MIXER_INTERVALS 4

/*!
 * \brief What a mixer is to hold at most before it is given more, in ns, or an interval and
 * two ticks if they last longer: that bridges what the host keeps its thread waiting
 */
#define PLAYBACK_MIXER_ROOM_NS 80000000

/*! \brief Frames of 20 ms that a mixer with the longest interval, 80 ms, may hold */
#define PLAYBACK_HELD_MAX 18

/*! \brief Shortest time between two reports of dropped media, in ns: ten a second */
#define PLAYBACK_DROP_INTERVAL_NS 100000000

/*!
 * \brief How long after its delivery it is first looked whether a frame was sent, in ns
 *
 * By then the peer's thread has sent nine frames of ten.  The sooner it is seen the less an
 * acknowledgement is late, for the media clock knows of a frame only that it was sent by
 * the time it was looked.
 */
#define PLAYBACK_LOOK_NS 100000

/*! \brief How much later that is at the most where frames leave unevenly, in ns */
#define PLAYBACK_LOOK_LATER_NS 300000

/*! \brief How often it is looked at least whether a late frame was sent, in ns */
#define PLAYBACK_LOOK_AGAIN_NS 1000000

/*!
 * \brief For how long it stands how soon a frame was seen to leave, in ns
 *
 * Each look costs a wake-up of the channel's thread.  So long the next frames are taken to
 * leave as soon, and are looked at when the first mark that waits for them is due.
 */
#define PLAYBACK_LEARN_NS 1000000000

/*! \brief How many frames in a row must be seen to leave soon until that is taken for others */
#define PLAYBACK_LEARN_LOOKS 8

/*!
 * \brief Frames that are delivered as evenly as this leave evenly, too, in ns
 *
 * Where they are not, the host is busy: a frame that a mark waits for is then looked at soon,
 * and others are taken to leave that much later.  So load makes acknowledgements late and
 * never early.
 */
#define PLAYBACK_EVEN_NS 250000

/*! \brief Within so many frames most of what was seen of that is forgotten */
#define PLAYBACK_UNEVEN_FRAMES 16

/*! \brief How far along its way delivered media can be followed */
enum playback_stage {
	/*! To Asterisk's core: no further */
	PLAYBACK_STAGE_DELIVERED,
	/*! To a bridge that mixes it */
	PLAYBACK_STAGE_MIXED,
	/*! Out of the socket of the channel that it is for */
	PLAYBACK_STAGE_SENT,
};

/*! \brief What became of a mark */
enum playback_outcome {
	/*! Media before it is still queued, held or not yet played */
	PLAYBACK_WAITING,
	/*! All media before it that was not dropped has been played */
	PLAYBACK_PLAYED,
	/*! FLUSH_MEDIA removed media before it */
	PLAYBACK_FLUSHED,
	/*! The channel was hung up first */
	PLAYBACK_HUNGUP,
	/*! Too many marks were pending */
	PLAYBACK_LIMIT,
	/*! The application's media direction was 'in' */
	PLAYBACK_DIRECTION,
	/*! All media between the previous mark or flush and this one was dropped */
	PLAYBACK_DROPPED,
	/*! Not a mark: an event ordered among the marks */
	PLAYBACK_ORDERED_EVENT,
};

/*! \brief Why media was dropped: it will never be played */
enum playback_drop_reason {
	/*! The frame queue was full */
	PLAYBACK_DROP_OVERFLOW,
	/*! A tail shorter than a frame was sent outside buffering */
	PLAYBACK_DROP_PARTIAL,
	/*! The application's media direction was 'in' */
	PLAYBACK_DROP_DIRECTION,
	/*! A mixer held it when the channel left, it began anew or muted it, or held too much */
	PLAYBACK_DROP_BRIDGE,
	/*! The channel that it was delivered to did not send it */
	PLAYBACK_DROP_UNSENT,
	/*! It was silence, left out because what follows it is late */
	PLAYBACK_DROP_LATE,
	/*! Number of reasons */
	PLAYBACK_DROP_REASONS,
};

/*! \brief Media dropped for one reason since that was last reported */
struct playback_drop {
	/*! Number of bytes, 0 for none */
	uint64_t bytes;
	/*! Bytes received before the first of them */
	uint64_t offset;
	/*! Why it was dropped */
	enum playback_drop_reason reason;
};

/*! \brief An amount of media */
struct playback_media {
	/*! In bytes */
	uint64_t bytes;
	/*! In ns */
	int64_t ns;
};

/*! \brief A mark: a named point in the stream; part of a struct of the caller's */
struct playback_mark {
	/*! Next mark in the order of the stream */
	struct playback_mark *next;
	/*! Bytes received, or to be received, before the mark: what the application counts */
	uint64_t offset;
	/*!
	 * Bytes queued before the mark: the offset without what was dropped instead of being
	 * queued
	 */
	uint64_t position;
	/*!
	 * Bytes dropped before the mark; once it is popped those of them that no mark has told
	 * which was popped before.  Of an event that is ordered among the marks, what of the
	 * media delivered before it was dropped afterwards
	 */
	uint64_t dropped;
	union {
		/*! While it is pending media time played up to the flush before it, in ns */
		int64_t flush_media_ns;
		/*! Once it is popped how long what was dropped lasts, in ns */
		int64_t dropped_ns;
	};
	/*! Media time played from the channel's start to the mark, in ns */
	int64_t media_ns;
	/*!
	 * When its outcome is reached, PLAYBACK_NEVER while that is not known.  While it waits
	 * for a mixer, see \c intervals, the latest time
	 */
	int64_t due_ns;
	/*! What became of it */
	enum playback_outcome outcome;
	/*! How far its media was followed, an enum playback_stage */
	unsigned char stage;
	/*! Why the latest of what was dropped was, an enum playback_drop_reason */
	unsigned char drop_reason;
	/*! Whether nothing was received between the latest flush and the mark */
	unsigned char is_fence;
	/*! For how many more mixing intervals it waits, which fill the packet with its media */
	unsigned char intervals;
};

/*! \brief A frame as it was delivered to the core */
struct playback_frame {
	/*! Bytes queued before its first one, see struct playback_mark */
	uint64_t position;
	/*! The application's media in it */
	struct playback_media media;
	/*! How long the frame lasts, in ns: longer than its media if silence pads it */
	int64_t frame_ns;
	/*! When it was delivered */
	int64_t delivered_ns;
	/*! How much sooner it should have been, and is played, in ns: see struct playback_pace */
	int64_t behind_ns;
	/*! How late the tick was served at which it was delivered, in ns */
	int64_t late_ns;
	/*! Whether the one before it was shorter than a tick, and so ended before this one comes */
	int follows_short;
};

/*! \brief All counts at one moment */
struct playback_snapshot {
	/*! Bytes received */
	uint64_t received;
	/*! Media sent whose time on the media clock has passed */
	struct playback_media played;
	/*! Media in the frame queue, held, or sent and not played yet */
	struct playback_media queued;
	/*! Bytes flushed */
	uint64_t flushed;
	/*! Bytes dropped */
	uint64_t dropped;
	/*! The same by reason */
	uint64_t dropped_by[PLAYBACK_DROP_REASONS];
	/*! Number of pending marks */
	unsigned int marks;
	/*! Ticks with nothing to play though more media was to come */
	uint64_t underruns;
	/*! How far delivered media is followed now */
	enum playback_stage stage;
};

/*! \brief The ledger of one channel */
struct playback_ledger;

/*! \brief Size of a ledger in bytes, for the caller to allocate */
size_t playback_ledger_size(void);

/*!
 * \brief Begin a ledger with nothing received
 *
 * \param ledger playback_ledger_size() bytes of memory
 * \param tick_ns how often the core asks for a frame, in ns
 * \param sample_bytes bytes of a sample, 0 where only whole messages last some time
 */
void playback_ledger_init(struct playback_ledger *ledger, int64_t tick_ns,
	unsigned int sample_bytes);

/*!
 * \brief Media arrived from the application; it counts as queued
 *
 * The marks that were ahead and stand in it take their places.
 */
void playback_ledger_received(struct playback_ledger *ledger, struct playback_media media,
	int64_t now_ns);

/*!
 * \brief The newest media received was dropped instead of being queued
 *
 * To be told before anything else is set behind it, but for marks that lie in the sample
 * that it begins with.
 *
 * \param ledger
 * \param media
 * \param behind bytes received behind it that are kept: half a sample
 * \param reason
 * \param now_ns when
 */
void playback_ledger_dropped(struct playback_ledger *ledger, struct playback_media media,
	uint64_t behind, enum playback_drop_reason reason, int64_t now_ns);

/*!
 * \brief The oldest media queued was delivered to the core
 *
 * \param ledger
 * \param media the media in the frame, at most what is queued, none for a frame of silence
 * \param frame_ns how long the frame lasts: more than its media if silence pads it
 * \param now_ns when
 */
void playback_ledger_delivered(struct playback_ledger *ledger,
	struct playback_media media, int64_t frame_ns, int64_t now_ns);

/*!
 * \brief The same for a frame that is delivered after its tick, to catch up
 *
 * The peer's packets go on as if it had been in time.
 *
 * \param ledger
 * \param frame its position and what it follows are set here
 */
void playback_ledger_caught_up(struct playback_ledger *ledger,
	const struct playback_frame *frame);

/*!
 * \brief Whether the oldest \a bytes queued can be left out: nothing that was delivered before
 * them is held, and no mark or event stands in them or right behind
 */
int playback_ledger_can_skip(const struct playback_ledger *ledger, uint64_t bytes);

/*!
 * \brief The oldest media queued is dropped instead of being delivered
 *
 * Marks and events in it need not wait for it any more.
 *
 * \param ledger
 * \param media
 * \param reason PLAYBACK_DROP_LATE if playback_ledger_can_skip(), PLAYBACK_DROP_UNSENT if it
 *        went where nobody hears it
 * \param now_ns when
 */
void playback_ledger_skipped(struct playback_ledger *ledger, struct playback_media media,
	enum playback_drop_reason reason, int64_t now_ns);

/*! \brief The core asked for a frame in vain: an underrun if more was to be expected */
void playback_ledger_starved(struct playback_ledger *ledger);

/*!
 * \brief Whether the channel is in a bridge that mixes; may be repeated
 *
 * What a mixer holds when the channel leaves it is dropped then: nobody will hear it, and
 * no mark waits for it any longer.  A frame of which it is not known whether the mixer
 * still took it counts as held, so as dropped: the ledger never says of media that it was
 * played when it was not.
 */
void playback_ledger_mixing(struct playback_ledger *ledger, int mixing, int64_t now_ns);

/*!
 * \brief The mixer wrote a frame to the channel: a mixing interval has ended
 *
 * \param ledger
 * \param interval_ns how long that frame lasts: what the mixer takes of each party
 * \param now_ns when
 */
void playback_ledger_mixed(struct playback_ledger *ledger, int64_t interval_ns,
	int64_t now_ns);

/*!
 * \brief See whether the mixer has mixed though its result is not written to the channel, which
 * is mute or played something by a generator
 *
 * A mixing interval ends then when it is seen that the mixer has taken one.
 *
 * \param ledger
 * \param held_ns how long the audio lasts that the mixer holds of this channel
 * \param now_ns when
 */
void playback_ledger_mixer_took(struct playback_ledger *ledger, int64_t held_ns,
	int64_t now_ns);

/*!
 * \brief How long the frame lasts that the mixer wrote latest, in ns; 0 if it has written none
 * since the channel is in its bridge
 */
int64_t playback_ledger_mixer_wrote(const struct playback_ledger *ledger);

/*!
 * \brief What the mixer really holds, if that can be seen
 *
 * Without it, playback_ledger_mixed() takes a frame that was delivered shortly before the
 * mixer mixed to have missed that.  To be called between mixing intervals and before the
 * next frame is delivered.  What is gone though no mixing interval can have taken so much
 * the mixer has dropped.
 *
 * \param ledger
 * \param held_ns how long the audio lasts that the mixer holds of this channel
 * \param now_ns when
 */
void playback_ledger_mixer_holds(struct playback_ledger *ledger, int64_t held_ns,
	int64_t now_ns);

/*!
 * \brief The mixer has begun anew: what it held is lost, but for what it is seen to hold
 *
 * It does with another sample rate, and a muted channel's audio is lost, too.  To be called
 * before the result is told of the mixing interval that it began with, which has nothing of
 * this channel in it.
 *
 * \param ledger
 * \param held_ns how long the audio lasts that the mixer holds of this channel, -1 if that
 *        cannot be seen: then it is what was delivered just now
 * \param now_ns when
 */
void playback_ledger_mixer_began(struct playback_ledger *ledger, int64_t held_ns,
	int64_t now_ns);

/*!
 * \brief The mixer writes a frame of \a interval_ns: see whether it has begun anew
 *
 * It does with another mixing interval, too.  The first one that is seen of a mixer need not
 * be another one: then it tells by how much is gone.  To be called before
 * playback_ledger_mixed().
 *
 * \param ledger
 * \param interval_ns
 * \param held_ns see playback_ledger_mixer_began()
 * \param now_ns
 */
void playback_ledger_mixer_writes(struct playback_ledger *ledger, int64_t interval_ns,
	int64_t held_ns, int64_t now_ns);

/*!
 * \brief Whether a mixer holds enough: more would only be heard later, and some more makes it
 * drop all that it holds
 *
 * \param ledger
 * \param held_ns how long the audio lasts that it holds of this channel, -1 if that was not
 *        seen: then it is what the ledger takes it to hold
 */
int playback_ledger_mixer_is_full(const struct playback_ledger *ledger, int64_t held_ns);

/*!
 * \brief Whether it can be seen what the peer's channel sends, and how long its packets
 * last; may be repeated
 *
 * The peer is the only other channel in a bridge that does not mix.  While it can be seen,
 * what is delivered is held until playback_ledger_looked() says what became of it.  Where
 * it cannot, what is delivered is taken to be sent, but for what does not fill a packet
 * yet: that is held.  What is held when the peer is another one is dropped.
 *
 * In a bridge that mixes a packet is filled by what the mixer goes on to write, if with
 * silence: there it says how much later media leaves.  A mark in it waits for as many mixing
 * intervals, however late these are, but no longer than PLAYBACK_MIXER_WAIT_NS, nor when the
 * bridge ceases to mix.
 *
 * \param ledger
 * \param watching whether it can be seen; not in a bridge that mixes
 * \param packet_ns how long each of the peer's packets lasts, which it fills with frames or
 *        parts of them; 0 if each frame is a packet.  Of a bridge that mixes the longest
 *        ones that any listener gets
 * \param now_ns when
 */
void playback_ledger_watching(struct playback_ledger *ledger, int watching,
	int64_t packet_ns, int64_t now_ns);

/*!
 * \brief By how much resamplers make media later that is delivered, in ns; may be repeated
 *
 * They give as much audio as they are given.  So they keep that much of the latest, which is
 * held, until they are given more: see playback_ledger_wants_silence().
 *
 * \param ledger
 * \param resampled_ns by those of this channel, ahead of the bridge
 * \param anew whether they are others: what was in the former ones is dropped, as it is when
 *        \a resampled_ns is another one
 * \param now_ns when
 */
void playback_ledger_resampled(struct playback_ledger *ledger, int64_t resampled_ns,
	int anew, int64_t now_ns);

/*!
 * \brief The same by those on the way from the bridge to whoever listens
 *
 * Behind a mixer, which goes on to write, they keep nothing: there it says how much later
 * media leaves, for any listener.
 */
void playback_ledger_listener_resampled(struct playback_ledger *ledger,
	int64_t resampled_ns, int anew, int64_t now_ns);

/*!
 * \brief The peer is left, and what it keeps because it fills no packet goes on to be held:
 * it leaves with what comes next, if the same peer is met again
 *
 * What became of the packets it was given is known, as far as it ever will be.
 *
 * \return whether there is any
 */
int playback_ledger_leave_rest(struct playback_ledger *ledger, int64_t now_ns);

/*! \brief The latest \a frames delivered got lost before they were written to the peer */
void playback_ledger_lost(struct playback_ledger *ledger, unsigned int frames,
	int64_t now_ns);

/*!
 * \brief The packets that the peer sends last \a packet_ns from now on
 *
 * What is held stays held: a packet that leaves has the latest of it, and what is not in
 * that by then is lost.
 *
 * \param ledger
 * \param packet_ns see playback_ledger_watching()
 * \param seen whether such packets have left already: those that playback_ledger_looked() is
 *        to be told next
 */
void playback_ledger_repacked(struct playback_ledger *ledger, int64_t packet_ns, int seen);

/*!
 * \brief What the peer's channel was seen to have sent since the latest look
 *
 * Packets that have left are those of the oldest media held.  If the peer is done with all
 * it was given, what should have left and did not is dropped, except for what it may keep
 * because it does not fill a packet yet.
 *
 * \param ledger
 * \param packets how many
 * \param done whether the peer is done with all frames that were delivered
 * \param now_ns when it was looked
 * \retval 1 the packets have been entered
 * \retval 0 look again, and count these again then: what was dropped latest and what is
 *         sent now cannot be told apart before the peer is done
 */
int playback_ledger_looked(struct playback_ledger *ledger, unsigned int packets, int done,
	int64_t now_ns);

/*!
 * \brief Nobody will hear what is held: it is dropped, but for what the peer was found to
 * keep because it does not fill a packet
 */
void playback_ledger_unheard(struct playback_ledger *ledger, int64_t now_ns);

/*!
 * \brief Whether the peer, which is done with all it was given, has nowhere to send to
 *
 * To be told at each look where packets last longer than a frame.  What the peer is given
 * meanwhile is lost.  What it kept before, because it does not fill a packet, it keeps, and
 * sends with what it is given afterwards: that stays held.
 */
void playback_ledger_shut(struct playback_ledger *ledger, int shut, int64_t now_ns);

/*! \brief Whether the peer was given so much that a packet more has to leave */
int playback_ledger_owes_packet(const struct playback_ledger *ledger);

/*!
 * \brief When to look what the peer has sent, because a mark or an event waits for it
 *
 * It is soon after the delivery where it has to be learned how soon frames leave, else when
 * the first of those is due.
 *
 * \return PLAYBACK_NEVER if none does
 */
int64_t playback_ledger_look_due(const struct playback_ledger *ledger);

/*!
 * \brief The same where it was looked at \a looked_ns, maybe in vain
 *
 * Then the more rarely the longer it takes: for the only frame held, whose leaving the media
 * clock is to follow, once in PLAYBACK_LOOK_AGAIN_NS at least.
 */
int64_t playback_ledger_look_again(const struct playback_ledger *ledger,
	int64_t looked_ns);

/*!
 * \brief Whether a mark or an event waits for what the peer keeps because it fills no packet:
 * other audio may fill it at any time
 */
int playback_ledger_waits_for_rest(const struct playback_ledger *ledger);

/*!
 * \brief How much silence has to be delivered now, when there is no media
 *
 * A mixer takes a whole mixing interval or nothing, and a channel whose packets last longer
 * than a frame sends whole packets.  The rest of an utterance that does not fill one would
 * stay there until more media comes, and so would the marks and events that wait for it;
 * after a flush it would be heard ahead of what comes next.  So, where one of these wants
 * it, silence fills the interval or the packet, once.  For a mixer it is asked for as late
 * as can be: media that comes a tick late would have filled it, too.  A packet is filled
 * tick by tick, as with media.
 *
 * \param ledger
 * \param now_ns when, at a tick; PLAYBACK_NEVER if no other tick will come
 * \return in ns, at most a mixing interval, or what is left of a packet and what resamplers
 *         keep, rounded up to a whole ms; 0 for none.  It is to be delivered as a frame without media.
 */
int64_t playback_ledger_wants_silence(const struct playback_ledger *ledger,
	int64_t now_ns);

/*!
 * \brief All that is queued was flushed, and with it the marks that waited for it
 *
 * A mark whose media has all been delivered stays, and is played at its time.  So does
 * one that is ahead of what was received: its media has yet to come.
 *
 * \return what was flushed
 */
struct playback_media playback_ledger_flush(struct playback_ledger *ledger,
	int64_t now_ns);

/*!
 * \brief The channel is hung up: nothing is delivered or played any more
 *
 * What is queued or held counts as flushed, what was sent as played.  Every mark that has
 * not been popped is settled: pop first what is due by now.
 *
 * \return what was flushed
 */
struct playback_media playback_ledger_hangup(struct playback_ledger *ledger,
	int64_t now_ns);

/*!
 * \brief The newest \a media is half a sample whose other half has not come
 *
 * It cannot be played yet, and a mark or queued event that comes now does not wait for
 * it: one that lies inside a sample is due where that sample begins.
 */
void playback_ledger_half_sample(struct playback_ledger *ledger,
	struct playback_media media);

/*!
 * \brief Put a mark at the end of what was received
 *
 * \param ledger
 * \param mark in the caller's memory until playback_ledger_pop() returns it; all its
 *        fields are set here
 * \param outcome PLAYBACK_WAITING for a mark; another one if that is settled already and
 *        it only waits for those before it; PLAYBACK_ORDERED_EVENT for an event, which
 *        waits for those before it and until what is held has been sent or dropped
 * \param now_ns when
 */
void playback_ledger_mark(struct playback_ledger *ledger, struct playback_mark *mark,
	enum playback_outcome outcome, int64_t now_ns);

/*!
 * \brief Put a mark at an offset, in or ahead of what was received
 *
 * Marks are popped in the order of their offsets, for equal ones in that in which they
 * were set; one that is set when others behind it have been popped comes next.
 *
 * - Where the byte before it is still to be played it waits like any other; it is due at
 *   once if that has been played, or was dropped and all before it has been played.
 * - If that byte was flushed, so is the mark.
 * - If that byte has not been received the mark waits for it, whatever is flushed
 *   meanwhile, or for hang-up.
 *
 * An offset inside a sample is that of the sample's first byte.
 *
 * This costs a look at each of the PLAYBACK_GAPS_MAX gaps at most, and a walk over the
 * pending marks before it.  There is no walk behind the last one, nor behind the one that
 * was put between others before it: marks set in their order do not walk.  Where 2048 are
 * pending at random offsets it is 1.3 us a mark, else 0.1.
 *
 * \param ledger
 * \param mark see playback_ledger_mark()
 * \param offset bytes received before the mark
 * \param outcome PLAYBACK_WAITING, or another one that is settled already
 * \param now_ns when
 * \retval 0 success
 * \retval -1 it lies before the gaps that are remembered; the mark is the caller's
 */
int playback_ledger_mark_at(struct playback_ledger *ledger, struct playback_mark *mark,
	uint64_t offset, enum playback_outcome outcome, int64_t now_ns);

/*!
 * \brief An event was put into the frame queue, at the end of what was received
 *
 * A partial frame it waits for is then played, see playback_ledger_wants_partial().
 */
void playback_ledger_event_queued(struct playback_ledger *ledger);

/*!
 * \brief An event left the frame queue: it waits for what was delivered and the next
 * \a bytes_ahead bytes
 *
 * \param ledger
 * \param event see playback_ledger_mark(); it has an order of its own beside the marks
 * \param bytes_ahead how much of the next frame comes before it
 * \param now_ns when
 */
void playback_ledger_event_dequeued(struct playback_ledger *ledger,
	struct playback_mark *event, uint64_t bytes_ahead, int64_t now_ns);

/*!
 * \brief Take the oldest mark or queued event if it is settled and due
 *
 * Call until it returns NULL: several may be due at once.
 *
 * \return the mark, now the caller's again with its outcome set, or NULL
 */
struct playback_mark *playback_ledger_pop(struct playback_ledger *ledger, int64_t now_ns);

/*! \brief When playback_ledger_pop() has the next one, PLAYBACK_NEVER if not yet known */
int64_t playback_ledger_next_due(const struct playback_ledger *ledger);

/*! \brief What is in the frame queue: received, neither delivered, dropped nor flushed */
struct playback_media playback_ledger_queued(const struct playback_ledger *ledger);

/*! \brief What has been delivered, without what was dropped of it */
struct playback_media playback_ledger_delivered_media(
	const struct playback_ledger *ledger);

/*! \brief Number of pending marks */
unsigned int playback_ledger_marks(const struct playback_ledger *ledger);

/*! \brief Number of pending events that are ordered among the marks */
unsigned int playback_ledger_ordered_events(const struct playback_ledger *ledger);

/*! \brief Number of pending events that have left the frame queue */
unsigned int playback_ledger_dequeued_events(const struct playback_ledger *ledger);

/*! \brief All counts at one moment */
struct playback_snapshot playback_ledger_snapshot(const struct playback_ledger *ledger,
	int64_t now_ns);

/*!
 * \brief Take the next drop to be reported
 *
 * \retval 1 \a drop is set
 * \retval 0 nothing was dropped, or the latest report is too recent
 */
int playback_ledger_pop_drop(struct playback_ledger *ledger, int64_t now_ns,
	struct playback_drop *drop);

/*! \brief When playback_ledger_pop_drop() has one, PLAYBACK_NEVER for no drop */
int64_t playback_ledger_drop_due(const struct playback_ledger *ledger);

/*!
 * \brief Whether a mark waits for bytes in a partial frame of \a partial_bytes
 *
 * The partial frame is the newest part of what is queued.  Such a mark would wait for
 * bytes that may never come, so the partial frame has to be played when nothing else is
 * queued.
 *
 * \return non-zero if so
 */
int playback_ledger_wants_partial(const struct playback_ledger *ledger,
	size_t partial_bytes);

#endif /* PLAYBACK_LEDGER_H */
