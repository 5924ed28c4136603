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

#ifndef PLAYBACK_ACK_H
#define PLAYBACK_ACK_H

#include "playback_arguments.h"
#include "playback_ledger.h"

/*! \brief Pending marks a channel may have by default: 40 s of a mark for each frame */
#define PLAYBACK_MARKS_MAX 2048

/*!
 * \brief Memory a pending mark takes without its id, in bytes, with pointers of 64 bits
 *
 * All that a mark costs is this, its id (1 to 64 bytes) and a NUL, in one allocation,
 * from MARK until its acknowledgement is written.  So a channel's marks take at most
 * PLAYBACK_MARKS_MAX * (72 + 64 + 1) bytes: 274 KiB.
 */
#define PLAYBACK_ACK_BYTES 72

/*! \brief A flush that is acknowledged when it is known what was sent before it */
struct playback_pending_flush {
	/*! The FLUSH_MEDIA command's id */
	struct playback_id id;
	/*! What had been delivered when it came */
	struct playback_media delivered;
	/*! What it removed */
	struct playback_media flushed;
};

/*! \brief A mark and what is sent for it, or an event that is ordered among the marks */
struct playback_ack {
	/*! First, so that what comes out of the ledger is its acknowledgement */
	struct playback_mark mark;
	/*! \c text is a whole event, not the id of a mark */
	unsigned int is_event:1;
	/*! \c text is a struct playback_pending_flush */
	unsigned int is_flush:1;
	/*! See struct playback_id */
	unsigned int id_is_integer:1;
	/*! The mark's id or the event, NUL terminated */
	char text[0];
};

/*! \brief A new acknowledgement for a mark with this id, NULL without memory */
struct playback_ack *playback_ack_of_mark(const struct playback_id *id);

/*! \brief A new acknowledgement that sends this event, NULL without memory */
struct playback_ack *playback_ack_of_event(const char *event);

/*! \brief A new acknowledgement of a flush, NULL without memory */
struct playback_ack *playback_ack_of_flush(const struct playback_pending_flush *flush);

/*! \brief The flush that it acknowledges */
struct playback_pending_flush playback_ack_flush(const struct playback_ack *ack);

/*! \brief The mark's id, as it was given */
struct playback_id playback_ack_id(const struct playback_ack *ack);

#endif /* PLAYBACK_ACK_H */
