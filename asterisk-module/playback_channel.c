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
 * \brief One WebSocket channel's playback: its ledger, its pending answers and their
 * timer
 */

#include "asterisk.h"

#include <time.h>
#ifdef HAVE_TIMERFD
#include <sys/timerfd.h>
#endif

#include "asterisk/format.h"
#include "asterisk/format_cache.h"
#include "asterisk/frame.h"
#include "asterisk/logger.h"
#include "asterisk/strings.h"
#include "asterisk/utils.h"

#include "playback_channel.h"

#define MARK_COMMAND "MARK"

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

/*! \brief Something to send when its mark is due; its size follows its text */
struct answer {
	/*! First, so that a mark is its answer */
	struct playback_mark mark;
	/*! \c text is the whole event of an older command, not the id of a mark */
	unsigned int is_note:1;
	/*! See struct playback_id */
	unsigned int id_is_integer:1;
	/*! The mark's id or the note's text */
	char text[0];
};

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

void playback_channel_init(struct playback_channel *playback, struct ast_channel *channel,
	ast_mutex_t *lock, struct ast_format *format, size_t frame_size, int json)
{
	playback_ledger_init(&playback->ledger,
		ast_format_get_default_ms(format) * NS_PER_MS);
	playback->channel = channel;
	playback->lock = lock;
	playback->media_format = format;
	playback->frame_size = frame_size;
	playback->format.json = json;
	playback->format.channel_id = ast_channel_uniqueid(channel);
	playback->timer_fd = -1;
	playback->timer_due_ns = PLAYBACK_NEVER;
}

void playback_channel_destroy(struct playback_channel *playback)
{
	struct playback_mark *mark;

	if (!playback->channel) {
		return;
	}
	playback_ledger_flush(&playback->ledger, PLAYBACK_HUNGUP, 0);
	while ((mark = playback_ledger_pop(&playback->ledger, PLAYBACK_NEVER))) {
		ast_free(mark);
	}
	if (playback->timer_fd >= 0) {
		close(playback->timer_fd);
	}
}

void playback_channel_received(struct playback_channel *playback, size_t bytes)
{
	SCOPED_MUTEX(lock, playback->lock);

	playback_ledger_received(&playback->ledger, bytes);
}

void playback_channel_dropped(struct playback_channel *playback, size_t bytes)
{
	SCOPED_MUTEX(lock, playback->lock);

	playback_ledger_dropped(&playback->ledger, bytes);
}

void playback_channel_flushed(struct playback_channel *playback)
{
	playback->notes_queued = 0;
	playback_ledger_flush(&playback->ledger, PLAYBACK_FLUSHED, now_ns());
}

int playback_channel_wants_partial(struct playback_channel *playback,
	size_t partial_bytes)
{
	return playback_ledger_wants_partial(&playback->ledger, partial_bytes);
}

/*! \brief Open the timer at the channel's first mark; without one the ticks have to do */
static void open_timer(struct playback_channel *playback)
{
	playback->marked = 1;
#ifdef HAVE_TIMERFD
	if (playback->timer_fd < 0) {
		playback->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
		if (playback->timer_fd < 0) {
			ast_log(LOG_WARNING, "%s: No timer for marks (%s): they are answered on "
				"the next media tick\n", ast_channel_name(playback->channel),
				strerror(errno));
			return;
		}
		ast_channel_set_fd(playback->channel, PLAYBACK_TIMER_FDNO, playback->timer_fd);
	}
#endif
}

/*! \brief Wake the channel at \a due_ns, not before; frame queue not locked */
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
		timer.it_value.tv_nsec = due_ns % NS_PER_S;
	}
	if (timerfd_settime(playback->timer_fd, TFD_TIMER_ABSTIME, &timer, NULL)) {
		ast_log(LOG_ERROR, "%s: Unable to set the timer for marks: %s\n",
			ast_channel_name(playback->channel), strerror(errno));
		return;
	}
	playback->timer_due_ns = due_ns;
#endif
}

static void send_text(struct playback_channel *playback, struct ast_websocket *websocket,
	const char *text)
{
	if (!websocket) {
		return;
	}
	if (ast_websocket_write_string(websocket, text)) {
		ast_log(LOG_ERROR, "%s: Unable to send event %s\n",
			ast_channel_name(playback->channel), text);
	} else {
		ast_debug(3, "%s: Sent %s\n", ast_channel_name(playback->channel), text);
	}
}

static void send_mark(struct playback_channel *playback, struct ast_websocket *websocket,
	const char *id_text, int id_is_integer, const struct playback_mark *mark)
{
	char event[PLAYBACK_EVENT_MAX];
	struct playback_id id = { .is_integer = id_is_integer, };

	ast_copy_string(id.text, id_text, sizeof(id.text));
	if (playback_event_mark(event, sizeof(event), &playback->format, &id, mark,
		unix_us(mark->due_ns))) {
		send_text(playback, websocket, event);
	}
}

static void send_error(struct playback_channel *playback, struct ast_websocket *websocket,
	const char *command, const char *text)
{
	char event[PLAYBACK_EVENT_MAX];

	ast_debug(3, "%s: %s: %s\n", ast_channel_name(playback->channel), command, text);
	if (playback_event_error(event, sizeof(event), &playback->format, command, NULL,
		text)) {
		send_text(playback, websocket, event);
	}
}

static void send_answer(struct playback_channel *playback,
	struct ast_websocket *websocket, const struct answer *answer)
{
	if (!answer->is_note) {
		send_mark(playback, websocket, answer->text, answer->id_is_integer,
			&answer->mark);
	} else if (answer->mark.outcome == PLAYBACK_PLAYED) {
		send_text(playback, websocket, answer->text);
	}
}

/*! \brief The next answer that is due, for the caller to free */
static struct answer *next_answer(struct playback_channel *playback, int64_t *due_ns)
{
	struct playback_mark *mark;
	SCOPED_MUTEX(lock, playback->lock);

	mark = playback_ledger_pop(&playback->ledger, now_ns());
	*due_ns = playback_ledger_next_due(&playback->ledger);
	return (struct answer *) mark;
}

/*! \brief Send at most \a most of the answers that are due, wake up for the next one */
static void send_due(struct playback_channel *playback, struct ast_websocket *websocket,
	int most)
{
	struct answer *answer;
	int64_t due_ns;

	while ((answer = next_answer(playback, &due_ns))) {
		send_answer(playback, websocket, answer);
		ast_free(answer);
		if (!--most) {
			due_ns = MAX(due_ns, now_ns() + ANSWERS_PAUSE_NS);
			break;
		}
	}
	arm_timer(playback, due_ns);
}

/*! \brief An answer with its text, NULL if there is no memory */
static struct answer *new_answer(const char *text)
{
	struct answer *answer = ast_calloc(1, sizeof(*answer) + strlen(text) + 1);

	if (answer) {
		strcpy(answer->text, text); /* Safe */
	}
	return answer;
}

int playback_channel_note_queued(struct playback_channel *playback)
{
	SCOPED_MUTEX(lock, playback->lock);

	open_timer(playback);
	if (playback->notes_queued >= PLAYBACK_MARKS_MAX) {
		ast_log(LOG_WARNING, "%s: %d answers are pending, ignoring this command\n",
			ast_channel_name(playback->channel), PLAYBACK_MARKS_MAX);
		return -1;
	}
	playback->notes_queued++;
	playback_ledger_note_queued(&playback->ledger);
	return 0;
}

void playback_channel_note(struct playback_channel *playback, const char *text,
	size_t bytes_ahead)
{
	struct answer *note = new_answer(text);
	SCOPED_MUTEX(lock, playback->lock);

	playback->notes_queued--;
	if (!note) {
		return;
	}
	note->is_note = 1;
	playback_ledger_note(&playback->ledger, &note->mark, bytes_ahead, now_ns());
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
	SCOPED_MUTEX(lock, playback->lock);

	open_timer(playback);
	if (playback->ledger.pending >= PLAYBACK_MARKS_MAX) {
		return -1;
	}
	answer = new_answer(id->text);
	if (!answer) {
		return -1;
	}
	answer->id_is_integer = id->is_integer;
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

	ast_mutex_lock(playback->lock);
	mark.offset = playback->ledger.received;
	ast_mutex_unlock(playback->lock);
	send_mark(playback, websocket, id->text, id->is_integer, &mark);
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

int playback_channel_command(struct playback_channel *playback,
	struct ast_websocket *websocket, const char *command, const char *arguments,
	struct ast_json *json, int accepts_media)
{
	struct playback_id id;

	if (!ast_strings_equal(command, MARK_COMMAND)) {
		return 0;
	}
	playback->asked = 1;
	if (command_id(&id, arguments, json)) {
		send_error(playback, websocket, command, json
			? "MARK needs \"id\": a string of 1 to 64 bytes or an integer"
			: "MARK needs id=<1 to 64 printable ASCII characters without space>");
		return 1;
	}
	if (add_mark(playback, &id, accepts_media ? PLAYBACK_WAITING : PLAYBACK_DIRECTION)) {
		refuse_mark(playback, websocket, &id);
	}
	return 1;
}

/*! \brief The byte that is silence in a format, -1 where no single byte is */
static int silence_byte(const struct ast_format *format)
{
	if (ast_format_cmp(format, ast_format_ulaw) == AST_FORMAT_CMP_EQUAL) {
		return 0xff;
	}
	if (ast_format_cmp(format, ast_format_alaw) == AST_FORMAT_CMP_EQUAL) {
		return 0xd5;
	}
	return ast_format_cache_is_slinear((struct ast_format *) format) ? 0 : -1;
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
	int silence = silence_byte(playback->media_format);
	struct ast_frame full = *frame;
	struct ast_frame *padded;
	char *data;

	if (silence < 0) {
		return frame;
	}
	data = ast_alloca(AST_FRIENDLY_OFFSET + playback->frame_size);
	memset(data, silence, AST_FRIENDLY_OFFSET + playback->frame_size);
	memcpy(data + AST_FRIENDLY_OFFSET, frame->data.ptr, frame->datalen); /* Safe */
	full.mallocd = 0;
	full.src = NULL;
	full.offset = AST_FRIENDLY_OFFSET;
	full.data.ptr = data + AST_FRIENDLY_OFFSET;
	full.datalen = playback->frame_size;
	full.samples = frame->samples * full.datalen / frame->datalen;
	padded = ast_frdup(&full);
	if (!padded) {
		return frame;
	}
	ast_frfree(frame);
	return padded;
}

struct ast_frame *playback_channel_read(struct playback_channel *playback,
	struct ast_websocket *websocket, struct ast_frame *frame)
{
	int64_t media_ns;
	int64_t due_ns;
	size_t bytes;

	if (!frame || frame->frametype != AST_FRAME_VOICE) {
		send_due(playback, websocket, ANSWERS_AT_ONCE);
		return frame;
	}

	bytes = frame->datalen;
	media_ns = duration_ns(playback->media_format, frame->samples);
	if (playback->marked && bytes && bytes < playback->frame_size) {
		frame = pad_frame(playback, frame);
	}
	ast_mutex_lock(playback->lock);
	playback_ledger_handed(&playback->ledger, bytes, media_ns,
		duration_ns(playback->media_format, frame->samples), now_ns());
	due_ns = playback_ledger_next_due(&playback->ledger);
	ast_mutex_unlock(playback->lock);

	if (playback->timer_fd < 0) {
		send_due(playback, websocket, ANSWERS_AT_ONCE);
	} else {
		/* What is due already waits for the timer: nothing is written before the frame */
		arm_timer(playback, due_ns);
	}
	return frame;
}

void playback_channel_hangup(struct playback_channel *playback,
	struct ast_websocket *websocket)
{
	send_due(playback, websocket, INT_MAX);
	ast_mutex_lock(playback->lock);
	playback_ledger_flush(&playback->ledger, PLAYBACK_HUNGUP, now_ns());
	ast_mutex_unlock(playback->lock);
	send_due(playback, websocket, INT_MAX);
}
