/* Periodic reports: when one is due, and whether it has something new to say. */

#include <stdlib.h>

#include "../playback_report.h"
#include "test.h"

#define MS 1000000LL
#define T0 (5000000000LL * 1000)

static struct playback_report report;
static struct playback_report_content content;

static void begin(int64_t interval_ns)
{
	memset(&report, 0, sizeof(report));
	memset(&content, 0, sizeof(content));
	playback_report_start(&report, interval_ns, &content, T0);
}

static void none_is_due_before_it_is_asked_for(void)
{
	memset(&report, 0, sizeof(report));
	EXPECT(playback_report_next_due(&report), PLAYBACK_NEVER);
	EXPECT(playback_report_is_due(&report, T0), 0);
}

static void one_is_due_each_interval(void)
{
	begin(20 * MS);
	EXPECT(playback_report_is_due(&report, T0 + 20 * MS - 1), 0);
	EXPECT(playback_report_is_due(&report, T0 + 20 * MS), 1);
	EXPECT(playback_report_is_due(&report, T0 + 20 * MS), 0);
	EXPECT(playback_report_next_due(&report), T0 + 40 * MS);
}

static void missed_ones_are_not_made_up_for(void)
{
	begin(20 * MS);
	EXPECT(playback_report_is_due(&report, T0 + 75 * MS), 1);
	EXPECT(playback_report_next_due(&report), T0 + 80 * MS);
}

static void interval_of_0_ends_them(void)
{
	begin(20 * MS);
	playback_report_start(&report, 0, &content, T0 + MS);
	EXPECT(playback_report_next_due(&report), PLAYBACK_NEVER);
	EXPECT(playback_report_is_due(&report, T0 + 100 * MS), 0);
}

static void each_change_is_seen_once(void)
{
	begin(20 * MS);
	EXPECT(playback_report_changed(&report, &content), 0);
#define EXPECT_CHANGE(member) do { \
	content.member++; \
	EXPECT(playback_report_changed(&report, &content), 1); \
	EXPECT(playback_report_changed(&report, &content), 0); \
} while (0)
	EXPECT_CHANGE(counts.received);
	EXPECT_CHANGE(counts.played.bytes);
	EXPECT_CHANGE(counts.flushed);
	EXPECT_CHANGE(counts.dropped);
	EXPECT_CHANGE(counts.marks);
	EXPECT_CHANGE(counts.underruns);
	EXPECT_CHANGE(paused);
}

int main(void)
{
	RUN(none_is_due_before_it_is_asked_for);
	RUN(one_is_due_each_interval);
	RUN(missed_ones_are_not_made_up_for);
	RUN(interval_of_0_ends_them);
	RUN(each_change_is_seen_once);
	return failures ? EXIT_FAILURE : EXIT_SUCCESS;
}
