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
	/* What has left by now need not be waited for */
	playback_find_peer(playback);
	if (playback_command_id(&playback->flush_id, arguments, json)) {
		playback_send_error(playback, FLUSH_COMMAND, "FLUSH_MEDIA takes an id of 1 to 64 "
			"bytes; nothing was flushed");
		return PLAYBACK_FLUSH_REFUSED;
	}
	return PLAYBACK_FLUSH_ACKNOWLEDGED;
}

/*!
 * \brief Have MEDIA_FLUSHED sent after the acknowledgements of all marks so far, when it is
 * known what was sent; ledger locked
 *
 * \retval 0 success
 * \retval -1 too many such events are pending, or there is no memory
 */
static int order_flushed(struct playback_channel *playback,
	const struct playback_pending_flush *flush)
{
	struct playback_ack *ack;

	if (playback_ledger_ordered_events(playback->ledger) >= PLAYBACK_OUTBOX_MAX) {
		return -1;
	}
	ack = playback_ack_of_flush(flush);
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
	struct playback_pending_flush flush = { .flushed = flushed, };
	char event[PLAYBACK_EVENT_MAX];
	int ordered;

	if (!playback->flush_id.text[0]) {
		return;
	}
	flush.id = playback->flush_id;
	ast_mutex_lock(&playback->lock);
	flush.delivered = playback_ledger_delivered_media(playback->ledger);
	ordered = !order_flushed(playback, &flush);
	ast_mutex_unlock(&playback->lock);
	if (!ordered && playback_format_flushed(playback, event, sizeof(event), &flush,
		flush.delivered)) {
		/* No room to let it wait for those before it */
		playback_outbox_append(&playback->outbox, event);
	}
}
