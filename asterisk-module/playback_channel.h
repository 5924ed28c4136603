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
 * \brief One WebSocket channel's playback: what the driver tells it, and when it sends
 *
 * The driver calls it at the few places where bytes of media change their state.  It
 * enters them into the ledger, wakes the channel when a mark is due, and sends what is.
 *
 * Locks, in the order in which they are taken: the channel's, the frame queue's, the
 * playback's own or the outbox's; of these two, neither is held where the other is taken.
 * The playback's own guards the ledger, since the console reads it from another thread;
 * for the outbox's see playback_outbox.h.  All else belongs to the channel's lock, with
 * which every function here is called but playback_init(), playback_destroy() and
 * playback_get_counts().  The frame queue's lock is the driver's: it guards nothing here,
 * but must not be held where something may be written to the WebSocket, and is not held
 * unless a function says so.
 */

#ifndef PLAYBACK_CHANNEL_H
#define PLAYBACK_CHANNEL_H

#include "asterisk/channel.h"
#include "asterisk/http_websocket.h"
#include "asterisk/linkedlists.h"
#include "asterisk/lock.h"

#include "playback_ack.h"
#include "playback_bridge.h"
#include "playback_events.h"
#include "playback_ledger.h"
#include "playback_listener.h"
#include "playback_media.h"
#include "playback_outbox.h"
#include "playback_pace.h"
#include "playback_peer.h"
#include "playback_report.h"
#include "playback_timer.h"

/*! \brief What a channel's playback has to know of its driver; pointers outlive it */
struct playback_driver {
	/*! The channel */
	struct ast_channel *channel;
	/*! First frame in the frame queue; looked at in developer mode only */
	struct ast_frame **frames;
	/*! The partial frame */
	char *partial;
	/*! Bytes in the partial frame; also set here for the time of a read */
	size_t *partial_bytes;
	/*!
	 * Whether the application has paused its media; also set here: for that time, and when a
	 * flush ends it
	 */
	int *paused;
	/*! The application answers the channel itself: media before that is early media */
	int no_auto_answer;
	/*! The channel that this one was made for, may be NULL; for playback_init() only */
	const struct ast_channel *caller;
	/*! Whether media waits while nobody can hear it, once the channel has opted in */
	int wait_for_listener;
	/*! Asterisk's media format */
	struct ast_format *format;
	/*! Size of a full frame in bytes, 0 in passthrough mode */
	size_t frame_size;
	/*! Whether the control message format is JSON */
	int json;
	/*! Pending marks the channel may have */
	unsigned int marks_max;
};

/*! \brief A channel's playback, embedded in the driver's instance */
struct playback_channel {
	/* Set once by playback_init() */

	/*! The driver */
	struct playback_driver driver;
	/*! How events are written */
	struct playback_event_style style;
	/*! The channel's name */
	char name[AST_CHANNEL_NAME];

	/* Guarded by \c lock */

	/*! Guards the ledger; never held while something is written */
	ast_mutex_t lock;
	/*! Where each byte is, NULL before playback_init() */
	struct playback_ledger *ledger;

	/* Guarded by a lock of its own */

	/*! Events that wait for the application's socket */
	struct playback_outbox outbox;

	/* Guarded by the channel's lock: what is remembered between two calls */

	/*! Wakes the channel when something is due */
	struct playback_timer timer;
	/*! The format of the media */
	struct playback_media_format format;
	/*! The latest message of media */
	struct playback_media message;
	/*! Its bytes; they stay while the driver reads it */
	const char *payload;
	/*! The bridge the channel is in */
	struct playback_bridge bridge;
	/*! The peer in it */
	struct playback_peer peer;
	/*! The peer has not been given the latest frame yet: it is about to be returned */
	int is_returning;
	/*! The media of the frames that the driver has read at this tick */
	struct playback_media read[PLAYBACK_CATCH_UP_MAX + 1];
	/*! Number of these frames */
	unsigned int read_count;
	/*! When the ledger, as of the latest frame delivered, has something to be done next, in ns */
	int64_t ledger_due_ns;
	/*! Whether media keeps pace with time */
	struct playback_pace pace;
	/*! Whether the latest frame that was delivered when media was late was a pause */
	int was_silent;
	/*! Periodic PLAYBACK events */
	struct playback_report report;
	/*! Events in the driver's frame queue */
	unsigned int queued_events;
	/*! Whether the application has opted in: it has used one of our commands */
	int opted_in;
	/*! Whether an event of the driver's has ever waited for what becomes of media */
	int has_events;

	/* Guarded by the channel's lock: for MEDIA_FLUSHED */

	/*! Id of the FLUSH_MEDIA that is being carried out, empty if it has none */
	struct playback_id flush_id;
	/*! Whether a mark has been played */
	int has_last_mark;
	/*! Id of the mark furthest in the stream that was played */
	struct playback_id last_mark;
	/*! Its offset, 0 if there is none */
	uint64_t last_mark_offset;
	/*! Media time played up to that mark, in ns */
	int64_t last_mark_ns;

	/* Guarded by the channel's lock: media that waits for a listener */

	/*! Who hears the channel */
	struct playback_listener listener;
	/*! Why media waits, as of the latest tick */
	enum playback_suspension suspension;
	/*! Whether the application was told that it waits */
	int told_suspended;
	/*! For how many ticks it has not been seen who hears the next frame */
	unsigned int unseen_ticks;
	/*! For how many of a mixer's it has not been seen at work */
	unsigned int unmixed_ticks;
	/*! Whether media waits at this tick, so that the driver's \c paused was set */
	int is_held;
	/*! What the driver's \c paused was before */
	int was_paused;

	/* Guarded by the channel's lock: the partial frame for the time of a read */

	/*! Bytes at its end that are hidden from the driver */
	size_t hidden;
	/*! Where in the partial frame these bytes are */
	size_t hidden_at;

	/* Guarded by the lock of playback_channels */

	/*! Next channel */
	AST_RWLIST_ENTRY(playback_channel) entry;
};

/*! \brief All channels that have playback; they stay while this is locked */
AST_RWLIST_HEAD(playback_channel_list, playback_channel);
extern struct playback_channel_list playback_channels;

/*!
 * \brief Prepare a channel's playback
 * \retval 0 success
 * \retval -1 there is no memory
 */
int playback_init(struct playback_channel *playback,
	const struct playback_driver *driver);

/*! \brief Free all that playback_init() and the marks since have taken */
void playback_destroy(struct playback_channel *playback);

/*! \brief \a bytes of media arrived */
void playback_received(struct playback_channel *playback, char *payload, size_t bytes);

/*!
 * \brief The newest \a bytes are dropped: the latest message, or its end
 *
 * Of 16-bit audio whole samples are, once the application has opted in: half a sample at
 * the end of them is put into the partial frame, and so waits for its other half.
 */
void playback_dropped(struct playback_channel *playback, size_t bytes,
	enum playback_drop_reason reason);

/*!
 * \brief Bytes at the end of the partial frame that are not to be queued with it, because
 * they are half a sample: they are to stay there
 *
 * None before the application has opted in: the stock driver plays them.
 */
size_t playback_half_sample(const struct playback_channel *playback);

/*!
 * \brief The frame queue and the partial frame were emptied; frame queue locked
 *
 * That ends a pause of an application which has opted in.
 *
 * \return what was flushed
 */
struct playback_media playback_flushed(struct playback_channel *playback);

/*!
 * \brief An event is about to be put into the frame queue; frame queue locked
 *
 * These are the events the driver had before: MEDIA_MARK_PROCESSED and
 * MEDIA_BUFFERING_COMPLETED.
 *
 * \param playback
 * \param event gets its place in the stream
 * \retval 0 success
 * \retval -1 too many events are pending, do not queue it
 */
int playback_queued_event(struct playback_channel *playback, struct ast_frame *event);

/*!
 * \brief An event left the frame queue, which is locked: send it when all media before it
 * has been played
 *
 * It is forgotten if that media is flushed.
 *
 * \param playback
 * \param event its data is the text of the event
 */
void playback_dequeued_event(struct playback_channel *playback,
	const struct ast_frame *event);

/*!
 * \brief A frame of media left the frame queue for the core; frame queue locked
 *
 * What the driver makes of it is given to playback_read_end().  Some drivers pad it with
 * silence there, in another format, or have silence of their own where this was not called.
 */
void playback_dequeued_media(struct playback_channel *playback,
	const struct ast_frame *frame);

/*!
 * \brief The driver's read callback begins
 *
 * While nobody can hear what is read from the channel nothing is: media is paused until
 * playback_read_end().  Until then the driver's partial frame is without what must not be
 * played now: half a sample, and all of it while media is paused.
 *
 * \param playback
 * \param tick whether it was called because the media timer fired
 * \return non-zero if the partial frame has to be played when nothing else is queued: a
 *         mark behind it must not wait for bytes that may never come
 */
int playback_read_begin(struct playback_channel *playback, int tick);

/*!
 * \brief Whether the first frame in the frame queue, \a first, is left out at this tick
 *
 * It is if media is late since ticks were missed, and the frame is within a pause of
 * speech.  It counts as dropped then, and the driver has to throw it away.  Frame queue
 * locked.
 */
int playback_skip(struct playback_channel *playback, const struct ast_frame *first);

/*!
 * \brief How many frames the driver has to read at this tick, if it has them, besides the
 * one that is due: those of the ticks that were missed before it
 *
 * None if there was no media that was due.
 */
unsigned int playback_catch_up(const struct playback_channel *playback);

/*!
 * \brief The driver's read callback ends
 *
 * Enters the media that was read into the ledger, sends what is due unless a frame waits to
 * be returned, and arms the timer for what is due next.
 *
 * \param playback
 * \param websocket where events go, may be NULL
 * \param frame what the read callback is about to return: what was read, or silence of the
 *        driver's; frames that catch up are linked behind it
 * \param tick whether it was called because the media timer fired
 * \return what it has to return instead: \a frame, a copy padded to a full frame, or
 *         silence where a mixer keeps the rest of an utterance that is waited for
 */
struct ast_frame *playback_read_end(struct playback_channel *playback,
	struct ast_websocket *websocket, struct ast_frame *frame, int tick);

/*!
 * \brief The core gave the driver a frame for the application
 * \return non-zero if the application's socket takes it now
 */
int playback_write(struct playback_channel *playback,
	struct ast_websocket *websocket, struct ast_frame *frame);

/*!
 * \brief The instance belongs to another channel now; a masquerade has both locked
 *
 * The ledger and the timer go on.  What a bridge that mixed still holds is left behind in
 * it and counts as dropped.
 */
void playback_moved(struct playback_channel *playback, struct ast_channel *channel);

/*! \brief The WebSocket is about to be closed: acknowledge every pending mark */
void playback_hangup(struct playback_channel *playback,
	struct ast_websocket *websocket);

/* For the other files of playback */

/*! \brief What a PLAYBACK event would say now */
struct playback_report_content playback_get_report(struct playback_channel *playback);

/*! \brief The counts of this moment; any thread may call it */
struct playback_snapshot playback_get_counts(struct playback_channel *playback);

/*! \brief Media that waits to be delivered */
struct playback_media playback_queued(struct playback_channel *playback);

/*!
 * \brief Half a sample at the end of the partial frame; enters it into the ledger, which
 * is locked
 * \return its size in bytes, 0 if there is none
 */
size_t playback_update_half_sample(struct playback_channel *playback);

/*! \brief Look what the peer has sent by now, if that can be seen; the ledger not locked */
void playback_watch_peer(struct playback_channel *playback);

/*! \brief The same for a command, which also wants to know whether there is a peer */
void playback_find_peer(struct playback_channel *playback);

/*!
 * \brief The text of MEDIA_FLUSHED
 *
 * \param playback
 * \param event of PLAYBACK_EVENT_MAX bytes
 * \param size of it
 * \param flush
 * \param played what was sent of the media before it
 * \return see playback_events.h
 */
size_t playback_format_flushed(struct playback_channel *playback, char *event,
	size_t size, const struct playback_pending_flush *flush,
	struct playback_media played);

/*! \brief Write MARK_PLAYED or MARK_DISCARDED, by the mark's outcome */
void playback_write_mark(struct playback_channel *playback,
	struct ast_websocket *websocket, const struct playback_id *id,
	const struct playback_mark *mark);

#endif /* PLAYBACK_CHANNEL_H */
