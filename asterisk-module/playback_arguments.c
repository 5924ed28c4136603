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
 * Standard C only, without asterisk.h: it is built, tested and fuzzed alone too.
 */

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "playback_arguments.h"

int playback_id_from_plain(struct playback_id *id, const char *arguments)
{
	static const char name[] = "id=";
	const char *character;

	if (!arguments || strncmp(arguments, name, sizeof(name) - 1)) {
		return -1;
	}
	arguments += sizeof(name) - 1;
	for (character = arguments; *character; character++) {
		if (*character <= ' ' || *character > '~') {
			return -1;
		}
	}
	return playback_id_from_string(id, arguments);
}

int playback_id_from_string(struct playback_id *id, const char *text)
{
	size_t length = strlen(text);

	if (!length || length > PLAYBACK_ID_MAX) {
		return -1;
	}
	id->is_integer = 0;
	memcpy(id->text, text, length + 1);
	return 0;
}

void playback_id_from_integer(struct playback_id *id, intmax_t number)
{
	id->is_integer = 1;
	snprintf(id->text, sizeof(id->text), "%" PRIdMAX, number);
}

int playback_offset_from_integer(int64_t *offset, intmax_t number)
{
	if (number < 0 || number > PLAYBACK_OFFSET_MAX) {
		return -1;
	}
	*offset = number;
	return 0;
}

/*!
 * \brief Take a number of digits only
 * \return the number, which may be more than \a most; -1 if it is none
 */
static intmax_t number_from_digits(const char *digit, intmax_t most)
{
	intmax_t value = 0;

	do {
		if (*digit < '0' || *digit > '9') {
			return -1;
		}
		if (value <= most) {
			value = value * 10 + (*digit - '0');
		}
	} while (*++digit);
	return value;
}

int playback_mark_from_plain(struct playback_id *id, int64_t *offset,
	const char *arguments)
{
	static const char name[] = " offset=";
	char with_id[sizeof("id=") + PLAYBACK_ID_MAX];
	size_t length = arguments ? strcspn(arguments, " ") : 0;

	if (!length || length >= sizeof(with_id)) {
		return -1;
	}
	memcpy(with_id, arguments, length);
	with_id[length] = '\0';
	arguments += length;
	*offset = PLAYBACK_OFFSET_NONE;
	if (*arguments && (strncmp(arguments, name, sizeof(name) - 1)
		|| playback_offset_from_integer(offset,
			number_from_digits(arguments + sizeof(name) - 1, PLAYBACK_OFFSET_MAX)))) {
		return -1;
	}
	return playback_id_from_plain(id, with_id);
}

enum playback_interval playback_interval_from_integer(int *interval_ms, intmax_t number)
{
	if (number && (number < PLAYBACK_INTERVAL_MIN_MS
		|| number > PLAYBACK_INTERVAL_MAX_MS)) {
		return PLAYBACK_INTERVAL_INVALID;
	}
	*interval_ms = (int) number;
	return PLAYBACK_INTERVAL_VALID;
}

enum playback_interval playback_interval_from_plain(int *interval_ms,
	const char *arguments)
{
	static const char name[] = "interval_ms=";

	if (!arguments || !*arguments) {
		return PLAYBACK_INTERVAL_NONE;
	}
	if (strncmp(arguments, name, sizeof(name) - 1)) {
		return PLAYBACK_INTERVAL_INVALID;
	}
	return playback_interval_from_integer(interval_ms,
		number_from_digits(arguments + sizeof(name) - 1, PLAYBACK_INTERVAL_MAX_MS));
}
