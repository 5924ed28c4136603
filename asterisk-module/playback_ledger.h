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
 * Every received byte is queued, played, flushed or dropped, so at every moment
 * received = handed + flushed + dropped + queued, where "handed" splits by the clock into
 * what has been played and what is still in play.
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
 * bridge thread).  That takes 0.05 to 0.2 ms, an answer's own way from its timer to the
 * application's socket about half as long.  Without this allowance an answer could
 * overtake the audio it speaks of by that difference.
 */
#define PLAYBACK_HANDOVER_NS 150000

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
	/*! Bytes accepted for playing before the mark: offset without what was dropped */
	uint64_t position;
	/*! Bytes dropped between the previous mark and this one */
	uint64_t dropped;
	/*! Media time from the channel's start to the mark, in ns; valid once due_ns is */
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
	/*! The oldest mark whose media was not all handed to the core yet */
	struct playback_mark *unplayed;
};

/*! \brief The ledger of one channel; only \c playback_ledger_* functions write to it */
struct playback_ledger {
	/*! Media bytes the application sent */
	uint64_t received;
	/*! Bytes that will never be played because of overflow or a tail outside buffering */
	uint64_t dropped;
	/*! Bytes of the frames handed to the core */
	uint64_t handed;
	/*! Bytes thrown away by a flush or at hang-up */
	uint64_t flushed;
	/*! \c dropped when the latest mark was made */
	uint64_t dropped_at_mark;
	/*! The furthest position a mark or a note waits, or has waited, for */
	uint64_t wanted;
	/*! Media time of all bytes handed to the core, in ns */
	int64_t handed_ns;
	/*! How often the core asks for a frame, in ns */
	int64_t tick_ns;
	/*! Media bytes in the latest frame handed over */
	uint64_t frame_bytes;
	/*! When the latest frame starts on the media clock */
	int64_t frame_start_ns;
	/*! How long the media in the latest frame lasts */
	int64_t frame_media_ns;
	/*! When the latest frame ends: after its media and the silence that pads it */
	int64_t frame_end_ns;
	/*! The application's marks, in the order they were received */
	struct playback_queue marks;
	/*! Notes, in the order in which they left the frame queue */
	struct playback_queue notes;
	/*! Number of pending marks and notes */
	unsigned int pending;
};

/*!
 * \brief Start an empty ledger; there is nothing to undo, pending marks are the caller's
 *
 * \param ledger
 * \param tick_ns how often the core asks for a frame
 */
void playback_ledger_init(struct playback_ledger *ledger, int64_t tick_ns);

/*! \brief \a bytes arrived from the application and are queued until told otherwise */
void playback_ledger_received(struct playback_ledger *ledger, uint64_t bytes);

/*! \brief The newest \a bytes received will not be played: overflow, or a tail cut off */
void playback_ledger_dropped(struct playback_ledger *ledger, uint64_t bytes);

/*!
 * \brief The oldest \a bytes queued were handed to the core
 *
 * \param ledger
 * \param bytes media bytes in the frame, at most what is queued
 * \param media_ns how long these bytes last
 * \param frame_ns how long the frame lasts: more than media_ns if silence pads it
 * \param now_ns when it was handed over
 */
void playback_ledger_handed(struct playback_ledger *ledger, uint64_t bytes,
	int64_t media_ns, int64_t frame_ns, int64_t now_ns);

/*!
 * \brief All that is queued was thrown away, and with it the marks that waited for it
 *
 * A mark whose media had all been handed over stays, and is played at its time.  At hang-
 * up that time does not come any more: pop what is due first, the rest is settled.
 *
 * \param ledger
 * \param outcome PLAYBACK_FLUSHED or PLAYBACK_HUNGUP
 * \param now_ns when
 * \return number of bytes thrown away
 */
uint64_t playback_ledger_flush(struct playback_ledger *ledger,
	enum playback_outcome outcome, int64_t now_ns);

/*!
 * \brief Put a mark at the end of what was received
 *
 * \param ledger
 * \param mark in the caller's memory until playback_ledger_pop() returns it; all its
 *        fields are set here
 * \param outcome PLAYBACK_WAITING for a mark, another one for an answer that is settled
 *        already and only waits for its turn
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
 * \brief Put a note behind what was handed over and the next \a bytes_ahead bytes
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

/*! \brief Bytes received that were neither handed to the core nor lost */
uint64_t playback_ledger_queued(const struct playback_ledger *ledger);

/*! \brief Bytes whose time has passed on the media clock at \a now_ns */
uint64_t playback_ledger_played(const struct playback_ledger *ledger, int64_t now_ns);

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
