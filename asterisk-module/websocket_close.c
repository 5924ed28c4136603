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
 */

#include "asterisk.h"

#include <sys/ioctl.h>

#include "asterisk/astobj2.h"
#include "asterisk/iostream.h"
#include "asterisk/time.h"
#include "asterisk/utils.h"

#include "websocket_close.h"
#include "websocket_input.h"

/*!
 * \brief How often it is looked whether all has arrived, in ms
 *
 * Where the application has sent its close frame but leaves it to us to close the socket:
 * the acknowledgement of what was sent is nothing that poll() tells.
 */
#define ARRIVED_POLL_MS 10

/*! \brief A session that has sent its close frame */
struct closing {
	/*! Released at last */
	struct ast_websocket *session;
	/*! Unloaded no sooner */
	struct ast_module *module;
	/*! What the application sends */
	struct websocket_frames frames;
};

/*! \brief Look for the application's close frame in bytes that have come */
static void look_for_close(struct websocket_frames *frames, char *bytes, size_t length)
{
	struct websocket_piece piece;
	size_t used = 0;

	while (used < length && !frames->has_closed) {
		used += websocket_frames_next(frames, bytes + used, length - used, &piece);
	}
}

/*! \brief Whether the other side's TCP has acknowledged all that was sent */
static int has_arrived(int fd)
{
	int waiting;

	/* Where this cannot be asked it is not waited for. */
	return ioctl(fd, TIOCOUTQ, &waiting) || !waiting;
}

/*! \brief Take what has come, and say whether the connection can be closed now */
static int is_over(struct closing *closing)
{
	char bytes[WEBSOCKET_INPUT_SIZE];
	ssize_t length = websocket_input_read(closing->session, bytes);

	if (length < 0) {
		return 1;
	}
	look_for_close(&closing->frames, bytes, length);
	return closing->frames.has_closed && has_arrived(websocket_input_fd(closing->session));
}

/*! \brief Close the connection */
static void release(struct closing *closing)
{
	struct ast_module *module = closing->module;

	ast_websocket_unref(closing->session);
	ast_free(closing);
	ast_module_unref(module);
}

/*! \brief The thread of a connection that ends */
static void *wait_until_over(void *data)
{
	struct closing *closing = data;
	struct timeval start = ast_tvnow();
	int fd = websocket_input_fd(closing->session);
	int left;

	while ((left = ast_remaining_ms(start, WEBSOCKET_CLOSE_MAX_MS)) > 0) {
		ast_wait_for_input(fd,
			closing->frames.has_closed ? MIN(left, ARRIVED_POLL_MS) : left);
		if (is_over(closing)) {
			break;
		}
	}
	release(closing);
	return NULL;
}

void websocket_close_release(struct ast_websocket *session,
	const struct websocket_frames *frames, struct ast_module *module)
{
	struct closing *closing = ast_calloc(1, sizeof(*closing));
	pthread_t thread;

	if (!closing) {
		ast_websocket_unref(session);
		return;
	}
	closing->session = session;
	closing->module = ast_module_ref(module);
	closing->frames = *frames;
	if (is_over(closing) || ast_pthread_create_detached_background(&thread, NULL,
		wait_until_over, closing)) {
		release(closing);
	}
}
