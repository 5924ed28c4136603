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
 * \brief The clock, and a one-shot timer that wakes a channel between its media ticks
 *
 * The timer is called with its channel locked, the clock from anywhere.
 */

#ifndef PLAYBACK_TIMER_H
#define PLAYBACK_TIMER_H

#include <stdint.h>

#include "asterisk/channel.h"

/*! \brief Nanoseconds in a second */
#define NS_PER_S 1000000000LL

/*! \brief Nanoseconds in a millisecond */
#define NS_PER_MS 1000000LL

/*! \brief Index of our timer in the channel's file descriptors; the driver has +1, +2 */
#define PLAYBACK_TIMER_FDNO (AST_EXTENDED_FDS + 3)

/*! \brief Index of the driver's media timer, which ticks; it has none in direction 'in' */
#define PLAYBACK_TICKS_FDNO (AST_EXTENDED_FDS + 1)

/*! \brief A one-shot timer, among a channel's file descriptors while it is armed */
struct playback_timer {
	/*! The channel it wakes */
	struct ast_channel *channel;
	/*! File descriptor, -1 until the timer is needed and where there is none */
	int fd;
	/*! When it will fire in ns, PLAYBACK_NEVER if it is not armed */
	int64_t due_ns;
};

/*! \brief Now, on the monotonic clock, in ns */
int64_t playback_now_ns(void);

/*! \brief Unix time of a moment of the monotonic clock, in us */
int64_t playback_unix_us(int64_t moment_ns);

/*! \brief Prepare a timer that is not open yet */
void playback_timer_init(struct playback_timer *timer, struct ast_channel *channel);

/*! \brief Open the timer if it is not; without one the media ticks have to do */
void playback_timer_open(struct playback_timer *timer);

/*! \brief Wake the channel at \a due_ns, not before; PLAYBACK_NEVER for not at all */
void playback_timer_arm(struct playback_timer *timer, int64_t due_ns);

/*! \brief Close the timer if it is open */
void playback_timer_close(struct playback_timer *timer);

#endif /* PLAYBACK_TIMER_H */
