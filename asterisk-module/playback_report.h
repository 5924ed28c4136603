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
 * \brief Periodic PLAYBACK events: when the next one is due, and what the latest one said
 *
 * Called with the channel locked.
 */

#ifndef PLAYBACK_REPORT_H
#define PLAYBACK_REPORT_H

#include "playback_events.h"

/*! \brief What a PLAYBACK event says */
struct playback_report_content {
	/*! The counts */
	struct playback_snapshot counts;
	/*! Whether the application has paused its media */
	int paused;
	/*! What the far end reported; that alone is no change */
	struct playback_far_end far_end;
};

/*! \brief The periodic PLAYBACK events of one channel */
struct playback_report {
	/*! Time between two events in ns, 0 for none */
	int64_t interval_ns;
	/*! When the next one is due, in ns */
	int64_t due_ns;
	/*! What the latest one said */
	struct playback_report_content latest;
};

/*!
 * \brief Begin with an interval, or end with 0
 *
 * \param report
 * \param interval_ns in ns
 * \param content what an event would say now, for the first one to be compared with
 * \param now_ns now
 */
void playback_report_start(struct playback_report *report, int64_t interval_ns,
	const struct playback_report_content *content, int64_t now_ns);

/*! \brief When the next one is due in ns, PLAYBACK_NEVER for none */
int64_t playback_report_next_due(const struct playback_report *report);

/*! \brief Whether one is due now; if so, the next one is due an interval later */
int playback_report_is_due(struct playback_report *report, int64_t now_ns);

/*! \brief Whether \a content differs from what the latest one said, which it is then */
int playback_report_changed(struct playback_report *report,
	const struct playback_report_content *content);

#endif /* PLAYBACK_REPORT_H */
