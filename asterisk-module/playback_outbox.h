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
 * \brief Events on their way to the application's socket
 *
 * An event is written at once where that does not block, else it waits here.  While the
 * application does not read, up to 64 events wait; beyond that, and after five seconds,
 * they are written all the same, which ends the call if that times out.
 *
 * The outbox has a lock of its own, since MEDIA_START of an incoming connection is sent
 * by the HTTP server's thread while the channel's thread may be at work.  That lock is
 * never held while something is written, and no other lock is taken under it.
 */

#ifndef PLAYBACK_OUTBOX_H
#define PLAYBACK_OUTBOX_H

#include <stdint.h>

#include "asterisk/http_websocket.h"
#include "asterisk/linkedlists.h"
#include "asterisk/lock.h"

/*! \brief Events that wait for an application that does not read */
#define PLAYBACK_OUTBOX_MAX 64

/*! \brief An event that waits, see playback_outbox.c */
struct playback_event;

/*! \brief The events of one channel that wait to be written */
struct playback_outbox {
	/*! The channel's name, for the log; set once */
	const char *name;
	/*!
	 * Guards what follows; \c length and \c backpressure_since_ns are read without it at each
	 * tick, and \c holder is a thread's own
	 */
	ast_mutex_t lock;
	/*! Events that wait, oldest first */
	AST_LIST_HEAD_NOLOCK(, playback_event) events;
	/*! Number of events that wait */
	unsigned int length;
	/*! Thread whose events wait until it is done, AST_PTHREADT_NULL if there is none */
	pthread_t holder;
	/*! Start of the current backpressure in ns, 0 if the socket takes data */
	int64_t backpressure_since_ns;
	/*! A write has failed, there will be no other */
	int closed;
	/*! The channel is being hung up */
	int ending;
};

/*! \brief Prepare an outbox; \a name outlives it */
void playback_outbox_init(struct playback_outbox *outbox, const char *name);

/*! \brief Free the outbox and the events in it */
void playback_outbox_destroy(struct playback_outbox *outbox);

/*!
 * \brief Let the calling thread's events wait until playback_outbox_release()
 *
 * So it may send them with other locks held.
 */
void playback_outbox_hold(struct playback_outbox *outbox);

/*! \brief End what playback_outbox_hold() began */
void playback_outbox_release(struct playback_outbox *outbox);

/*!
 * \brief Send an event: write it, or let it wait behind those that do or for the socket
 *
 * Any thread may call it.
 *
 * \retval 0 success
 * \retval -1 the connection is closed, or there is no memory
 */
int playback_outbox_send(struct playback_outbox *outbox, struct ast_websocket *websocket,
	const char *text);

/*!
 * \brief Let an event wait, whether the socket takes it or not
 * \retval 0 success
 * \retval -1 there is no memory
 */
int playback_outbox_append(struct playback_outbox *outbox, const char *text);

/*!
 * \brief Write an event now, ahead of those that wait; no lock but the channel's held
 *
 * \param outbox
 * \param websocket may be NULL
 * \param text
 * \retval 0 success
 * \retval -1 the connection is closed
 */
int playback_outbox_write(struct playback_outbox *outbox,
	struct ast_websocket *websocket, const char *text);

/*!
 * \brief Write the events that wait as far as that does not block, all if they are too
 * many; no lock but the channel's held
 */
void playback_outbox_send_waiting(struct playback_outbox *outbox,
	struct ast_websocket *websocket);

/*!
 * \brief Do so if there are many, before they are too many; no lock but the channel's held
 *
 * For a thread whose events wait although the application reads.
 */
void playback_outbox_relieve(struct playback_outbox *outbox,
	struct ast_websocket *websocket);

/*!
 * \brief The channel is being hung up: write all events that wait; no lock but the
 * channel's held
 */
void playback_outbox_end(struct playback_outbox *outbox, struct ast_websocket *websocket);

/*!
 * \brief Whether the application's socket takes an event or a frame without blocking
 *
 * An application that has read nothing for five seconds is given up: then this says yes,
 * and the write will close the connection.
 */
int playback_outbox_can_write(struct playback_outbox *outbox,
	struct ast_websocket *websocket);

/*! \brief Whether no event waits */
int playback_outbox_is_empty(struct playback_outbox *outbox);

/*! \brief Whether the application's socket was full when it was last looked at */
int playback_outbox_has_backpressure(struct playback_outbox *outbox);

#endif /* PLAYBACK_OUTBOX_H */
