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
 *
 * The driver delivers a frame at each tick of its media timer.  Where the host stalls, ticks
 * are missed.  Of an application that speaks in real time all that comes later would be
 * late by that for good.
 *
 * What a listener's jitter buffer bridges is caught up at once: the frames of the missed
 * ticks are delivered together, and their RTP timestamps go on as if each had been in time.
 * Past that Asterisk begins a new talkspurt, and the listener waits for it anyway; then
 * silence is left out of the next pause of speech instead.
 *
 * It does no I/O, takes no lock and reads no clock.  Times are ns of a monotonic clock.
 * Called with the channel locked.
 */

#ifndef PLAYBACK_PACE_H
#define PLAYBACK_PACE_H

#include <stdint.h>

/*!
 * \brief An application that has sent more than this ahead does not speak in real time, in
 * ns: its media is not late, it only ends later
 */
#define PLAYBACK_AHEAD_NS 200000000

/*!
 * \brief How close to the latest moment a packet is not sent any more with the timestamp
 * that follows, in ns: its way from here to the socket differs
 */
#define PLAYBACK_CATCH_UP_GUARD_NS 10000000

/*! \brief Most frames that are caught up at one tick */
#define PLAYBACK_CATCH_UP_MAX 3

/*! \brief How a channel keeps pace */
struct playback_pace {
	/*! How often the media timer ticks, in ns */
	int64_t tick_ns;
	/*! When the latest tick was due, or earlier: 0 before the first one */
	int64_t tick_due_ns;
	/*! How late the latest tick was served, as far as seen, in ns */
	int64_t tick_late_ns;
	/*! When the latest frame was delivered, 0 before the first one */
	int64_t delivered_ns;
	/*! How late media is because of ticks that were missed and not caught up, in ns */
	int64_t late_ns;
	/*! Frames to be delivered at this tick besides the one that is due */
	unsigned int catch_up;
};

/*!
 * \brief Begin
 *
 * \param pace
 * \param tick_ns how often the media timer ticks
 */
void playback_pace_init(struct playback_pace *pace, int64_t tick_ns);

/*! \brief The media timer begins anew, at any moment */
void playback_pace_restart(struct playback_pace *pace);

/*!
 * \brief A tick
 * \return how many were missed right before it
 */
unsigned int playback_pace_tick(struct playback_pace *pace, int64_t now_ns);

/*!
 * \brief Ticks were missed, at which there was media to be played
 *
 * Sets what is to be caught up now, and how late the rest makes media.
 *
 * \param pace
 * \param missed see playback_pace_tick()
 * \param queued_ns how long the media lasts that is queued
 * \param most_ns how much later than the one before it a packet may leave and still has the
 *        timestamp that follows; 0 if that is not known
 * \param now_ns when
 */
void playback_pace_missed(struct playback_pace *pace, unsigned int missed,
	int64_t queued_ns, int64_t most_ns, int64_t now_ns);

/*!
 * \brief Whether a frame of silence may be left out, because media is late
 *
 * \param pace
 * \param frame_ns how long it lasts
 * \param queued_ns how long the media lasts that is queued
 */
int playback_pace_may_skip(const struct playback_pace *pace, int64_t frame_ns,
	int64_t queued_ns);

#endif /* PLAYBACK_PACE_H */
