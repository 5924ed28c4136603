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
 */

#include "asterisk.h"

#include "asterisk/ast_version.h"
#include "asterisk/bridge.h"
#include "asterisk/bridge_channel.h"
#include "asterisk/datastore.h"
#include "asterisk/framehook.h"
#include "asterisk/rtp_engine.h"
#include "asterisk/strings.h"

#include "playback_bridge.h"
#include "playback_listener.h"
#include "playback_peer.h"
#include "playback_timer.h"

/*! \brief How long a call takes at most to be set up */
#define FIRST_WAIT_NS (500 * NS_PER_MS)

/*! \brief How often another channel is locked at most, in ns */
#define PARTY_LOOK_NS (100 * NS_PER_MS)

/*!
 * \brief How often at most that only may have become mute, in ns
 *
 * That it has shows at once, unless its new datastore is where another one was.
 */
#define MUTE_LOOK_NS NS_PER_S

/*!
 * \brief How struct suppress_data begins, where ast_channel_suppress() keeps what is mute
 *
 * It is private to channel.c.  The releases for which it is trusted are those of
 * playback_bridge_knows_softmix(); in others it is not seen that a channel is mute.
 */
struct suppress_begin {
	/*! What is kept back: AST_FRAME_VOICE */
	enum ast_frame_type frametype;
	/*! In which direction, AST_MUTE_DIRECTION_READ and _WRITE */
	unsigned int direction;
};

/*! \brief Name of the datastore that has it for voice */
#define SUPPRESS_DATASTORE "suppressvoice"

void playback_listener_init(struct playback_listener *listener, int waits,
	int no_auto_answer, const struct ast_channel *caller)
{
	listener->waits = waits;
	listener->no_auto_answer = no_auto_answer;
	listener->caller = no_auto_answer && caller
		? ast_channel_ref((struct ast_channel *) caller) : NULL;
}

static void forget_party(struct playback_party *party)
{
	ao2_cleanup(party->rtp);
	memset(party, 0, sizeof(*party));
}

void playback_listener_destroy(struct playback_listener *listener)
{
	if (listener->caller) {
		ast_channel_unref(listener->caller);
		listener->caller = NULL;
	}
	forget_party(&listener->party);
}

static int is_one_of(const char *name, const char *const names[], size_t count)
{
	size_t i;

	for (i = 0; i < count; i++) {
		if (!strcmp(name, names[i])) {
			return 1;
		}
	}
	return 0;
}

/*!
 * \brief Whether something besides the other parties gets what is read from the channel
 *
 * A spy, a recording and a snoop are audiohooks.  What an audiohook or a framehook is for
 * cannot be seen: any one counts.
 */
static int is_hooked(struct ast_channel *channel)
{
	return ast_channel_audiohooks(channel)
		|| !ast_framehook_list_contains_no_active(ast_channel_framehooks(channel));
}

/*!
 * \brief Whether a channel, which is locked, is mute in a direction
 *
 * That is how ARI's mute, AMI's MuteAudio and the function MUTEAUDIO() do it.
 */
static int is_mute(struct ast_channel *channel, unsigned int direction)
{
	const struct suppress_begin *suppress;
	struct ast_datastore *datastore;

	if (!ast_channel_framehooks(channel)) {
		return 0;
	}
	AST_LIST_TRAVERSE(ast_channel_datastores(channel), datastore, entry) {
		if (!strcmp(datastore->info->type, SUPPRESS_DATASTORE)) {
			suppress = datastore->data;
			return playback_bridge_knows_softmix(ast_get_version())
				&& suppress->frametype == AST_FRAME_VOICE
				&& (suppress->direction & direction);
		}
	}
	return 0;
}

/*! \brief Look into another channel, which is locked for it if that does not wait */
static void look_into(struct playback_party *party, struct ast_channel *channel,
	int64_t now_ns)
{
	if (party->channel != channel) {
		forget_party(party);
		party->channel = channel;
		party->looked_ns = now_ns - MUTE_LOOK_NS;
		party->glue = ast_rtp_instance_get_glue(ast_channel_tech(channel)->type);
	}
	party->is_used = 1;
	if (ast_channel_trylock(channel)) {
		return;
	}
	party->looked_ns = now_ns;
	ao2_cleanup(party->rtp);
	party->rtp = playback_peer_rtp(channel);
	party->datastore = AST_LIST_FIRST(ast_channel_datastores(channel));
	party->is_mute = is_mute(channel, AST_MUTE_DIRECTION_WRITE);
	party->may_change = is_mute(channel,
		AST_MUTE_DIRECTION_READ | AST_MUTE_DIRECTION_WRITE)
		|| ast_channel_get_t38_state(channel) != T38_STATE_UNAVAILABLE;
	/* chan_rtp, which shows its RTP only after another channel's, has it at the first place */
	party->has_no_media = !party->rtp && !ast_channel_fd_isset(channel, 0)
		&& !ast_channel_fd_isset(channel, AST_EXTENDED_FDS);
	ast_channel_unlock(channel);
}

/*!
 * \brief Whether another channel is mute towards its listener
 *
 * Only a channel with framehooks can be, and when it becomes mute it gets a datastore: that
 * there is another one is seen without its lock.  In which direction it is can change then.
 */
static int is_party_mute(struct playback_party *party, struct ast_channel *channel,
	int64_t now_ns)
{
	int64_t look_ns = party->may_change ? PARTY_LOOK_NS : MUTE_LOOK_NS;

	if (!ast_channel_framehooks(channel)) {
		return 0;
	}
	if (party->channel != channel || now_ns - party->looked_ns >= look_ns
		|| party->datastore != AST_LIST_FIRST(ast_channel_datastores(channel))) {
		look_into(party, channel, now_ns);
	}
	party->is_used = 1;
	return party->is_mute;
}

/*!
 * \brief Whether another channel has no RTP, or there is nowhere to send that to
 *
 * SIP sets the address with the answer to the SDP, which is the 183, the 200 or, where the
 * INVITE had no SDP, the ACK, and takes it away while the far end holds.  RTP without it is
 * thrown away.
 *
 * \param listener
 * \param channel
 * \param follows whether its packets are counted, so that the address does not matter
 * \param now_ns when
 */
static int has_no_address(struct playback_listener *listener,
	struct ast_channel *channel, int follows, int64_t now_ns)
{
	struct playback_party *party = &listener->party;
	struct ast_sockaddr address;

	if (party->channel != channel || ((party->has_no_address
		|| (party->glue && !party->rtp))
		&& now_ns - party->looked_ns >= PARTY_LOOK_NS)) {
		look_into(party, channel, now_ns);
	}
	party->is_used = 1;
	if (!party->glue) {
		/* Not seen: a Local channel, for one */
		return 0;
	}
	if (!party->rtp) {
		/* Before the answer to the SDP; or T.38, asked for or up: then there is media */
		party->has_no_address = party->has_no_media
			|| ast_channel_state(channel) != AST_STATE_UP;
	} else if (follows) {
		party->has_no_address = 0;
	} else if (!ao2_trylock(party->rtp)) {
		ast_rtp_instance_get_remote_address(party->rtp, &address);
		party->has_no_address = ast_sockaddr_isnull(&address);
		ao2_unlock(party->rtp);
	}
	return party->has_no_address;
}

/*!
 * \brief Why what is written to another channel is not heard; see ast_write_stream()
 *
 * \param listener
 * \param channel
 * \param mixes whether a mixer writes it: that does not tell us that the channel holds
 * \param only whether it is the only one: only that is looked into
 * \param now_ns when
 */
static enum playback_suspension unheard_by(struct playback_listener *listener,
	struct ast_channel *channel, int mixes, int only, int64_t now_ns)
{
	int is_up = ast_channel_state(channel) == AST_STATE_UP;

	if (ast_channel_hold_state(channel) == AST_CONTROL_HOLD) {
		return PLAYBACK_HOLD;
	}
	if (ast_channel_sending_dtmf_digit(channel)) {
		/* As an event of RTP, or in band by a generator */
		return PLAYBACK_DIGIT;
	}
	/* Not by its data, which it is without while it generates */
	if (ast_channel_generator(channel)
		&& !ast_test_flag(ast_channel_flags(channel), AST_FLAG_WRITE_INT)) {
		return PLAYBACK_AUDIO;
	}
	if (only && is_party_mute(&listener->party, channel, now_ns)) {
		return PLAYBACK_MUTE;
	}
	if (only && has_no_address(listener, channel, is_up && !mixes, now_ns)) {
		return is_up ? PLAYBACK_HOLD : PLAYBACK_RINGING;
	}
	return PLAYBACK_NOT_SUSPENDED;
}

/*! \brief Whether a party only speaks */
static int is_speaker(const struct playback_listener *listener,
	const struct ast_bridge_channel *party)
{
	/* One that was looked into at the latest tick is none */
	return party->chan != listener->party.channel
		&& playback_bridge_is_speaker(party->chan);
}

/*! \brief Why the other parties of a bridge, which is locked, hear nothing */
static enum playback_suspension unheard_by_others(struct playback_listener *listener,
	const struct ast_channel *channel, const struct ast_bridge *bridge, int64_t now_ns)
{
	int mixes = bridge->technology->capabilities & AST_BRIDGE_CAPABILITY_MULTIMIX;
	enum playback_suspension first = PLAYBACK_ALONE;
	const struct ast_bridge_channel *party;
	enum playback_suspension reason;
	int others = 0;

	AST_LIST_TRAVERSE(&bridge->channels, party, entry) {
		others += party->chan != channel && !is_speaker(listener, party);
		if (others > 1) {
			break;
		}
	}
	AST_LIST_TRAVERSE(&bridge->channels, party, entry) {
		if (party->chan == channel || is_speaker(listener, party)) {
			continue;
		}
		/* A bridge drops what is for one that is suspended: ARI's play, or a feature */
		reason = party->suspended ? PLAYBACK_AUDIO
			: unheard_by(listener, party->chan, mixes, others == 1, now_ns);
		if (reason == PLAYBACK_NOT_SUSPENDED) {
			return reason;
		}
		if (first == PLAYBACK_ALONE) {
			first = reason;
		}
	}
	return first;
}

/*! \brief Why nobody hears a channel in a bridge, which is locked */
static enum playback_suspension unheard_bridged(struct playback_listener *listener,
	struct ast_channel *channel, struct ast_bridge *bridge, int64_t now_ns)
{
	struct ast_bridge_channel *own = NULL;
	struct ast_bridge_channel *party;
	enum playback_suspension reason;

	AST_LIST_TRAVERSE(&bridge->channels, party, entry) {
		if (party->chan == channel) {
			own = party;
			break;
		}
	}
	if (bridge->dissolved) {
		/* The call ends: that the others have left it first says nothing */
		return listener->latest;
	}
	if (own && own->features->mute) {
		return PLAYBACK_MUTE;
	}
	if (own && own->suspended) {
		/* What plays to it reads it, and throws that away */
		return PLAYBACK_AUDIO;
	}
	if (ast_channel_hold_state(channel) == AST_CONTROL_HOLD) {
		/* The other party has put this one on hold */
		return PLAYBACK_HOLD;
	}
	if (bridge->technology->capabilities & AST_BRIDGE_CAPABILITY_HOLDING
		&& !(own && ast_bridge_channel_has_role(own, "announcer"))) {
		reason = PLAYBACK_HOLDING;
	} else {
		reason = unheard_by_others(listener, channel, bridge, now_ns);
	}
	if ((reason == PLAYBACK_HOLDING || reason == PLAYBACK_ALONE) && is_hooked(channel)) {
		return PLAYBACK_NOT_SUSPENDED;
	}
	return reason;
}

/*! \brief Why nobody hears a channel that waits to be answered by its application */
static enum playback_suspension unheard_early(struct playback_listener *listener,
	const char *application, int64_t now_ns)
{
	enum playback_suspension reason;

	/* Of all that call a channel only Dial passes its early media on */
	if (!listener->caller || strcmp(application, "AppDial")) {
		return PLAYBACK_UNANSWERED;
	}
	reason = unheard_by(listener, listener->caller, 0, 1, now_ns);
	return reason == PLAYBACK_RINGING ? PLAYBACK_UNANSWERED : reason;
}

/*!
 * \brief Why nobody hears a channel that is in no bridge
 *
 * Any other application counts as one that listens: it is the dialplan's business.
 */
static enum playback_suspension unheard_unbridged(struct playback_listener *listener,
	struct ast_channel *channel, int64_t now_ns)
{
	/* Names that a channel has while it is called, and until it is bridged */
	static const char *const called[] = { "AppDial", "AppDial2", "AppQueue", };
	/* They read the channel while they call somebody, and while that is told something */
	static const char *const calling[] = { "Dial", "RetryDial", "Queue", "FollowMe", };
	/* What a subroutine of Dial's option U does while it reads the channel in vain */
	static const char *const deaf[] = {
		"BackGround", "Playback", "Read", "SayDigits", "SayNumber", "Wait", "WaitExten",
	};
	const char *application = S_OR(ast_channel_appl(channel), "");
	int calls = is_one_of(application, calling, ARRAY_LEN(calling));

	/* A SIP transfer puts a framehook on a channel that calls, to tell of its progress */
	if (calls ? ast_channel_audiohooks(channel) != NULL : is_hooked(channel)) {
		return PLAYBACK_NOT_SUSPENDED;
	}
	if (ast_channel_state(channel) != AST_STATE_UP && listener->no_auto_answer) {
		return unheard_early(listener, application, now_ns);
	}
	if (ast_channel_state(channel) != AST_STATE_UP
		|| is_one_of(application, called, ARRAY_LEN(called))) {
		return PLAYBACK_DIAL;
	}
	if (ast_test_flag(ast_channel_flags(channel), AST_FLAG_SUBROUTINE_EXEC)
		&& !ast_channel_pbx(channel) && is_one_of(application, deaf, ARRAY_LEN(deaf))) {
		return PLAYBACK_DIAL;
	}
	if (calls) {
		return PLAYBACK_RINGING;
	}
	return strcmp(application, "Stasis") ? PLAYBACK_NOT_SUSPENDED : PLAYBACK_UNBRIDGED;
}

/*! \brief A look at the bridge of a channel */
struct bridge_look {
	struct playback_listener *listener;
	struct ast_channel *channel;
	int64_t now_ns;
	/*! Why nobody hears the channel, as of now or, if the bridge is busy, of the latest look */
	enum playback_suspension reason;
};

static void look_inside(struct ast_bridge *bridge, void *data)
{
	struct bridge_look *look = data;

	look->reason = unheard_bridged(look->listener, look->channel, bridge, look->now_ns);
}

/*! \brief Why nobody hears a channel now */
static enum playback_suspension unheard(struct playback_listener *listener,
	struct ast_channel *channel, int64_t now_ns)
{
	struct bridge_look look = {
		.listener = listener,
		.channel = channel,
		.now_ns = now_ns,
		.reason = listener->latest,
	};

	if (is_mute(channel, AST_MUTE_DIRECTION_READ)) {
		return PLAYBACK_MUTE;
	}
	listener->bridge = playback_bridge_look_inside(channel, look_inside, &look);
	listener->sees_bridge = 1;
	return listener->bridge.is_bridged ? look.reason
		: unheard_unbridged(listener, channel, now_ns);
}

/*! \brief Whether a call that is being set up may be unheard for this reason */
static int is_setup(enum playback_suspension reason)
{
	switch (reason) {
	case PLAYBACK_UNBRIDGED:
	case PLAYBACK_ALONE:
	case PLAYBACK_DIAL:
	case PLAYBACK_RINGING:
	case PLAYBACK_UNANSWERED:
		return 1;
	case PLAYBACK_NOT_SUSPENDED:
	case PLAYBACK_HOLDING:
	case PLAYBACK_HOLD:
	case PLAYBACK_AUDIO:
	case PLAYBACK_DIGIT:
	case PLAYBACK_MUTE:
		break;
	}
	return 0;
}

enum playback_suspension playback_listener_look(struct playback_listener *listener,
	struct ast_channel *channel, int opted_in, int64_t now_ns)
{
	int waits = opted_in && listener->waits;

	listener->sees_bridge = 0;
	if (!waits && listener->begun) {
		listener->latest = PLAYBACK_NOT_SUSPENDED;
		return PLAYBACK_NOT_SUSPENDED;
	}
	if (listener->caller && ast_channel_state(channel) == AST_STATE_UP) {
		playback_listener_destroy(listener);
	}
	if (!listener->first_ns) {
		listener->first_ns = now_ns;
	}
	listener->party.is_used = 0;
	listener->latest = unheard(listener, channel, now_ns);
	if (!listener->party.is_used && listener->party.channel) {
		/* Gone, or no longer the only one; what it was sent to would be kept */
		forget_party(&listener->party);
	}
	if (!is_setup(listener->latest) || now_ns - listener->first_ns > FIRST_WAIT_NS) {
		listener->begun = 1;
	}
	return waits || (opted_in && !listener->begun)
		? listener->latest : PLAYBACK_NOT_SUSPENDED;
}

int playback_listener_is_unheard(const struct playback_listener *listener)
{
	return !listener->begun && listener->latest != PLAYBACK_NOT_SUSPENDED;
}

int playback_listener_is_new(const struct playback_listener *listener, int64_t now_ns)
{
	return !listener->first_ns || now_ns - listener->first_ns <= FIRST_WAIT_NS;
}

int playback_listener_tells(const struct playback_listener *listener, int opted_in)
{
	return opted_in && listener->waits && listener->begun;
}
