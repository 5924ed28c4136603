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
 * \brief One WebSocket channel's playback: its ledger, its pending answers and their
 * timer
 *
 * The driver's side of the ledger: it takes the frame queue's lock around the ledger,
 * wakes the channel when a mark inside the frame in play is due, and writes the answers
 * to the WebSocket with no lock but the channel's held.
 *
 * All functions but playback_channel_init() and playback_channel_destroy() are called
 * with the channel locked.  Those that are named as taking the frame queue's lock may be
 * called with it held, it is recursive.
 */

#ifndef PLAYBACK_CHANNEL_H
#define PLAYBACK_CHANNEL_H

#include "asterisk/channel.h"
#include "asterisk/codec.h"
#include "asterisk/http_websocket.h"
#include "asterisk/json.h"
#include "asterisk/lock.h"

#include "playback_events.h"
#include "playback_ledger.h"

/*! \brief Pending marks a channel may have; 40 s of a mark for each 20 ms frame */
#define PLAYBACK_MARKS_MAX 2048

/*!
 * \brief Index of the mark timer in the channel's file descriptors; the driver has +1, +2
 */
#define PLAYBACK_TIMER_FDNO (AST_EXTENDED_FDS + 3)

/*! \brief A channel's playback, embedded in the driver's instance */
struct playback_channel {
	/*! Guarded by \c lock */
	struct playback_ledger ledger;
	/*! The frame queue's lock */
	ast_mutex_t *lock;
	/*! Not a reference: the instance outlives neither its channel nor its format */
	struct ast_channel *channel;
	/*! The media's format, likewise */
	struct ast_format *media_format;
	/*! How events are written */
	struct playback_format format;
	/*! Bytes in a full frame, 0 in passthrough mode */
	size_t frame_size;
	/*!
	 * One-shot timer for the next answer, -1 until the first mark and where there is none
	 */
	int timer_fd;
	/*! When it will fire, PLAYBACK_NEVER if it is not armed */
	int64_t timer_due_ns;
	/*! Notes that are still in the frame queue; guarded by \c lock */
	unsigned int notes_queued;
	/*! The application has used one of our commands, so it may hear our events */
	unsigned int asked:1;
	/*! The application has sent marks, ours or MARK_MEDIA: short frames are padded */
	unsigned int marked:1;
};

/*!
 * \brief Prepare a channel's playback
 *
 * \param playback
 * \param channel its WebSocket channel
 * \param lock the frame queue's lock
 * \param format the media's format
 * \param frame_size bytes in a full frame, 0 in passthrough mode
 * \param json non-zero if events are JSON
 */
void playback_channel_init(struct playback_channel *playback, struct ast_channel *channel,
	ast_mutex_t *lock, struct ast_format *format, size_t frame_size, int json);

/*! \brief Free all that playback_channel_init() and the marks since have taken */
void playback_channel_destroy(struct playback_channel *playback);

/*! \brief \a bytes of media arrived; takes the frame queue's lock */
void playback_channel_received(struct playback_channel *playback, size_t bytes);

/*! \brief The newest \a bytes will not be played; takes the frame queue's lock */
void playback_channel_dropped(struct playback_channel *playback, size_t bytes);

/*! \brief The frame queue and the partial frame were emptied; frame queue locked */
void playback_channel_flushed(struct playback_channel *playback);

/*!
 * \brief Carry out a command if it is one of ours; takes the frame queue's lock
 *
 * \param playback
 * \param websocket where an ERROR goes, written at once; frame queue not locked
 * \param command the command's word, may be NULL
 * \param arguments of a plain text command, what follows the word, may be NULL
 * \param json of a JSON command, the whole object
 * \param accepts_media 0 if the application's media direction is 'in'
 * \return non-zero if it was ours
 */
int playback_channel_command(struct playback_channel *playback,
	struct ast_websocket *websocket, const char *command, const char *arguments,
	struct ast_json *json, int accepts_media);

/*!
 * \brief A note is about to be put into the frame queue; takes the frame queue's lock
 *
 * Notes are the answers the driver had before, MEDIA_MARK_PROCESSED and
 * MEDIA_BUFFERING_COMPLETED.
 *
 * \retval 0 success
 * \retval -1 too many answers are pending, do not queue it
 */
int playback_channel_note_queued(struct playback_channel *playback);

/*!
 * \brief A note left the frame queue: send it when all media before it has been played
 *
 * It is forgotten if that media is flushed.  Takes the frame queue's lock.
 *
 * \param playback
 * \param text the event
 * \param bytes_ahead how much of the next frame comes before it
 */
void playback_channel_note(struct playback_channel *playback, const char *text,
	size_t bytes_ahead);

/*!
 * \brief Whether the partial frame has to be played, there being nothing else queued
 *
 * \param playback
 * \param partial_bytes in the partial frame, may be 0
 */
int playback_channel_wants_partial(struct playback_channel *playback,
	size_t partial_bytes);

/*!
 * \brief To be called at the end of the driver's read callback
 *
 * Enters the frame into the ledger, sends the answers that are due unless a frame waits
 * to be returned, and arms the timer for the next one.
 *
 * \param playback
 * \param websocket where the answers go, may be NULL
 * \param frame what the read callback is about to return
 * \return what it has to return instead: \a frame, or a copy padded to a full frame
 */
struct ast_frame *playback_channel_read(struct playback_channel *playback,
	struct ast_websocket *websocket, struct ast_frame *frame);

/*! \brief Answer every pending mark, the WebSocket is about to be closed */
void playback_channel_hangup(struct playback_channel *playback,
	struct ast_websocket *websocket);

#endif /* PLAYBACK_CHANNEL_H */
