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
 * \brief What operators see: the console command "websocket show playback", and
 * CHANNEL(playback)
 */

#ifndef PLAYBACK_CONSOLE_H
#define PLAYBACK_CONSOLE_H

#include <stddef.h>

struct playback_channel;

/*!
 * \brief Read CHANNEL(playback) or CHANNEL(playback,<item>); channel locked
 *
 * Nothing is looked up for it: it is as of the latest look at the peer.
 *
 * \param playback
 * \param data what is in the parentheses
 * \param[out] buffer
 * \param size of it
 * \retval 0 success
 * \retval -1 that is not the driver's, or there is no such item
 */
int playback_function_read(struct playback_channel *playback, const char *data,
	char *buffer, size_t size);

/*! \brief Register the console command and the unit tests */
void playback_console_load(void);

/*! \brief Undo playback_console_load() */
void playback_console_unload(void);

#endif /* PLAYBACK_CONSOLE_H */
