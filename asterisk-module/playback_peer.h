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
 * \brief The peer: the only other channel in a bridge that does not mix, who listens there,
 * and what is sent
 *
 * What is delivered to the peer is sent by its own thread, or not at all: the far end has
 * put it on hold, it sends a digit, it is played something else.  Its RTP counts the
 * packets that have left the socket, and the bridge knows whether its thread is done with
 * all it was given.  Together they say of each frame what became of it.
 *
 * Where the peer is half of a Local channel it is the only other channel in the bridge of
 * the other half that sends, and so on if that is half of one again.  PLAYBACK_LOCALS_MAX
 * of them in a row are looked through: of more it is not known who listens.  Where one is
 * optimised away Asterisk loses the frame with which it does that, and those that were on
 * their way to it.  It counts the frames it writes to who listens.
 *
 * Where the packets cannot be counted, and in a bridge that mixes, it is looked how long
 * they last, since media waits in Asterisk until one is full.
 *
 * Called with our channel locked, by the thread that reads it; that thread has queued each
 * frame for the peer before it reads again.  Other locks: those of the bridges, of the
 * channels in them and of their places there are only tried, since with a channel locked
 * they must not be waited for, and one at a time; nobody else's frame is lost for it.  The
 * RTP instance's is taken for as long as its counts take to be copied; whoever holds it
 * sends a packet, and takes no lock of a channel.  That of a Local channel's two halves is
 * taken with one half locked, as Asterisk does; of a row of them with no other one's.
 *
 * Costs: playback_peer_count(), at each tick, is that one lock and copy, some 0.2 us.  The
 * locks are tried only where a packet is missing, and a channel's, whose thread drops
 * audio if it does not get it within half a ms, only where one is about to be given up,
 * when the peer is another one, and once a second of each party that a mixer writes to.
 * Where packets are longer than a frame, whether its thread is done and has somewhere to
 * send to is seen at each tick, too: a lock more each, and for each Local channel between
 * two more, of its places in bridges.  While T.38 is sent in place of audio the channel's
 * lock is tried at each tick.
 *
 * The same counts show what the far end's RTCP reports say, but not when these came.  So
 * a report is one by which some of the figures change: one that says no other than all
 * those before it said is not seen.
 */

#ifndef PLAYBACK_PEER_H
#define PLAYBACK_PEER_H

#include "asterisk/bridge_channel.h"
#include "asterisk/channel.h"
#include "asterisk/format.h"
#include "asterisk/rtp_engine.h"

#include "playback_events.h"

/*! \brief How many Local channels in a row are looked through */
#define PLAYBACK_LOCALS_MAX 8

/*! \brief Why nobody hears what is delivered to the peer */
enum playback_unheard {
	/*! It is heard, for all that is known */
	PLAYBACK_UNHEARD_NO,
	/*! The bridge does not give the peer any media: it is in an application meanwhile */
	PLAYBACK_UNHEARD_SUSPENDED,
	/*! The peer generates audio of its own: music on hold, tones, silence */
	PLAYBACK_UNHEARD_GENERATOR,
	/*! The peer sends a digit, whose packets cannot be told from media */
	PLAYBACK_UNHEARD_DIGIT,
};

/*! \brief A time in all reports so far, in s: if another report comes, one of these changes */
struct playback_reported_time {
	double latest;
	double mean;
	double deviation;
};

/*! \brief What the far end's RTCP reports have said so far */
struct playback_peer_reports {
	/*! Round trip time */
	struct playback_reported_time rtt;
	/*! Jitter */
	struct playback_reported_time jitter;
	/*! Packets lost */
	unsigned int lost;
};

/*! \brief A place in a bridge, and who is there; both with a reference, or NULL */
struct playback_place {
	/*! The place */
	struct ast_bridge_channel *bridge_channel;
	/*! The channel */
	struct ast_channel *channel;
};

/*! \brief A Local channel that is looked through: what is behind its near half */
struct playback_local {
	/*! Its other half */
	struct playback_place half;
	/*! The bridge that that is in, with a reference */
	struct ast_bridge *beyond;
	/*! The only other channel in that bridge, which is given our frames there */
	struct playback_place next;
};

/*! \brief What Asterisk's RTP makes packets of a given length with, until its format changes */
struct playback_smoother {
	/*! The RTP, only to be compared; NULL if there is none */
	const struct ast_rtp_instance *rtp;
	/*! The format, which the cache of formats or the channel keeps */
	const struct ast_format *format;
	/*! How long its packets last in ns, and their bytes of media */
	int64_t packet_ns;
	int packet_bytes;
	/*! A digit was sent: then another one is made, of the length that is asked for by then */
	int is_over;
	/*!
	 * The peer was left with the rest of a packet in it: each look until the peer is met
	 * again may show that there is another one by now
	 */
	int has_rest;
};

/*! \brief The peer, and what its RTP had sent at the latest look */
struct playback_peer {
	/*! Our format; set once */
	const struct ast_format *ours;
	/*! Whether our frames have any size, as in passthrough mode; set once */
	int passthrough;
	/*! The peer; nobody if there is none */
	struct playback_place near;
	/*! If that is half of a Local channel: that one, and those in a row behind it */
	struct playback_local locals[PLAYBACK_LOCALS_MAX];
	/*! How many these are; the latest is not known to its end if nobody listens */
	unsigned int local_count;
	/*! Who listens: the peer, or who is behind the latest of them; NULL if not known */
	const struct playback_place *listener;
	/*! The format of what it is given, with a reference; NULL if that is ours */
	struct ast_format *given;
	/*! Whether it was looked at */
	int is_known;
	/*! Its RTP, with a reference; NULL if it has none whose packets are counted */
	struct ast_rtp_instance *rtp;
	/*! It is the one it had before T.38, and sends nothing any more */
	int is_former;
	/*! The format it is written, only to be compared */
	const struct ast_format *format;
	/*! How long each of its packets lasts in ns, 0 if each frame is one or it is not known */
	int64_t packet_ns;
	/*! Bytes of media in a packet, 0 if they differ */
	int packet_bytes;
	/*!
	 * What makes what it is given its format, or the latest listener was, only to be compared;
	 * NULL if nothing does
	 */
	const struct ast_trans_pvt *path;
	/*! The format of what it is given, only to be compared: another path may be where one was */
	const struct ast_format *path_format;
	/*! Whether they were others before it was met */
	int is_path_new;
	/*! By how much the resamplers of the Local channels between make media later, in ns */
	int64_t between_ns;
	/*!
	 * By how much resamplers on the way to it make media later, in ns; of a bridge that
	 * mixes the most that any listener's do
	 */
	int64_t resampled_ns;
	/*! What makes its packets, or those of the latest listener that had one */
	struct playback_smoother smoother;
	/*!
	 * The RTP that was left with the rest of a packet in its smoother, with a reference;
	 * NULL if there is none
	 */
	struct ast_rtp_instance *rest_rtp;
	/*!
	 * How much later than the one before it a packet may leave and still has the timestamp
	 * that follows, in ns
	 */
	int64_t skew_ns;
	/*! Packets and bytes sent up to the latest playback_peer_accept() */
	unsigned int packets;
	unsigned int bytes;
	/*! By how many bytes those packets are shorter that short frames make, and may be to come */
	int short_bytes;
	/*! Frames that were given to it since it was seen to be done with all before them */
	unsigned int frames_given;
	/*! Asterisk's count of the frames that had been written to who listens by then */
	unsigned int frames_written;
	/*! When to ask again where there is no RTP, and how long that was put off, in frames */
	unsigned int ask_again;
	unsigned int asked_after;
	/*! When it was looked latest, in ns */
	int64_t looked_ns;
	/*! How often it was asked what it has sent */
	unsigned int questions;
	/*! What its far end had reported when that was asked latest */
	struct playback_peer_reports reports;
	/*! When the latest report came at the earliest, in ns; 0 if that is not known */
	int64_t reported_ns;
	/*! The same of the latest one with a round trip time */
	int64_t rtt_reported_ns;
	/*! How often a lock is tried */
	int tries;
	/*! The bridge that mixes, whose longest packets are known; only to be compared */
	const struct ast_bridge *mixer;
	/*! At how many samples a second it mixed then, and how many were in it */
	unsigned int mixer_rate;
	unsigned int parties;
};

/*! \brief What the peer has sent */
struct playback_peer_count {
	/*! Packets of media since the latest playback_peer_accept() */
	unsigned int media;
	/*! Packets and bytes in all */
	unsigned int packets;
	unsigned int bytes;
	/*! How much of \c short_bytes is in that */
	int short_bytes;
	/*! Whether the latest one shows that packets last longer or shorter now */
	int are_others;
};

/*!
 * \brief The RTP by which a channel, which is locked, sends audio
 *
 * chan_pjsip shows none any more once T.38 was asked for, even if it was refused and audio
 * goes on.  So a channel that may have T.38 keeps what it showed before, in a datastore; it
 * is the same as long as the channel reads from its socket.
 *
 * \return with a reference, NULL if there is none or it was not seen in time
 */
struct ast_rtp_instance *playback_peer_rtp(struct ast_channel *channel);

/*! \brief Begin without a peer; see struct playback_peer */
void playback_peer_init(struct playback_peer *peer, const struct ast_format *ours,
	int passthrough);

/*!
 * \brief Make the peer that of our \a channel, in place of any other
 *
 * \retval 2 what it sends can be seen, and the rest of a packet is in its smoother still:
 *         see playback_peer_leave_rest()
 * \retval 1 what it sends can be seen
 * \retval 0 there is none, or what it sends cannot be seen
 */
int playback_peer_meet(struct playback_peer *peer, struct ast_channel *channel);

/*!
 * \brief Look how long the longest packets last that the others in a bridge get which
 * mixes, and by how much these are resampled: see \c packet_ns and \c resampled_ns
 *
 * Once a second, or when there are more or fewer of them.
 *
 * \param peer which is nobody
 * \param channel ours
 * \param mixer the bridge, only to be compared
 * \param parties how many are in it
 */
void playback_peer_mixed(struct playback_peer *peer, struct ast_channel *channel,
	const struct ast_bridge *mixer, unsigned int parties);

/*! \brief Forget the peer */
void playback_peer_leave(struct playback_peer *peer);

/*!
 * \brief Whether the smoother of the peer will be as it is when that is met again
 *
 * Not if its call is over.
 */
int playback_peer_keeps_rest(const struct playback_peer *peer);

/*! \brief Forget the peer, but not that the rest of a packet is in its smoother */
void playback_peer_leave_rest(struct playback_peer *peer);

/*! \brief Forget the rest of a packet that was left, if there is any */
void playback_peer_forget_rest(struct playback_peer *peer);

/*! \brief Whether what it is given is made its format by something else than before */
int playback_peer_has_other_path(const struct playback_peer *peer);

/*!
 * \brief The same, and look at that if its lock is free: then what was in the resamplers of the
 * former is lost, and \c resampled_ns may be another
 */
int playback_peer_sees_path(struct playback_peer *peer);

/*!
 * \brief The same of \a caller, to whom Dial passes early media on before there is a peer
 */
int playback_peer_sees_caller(struct playback_peer *peer, struct ast_channel *caller);

/*! \brief Whether the peer has left the bridge, or may send other packets than it did */
int playback_peer_has_changed(struct playback_peer *peer);

/*!
 * \brief What it has sent by now
 *
 * Of that nothing is remembered; of what its far end has reported all is.
 */
struct playback_peer_count playback_peer_count(struct playback_peer *peer);

/*! \brief Remember that so much was sent */
void playback_peer_accept(struct playback_peer *peer,
	const struct playback_peer_count *count);

/*!
 * \brief A frame it is about to be given lasts only \a frame_ns: so short is its packet, where
 * each frame is one
 */
void playback_peer_gets_short(struct playback_peer *peer, int64_t frame_ns);

/*!
 * \brief Whether the peer's thread is done with all frames it was given, as far as seen
 *
 * And so are those of the Local channels between and of who listens.
 */
int playback_peer_is_done(const struct playback_peer *peer);

/*!
 * \brief How many of the latest frames, with all of which it is done, got lost where a Local
 * channel was optimised away: as many fewer were written to who listens
 *
 * Where they would have been resampled it is asked of all that got lost before that.
 *
 * To be asked whenever it is done.
 */
unsigned int playback_peer_lost(struct playback_peer *peer);

/*!
 * \brief Whether the peer has nowhere to send to: its far end holds the call
 *
 * \retval 1 so it is: what it is given it throws away
 * \retval 0 it has
 * \retval -1 its RTP is busy
 */
int playback_peer_is_shut(const struct playback_peer *peer);

/*!
 * \brief A packet is missing: ask the peer for its RTP again
 *
 * \retval 2 it is the same, and what it is given now goes into packets of another length
 * \retval 1 it is still the same and its packets last as long
 * \retval 0 something was different, and is now known, or the peer could not be asked; or
 *         what it sends cannot be seen any more
 */
int playback_peer_confirm(struct playback_peer *peer);

/*! \brief What its far end reported, as of the latest look and if it is not too old */
struct playback_far_end playback_peer_far_end(const struct playback_peer *peer,
	int64_t now_ns);

/*! \brief Why nobody would hear what is delivered now */
enum playback_unheard playback_peer_unheard(const struct playback_peer *peer);

#endif /* PLAYBACK_PEER_H */
