/*
 * Asterisk -- An open source telephony toolkit.
 *
 * The end of chan_websocket's connections.
 *
 * This program is free software, distributed under the terms of
 * the GNU General Public License Version 2. See the LICENSE file
 * at the top of the source tree.
 */

/*!
 * \file
 * \brief The end of a WebSocket connection, at which what was written before arrives
 *
 * Whoever closes a socket while something in it is unread, or while the other side still
 * sends, resets the connection (RFC 1122, 4.2.2.13): what waits to be sent, the last
 * events and the close frame, is lost, and there is always something that waits where
 * more has been written than TCP sends before the first of it is acknowledged.  An
 * application that speaks always sends.  So what it sends is read and thrown away until
 * it has closed, too.
 */

#ifndef WEBSOCKET_CLOSE_H
#define WEBSOCKET_CLOSE_H

#include "asterisk/http_websocket.h"
#include "asterisk/module.h"

#include "websocket_frames.h"

/*! \brief How long an application is waited for that neither reads nor closes, in ms */
#define WEBSOCKET_CLOSE_MAX_MS 5000

/*!
 * \brief Release a session that has sent its close frame
 *
 * Does not wait: if the application has not closed yet, a thread of its own does.  For a
 * session that is read by websocket_input_read().
 *
 * \param session whose reference is taken over; nobody else has it any more
 * \param frames how far what has come was looked at
 * \param module is kept loaded until the session is released
 */
void websocket_close_release(struct ast_websocket *session,
	const struct websocket_frames *frames, struct ast_module *module);

#endif /* WEBSOCKET_CLOSE_H */
