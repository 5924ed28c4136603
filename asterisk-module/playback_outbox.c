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
 */

#include "asterisk.h"

#include <poll.h>

#include "asterisk/logger.h"
#include "asterisk/utils.h"

#include "playback_outbox.h"
#include "playback_timer.h"

/*!
 * \brief How long an application may leave its socket full until it is given up, in ns
 */
#define BACKPRESSURE_MAX_NS (5 * NS_PER_S)

struct playback_event {
	/*! Next younger event */
	AST_LIST_ENTRY(playback_event) list;
	/*! The event as it is sent, NUL terminated */
	char text[0];
};

void playback_outbox_init(struct playback_outbox *outbox, const char *name)
{
	ast_mutex_init(&outbox->lock);
	outbox->name = name;
	outbox->holder = AST_PTHREADT_NULL;
}

void playback_outbox_destroy(struct playback_outbox *outbox)
{
	struct playback_event *event;

	while ((event = AST_LIST_REMOVE_HEAD(&outbox->events, list))) {
		ast_free(event);
	}
	ast_mutex_destroy(&outbox->lock);
}

void playback_outbox_hold(struct playback_outbox *outbox)
{
	__atomic_store_n(&outbox->holder, pthread_self(), __ATOMIC_RELAXED);
}

void playback_outbox_release(struct playback_outbox *outbox)
{
	__atomic_store_n(&outbox->holder, AST_PTHREADT_NULL, __ATOMIC_RELAXED);
}

/*! \brief There are \a more events now, or fewer; outbox locked */
static void count_events(struct playback_outbox *outbox, int more)
{
	__atomic_store_n(&outbox->length, outbox->length + more, __ATOMIC_RELAXED);
}

/*! \brief Since when the socket is full, 0 if it is not; outbox locked */
static void set_backpressure(struct playback_outbox *outbox, int64_t since_ns)
{
	__atomic_store_n(&outbox->backpressure_since_ns, since_ns, __ATOMIC_RELAXED);
}

/*! \brief See playback_outbox_can_write(); outbox locked */
static int can_write(struct playback_outbox *outbox, struct ast_websocket *websocket)
{
	struct pollfd socket = {
		.fd = ast_websocket_fd(websocket),
		.events = POLLOUT,
	};
	int64_t time_ns;

	if (socket.fd < 0 || poll(&socket, 1, 0) != 0) {
		set_backpressure(outbox, 0);
		return 1;
	}
	time_ns = playback_now_ns();
	if (!outbox->backpressure_since_ns) {
		set_backpressure(outbox, time_ns);
		ast_debug(1, "%s: The application does not read\n", outbox->name);
	}
	return time_ns - outbox->backpressure_since_ns > BACKPRESSURE_MAX_NS;
}

int playback_outbox_can_write(struct playback_outbox *outbox,
	struct ast_websocket *websocket)
{
	SCOPED_MUTEX(lock, &outbox->lock);

	return can_write(outbox, websocket);
}

/*! \brief See playback_outbox_append(); outbox locked */
static int append(struct playback_outbox *outbox, const char *text)
{
	struct playback_event *event = ast_calloc(1, sizeof(*event) + strlen(text) + 1);

	if (!event) {
		return -1;
	}
	strcpy(event->text, text); /* Safe */
	AST_LIST_INSERT_TAIL(&outbox->events, event, list);
	count_events(outbox, 1);
	return 0;
}

int playback_outbox_append(struct playback_outbox *outbox, const char *text)
{
	SCOPED_MUTEX(lock, &outbox->lock);

	return append(outbox, text);
}

/*! \brief Whether a write has failed before */
static int is_closed(struct playback_outbox *outbox)
{
	SCOPED_MUTEX(lock, &outbox->lock);

	return outbox->closed;
}

/*! \brief A write of \a text has failed: the session is closed now */
static void close_outbox(struct playback_outbox *outbox, const char *text)
{
	SCOPED_MUTEX(lock, &outbox->lock);

	/* Logged once, not for each of a thousand events */
	if (outbox->ending) {
		/* The application may well have closed it */
		ast_debug(1, "%s: Unable to send event %s\n", outbox->name, text);
	} else if (!outbox->closed) {
		ast_log(LOG_ERROR, "%s: Unable to send event %s\n", outbox->name, text);
	}
	outbox->closed = 1;
}

int playback_outbox_write(struct playback_outbox *outbox,
	struct ast_websocket *websocket, const char *text)
{
	if (!websocket || is_closed(outbox)) {
		return -1;
	}
	if (ast_websocket_write_string(websocket, text)) {
		close_outbox(outbox, text);
		return -1;
	}
	ast_debug(3, "%s: Sent %s\n", outbox->name, text);
	return 0;
}

/*! \brief Whether an event of the calling thread's has to wait; outbox locked */
static int has_to_wait(struct playback_outbox *outbox, struct ast_websocket *websocket)
{
	/* Only the holder itself sets it, and sees that it has */
	pthread_t holder = __atomic_load_n(&outbox->holder, __ATOMIC_RELAXED);
	/* AST_PTHREADT_NULL is not a thread, so pthread_equal() must not see it */
	int held = holder != AST_PTHREADT_NULL && pthread_equal(holder, pthread_self());

	return held || outbox->length || !can_write(outbox, websocket);
}

int playback_outbox_send(struct playback_outbox *outbox, struct ast_websocket *websocket,
	const char *text)
{
	int waits;
	int res = -1;

	if (!websocket) {
		return -1;
	}
	ast_mutex_lock(&outbox->lock);
	waits = outbox->closed || has_to_wait(outbox, websocket);
	if (waits && !outbox->closed) {
		res = append(outbox, text);
	}
	ast_mutex_unlock(&outbox->lock);
	return waits ? res : playback_outbox_write(outbox, websocket, text);
}

/*! \brief Take the oldest event if the socket takes it, or if that does not matter */
static struct playback_event *next_event(struct playback_outbox *outbox,
	struct ast_websocket *websocket, int force)
{
	SCOPED_MUTEX(lock, &outbox->lock);

	if (!outbox->length || !(force || can_write(outbox, websocket))) {
		return NULL;
	}
	count_events(outbox, -1);
	return AST_LIST_REMOVE_HEAD(&outbox->events, list);
}

/*! \brief Write the events that wait, as far as that does not block or all */
static void send_waiting(struct playback_outbox *outbox, struct ast_websocket *websocket,
	int force)
{
	struct playback_event *event;

	while ((event = next_event(outbox, websocket, force))) {
		playback_outbox_write(outbox, websocket, event->text);
		ast_free(event);
	}
}

void playback_outbox_send_waiting(struct playback_outbox *outbox,
	struct ast_websocket *websocket)
{
	int force;

	ast_mutex_lock(&outbox->lock);
	force = outbox->length > PLAYBACK_OUTBOX_MAX;
	ast_mutex_unlock(&outbox->lock);
	send_waiting(outbox, websocket, force);
}

void playback_outbox_relieve(struct playback_outbox *outbox,
	struct ast_websocket *websocket)
{
	int many;

	ast_mutex_lock(&outbox->lock);
	many = outbox->length > PLAYBACK_OUTBOX_MAX / 2;
	ast_mutex_unlock(&outbox->lock);
	if (many) {
		send_waiting(outbox, websocket, 0);
	}
}

void playback_outbox_end(struct playback_outbox *outbox, struct ast_websocket *websocket)
{
	ast_mutex_lock(&outbox->lock);
	outbox->ending = 1;
	ast_mutex_unlock(&outbox->lock);
	send_waiting(outbox, websocket, 1);
}

int playback_outbox_is_empty(struct playback_outbox *outbox)
{
	return !__atomic_load_n(&outbox->length, __ATOMIC_RELAXED);
}

int playback_outbox_has_backpressure(struct playback_outbox *outbox)
{
	return __atomic_load_n(&outbox->backpressure_since_ns, __ATOMIC_RELAXED) != 0;
}
