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
 */

#include "asterisk.h"

#include "asterisk/ast_version.h"
#include "asterisk/bridge.h"
#include "asterisk/bridge_channel.h"
#include "asterisk/bridge_features.h"
#include "asterisk/format.h"
#include "asterisk/logger.h"
#include "asterisk/slinfactory.h"

#include "playback_bridge.h"
#include "playback_media.h"
#include "playback_timer.h"
#include "websocket_input.h"

/*! \brief When a frame in transit is looked for, after its delivery, in ns */
#define IN_TRANSIT_NS 200000

/*!
 * \brief How bridge_softmix's struct softmix_channel begins, a channel's tech_pvt there
 *
 * That struct is private to bridge_softmix.  In Asterisk's own tree the compiler checks
 * this copy against it; elsewhere it is trusted for the releases below only.
 */
struct softmix_begin {
	/*! Guards what follows */
	ast_mutex_t lock;
	/*! The channel's audio that has not been mixed yet */
	struct ast_slinfactory factory;
};

#ifdef __has_include
#if __has_include("../../bridges/bridge_softmix/include/bridge_softmix_internal.h")
#include "../../bridges/bridge_softmix/include/bridge_softmix_internal.h"
#define SOFTMIX_CHECKED 1

#define SAME_MEMBER(member) \
	(offsetof(struct softmix_channel, member) == offsetof(struct softmix_begin, member) \
	&& __builtin_types_compatible_p( \
		typeof(((struct softmix_channel *) 0)->member), \
		typeof(((struct softmix_begin *) 0)->member)))
_Static_assert(SAME_MEMBER(lock) && SAME_MEMBER(factory),
	"struct softmix_channel has changed: struct softmix_begin has to follow it");
#endif
#endif

#ifndef SOFTMIX_CHECKED
#define SOFTMIX_CHECKED 0
#endif

/*! \brief Releases whose bridge_softmix was seen to have struct softmix_begin */
static const char *const softmix_releases[] = {
	"20.18", "20.19", "20.20", "20.21",
	"22.8", "22.9", "22.10", "22.11", "certified-22.8",
	"23.2", "23.3", "23.4", "23.5",
};

int playback_bridge_knows_softmix(const char *version)
{
	return websocket_input_is_release(version, softmix_releases,
		ARRAY_LEN(softmix_releases));
}

/*! \brief Whether the mixer is looked into, set by find_out_about_softmix() */
static int look_into_softmix;

static void find_out_about_softmix(void)
{
	look_into_softmix = SOFTMIX_CHECKED
		|| playback_bridge_knows_softmix(ast_get_version());
	if (!look_into_softmix) {
		ast_log(LOG_NOTICE, "bridge_softmix of Asterisk %s is not known here: marks in "
			"a conference may be acknowledged up to a mixing interval late\n",
			ast_get_version());
	}
}

/*!
 * \brief How long the audio lasts that softmix holds of a channel in ns, -1 if that
 * cannot be seen
 */
static int64_t softmix_holds_ns(struct ast_bridge_channel *bridge_channel)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct softmix_begin *softmix = bridge_channel->tech_pvt;
	int64_t held_ns;

	pthread_once(&once, find_out_about_softmix);
	if (!softmix || !look_into_softmix || ast_mutex_trylock(&softmix->lock)) {
		return -1;
	}
	held_ns = playback_samples_ns(softmix->factory.output_format,
		ast_slinfactory_available(&softmix->factory));
	ast_mutex_unlock(&softmix->lock);
	return held_ns;
}

struct ast_bridge_channel *playback_bridge_peer(const struct ast_bridge *bridge,
	const struct ast_channel *channel)
{
	struct ast_bridge_channel *first = AST_LIST_FIRST(&bridge->channels);

	if (bridge->num_channels != 2 || !first || !bridge->technology
		|| !(bridge->technology->capabilities & AST_BRIDGE_CAPABILITY_1TO1MIX)) {
		return NULL;
	}
	return first->chan == channel ? AST_LIST_NEXT(first, entry) : first;
}

int playback_bridge_is_speaker(const struct ast_channel *channel)
{
	const char *type = ast_channel_tech(channel)->type;

	return !strcmp(type, "Announcer") || !strcmp(type, "CBAnn");
}

struct playback_bridge_view playback_bridge_look_at_path(struct ast_channel *channel)
{
	struct playback_bridge_view view = { .held_ns = -1, };

	view.path = ast_channel_readtrans(channel);
	view.resampled_ns = playback_media_resampled_ns(view.path,
		ast_channel_rawreadformat(channel));
	return view;
}

struct playback_bridge_view playback_bridge_look(struct ast_channel *channel)
{
	return playback_bridge_look_inside(channel, NULL, NULL);
}

struct playback_bridge_view playback_bridge_look_inside(struct ast_channel *channel,
	void (*inside)(struct ast_bridge *bridge, void *data), void *data)
{
	struct playback_bridge_view view = playback_bridge_look_at_path(channel);
	struct ast_bridge *bridge = ast_channel_get_bridge(channel);
	struct ast_bridge_channel *bridge_channel = NULL;
	const struct ast_bridge_technology *technology;

	if (!bridge) {
		return view;
	}
	view.is_bridged = 1;
	/* While it is locked the channel stays in it and the bridge keeps its technology */
	view.busy = ao2_trylock(bridge);
	technology = bridge->technology;
	if (technology && technology->capabilities & AST_BRIDGE_CAPABILITY_MULTIMIX) {
		view.mixer = bridge;
	}
	if (view.mixer && !inside) {
		view.sample_rate = ast_format_get_sample_rate(ast_channel_readformat(channel));
		bridge_channel = ast_channel_get_bridge_channel(channel);
		/* The channel's own thread suspends it */
		view.suspended = bridge_channel && bridge_channel->suspended;
		if (!view.busy && bridge_channel && bridge_channel->bridge == bridge
			&& !strcmp(technology->name, "softmix")) {
			view.held_ns = softmix_holds_ns(bridge_channel);
			view.mute = bridge_channel->features->mute;
		}
	}
	if (!view.busy) {
		view.dissolved = bridge->dissolved;
		view.parties = bridge->num_channels;
		view.interval_ns = bridge->softmix.internal_mixing_interval * NS_PER_MS;
		view.peer = playback_bridge_peer(bridge, channel);
		if (inside) {
			inside(bridge, data);
		}
		ao2_unlock(bridge);
	}
	ao2_cleanup(bridge_channel);
	ao2_ref(bridge, -1);
	return view;
}

/*! \brief Tell the ledger what resamples the channel's audio */
static void follow_path(struct playback_bridge *bridge, struct playback_ledger *ledger,
	const struct playback_bridge_view *view, int64_t now_ns)
{
	playback_ledger_resampled(ledger, view->resampled_ns, view->path != bridge->path,
		now_ns);
	bridge->path = view->path;
	bridge->resampled_ns = view->resampled_ns;
}

/*! \brief Tell the ledger whether the channel is in a mixer, and what resamples its audio */
static void follow_mixer(struct playback_bridge *bridge, struct playback_ledger *ledger,
	const struct playback_bridge_view *view, int64_t now_ns)
{
	if (view->mixer != bridge->mixer) {
		/* Out of one that mixes into another is out of the first one, too */
		playback_ledger_mixing(ledger, 0, now_ns);
		bridge->mixer = view->mixer;
		bridge->sample_rate = 0;
		bridge->interval_ns = 0;
	}
	playback_ledger_mixing(ledger, view->mixer != NULL, now_ns);
	follow_path(bridge, ledger, view, now_ns);
}

/*!
 * \brief Remember what the mixer is like, and tell the ledger if it has begun anew with another
 * sample rate
 * \return whether it has
 */
static int follow_settings(struct playback_bridge *bridge,
	struct playback_ledger *ledger, const struct playback_bridge_view *view,
	int64_t now_ns)
{
	int began = 0;

	if (!view->mixer || view->mixer != bridge->mixer) {
		return 0;
	}
	if (bridge->sample_rate && view->sample_rate != bridge->sample_rate
		/* Else it may be what plays to the channel that has set another one for a while */
		&& (view->held_ns >= 0 || !view->suspended)) {
		playback_ledger_mixer_began(ledger, view->held_ns, now_ns);
		bridge->sample_rate = view->sample_rate;
		began = 1;
	}
	if (!view->busy) {
		bridge->sample_rate = view->sample_rate;
		bridge->interval_ns = view->interval_ns;
	}
	return began;
}

void playback_bridge_follow(struct playback_bridge *bridge,
	struct playback_ledger *ledger, const struct playback_bridge_view *view,
	int64_t now_ns)
{
	follow_mixer(bridge, ledger, view, now_ns);
	follow_settings(bridge, ledger, view, now_ns);
	if (view->held_ns >= 0) {
		playback_ledger_mixer_took(ledger, view->held_ns, now_ns);
		playback_ledger_mixer_holds(ledger, view->held_ns, now_ns);
	}
}

void playback_bridge_gets_empty(struct playback_bridge *bridge,
	struct playback_ledger *ledger, const struct playback_bridge_view *view,
	int64_t now_ns)
{
	playback_bridge_follow(bridge, ledger, view, now_ns);
	if (view->mute) {
		playback_ledger_mixer_began(ledger, 0, now_ns);
	}
}

void playback_bridge_deliver(struct playback_bridge *bridge,
	struct playback_ledger *ledger, const struct playback_bridge_view *view,
	const struct playback_frame *frame)
{
	if (view->busy || bridge->in_transit_count) {
		bridge->in_transit[bridge->in_transit_count++] = *frame;
		return;
	}
	playback_bridge_follow(bridge, ledger, view, frame->delivered_ns);
	playback_ledger_caught_up(ledger, frame);
}

void playback_bridge_arrive(struct playback_bridge *bridge,
	struct playback_ledger *ledger, const struct playback_bridge_view *view,
	int64_t now_ns)
{
	unsigned int i;

	if (!bridge->in_transit_count) {
		return;
	}
	follow_mixer(bridge, ledger, view, now_ns);
	for (i = 0; view->mixer && i < bridge->in_transit_count; i++) {
		/* A mixer may have mixed before it got this frame */
		bridge->in_transit[i].delivered_ns = now_ns;
	}
	playback_bridge_leave(bridge, ledger);
}

void playback_bridge_leave(struct playback_bridge *bridge, struct playback_ledger *ledger)
{
	unsigned int i;

	for (i = 0; i < bridge->in_transit_count; i++) {
		playback_ledger_caught_up(ledger, &bridge->in_transit[i]);
	}
	bridge->in_transit_count = 0;
}

void playback_bridge_mixed(struct playback_bridge *bridge,
	struct playback_ledger *ledger, const struct playback_bridge_view *view,
	int64_t interval_ns, int64_t now_ns)
{
	/* In a bridge that ceased to mix the frame may be the caller's own */
	if (view->mixer == bridge->mixer) {
		follow_path(bridge, ledger, view, now_ns);
		/* The interval that a mixer begins with has nothing of the channel in it */
		if (!follow_settings(bridge, ledger, view, now_ns) && !view->suspended) {
			playback_ledger_mixer_writes(ledger, interval_ns, view->held_ns, now_ns);
			playback_ledger_mixed(ledger, interval_ns, now_ns);
		}
	}
	playback_bridge_follow(bridge, ledger, view, now_ns);
}

int64_t playback_bridge_next_due(const struct playback_bridge *bridge)
{
	return bridge->in_transit_count
		? bridge->in_transit[0].delivered_ns + IN_TRANSIT_NS : PLAYBACK_NEVER;
}
