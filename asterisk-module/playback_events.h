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
 * \brief Events formatted, in both control message formats: plain text and JSON
 *
 * No I/O, no allocation, no JSON library: the text of an event goes into the caller's
 * buffer. The functions that format return the length of the event without its
 * terminating NUL, 0 if the buffer is too small; PLAYBACK_EVENT_MAX is enough for every
 * event whose channel id is at most 150 bytes long, as Asterisk's are.
 */

#ifndef PLAYBACK_EVENTS_H
#define PLAYBACK_EVENTS_H

#include <stddef.h>
#include <stdint.h>

#include "playback_arguments.h"
#include "playback_ledger.h"

/*! \brief Buffer size for any event, in bytes */
#define PLAYBACK_EVENT_MAX 2048

/*! \brief How the events of a channel are written */
struct playback_event_style {
	/*! Non-zero for JSON, 0 for plain text */
	int json;
	/*! The channel's unique id */
	const char *channel_id;
};

/*!
 * \brief What the far end said in its latest RTCP report, in us; -1 for what is not known
 */
struct playback_far_end {
	/*! Round trip time between Asterisk and the far end */
	int64_t rtt_us;
	/*! Interarrival jitter (RFC 3550) of the packets that it received from Asterisk */
	int64_t jitter_us;
};

/*! \brief Why media waits: nobody can hear it */
enum playback_suspension {
	/*! It does not wait: somebody hears it, or that cannot be seen */
	PLAYBACK_NOT_SUSPENDED,
	/*! ARI has the channel, and has not put it into a bridge */
	PLAYBACK_UNBRIDGED,
	/*! Nobody else is in its bridge */
	PLAYBACK_ALONE,
	/*! Dial or Queue has called it, and does something before it is bridged */
	PLAYBACK_DIAL,
	/*! It calls another party, or has one in its bridge, that has not answered */
	PLAYBACK_RINGING,
	/*! It has not been answered, and its early media is not passed on or sent */
	PLAYBACK_UNANSWERED,
	/*! It is in a holding bridge, where only the announcer is heard */
	PLAYBACK_HOLDING,
	/*! It is on hold, or the other party is */
	PLAYBACK_HOLD,
	/*! The other party, or the channel itself, is played something else */
	PLAYBACK_AUDIO,
	/*! A digit is sent to the other party */
	PLAYBACK_DIGIT,
	/*! It is mute */
	PLAYBACK_MUTE,
};

/*!
 * \brief Why a mark that playback_ledger_pop() gave is discarded, as the protocol says it;
 * NULL if it is not
 */
const char *playback_discard_reason(const struct playback_mark *mark);

/*!
 * \brief MARK_PLAYED or MARK_DISCARDED, by the mark's outcome
 *
 * \param buffer of PLAYBACK_EVENT_MAX bytes
 * \param size of it
 * \param style
 * \param id the mark's id
 * \param mark a mark that playback_ledger_pop() gave
 * \param at_us when that was, Unix time in microseconds
 */
size_t playback_event_mark(char *buffer, size_t size,
	const struct playback_event_style *style, const struct playback_id *id,
	const struct playback_mark *mark, int64_t at_us);

/*!
 * \brief The driver's ERROR, with the command it is about
 *
 * \param buffer of PLAYBACK_EVENT_MAX bytes
 * \param size of it
 * \param style
 * \param command the command, NULL if not known
 * \param text what is wrong and how to put it right
 */
size_t playback_event_error(char *buffer, size_t size,
	const struct playback_event_style *style, const char *command, const char *text);

/*! \brief The result of a flush, as MEDIA_FLUSHED tells it */
struct playback_flush_result {
	/*! All media sent towards the listener since the channel started */
	struct playback_media played;
	/*! Media this flush removed */
	struct playback_media flushed;
	/*! Id of the last mark that was played, NULL if there is none yet */
	const struct playback_id *last_mark;
	/*! Media time sent after that mark, in ns */
	int64_t since_mark_ns;
	/*! What the far end reported */
	struct playback_far_end far_end;
};

/*!
 * \brief MEDIA_FLUSHED
 *
 * \param buffer of PLAYBACK_EVENT_MAX bytes
 * \param size of it
 * \param style
 * \param id the FLUSH_MEDIA command's id
 * \param flush
 */
size_t playback_event_flushed(char *buffer, size_t size,
	const struct playback_event_style *style, const struct playback_id *id,
	const struct playback_flush_result *flush);

/*!
 * \brief PLAYBACK
 *
 * \param buffer of PLAYBACK_EVENT_MAX bytes
 * \param size of it
 * \param style
 * \param snapshot
 * \param far_end what the far end reported
 * \param paused whether the application has paused its media
 * \param final whether this is the channel's last one
 * \param at_us when, Unix time in microseconds
 */
size_t playback_event_playback(char *buffer, size_t size,
	const struct playback_event_style *style, const struct playback_snapshot *snapshot,
	const struct playback_far_end *far_end, int paused, int final, int64_t at_us);

/*!
 * \brief PLAYBACK_SUSPENDED, or PLAYBACK_RESUMED if media does not wait
 *
 * \param buffer of PLAYBACK_EVENT_MAX bytes
 * \param size of it
 * \param style
 * \param suspension why media waits
 * \param snapshot
 * \param paused whether the application has paused its media
 * \param at_us when, Unix time in microseconds
 */
size_t playback_event_suspension(char *buffer, size_t size,
	const struct playback_event_style *style, enum playback_suspension suspension,
	const struct playback_snapshot *snapshot, int paused, int64_t at_us);

/*!
 * \brief MEDIA_DROPPED
 *
 * \param buffer of PLAYBACK_EVENT_MAX bytes
 * \param size of it
 * \param style
 * \param drop
 */
size_t playback_event_dropped(char *buffer, size_t size,
	const struct playback_event_style *style, const struct playback_drop *drop);

/*!
 * \brief What CHANNEL(playback,\a item) says: a field of PLAYBACK, \c suspended,
 * \c dropped_ with a reason; or for \c all of them, name and value, with spaces between
 *
 * \param buffer of PLAYBACK_EVENT_MAX bytes
 * \param size of it
 * \param item
 * \param snapshot
 * \param suspension why media waits
 * \param paused whether the application has paused its media
 * \param at_us when, Unix time in microseconds
 * \return length of the text, 0 if there is no such item
 */
size_t playback_event_item(char *buffer, size_t size, const char *item,
	const struct playback_snapshot *snapshot, enum playback_suspension suspension,
	int paused, int64_t at_us);

#endif /* PLAYBACK_EVENTS_H */
