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
 * \brief The bridge a channel is in, as far as it matters for what has been played
 *
 * A bridge that mixes holds what it is delivered until its next mixing interval, and
 * drops what it holds when the channel leaves it.  This looks at the bridge and tells the
 * ledger.
 *
 * Called with the channel locked.  The lock of the bridge and that of its mixer are only
 * tried: with a channel locked they must not be waited for.
 */

#ifndef PLAYBACK_BRIDGE_H
#define PLAYBACK_BRIDGE_H

#include "asterisk/bridge.h"
#include "asterisk/channel.h"

#include "playback_ledger.h"
#include "playback_pace.h"

/*! \brief What one look at the bridge showed */
struct playback_bridge_view {
	/*! Whether there is one */
	int is_bridged;
	/*! The bridge if it mixes, without a reference: only to be compared */
	const struct ast_bridge *mixer;
	/*! How long the audio lasts that the mixer holds in ns, -1 if that cannot be seen */
	int64_t held_ns;
	/*! At how many samples a second it mixes: softmix sets the channel's read format to it */
	unsigned int sample_rate;
	/*! The mixing interval that the bridge was set to in ns, 0 if that was not seen or none */
	int64_t interval_ns;
	/*! By how much the channel's own resamplers make its audio later, in ns */
	int64_t resampled_ns;
	/*! The path of translators that these are in, only to be compared */
	const struct ast_trans_pvt *path;
	/*! The bridge leaves the channel out: what is written to it is something else */
	int suspended;
	/*! The bridge has muted the channel */
	int mute;
	/*!
	 * The only other channel of a bridge that does not mix, NULL if it was not seen, without
	 * a reference: only to be compared
	 */
	const struct ast_bridge_channel *peer;
	/*! How many are in the bridge, 0 if that was not seen */
	unsigned int parties;
	/*! The bridge was locked: it may be about to begin or to cease to mix */
	int busy;
	/*! The bridge is over, and what is delivered to it goes nowhere */
	int dissolved;
};

/*! \brief What is remembered of the bridge of a channel */
struct playback_bridge {
	/*! The bridge if it mixed at the latest look, without a reference, see above */
	const struct ast_bridge *mixer;
	/*! What was seen of it latest, see above; 0 before that */
	unsigned int sample_rate;
	int64_t interval_ns;
	int64_t resampled_ns;
	const struct ast_trans_pvt *path;
	/*! Frames that were delivered to a busy bridge and are not in the ledger yet */
	struct playback_frame in_transit[PLAYBACK_CATCH_UP_MAX + 1];
	/*! Number of these frames, all of one tick */
	unsigned int in_transit_count;
};

/*!
 * \brief Whether the layout of bridge_softmix's data is known, so that its mixer is
 * looked into
 *
 * Where it is not, and with any other mixer, the ledger estimates what the mixer holds: a
 * mark in a conference is then acknowledged up to a mixing interval late, never early.
 * That is logged once.
 *
 * \param version of Asterisk, as ast_get_version() has it
 */
int playback_bridge_knows_softmix(const char *version);

/*!
 * \brief The only other channel of a bridge that does not mix; the bridge locked
 * \return NULL if there is none; without a reference
 */
struct ast_bridge_channel *playback_bridge_peer(const struct ast_bridge *bridge,
	const struct ast_channel *channel);

/*! \brief Whether a channel in a bridge only speaks: ARI's play on it, a ConfBridge's sounds */
int playback_bridge_is_speaker(const struct ast_channel *channel);

/*! \brief What can be seen of a channel without a look at its bridge: what resamples it */
struct playback_bridge_view playback_bridge_look_at_path(struct ast_channel *channel);

/*! \brief Look at the bridge a channel is in; the ledger not locked */
struct playback_bridge_view playback_bridge_look(struct ast_channel *channel);

/*!
 * \brief The same, and another look at the bridge while it is locked
 *
 * Of a mixer, which goes on meanwhile, it is seen that it mixes and not what it holds.
 *
 * \param channel
 * \param inside is not called if there is no bridge, or that is busy
 * \param data for \a inside
 */
struct playback_bridge_view playback_bridge_look_inside(struct ast_channel *channel,
	void (*inside)(struct ast_bridge *bridge, void *data), void *data);

/*!
 * \brief Tell the ledger what was seen; the ledger locked
 *
 * \param bridge
 * \param ledger
 * \param view
 * \param now_ns when it was seen
 */
void playback_bridge_follow(struct playback_bridge *bridge,
	struct playback_ledger *ledger, const struct playback_bridge_view *view,
	int64_t now_ns);

/*!
 * \brief Tell the ledger what was seen before an empty frame is delivered; the ledger locked
 *
 * With that a mixer drops what it holds of a channel that the bridge has muted.
 */
void playback_bridge_gets_empty(struct playback_bridge *bridge,
	struct playback_ledger *ledger, const struct playback_bridge_view *view,
	int64_t now_ns);

/*!
 * \brief Deliver a frame; the ledger locked
 *
 * If the bridge is busy the frame is in transit until playback_bridge_arrive(): it may
 * find that the bridge has changed.  So is one that follows such a frame.
 */
void playback_bridge_deliver(struct playback_bridge *bridge,
	struct playback_ledger *ledger, const struct playback_bridge_view *view,
	const struct playback_frame *frame);

/*!
 * \brief Enter the frames in transit into the ledger; the ledger locked
 *
 * The thread that took them is back, so the bridge has them.
 */
void playback_bridge_arrive(struct playback_bridge *bridge,
	struct playback_ledger *ledger, const struct playback_bridge_view *view,
	int64_t now_ns);

/*!
 * \brief The channel is being hung up: enter the frames in transit; the ledger locked
 *
 * It is out of its bridge by now, where there is nothing to be seen any more.
 */
void playback_bridge_leave(struct playback_bridge *bridge,
	struct playback_ledger *ledger);

/*!
 * \brief The bridge wrote a frame of \a interval_ns to the channel; the ledger locked
 *
 * If the bridge mixes, that is how its mixing intervals are known.
 */
void playback_bridge_mixed(struct playback_bridge *bridge,
	struct playback_ledger *ledger, const struct playback_bridge_view *view,
	int64_t interval_ns, int64_t now_ns);

/*! \brief When to look for the frames in transit, PLAYBACK_NEVER if there are none */
int64_t playback_bridge_next_due(const struct playback_bridge *bridge);

#endif /* PLAYBACK_BRIDGE_H */
