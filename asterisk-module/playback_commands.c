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
 * \brief The application's commands MARK and REPORT_PLAYBACK carried out
 */

#include "asterisk.h"

#include "asterisk/json.h"
#include "asterisk/logger.h"
#include "asterisk/strings.h"
#include "asterisk/utils.h"

#include "playback_commands.h"

#define MARK_COMMAND "MARK"
#define REPORT_COMMAND "REPORT_PLAYBACK"

void playback_opt_in(struct playback_channel *playback)
{
	playback->opted_in = 1;
	playback_timer_open(&playback->timer);
}

void playback_send_error(struct playback_channel *playback, const char *command,
	const char *text)
{
	char event[PLAYBACK_EVENT_MAX];

	ast_debug(3, "%s: %s: %s\n", playback->name, S_OR(command, ""), text);
	if (playback_event_error(event, sizeof(event), &playback->style, command, text)) {
		playback_outbox_append(&playback->outbox, event);
	}
}

int playback_command_id(struct playback_id *id, const char *arguments,
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

/*!
 * \brief Take id and offset out of a MARK
 * \retval 0 success
 * \retval -1 either is not valid
 */
static int mark_arguments(struct playback_id *id, int64_t *offset, const char *arguments,
	struct ast_json *json)
{
	struct ast_json *value;

	if (!json) {
		return playback_mark_from_plain(id, offset, arguments);
	}
	*offset = PLAYBACK_OFFSET_NONE;
	value = ast_json_object_get(json, "offset");
	if (value && (ast_json_typeof(value) != AST_JSON_INTEGER
		|| playback_offset_from_integer(offset, ast_json_integer_get(value)))) {
		return -1;
	}
	return playback_command_id(id, NULL, json);
}

/*!
 * \brief Enter a mark into the ledger
 * \retval 0 success
 * \retval -1 too many are pending, its offset is too far back, or there is no memory
 */
static int add_mark(struct playback_channel *playback, const struct playback_id *id,
	int64_t offset, enum playback_outcome outcome)
{
	struct playback_ack *ack;
	int64_t now_ns = playback_now_ns();
	SCOPED_MUTEX(lock, &playback->lock);

	if (playback_ledger_marks(playback->ledger) >= playback->driver.marks_max) {
		return -1;
	}
	ack = playback_ack_of_mark(id);
	if (!ack) {
		return -1;
	}
	if (offset == PLAYBACK_OFFSET_NONE) {
		playback_update_half_sample(playback);
		playback_ledger_mark(playback->ledger, &ack->mark, outcome, now_ns);
	} else if (playback_ledger_mark_at(playback->ledger, &ack->mark, offset, outcome,
		now_ns)) {
		ast_free(ack);
		return -1;
	}
	return 0;
}

/*! \brief A mark that cannot be kept is discarded at once, ahead of those before it */
static void refuse_mark(struct playback_channel *playback,
	struct ast_websocket *websocket, const struct playback_id *id, int64_t offset)
{
	struct playback_mark mark = {
		.offset = offset == PLAYBACK_OFFSET_NONE
			? playback_get_counts(playback).received : offset,
		.outcome = PLAYBACK_LIMIT,
		.stage = playback_get_counts(playback).stage,
		.due_ns = playback_now_ns(),
	};

	playback_write_mark(playback, websocket, id, &mark);
}

static void mark_command(struct playback_channel *playback,
	struct ast_websocket *websocket, const char *arguments, struct ast_json *json,
	int accepts_media)
{
	struct playback_id id;
	int64_t offset;

	if (mark_arguments(&id, &offset, arguments, json)) {
		playback_send_error(playback, MARK_COMMAND, json
			? "MARK needs \"id\": a string of 1 to 64 bytes or an integer; it takes "
				"\"offset\": an integer from 0 to 9007199254740991"
			: "MARK needs id=<1 to 64 printable ASCII characters without space>; it "
				"takes offset=<0 to 9007199254740991> behind that");
		return;
	}
	if (offset != PLAYBACK_OFFSET_NONE || !playback_queued(playback).bytes) {
		/* What it waits for may have been sent by now */
		playback_find_peer(playback);
	}
	if (add_mark(playback, &id, offset,
		accepts_media ? PLAYBACK_WAITING : PLAYBACK_DIRECTION)) {
		refuse_mark(playback, websocket, &id, offset);
	}
}

/*! \brief Take the interval out of a REPORT_PLAYBACK */
static enum playback_interval command_interval(int *interval_ms, const char *arguments,
	struct ast_json *json)
{
	struct ast_json *value;

	if (!json) {
		return playback_interval_from_plain(interval_ms, arguments);
	}
	value = ast_json_object_get(json, "interval_ms");
	if (!value) {
		return PLAYBACK_INTERVAL_NONE;
	}
	return ast_json_typeof(value) == AST_JSON_INTEGER
		? playback_interval_from_integer(interval_ms, ast_json_integer_get(value))
		: PLAYBACK_INTERVAL_INVALID;
}

/*! \brief Send one PLAYBACK event, behind those that wait */
static void report_once(struct playback_channel *playback)
{
	struct playback_report_content content;
	char event[PLAYBACK_EVENT_MAX];

	playback_find_peer(playback);
	content = playback_get_report(playback);
	if (playback_event_playback(event, sizeof(event), &playback->style,
		&content.counts, &content.far_end, content.paused, 0,
		playback_unix_us(playback_now_ns()))) {
		playback_outbox_append(&playback->outbox, event);
	}
}

static void report_command(struct playback_channel *playback, const char *arguments,
	struct ast_json *json)
{
	struct playback_report_content content;
	int interval_ms;

	switch (command_interval(&interval_ms, arguments, json)) {
	case PLAYBACK_INTERVAL_NONE:
		report_once(playback);
		break;
	case PLAYBACK_INTERVAL_VALID:
		content = playback_get_report(playback);
		playback_report_start(&playback->report, interval_ms * NS_PER_MS, &content,
			playback_now_ns());
		break;
	case PLAYBACK_INTERVAL_INVALID:
		playback_send_error(playback, REPORT_COMMAND,
			"REPORT_PLAYBACK takes interval_ms: 0 or 20 to 3600000");
		break;
	}
}

/*! \brief Send ERROR about a command that nobody knows, with its word if it is one */
static void send_unknown(struct playback_channel *playback, const char *command,
	struct ast_json *json)
{
	struct playback_id word;
	const char *character;

	if (json && !command) {
		playback_send_error(playback, NULL, "Unknown command: there is no string "
			"\"command\"");
		return;
	}
	/* Plain text may be anything, also what cannot be written back: JSON is UTF-8 */
	for (character = command; !json && *character; character++) {
		if (*character <= ' ' || *character > '~') {
			command = "";
			break;
		}
	}
	playback_send_error(playback, playback_id_from_string(&word, command)
		? NULL : word.text, "Unknown command");
}

int playback_command(struct playback_channel *playback,
	struct ast_websocket *websocket, const char *command, const char *arguments,
	struct ast_json *json, int accepts_media)
{
	if (ast_strings_equal(command, MARK_COMMAND)) {
		playback_opt_in(playback);
		mark_command(playback, websocket, arguments, json, accepts_media);
		return 1;
	}
	if (ast_strings_equal(command, REPORT_COMMAND)) {
		playback_opt_in(playback);
		report_command(playback, arguments, json);
		return 1;
	}
	if (playback->opted_in) {
		send_unknown(playback, command, json);
	}
	return 0;
}

void playback_too_long(struct playback_channel *playback, uint64_t length, size_t most)
{
	char text[128];

	if (playback->opted_in) {
		snprintf(text, sizeof(text), "Text message of %" PRIu64 " bytes ignored, "
			"at most %zu are accepted", length, most);
		playback_send_error(playback, NULL, text);
	}
}

void playback_too_big(struct playback_channel *playback, size_t most)
{
	char text[128];

	if (playback->opted_in) {
		snprintf(text, sizeof(text), "Message of more than %zu bytes: the connection ends",
			most);
		playback_send_error(playback, NULL, text);
	}
}
