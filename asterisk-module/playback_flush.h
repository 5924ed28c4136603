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
 *
 * Called with the channel locked.
 */

#ifndef PLAYBACK_FLUSH_H
#define PLAYBACK_FLUSH_H

#include "asterisk/json.h"

#include "playback_channel.h"

/*! \brief What is to be done about a FLUSH_MEDIA */
enum playback_flush_action {
	/*! It has no id: flush as ever */
	PLAYBACK_FLUSH_PLAIN,
	/*! It has an id: flush, also in passthrough mode */
	PLAYBACK_FLUSH_ACKNOWLEDGED,
	/*! Its id is not valid: do not flush; an ERROR has been sent */
	PLAYBACK_FLUSH_REFUSED,
};

/*!
 * \brief FLUSH_MEDIA was received; frame queue not locked
 *
 * \param playback
 * \param arguments of a plain text command, what follows the word, may be NULL
 * \param json of a JSON command, the whole object
 */
enum playback_flush_action playback_flush(struct playback_channel *playback,
	const char *arguments, struct ast_json *json);

/*!
 * \brief Acknowledge the FLUSH_MEDIA that playback_flush() saw, if it had an id
 *
 * MEDIA_FLUSHED comes after the acknowledgements of the marks before it, and when it is
 * known what of the media before it was sent.
 *
 * \param playback its frame queue may be locked
 * \param flushed what playback_flushed() returned
 */
void playback_flush_ack(struct playback_channel *playback,
	struct playback_media flushed);

#endif /* PLAYBACK_FLUSH_H */
