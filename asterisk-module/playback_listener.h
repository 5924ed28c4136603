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
 * \brief Whether anybody hears a channel, as far as that can be seen
 *
 * Asterisk takes a channel's media at each tick, whether or not somebody is there to hear
 * it.  This looks at where the channel is, and says why nobody hears it.  It errs towards
 * "somebody does": what it cannot see keeps no media back.
 *
 * Called with the channel locked.  The lock of its bridge is only tried, and so are those
 * of another channel and of its RTP: with a channel locked none of them must be waited
 * for.  Where one is busy, the latest answer stands.
 *
 * Cost: one look a tick, of a channel that has opted in or has just begun.  It takes the
 * bridge's lock for some 0.05 us for each party up to the first that can hear.  Another
 * channel's lock is not taken for that: Asterisk gives up writing to a channel that is
 * locked for longer than some 0.6 ms, and the audio is lost.  Whether a party is on hold,
 * has a generator or is sent a digit are single words, which are read as they are: they
 * may change a moment later in any case, and nothing is reached through them.  The
 * bridge's lock keeps the party's channel.  A party is locked only if it is the only one,
 * and ten times a second at most: for its RTP, until it has one, and, if it has not been
 * answered or a mixer writes to it, until there is an address to send that to; and if it
 * has framehooks, since then it may be mute; and when it has another datastore than at the
 * latest look.  In those two cases the RTP's own lock is tried at each look.
 */

#ifndef PLAYBACK_LISTENER_H
#define PLAYBACK_LISTENER_H

#include "asterisk/channel.h"
#include "asterisk/rtp_engine.h"

#include "playback_bridge.h"
#include "playback_events.h"

/*! \brief Another channel that was looked into */
struct playback_party {
	/*! The channel, only to be compared; NULL if there is none */
	const struct ast_channel *channel;
	/*! When it was locked latest, in ns */
	int64_t looked_ns;
	/*! Its first datastore then, only to be compared: what makes it mute is one */
	const struct ast_datastore *datastore;
	/*! Whether it was mute then, towards its listener */
	int is_mute;
	/*!
	 * Whether it was mute in any direction, which can change without a new one, or may have
	 * T.38, which takes its RTP's place
	 */
	int may_change;
	/*! How to ask it for its RTP, NULL if it has none that can be seen */
	struct ast_rtp_glue *glue;
	/*! Its RTP with a reference, NULL if it had none */
	struct ast_rtp_instance *rtp;
	/*! Whether there was nowhere to send that to */
	int has_no_address;
	/*! Whether no media had been agreed on: nothing is read */
	int has_no_media;
	/*! Whether the latest look needed it */
	int is_used;
};

/*! \brief What is remembered of who hears a channel */
struct playback_listener {
	/*! Media of a channel that has opted in waits for as long as nobody hears it */
	int waits;
	/*! The application answers the channel itself: media before that is early media */
	int no_auto_answer;
	/*! The first wait is over: somebody has heard the channel, or that took too long */
	int begun;
	/*! When it was first looked, in ns, 0 before */
	int64_t first_ns;
	/*! What the latest look showed */
	enum playback_suspension latest;
	/*! Whether it looked at the bridge, and what it saw of that */
	int sees_bridge;
	struct playback_bridge_view bridge;
	/*! The only other party of the bridge, if that was looked into */
	struct playback_party party;
	/*!
	 * Who hears the channel's early media, with a reference until it is answered; NULL if
	 * there is nobody
	 */
	struct ast_channel *caller;
};

/*!
 * \brief Begin to look
 *
 * \param listener
 * \param waits whether media waits once the channel has opted in
 * \param no_auto_answer whether the application answers the channel itself
 * \param caller the channel that this one was made for, may be NULL
 */
void playback_listener_init(struct playback_listener *listener, int waits,
	int no_auto_answer, const struct ast_channel *caller);

/*! \brief Free what playback_listener_init() took */
void playback_listener_destroy(struct playback_listener *listener);

/*!
 * \brief Why media has to wait now, at a tick
 *
 * Only that of a channel that has opted in has to.  A call takes some time to be set up: for
 * the first 500 ms it waits whether or not it is to wait later.
 *
 * \param listener
 * \param channel
 * \param opted_in whether the application has opted in
 * \param now_ns when
 * \return PLAYBACK_NOT_SUSPENDED if it need not wait
 */
enum playback_suspension playback_listener_look(struct playback_listener *listener,
	struct ast_channel *channel, int opted_in, int64_t now_ns);

/*!
 * \brief Whether nobody hears what is delivered now all the same
 *
 * Known in the time in which a call is set up.
 */
int playback_listener_is_unheard(const struct playback_listener *listener);

/*! \brief Whether it is still the time in which a call is set up */
int playback_listener_is_new(const struct playback_listener *listener, int64_t now_ns);

/*!
 * \brief Whether the application is to be told: it has opted in, and the time in which a
 * call is set up is over
 */
int playback_listener_tells(const struct playback_listener *listener, int opted_in);

#endif /* PLAYBACK_LISTENER_H */
