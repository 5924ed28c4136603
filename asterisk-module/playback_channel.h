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
 * \brief One WebSocket channel's playback: its ledger, its answers and their timer
 *
 * The driver's side of the ledger: it takes the frame queue's lock around the ledger,
 * wakes the channel when a mark inside the media in play is due, and writes all events to
 * the WebSocket with no lock but the channel's held.  While the application does not
 * read, its events wait or are left out, see playback_send().
 *
 * All functions but playback_load(), playback_unload(),
 * playback_init() and playback_destroy() are called with the channel
 * locked.  The frame queue's lock is recursive; only where it says so must it be held, or
 * must it not.
 */

#ifndef PLAYBACK_CHANNEL_H
#define PLAYBACK_CHANNEL_H

#include "asterisk/channel.h"
#include "asterisk/http_websocket.h"
#include "asterisk/json.h"
#include "asterisk/linkedlists.h"
#include "asterisk/lock.h"

#include "playback_events.h"
#include "playback_ledger.h"

/*! \brief Pending marks a channel may have by default: 40 s of a mark for each frame */
#define PLAYBACK_MARKS_MAX 2048

/*! \brief Index of our timer in the channel's file descriptors; the driver has +1, +2 */
#define PLAYBACK_TIMER_FDNO (AST_EXTENDED_FDS + 3)

/*! \brief What a channel's playback has to know of its driver; pointers outlive it */
struct playback_driver {
	struct ast_channel *channel;
	/*! The frame queue's lock and its first frame */
	ast_mutex_t *lock;
	struct ast_frame **frames;
	/*! The partial frame and its bytes */
	char *partial;
	size_t *partial_bytes;
	/*! Whether the application has paused its media; also set here while media waits */
	int *paused;
	/*!
	 * The application answers the channel itself, and its media before that is early
	 * media
	 */
	int no_auto_answer;
	/*! The media's format */
	struct ast_format *format;
	/*! Bytes in a full frame, 0 in passthrough mode */
	size_t frame_size;
	/*! Whether events are JSON */
	int json;
	/*! Pending marks the channel may have */
	unsigned int marks_max;
};

struct playback_event;

/*! \brief A channel's playback, embedded in the driver's instance */
struct playback_channel {
	struct playback_driver driver;
	/*! Guarded by the frame queue's lock, as all that follows up to \c outbox_length */
	struct playback_ledger ledger;
	/*!
	 * The bridge that mixed at the latest look, only to be compared: it may be gone
	 */
	const struct ast_bridge *mixer;
	/*! A frame the core was given while its bridge was busy; not in the ledger yet */
	struct playback_frame on_the_way;
	int is_on_the_way;
	/*! Notes that are still in the frame queue */
	unsigned int notes_queued;
	/*! Events that could not be written yet */
	AST_LIST_HEAD_NOLOCK(, playback_event) outbox;
	unsigned int outbox_length;
	/*! How events are written */
	struct playback_format format;
	/*! One-shot timer, -1 until it is needed and where there is none */
	int timer_fd;
	/*! When it will fire, PLAYBACK_NEVER if it is not armed */
	int64_t timer_due_ns;
	/*! Between two PLAYBACK events, 0 for none, and when the next one is due */
	int64_t report_interval_ns;
	int64_t report_due_ns;
	/*! What the latest periodic one said */
	struct playback_snapshot reported;
	int reported_paused;
	/*! The latest mark that was played */
	struct playback_id last_mark;
	int64_t last_mark_ns;
	/*! The id of the FLUSH_MEDIA that is being carried out, empty if it has none */
	struct playback_id flush_id;
	/*! The latest message of media */
	struct playback_media message;
	/*! What was left over of a ns when the time of all messages was divided */
	int64_t rest;
	/*! Since when the application's socket takes nothing more, 0 if it does */
	int64_t stuck_since_ns;
	/*!
	 * Since when media waits for the channel to be joined to its peer, 0 if it does not
	 */
	int64_t waiting_since_ns;
	/*! It has waited, or need not */
	int ready;
	/*! What \c paused was before it was set because media waits */
	int was_paused;
	/*! Bytes at the end of the partial frame that are kept from being read, and where */
	size_t kept;
	size_t kept_at;
	/*! The thread in the driver's read callback, while \c reading */
	pthread_t reader;
	int reading;
	/*! There has been a mark that was played */
	int has_last_mark;
	/*! The application has used one of our commands, so it may hear our events */
	int asked;
	/*! It has used marks or buffering: short frames are padded */
	int marked;
	/*! A write failed, there will be no other */
	int closed;
	/*! The channel is being hung up */
	int ending;
	/*! The channel's name for the console */
	char name[AST_CHANNEL_NAME];
	AST_RWLIST_ENTRY(playback_channel) entry;
};

/*! \brief Register the console command and the unit tests */
void playback_load(void);

/*! \brief Undo playback_load() */
void playback_unload(void);

/*! \brief Prepare a channel's playback */
void playback_init(struct playback_channel *playback,
	const struct playback_driver *driver);

/*! \brief Free all that playback_init() and the marks since have taken */
void playback_destroy(struct playback_channel *playback);

/*! \brief \a bytes of media arrived */
void playback_received(struct playback_channel *playback, char *payload,
	size_t bytes);

/*! \brief The newest \a bytes will not be played: the latest message, or its end */
void playback_dropped(struct playback_channel *playback, size_t bytes,
	enum playback_loss_reason reason);

/*!
 * \brief FLUSH_MEDIA was received; frame queue not locked
 *
 * \param playback
 * \param arguments of a plain text command, what follows the word, may be NULL
 * \param json of a JSON command, the whole object
 * \retval 0 it has no id, flush as ever
 * \retval 1 it has an id, flush, also in passthrough mode
 * \retval -1 do not flush; an ERROR has been sent
 */
int playback_flush(struct playback_channel *playback, const char *arguments,
	struct ast_json *json);

/*!
 * \brief The frame queue and the partial frame were emptied; frame queue locked
 *
 * Answers the FLUSH_MEDIA that playback_flush() was told of, if it had an id.
 */
void playback_flushed(struct playback_channel *playback);

/*!
 * \brief Carry out a command if it is one of ours; frame queue not locked
 *
 * \param playback
 * \param websocket where the answer to a mark goes that cannot be kept
 * \param command the command's word, may be NULL
 * \param arguments of a plain text command, what follows the word, may be NULL
 * \param json of a JSON command, the whole object
 * \param accepts_media 0 if the application's media direction is 'in'
 * \return non-zero if it was ours
 */
int playback_command(struct playback_channel *playback,
	struct ast_websocket *websocket, const char *command, const char *arguments,
	struct ast_json *json, int accepts_media);

/*! \brief A text message of \a length bytes is over the limit of \a most */
void playback_too_long(struct playback_channel *playback, uint64_t length,
	size_t most);

/*!
 * \brief A note is about to be put into the frame queue
 *
 * Notes are the answers the driver had before, MEDIA_MARK_PROCESSED and
 * MEDIA_BUFFERING_COMPLETED.
 *
 * \param playback
 * \param note gets its place in the stream
 * \retval 0 success
 * \retval -1 too many answers are pending, do not queue it
 */
int playback_note_queued(struct playback_channel *playback,
	struct ast_frame *note);

/*!
 * \brief A note left the frame queue: send it when all media before it has been played
 *
 * It is forgotten if that media is flushed.
 *
 * \param playback
 * \param note its data is the text of the event
 */
void playback_note(struct playback_channel *playback,
	const struct ast_frame *note);

/*! \brief Whether the partial frame has to be played, there being nothing else queued */
int playback_wants_partial(struct playback_channel *playback);

/*!
 * \brief Send an event, or keep it until that is possible
 *
 * Inside the driver's read callback it is kept until playback_read_end(), so it
 * may be called with the frame queue locked.  While the application's socket is full, up
 * to 64 events are kept; beyond that they are written the hard way, which ends the call
 * if the application does not read.
 *
 * \retval 0 success
 * \retval -1 the connection is closed, or there is no memory
 */
int playback_send(struct playback_channel *playback,
	struct ast_websocket *websocket, const char *text);

/*!
 * \brief To be called at the beginning of the driver's read callback
 *
 * Until a dialled channel has been joined to its peer nobody would hear what is read from
 * it, so nothing is: media is paused until playback_read_end().  Until then the partial
 * frame is without what must not be played now: half a sample, and all of it while media
 * is paused.
 *
 * \param playback
 * \param tick whether it was called because the media timer fired
 */
void playback_read_begin(struct playback_channel *playback, int tick);

/*!
 * \brief To be called at the end of the driver's read callback
 *
 * Enters the frame into the ledger, sends the answers that are due unless a frame waits
 * to be returned, and arms the timer for the next one.  A frame that meets a busy bridge
 * is entered a moment later, when it is known whether that bridge mixes then.
 *
 * \param playback frame queue not locked
 * \param websocket where events go, may be NULL
 * \param frame what the read callback is about to return
 * \param tick whether it was called because the media timer fired
 * \return what it has to return instead: \a frame, or a copy padded to a full frame
 */
struct ast_frame *playback_read_end(struct playback_channel *playback,
	struct ast_websocket *websocket, struct ast_frame *frame, int tick);

/*!
 * \brief The core gave the driver a frame for the application
 *
 * In a bridge that mixes, that is how the mixer's rounds are known.
 *
 * \return non-zero if the application's socket takes it now
 */
int playback_write(struct playback_channel *playback,
	struct ast_websocket *websocket, struct ast_frame *frame);

/*! \brief Answer every pending mark; the WebSocket is about to be closed */
void playback_hangup(struct playback_channel *playback,
	struct ast_websocket *websocket);

/*! \brief Register the unit tests with Asterisk's test framework, if that is built in */
void playback_test_register(void);

/*! \brief Undo playback_test_register() */
void playback_test_unregister(void);

#endif /* PLAYBACK_CHANNEL_H */
