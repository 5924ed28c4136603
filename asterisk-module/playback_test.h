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
 * \brief Unit tests of a channel's playback inside Asterisk
 */

#ifndef PLAYBACK_TEST_H
#define PLAYBACK_TEST_H

/*! \brief Register the tests with Asterisk's test framework, if that is built in */
void playback_test_register(void);

/*! \brief Undo playback_test_register() */
void playback_test_unregister(void);

#endif /* PLAYBACK_TEST_H */
