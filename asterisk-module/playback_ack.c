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

static struct playback_ack *ack_new(const void *text, size_t size)
{
	struct playback_ack *ack = ast_calloc(1, sizeof(*ack) + size);

	if (ack) {
		memcpy(ack->text, text, size); /* Safe */
	}
	return ack;
}

struct playback_ack *playback_ack_of_mark(const struct playback_id *id)
{
	struct playback_ack *ack = ack_new(id->text, strlen(id->text) + 1);

	if (ack) {
		ack->id_is_integer = id->is_integer;
	}
	return ack;
}

struct playback_ack *playback_ack_of_event(const char *event)
{
	struct playback_ack *ack = ack_new(event, strlen(event) + 1);

	if (ack) {
		ack->is_event = 1;
	}
	return ack;
}

struct playback_ack *playback_ack_of_flush(const struct playback_pending_flush *flush)
{
	struct playback_ack *ack = ack_new(flush, sizeof(*flush));

	if (ack) {
		ack->is_flush = 1;
	}
	return ack;
}

struct playback_pending_flush playback_ack_flush(const struct playback_ack *ack)
{
	struct playback_pending_flush flush;

	memcpy(&flush, ack->text, sizeof(flush)); /* Safe */
	return flush;
}

struct playback_id playback_ack_id(const struct playback_ack *ack)
{
	struct playback_id id = { .is_integer = ack->id_is_integer, };

	ast_copy_string(id.text, ack->text, sizeof(id.text));
	return id;
}
