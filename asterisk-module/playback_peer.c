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
 */

#include "asterisk.h"

#include "asterisk/bridge.h"
#include "asterisk/core_local.h"
#include "asterisk/datastore.h"
#include "asterisk/format_cache.h"
#include "asterisk/framehook.h"
#include "asterisk/ilbc.h"
#include "asterisk/smoother.h"
#include "asterisk/stream.h"

#include "playback_bridge.h"
#include "playback_media.h"
#include "playback_peer.h"
#include "playback_timer.h"

/*! \brief Bytes of a telephone-event (RFC 4733) */
#define DIGIT_BYTES 4

/*! \brief Bytes that SRTP and a header extension add to a packet at most */
#define EXTRA_BYTES 24

/*! \brief After how many frames a peer without RTP is asked again, at most: a second */
#define ASK_AGAIN_FRAMES 50

/*! \brief How often a channel's lock is tried when it is met, and the pause between, in us */
#define TRIES 5
#define TRY_AGAIN_US 40

/*!
 * \brief By how many samples Asterisk's RTP may be late and goes on with its timestamps, see
 * MAX_TIMESTAMP_SKEW of res_rtp_asterisk.c
 */
#define TIMESTAMP_SKEW 640

/*!
 * \brief Each of so many questions what was sent is one what the far end reports, too
 *
 * Of all that an RTP says of itself that takes far more time than the two numbers wanted at
 * each tick.
 */
#define REPORT_QUESTIONS 16

/*! \brief For how long what the far end has reported is told, in ns */
#define REPORT_STANDS_NS (15 * NS_PER_S)

/*!
 * \brief From here on a round trip time is less than none, in s
 *
 * It is 32 bits of 1/65536 s, and Asterisk takes them for unsigned.  It keeps the time
 * before it sees that it cannot be right.
 */
#define NEGATIVE_FROM_S 32768

/*! \brief What is known of a channel's RTP */
struct rtp_view {
	/*! With a reference, NULL if there is none that counts its packets */
	struct ast_rtp_instance *rtp;
	/*! See struct playback_peer */
	int64_t packet_ns;
	int packet_bytes;
	int64_t skew_ns;
	/*! Whether a smoother makes its packets, of a length that the far end has asked for */
	int is_smoothed;
	/*! It is a former one: what is sent is T.38, and not by it */
	int is_former;
	/*! There is one that was never shown, made after T.38 */
	int is_hidden;
};

/*! \brief What is coded at once in a format */
struct coded {
	/*! How long it lasts in ns, 0 if that is not known */
	int64_t ns;
	/*! Its size in bytes */
	int bytes;
	/*! Whether each is a frame of its own, whatever the frames before the coder are */
	int is_frame;
	/*! Whether the coder keeps what does not fill one */
	int gathers;
};

/*! \brief The RTP that a channel's datastore keeps for playback_peer_rtp() */
static const struct ast_datastore_info kept_rtp = {
	.type = "chan_websocket RTP",
	.destroy = __ao2_cleanup,
};

/*! \brief Have a channel, which is locked, keep the RTP it shows, in place of any other */
static void keep_rtp(struct ast_channel *channel, struct ast_rtp_instance *rtp)
{
	struct ast_datastore *kept = ast_channel_datastore_find(channel, &kept_rtp, NULL);

	/* Without T.38 it will be shown as long as it is there */
	if ((kept && kept->data == rtp)
		|| ast_channel_get_t38_state(channel) == T38_STATE_UNAVAILABLE) {
		return;
	}
	if (!kept) {
		kept = ast_datastore_alloc(&kept_rtp, NULL);
		if (!kept) {
			return;
		}
		ast_channel_datastore_add(channel, kept);
	}
	ao2_cleanup(kept->data);
	kept->data = ao2_bump(rtp);
}

/*! \brief Whether a channel reads from the socket of an RTP */
static int has_socket(const struct ast_channel *channel, struct ast_rtp_instance *rtp)
{
	int fd = ast_rtp_instance_fd(rtp, 0);
	int i;

	for (i = 0; fd >= 0 && i < ast_channel_fd_count(channel); i++) {
		if (ast_channel_fd(channel, i) == fd) {
			return 1;
		}
	}
	return 0;
}

struct ast_rtp_instance *playback_peer_rtp(struct ast_channel *channel)
{
	struct ast_rtp_glue *glue = ast_rtp_instance_get_glue(ast_channel_tech(channel)->type);
	struct ast_rtp_instance *rtp = NULL;
	struct ast_datastore *kept;

	if (!glue || !glue->get_rtp_info || !ast_channel_tech_pvt(channel)) {
		return NULL;
	}
	/* With SRTP it says that others must not use it, and gives it all the same */
	glue->get_rtp_info(channel, &rtp);
	if (rtp) {
		keep_rtp(channel, rtp);
		return rtp;
	}
	/* One that was masqueraded has another's, too */
	AST_LIST_TRAVERSE(ast_channel_datastores(channel), kept, entry) {
		if (kept->info == &kept_rtp && has_socket(channel, kept->data)) {
			return ao2_bump(kept->data);
		}
	}
	return NULL;
}

/*!
 * \brief Whether a channel, which is locked, has audio agreed on with its far end, and gives
 * it what it is written
 *
 * A gateway for T.38 is a framehook, which keeps all that.
 */
static int sends_audio(struct ast_channel *channel)
{
	struct ast_stream_topology *topology = ast_channel_get_stream_topology(channel);

	return topology
		&& ast_stream_topology_get_first_stream_by_type(topology, AST_MEDIA_TYPE_AUDIO)
		&& ast_framehook_list_contains_no_active_of_type(ast_channel_framehooks(channel),
			AST_FRAME_VOICE);
}

static int counts(struct ast_rtp_instance *rtp)
{
	struct ast_rtp_instance_stats stats;

	/* Without RTCP it does not */
	return rtp && !ast_rtp_instance_get_stats(rtp, &stats, AST_RTP_INSTANCE_STAT_TXCOUNT);
}

static int is_same(const struct ast_format *a, const struct ast_format *b)
{
	return ast_format_cmp(a, b) == AST_FORMAT_CMP_EQUAL;
}

/*! \brief What Asterisk's coders make of audio; those of other modules are not known */
static struct coded coded_at_once(const struct ast_format *format)
{
	const char *codec = ast_format_get_codec_name(format);
	struct coded coded = {
		.ns = ast_format_get_minimum_ms(format) * NS_PER_MS,
		.bytes = ast_format_get_minimum_bytes(format),
	};
	const struct ilbc_attr *ilbc;

	if (!strcmp(codec, "lpc10")) {
		/* 180 samples, though its format says 20 ms */
		coded.ns = 22500000;
		coded.is_frame = 1;
	} else if (!strcmp(codec, "ilbc")) {
		ilbc = ast_format_get_attribute_data(format);
		coded.ns = (ilbc ? ilbc->mode : 30) * NS_PER_MS;
		coded.bytes = coded.ns == 20 * NS_PER_MS ? 38 : 50;
		coded.is_frame = 1;
	} else if (!strcmp(codec, "gsm") || !strcmp(codec, "codec2")) {
		coded.gathers = 1;
	} else if (coded.ns != 10 * NS_PER_MS) {
		coded.ns = 0;
	}
	return coded;
}

/*! \brief Bytes that packets are made of, of frames of any size, 0 if each is as a frame */
static int smoothed_bytes(struct ast_rtp_instance *rtp, const struct ast_format *format)
{
	unsigned int framing_ms;

	if (!rtp || !ast_format_can_be_smoothed(format)) {
		return 0;
	}
	framing_ms = ast_rtp_codecs_get_framing(ast_rtp_instance_get_codecs(rtp));
	if (!framing_ms && ast_format_get_smoother_flags(format) & AST_SMOOTHER_FLAG_FORCED) {
		framing_ms = ast_format_get_default_ms(format);
	}
	return framing_ms * ast_format_get_minimum_bytes(format)
		/ ast_format_get_minimum_ms(format);
}

/*! \brief What the packets are that a channel makes of frames in the format \a given */
static void look_at_packets(const struct playback_peer *peer, struct rtp_view *view,
	const struct ast_format *format, const struct ast_format *given)
{
	struct coded coded = coded_at_once(format);
	int bytes = smoothed_bytes(view->rtp, format);

	view->is_smoothed = bytes && !peer->passthrough;
	if (is_same(format, given)) {
		coded.is_frame = 0;
		coded.gathers = 0;
		coded.ns = ast_format_get_minimum_ms(format) * NS_PER_MS;
		coded.bytes = ast_format_get_minimum_bytes(format);
	}
	if (!bytes && (coded.is_frame || coded.gathers)) {
		bytes = coded.bytes;
	}
	if (bytes && coded.bytes) {
		view->packet_ns = bytes * coded.ns / coded.bytes;
		view->packet_bytes = bytes;
	} else if (coded.ns) {
		view->packet_bytes = ast_format_get_default_ms(format) * NS_PER_MS
			* coded.bytes / coded.ns;
	}
	if (peer->passthrough) {
		view->packet_bytes = 0;
	}
}

/*! \brief Look at the RTP of a channel, which is locked */
static struct rtp_view look_at_rtp(const struct playback_peer *peer,
	struct ast_channel *channel)
{
	const struct ast_format *given = peer->given ? peer->given : peer->ours;
	struct ast_format *format = ast_channel_rawwriteformat(channel);
	struct rtp_view view = { .rtp = NULL, };
	struct ast_datastore *kept;

	if (!format || (!coded_at_once(format).ns && !is_same(format, given))) {
		return view;
	}
	view.rtp = playback_peer_rtp(channel);
	if (!view.rtp) {
		/* What it had sends nothing any more; what it may have in its place is alike */
		kept = ast_channel_datastore_find(channel, &kept_rtp, NULL);
		view.rtp = kept ? ao2_bump(kept->data) : NULL;
		view.is_former = view.rtp != NULL;
		view.is_hidden = view.is_former && sends_audio(channel);
	}
	look_at_packets(peer, &view, format, given);
	/* Where no silence can be added the end of an utterance would be waited for */
	if (view.packet_ns > ast_format_get_default_ms(peer->ours) * NS_PER_MS
		&& !playback_media_has_silence(peer->ours)) {
		view.packet_ns = 0;
		ao2_cleanup(view.rtp);
		view.rtp = NULL;
	}
	view.skew_ns = TIMESTAMP_SKEW * NS_PER_S / ast_rtp_get_rate(format);
	if (view.is_hidden || !counts(view.rtp)) {
		ao2_cleanup(view.rtp);
		view.rtp = NULL;
	}
	return view;
}

static int try_lock(const struct playback_peer *peer, struct ast_channel *channel)
{
	int i;

	for (i = 1; ast_channel_trylock(channel); i++) {
		if (i >= peer->tries) {
			return 0;
		}
		usleep(TRY_AGAIN_US);
	}
	return 1;
}

static void leave_place(struct playback_place *place)
{
	place->channel = ast_channel_cleanup(place->channel);
	ao2_cleanup(place->bridge_channel);
	place->bridge_channel = NULL;
}

/*! \brief Go to a place in a bridge; takes the reference, and 0 if nobody is there */
static int go_to(struct playback_place *place, struct ast_bridge_channel *bridge_channel)
{
	if (!bridge_channel) {
		return 0;
	}
	/* It has a channel as long as it is in the bridge, which may end here */
	if (!ast_bridge_channel_trylock(bridge_channel)) {
		place->channel = bridge_channel->chan
			? ast_channel_ref(bridge_channel->chan) : NULL;
		ast_bridge_channel_unlock(bridge_channel);
	}
	if (!place->channel) {
		ao2_ref(bridge_channel, -1);
		return 0;
	}
	place->bridge_channel = bridge_channel;
	return 1;
}

/*!
 * \brief The other place in a bridge of two that does not mix
 *
 * \param bridge takes the reference; may be NULL
 * \param channel
 * \param[out] own the place of \a channel, may be NULL
 * \return with a reference, NULL if there is none
 */
static struct ast_bridge_channel *find_other(struct ast_bridge *bridge,
	const struct ast_channel *channel, struct ast_bridge_channel **own)
{
	struct ast_bridge_channel *found = NULL;
	struct ast_bridge_channel *first;

	if (!bridge) {
		return NULL;
	}
	if (!ao2_trylock(bridge)) {
		found = ao2_bump(playback_bridge_peer(bridge, channel));
		if (found && own) {
			first = AST_LIST_FIRST(&bridge->channels);
			*own = ao2_bump(first == found ? AST_LIST_NEXT(first, entry) : first);
		}
		ao2_unlock(bridge);
	}
	ao2_ref(bridge, -1);
	return found;
}

/*! \brief Forget who listens, but not the peer */
static void leave_listener(struct playback_peer *peer)
{
	struct playback_local *local;

	ao2_cleanup(peer->rtp);
	peer->rtp = NULL;
	peer->is_former = 0;
	peer->packet_ns = 0;
	peer->resampled_ns = 0;
	peer->between_ns = 0;
	peer->short_bytes = 0;
	peer->listener = NULL;
	while (peer->local_count) {
		local = &peer->locals[--peer->local_count];
		leave_place(&local->next);
		leave_place(&local->half);
		ao2_cleanup(local->beyond);
		local->beyond = NULL;
	}
	ao2_cleanup(peer->given);
	peer->given = NULL;
	peer->is_known = 0;
}

/*! \brief Look who is at the other end of a Local channel, whose other half is known */
static void cross(struct playback_peer *peer, struct playback_local *local)
{
	struct ast_channel *half = local->half.channel;

	if (!try_lock(peer, half)) {
		return;
	}
	/* A hook may keep frames, or make others of them */
	if (ast_framehook_list_contains_no_active(ast_channel_framehooks(half))
		&& !ast_channel_audiohooks(half)) {
		local->beyond = ast_channel_get_bridge(half);
	}
	peer->between_ns += playback_media_resampled_ns(ast_channel_readtrans(half),
		peer->ours);
	ast_channel_unlock(half);
	go_to(&local->next, find_other(ao2_bump(local->beyond), half,
		&local->half.bridge_channel));
}

/*!
 * \brief Look through a Local channel
 *
 * \param peer
 * \param near the half that is given our frames, locked; unlocked here
 * \return who is given them behind it, NULL if that is not known
 */
static const struct playback_place *look_through(struct playback_peer *peer,
	struct ast_channel *near)
{
	struct playback_local *local = peer->local_count < PLAYBACK_LOCALS_MAX
		? &peer->locals[peer->local_count++] : NULL;

	if (local) {
		local->half.channel = ast_local_get_peer(near);
	}
	ao2_cleanup(peer->given);
	peer->given = ao2_bump(ast_channel_rawwriteformat(near));
	peer->between_ns += playback_media_resampled_ns(ast_channel_writetrans(near),
		peer->ours);
	ast_channel_unlock(near);
	if (!local || !local->half.channel || !peer->given || !coded_at_once(peer->given).ns
		|| coded_at_once(peer->given).is_frame) {
		return NULL;
	}
	cross(peer, local);
	return local->next.channel ? &local->next : NULL;
}

/*!
 * \brief See what the packets really are: Asterisk's RTP keeps a smoother as long as its
 * format is the same, whatever length of packets is asked for meanwhile
 */
static void see_smoother(struct playback_smoother *smoother, struct rtp_view *view,
	const struct ast_format *format)
{
	if (view->rtp && view->is_smoothed && smoother->rtp == view->rtp
		&& smoother->format == format && !smoother->is_over) {
		view->packet_ns = smoother->packet_ns;
		view->packet_bytes = smoother->packet_bytes;
		return;
	}
	smoother->rtp = view->is_smoothed ? view->rtp : NULL;
	smoother->format = format;
	smoother->packet_ns = view->packet_ns;
	smoother->packet_bytes = view->packet_bytes;
	smoother->is_over = 0;
	smoother->has_rest = 0;
}

/*! \brief Look what makes what a channel, which is locked, is given its format */
static void look_at_path(struct playback_peer *peer, struct ast_channel *channel)
{
	peer->path = ast_channel_writetrans(channel);
	peer->path_format = ast_channel_writeformat(channel);
	peer->resampled_ns = peer->between_ns
		+ playback_media_resampled_ns(peer->path, peer->ours);
}

/*! \brief Whether it was another path when that was looked at; a look without a lock is enough */
static int is_path_other(const struct playback_peer *peer, struct ast_channel *channel)
{
	return ast_channel_writetrans(channel) != peer->path
		|| ast_channel_writeformat(channel) != peer->path_format;
}

static int sees_path(struct playback_peer *peer, struct ast_channel *channel)
{
	if (!is_path_other(peer, channel) || ast_channel_trylock(channel)) {
		return 0;
	}
	look_at_path(peer, channel);
	ast_channel_unlock(channel);
	return 1;
}

/*! \brief Look who listens, and what that sends */
static void find_listener(struct playback_peer *peer)
{
	const struct playback_place *listener = &peer->near;
	struct rtp_view view;

	leave_listener(peer);
	if (!try_lock(peer, listener->channel)) {
		return;
	}
	while (!strcmp(ast_channel_tech(listener->channel)->type, "Local")) {
		listener = look_through(peer, listener->channel);
		if (!listener || !try_lock(peer, listener->channel)) {
			return;
		}
	}
	peer->listener = listener;
	view = look_at_rtp(peer, listener->channel);
	peer->is_known = 1;
	peer->format = ast_channel_rawwriteformat(listener->channel);
	peer->is_path_new = is_path_other(peer, listener->channel);
	look_at_path(peer, listener->channel);
	see_smoother(&peer->smoother, &view, peer->format);
	ast_channel_unlock(listener->channel);
	peer->frames_given = 0;
	peer->frames_written = ast_channel_fout(listener->channel);
	peer->rtp = view.rtp;
	peer->is_former = view.is_former;
	peer->packet_ns = view.packet_ns;
	peer->packet_bytes = view.packet_bytes;
	peer->skew_ns = view.skew_ns;
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

/*! \brief Ask the RTP what it has sent, and now and then what its far end reports */
static struct playback_peer_count ask_rtp(struct playback_peer *peer)
{
	struct ast_rtp_instance_stats stats;
	struct playback_peer_count count = { .packets = peer->packets, .bytes = peer->bytes, };

	/* Else a packet that leaves between two questions would be taken for a digit */
	ao2_lock(peer->rtp);
	if (!ast_rtp_instance_get_stats(peer->rtp, &stats, AST_RTP_INSTANCE_STAT_TXCOUNT)) {
		count.packets = stats.txcount;
	}
	if (count.packets != peer->packets && !ast_rtp_instance_get_stats(peer->rtp, &stats,
		AST_RTP_INSTANCE_STAT_TXOCTETCOUNT)) {
		count.bytes = stats.txoctetcount;
	}
	ao2_unlock(peer->rtp);
	if (!(peer->questions++ % REPORT_QUESTIONS)
		&& !ast_rtp_instance_get_stats(peer->rtp, &stats, AST_RTP_INSTANCE_STAT_ALL)) {
		note_reports(peer, &stats);
	}
	return count;
}

void playback_peer_init(struct playback_peer *peer, const struct ast_format *ours,
	int passthrough)
{
	memset(peer, 0, sizeof(*peer));
	peer->ours = ours;
	peer->passthrough = passthrough;
	peer->tries = TRIES;
}

/*! \brief Forget the peer, but not what is in its smoother and its resamplers */
static void leave_places(struct playback_peer *peer)
{
	leave_listener(peer);
	leave_place(&peer->near);
	peer->mixer = NULL;
}

/*! \brief Whether the peer, when it is met, has the rest that was left */
static int has_rest(const struct playback_peer *peer,
	const struct playback_peer_count *count)
{
	/* What it has sent meanwhile has taken the rest with it, or was a digit */
	return peer->rest_rtp && count->packets == peer->packets && (peer->packet_ns
		? peer->rest_rtp == peer->smoother.rtp && peer->smoother.has_rest
		: peer->rest_rtp == peer->rtp);
}

int playback_peer_meet(struct playback_peer *peer, struct ast_channel *channel)
{
	struct playback_peer_count count;
	int watching;

	leave_places(peer);
	if (!go_to(&peer->near,
		find_other(ast_channel_get_bridge(channel), channel, NULL))) {
		return 0;
	}
	find_listener(peer);
	peer->asked_after = 1;
	peer->ask_again = 1;
	if (!peer->rtp) {
		return 0;
	}
	peer->looked_ns = playback_now_ns();
	peer->questions = 0;
	count = ask_rtp(peer);
	watching = has_rest(peer, &count) ? 2 : 1;
	playback_peer_accept(peer, &count);
	forget_reports(peer);
	if (watching == 2) {
		playback_peer_forget_rest(peer);
	}
	return watching;
}

void playback_peer_forget_rest(struct playback_peer *peer)
{
	ao2_cleanup(peer->rest_rtp);
	peer->rest_rtp = NULL;
}

void playback_peer_leave(struct playback_peer *peer)
{
	leave_places(peer);
	playback_peer_forget_rest(peer);
}

int playback_peer_keeps_rest(const struct playback_peer *peer)
{
	return peer->rtp && !ast_check_hangup(peer->listener->channel)
		&& (!peer->packet_ns
		|| (peer->smoother.rtp == peer->rtp && !peer->smoother.is_over));
}

void playback_peer_leave_rest(struct playback_peer *peer)
{
	if (!peer->rest_rtp) {
		peer->rest_rtp = ao2_bump(peer->rtp);
		peer->smoother.has_rest = 1;
	}
	leave_places(peer);
}

/*!
 * \brief Look what packets a party of a mixer gets, if that can be seen now
 *
 * \param place takes the references
 * \param[in,out] packet_ns how long they last; set if it is longer
 * \param[in,out] resampled_ns by how much they are resampled; set if it is more
 * \return whether it was seen
 */
static int look_at_party(struct playback_place place, int64_t *packet_ns,
	int64_t *resampled_ns)
{
	/* What a mixer writes is coded anew for each party */
	struct playback_peer party = { .ours = ast_format_slin, .near = place, };
	int seen;

	find_listener(&party);
	seen = party.is_known;
	if (seen) {
		*packet_ns = MAX(*packet_ns, party.packet_ns);
		*resampled_ns = MAX(*resampled_ns, party.resampled_ns);
	}
	playback_peer_leave(&party);
	return seen;
}

void playback_peer_mixed(struct playback_peer *peer, struct ast_channel *channel,
	const struct ast_bridge *mixer, unsigned int parties)
{
	struct ast_bridge *bridge;
	struct ast_bridge_channel *party;
	struct playback_place *places;
	unsigned int sample_rate = ast_format_get_sample_rate(ast_channel_readformat(channel));
	int64_t packet_ns = 0;
	int64_t resampled_ns = 0;
	unsigned int count = 0;
	int seen = 1;

	if (peer->mixer == mixer && peer->parties == parties
		&& peer->mixer_rate == sample_rate && --peer->ask_again) {
		return;
	}
	bridge = ast_channel_get_bridge(channel);
	if (!bridge || ao2_trylock(bridge)) {
		ao2_cleanup(bridge);
		peer->ask_again = 1;
		return;
	}
	places = ast_alloca((bridge->num_channels + 1) * sizeof(*places));
	AST_LIST_TRAVERSE(&bridge->channels, party, entry) {
		if (party->chan != channel && !party->suspended && count < bridge->num_channels
			&& !playback_bridge_is_speaker(party->chan)) {
			places[count].channel = ast_channel_ref(party->chan);
			places[count++].bridge_channel = ao2_bump(party);
		}
	}
	ao2_unlock(bridge);
	ao2_ref(bridge, -1);
	while (count--) {
		seen &= look_at_party(places[count], &packet_ns, &resampled_ns);
	}
	/* While they are the same, none of a smoother that still is there is forgotten */
	if (peer->mixer == mixer && (!seen || peer->parties == parties)) {
		packet_ns = MAX(packet_ns, peer->packet_ns);
	}
	if (peer->mixer == mixer && !seen) {
		resampled_ns = MAX(resampled_ns, peer->resampled_ns);
	}
	peer->packet_ns = packet_ns;
	peer->resampled_ns = resampled_ns;
	peer->mixer = mixer;
	peer->mixer_rate = sample_rate;
	peer->parties = parties;
	peer->ask_again = ASK_AGAIN_FRAMES;
}

/*! \brief Whether one that is not seen can be by now, or has other packets */
static int asked_again(struct playback_peer *peer)
{
	int64_t packet_ns = peer->packet_ns;
	int64_t resampled_ns = peer->resampled_ns;

	peer->asked_after = MIN(2 * peer->asked_after, ASK_AGAIN_FRAMES);
	peer->ask_again = peer->asked_after;
	find_listener(peer);
	return peer->rtp || peer->packet_ns != packet_ns || peer->resampled_ns != resampled_ns;
}

static int has_left(const struct playback_place *place)
{
	return place->bridge_channel
		&& place->bridge_channel->state != BRIDGE_CHANNEL_STATE_WAIT;
}

/*! \brief Whether who listens, whose RTP is a former one, is sent audio again */
static int is_back(const struct playback_peer *peer)
{
	struct ast_channel *listener = peer->listener->channel;
	int back;

	if (ast_channel_trylock(listener)) {
		return 0;
	}
	back = sends_audio(listener);
	ast_channel_unlock(listener);
	return back;
}

/*! \brief Whether a Local channel no longer leads to where it did */
static int is_redirected(const struct playback_local *local)
{
	return has_left(&local->half) || has_left(&local->next)
		|| local->beyond->num_channels != 2
		|| local->half.bridge_channel->bridge != local->beyond;
}

/*! \brief Whether what the peer is given goes elsewhere by now; not by its locks */
static int is_elsewhere(const struct playback_peer *peer)
{
	unsigned int i;

	for (i = 0; i < peer->local_count; i++) {
		if (is_redirected(&peer->locals[i])) {
			return 1;
		}
	}
	return has_left(&peer->near);
}

int playback_peer_has_other_path(const struct playback_peer *peer)
{
	return peer->is_known && is_path_other(peer, peer->listener->channel);
}

int playback_peer_sees_path(struct playback_peer *peer)
{
	return peer->is_known && sees_path(peer, peer->listener->channel);
}

int playback_peer_sees_caller(struct playback_peer *peer, struct ast_channel *caller)
{
	peer->between_ns = 0;
	return sees_path(peer, caller);
}

int playback_peer_has_changed(struct playback_peer *peer)
{
	/* Of all these a look without their locks is enough: the next one comes in a tick */
	if (!peer->near.bridge_channel) {
		return 0;
	}
	if (!peer->rtp) {
		return has_left(&peer->near) || (!--peer->ask_again && asked_again(peer));
	}
	return is_elsewhere(peer)
		|| ast_channel_rawwriteformat(peer->listener->channel) != peer->format
		|| (peer->is_former && is_back(peer));
}

/*!
 * \brief Learn from the size of a packet that the smoother is another one
 * \return whether so it is
 */
static int learn_smoother(struct playback_peer *peer, int bytes)
{
	struct playback_smoother *smoother = &peer->smoother;
	int unit = smoother->rtp ? ast_format_get_minimum_bytes(smoother->format) : 0;

	if (!unit || peer->short_bytes || bytes < unit || bytes <= DIGIT_BYTES + EXTRA_BYTES
		|| (bytes >= peer->packet_bytes && bytes <= peer->packet_bytes + EXTRA_BYTES)) {
		return 0;
	}
	bytes -= bytes % unit;
	peer->packet_ns = peer->packet_ns * bytes / peer->packet_bytes;
	peer->packet_bytes = bytes;
	smoother->packet_ns = peer->packet_ns;
	smoother->packet_bytes = bytes;
	return 1;
}

struct playback_peer_count playback_peer_count(struct playback_peer *peer)
{
	struct playback_peer_count count = ask_rtp(peer);
	int packets = count.packets - peer->packets;
	int bytes = count.bytes - peer->bytes;
	int missing;
	int digits;

	count.media = packets;
	count.are_others = packets == 1 && learn_smoother(peer, bytes);
	if (peer->packet_bytes > DIGIT_BYTES
		&& !(packets == 1 && bytes > DIGIT_BYTES + EXTRA_BYTES)) {
		missing = packets * peer->packet_bytes - bytes;
		count.short_bytes = MIN(peer->short_bytes, MAX(missing, 0));
		missing -= count.short_bytes;
		digits = (missing + (peer->packet_bytes - DIGIT_BYTES) / 2)
			/ (peer->packet_bytes - DIGIT_BYTES);
		digits = MIN(packets, MAX(digits, 0));
		count.media -= digits;
		/* Behind a digit there is a new one */
		peer->smoother.is_over |= digits > 0;
	}
	return count;
}

void playback_peer_accept(struct playback_peer *peer,
	const struct playback_peer_count *count)
{
	peer->packets = count->packets;
	peer->bytes = count->bytes;
	peer->short_bytes -= count->short_bytes;
}

void playback_peer_gets_short(struct playback_peer *peer, int64_t frame_ns)
{
	int64_t full_ns = ast_format_get_default_ms(peer->ours) * NS_PER_MS;

	if (peer->rtp && !peer->packet_ns) {
		peer->short_bytes += peer->packet_bytes
			- peer->packet_bytes * frame_ns / full_ns;
	}
}

/*!
 * \brief Whether the thread of a channel is done with all it was given
 *
 * \param place
 * \param reads whether it is what it reads that counts, not what the bridge gives it
 */
static int is_done(const struct playback_place *place, int reads)
{
	struct ast_bridge_channel *bridge_channel = place->bridge_channel;
	int done;

	/*
	 * First of all: while its thread has one of these it is not idle.  Once it has left it
	 * reads no more.
	 */
	if (reads && bridge_channel->state == BRIDGE_CHANNEL_STATE_WAIT
		&& !AST_LIST_EMPTY(ast_channel_readq(place->channel))) {
		return 0;
	}
	if (ast_bridge_channel_trylock(bridge_channel)) {
		return 0;
	}
	/* One that leaves the bridge throws away what it has not written yet */
	done = bridge_channel->suspended
		|| (bridge_channel->activity == BRIDGE_CHANNEL_THREAD_IDLE
		&& (reads || AST_LIST_EMPTY(&bridge_channel->wr_queue)
		|| bridge_channel->state != BRIDGE_CHANNEL_STATE_WAIT));
	ast_bridge_channel_unlock(bridge_channel);
	return done;
}

int playback_peer_is_done(const struct playback_peer *peer)
{
	int done = is_done(&peer->near, 0);
	unsigned int i;

	/* In the order in which frames pass them */
	for (i = 0; done && i < peer->local_count; i++) {
		done = is_done(&peer->locals[i].half, 1) && is_done(&peer->locals[i].next, 0);
	}
	return done;
}

unsigned int playback_peer_lost(struct playback_peer *peer)
{
	/* A look without the channel's lock is enough, since it is done */
	unsigned int count = ast_channel_fout(peer->listener->channel);
	/*
	 * What else was written to it can only hide that one is missing.  What is thrown away
	 * because it is not heard is not written, either: that is known.
	 */
	unsigned int written = (count - peer->frames_written) & ~DEBUGCHAN_FLAG;
	unsigned int lost = 0;

	if (peer->frames_given > written
		&& (peer->resampled_ns || (peer->local_count && is_elsewhere(peer)))
		&& playback_peer_unheard(peer) == PLAYBACK_UNHEARD_NO) {
		lost = peer->frames_given - written;
	}
	peer->frames_given = 0;
	peer->frames_written = count;
	return lost;
}

int playback_peer_is_shut(const struct playback_peer *peer)
{
	struct ast_sockaddr address;

	if (ao2_trylock(peer->rtp)) {
		return -1;
	}
	ast_rtp_instance_get_remote_address(peer->rtp, &address);
	ao2_unlock(peer->rtp);
	return ast_sockaddr_isnull(&address);
}

int playback_peer_confirm(struct playback_peer *peer)
{
	struct ast_channel *listener = peer->listener->channel;
	struct playback_peer_count count;
	struct rtp_view view;
	int same;

	if (ast_channel_trylock(listener)) {
		return 0;
	}
	view = look_at_rtp(peer, listener);
	see_smoother(&peer->smoother, &view, ast_channel_rawwriteformat(listener));
	ast_channel_unlock(listener);
	if (!view.rtp && !view.is_hidden) {
		/* It has none for the moment; what it had sends nothing any more */
		return 1;
	}
	same = view.rtp == peer->rtp;
	peer->short_bytes = 0;
	ao2_cleanup(peer->rtp);
	peer->rtp = view.rtp;
	if (peer->rtp && !same) {
		/* What one that was made for this call anew has sent is what was delivered */
		peer->packets = 0;
		peer->bytes = 0;
		peer->questions = 0;
		count = ask_rtp(peer);
		forget_reports(peer);
		if (count.packets > PLAYBACK_HELD_MAX) {
			playback_peer_accept(peer, &count);
		}
	}
	if (same && view.packet_ns != peer->packet_ns) {
		same = view.is_smoothed ? 2 : 0;
	}
	peer->is_former = view.is_former;
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

/*! \brief What is written to a channel with that flag ends its generator instead */
static int generates(const struct ast_channel *channel)
{
	return ast_channel_generatordata(channel)
		&& !ast_test_flag(ast_channel_flags((struct ast_channel *) channel),
			AST_FLAG_WRITE_INT);
}

/*! \brief Why what is given to somebody on the way to the listener gets no further */
static enum playback_unheard unheard_at(const struct playback_place *place)
{
	if (place->bridge_channel->suspended) {
		return PLAYBACK_UNHEARD_SUSPENDED;
	}
	return generates(place->channel) ? PLAYBACK_UNHEARD_GENERATOR : PLAYBACK_UNHEARD_NO;
}

enum playback_unheard playback_peer_unheard(const struct playback_peer *peer)
{
	enum playback_unheard unheard;
	unsigned int i;

	if (!peer->rtp) {
		return PLAYBACK_UNHEARD_NO;
	}
	unheard = unheard_at(&peer->near);
	for (i = 0; unheard == PLAYBACK_UNHEARD_NO && i < peer->local_count; i++) {
		unheard = unheard_at(&peer->locals[i].next);
	}
	if (unheard != PLAYBACK_UNHEARD_NO) {
		return unheard;
	}
	return (!peer->packet_bytes || peer->short_bytes)
		&& ast_channel_sending_dtmf_digit(peer->listener->channel)
		? PLAYBACK_UNHEARD_DIGIT : PLAYBACK_UNHEARD_NO;
}
