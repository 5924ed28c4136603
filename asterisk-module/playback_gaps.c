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
 * \brief The gaps of a media stream: what was received and is not played
 *
 * Standard C only, without asterisk.h: it is built, tested and fuzzed alone too.
 */

#include <string.h>

#include "playback_gaps.h"

/*! \brief How many bytes of a gap were dropped */
static uint64_t dropped_of(const struct playback_gap *gap)
{
	return gap->kind == PLAYBACK_GAP_FLUSHED ? gap->not_queued : gap->end - gap->begin;
}

/*! \brief Remember a gap by its sums alone */
static void forget(struct playback_gaps *gaps, const struct playback_gap *gap)
{
	gaps->forgotten += gap->end - gap->begin;
	gaps->forgotten_dropped += dropped_of(gap);
	gaps->forgotten_not_queued += gap->not_queued;
	if (gap->end > gaps->forgotten_end) {
		gaps->forgotten_end = gap->end;
	}
}

/*! \brief Put a gap in the place of \a count others from \a first on */
static void replace(struct playback_gaps *gaps, unsigned int first, unsigned int count,
	const struct playback_gap *gap)
{
	memmove(&gaps->latest[first + 1], &gaps->latest[first + count],
		(gaps->count - first - count) * sizeof(*gap));
	gaps->latest[first] = *gap;
	gaps->count = gaps->count + 1 - count;
}

/*! \brief Enter a gap, which takes in those it covers and those of its kind it touches */
static void enter(struct playback_gaps *gaps, struct playback_gap gap)
{
	struct playback_gap *latest = gaps->latest;
	unsigned int first = gaps->count;
	unsigned int next;

	if (gap.begin >= gap.end) {
		return;
	}
	/* Mostly it is the last one */
	while (first && latest[first - 1].begin >= gap.begin) {
		first--;
	}
	for (next = first; next < gaps->count && latest[next].end <= gap.end; next++) {
		gap.not_queued += latest[next].not_queued;
	}
	if (next < gaps->count && latest[next].begin == gap.end
		&& latest[next].kind == gap.kind) {
		gap.end = latest[next].end;
		gap.not_queued += latest[next].not_queued;
		next++;
	}
	if (first && latest[first - 1].end == gap.begin
		&& latest[first - 1].kind == gap.kind) {
		first--;
		gap.begin = latest[first].begin;
		gap.not_queued += latest[first].not_queued;
	}
	if (next == first && gaps->count == PLAYBACK_GAPS_MAX) {
		if (!first) {
			forget(gaps, &gap);
			return;
		}
		forget(gaps, &latest[0]);
		gaps->count--;
		memmove(&latest[0], &latest[1], gaps->count * sizeof(gap));
		first--;
		next--;
	}
	replace(gaps, first, next - first, &gap);
}

/*! \brief The offset of the byte before which \a position bytes were queued */
static uint64_t offset_of(const struct playback_gaps *gaps, uint64_t position)
{
	uint64_t offset = position + gaps->forgotten_not_queued;
	unsigned int i;

	for (i = 0; i < gaps->count; i++) {
		if (offset + gaps->latest[i].not_queued < gaps->latest[i].end) {
			break;
		}
		offset += gaps->latest[i].not_queued;
	}
	return offset;
}

void playback_gaps_not_queued(struct playback_gaps *gaps, uint64_t begin, uint64_t end)
{
	enter(gaps, (struct playback_gap) {
		.begin = begin,
		.end = end,
		.not_queued = end - begin,
		.kind = PLAYBACK_GAP_NOT_QUEUED,
	});
}

uint64_t playback_gaps_lost(struct playback_gaps *gaps, uint64_t position,
	uint64_t bytes)
{
	uint64_t first = offset_of(gaps, position);
	struct playback_gap gap = { .kind = PLAYBACK_GAP_LOST, };
	unsigned int i;

	while (bytes) {
		/* Up to what was not queued among it */
		gap.begin = offset_of(gaps, position);
		gap.end = gap.begin + bytes;
		for (i = 0; i < gaps->count; i++) {
			if (gaps->latest[i].begin > gap.begin && gaps->latest[i].begin < gap.end) {
				gap.end = gaps->latest[i].begin;
				break;
			}
		}
		position += gap.end - gap.begin;
		bytes -= gap.end - gap.begin;
		enter(gaps, gap);
	}
	return first;
}

void playback_gaps_flushed(struct playback_gaps *gaps, uint64_t position, uint64_t end)
{
	enter(gaps, (struct playback_gap) {
		.begin = offset_of(gaps, position),
		.end = end,
		.kind = PLAYBACK_GAP_FLUSHED,
	});
}

struct playback_place playback_gaps_place(const struct playback_gaps *gaps,
	uint64_t offset)
{
	uint64_t not_played = gaps->forgotten;
	uint64_t not_queued = gaps->forgotten_not_queued;
	struct playback_place place = { .dropped = gaps->forgotten_dropped, };
	const struct playback_gap *gap;
	uint64_t position = offset;
	unsigned int i;

	if (gaps->forgotten_end && offset <= gaps->forgotten_end) {
		place.forgotten = 1;
		return place;
	}
	for (i = 0; i < gaps->count && gaps->latest[i].begin < offset; i++) {
		gap = &gaps->latest[i];
		if (offset >= gap->end) {
			not_queued += gap->not_queued;
			not_played += gap->end - gap->begin;
			place.dropped += dropped_of(gap);
		} else {
			/* Not before anything that was queued in front of it */
			if (position > gap->end - gap->not_queued) {
				position = gap->end - gap->not_queued;
			}
			not_played += offset - gap->begin;
			place.dropped += gap->kind == PLAYBACK_GAP_FLUSHED ? 0 : offset - gap->begin;
		}
		place.flushed = gap->kind == PLAYBACK_GAP_FLUSHED && offset <= gap->end;
	}
	place.position = position - not_queued;
	place.playable = offset - not_played;
	return place;
}
