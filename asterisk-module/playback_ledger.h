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
 * The ledger is told what happened to the bytes an application sent (received, dropped,
 * handed to the core, flushed) and keeps the marks the application put between them.
 * Asked for the next answer it gives the oldest mark whose outcome is settled.
 *
 * It does no I/O, takes no lock, allocates nothing and reads no clock: the time is an
 * argument, and the memory of a mark belongs to the caller.  The caller serialises
 * access.
 *
 * Times are nanoseconds of any monotonic clock, the same in every call.  Byte counts are
 * 64 bit and never go back.
 *
 * Every received byte is in exactly one state.  It begins as queued and becomes dropped,
 * flushed or handed over for playing; of what was handed over, so much has been played as
 * the media clock says.  In a bridge that mixes, what the core has been given is held by
 * the mixer before that, and lost if the mixer throws it away.  At every moment
 * received = dropped + lost + flushed + handed + held + what is in the frame queue.
 */

#ifndef PLAYBACK_LEDGER_H
#define PLAYBACK_LEDGER_H

#include <stddef.h>
#include <stdint.h>

/*! \brief A time that never comes */
#define PLAYBACK_NEVER INT64_MAX

/*!
 * \brief How long after the core was handed a frame its audio is taken to start, in ns
 *
 * From the channel's read to the caller's socket a frame crosses one thread (the peer's
 * bridge thread).  That takes 0.05 to 0.2 ms, on a busy virtual machine up to 0.5 ms for
 * some frames in a row, an answer's own way from its timer to the application's socket
 * about half as long.  Without this allowance an answer could overtake the audio it
 * speaks of by that difference.
 */
#define PLAYBACK_HANDOVER_NS 400000

/*!
 * \brief The same for a frame that a mixer wrote: the peer's may come that much later, in
 * ns
 *
 * The round is seen when this channel's thread writes its frame; the caller's frame of
 * the same round is encoded and sent by another thread.
 */
#define PLAYBACK_MIXED_HANDOVER_NS 600000

/*!
 * \brief Over how many frames the media clock is the lower envelope of the handovers
 *
 * Few enough to follow within 100 ms when ticks stay late.
 */
#define PLAYBACK_CLOCK_FRAMES 5

/*!
 * \brief A frame is sure to be in a mixer's next round only this long before it, in ns
 *
 * The mixer's rounds are known by the frames it writes to the channel.  These arrive some
 * 0.1 ms after the mixer took what it mixes, and a frame takes as long to reach it.
 */
#define PLAYBACK_MIXER_GUARD_NS 500000

/*! \brief Less than this is not a difference in what a mixer holds, in ns: resampling */
#define PLAYBACK_MIXER_TOLERANCE_NS 2000000

/*! \brief How many of its intervals a mixer holds before it throws all away (softmix) */
#define PLAYBACK_MIXER_INTERVALS 4

/*! \brief Frames of 20 ms that a mixer with the longest interval, 80 ms, may hold */
#define PLAYBACK_HELD_MAX 18

/*! \brief At most one report of losses in this time, in ns: ten a second */
#define PLAYBACK_LOSS_INTERVAL_NS 100000000

/*! \brief What became of a mark */
enum playback_outcome {
	/*! Media before it is still queued or in play */
	PLAYBACK_WAITING,
	/*! All media before it that was not lost has been played */
	PLAYBACK_PLAYED,
	/*! FLUSH_MEDIA removed media before it */
	PLAYBACK_FLUSHED,
	/*! The channel was hung up first */
	PLAYBACK_HUNGUP,
	/*! Too many marks were pending */
	PLAYBACK_LIMIT,
	/*! The application's media direction was 'in' */
	PLAYBACK_DIRECTION,
	/*! It is no mark, but an answer that waits for its turn among them */
	PLAYBACK_TURN,
};

/*! \brief Why media is never played */
enum playback_loss_reason {
	/*! The frame queue was full */
	PLAYBACK_OVERFLOW,
	/*! A tail shorter than a frame was sent outside buffering */
	PLAYBACK_PARTIAL,
	/*! The application's media direction was 'in' */
	PLAYBACK_DIRECTION_IN,
	/*! A bridge that mixed held it when the channel left it, or held too much */
	PLAYBACK_BRIDGE,
	/*! Number of reasons */
	PLAYBACK_LOSS_REASONS,
};

/*! \brief Media that was lost for one reason since that was last reported */
struct playback_loss {
	/*! Number of bytes, 0 for none */
	uint64_t bytes;
	/*! Bytes received before the first of them */
	uint64_t offset;
	enum playback_loss_reason reason;
};

/*!
 * \brief A named point in the stream; embedded by the caller in whatever it wants to
 * answer
 */
struct playback_mark {
	/*! Next younger mark */
	struct playback_mark *next;
	/*! Bytes received before the mark: the position the application knows */
	uint64_t offset;
	/*!
	 * Bytes accepted for playing before the mark: offset without what was dropped; what
	 * a mixer loses later was accepted
	 */
	uint64_t position;
	/*! Bytes dropped or lost between the previous mark and this one */
	uint64_t dropped;
	/*! Media time played from the channel's start to the mark, in ns */
	int64_t media_ns;
	/*! When its outcome is reached, PLAYBACK_NEVER while that is not known */
	int64_t due_ns;
	/*! What became of it */
	enum playback_outcome outcome;
};

/*!
 * \brief Pending marks, oldest first
 *
 * Their positions never go back, and settled ones wait for those before them.
 */
struct playback_queue {
	struct playback_mark *head;
	struct playback_mark *tail;
	/*! The oldest mark that waits for media to be handed over */
	struct playback_mark *unplayed;
	unsigned int count;
};

/*! \brief Media in bytes and in time */
struct playback_media {
	uint64_t bytes;
	int64_t ns;
};

/*! \brief A frame on its way through a mixer */
struct playback_frame {
	/*! Bytes accepted for playing before its first one */
	uint64_t position;
	struct playback_media media;
	/*! How long the frame lasts: longer than its media if silence pads it */
	int64_t frame_ns;
	/*! When the core was given it */
	int64_t taken_ns;
};

/*! \brief The ledger of one channel; only \c playback_ledger_* functions write to it */
struct playback_ledger {
	/*! What the application sent */
	struct playback_media received;
	/*! What will never be played because there was no place for it */
	struct playback_media dropped;
	/*! What was thrown away by a flush or at hang-up */
	struct playback_media flushed;
	/*!
	 * What a mixer threw away: dropped for the application, but apart from \c dropped
	 * since positions count it
	 */
	struct playback_media lost;
	/*! What a mixer holds */
	struct playback_media held;
	/*! What left towards the listener */
	struct playback_media handed;
	/*! Of what was dropped or lost, the bytes that marks have been told of */
	uint64_t dropped_at_mark;
	/*! The furthest position a mark or a note waits, or has waited, for */
	uint64_t wanted;
	/*! The newest media that was part of a sample when a mark or a note was set */
	struct playback_media cut;
	/*! Ticks with nothing to play though the application had not said it was done */
	uint64_t underruns;
	/*! How often the core asks for a frame, in ns */
	int64_t tick_ns;
	/*! The latest media handed over */
	struct playback_media playing;
	/*! When it starts on the media clock */
	int64_t playing_start_ns;
	/*! When it ends: after its media and the silence that pads it */
	int64_t playing_end_ns;
	/*! How late the latest few handovers were, against the time of their media */
	int64_t clock_delays_ns[PLAYBACK_CLOCK_FRAMES];
	unsigned int clock_count;
	int64_t clock_media_ns;
	/*! Whether the bridge mixes */
	int mixing;
	/*!
	 * How much the mixer takes in a round, in ns, when it took it in the latest one, at
	 * the earliest, and when the result arrived
	 */
	int64_t mixer_interval_ns;
	int64_t mixer_round_ns;
	int64_t mixer_heard_ns;
	/*! The frames the mixer holds, oldest first, and how long they last together */
	struct playback_frame held_frames[PLAYBACK_HELD_MAX];
	unsigned int held_count;
	int64_t held_frames_ns;
	/*! Losses not yet reported, and when the next report may be made */
	struct playback_loss losses[PLAYBACK_LOSS_REASONS];
	int64_t next_loss_ns;
	/*! The application's marks, in the order they were received */
	struct playback_queue marks;
	/*! How many of them are none, see \c PLAYBACK_TURN */
	unsigned int turns;
	/*! Notes, in the order in which they left the frame queue */
	struct playback_queue notes;
};

/*! \brief An account of a moment; received = played + queued + flushed + dropped */
struct playback_snapshot {
	uint64_t received;
	/*! By the media clock */
	struct playback_media played;
	/*! In the frame queue, the partial frame, the mixer, and the rest of what plays */
	struct playback_media queued;
	uint64_t flushed;
	/*! Lost in a mixer included */
	uint64_t dropped;
	/*! Pending marks, neither notes nor answers that only wait for their turn counted */
	unsigned int marks;
	uint64_t underruns;
};

/*!
 * \brief Start an empty ledger; there is nothing to undo, pending marks are the caller's
 *
 * \param ledger
 * \param tick_ns how often the core asks for a frame
 */
void playback_ledger_init(struct playback_ledger *ledger, int64_t tick_ns);

/*! \brief Media arrived from the application and is queued until told otherwise */
void playback_ledger_received(struct playback_ledger *ledger,
	struct playback_media media);

/*! \brief The newest media received will not be played */
void playback_ledger_dropped(struct playback_ledger *ledger, struct playback_media media,
	enum playback_loss_reason reason);

/*!
 * \brief The oldest media queued was given to the core
 *
 * \param ledger
 * \param media the media in the frame, at most what is queued
 * \param frame_ns how long the frame lasts: more than its media if silence pads it
 * \param now_ns when
 */
void playback_ledger_taken(struct playback_ledger *ledger, struct playback_media media,
	int64_t frame_ns, int64_t now_ns);

/*! \brief The core asked for a frame in vain: an underrun if more was to be expected */
void playback_ledger_starved(struct playback_ledger *ledger);

/*!
 * \brief Whether the channel is in a bridge that mixes; may be told again and again
 *
 * What a mixer holds when the channel leaves it is lost then: nobody will hear it, and no
 * mark waits for it any longer.  A frame of which it is not known whether the mixer's
 * latest round still took it counts as held, so as lost: nothing is said to have been
 * played that was not.
 */
void playback_ledger_mixing(struct playback_ledger *ledger, int mixing, int64_t now_ns);

/*!
 * \brief The mixer wrote a frame to the channel: it has finished a round
 *
 * \param ledger
 * \param interval_ns how long that frame lasts: what the mixer takes of each party
 * \param now_ns when
 */
void playback_ledger_mixed(struct playback_ledger *ledger, int64_t interval_ns,
	int64_t now_ns);

/*!
 * \brief What the mixer really holds, if that can be seen
 *
 * Without it, playback_ledger_mixed() takes a frame that came shortly before a round to
 * have missed it.  To be called between rounds and before the next frame is taken.  What
 * is gone though no round can have taken so much the mixer has thrown away: it is lost.
 *
 * \param ledger
 * \param held_ns how long the audio lasts that the mixer holds of this channel
 * \param now_ns when
 */
void playback_ledger_mixer_holds(struct playback_ledger *ledger, int64_t held_ns,
	int64_t now_ns);

/*!
 * \brief All that is queued was thrown away, and with it the marks that waited for it
 *
 * A mark whose media the core had all been given stays, and is played at its time.  At
 * hang-up that time does not come any more: pop what is due first, the rest is settled.
 *
 * \param ledger
 * \param outcome PLAYBACK_FLUSHED or PLAYBACK_HUNGUP
 * \param now_ns when
 * \return what was thrown away
 */
struct playback_media playback_ledger_flush(struct playback_ledger *ledger,
	enum playback_outcome outcome, int64_t now_ns);

/*!
 * \brief The newest \a media is part of a sample, the rest of which has not come
 *
 * It cannot be played yet, and no mark or note that is set now waits for it: one that
 * lies inside a sample is due where that begins.
 */
void playback_ledger_cut(struct playback_ledger *ledger, struct playback_media media);

/*!
 * \brief Put a mark at the end of what was received
 *
 * \param ledger
 * \param mark in the caller's memory until playback_ledger_pop() returns it; all its
 *        fields are set here
 * \param outcome PLAYBACK_WAITING for a mark, another one if that is settled already and
 *        it only waits for its turn, PLAYBACK_TURN for what is no mark
 * \param now_ns when
 */
void playback_ledger_mark(struct playback_ledger *ledger, struct playback_mark *mark,
	enum playback_outcome outcome, int64_t now_ns);

/*!
 * \brief Say that a note will come at the end of what was received: it is queued like
 * media
 *
 * A partial frame it waits for is then played, see playback_ledger_wants_partial().
 */
void playback_ledger_note_queued(struct playback_ledger *ledger);

/*!
 * \brief Put a note behind what the core was given and the next \a bytes_ahead bytes
 *
 * A note is a mark that travels in the frame queue and is entered here when it leaves it.
 *
 * \param ledger
 * \param note see playback_ledger_mark()
 * \param bytes_ahead how much of the next frame comes before it
 * \param now_ns when
 */
void playback_ledger_note(struct playback_ledger *ledger, struct playback_mark *note,
	uint64_t bytes_ahead, int64_t now_ns);

/*!
 * \brief Take the oldest mark or note if it is settled and due
 *
 * Call until it returns NULL: several may be due at once.
 *
 * \return the mark, now the caller's again with its outcome set, or NULL
 */
struct playback_mark *playback_ledger_pop(struct playback_ledger *ledger, int64_t now_ns);

/*! \brief When playback_ledger_pop() has the next one, PLAYBACK_NEVER if not yet known */
int64_t playback_ledger_next_due(const struct playback_ledger *ledger);

/*! \brief What is queued: received, neither given to the core nor lost */
struct playback_media playback_ledger_queued(const struct playback_ledger *ledger);

/*! \brief How many marks are pending */
unsigned int playback_ledger_marks(const struct playback_ledger *ledger);

/*! \brief All counts at one moment */
struct playback_snapshot playback_ledger_snapshot(const struct playback_ledger *ledger,
	int64_t now_ns);

/*!
 * \brief The newest pending mark whose media the core has all been given
 * \return NULL if no pending mark is that far
 */
const struct playback_mark *playback_ledger_last_taken(
	const struct playback_ledger *ledger);

/*!
 * \brief Take the next loss to be reported
 *
 * \retval 1 \a loss is set
 * \retval 0 nothing was lost, or the latest report is too recent
 */
int playback_ledger_pop_loss(struct playback_ledger *ledger, int64_t now_ns,
	struct playback_loss *loss);

/*! \brief When playback_ledger_pop_loss() has one, PLAYBACK_NEVER if nothing is lost */
int64_t playback_ledger_loss_due(const struct playback_ledger *ledger);

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
