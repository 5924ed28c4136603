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
 * An offset counts all bytes received before it.  Of a mark at an offset amid what was
 * received the ledger has to know how many of these bytes are played, how many were
 * dropped, and whether the last of them was flushed.  All of that follows from where the
 * gaps are.
 *
 * It does no I/O, takes no lock, allocates nothing and reads no clock.  The caller
 * serialises access.  Everything costs at most a look at each gap that is remembered.
 */

#ifndef PLAYBACK_GAPS_H
#define PLAYBACK_GAPS_H

#include <stdint.h>

/*!
 * \brief How many gaps are remembered; those of a kind that touch are one
 *
 * A mark that is set behind its media lies a few gaps back.  One that lies before all of
 * these cannot be placed any more.
 */
#define PLAYBACK_GAPS_MAX 64

/*! \brief Why something is not played */
enum playback_gap_kind {
	/*! It was dropped instead of being queued: no position counts it */
	PLAYBACK_GAP_NOT_QUEUED,
	/*! It was dropped after it had been queued or delivered */
	PLAYBACK_GAP_LOST,
	/*! It was flushed, and what had not been queued among it is part of that */
	PLAYBACK_GAP_FLUSHED,
};

/*! \brief A stretch of the stream that is not played, between two offsets */
struct playback_gap {
	/*! Bytes received before its first one */
	uint64_t begin;
	/*! Bytes received before the first one behind it */
	uint64_t end;
	/*! How many of its bytes were not queued */
	uint64_t not_queued;
	/*! Why it is not played */
	enum playback_gap_kind kind;
};

/*! \brief The gaps of one stream; nothing but zeros is one without gaps */
struct playback_gaps {
	/*! The latest gaps in the order of the stream */
	struct playback_gap latest[PLAYBACK_GAPS_MAX];
	/*! Number of these gaps */
	unsigned int count;
	/*! Offset at which the last gap ends that is not among them any more, 0 if all are */
	uint64_t forgotten_end;
	/*! Bytes in all such gaps */
	uint64_t forgotten;
	/*! How many of these were dropped */
	uint64_t forgotten_dropped;
	/*! How many of these were not queued */
	uint64_t forgotten_not_queued;
};

/*! \brief Where an offset is */
struct playback_place {
	/*! Bytes queued before it, see struct playback_mark */
	uint64_t position;
	/*! Bytes before it that are in no gap: they are or will be played */
	uint64_t playable;
	/*! Bytes before it that were dropped; amid a flushed gap without those in that gap */
	uint64_t dropped;
	/*! Whether the last byte before it was flushed */
	int flushed;
	/*! Non-zero where that is not known any more; then nothing else is set */
	int forgotten;
};

/*! \brief The newest bytes but for half a sample, between two offsets, are not queued */
void playback_gaps_not_queued(struct playback_gaps *gaps, uint64_t begin, uint64_t end);

/*!
 * \brief \a bytes that had been queued behind the first \a position bytes are lost
 * \return the offset of the first of them
 */
uint64_t playback_gaps_lost(struct playback_gaps *gaps, uint64_t position,
	uint64_t bytes);

/*!
 * \brief All that was queued behind the first \a position bytes is flushed
 *
 * \param gaps
 * \param position see struct playback_mark
 * \param end offset of the end of what was received
 */
void playback_gaps_flushed(struct playback_gaps *gaps, uint64_t position, uint64_t end);

/*! \brief Where an offset is that is not ahead of what was received */
struct playback_place playback_gaps_place(const struct playback_gaps *gaps,
	uint64_t offset);

#endif /* PLAYBACK_GAPS_H */
