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
 */

#include "playback_report.h"

void playback_report_start(struct playback_report *report, int64_t interval_ns,
	const struct playback_report_content *content, int64_t now_ns)
{
	report->interval_ns = interval_ns;
	report->due_ns = now_ns + interval_ns;
	report->latest = *content;
}

int64_t playback_report_next_due(const struct playback_report *report)
{
	return report->interval_ns ? report->due_ns : PLAYBACK_NEVER;
}

int playback_report_is_due(struct playback_report *report, int64_t now_ns)
{
	int64_t missed;

	if (playback_report_next_due(report) > now_ns) {
		return 0;
	}
	missed = (now_ns - report->due_ns) / report->interval_ns;
	report->due_ns += (missed + 1) * report->interval_ns;
	return 1;
}

int playback_report_changed(struct playback_report *report,
	const struct playback_report_content *content)
{
	const struct playback_snapshot *now = &content->counts;
	const struct playback_snapshot *latest = &report->latest.counts;
	int changed = now->received != latest->received
		|| now->played.bytes != latest->played.bytes
		|| now->flushed != latest->flushed || now->dropped != latest->dropped
		|| now->marks != latest->marks || now->underruns != latest->underruns
		|| content->paused != report->latest.paused;

	report->latest = *content;
	return changed;
}
