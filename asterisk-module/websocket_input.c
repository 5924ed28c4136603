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
 */

#include "asterisk.h"

#include "asterisk/ast_version.h"
#include "asterisk/astobj2.h"
#include "asterisk/iostream.h"
#include "asterisk/logger.h"
#include "asterisk/utils.h"

#include "websocket_input.h"

/*! \brief Room for a message that is not given back behind it, in bytes */
#define KEPT_MAX (4 * WEBSOCKET_INPUT_SIZE)

/*!
 * \brief How res_http_websocket's struct ast_websocket begins
 *
 * That struct is private to res_http_websocket, which has no function that gives out the
 * stream.  channels/Makefile looks whether it still begins like this, and defines
 * WEBSOCKET_INPUT_CHECKED if so.  A module that is built outside Asterisk's tree trusts
 * this copy for the releases below only.
 */
struct websocket_begin {
	/*! The connection, NULL if it was closed because nothing could be written to it */
	struct ast_iostream *stream;
};

#ifndef WEBSOCKET_INPUT_CHECKED
#define WEBSOCKET_INPUT_CHECKED 0
#endif

/*! \brief Releases whose res_http_websocket was seen to have struct websocket_begin */
static const char *const stream_releases[] = {
	"20.18", "20.19", "20.20", "20.21",
	"22.8", "22.9", "22.10", "22.11", "certified-22.8",
	"23.2", "23.3", "23.4", "23.5",
};

int websocket_input_is_release(const char *version, const char *const releases[],
	size_t count)
{
	size_t length;
	size_t i;

	for (i = 0; i < count; i++) {
		length = strlen(releases[i]);
		/* "22.10.1" and "22.10.1~dfsg" are of 22.10, "22.101" is not */
		if (!strncmp(version, releases[i], length)
			&& !isdigit((unsigned char) version[length])) {
			return 1;
		}
	}
	return 0;
}

/*! \brief Whether streams are looked for, set by find_out_about_streams() */
static int look_for_stream;

static void find_out_about_streams(void)
{
	look_for_stream = WEBSOCKET_INPUT_CHECKED || websocket_input_is_release(
		ast_get_version(), stream_releases, ARRAY_LEN(stream_releases));
	if (!look_for_stream) {
		ast_log(LOG_NOTICE, "res_http_websocket of Asterisk %s is not known here: media "
			"stops while an application has sent only a part of a message\n",
			ast_get_version());
	}
}

int websocket_input_is_possible(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, find_out_about_streams);
	return look_for_stream;
}

/*! \brief The connection of a session that is locked, or that nobody else has any more */
static struct ast_iostream *get_stream(struct ast_websocket *session)
{
	return ((struct websocket_begin *) session)->stream;
}

int websocket_input_fd(struct ast_websocket *session)
{
	struct ast_iostream *stream = get_stream(session);

	return stream ? ast_iostream_get_fd(stream) : -1;
}

/*! \brief See websocket_input_read(); session locked */
static ssize_t read_stream(struct ast_iostream *stream, char *bytes)
{
	ssize_t length;

	if (!stream) {
		return -1;
	}
	/*
	 * TLS may have to write in order to read, such as when the other side renews the
	 * keys: no longer than a message may take.
	 */
	ast_iostream_set_timeout_inactivity(stream, AST_DEFAULT_WEBSOCKET_WRITE_TIMEOUT);
	/* It is not set for each kind of failure. */
	errno = 0;
	length = ast_iostream_read(stream, bytes, WEBSOCKET_INPUT_SIZE);
	if (length < 0 && (errno == EAGAIN || errno == EINTR)) {
		length = 0;
	} else if (!length) {
		length = -1;
	}
	ast_iostream_set_timeout_disable(stream);
	return length;
}

ssize_t websocket_input_read(struct ast_websocket *session, char *bytes)
{
	ssize_t length;

	ao2_lock(session);
	/* Not remembered: who fails to write closes it, with this lock held. */
	length = read_stream(get_stream(session), bytes);
	ao2_unlock(session);
	return length;
}

void websocket_input_destroy(struct websocket_input *input)
{
	ast_free(input->payload);
	input->payload = NULL;
	input->size = 0;
	input->length = 0;
}

/*!
 * \brief Keep a part of a message until the rest has come
 * \retval 0 success
 * \retval -1 there is no memory
 */
static int keep(struct websocket_input *input, const struct websocket_piece *piece)
{
	size_t length = input->length + piece->length;
	size_t size = MIN(MAX(2 * length, WEBSOCKET_INPUT_SIZE), WEBSOCKET_MESSAGE_MAX);
	char *payload;

	if (length > input->size) {
		payload = ast_realloc(input->payload, size);
		if (!payload) {
			return -1;
		}
		input->payload = payload;
		input->size = size;
	}
	memcpy(input->payload + input->length, piece->data, piece->length);
	input->length = length;
	return 0;
}

/*! \brief A part of a message has come: keep it, or give out the message if it is whole */
static void take_part(struct websocket_input *input, const struct websocket_piece *piece,
	struct websocket_message *message)
{
	if (piece->is_last && !input->length) {
		message->kind = piece->kind;
		return;
	}
	if (keep(input, piece)) {
		message->kind = piece->is_last
			? WEBSOCKET_PIECE_SKIPPED : WEBSOCKET_PIECE_TOO_BIG;
		input->frames.is_skipping = 1;
		input->length = 0;
		return;
	}
	if (piece->is_last) {
		message->kind = piece->kind;
		message->payload = input->payload;
		message->length = input->length;
		input->length = 0;
	}
}

size_t websocket_input_next(struct websocket_input *input, char *bytes, size_t length,
	struct websocket_message *message)
{
	struct websocket_piece piece;
	size_t used;

	if (!input->length && input->size > KEPT_MAX) {
		websocket_input_destroy(input);
	}
	used = websocket_frames_next(&input->frames, bytes, length, &piece);
	*message = (struct websocket_message) {
		.payload = piece.data,
		.length = piece.length,
	};
	switch (piece.kind) {
	case WEBSOCKET_PIECE_TEXT:
	case WEBSOCKET_PIECE_BINARY:
		take_part(input, &piece, message);
		break;
	case WEBSOCKET_PIECE_TOO_BIG:
		input->length = 0;
		/* Fall through */
	default:
		message->kind = piece.kind;
		break;
	}
	return used;
}
