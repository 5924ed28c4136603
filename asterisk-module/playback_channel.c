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
 */

#include "asterisk.h"

#include <poll.h>
#include <time.h>
#ifdef HAVE_TIMERFD
#include <sys/timerfd.h>
#endif

#include "asterisk/bridge.h"
#include "asterisk/bridge_channel.h"
#include "asterisk/cli.h"
#include "asterisk/codec.h"
#include "asterisk/format.h"
#include "asterisk/format_cache.h"
#include "asterisk/frame.h"
#include "asterisk/logger.h"
#include "asterisk/module.h"
#include "asterisk/slinfactory.h"
#include "asterisk/strings.h"
#include "asterisk/utils.h"

#include "playback_channel.h"

#define MARK_COMMAND "MARK"
#define FLUSH_COMMAND "FLUSH_MEDIA"
#define REPORT_COMMAND "REPORT_PLAYBACK"

#define NS_PER_S 1000000000LL
#define NS_PER_MS 1000000LL

/*!
 * \brief Answers sent in one go, and the pause after them, in ns
 *
 * Writing one takes some 15 us.  A burst of thousands must not keep the channel's thread
 * from handing over the next frame.
 */
#define ANSWERS_AT_ONCE 32
#define ANSWERS_PAUSE_NS 200000

/*! \brief Events kept for an application that does not read */
#define OUTBOX_MAX 64

/*! \brief When a socket that was full is tried again, in ns */
#define RETRY_NS (20 * NS_PER_MS)

/*!
 * \brief How long an application may leave its socket full until it is given up, in ns
 */
#define STUCK_NS (5 * NS_PER_S)

/*! \brief When a frame is looked for that was on its way to a busy bridge, in ns */
#define ON_THE_WAY_NS 200000

/*! \brief How long media waits for a peer at most, in ns */
#define WAIT_FOR_PEER_NS (500 * NS_PER_MS)

/*! \brief An event that waits to be written; its size follows its text */
struct playback_event {
	AST_LIST_ENTRY(playback_event) list;
	char text[0];
};

/*! \brief Something to send when its mark is due; its size follows its text */
struct answer {
	/*! First, so that a mark is its answer */
	struct playback_mark mark;
	/*! \c text is a whole event, not the id of a mark */
	unsigned int is_event:1;
	/*! See struct playback_id */
	unsigned int id_is_integer:1;
	/*! The mark's id or the event */
	char text[0];
};

/*! \brief All channels, for the console */
static AST_RWLIST_HEAD_STATIC(channels, playback_channel);

static int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * NS_PER_S + now.tv_nsec;
}

/*! \brief Unix time of a moment of the monotonic clock, in us */
static int64_t unix_us(int64_t moment_ns)
{
	struct timeval wall = ast_tvnow();

	return wall.tv_sec * 1000000LL + wall.tv_usec + (moment_ns - now_ns()) / 1000;
}

/*! \brief How long \a samples of a format last, in ns */
static int64_t duration_ns(const struct ast_format *format, int samples)
{
	return samples * NS_PER_S / ast_format_get_sample_rate(format);
}

/*! \brief How long a full frame lasts, in ns */
static int64_t frame_ns(const struct playback_channel *playback)
{
	return ast_format_get_default_ms(playback->driver.format) * NS_PER_MS;
}

/*! \brief Media that comes in frames of one size: each byte lasts the same */
static struct playback_media plain_media(const struct playback_channel *playback,
	size_t bytes)
{
	struct playback_media media = {
		.bytes = bytes,
		.ns = bytes * frame_ns(playback) / playback->driver.frame_size,
	};

	return media;
}

/*! \brief A message of media from the application */
static struct playback_media payload_media(struct playback_channel *playback,
	char *payload, size_t bytes)
{
	struct ast_frame frame = { .frametype = AST_FRAME_VOICE, };
	struct playback_media media = { .bytes = bytes, };

	if (playback->driver.frame_size) {
		/*
		 * What all messages last together is not rounded for each of them: else frames
		 * would last longer than the messages they were made of.
		 */
		playback->rest += bytes * frame_ns(playback);
		media.ns = playback->rest / playback->driver.frame_size;
		playback->rest %= playback->driver.frame_size;
		return media;
	}
	/* In passthrough mode a message is a frame; only its codec knows how long it is */
	AST_FRAME_SET_BUFFER(&frame, payload, 0, bytes);
	frame.subclass.format = playback->driver.format;
	media.ns = duration_ns(frame.subclass.format, ast_codec_samples_count(&frame));
	return media;
}

/*! \brief A frame of the driver's */
static struct playback_media frame_media(const struct playback_channel *playback,
	const struct ast_frame *frame)
{
	struct playback_media media = { .bytes = frame->datalen, };

	if (playback->driver.frame_size) {
		return plain_media(playback, frame->datalen);
	}
	media.ns = duration_ns(playback->driver.format, frame->samples);
	return media;
}

void playback_init(struct playback_channel *playback,
	const struct playback_driver *driver)
{
	playback->driver = *driver;
	playback_ledger_init(&playback->ledger,
		ast_format_get_default_ms(driver->format) * NS_PER_MS);
	playback->format.json = driver->json;
	playback->format.channel_id = ast_channel_uniqueid(driver->channel);
	playback->timer_fd = -1;
	playback->timer_due_ns = PLAYBACK_NEVER;
	ast_copy_string(playback->name, ast_channel_name(driver->channel),
		sizeof(playback->name));
	AST_RWLIST_WRLOCK(&channels);
	AST_RWLIST_INSERT_TAIL(&channels, playback, entry);
	AST_RWLIST_UNLOCK(&channels);
	/* The core does not count the channels of a driver: unloading it under a call crashes */
	ast_module_ref(AST_MODULE_SELF);
}

void playback_destroy(struct playback_channel *playback)
{
	struct playback_mark *mark;
	struct playback_event *event;

	if (!playback->driver.channel) {
		/* Never initialised */
		return;
	}
	AST_RWLIST_WRLOCK(&channels);
	AST_RWLIST_REMOVE(&channels, playback, entry);
	AST_RWLIST_UNLOCK(&channels);
	playback_ledger_flush(&playback->ledger, PLAYBACK_HUNGUP, 0);
	while ((mark = playback_ledger_pop(&playback->ledger, PLAYBACK_NEVER))) {
		ast_free(mark);
	}
	while ((event = AST_LIST_REMOVE_HEAD(&playback->outbox, list))) {
		ast_free(event);
	}
	if (playback->timer_fd >= 0) {
		close(playback->timer_fd);
	}
	ast_module_unref(AST_MODULE_SELF);
}

/*! \brief In developer mode, compare the ledger with what is really queued */
static void check_balance(struct playback_channel *playback)
{
#ifdef AST_DEVMODE
	uint64_t queued = *playback->driver.partial_bytes;
	const struct ast_frame *frame;
	SCOPED_MUTEX(lock, playback->driver.lock);

	if (playback->is_on_the_way) {
		queued += playback->on_the_way.media.bytes;
	}
	for (frame = *playback->driver.frames; frame;
		frame = AST_LIST_NEXT(frame, frame_list)) {
		if (frame->frametype == AST_FRAME_VOICE) {
			queued += frame->datalen;
		}
	}
	ast_assert(queued == playback_ledger_queued(&playback->ledger).bytes);
#endif
}

void playback_received(struct playback_channel *playback, char *payload,
	size_t bytes)
{
	SCOPED_MUTEX(lock, playback->driver.lock);

	playback->message = payload_media(playback, payload, bytes);
	playback_ledger_received(&playback->ledger, playback->message);
}

void playback_dropped(struct playback_channel *playback, size_t bytes,
	enum playback_loss_reason reason)
{
	SCOPED_MUTEX(lock, playback->driver.lock);

	playback_ledger_dropped(&playback->ledger, bytes == playback->message.bytes
		? playback->message : plain_media(playback, bytes), reason);
}

int playback_wants_partial(struct playback_channel *playback)
{
	SCOPED_MUTEX(lock, playback->driver.lock);

	return playback_ledger_wants_partial(&playback->ledger,
		*playback->driver.partial_bytes);
}

/*! \brief Open the timer when it is first needed; without one the ticks have to do */
static void open_timer(struct playback_channel *playback)
{
#ifdef HAVE_TIMERFD
	if (playback->timer_fd < 0) {
		playback->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
		if (playback->timer_fd < 0) {
			ast_log(LOG_WARNING, "%s: No timer for marks (%s): they are answered on "
				"the next media tick\n", playback->name, strerror(errno));
			return;
		}
		ast_channel_set_fd(playback->driver.channel, PLAYBACK_TIMER_FDNO,
			playback->timer_fd);
	}
#endif
}

/*! \brief Wake the channel at \a due_ns, not before */
static void arm_timer(struct playback_channel *playback, int64_t due_ns)
{
#ifdef HAVE_TIMERFD
	struct itimerspec timer;

	if (playback->timer_fd < 0 || playback->timer_due_ns == due_ns) {
		return;
	}
	memset(&timer, 0, sizeof(timer));
	/* Setting the timer also clears an expiration nobody has read */
	if (due_ns != PLAYBACK_NEVER) {
		timer.it_value.tv_sec = due_ns / NS_PER_S;
		/* All zero would disarm it: what is due at 0 is due now */
		timer.it_value.tv_nsec = due_ns ? due_ns % NS_PER_S : 1;
	}
	if (timerfd_settime(playback->timer_fd, TFD_TIMER_ABSTIME, &timer, NULL)) {
		ast_log(LOG_ERROR, "%s: Unable to set the timer for marks: %s\n",
			playback->name, strerror(errno));
		return;
	}
	playback->timer_due_ns = due_ns;
#endif
}

/*! \brief When there is something to be sent next; frame queue locked */
static int64_t next_due_ns(const struct playback_channel *playback)
{
	int64_t due_ns = playback_ledger_next_due(&playback->ledger);

	if (playback->report_interval_ns) {
		due_ns = MIN(due_ns, playback->report_due_ns);
	}
	if (playback->asked) {
		due_ns = MIN(due_ns, playback_ledger_loss_due(&playback->ledger));
	}
	if (playback->is_on_the_way) {
		due_ns = MIN(due_ns, playback->on_the_way.taken_ns + ON_THE_WAY_NS);
	}
	return due_ns;
}

/*!
 * \brief Whether the application's socket takes an event or a frame without blocking
 *
 * An application that has read nothing for five seconds is given up: then this says yes,
 * and the write will close the connection.
 */
static int can_write(struct playback_channel *playback, struct ast_websocket *websocket)
{
	struct pollfd socket = {
		.fd = ast_websocket_fd(websocket),
		.events = POLLOUT,
	};

	if (socket.fd < 0 || poll(&socket, 1, 0) != 0) {
		playback->stuck_since_ns = 0;
		return 1;
	}
	if (!playback->stuck_since_ns) {
		playback->stuck_since_ns = now_ns();
		ast_debug(1, "%s: The application does not read\n", playback->name);
	}
	return now_ns() - playback->stuck_since_ns > STUCK_NS;
}

/*! \brief Write an event, whatever that takes; frame queue not locked */
static int write_event(struct playback_channel *playback, struct ast_websocket *websocket,
	const char *text)
{
	if (!websocket || playback->closed) {
		return -1;
	}
	if (ast_websocket_write_string(websocket, text)) {
		/* The session is closed now: said once, not for each of a thousand answers */
		if (playback->ending) {
			/* The application may well have closed it */
			ast_debug(1, "%s: Unable to send event %s\n", playback->name, text);
		} else {
			ast_log(LOG_ERROR, "%s: Unable to send event %s\n", playback->name, text);
		}
		playback->closed = 1;
		return -1;
	}
	ast_debug(3, "%s: Sent %s\n", playback->name, text);
	return 0;
}

static int keep_event(struct playback_channel *playback, const char *text)
{
	struct playback_event *event = ast_calloc(1, sizeof(*event) + strlen(text) + 1);
	SCOPED_MUTEX(lock, playback->driver.lock);

	if (!event) {
		return -1;
	}
	strcpy(event->text, text); /* Safe */
	AST_LIST_INSERT_TAIL(&playback->outbox, event, list);
	playback->outbox_length++;
	return 0;
}

/*! \brief Write the events that were kept, as far as that goes without blocking */
static void send_kept(struct playback_channel *playback, struct ast_websocket *websocket,
	int force)
{
	struct playback_event *event;

	while (playback->outbox_length && (force || can_write(playback, websocket))) {
		ast_mutex_lock(playback->driver.lock);
		event = AST_LIST_REMOVE_HEAD(&playback->outbox, list);
		playback->outbox_length -= event ? 1 : 0;
		ast_mutex_unlock(playback->driver.lock);
		if (event) {
			write_event(playback, websocket, event->text);
			ast_free(event);
		}
	}
}

int playback_send(struct playback_channel *playback,
	struct ast_websocket *websocket, const char *text)
{
	int reading = playback->reading && pthread_equal(playback->reader, pthread_self());

	if (!websocket || playback->closed) {
		return -1;
	}
	if (reading || playback->outbox_length || !can_write(playback, websocket)) {
		return keep_event(playback, text);
	}
	return write_event(playback, websocket, text);
}

static void send_error(struct playback_channel *playback, const char *command,
	const char *text)
{
	char event[PLAYBACK_EVENT_MAX];

	ast_debug(3, "%s: %s: %s\n", playback->name, S_OR(command, ""), text);
	if (playback_event_error(event, sizeof(event), &playback->format, command, NULL,
		text)) {
		keep_event(playback, event);
	}
}

/*! \brief A mark's id, as it was given */
static struct playback_id answer_id(const struct answer *answer)
{
	struct playback_id id = { .is_integer = answer->id_is_integer, };

	ast_copy_string(id.text, answer->text, sizeof(id.text));
	return id;
}

static void write_mark(struct playback_channel *playback,
	struct ast_websocket *websocket, const struct playback_id *id,
	const struct playback_mark *mark)
{
	char event[PLAYBACK_EVENT_MAX];

	if (playback_event_mark(event, sizeof(event), &playback->format, id, mark,
		unix_us(mark->due_ns))) {
		write_event(playback, websocket, event);
	}
}

static void write_answer(struct playback_channel *playback,
	struct ast_websocket *websocket, const struct answer *answer)
{
	struct playback_id id;

	if (answer->is_event) {
		/* A note that was flushed is forgotten, as it always was */
		if (answer->mark.outcome == PLAYBACK_PLAYED
			|| answer->mark.outcome == PLAYBACK_TURN) {
			write_event(playback, websocket, answer->text);
		}
		return;
	}
	id = answer_id(answer);
	if (answer->mark.outcome == PLAYBACK_PLAYED) {
		playback->last_mark = id;
		playback->last_mark_ns = answer->mark.media_ns;
		playback->has_last_mark = 1;
	}
	write_mark(playback, websocket, &id, &answer->mark);
}

/*! \brief Whether an answer is due */
static int answer_due(struct playback_channel *playback)
{
	SCOPED_MUTEX(lock, playback->driver.lock);

	return playback_ledger_next_due(&playback->ledger) <= now_ns();
}

/*! \brief The next answer that is due, for the caller to free */
static struct answer *next_answer(struct playback_channel *playback)
{
	SCOPED_MUTEX(lock, playback->driver.lock);

	return (struct answer *) playback_ledger_pop(&playback->ledger, now_ns());
}

/*! \brief Write at most \a most answers that are due; the number written */
static int send_answers(struct playback_channel *playback,
	struct ast_websocket *websocket, int most, int force)
{
	struct answer *answer;
	int count = 0;

	while (count < most && answer_due(playback)
		&& (force || can_write(playback, websocket))
		&& (answer = next_answer(playback))) {
		write_answer(playback, websocket, answer);
		ast_free(answer);
		count++;
	}
	return count;
}

static void send_losses(struct playback_channel *playback,
	struct ast_websocket *websocket, int force)
{
	char event[PLAYBACK_EVENT_MAX];
	struct playback_loss loss;
	int64_t due_ns;
	int lost;

	do {
		due_ns = playback_ledger_loss_due(&playback->ledger);
		if (due_ns == PLAYBACK_NEVER
			|| (!force && (due_ns > now_ns() || !can_write(playback, websocket)))) {
			return;
		}
		ast_mutex_lock(playback->driver.lock);
		lost = playback_ledger_pop_loss(&playback->ledger,
			force ? due_ns : now_ns(), &loss);
		ast_mutex_unlock(playback->driver.lock);
		if (lost && playback_event_dropped(event, sizeof(event), &playback->format,
			&loss)) {
			write_event(playback, websocket, event);
		}
	} while (lost && force);
}

static struct playback_snapshot take_snapshot(struct playback_channel *playback)
{
	SCOPED_MUTEX(lock, playback->driver.lock);

	return playback_ledger_snapshot(&playback->ledger, now_ns());
}

/*! \brief The text of a PLAYBACK event of this moment */
static size_t format_report(struct playback_channel *playback, char *event, size_t size,
	int final)
{
	struct playback_snapshot snapshot = take_snapshot(playback);

	return playback_event_playback(event, size, &playback->format, &snapshot,
		*playback->driver.paused, final, unix_us(now_ns()));
}

/*! \brief Whether a periodic report has something new to say; remembers what it says */
static int report_changed(struct playback_channel *playback)
{
	struct playback_snapshot snapshot = take_snapshot(playback);
	struct playback_snapshot *last = &playback->reported;
	int paused = *playback->driver.paused;
	int changed = snapshot.received != last->received
		|| snapshot.played.bytes != last->played.bytes
		|| snapshot.flushed != last->flushed || snapshot.dropped != last->dropped
		|| snapshot.marks != last->marks || snapshot.underruns != last->underruns
		|| paused != playback->reported_paused;

	*last = snapshot;
	playback->reported_paused = paused;
	return changed;
}

static void send_report(struct playback_channel *playback,
	struct ast_websocket *websocket)
{
	char event[PLAYBACK_EVENT_MAX];
	int64_t time_ns = now_ns();
	int64_t missed;

	if (!playback->report_interval_ns || playback->report_due_ns > time_ns) {
		return;
	}
	missed = (time_ns - playback->report_due_ns) / playback->report_interval_ns;
	playback->report_due_ns += (missed + 1) * playback->report_interval_ns;
	/* An application that does not read is spared its reports */
	if (can_write(playback, websocket) && report_changed(playback)
		&& format_report(playback, event, sizeof(event), 0)) {
		write_event(playback, websocket, event);
	}
}

/*! \brief Send all that is due, wake up for what is due next; frame queue not locked */
static void send_due(struct playback_channel *playback, struct ast_websocket *websocket)
{
	int64_t due_ns;
	int64_t wait_ns = 0;

	if (!websocket) {
		return;
	}
	send_kept(playback, websocket, playback->outbox_length > OUTBOX_MAX);
	if (!playback->outbox_length) {
		if (send_answers(playback, websocket, ANSWERS_AT_ONCE, 0) == ANSWERS_AT_ONCE) {
			wait_ns = ANSWERS_PAUSE_NS;
		}
		if (playback->asked) {
			send_losses(playback, websocket, 0);
		}
		send_report(playback, websocket);
	}
	ast_mutex_lock(playback->driver.lock);
	due_ns = playback->outbox_length ? 0 : next_due_ns(playback);
	ast_mutex_unlock(playback->driver.lock);
	if (playback->stuck_since_ns) {
		wait_ns = RETRY_NS;
	}
	if (wait_ns) {
		due_ns = MAX(due_ns, now_ns() + wait_ns);
	}
	arm_timer(playback, due_ns);
}

static struct answer *new_answer(const char *text)
{
	struct answer *answer = ast_calloc(1, sizeof(*answer) + strlen(text) + 1);

	if (answer) {
		strcpy(answer->text, text); /* Safe */
	}
	return answer;
}

/*!
 * \brief Bytes of the partial frame that are part of a sample, never played alone
 *
 * Of signed linear audio a sample has two bytes.  Were one of them played, all that comes
 * after it would be noise.
 */
static size_t half_sample(const struct playback_channel *playback)
{
	return playback->driver.frame_size
		&& ast_format_cache_is_slinear(playback->driver.format)
		? *playback->driver.partial_bytes % 2 : 0;
}

/*! \brief Tell the ledger of half a sample; frame queue locked */
static void note_cut(struct playback_channel *playback)
{
	struct playback_media none = { .bytes = 0, };
	size_t bytes = half_sample(playback);

	playback_ledger_cut(&playback->ledger, bytes ? plain_media(playback, bytes) : none);
}

int playback_note_queued(struct playback_channel *playback,
	struct ast_frame *note)
{
	/* MEDIA_BUFFERING_COMPLETED is owed whatever the number of marks */
	unsigned int most = playback->driver.marks_max
		+ (strstr(note->data.ptr, "MEDIA_MARK_PROCESSED") ? 0 : OUTBOX_MAX);
	SCOPED_MUTEX(lock, playback->driver.lock);

	playback->marked = 1;
	open_timer(playback);
	if (playback->notes_queued + playback->ledger.notes.count >= most) {
		ast_log(LOG_WARNING, "%s: %u answers are pending, ignoring this command\n",
			playback->name, playback->driver.marks_max);
		return -1;
	}
	playback->notes_queued++;
	/* So much of the next frame to be queued comes before it */
	note->samples = *playback->driver.partial_bytes - half_sample(playback);
	note_cut(playback);
	playback_ledger_note_queued(&playback->ledger);
	return 0;
}

void playback_note(struct playback_channel *playback,
	const struct ast_frame *note)
{
	struct answer *answer = new_answer(note->data.ptr);
	SCOPED_MUTEX(lock, playback->driver.lock);

	playback->notes_queued--;
	if (answer) {
		answer->is_event = 1;
		playback_ledger_note(&playback->ledger, &answer->mark, note->samples, now_ns());
	}
}

/*!
 * \brief Enter a mark into the ledger
 * \retval 0 success
 * \retval -1 too many are pending, or there is no memory
 */
static int add_mark(struct playback_channel *playback, const struct playback_id *id,
	enum playback_outcome outcome)
{
	struct answer *answer;
	SCOPED_MUTEX(lock, playback->driver.lock);

	if (playback_ledger_marks(&playback->ledger) >= playback->driver.marks_max) {
		return -1;
	}
	answer = new_answer(id->text);
	if (!answer) {
		return -1;
	}
	answer->id_is_integer = id->is_integer;
	note_cut(playback);
	playback_ledger_mark(&playback->ledger, &answer->mark, outcome, now_ns());
	return 0;
}

/*! \brief A mark that cannot be kept is discarded at once, ahead of those before it */
static void refuse_mark(struct playback_channel *playback,
	struct ast_websocket *websocket, const struct playback_id *id)
{
	struct playback_mark mark = {
		.outcome = PLAYBACK_LIMIT,
		.due_ns = now_ns(),
	};

	ast_mutex_lock(playback->driver.lock);
	mark.offset = playback->ledger.received.bytes;
	ast_mutex_unlock(playback->driver.lock);
	write_mark(playback, websocket, id, &mark);
}

/*!
 * \brief A command of ours was used: from now on, and of what was lost before, it is
 * told
 */
static void asks(struct playback_channel *playback)
{
	playback->asked = 1;
	open_timer(playback);
}

/*!
 * \brief Take the id out of a command
 * \retval 0 success
 * \retval -1 there is none, or it is not a valid one
 */
static int command_id(struct playback_id *id, const char *arguments,
	struct ast_json *json)
{
	struct ast_json *value;

	if (!json) {
		return playback_id_from_plain(id, arguments);
	}
	value = ast_json_object_get(json, "id");
	if (!value) {
		return -1;
	}
	switch (ast_json_typeof(value)) {
	case AST_JSON_STRING:
		return playback_id_from_string(id, ast_json_string_get(value));
	case AST_JSON_INTEGER:
		playback_id_from_integer(id, ast_json_integer_get(value));
		return 0;
	default:
		return -1;
	}
}

static void mark_command(struct playback_channel *playback,
	struct ast_websocket *websocket, const char *arguments, struct ast_json *json,
	int accepts_media)
{
	struct playback_id id;

	if (command_id(&id, arguments, json)) {
		send_error(playback, MARK_COMMAND, json
			? "MARK needs \"id\": a string of 1 to 64 bytes or an integer"
			: "MARK needs id=<1 to 64 printable ASCII characters without space>");
		return;
	}
	playback->marked = 1;
	if (add_mark(playback, &id, accepts_media ? PLAYBACK_WAITING : PLAYBACK_DIRECTION)) {
		refuse_mark(playback, websocket, &id);
	}
}

/*! \brief The interval of a REPORT_PLAYBACK, -1 if it has none, -2 if it is not valid */
static int command_interval(const char *arguments, struct ast_json *json)
{
	struct ast_json *value;
	int interval_ms;

	if (!json) {
		return playback_interval_from_plain(&interval_ms, arguments) ? -2 : interval_ms;
	}
	value = ast_json_object_get(json, "interval_ms");
	if (!value) {
		return -1;
	}
	return ast_json_typeof(value) == AST_JSON_INTEGER
		&& playback_interval_valid(ast_json_integer_get(value))
		? (int) ast_json_integer_get(value) : -2;
}

static void report_command(struct playback_channel *playback, const char *arguments,
	struct ast_json *json)
{
	char event[PLAYBACK_EVENT_MAX];
	int interval_ms = command_interval(arguments, json);

	if (interval_ms == -2) {
		send_error(playback, REPORT_COMMAND,
			"REPORT_PLAYBACK takes interval_ms: 0 or 20 to 3600000");
	} else if (interval_ms == -1) {
		if (format_report(playback, event, sizeof(event), 0)) {
			keep_event(playback, event);
		}
	} else {
		playback->report_interval_ns = interval_ms * NS_PER_MS;
		playback->report_due_ns = now_ns() + playback->report_interval_ns;
		report_changed(playback);
	}
}

int playback_command(struct playback_channel *playback,
	struct ast_websocket *websocket, const char *command, const char *arguments,
	struct ast_json *json, int accepts_media)
{
	if (ast_strings_equal(command, MARK_COMMAND)) {
		asks(playback);
		mark_command(playback, websocket, arguments, json, accepts_media);
		return 1;
	}
	if (ast_strings_equal(command, REPORT_COMMAND)) {
		asks(playback);
		report_command(playback, arguments, json);
		return 1;
	}
	return 0;
}

void playback_too_long(struct playback_channel *playback, uint64_t length,
	size_t most)
{
	char text[128];

	if (playback->asked) {
		snprintf(text, sizeof(text), "Text message of %" PRIu64 " bytes ignored, "
			"at most %zu are accepted", length, most);
		send_error(playback, NULL, text);
	}
}

int playback_flush(struct playback_channel *playback, const char *arguments,
	struct ast_json *json)
{
	playback->flush_id.text[0] = '\0';
	/* What is not our form is flushed as ever: today's clients may send anything there */
	if (json ? !ast_json_object_get(json, "id")
		: !arguments || !ast_begins_with(arguments, "id=")) {
		return 0;
	}
	asks(playback);
	if (command_id(&playback->flush_id, arguments, json)) {
		send_error(playback, FLUSH_COMMAND, "FLUSH_MEDIA takes an id of 1 to 64 bytes; "
			"nothing was flushed");
		return -1;
	}
	return 1;
}

/*! \brief The text of MEDIA_FLUSHED; the ledger has been flushed, frame queue locked */
static size_t format_flushed(struct playback_channel *playback, char *event, size_t size,
	struct playback_media flushed)
{
	const struct playback_ledger *ledger = &playback->ledger;
	const struct answer *last;
	struct playback_id last_id = playback->last_mark;
	struct playback_flush flush = {
		.played.bytes = ledger->handed.bytes + ledger->held.bytes,
		.played.ns = ledger->handed.ns + ledger->held.ns,
		.flushed = flushed,
	};

	last = (const struct answer *) playback_ledger_last_taken(ledger);
	if (last) {
		last_id = answer_id(last);
	}
	if (last || playback->has_last_mark) {
		flush.last_mark = &last_id;
		flush.since_mark_ns = flush.played.ns
			- (last ? last->mark.media_ns : playback->last_mark_ns);
	}
	return playback_event_flushed(event, size, &playback->format,
		&playback->flush_id, &flush);
}

void playback_flushed(struct playback_channel *playback)
{
	char event[PLAYBACK_EVENT_MAX];
	struct playback_media flushed;
	struct answer *answer;

	playback->notes_queued = 0;
	flushed = playback_ledger_flush(&playback->ledger, PLAYBACK_FLUSHED, now_ns());
	if (!playback->flush_id.text[0]
		|| !format_flushed(playback, event, sizeof(event), flushed)) {
		return;
	}
	answer = playback->ledger.turns < OUTBOX_MAX ? new_answer(event) : NULL;
	if (!answer) {
		/* No room to wait for its turn */
		keep_event(playback, event);
		return;
	}
	answer->is_event = 1;
	playback_ledger_mark(&playback->ledger, &answer->mark, PLAYBACK_TURN, now_ns());
}

/*!
 * \brief The byte that is silence in a format, -1 where no single byte is
 *
 * G.722 codes differences, so no byte is silence whatever came before; after the one
 * given here a decoder's sound dies away within some milliseconds.
 */
static int silence_byte(struct ast_format *format)
{
	if (ast_format_cmp(format, ast_format_ulaw) == AST_FORMAT_CMP_EQUAL) {
		return 0xff;
	}
	if (ast_format_cmp(format, ast_format_alaw) == AST_FORMAT_CMP_EQUAL) {
		return 0xd5;
	}
	if (ast_format_cmp(format, ast_format_g722) == AST_FORMAT_CMP_EQUAL) {
		return 0xfd;
	}
	return ast_format_cache_is_slinear(format) ? 0 : -1;
}

/*!
 * \brief Fill a short frame up with silence
 *
 * A short frame would stay in a peer's smoother until more media comes, and shift all
 * that comes after it against the ticks: its marks would be answered before it is on the
 * wire.
 *
 * \return a full frame, or \a frame itself where it cannot be padded
 */
static struct ast_frame *pad_frame(struct playback_channel *playback,
	struct ast_frame *frame)
{
	size_t size = playback->driver.frame_size;
	int silence = silence_byte(playback->driver.format);
	struct ast_frame full = *frame;
	struct ast_frame *padded;
	char *data;

	if (silence < 0) {
		return frame;
	}
	data = ast_alloca(AST_FRIENDLY_OFFSET + size);
	memset(data, silence, AST_FRIENDLY_OFFSET + size);
	memcpy(data + AST_FRIENDLY_OFFSET, frame->data.ptr, frame->datalen); /* Safe */
	full.mallocd = 0;
	full.src = NULL;
	full.offset = AST_FRIENDLY_OFFSET;
	full.data.ptr = data + AST_FRIENDLY_OFFSET;
	full.datalen = size;
	full.samples = ast_codec_samples_count(&full);
	padded = ast_frdup(&full);
	if (!padded) {
		return frame;
	}
	ast_frfree(frame);
	return padded;
}

/*!
 * \brief How bridge_softmix's struct softmix_channel begins, a channel's tech_pvt there
 */
struct softmix_begin {
	ast_mutex_t lock;
	/*! The channel's audio that has not been mixed yet */
	struct ast_slinfactory factory;
};

/*! \brief How long the audio lasts that softmix holds of a channel, -1 if that is busy */
static int64_t softmix_holds_ns(struct ast_bridge_channel *bridge_channel)
{
	struct softmix_begin *softmix = bridge_channel->tech_pvt;
	int64_t held_ns;

	if (!softmix || ast_mutex_trylock(&softmix->lock)) {
		return -1;
	}
	held_ns = duration_ns(softmix->factory.output_format,
		ast_slinfactory_available(&softmix->factory));
	ast_mutex_unlock(&softmix->lock);
	return held_ns;
}

/*! \brief What can be seen of the bridge a channel is in */
struct seen {
	/*! The bridge if it mixes, without a reference: only to be compared */
	const struct ast_bridge *mixer;
	/*! How long the audio lasts that the mixer holds, -1 if that cannot be seen */
	int64_t held_ns;
	/*! The bridge is at work: it may be about to begin or to cease to mix */
	int busy;
};

static struct seen look_at_bridge(struct ast_channel *channel)
{
	struct seen seen = { .held_ns = -1, };
	struct ast_bridge *bridge = ast_channel_get_bridge(channel);
	struct ast_bridge_channel *bridge_channel = NULL;
	const struct ast_bridge_technology *technology;

	if (!bridge) {
		return seen;
	}
	/*
	 * Only tried: with a channel locked, its bridge must not be waited for.  While it is
	 * locked the channel stays in it and the bridge keeps its technology.
	 */
	seen.busy = ao2_trylock(bridge);
	technology = bridge->technology;
	if (technology && technology->capabilities & AST_BRIDGE_CAPABILITY_MULTIMIX) {
		seen.mixer = bridge;
		if (!seen.busy && !strcmp(technology->name, "softmix")) {
			bridge_channel = ast_channel_get_bridge_channel(channel);
		}
		if (bridge_channel && bridge_channel->bridge == bridge) {
			seen.held_ns = softmix_holds_ns(bridge_channel);
		}
	}
	if (!seen.busy) {
		ao2_unlock(bridge);
	}
	ao2_cleanup(bridge_channel);
	ao2_ref(bridge, -1);
	return seen;
}

/*! \brief Tell the ledger whether the channel is in a mixer; frame queue locked */
static void follow_mixer(struct playback_channel *playback,
	const struct ast_bridge *mixer, int64_t time_ns)
{
	if (mixer != playback->mixer) {
		/* Out of one that mixes into another is out of the first one, too */
		playback_ledger_mixing(&playback->ledger, 0, time_ns);
		playback->mixer = mixer;
	}
	playback_ledger_mixing(&playback->ledger, mixer != NULL, time_ns);
}

/*! \brief Tell the ledger what the mixer holds, if that was seen; frame queue locked */
static void follow_held(struct playback_channel *playback, const struct seen *seen,
	int64_t time_ns)
{
	if (seen->held_ns >= 0) {
		playback_ledger_mixer_holds(&playback->ledger, seen->held_ns, time_ns);
	}
}

/*! \brief Enter a frame into the ledger; the frame to be returned in its place */
static struct ast_frame *take_frame(struct playback_channel *playback,
	struct ast_frame *frame)
{
	struct playback_frame taken = { .media = frame_media(playback, frame), };
	struct seen seen = look_at_bridge(playback->driver.channel);

	taken.taken_ns = now_ns();
	if (playback->marked && taken.media.bytes
		&& taken.media.bytes < playback->driver.frame_size) {
		frame = pad_frame(playback, frame);
	}
	taken.frame_ns = frame_media(playback, frame).ns;
	ast_mutex_lock(playback->driver.lock);
	if (seen.busy) {
		/* It waits until the bridge is free, and may find that it has changed */
		playback->on_the_way = taken;
		playback->is_on_the_way = 1;
	} else {
		follow_mixer(playback, seen.mixer, taken.taken_ns);
		follow_held(playback, &seen, taken.taken_ns);
		playback_ledger_taken(&playback->ledger, taken.media, taken.frame_ns,
			taken.taken_ns);
	}
	ast_mutex_unlock(playback->driver.lock);
	return frame;
}

/*!
 * \brief Enter the frame into the ledger that was on its way to a busy bridge
 *
 * The thread that was given it is back, so the bridge has it.
 */
static void frame_arrived(struct playback_channel *playback)
{
	const struct playback_frame *taken = &playback->on_the_way;
	struct seen seen;
	int64_t time_ns;

	if (!playback->is_on_the_way) {
		return;
	}
	seen = look_at_bridge(playback->driver.channel);
	time_ns = now_ns();
	ast_mutex_lock(playback->driver.lock);
	playback->is_on_the_way = 0;
	follow_mixer(playback, seen.mixer, time_ns);
	/* A mixer may have had a round before it got this frame */
	playback_ledger_taken(&playback->ledger, taken->media, taken->frame_ns,
		seen.mixer ? time_ns : taken->taken_ns);
	ast_mutex_unlock(playback->driver.lock);
}

/*! \brief The driver had no frame for the core */
static void miss_frame(struct playback_channel *playback)
{
	struct seen seen = { .held_ns = -1, };
	int64_t time_ns;

	if (playback->mixer) {
		/* Only a channel that was in a mixing bridge may have left audio held there */
		seen = look_at_bridge(playback->driver.channel);
	}
	time_ns = now_ns();
	ast_mutex_lock(playback->driver.lock);
	follow_mixer(playback, seen.mixer, time_ns);
	follow_held(playback, &seen, time_ns);
	if (!*playback->driver.paused) {
		playback_ledger_starved(&playback->ledger);
	}
	ast_mutex_unlock(playback->driver.lock);
}

/*!
 * \brief Whether somebody hears what is read from the channel
 *
 * A channel that Dial has called is answered some milliseconds after MEDIA_START, and
 * read by Dial until then and by its bridge before the caller is in it.  Later it is the
 * dialplan's business who hears it.
 */
static int is_heard(struct playback_channel *playback)
{
	struct ast_channel *channel = playback->driver.channel;
	struct ast_bridge *bridge;
	int heard;

	if (playback->driver.no_auto_answer) {
		return 1;
	}
	if (ast_channel_state(channel) != AST_STATE_UP) {
		return 0;
	}
	if (!ast_begins_with(S_OR(ast_channel_appl(channel), ""), "AppDial")) {
		return 1;
	}
	bridge = ast_channel_get_bridge(channel);
	heard = bridge && bridge->num_channels > 1;
	ao2_cleanup(bridge);
	return heard;
}

/*! \brief Pause media that nobody would hear yet, for a while at most */
static void wait_for_peer(struct playback_channel *playback)
{
	if (!playback->waiting_since_ns) {
		playback->waiting_since_ns = now_ns();
	}
	playback->ready = is_heard(playback)
		|| now_ns() - playback->waiting_since_ns > WAIT_FOR_PEER_NS;
	if (!playback->ready) {
		playback->was_paused = *playback->driver.paused;
		*playback->driver.paused = 1;
	}
}

/*! \brief Keep that end of the partial frame from being read which must not play now */
static void keep_partial(struct playback_channel *playback)
{
	playback->kept = *playback->driver.paused
		? *playback->driver.partial_bytes : half_sample(playback);
	*playback->driver.partial_bytes -= playback->kept;
	playback->kept_at = *playback->driver.partial_bytes;
}

/*! \brief Undo keep_partial(); what was before it may have been read by now */
static void restore_partial(struct playback_channel *playback)
{
	if (playback->kept && *playback->driver.partial_bytes != playback->kept_at) {
		memmove(playback->driver.partial, playback->driver.partial + playback->kept_at,
			playback->kept);
	}
	*playback->driver.partial_bytes += playback->kept;
	playback->kept = 0;
}

void playback_read_begin(struct playback_channel *playback, int tick)
{
	frame_arrived(playback);
	if (tick && !playback->ready) {
		wait_for_peer(playback);
	}
	if (tick) {
		keep_partial(playback);
	}
	playback->reader = pthread_self();
	playback->reading = 1;
}

struct ast_frame *playback_read_end(struct playback_channel *playback,
	struct ast_websocket *websocket, struct ast_frame *frame, int tick)
{
	int64_t due_ns;

	playback->reading = 0;
	restore_partial(playback);
	if (tick && !playback->ready) {
		*playback->driver.paused = playback->was_paused;
	}
	if (frame && frame->frametype == AST_FRAME_VOICE) {
		frame = take_frame(playback, frame);
		check_balance(playback);
		if (playback->timer_fd >= 0 && !playback->outbox_length) {
			/* What is due waits for the timer: nothing is written before the frame */
			ast_mutex_lock(playback->driver.lock);
			due_ns = next_due_ns(playback);
			ast_mutex_unlock(playback->driver.lock);
			if (playback->stuck_since_ns) {
				due_ns = MAX(due_ns, now_ns() + RETRY_NS);
			}
			arm_timer(playback, due_ns);
			return frame;
		}
	} else if (tick) {
		miss_frame(playback);
	}
	check_balance(playback);
	send_due(playback, websocket);
	return frame;
}

int playback_write(struct playback_channel *playback,
	struct ast_websocket *websocket, struct ast_frame *frame)
{
	struct seen seen;
	int64_t time_ns;
	int64_t due_ns;

	if (frame->frametype != AST_FRAME_VOICE) {
		return 1;
	}
	frame_arrived(playback);
	/* What waits comes first; a channel that hears only has no tick to send it */
	send_kept(playback, websocket, playback->outbox_length > OUTBOX_MAX);
	if (playback->mixer) {
		seen = look_at_bridge(playback->driver.channel);
		time_ns = now_ns();
		ast_mutex_lock(playback->driver.lock);
		if (seen.mixer == playback->mixer) {
			/* In a bridge that ceased to mix the frame may be the caller's, no round */
			playback_ledger_mixed(&playback->ledger,
				duration_ns(frame->subclass.format, frame->samples), time_ns);
		}
		follow_mixer(playback, seen.mixer, time_ns);
		follow_held(playback, &seen, time_ns);
		due_ns = next_due_ns(playback);
		ast_mutex_unlock(playback->driver.lock);
		if (!playback->stuck_since_ns && !playback->outbox_length) {
			arm_timer(playback, due_ns);
		}
	}
	return can_write(playback, websocket);
}

void playback_hangup(struct playback_channel *playback,
	struct ast_websocket *websocket)
{
	char event[PLAYBACK_EVENT_MAX];

	playback->ending = 1;
	ast_mutex_lock(playback->driver.lock);
	if (playback->is_on_the_way) {
		/* Out of its bridge by now: what a mixer holds at hang-up counts as flushed */
		playback->is_on_the_way = 0;
		playback_ledger_taken(&playback->ledger, playback->on_the_way.media,
			playback->on_the_way.frame_ns, playback->on_the_way.taken_ns);
	}
	ast_mutex_unlock(playback->driver.lock);
	send_kept(playback, websocket, 1);
	send_answers(playback, websocket, INT_MAX, 1);
	ast_mutex_lock(playback->driver.lock);
	playback_ledger_flush(&playback->ledger, PLAYBACK_HUNGUP, now_ns());
	ast_mutex_unlock(playback->driver.lock);
	send_answers(playback, websocket, INT_MAX, 1);
	if (playback->asked) {
		send_losses(playback, websocket, 1);
		if (format_report(playback, event, sizeof(event), 1)) {
			write_event(playback, websocket, event);
		}
	}
}

static char *complete_name(const char *word, int n)
{
	struct playback_channel *playback;
	char *found = NULL;
	int which = 0;

	AST_RWLIST_RDLOCK(&channels);
	AST_RWLIST_TRAVERSE(&channels, playback, entry) {
		if (!strncasecmp(word, playback->name, strlen(word)) && ++which > n) {
			found = ast_strdup(playback->name);
			break;
		}
	}
	AST_RWLIST_UNLOCK(&channels);
	return found;
}

#define ROW_FORMAT "%-40.40s %12s %12s %10s %10s %10s %6s %9s\n"
#define ROW_VALUES "%-40.40s %12" PRIu64 " %12" PRIu64 " %10" PRIu64 " %10" PRIu64 \
	" %10" PRIu64 " %6u %9" PRIu64 "\n"

static char *handle_show_playback(struct ast_cli_entry *entry, int command,
	struct ast_cli_args *a)
{
	struct playback_channel *playback;
	struct playback_snapshot snapshot;
	int count = 0;

	switch (command) {
	case CLI_INIT:
		entry->command = "websocket show playback";
		entry->usage =
			"Usage: websocket show playback [<channel>]\n"
			"       Shows for all WebSocket channels, or for one, how many bytes of\n"
			"       media were received from the application and played, are queued,\n"
			"       were flushed and were dropped, how many marks are pending, and\n"
			"       how often there was nothing to play though more was to come.\n";
		return NULL;
	case CLI_GENERATE:
		return a->pos == entry->args ? complete_name(a->word, a->n) : NULL;
	}
	if (a->argc > entry->args + 1) {
		return CLI_SHOWUSAGE;
	}
	ast_cli(a->fd, ROW_FORMAT, "Channel", "Received", "Played", "Queued", "Flushed",
		"Dropped", "Marks", "Underruns");
	AST_RWLIST_RDLOCK(&channels);
	AST_RWLIST_TRAVERSE(&channels, playback, entry) {
		if (a->argc > entry->args && strcasecmp(a->argv[entry->args], playback->name)) {
			continue;
		}
		snapshot = take_snapshot(playback);
		ast_cli(a->fd, ROW_VALUES, playback->name, snapshot.received,
			snapshot.played.bytes, snapshot.queued.bytes, snapshot.flushed,
			snapshot.dropped, snapshot.marks, snapshot.underruns);
		count++;
	}
	AST_RWLIST_UNLOCK(&channels);
	if (a->argc > entry->args && !count) {
		ast_cli(a->fd, "No WebSocket channel '%s'\n", a->argv[entry->args]);
		return CLI_FAILURE;
	}
	ast_cli(a->fd, "%d WebSocket channel%s\n", count, ESS(count));
	return CLI_SUCCESS;
}

static struct ast_cli_entry cli[] = {
	AST_CLI_DEFINE(handle_show_playback, "Show the playback of WebSocket channels"),
};

void playback_load(void)
{
	ast_cli_register_multiple(cli, ARRAY_LEN(cli));
	playback_test_register();
}

void playback_unload(void)
{
	playback_test_unregister();
	ast_cli_unregister_multiple(cli, ARRAY_LEN(cli));
}
