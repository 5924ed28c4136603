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
 */

#include "asterisk.h"

#include <time.h>
#ifdef HAVE_TIMERFD
#include <sys/timerfd.h>
#endif

#include "asterisk/logger.h"
#include "asterisk/time.h"
#include "asterisk/utils.h"

#include "playback_ledger.h"
#include "playback_timer.h"

int64_t playback_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * NS_PER_S + now.tv_nsec;
}

int64_t playback_unix_us(int64_t moment_ns)
{
	struct timeval wall = ast_tvnow();
	int64_t ago_us = (playback_now_ns() - moment_ns) / 1000;

	return wall.tv_sec * 1000000LL + wall.tv_usec - ago_us;
}

void playback_timer_init(struct playback_timer *timer, struct ast_channel *channel)
{
	timer->channel = channel;
	timer->fd = -1;
	timer->due_ns = PLAYBACK_NEVER;
}

void playback_timer_open(struct playback_timer *timer)
{
#ifdef HAVE_TIMERFD
	if (timer->fd < 0) {
		timer->fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
		if (timer->fd < 0) {
			ast_log(LOG_WARNING, "%s: No timer for marks (%s): they are acknowledged on "
				"the next media tick\n", ast_channel_name(timer->channel),
				strerror(errno));
		}
	}
#endif
}

void playback_timer_arm(struct playback_timer *timer, int64_t due_ns)
{
#ifdef HAVE_TIMERFD
	struct itimerspec time;

	if (timer->fd < 0 || timer->due_ns == due_ns) {
		return;
	}
	if (due_ns == PLAYBACK_NEVER) {
		/* Each poll() costs by the descriptor: whether this one fires is not looked at */
		ast_channel_set_fd(timer->channel, PLAYBACK_TIMER_FDNO, -1);
		timer->due_ns = due_ns;
		return;
	}
	memset(&time, 0, sizeof(time));
	time.it_value.tv_sec = due_ns / NS_PER_S;
	/* All zero would disarm it: what is due at 0 is due now */
	time.it_value.tv_nsec = due_ns ? due_ns % NS_PER_S : 1;
	/* Setting the timer also clears an expiration nobody has read */
	if (timerfd_settime(timer->fd, TFD_TIMER_ABSTIME, &time, NULL)) {
		ast_log(LOG_ERROR, "%s: Unable to set the timer for marks: %s\n",
			ast_channel_name(timer->channel), strerror(errno));
		return;
	}
	ast_channel_set_fd(timer->channel, PLAYBACK_TIMER_FDNO, timer->fd);
	timer->due_ns = due_ns;
#endif
}

void playback_timer_close(struct playback_timer *timer)
{
	if (timer->fd >= 0) {
		close(timer->fd);
		timer->fd = -1;
	}
}
