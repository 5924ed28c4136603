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
 * Standard C only, without asterisk.h: it is built, tested and fuzzed alone too.
 */

#include <string.h>

#include "websocket_frames.h"

/*! \brief The bits and values of a frame's header */
#define FIN 0x80
#define OPCODE 0x0f
#define MASKED 0x80
#define LENGTH 0x7f
#define LENGTH_IN_2_BYTES 126
#define LENGTH_IN_8_BYTES 127

enum opcode {
	OPCODE_CONTINUATION = 0x0,
	OPCODE_TEXT = 0x1,
	OPCODE_BINARY = 0x2,
	OPCODE_CLOSE = 0x8,
	OPCODE_PING = 0x9,
	OPCODE_PONG = 0xa,
};

/*! \brief Bytes in which the header gives the length of the payload, besides 7 bits */
static unsigned int length_size(const struct websocket_frames *frames)
{
	switch (frames->header[1] & LENGTH) {
	case LENGTH_IN_2_BYTES:
		return 2;
	case LENGTH_IN_8_BYTES:
		return 8;
	default:
		return 0;
	}
}

/*! \brief Bytes of the whole header, as far as that is known */
static unsigned int header_size(const struct websocket_frames *frames)
{
	if (frames->header_length < 2) {
		return 2;
	}
	return 2 + length_size(frames) + (frames->header[1] & MASKED ? 4 : 0);
}

static int is_control(const struct websocket_frames *frames)
{
	return (frames->header[0] & OPCODE) >= OPCODE_CLOSE;
}

/*! \brief Whether the frame is the last one of its message */
static int is_final(const struct websocket_frames *frames)
{
	return (frames->header[0] & FIN) != 0;
}

/*! \brief Read length and masking key of the payload from the header, which is whole */
static void begin_payload(struct websocket_frames *frames)
{
	unsigned int size = length_size(frames);
	unsigned int i;

	frames->left = size ? 0 : frames->header[1] & LENGTH;
	for (i = 0; i < size; i++) {
		frames->left = frames->left << 8 | frames->header[2 + i];
	}
	memset(frames->mask, 0, sizeof(frames->mask));
	if (frames->header[1] & MASKED) {
		memcpy(frames->mask, &frames->header[2 + size], sizeof(frames->mask));
	}
	frames->in_payload = 1;
	frames->control_length = 0;
}

/*!
 * \brief A frame of a message begins
 * \return \c WEBSOCKET_PIECE_NONE, or what is wrong with it
 */
static enum websocket_piece_kind begin_data(struct websocket_frames *frames,
	enum opcode opcode)
{
	if ((opcode == OPCODE_CONTINUATION) != (frames->message != WEBSOCKET_PIECE_NONE)) {
		return WEBSOCKET_PIECE_INVALID;
	}
	if (opcode != OPCODE_CONTINUATION) {
		frames->message = opcode == OPCODE_TEXT
			? WEBSOCKET_PIECE_TEXT : WEBSOCKET_PIECE_BINARY;
		frames->message_length = 0;
		frames->is_skipping = 0;
	}
	if (frames->is_skipping) {
		return WEBSOCKET_PIECE_NONE;
	}
	if (frames->left > WEBSOCKET_MESSAGE_MAX - frames->message_length) {
		frames->is_skipping = 1;
		return WEBSOCKET_PIECE_TOO_BIG;
	}
	frames->message_length += frames->left;
	return WEBSOCKET_PIECE_NONE;
}

/*!
 * \brief A frame begins
 * \return \c WEBSOCKET_PIECE_NONE, or what is wrong with it
 */
static enum websocket_piece_kind begin_frame(struct websocket_frames *frames)
{
	enum opcode opcode = frames->header[0] & OPCODE;

	begin_payload(frames);
	switch (opcode) {
	case OPCODE_CONTINUATION:
	case OPCODE_TEXT:
	case OPCODE_BINARY:
		return begin_data(frames, opcode);
	case OPCODE_CLOSE:
	case OPCODE_PING:
	case OPCODE_PONG:
		return is_final(frames) && frames->left <= WEBSOCKET_CONTROL_MAX
			? WEBSOCKET_PIECE_NONE : WEBSOCKET_PIECE_INVALID;
	default:
		return WEBSOCKET_PIECE_UNKNOWN;
	}
}

/*! \brief Take the mask off bytes of the payload */
static void unmask(struct websocket_frames *frames, char *data, size_t length)
{
	unsigned char key[8];
	uint64_t keys;
	uint64_t word;
	size_t i = 0;

	memcpy(key, frames->mask, 4);
	memcpy(key + 4, frames->mask, 4);
	memcpy(&keys, key, sizeof(keys));
	if (!keys) {
		return;
	}
	for (; length - i >= sizeof(word); i += sizeof(word)) {
		memcpy(&word, data + i, sizeof(word));
		word ^= keys;
		memcpy(data + i, &word, sizeof(word));
	}
	for (; i < length; i++) {
		data[i] ^= key[i % 4];
	}
	memcpy(frames->mask, key + length % 4, 4);
}

/*! \brief Whether the current frame has ended; the next one may begin */
static int end_frame(struct websocket_frames *frames)
{
	if (frames->left) {
		return 0;
	}
	frames->in_payload = 0;
	frames->header_length = 0;
	return 1;
}

/*! \brief More of a control frame has come; the piece has it when it is whole */
static void take_control(struct websocket_frames *frames, struct websocket_piece *piece)
{
	memcpy(frames->control + frames->control_length, piece->data, piece->length);
	frames->control_length += piece->length;
	if (!end_frame(frames)) {
		return;
	}
	piece->data = frames->control;
	piece->length = frames->control_length;
	switch ((enum opcode) (frames->header[0] & OPCODE)) {
	case OPCODE_PING:
		piece->kind = WEBSOCKET_PIECE_PING;
		break;
	case OPCODE_PONG:
		piece->kind = WEBSOCKET_PIECE_PONG;
		break;
	default:
		piece->kind = WEBSOCKET_PIECE_CLOSE;
		frames->has_closed = 1;
		break;
	}
}

/*! \brief More of a message has come */
static void take_data(struct websocket_frames *frames, struct websocket_piece *piece)
{
	piece->is_last = end_frame(frames) && is_final(frames);
	if (!frames->is_skipping) {
		if (piece->length || piece->is_last) {
			piece->kind = frames->message;
		}
	} else if (piece->is_last) {
		piece->kind = WEBSOCKET_PIECE_SKIPPED;
		piece->length = 0;
	}
	if (piece->is_last) {
		frames->message = WEBSOCKET_PIECE_NONE;
	}
}

size_t websocket_frames_next(struct websocket_frames *frames, char *bytes, size_t length,
	struct websocket_piece *piece)
{
	size_t used = 0;

	*piece = (struct websocket_piece) { .data = bytes, };
	if (!frames->in_payload) {
		while (used < length && frames->header_length < header_size(frames)) {
			frames->header[frames->header_length++] = bytes[used++];
		}
		if (frames->header_length < header_size(frames)) {
			return used;
		}
		piece->kind = begin_frame(frames);
		if (piece->kind != WEBSOCKET_PIECE_NONE) {
			frames->has_closed = piece->kind != WEBSOCKET_PIECE_TOO_BIG;
			return used;
		}
	}
	piece->data = bytes + used;
	piece->length = frames->left < length - used ? frames->left : length - used;
	unmask(frames, piece->data, piece->length);
	frames->left -= piece->length;
	used += piece->length;
	if (is_control(frames)) {
		take_control(frames, piece);
	} else {
		take_data(frames, piece);
	}
	return used;
}
