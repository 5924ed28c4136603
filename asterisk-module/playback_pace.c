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
 * \brief Media keeps pace with time: which ticks were missed, and how late that makes media
 */

#include <string.h>

#include "playback_pace.h"

void playback_pace_init(struct playback_pace *pace, int64_t tick_ns)
{
	memset(pace, 0, sizeof(*pace));
	pace->tick_ns = tick_ns;
}

void playback_pace_restart(struct playback_pace *pace)
{
	pace->tick_due_ns = 0;
}

unsigned int playback_pace_tick(struct playback_pace *pace, int64_t now_ns)
{
	int64_t due_ns = pace->tick_due_ns + pace->tick_ns;
	unsigned int missed;

	pace->catch_up = 0;
	if (!pace->tick_due_ns || now_ns < due_ns) {
		/* The first one, or those before it were served late */
		pace->tick_due_ns = now_ns;
		pace->tick_late_ns = 0;
		return 0;
	}
	missed = (now_ns - due_ns) / pace->tick_ns;
	pace->tick_due_ns = due_ns + missed * pace->tick_ns;
	pace->tick_late_ns = now_ns - pace->tick_due_ns;
	return missed;
}

void playback_pace_missed(struct playback_pace *pace, unsigned int missed,
	int64_t queued_ns, int64_t most_ns, int64_t now_ns)
{
	int64_t gap_ns = now_ns - pace->delivered_ns;
	int64_t late_ns = pace->late_ns + missed * pace->tick_ns;

	/* A frame that leaves right behind another one is off by a tick the other way */
	if (pace->tick_ns < most_ns && missed <= PLAYBACK_CATCH_UP_MAX
		&& gap_ns - pace->tick_ns + PLAYBACK_CATCH_UP_GUARD_NS < most_ns) {
		pace->catch_up = missed;
	} else if (queued_ns <= late_ns + PLAYBACK_AHEAD_NS) {
		pace->late_ns = late_ns < queued_ns ? late_ns : queued_ns;
	}
}

int playback_pace_may_skip(const struct playback_pace *pace, int64_t frame_ns,
	int64_t queued_ns)
{
	return frame_ns <= pace->late_ns && queued_ns <= pace->late_ns + PLAYBACK_AHEAD_NS;
}
