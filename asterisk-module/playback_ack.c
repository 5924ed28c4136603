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
 * \brief A pending acknowledgement: what is sent when its mark is due
 */

#include "asterisk.h"

#include "asterisk/strings.h"
#include "asterisk/utils.h"

#include "playback_ack.h"

#ifdef __LP64__
_Static_assert(sizeof(struct playback_ack) == PLAYBACK_ACK_BYTES,
	"PLAYBACK_ACK_BYTES says what a pending mark takes");
#endif

static struct playback_ack *ack_new(const char *text)
{
	struct playback_ack *ack = ast_calloc(1, sizeof(*ack) + strlen(text) + 1);

	if (ack) {
		strcpy(ack->text, text); /* Safe */
	}
	return ack;
}

struct playback_ack *playback_ack_of_mark(const struct playback_id *id)
{
	struct playback_ack *ack = ack_new(id->text);

	if (ack) {
		ack->id_is_integer = id->is_integer;
	}
	return ack;
}

struct playback_ack *playback_ack_of_event(const char *event)
{
	struct playback_ack *ack = ack_new(event);

	if (ack) {
		ack->is_event = 1;
	}
	return ack;
}

struct playback_id playback_ack_id(const struct playback_ack *ack)
{
	struct playback_id id = { .is_integer = ack->id_is_integer, };

	ast_copy_string(id.text, ack->text, sizeof(id.text));
	return id;
}
