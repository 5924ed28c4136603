/*
 * Asterisk -- An open source telephony toolkit.
 *
 * Messages of chan_websocket, received without waiting.
 *
 * This program is free software, distributed under the terms of
 * the GNU General Public License Version 2. See the LICENSE file
 * at the top of the source tree.
 */

/*!
 * \file
 * \brief Messages from a WebSocket, received without waiting for their rest
 *
 * ast_websocket_read() waits until a frame has come in full.  Meanwhile the channel's
 * thread stands still, and the session is locked for everybody who wants to write to it.
 * Here what has come is taken from the connection's stream, be it a part of a frame.
 */

#ifndef WEBSOCKET_INPUT_H
#define WEBSOCKET_INPUT_H

#include <sys/types.h>

#include "asterisk/http_websocket.h"

#include "websocket_frames.h"

/*!
 * \brief Bytes that are read at once
 *
 * As many as a TLS record can have: when they have been read nothing is left inside
 * OpenSSL, where poll() would not see it.
 */
#define WEBSOCKET_INPUT_SIZE 16384

/*! \brief What was received, all zero at first */
struct websocket_input {
	/*! The frames that messages come in */
	struct websocket_frames frames;
	/*! A message of which only a part was there at first; may be NULL */
	char *payload;
	/*! Bytes that there is room for */
	size_t size;
	/*! Bytes of it that have come */
	size_t length;
};

/*! \brief A message, or whatever else has come */
struct websocket_message {
	/*! What it is; text and binary messages are whole */
	enum websocket_piece_kind kind;
	/*! Its payload, not NULL, not terminated */
	char *payload;
	/*! Length of the payload in bytes */
	size_t length;
};

/*! \brief Free what is kept of a message */
void websocket_input_destroy(struct websocket_input *input);

/*!
 * \brief Look for the next message in bytes that have come
 *
 * To be called until all bytes are used.
 *
 * \param input
 * \param bytes are unmasked where they are
 * \param length of \a bytes, at least 1
 * \param[out] message may point into \a bytes; until the next call.  Of the kind
 *             \c WEBSOCKET_PIECE_NONE if none is whole; \c WEBSOCKET_PIECE_TOO_BIG also if
 *             there is no memory
 * \return how many bytes were used, at least 1
 */
size_t websocket_input_next(struct websocket_input *input, char *bytes, size_t length,
	struct websocket_message *message);

/*!
 * \brief Whether a session's stream can be found, in this Asterisk
 *
 * That it is the first member of struct ast_websocket is checked when Asterisk itself is
 * built.  Otherwise it is known of some releases.
 */
int websocket_input_is_possible(void);

/*!
 * \brief Whether a version of Asterisk, such as "22.10.1", is of one of some releases
 *
 * \param version
 * \param releases such as "22.10"
 * \param count how many they are
 */
int websocket_input_is_release(const char *version, const char *const releases[],
	size_t count);

/*!
 * \brief Take bytes from a session whose socket does not block
 *
 * The session is locked meanwhile.
 *
 * \param session
 * \param bytes of \c WEBSOCKET_INPUT_SIZE bytes
 * \return how many have come, 0 if none
 * \retval -1 the connection has ended
 */
ssize_t websocket_input_read(struct ast_websocket *session, char *bytes);

/*!
 * \brief The socket of a session that nobody else has any more
 *
 * ast_websocket_fd() does not tell it behind ast_websocket_close().
 *
 * \return -1 if it is closed
 */
int websocket_input_fd(struct ast_websocket *session);

#endif /* WEBSOCKET_INPUT_H */
