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
 * \brief The peer: the only other channel in a bridge that does not mix, and what it sends
 */

#include "asterisk.h"

#include "asterisk/bridge.h"
#include "asterisk/format_cache.h"
#include "asterisk/smoother.h"

#include "playback_bridge.h"
#include "playback_media.h"
#include "playback_peer.h"
#include "playback_timer.h"

/*! \brief Bytes of a telephone-event (RFC 4733) */
#define DIGIT_BYTES 4

/*! \brief Bytes that SRTP and a header extension add to a packet at most */
#define EXTRA_BYTES 24

/*! \brief After how many frames a peer without RTP is asked again: a second */
#define ASK_AGAIN_FRAMES 50

/*! \brief How often a peer's lock is tried when it is met, and the pause between, in us */
#define TRIES 5
#define TRY_AGAIN_US 40

/*!
 * \brief By how many samples Asterisk's RTP may be late and goes on with its timestamps, see
 * MAX_TIMESTAMP_SKEW of res_rtp_asterisk.c
 */
#define TIMESTAMP_SKEW 640

/*! \brief For how long what the far end has reported is told, in ns */
#define REPORT_STANDS_NS (15 * NS_PER_S)

/*!
 * \brief From here on a round trip time is less than none, in s
 *
 * It is 32 bits of 1/65536 s, and Asterisk takes them for unsigned.  It keeps the time
 * before it sees that it cannot be right.
 */
#define NEGATIVE_FROM_S 32768

/*! \brief What is known of a peer's RTP */
struct rtp_view {
	/*! With a reference, NULL if there is none that counts its packets */
	struct ast_rtp_instance *rtp;
	/*! See struct playback_peer */
	int64_t packet_ns;
	int packet_bytes;
	int64_t skew_ns;
};

static int counts(struct ast_rtp_instance *rtp)
{
	struct ast_rtp_instance_stats stats;

	/* Without RTCP it does not */
	return rtp && !ast_rtp_instance_get_stats(rtp, &stats, AST_RTP_INSTANCE_STAT_TXCOUNT);
}

/*!
 * \brief Whether a format's frames last as long as the format says, and a translator makes
 * one of each 20 ms
 */
static int is_regular(struct ast_format *format)
{
	return ast_format_get_minimum_ms(format) == 10
		|| ast_format_cmp(format, ast_format_gsm) == AST_FORMAT_CMP_EQUAL;
}

/*! \brief How long the packets last that are made of a format, in ms, 0 if as a frame */
static unsigned int packet_ms(struct ast_rtp_instance *rtp, struct ast_format *format)
{
	unsigned int framing_ms;

	if (!ast_format_can_be_smoothed(format)) {
		return 0;
	}
	framing_ms = ast_rtp_codecs_get_framing(ast_rtp_instance_get_codecs(rtp));
	if (!framing_ms && ast_format_get_smoother_flags(format) & AST_SMOOTHER_FLAG_FORCED) {
		framing_ms = ast_format_get_default_ms(format);
	}
	return framing_ms;
}

/*! \brief Look at the RTP of a channel, which is locked */
static struct rtp_view look_at_rtp(const struct playback_peer *peer,
	struct ast_channel *channel)
{
	struct ast_rtp_glue *glue = ast_rtp_instance_get_glue(ast_channel_tech(channel)->type);
	struct ast_format *format = ast_channel_rawwriteformat(channel);
	struct rtp_view view = { .rtp = NULL, };
	unsigned int ms;

	if (!glue || !glue->get_rtp_info || !format || (!is_regular(format)
		&& ast_format_cmp(format, peer->ours) != AST_FORMAT_CMP_EQUAL)) {
		return view;
	}
	/* With SRTP it says that others must not use it, and gives it all the same */
	glue->get_rtp_info(channel, &view.rtp);
	ms = view.rtp ? packet_ms(view.rtp, format) : 0;
	/* Where no silence can be added the end of an utterance would be waited for */
	if (!counts(view.rtp) || (ms > ast_format_get_default_ms(peer->ours)
		&& !playback_media_has_silence(peer->ours))) {
		ao2_cleanup(view.rtp);
		view.rtp = NULL;
		return view;
	}
	view.packet_ns = ms * NS_PER_MS;
	view.skew_ns = TIMESTAMP_SKEW * NS_PER_S / ast_rtp_get_rate(format);
	if (!peer->passthrough && ast_format_get_minimum_ms(format)) {
		view.packet_bytes = (ms ? ms : ast_format_get_default_ms(format))
			* ast_format_get_minimum_bytes(format) / ast_format_get_minimum_ms(format);
	}
	return view;
}

static struct ast_bridge_channel *find_peer(struct ast_channel *channel)
{
	struct ast_bridge *bridge = ast_channel_get_bridge(channel);
	struct ast_bridge_channel *found = NULL;

	if (!bridge) {
		return NULL;
	}
	if (!ao2_trylock(bridge)) {
		found = ao2_bump(playback_bridge_peer(bridge, channel));
		ao2_unlock(bridge);
	}
	ao2_ref(bridge, -1);
	return found;
}

static int try_lock(struct ast_channel *channel)
{
	int i;

	for (i = 0; i < TRIES && ast_channel_trylock(channel); i++) {
		usleep(TRY_AGAIN_US);
	}
	return i < TRIES;
}

static int differs(const struct playback_reported_time *a,
	const struct playback_reported_time *b)
{
	return a->latest != b->latest || a->mean != b->mean || a->deviation != b->deviation;
}

/*! \brief Of what has been reported by now it is not known when */
static void forget_reports(struct playback_peer *peer)
{
	peer->reported_ns = 0;
	peer->rtt_reported_ns = 0;
}

/*! \brief See whether the far end has reported since the latest look */
static void note_reports(struct playback_peer *peer,
	const struct ast_rtp_instance_stats *stats)
{
	/* Asterisk calls "received" what was received there */
	const struct playback_peer_reports reports = {
		.rtt = { stats->rtt, stats->normdevrtt, stats->stdevrtt, },
		.jitter = { stats->rxjitter, stats->remote_normdevjitter,
			stats->remote_stdevjitter, },
		.lost = stats->txploss,
	};

	if (!reports.rtt.mean && !reports.jitter.mean && !reports.lost) {
		/* Nothing yet, or RTCP has begun anew */
		forget_reports(peer);
	} else if (differs(&reports.rtt, &peer->reports.rtt)) {
		peer->rtt_reported_ns = peer->looked_ns;
		peer->reported_ns = peer->looked_ns;
	} else if (differs(&reports.jitter, &peer->reports.jitter)
		|| reports.lost != peer->reports.lost) {
		peer->reported_ns = peer->looked_ns;
	}
	peer->reports = reports;
}

void playback_peer_init(struct playback_peer *peer, const struct ast_format *ours,
	int passthrough)
{
	memset(peer, 0, sizeof(*peer));
	peer->ours = ours;
	peer->passthrough = passthrough;
}

int playback_peer_meet(struct playback_peer *peer, struct ast_channel *channel)
{
	struct ast_bridge_channel *bridge_channel = find_peer(channel);
	struct playback_peer_count count;
	struct rtp_view view;

	playback_peer_leave(peer);
	if (!bridge_channel) {
		return 0;
	}
	/* It has a channel as long as it is in the bridge, which may end here */
	if (!ast_bridge_channel_trylock(bridge_channel)) {
		peer->channel = bridge_channel->chan ? ast_channel_ref(bridge_channel->chan) : NULL;
		ast_bridge_channel_unlock(bridge_channel);
	}
	if (!peer->channel || !try_lock(peer->channel)) {
		peer->channel = ast_channel_cleanup(peer->channel);
		ao2_ref(bridge_channel, -1);
		return 0;
	}
	view = look_at_rtp(peer, peer->channel);
	peer->format = ast_channel_rawwriteformat(peer->channel);
	ast_channel_unlock(peer->channel);
	peer->bridge_channel = bridge_channel;
	peer->rtp = view.rtp;
	peer->packet_ns = view.packet_ns;
	peer->packet_bytes = view.packet_bytes;
	peer->skew_ns = view.skew_ns;
	peer->ask_again = ASK_AGAIN_FRAMES;
	if (!peer->rtp) {
		return 0;
	}
	peer->looked_ns = playback_now_ns();
	count = playback_peer_count(peer);
	playback_peer_accept(peer, &count);
	forget_reports(peer);
	return 1;
}

void playback_peer_leave(struct playback_peer *peer)
{
	ao2_cleanup(peer->rtp);
	peer->rtp = NULL;
	peer->channel = ast_channel_cleanup(peer->channel);
	ao2_cleanup(peer->bridge_channel);
	peer->bridge_channel = NULL;
}

int playback_peer_has_changed(struct playback_peer *peer)
{
	/* Of all these a look without their locks is enough: the next one comes in a tick */
	return peer->bridge_channel
		&& (peer->bridge_channel->state != BRIDGE_CHANNEL_STATE_WAIT
		|| ast_channel_rawwriteformat(peer->channel) != peer->format
		|| (!peer->rtp && !--peer->ask_again));
}

struct playback_peer_count playback_peer_count(struct playback_peer *peer)
{
	struct ast_rtp_instance_stats stats = { .txcount = peer->packets,
		.txoctetcount = peer->bytes, };
	struct playback_peer_count count;
	int missing;
	int packets;
	int bytes;
	int digits;

	/* In one question: a packet that leaves between two would be taken for a digit */
	if (!ast_rtp_instance_get_stats(peer->rtp, &stats, AST_RTP_INSTANCE_STAT_ALL)) {
		note_reports(peer, &stats);
	}
	count.packets = stats.txcount;
	count.bytes = stats.txoctetcount;
	packets = count.packets - peer->packets;
	bytes = count.bytes - peer->bytes;
	count.media = packets;
	if (peer->packet_bytes > DIGIT_BYTES
		&& !(packets == 1 && bytes > DIGIT_BYTES + EXTRA_BYTES)) {
		missing = packets * peer->packet_bytes - bytes;
		digits = (missing + (peer->packet_bytes - DIGIT_BYTES) / 2)
			/ (peer->packet_bytes - DIGIT_BYTES);
		count.media -= MIN(packets, MAX(digits, 0));
	}
	return count;
}

void playback_peer_accept(struct playback_peer *peer,
	const struct playback_peer_count *count)
{
	peer->packets = count->packets;
	peer->bytes = count->bytes;
}

int playback_peer_is_done(const struct playback_peer *peer)
{
	struct ast_bridge_channel *bridge_channel = peer->bridge_channel;
	int done;

	if (ast_bridge_channel_trylock(bridge_channel)) {
		return 0;
	}
	/* One that leaves the bridge throws away what it has not written yet */
	done = bridge_channel->suspended
		|| (bridge_channel->activity == BRIDGE_CHANNEL_THREAD_IDLE
		&& (AST_LIST_EMPTY(&bridge_channel->wr_queue)
		|| bridge_channel->state != BRIDGE_CHANNEL_STATE_WAIT));
	ast_bridge_channel_unlock(bridge_channel);
	return done;
}

int playback_peer_confirm(struct playback_peer *peer)
{
	struct playback_peer_count count;
	struct rtp_view view;
	int same;

	if (ast_channel_trylock(peer->channel)) {
		return 0;
	}
	view = look_at_rtp(peer, peer->channel);
	ast_channel_unlock(peer->channel);
	if (!view.rtp) {
		/* It has none for the moment; what it had sends nothing any more */
		return 1;
	}
	same = view.rtp == peer->rtp;
	ao2_cleanup(peer->rtp);
	peer->rtp = view.rtp;
	if (!same) {
		/* What one that was made for this call anew has sent is what was delivered */
		peer->packets = 0;
		peer->bytes = 0;
		count = playback_peer_count(peer);
		forget_reports(peer);
		if (count.packets > PLAYBACK_HELD_MAX) {
			playback_peer_accept(peer, &count);
		}
	}
	same = same && view.packet_ns == peer->packet_ns;
	peer->packet_ns = view.packet_ns;
	peer->packet_bytes = view.packet_bytes;
	peer->skew_ns = view.skew_ns;
	return same;
}

/*! \brief A time that was reported, in us; -1 if it is too old, or cannot be */
static int64_t reported_us(const struct playback_reported_time *time, int64_t reported_ns,
	int64_t now_ns)
{
	return reported_ns && now_ns - reported_ns <= REPORT_STANDS_NS
		&& time->latest >= 0 && time->latest < NEGATIVE_FROM_S
		? (int64_t) (time->latest * 1000000 + 0.5) : -1;
}

struct playback_far_end playback_peer_far_end(const struct playback_peer *peer,
	int64_t now_ns)
{
	const struct playback_peer_reports *reports = &peer->reports;
	struct playback_far_end far_end = {
		.rtt_us = reported_us(&reports->rtt, peer->rtt_reported_ns, now_ns),
		.jitter_us = reported_us(&reports->jitter, peer->reported_ns, now_ns),
	};

	if (!peer->rtp) {
		far_end.rtt_us = -1;
		far_end.jitter_us = -1;
	}
	return far_end;
}

enum playback_unheard playback_peer_unheard(const struct playback_peer *peer)
{
	if (!peer->rtp) {
		return PLAYBACK_UNHEARD_NO;
	}
	if (peer->bridge_channel->suspended) {
		return PLAYBACK_UNHEARD_SUSPENDED;
	}
	/* What is written to a channel with that flag ends its generator instead */
	if (ast_channel_generatordata(peer->channel)
		&& !ast_test_flag(ast_channel_flags(peer->channel), AST_FLAG_WRITE_INT)) {
		return PLAYBACK_UNHEARD_GENERATOR;
	}
	return !peer->packet_bytes && ast_channel_sending_dtmf_digit(peer->channel)
		? PLAYBACK_UNHEARD_DIGIT : PLAYBACK_UNHEARD_NO;
}
