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
 * \brief What is in a stream of WebSocket frames (RFC 6455, 5)
 *
 * The bytes may come in pieces of any size.  What has come of a message is given out at
 * once: nothing waits here for the rest, and but for the frame's header and a control
 * frame nothing is kept.  A message is the same however it was fragmented.
 *
 * Standard C only, without asterisk.h: it is built, tested and fuzzed alone too.  It has
 * no locks.
 */

#ifndef WEBSOCKET_FRAMES_H
#define WEBSOCKET_FRAMES_H

#include <stddef.h>
#include <stdint.h>

/*! \brief Bytes that a message may have, all of its fragments together */
#define WEBSOCKET_MESSAGE_MAX (1024 * 1024)

/*! \brief Bytes that a control frame's payload may have (RFC 6455, 5.5) */
#define WEBSOCKET_CONTROL_MAX 125

/*! \brief Bytes of the longest header of a frame */
#define WEBSOCKET_HEADER_MAX 14

/*! \brief What was found in the bytes */
enum websocket_piece_kind {
	/*! Nothing yet */
	WEBSOCKET_PIECE_NONE,
	/*! A part of a text message */
	WEBSOCKET_PIECE_TEXT,
	/*! A part of a binary message */
	WEBSOCKET_PIECE_BINARY,
	/*! A whole ping */
	WEBSOCKET_PIECE_PING,
	/*! A whole pong */
	WEBSOCKET_PIECE_PONG,
	/*! The closing handshake; the payload is the status code and a reason, or empty */
	WEBSOCKET_PIECE_CLOSE,
	/*! The message turns out to be too big: it is skipped */
	WEBSOCKET_PIECE_TOO_BIG,
	/*! The end of a message that was too big */
	WEBSOCKET_PIECE_SKIPPED,
	/*! A frame of a kind that RFC 6455 does not define */
	WEBSOCKET_PIECE_UNKNOWN,
	/*! A frame that must not be there, or not like this */
	WEBSOCKET_PIECE_INVALID,
};

/*! \brief What was found, and where */
struct websocket_piece {
	/*! What it is */
	enum websocket_piece_kind kind;
	/*! Of a message: whether it ends with this part, which may be empty */
	int is_last;
	/*! The payload, or the part of it that has come; not NULL, not terminated */
	char *data;
	/*! Its length in bytes */
	size_t length;
};

/*! \brief The frames from one application; all zero before the first one */
struct websocket_frames {
	/*! The header of the current frame, as far as it has come */
	unsigned char header[WEBSOCKET_HEADER_MAX];
	/*! Bytes in it; the payload follows if it is whole */
	unsigned int header_length;
	/*! Whether the payload has begun */
	int in_payload;
	/*! Bytes of the payload that are still to come */
	uint64_t left;
	/*! The masking key as it applies to the next byte of the payload, 0 if there is none */
	unsigned char mask[4];
	/*! Kind of the current message, \c WEBSOCKET_PIECE_NONE between two messages */
	enum websocket_piece_kind message;
	/*! Bytes of the message that were announced so far */
	size_t message_length;
	/*! The message is too big */
	int is_skipping;
	/*! The other side has closed, or what it has sent makes no sense any more */
	int has_closed;
	/*! The payload of the current control frame, as far as it has come */
	char control[WEBSOCKET_CONTROL_MAX];
	/*! Bytes in it */
	size_t control_length;
};

/*!
 * \brief Look for the next piece in bytes that have come
 *
 * To be called until all bytes are used.  After \c WEBSOCKET_PIECE_CLOSE, \c _UNKNOWN
 * and \c _INVALID there is no sense in what follows.
 *
 * \param frames
 * \param bytes are unmasked where they are
 * \param length of \a bytes, at least 1
 * \param[out] piece points into \a bytes or \a frames, until the next call
 * \return how many bytes were used, at least 1
 */
size_t websocket_frames_next(struct websocket_frames *frames, char *bytes, size_t length,
	struct websocket_piece *piece);

#endif /* WEBSOCKET_FRAMES_H */
