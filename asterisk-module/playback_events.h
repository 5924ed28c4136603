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
 * \brief Commands parsed and events formatted, plain text and JSON
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

#include "playback_ledger.h"

/*! \brief Longest id in bytes */
#define PLAYBACK_ID_MAX 64

/*! \brief Shortest and longest interval between two PLAYBACK events, in ms */
#define PLAYBACK_INTERVAL_MIN_MS 20
#define PLAYBACK_INTERVAL_MAX_MS 3600000

/*! \brief Buffer size for any event, in bytes */
#define PLAYBACK_EVENT_MAX 2048

/*! \brief An application's name for something; JSON may give it as an integer */
struct playback_id {
	/*! Whether it is echoed as a JSON number */
	int is_integer;
	/*! The text, NUL terminated; of an integer its decimal digits */
	char text[PLAYBACK_ID_MAX + 1];
};

/*! \brief What every event of a channel has in common */
struct playback_format {
	/*! Non-zero for JSON, 0 for plain text */
	int json;
	/*! The channel's unique id */
	const char *channel_id;
};

/*!
 * \brief Take the id out of the plain text after a command: "id=<id>"
 *
 * \param id result
 * \param arguments what follows the command and its space, may be NULL
 * \retval 0 success
 * \retval -1 not exactly one id of 1 to 64 printable ASCII characters without space
 */
int playback_id_from_plain(struct playback_id *id, const char *arguments);

/*!
 * \brief Take a JSON string as id
 * \retval 0 success
 * \retval -1 not 1 to 64 bytes long
 */
int playback_id_from_string(struct playback_id *id, const char *text);

/*! \brief Take a JSON integer as id */
void playback_id_from_integer(struct playback_id *id, intmax_t number);

/*!
 * \brief Take the interval out of the plain text after REPORT_PLAYBACK
 *
 * \param interval_ms result: "interval_ms=<n>", -1 if there is none
 * \param arguments what follows the command and its space, may be NULL
 * \retval 0 success
 * \retval -1 neither empty nor 0 nor at least PLAYBACK_INTERVAL_MIN_MS
 */
int playback_interval_from_plain(int *interval_ms, const char *arguments);

/*! \brief Whether an interval is 0 or within its limits */
int playback_interval_valid(intmax_t interval_ms);

/*!
 * \brief Why an outcome discards a mark, as the protocol says it; NULL for other outcomes
 */
const char *playback_reason(enum playback_outcome outcome);

/*!
 * \brief MARK_PLAYED or MARK_DISCARDED, by the mark's outcome
 *
 * \param buffer of PLAYBACK_EVENT_MAX bytes
 * \param size of it
 * \param format
 * \param id the mark's id
 * \param mark a mark that playback_ledger_pop() gave
 * \param at_us when that was, Unix time in microseconds
 */
size_t playback_event_mark(char *buffer, size_t size,
	const struct playback_format *format, const struct playback_id *id,
	const struct playback_mark *mark, int64_t at_us);

/*!
 * \brief The driver's ERROR, with the command it speaks of and, if known, its id
 *
 * \param buffer of PLAYBACK_EVENT_MAX bytes
 * \param size of it
 * \param format
 * \param command the command, NULL if not known
 * \param id NULL if not known
 * \param text what is wrong and how to put it right
 */
size_t playback_event_error(char *buffer, size_t size,
	const struct playback_format *format, const char *command,
	const struct playback_id *id, const char *text);

/*! \brief The outcome of a flush: what MEDIA_FLUSHED says */
struct playback_flush {
	/*! All that has been given to the core since the channel started */
	struct playback_media played;
	/*! What this flush threw away */
	struct playback_media flushed;
	/*! The last mark whose media the core was all given, NULL if there is none yet */
	const struct playback_id *last_mark;
	/*! Media time given to the core after that mark, in ns */
	int64_t since_mark_ns;
};

/*!
 * \brief MEDIA_FLUSHED
 *
 * \param buffer of PLAYBACK_EVENT_MAX bytes
 * \param size of it
 * \param format
 * \param id the FLUSH_MEDIA command's id
 * \param flush
 */
size_t playback_event_flushed(char *buffer, size_t size,
	const struct playback_format *format, const struct playback_id *id,
	const struct playback_flush *flush);

/*!
 * \brief PLAYBACK
 *
 * \param buffer of PLAYBACK_EVENT_MAX bytes
 * \param size of it
 * \param format
 * \param snapshot
 * \param paused whether the application has paused its media
 * \param final whether this is the channel's last one
 * \param at_us when, Unix time in microseconds
 */
size_t playback_event_playback(char *buffer, size_t size,
	const struct playback_format *format, const struct playback_snapshot *snapshot,
	int paused, int final, int64_t at_us);

/*!
 * \brief MEDIA_DROPPED
 *
 * \param buffer of PLAYBACK_EVENT_MAX bytes
 * \param size of it
 * \param format
 * \param loss
 */
size_t playback_event_dropped(char *buffer, size_t size,
	const struct playback_format *format, const struct playback_loss *loss);

#endif /* PLAYBACK_EVENTS_H */
