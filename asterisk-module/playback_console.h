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
 * \brief The console command "websocket show playback"
 */

#ifndef PLAYBACK_CONSOLE_H
#define PLAYBACK_CONSOLE_H

/*! \brief Register the console command and the unit tests */
void playback_console_load(void);

/*! \brief Undo playback_console_load() */
void playback_console_unload(void);

#endif /* PLAYBACK_CONSOLE_H */
