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
 * \brief The application's commands MARK and REPORT_PLAYBACK carried out
 *
 * Called with the channel locked and the frame queue not locked.
 */

#ifndef PLAYBACK_COMMANDS_H
#define PLAYBACK_COMMANDS_H

#include "asterisk/http_websocket.h"
#include "asterisk/json.h"

#include "playback_channel.h"

/*!
 * \brief Carry out a command if it is one of these
 *
 * If it is not, nobody knows it: who has opted in is told so by ERROR.
 *
 * \param playback
 * \param websocket where a mark that cannot be kept is acknowledged
 * \param command the command's word, may be NULL
 * \param arguments of a plain text command, what follows the word, may be NULL
 * \param json of a JSON command, the whole object
 * \param accepts_media 0 if the application's media direction is 'in'
 * \return non-zero if it was one of these
 */
int playback_command(struct playback_channel *playback,
	struct ast_websocket *websocket, const char *command, const char *arguments,
	struct ast_json *json, int accepts_media);

/*! \brief A text message of \a length bytes is over the limit of \a most */
void playback_too_long(struct playback_channel *playback, uint64_t length, size_t most);

/*! \brief A message has more than \a most bytes: it ends the connection */
void playback_too_big(struct playback_channel *playback, size_t most);

/* For the other files of playback */

/*!
 * \brief The application has opted in to playback events, drops before this included
 *
 * A channel whose application has not never sends an event it does not know.
 */
void playback_opt_in(struct playback_channel *playback);

/*!
 * \brief Take the id out of a command, see playback_command()
 * \retval 0 success
 * \retval -1 there is none, or it is not a valid one
 */
int playback_command_id(struct playback_id *id, const char *arguments,
	struct ast_json *json);

/*! \brief Send ERROR about a command, NULL if it is not known */
void playback_send_error(struct playback_channel *playback, const char *command,
	const char *text);

#endif /* PLAYBACK_COMMANDS_H */
