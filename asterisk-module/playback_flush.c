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
 * \brief FLUSH_MEDIA with an id, and MEDIA_FLUSHED that acknowledges it
 */

#include "asterisk.h"

#include "asterisk/strings.h"

#include "playback_commands.h"
#include "playback_flush.h"

#define FLUSH_COMMAND "FLUSH_MEDIA"

enum playback_flush_action playback_flush(struct playback_channel *playback,
	const char *arguments, struct ast_json *json)
{
	playback->flush_id.text[0] = '\0';
	/* What is not our form is flushed as ever: today's clients may send anything there */
	if (json ? !ast_json_object_get(json, "id")
		: !arguments || !ast_begins_with(arguments, "id=")) {
		return PLAYBACK_FLUSH_PLAIN;
	}
	playback_opt_in(playback);
	if (playback_command_id(&playback->flush_id, arguments, json)) {
		playback_send_error(playback, FLUSH_COMMAND, "FLUSH_MEDIA takes an id of 1 to 64 "
			"bytes; nothing was flushed");
		return PLAYBACK_FLUSH_REFUSED;
	}
	return PLAYBACK_FLUSH_ACKNOWLEDGED;
}

/*! \brief The text of MEDIA_FLUSHED; the ledger, which has been flushed, is locked */
static size_t format_flushed(struct playback_channel *playback, char *event, size_t size,
	struct playback_media flushed)
{
	const struct playback_ack *last;
	struct playback_id last_id = playback->last_mark;
	struct playback_flush_result flush = {
		.played = playback_ledger_delivered_media(playback->ledger),
		.flushed = flushed,
	};

	last = (const struct playback_ack *) playback_ledger_last_delivered(playback->ledger);
	if (last && last->mark.offset < playback->last_mark_offset) {
		/* It was set late, behind others that have been played */
		last = NULL;
	}
	if (last) {
		last_id = playback_ack_id(last);
	}
	if (last || playback->has_last_mark) {
		flush.last_mark = &last_id;
		flush.since_mark_ns = flush.played.ns
			- (last ? last->mark.media_ns : playback->last_mark_ns);
	}
	return playback_event_flushed(event, size, &playback->style, &playback->flush_id,
		&flush);
}

/*!
 * \brief Have an event sent after the acknowledgements of all marks so far; ledger locked
 * \retval 0 success
 * \retval -1 too many such events are pending, or there is no memory
 */
static int order_event(struct playback_channel *playback, const char *event)
{
	struct playback_ack *ack;

	if (playback_ledger_ordered_events(playback->ledger) >= PLAYBACK_OUTBOX_MAX) {
		return -1;
	}
	ack = playback_ack_of_event(event);
	if (!ack) {
		return -1;
	}
	playback_ledger_mark(playback->ledger, &ack->mark, PLAYBACK_ORDERED_EVENT,
		playback_now_ns());
	return 0;
}

void playback_flush_ack(struct playback_channel *playback,
	struct playback_media flushed)
{
	char event[PLAYBACK_EVENT_MAX];
	int ordered;

	if (!playback->flush_id.text[0]) {
		return;
	}
	ast_mutex_lock(&playback->lock);
	ordered = !format_flushed(playback, event, sizeof(event), flushed)
		|| !order_event(playback, event);
	ast_mutex_unlock(&playback->lock);
	if (!ordered) {
		/* No room to let it wait for those before it */
		playback_outbox_append(&playback->outbox, event);
	}
}
