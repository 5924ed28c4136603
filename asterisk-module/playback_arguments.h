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
 * \brief Arguments of the application's commands, taken out of their text
 *
 * No I/O, no allocation, no JSON library.
 */

#ifndef PLAYBACK_ARGUMENTS_H
#define PLAYBACK_ARGUMENTS_H

#include <stdint.h>

/*! \brief Longest id in bytes */
#define PLAYBACK_ID_MAX 64

/*! \brief Largest offset of a mark: every JSON library reads it exactly */
#define PLAYBACK_OFFSET_MAX ((INT64_C(1) << 53) - 1)

/*! \brief A mark without offset */
#define PLAYBACK_OFFSET_NONE (-1)

/*! \brief Shortest interval between two PLAYBACK events, in ms */
#define PLAYBACK_INTERVAL_MIN_MS 20

/*! \brief Longest interval between two PLAYBACK events, in ms */
#define PLAYBACK_INTERVAL_MAX_MS 3600000

/*! \brief An application's name for a mark or a flush; JSON may give it as an integer */
struct playback_id {
	/*! Whether it is echoed as a JSON number */
	int is_integer;
	/*! The text, NUL terminated; of an integer its decimal digits */
	char text[PLAYBACK_ID_MAX + 1];
};

/*! \brief What REPORT_PLAYBACK says of its interval */
enum playback_interval {
	/*! There is none: one report now */
	PLAYBACK_INTERVAL_NONE,
	/*! It is 0 or within the limits */
	PLAYBACK_INTERVAL_VALID,
	/*! It is anything else */
	PLAYBACK_INTERVAL_INVALID,
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
 * \brief Take id and offset out of the plain text after MARK: "id=<id>[ offset=<n>]"
 *
 * \param id result
 * \param offset result, PLAYBACK_OFFSET_NONE where there is none
 * \param arguments what follows the command and its space, may be NULL
 * \retval 0 success
 * \retval -1 the id is not valid, see playback_id_from_plain(), or what follows it is not
 *         one space and an offset of digits only, from 0 to PLAYBACK_OFFSET_MAX
 */
int playback_mark_from_plain(struct playback_id *id, int64_t *offset,
	const char *arguments);

/*!
 * \brief Take a JSON integer as offset
 * \retval 0 success
 * \retval -1 not from 0 to PLAYBACK_OFFSET_MAX
 */
int playback_offset_from_integer(int64_t *offset, intmax_t number);

/*!
 * \brief Take the interval out of the plain text after REPORT_PLAYBACK: "interval_ms=<n>"
 *
 * \param interval_ms result, set only if the interval is valid
 * \param arguments what follows the command and its space, may be NULL
 */
enum playback_interval playback_interval_from_plain(int *interval_ms,
	const char *arguments);

/*!
 * \brief Take a JSON integer as interval
 * \param interval_ms result, set only if the interval is valid
 * \param number the integer
 */
enum playback_interval playback_interval_from_integer(int *interval_ms, intmax_t number);

#endif /* PLAYBACK_ARGUMENTS_H */
