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
 * \brief One WebSocket channel's playback: what the driver tells it, and when it sends
 */

#include "asterisk.h"

#include "asterisk/frame.h"
#include "asterisk/logger.h"
#include "asterisk/module.h"
#include "asterisk/strings.h"
#include "asterisk/utils.h"

#include "playback_channel.h"

/*!
 * \brief Acknowledgements sent in one go, and the pause after them, in ns
 *
 * Writing one takes some 15 us.  A burst of thousands must not keep the channel's thread
 * from delivering the next frame.
 */
#define ACKS_AT_ONCE 32
#define ACKS_PAUSE_NS 200000

/*! \brief When a socket that was full is tried again, in ns */
#define RETRY_NS (20 * NS_PER_MS)

/*!
 * \brief How often to look at a peer that is played other audio while a mark waits for the
 * rest of a packet, in ns
 */
#define REST_LOOK_NS NS_PER_MS

/*! \brief For how many ticks media waits at most until it is seen who hears it */
#define UNSEEN_TICKS_MAX 2

/*! \brief For how many until a mixer writes, the longest interval of which is 80 ms */
#define UNMIXED_TICKS_MAX 5

struct playback_channel_list playback_channels = AST_RWLIST_HEAD_INIT_VALUE;

int playback_init(struct playback_channel *playback,
	const struct playback_driver *driver)
{
	playback->ledger = ast_calloc(1, playback_ledger_size());
	if (!playback->ledger) {
		return -1;
	}
	playback->driver = *driver;
	playback->format.format = driver->format;
	playback->format.frame_size = driver->frame_size;
	playback->style.json = driver->json;
	playback->style.channel_id = ast_channel_uniqueid(driver->channel);
	ast_copy_string(playback->name, ast_channel_name(driver->channel),
		sizeof(playback->name));
	ast_mutex_init(&playback->lock);
	playback_ledger_init(playback->ledger, playback_media_frame_ns(&playback->format),
		playback_media_sample_bytes(&playback->format));
	playback_outbox_init(&playback->outbox, playback->name);
	playback_peer_init(&playback->peer, driver->format, !driver->frame_size);
	playback_timer_init(&playback->timer, driver->channel);
	/* As the driver sets its timer: to a whole number of ticks a second */
	playback_pace_init(&playback->pace,
		NS_PER_S / (1000 / ast_format_get_default_ms(driver->format)));
	playback_listener_init(&playback->listener, driver->wait_for_listener,
		driver->no_auto_answer, driver->caller);
	playback->driver.caller = NULL;
	AST_RWLIST_WRLOCK(&playback_channels);
	AST_RWLIST_INSERT_TAIL(&playback_channels, playback, entry);
	AST_RWLIST_UNLOCK(&playback_channels);
	/* The core does not count a driver's channels: unloading it under a call crashes */
	ast_module_ref(AST_MODULE_SELF);
	return 0;
}

void playback_destroy(struct playback_channel *playback)
{
	struct playback_mark *mark;

	if (!playback->ledger) {
		/* Never initialised */
		return;
	}
	AST_RWLIST_WRLOCK(&playback_channels);
	AST_RWLIST_REMOVE(&playback_channels, playback, entry);
	AST_RWLIST_UNLOCK(&playback_channels);
	playback_ledger_hangup(playback->ledger, 0);
	while ((mark = playback_ledger_pop(playback->ledger, PLAYBACK_NEVER))) {
		ast_free(mark);
	}
	ast_free(playback->ledger);
	playback_listener_destroy(&playback->listener);
	playback_peer_leave(&playback->peer);
	playback_outbox_destroy(&playback->outbox);
	playback_timer_close(&playback->timer);
	ast_mutex_destroy(&playback->lock);
	ast_module_unref(AST_MODULE_SELF);
}

/*! \brief In developer mode, compare the ledger with what is really queued */
static void check_balance(struct playback_channel *playback)
{
#ifdef AST_DEVMODE
	uint64_t queued = *playback->driver.partial_bytes;
	const struct ast_frame *frame;
	unsigned int i;
	SCOPED_MUTEX(lock, &playback->lock);

	for (i = 0; i < playback->bridge.in_transit_count; i++) {
		queued += playback->bridge.in_transit[i].media.bytes;
	}
	for (frame = *playback->driver.frames; frame;
		frame = AST_LIST_NEXT(frame, frame_list)) {
		if (frame->frametype == AST_FRAME_VOICE) {
			queued += frame->datalen;
		}
	}
	ast_assert(queued == playback_ledger_queued(playback->ledger).bytes);
#endif
}

void playback_received(struct playback_channel *playback, char *payload, size_t bytes)
{
	SCOPED_MUTEX(lock, &playback->lock);

	playback->payload = payload;
	playback->message = playback_media_message(&playback->format, payload, bytes);
	playback_ledger_received(playback->ledger, playback->message, playback_now_ns());
}

size_t playback_half_sample(const struct playback_channel *playback)
{
	return playback->opted_in ? playback_media_half_sample(&playback->format,
		*playback->driver.partial_bytes) : 0;
}

/*!
 * \brief Have nothing but whole samples dropped: else all that comes next were noise
 *
 * The other half of one that waits in the partial frame is in what is dropped; so that one
 * is dropped with it, and the half at the end waits in its place.
 *
 * \param playback
 * \param bytes how many are dropped, in and out
 * \return bytes behind them that wait
 */
static size_t drop_whole_samples(struct playback_channel *playback, size_t *bytes)
{
	size_t half = playback_half_sample(playback);
	size_t kept;

	if (!playback->opted_in || !*bytes) {
		return 0;
	}
	*bytes += half;
	*playback->driver.partial_bytes -= half;
	kept = playback_media_half_sample(&playback->format, *bytes);
	*bytes -= kept;
	if (kept) {
		playback->driver.partial[(*playback->driver.partial_bytes)++] =
			playback->payload[playback->message.bytes - 1];
	}
	return kept;
}

void playback_dropped(struct playback_channel *playback, size_t bytes,
	enum playback_drop_reason reason)
{
	SCOPED_MUTEX(lock, &playback->lock);
	size_t behind = drop_whole_samples(playback, &bytes);

	if (bytes) {
		playback_ledger_dropped(playback->ledger, bytes == playback->message.bytes
			? playback->message : playback_media_bytes(&playback->format, bytes), behind,
			reason, playback_now_ns());
	}
	playback_update_half_sample(playback);
}

struct playback_media playback_flushed(struct playback_channel *playback)
{
	SCOPED_MUTEX(lock, &playback->lock);

	if (playback->opted_in) {
		/* As the manual says.  Who has not opted in may rely on that it never was so. */
		*playback->driver.paused = 0;
	}
	playback->queued_events = 0;
	playback->pace.late_ns = 0;
	return playback_ledger_flush(playback->ledger, playback_now_ns());
}

size_t playback_update_half_sample(struct playback_channel *playback)
{
	struct playback_media none = { .bytes = 0, };
	size_t bytes = playback_media_half_sample(&playback->format,
		*playback->driver.partial_bytes);

	playback_ledger_half_sample(playback->ledger,
		bytes ? playback_media_bytes(&playback->format, bytes) : none);
	return bytes;
}

int playback_queued_event(struct playback_channel *playback, struct ast_frame *event)
{
	/* MEDIA_BUFFERING_COMPLETED is owed whatever the number of marks */
	unsigned int most = playback->driver.marks_max
		+ (strstr(event->data.ptr, "MEDIA_MARK_PROCESSED") ? 0 : PLAYBACK_OUTBOX_MAX);
	SCOPED_MUTEX(lock, &playback->lock);

	playback->has_events = 1;
	playback_timer_open(&playback->timer);
	if (playback->queued_events
		+ playback_ledger_dequeued_events(playback->ledger) >= most) {
		ast_log(LOG_WARNING, "%s: %u events are pending, ignoring this command\n",
			playback->name, playback->driver.marks_max);
		return -1;
	}
	playback->queued_events++;
	/* So much of the next frame to be queued comes before it */
	event->samples = *playback->driver.partial_bytes
		- playback_update_half_sample(playback);
	playback_ledger_event_queued(playback->ledger);
	return 0;
}

void playback_dequeued_event(struct playback_channel *playback,
	const struct ast_frame *event)
{
	struct playback_ack *ack = playback_ack_of_event(event->data.ptr);
	SCOPED_MUTEX(lock, &playback->lock);

	playback->queued_events--;
	if (ack) {
		playback_ledger_event_dequeued(playback->ledger, &ack->mark, event->samples,
			playback_now_ns());
	}
}

void playback_dequeued_media(struct playback_channel *playback,
	const struct ast_frame *frame)
{
	playback->read[playback->read_count++] = playback_media_frame(&playback->format, frame);
}

struct playback_media playback_queued(struct playback_channel *playback)
{
	SCOPED_MUTEX(lock, &playback->lock);

	return playback_ledger_queued(playback->ledger);
}

struct playback_snapshot playback_get_counts(struct playback_channel *playback)
{
	SCOPED_MUTEX(lock, &playback->lock);

	return playback_ledger_snapshot(playback->ledger, playback_now_ns());
}

struct playback_report_content playback_get_report(struct playback_channel *playback)
{
	struct playback_report_content content = {
		.counts = playback_get_counts(playback),
		.paused = *playback->driver.paused,
		.far_end = playback_peer_far_end(&playback->peer, playback_now_ns()),
	};

	return content;
}

void playback_write_mark(struct playback_channel *playback,
	struct ast_websocket *websocket, const struct playback_id *id,
	const struct playback_mark *mark)
{
	char event[PLAYBACK_EVENT_MAX];

	if (playback_event_mark(event, sizeof(event), &playback->style, id, mark,
		playback_unix_us(mark->due_ns))) {
		playback_outbox_write(&playback->outbox, websocket, event);
	}
}

size_t playback_format_flushed(struct playback_channel *playback, char *event,
	size_t size, const struct playback_pending_flush *flush,
	struct playback_media played)
{
	struct playback_flush_result result = {
		.played = played,
		.flushed = flush->flushed,
		.far_end = playback_peer_far_end(&playback->peer, playback_now_ns()),
	};

	if (playback->has_last_mark) {
		result.last_mark = &playback->last_mark;
		result.since_mark_ns = result.played.ns - playback->last_mark_ns;
	}
	return playback_event_flushed(event, size, &playback->style, &flush->id, &result);
}

/*! \brief When media that was dropped is to be reported */
static int64_t drop_due_ns(struct playback_channel *playback)
{
	SCOPED_MUTEX(lock, &playback->lock);

	return playback_ledger_drop_due(playback->ledger);
}

/*! \brief Take the next drop that is to be reported by then */
static int next_drop(struct playback_channel *playback, int64_t time_ns,
	struct playback_drop *drop)
{
	SCOPED_MUTEX(lock, &playback->lock);

	return playback_ledger_pop_drop(playback->ledger, time_ns, drop);
}

/*! \brief Report what was dropped: one reason if that is due, or all now */
static void send_drops(struct playback_channel *playback,
	struct ast_websocket *websocket, int force)
{
	char event[PLAYBACK_EVENT_MAX];
	struct playback_drop drop;
	int64_t due_ns;
	int dropped;

	do {
		due_ns = drop_due_ns(playback);
		if (due_ns == PLAYBACK_NEVER || (!force && (due_ns > playback_now_ns()
			|| !playback_outbox_can_write(&playback->outbox, websocket)))) {
			return;
		}
		dropped = next_drop(playback, force ? due_ns : playback_now_ns(), &drop);
		if (dropped && playback_event_dropped(event, sizeof(event), &playback->style,
			&drop)) {
			playback_outbox_write(&playback->outbox, websocket, event);
		}
	} while (dropped && force);
}

static void write_flushed(struct playback_channel *playback,
	struct ast_websocket *websocket, const struct playback_ack *ack)
{
	struct playback_pending_flush flush = playback_ack_flush(ack);
	struct playback_media played = {
		.bytes = flush.delivered.bytes - ack->mark.dropped,
		.ns = ack->mark.media_ns,
	};
	char event[PLAYBACK_EVENT_MAX];

	if (ack->mark.dropped) {
		send_drops(playback, websocket, 1);
	}
	if (playback_format_flushed(playback, event, sizeof(event), &flush, played)) {
		playback_outbox_write(&playback->outbox, websocket, event);
	}
}

static void write_ack(struct playback_channel *playback,
	struct ast_websocket *websocket, const struct playback_ack *ack)
{
	struct playback_id id;

	if (ack->is_flush) {
		write_flushed(playback, websocket, ack);
		return;
	}
	if (ack->is_event) {
		/* An event whose media was flushed is forgotten, as it always was */
		if (ack->mark.outcome == PLAYBACK_PLAYED) {
			playback_outbox_write(&playback->outbox, websocket, ack->text);
		}
		return;
	}
	id = playback_ack_id(ack);
	if (ack->mark.outcome == PLAYBACK_PLAYED
		&& ack->mark.offset >= playback->last_mark_offset) {
		/* One that was set behind others that had been played is not the last one */
		playback->last_mark = id;
		playback->last_mark_offset = ack->mark.offset;
		playback->last_mark_ns = ack->mark.media_ns;
		playback->has_last_mark = 1;
	}
	if (ack->mark.dropped) {
		/* It is said what was dropped before it is counted */
		send_drops(playback, websocket, 1);
	}
	playback_write_mark(playback, websocket, &id, &ack->mark);
}

/*! \brief Whether an acknowledgement is due */
static int ack_due(struct playback_channel *playback)
{
	SCOPED_MUTEX(lock, &playback->lock);

	return playback_ledger_next_due(playback->ledger) <= playback_now_ns();
}

/*! \brief The next acknowledgement that is due, for the caller to free */
static struct playback_ack *next_ack(struct playback_channel *playback)
{
	SCOPED_MUTEX(lock, &playback->lock);

	return (struct playback_ack *) playback_ledger_pop(playback->ledger,
		playback_now_ns());
}

/*! \brief Write at most \a most acknowledgements that are due; the number written */
static int send_acks(struct playback_channel *playback,
	struct ast_websocket *websocket, int most, int force)
{
	struct playback_ack *ack;
	int count = 0;

	while (count < most && ack_due(playback)
		&& (force || playback_outbox_can_write(&playback->outbox, websocket))
		&& (ack = next_ack(playback))) {
		write_ack(playback, websocket, ack);
		ast_free(ack);
		count++;
	}
	return count;
}

static void write_report(struct playback_channel *playback,
	struct ast_websocket *websocket, const struct playback_report_content *content,
	int final)
{
	char event[PLAYBACK_EVENT_MAX];

	if (playback_event_playback(event, sizeof(event), &playback->style,
		&content->counts, &content->far_end, content->paused, final,
		playback_unix_us(playback_now_ns()))) {
		playback_outbox_write(&playback->outbox, websocket, event);
	}
}

static void send_report(struct playback_channel *playback,
	struct ast_websocket *websocket)
{
	struct playback_report_content content;

	/* An application that does not read is spared its reports */
	if (!playback_report_is_due(&playback->report, playback_now_ns())
		|| !playback_outbox_can_write(&playback->outbox, websocket)) {
		return;
	}
	playback_watch_peer(playback);
	content = playback_get_report(playback);
	if (playback_report_changed(&playback->report, &content)) {
		write_report(playback, websocket, &content, 0);
	}
}

/*! \brief When to look at the peer because something waits for that; ledger locked */
static int64_t look_due_ns(const struct playback_channel *playback)
{
	int64_t looked_ns = playback->peer.looked_ns;

	if (!playback->peer.rtp) {
		/* What was left there is not looked at before it is met again */
		return PLAYBACK_NEVER;
	}
	if (playback->suspension == PLAYBACK_AUDIO
		&& playback_ledger_waits_for_rest(playback->ledger)) {
		return looked_ns + REST_LOOK_NS;
	}
	return playback_ledger_look_again(playback->ledger, looked_ns);
}

/*! \brief When the ledger has something to be sent or looked at next; ledger locked */
static int64_t ledger_due_ns(const struct playback_channel *playback)
{
	int64_t due_ns = MIN(look_due_ns(playback),
		playback_ledger_next_due(playback->ledger));

	return playback->opted_in ? MIN(due_ns, playback_ledger_drop_due(playback->ledger))
		: due_ns;
}

/*!
 * \brief When there is something to be sent or looked at next
 *
 * \param playback
 * \param ledger_due when the ledger has something
 */
static int64_t next_due_ns(const struct playback_channel *playback, int64_t ledger_due)
{
	return MIN(ledger_due, MIN(playback_report_next_due(&playback->report),
		playback_bridge_next_due(&playback->bridge)));
}

/*! \brief The same, where the ledger is not locked */
static int64_t find_next_due_ns(struct playback_channel *playback)
{
	SCOPED_MUTEX(lock, &playback->lock);

	return next_due_ns(playback, ledger_due_ns(playback));
}

/*! \brief Send all that is due, wake up for what is due next */
static void send_due(struct playback_channel *playback, struct ast_websocket *websocket)
{
	int64_t due_ns;
	int64_t wait_ns = 0;

	if (!websocket) {
		return;
	}
	playback_outbox_send_waiting(&playback->outbox, websocket);
	if (playback_outbox_is_empty(&playback->outbox)) {
		if (send_acks(playback, websocket, ACKS_AT_ONCE, 0) == ACKS_AT_ONCE) {
			wait_ns = ACKS_PAUSE_NS;
		}
		if (playback->opted_in) {
			send_drops(playback, websocket, 0);
		}
		send_report(playback, websocket);
	}
	due_ns = playback_outbox_is_empty(&playback->outbox) ? find_next_due_ns(playback) : 0;
	if (playback_outbox_has_backpressure(&playback->outbox)) {
		wait_ns = RETRY_NS;
	}
	if (wait_ns) {
		due_ns = MAX(due_ns, playback_now_ns() + wait_ns);
	}
	playback_timer_arm(&playback->timer, due_ns);
}

/*!
 * \brief See whether who listens is given its audio by other resamplers
 *
 * Not while a packet is missing: that may be of the former ones.
 */
static void follow_path(struct playback_channel *playback)
{
	int owes;

	if (!playback_peer_has_other_path(&playback->peer)) {
		return;
	}
	ast_mutex_lock(&playback->lock);
	owes = playback_ledger_owes_packet(playback->ledger);
	ast_mutex_unlock(&playback->lock);
	if (owes || playback_peer_has_changed(&playback->peer)
		|| !playback_peer_sees_path(&playback->peer)) {
		return;
	}
	ast_mutex_lock(&playback->lock);
	playback_ledger_listener_resampled(playback->ledger, playback->peer.resampled_ns, 1,
		playback_now_ns());
	ast_mutex_unlock(&playback->lock);
}

/*!
 * \brief Enter what the peer has sent into the ledger
 * \return non-zero if a packet is missing, or what was sent cannot be entered yet
 */
static int enter_sent(struct playback_channel *playback, int done)
{
	struct playback_peer_count count;
	int64_t time_ns;
	int missing;

	follow_path(playback);
	count = playback_peer_count(&playback->peer);
	time_ns = playback_now_ns();
	ast_mutex_lock(&playback->lock);
	if (count.are_others) {
		playback_ledger_repacked(playback->ledger, playback->peer.packet_ns, 1);
	}
	missing = !playback_ledger_looked(playback->ledger, count.media, done, time_ns);
	if (!missing) {
		playback_peer_accept(&playback->peer, &count);
		missing = playback_ledger_owes_packet(playback->ledger);
	}
	ast_mutex_unlock(&playback->lock);
	playback->peer.looked_ns = time_ns;
	return missing;
}

/*! \brief Tell the ledger whether it can be seen what is sent, and in which packets */
static void watch_packets(struct playback_channel *playback, int watching)
{
	SCOPED_MUTEX(lock, &playback->lock);

	playback_ledger_listener_resampled(playback->ledger, playback->peer.resampled_ns,
		playback->peer.is_path_new, playback_now_ns());
	playback->peer.is_path_new = 0;
	playback_ledger_watching(playback->ledger, watching, playback->peer.packet_ns,
		playback_now_ns());
}

/*!
 * \brief Enter whether the peer has nowhere to send to
 *
 * \retval 0 it has
 * \retval 1 it has not
 * \retval 2 it has not, and what it was given is lost for it
 * \retval -1 that cannot be seen now
 */
static int enter_shut(struct playback_channel *playback)
{
	int shut = playback_peer_is_shut(&playback->peer);
	uint64_t delivered;

	if (shut >= 0) {
		ast_mutex_lock(&playback->lock);
		delivered = playback_ledger_delivered_media(playback->ledger).bytes;
		playback_ledger_shut(playback->ledger, shut, playback_now_ns());
		if (shut
			&& playback_ledger_delivered_media(playback->ledger).bytes != delivered) {
			shut = 2;
		}
		ast_mutex_unlock(&playback->lock);
	}
	return shut;
}

/*!
 * \brief Enter what got lost where a Local channel was optimised away, if that can be told
 * \return non-zero if the peer may not be done yet with what it was given
 */
static int enter_lost(struct playback_channel *playback)
{
	unsigned int lost;

	if (playback->is_returning || !playback_peer_is_done(&playback->peer)) {
		return 1;
	}
	lost = playback_peer_lost(&playback->peer);
	/* Those in transit are not in the ledger yet */
	if (lost > playback->bridge.in_transit_count) {
		ast_mutex_lock(&playback->lock);
		playback_ledger_lost(playback->ledger,
			lost - playback->bridge.in_transit_count, playback_now_ns());
		ast_mutex_unlock(&playback->lock);
	}
	return 0;
}

void playback_watch_peer(struct playback_channel *playback)
{
	int missing = playback->peer.rtp && enter_sent(playback, 0);
	/* What fills no packet it keeps, also while it has nowhere to send to */
	int keeps = playback->peer.rtp
		&& playback->peer.packet_ns > playback_media_frame_ns(&playback->format);
	int shut;

	if ((!missing && !keeps) || enter_lost(playback)) {
		return;
	}
	shut = keeps ? enter_shut(playback) : 0;
	if (shut ? shut != 2 : !missing || !enter_sent(playback, 0)) {
		/* It may have left before the peer was seen to be done */
		return;
	}
	/* Rather than to be lost, the packet has left meanwhile, or somewhere else */
	switch (playback_peer_confirm(&playback->peer)) {
	case 1:
		if (!shut) {
			enter_sent(playback, 1);
		}
		break;
	case 2:
		ast_mutex_lock(&playback->lock);
		playback_ledger_repacked(playback->ledger, playback->peer.packet_ns, 0);
		ast_mutex_unlock(&playback->lock);
		break;
	default:
		watch_packets(playback, playback->peer.rtp != NULL);
		if (playback->peer.rtp) {
			enter_sent(playback, 0);
		}
	}
}

/*!
 * \brief Leave what fills no packet in the peer's smoother, held until that is met again
 * \return whether there is any
 */
static int leave_rest(struct playback_channel *playback)
{
	SCOPED_MUTEX(lock, &playback->lock);

	return playback_peer_keeps_rest(&playback->peer)
		&& playback_ledger_leave_rest(playback->ledger, playback_now_ns());
}

/*!
 * \brief The peer is left: what it has not sent of what it was given it never will, but for
 * the rest of a packet
 */
static void leave_peer(struct playback_channel *playback)
{
	struct playback_peer *peer = &playback->peer;

	if (!peer->near.bridge_channel) {
		return;
	}
	if (peer->rest_rtp) {
		/* It was not seen whether it is the same as before */
		playback_peer_leave_rest(peer);
		return;
	}
	if (peer->rtp) {
		enter_sent(playback, 0);
		enter_lost(playback);
	}
	if (leave_rest(playback)) {
		playback_peer_leave_rest(peer);
		return;
	}
	if (peer->rtp) {
		enter_sent(playback, 1);
	}
	playback_peer_leave(peer);
	watch_packets(playback, 0);
}

/*! \brief The rest of a packet that was left with a peer is not followed any further */
static void forget_rest(struct playback_channel *playback)
{
	if (playback->peer.rest_rtp) {
		playback_peer_forget_rest(&playback->peer);
		watch_packets(playback, 0);
	}
}

/*! \brief Make the peer that of the channel, which has none */
static void meet_peer(struct playback_channel *playback)
{
	int watching = playback_peer_meet(&playback->peer, playback->driver.channel);

	if (playback->peer.rest_rtp && !playback->peer.is_known) {
		/* It may be the same, and is asked again */
		return;
	}
	forget_rest(playback);
	watch_packets(playback, watching != 0);
}

/*! \brief Whether the peer is still who it was, as far as seen; or still nobody */
static int is_with_peer(struct playback_channel *playback,
	const struct playback_bridge_view *view)
{
	struct playback_peer *peer = &playback->peer;

	return (view->busy && !view->mixer) || (view->peer == peer->near.bridge_channel
		&& !playback_peer_has_changed(peer));
}

/*!
 * \brief Whether it matters what becomes of what is delivered
 *
 * Not on a channel for which nothing waits for what is heard.  An application may use its
 * first mark behind its first media.
 */
static int follows_peer(const struct playback_channel *playback)
{
	return playback->opted_in || playback->has_events
		|| playback_listener_is_new(&playback->listener, playback_now_ns());
}

/*! \brief See whether another mixer will get the next frame, or none any more */
static void follow_bridge(struct playback_channel *playback,
	const struct playback_bridge_view *view)
{
	if (view->mixer == playback->bridge.mixer || view->busy) {
		return;
	}
	/* What is held belongs to the one or to the other */
	leave_peer(playback);
	forget_rest(playback);
	playback->unmixed_ticks = 0;
	ast_mutex_lock(&playback->lock);
	playback_bridge_follow(&playback->bridge, playback->ledger, view, playback_now_ns());
	ast_mutex_unlock(&playback->lock);
}

/*! \brief See who will hear the next frame */
static void follow_peer(struct playback_channel *playback,
	const struct playback_bridge_view *view)
{
	struct playback_peer *peer = &playback->peer;
	int is_awaited = follows_peer(playback);

	if (view->mixer && view->mixer == playback->bridge.mixer && !view->busy
		&& !peer->near.bridge_channel && is_awaited) {
		playback_peer_mixed(peer, playback->driver.channel, view->mixer, view->parties);
		watch_packets(playback, 0);
	}
	if (playback->listener.caller && !view->mixer && !view->peer
		&& playback_peer_sees_caller(peer, playback->listener.caller)) {
		watch_packets(playback, 0);
	}
	if (is_with_peer(playback, view)) {
		return;
	}
	leave_peer(playback);
	if (view->peer && is_awaited) {
		meet_peer(playback);
	}
}

void playback_find_peer(struct playback_channel *playback)
{
	struct playback_bridge_view view;

	if (!playback->peer.near.bridge_channel) {
		view = playback_bridge_look(playback->driver.channel);
		follow_peer(playback, &view);
	}
	playback_watch_peer(playback);
}

/*!
 * \brief A frame is delivered to nobody, as by the stock driver: an application that opts in
 * afterwards is told so
 */
static void lose_frame(struct playback_channel *playback, struct playback_media media)
{
	SCOPED_MUTEX(lock, &playback->lock);

	playback_ledger_skipped(playback->ledger, media, PLAYBACK_DROP_UNSENT,
		playback_now_ns());
	playback->ledger_due_ns = ledger_due_ns(playback);
}

/*!
 * \brief A frame is short: silence fills it, unless that would be more than the stock driver
 * sends
 * \return the frame to be returned in its place
 */
static struct ast_frame *deliver_short(struct playback_channel *playback,
	struct ast_frame *frame)
{
	if (playback->opted_in) {
		return playback_media_pad(&playback->format, frame);
	}
	playback_peer_gets_short(&playback->peer,
		playback_media_frame(&playback->format, frame).ns);
	return frame;
}

/*!
 * \brief The bridge as it was seen at this tick; a mixer, which goes on meanwhile, as it is
 */
static struct playback_bridge_view look_at_bridge(struct playback_channel *playback)
{
	const struct playback_listener *listener = &playback->listener;

	if (listener->sees_bridge && !listener->bridge.mixer && !listener->bridge.busy) {
		return listener->bridge;
	}
	return playback_bridge_look(playback->driver.channel);
}

/*!
 * \brief Deliver a frame to the core
 *
 * \param playback
 * \param frame
 * \param media the application's media in it, none in silence of the driver's
 * \param ticks how many ticks ago it should have been
 * \return the frame to be returned in its place
 */
static struct ast_frame *deliver_frame(struct playback_channel *playback,
	struct ast_frame *frame, struct playback_media media, unsigned int ticks)
{
	struct playback_frame delivered = {
		.media = media,
		.behind_ns = ticks * playback->pace.tick_ns,
		.late_ns = playback->pace.tick_late_ns,
	};
	struct playback_bridge_view view = look_at_bridge(playback);

	if (!playback->opted_in && media.bytes
		&& playback_listener_is_unheard(&playback->listener)) {
		lose_frame(playback, media);
		return frame;
	}
	follow_bridge(playback, &view);
	follow_peer(playback, &view);
	forget_rest(playback);
	delivered.delivered_ns = playback_now_ns();
	/* What the driver has padded is a full frame, of signed linear audio */
	if (media.bytes && frame->datalen < playback->format.frame_size) {
		frame = deliver_short(playback, frame);
	}
	delivered.frame_ns = playback_media_frame(&playback->format, frame).ns;
	playback->pace.delivered_ns = delivered.delivered_ns;
	playback->was_silent = playback->pace.late_ns
		&& playback_media_is_silent(frame);
	ast_mutex_lock(&playback->lock);
	playback_bridge_deliver(&playback->bridge, playback->ledger, &view, &delivered);
	if (playback_peer_unheard(&playback->peer) != PLAYBACK_UNHEARD_NO) {
		playback_ledger_unheard(playback->ledger, delivered.delivered_ns);
	}
	playback->ledger_due_ns = ledger_due_ns(playback);
	ast_mutex_unlock(&playback->lock);
	return frame;
}

/*! \brief Deliver a frame, and those behind it that catch up; the frames to be returned */
static struct ast_frame *deliver_frames(struct playback_channel *playback,
	struct ast_frame *frames)
{
	AST_LIST_HEAD_NOLOCK(, ast_frame) delivered = AST_LIST_HEAD_NOLOCK_INIT_VALUE;
	struct ast_frame *frame;
	struct ast_frame *next;
	const struct playback_media none = { .bytes = 0, };
	unsigned int ticks = 0;
	unsigned int i;

	for (frame = frames; AST_LIST_NEXT(frame, frame_list);
		frame = AST_LIST_NEXT(frame, frame_list)) {
		ticks++;
	}
	for (frame = frames, i = 0; frame; frame = next, i++) {
		next = AST_LIST_NEXT(frame, frame_list);
		AST_LIST_NEXT(frame, frame_list) = NULL;
		frame = deliver_frame(playback, frame,
			i < playback->read_count ? playback->read[i] : none, ticks--);
		AST_LIST_INSERT_TAIL(&delivered, frame, frame_list);
	}
	return AST_LIST_FIRST(&delivered);
}

/*! \brief Enter the frames in transit into the ledger */
static void frame_arrived(struct playback_channel *playback)
{
	struct playback_bridge_view view;
	int64_t time_ns;

	if (!playback->bridge.in_transit_count) {
		return;
	}
	view = playback_bridge_look(playback->driver.channel);
	if (!is_with_peer(playback, &view)) {
		/* What another one sends is not looked at before it has been given something */
		leave_peer(playback);
	}
	forget_rest(playback);
	time_ns = playback_now_ns();
	ast_mutex_lock(&playback->lock);
	playback_bridge_arrive(&playback->bridge, playback->ledger, &view, time_ns);
	ast_mutex_unlock(&playback->lock);
}

/*! \brief Whether the driver's media timer ticks: not in direction 'in' */
static int has_ticks(struct playback_channel *playback)
{
	return ast_channel_fd(playback->driver.channel, PLAYBACK_TICKS_FDNO) >= 0;
}

/*!
 * \brief Whether what the peer keeps because it fills no packet waits, as other media does,
 * until somebody hears it; ledger locked
 *
 * Not if it was flushed: the application wants to know what became of it.
 */
static int keeps_rest(const struct playback_channel *playback)
{
	/* What reads this channel in place of its bridge would push it out, and throw it away */
	return (playback->peer.near.bridge_channel || playback->peer.rest_rtp
		|| playback->bridge.resampled_ns)
		&& playback->suspension && !playback_ledger_ordered_events(playback->ledger);
}

/*! \brief No media was read at a tick; ledger locked */
static void miss_media(struct playback_channel *playback)
{
	if (!*playback->driver.paused && !playback->is_held) {
		playback_ledger_starved(playback->ledger);
		/* All is played */
		playback->pace.late_ns = 0;
	}
}

/*!
 * \brief The driver had no frame for the core, at a tick or where there will be none
 * \return what it has to return: \a frame, which is empty, or silence that a mixer wants
 */
static struct ast_frame *miss_frame(struct playback_channel *playback,
	struct ast_frame *frame, int tick)
{
	struct playback_bridge_view view = playback_bridge_look_at_path(playback->driver.channel);
	struct playback_frame delivered = { .position = 0, };
	struct ast_frame *silence;
	int64_t time_ns;

	if (playback->bridge.mixer) {
		/* Only a channel that was in a mixing bridge may have left audio held there */
		view = playback_bridge_look(playback->driver.channel);
	}
	if (playback_peer_has_changed(&playback->peer)) {
		leave_peer(playback);
	}
	time_ns = playback_now_ns();
	ast_mutex_lock(&playback->lock);
	playback_bridge_gets_empty(&playback->bridge, playback->ledger, &view, time_ns);
	if (tick) {
		miss_media(playback);
	}
	if (!keeps_rest(playback)) {
		delivered.frame_ns = playback_ledger_wants_silence(playback->ledger,
			tick ? time_ns : PLAYBACK_NEVER);
	}
	ast_mutex_unlock(&playback->lock);
	if (delivered.frame_ns && playback->peer.rest_rtp) {
		/* What would fill the packet does not go to its peer */
		forget_rest(playback);
		return frame;
	}
	silence = frame && delivered.frame_ns
		? playback_media_silence(&playback->format, delivered.frame_ns) : NULL;
	if (!silence) {
		return frame;
	}
	delivered.frame_ns = playback_media_frame(&playback->format, silence).ns;
	delivered.delivered_ns = playback_now_ns();
	playback->pace.delivered_ns = delivered.delivered_ns;
	ast_mutex_lock(&playback->lock);
	playback_bridge_deliver(&playback->bridge, playback->ledger, &view, &delivered);
	playback->ledger_due_ns = ledger_due_ns(playback);
	ast_mutex_unlock(&playback->lock);
	ast_frfree(frame);
	return silence;
}

/*! \brief The driver has nothing for the core, between two ticks */
static void deliver_empty(struct playback_channel *playback)
{
	struct playback_bridge_view view;

	if (!playback->opted_in || !playback->bridge.mixer) {
		return;
	}
	view = playback_bridge_look(playback->driver.channel);
	ast_mutex_lock(&playback->lock);
	playback_bridge_gets_empty(&playback->bridge, playback->ledger, &view,
		playback_now_ns());
	ast_mutex_unlock(&playback->lock);
}

/*!
 * \brief Tell the application that media waits, or goes on
 *
 * Why may change meanwhile: that is not told.  One that does not read is told when it
 * does, of what holds then.
 */
static void tell_suspension(struct playback_channel *playback,
	struct ast_websocket *websocket)
{
	struct playback_report_content content;
	char event[PLAYBACK_EVENT_MAX];

	if (!websocket || !playback->suspension == !playback->told_suspended
		|| !playback_listener_tells(&playback->listener, playback->opted_in)
		|| !playback_outbox_can_write(&playback->outbox, websocket)) {
		return;
	}
	playback->told_suspended = playback->suspension != PLAYBACK_NOT_SUSPENDED;
	content = playback_get_report(playback);
	if (playback_event_suspension(event, sizeof(event), &playback->style,
		playback->suspension, &content.counts, content.paused,
		playback_unix_us(playback_now_ns()))) {
		playback_outbox_append(&playback->outbox, event);
	}
}

/*!
 * \brief Whether it cannot be seen for the moment who will hear the next frame
 *
 * The bridge or the peer is busy when a call is set up or is moved, or the bridge is over and
 * the channel still in it.  What is delivered then would not be followed, and count as played
 * whatever becomes of it.
 */
static int is_peer_unseen(struct playback_channel *playback)
{
	struct playback_peer *peer = &playback->peer;
	struct playback_bridge_view view;

	if (!follows_peer(playback) || playback->bridge.mixer
		|| (peer->rtp ? !playback_peer_has_changed(peer) : peer->is_known)) {
		return 0;
	}
	view = playback_bridge_look(playback->driver.channel);
	/* Whoever is met here is not left again for what was seen before */
	playback->listener.bridge = view;
	follow_bridge(playback, &view);
	follow_peer(playback, &view);
	if (view.mixer) {
		return view.busy;
	}
	return !peer->is_known && (view.busy || view.dissolved || view.peer);
}

/*!
 * \brief Whether the mixer is seen to hold enough, because the host keeps its thread waiting or
 * its interval lasts longer than it should
 */
static int is_mixer_full(struct playback_channel *playback)
{
	struct playback_bridge_view view;
	int full;

	if (!playback->bridge.mixer) {
		return 0;
	}
	ast_mutex_lock(&playback->lock);
	full = playback_ledger_mixer_is_full(playback->ledger, -1);
	ast_mutex_unlock(&playback->lock);
	if (!full) {
		return 0;
	}
	/* It may have taken some that the ledger does not know of yet */
	view = playback_bridge_look(playback->driver.channel);
	ast_mutex_lock(&playback->lock);
	/* Where another thread has the bridge it is seen at the next tick */
	full = view.busy || (view.held_ns >= 0
		&& playback_ledger_mixer_is_full(playback->ledger, view.held_ns));
	ast_mutex_unlock(&playback->lock);
	return full;
}

/*!
 * \brief Whether the mixer has written nothing yet since the channel is in it, or with another
 * interval than it was set to
 *
 * Then it may be about to begin anew, and would drop what it is given before.
 */
static int is_unmixed(struct playback_channel *playback)
{
	const struct playback_bridge *bridge = &playback->bridge;
	int64_t wrote_ns;

	if (!bridge->mixer) {
		return 0;
	}
	ast_mutex_lock(&playback->lock);
	wrote_ns = playback_ledger_mixer_wrote(playback->ledger);
	ast_mutex_unlock(&playback->lock);
	return !wrote_ns || (bridge->interval_ns && wrote_ns != bridge->interval_ns);
}

/*!
 * \brief At a tick, pause media until playback_read_end() that nobody would hear or that the
 * mixer would drop, or for a tick or two if who hears it is not seen
 */
static void suspend_unheard(struct playback_channel *playback)
{
	int was_suspended = playback->suspension != PLAYBACK_NOT_SUSPENDED;
	int follows;
	int unseen;
	int unmixed;
	int full;

	playback->suspension = playback_listener_look(&playback->listener,
		playback->driver.channel, playback->opted_in, playback_now_ns());
	if (was_suspended && !playback->suspension) {
		/* It may have got RTP, for want of which it was suspended */
		playback->peer.ask_again = 1;
	}
	follows = playback->opted_in && !playback->suspension;
	unseen = follows && is_peer_unseen(playback);
	unmixed = follows && is_unmixed(playback);
	full = follows && is_mixer_full(playback);
	if (full && !*playback->driver.paused) {
		playback_pace_missed(&playback->pace, 1, playback_queued(playback).ns, 0,
			playback_now_ns());
	}
	playback->unseen_ticks = unseen ? playback->unseen_ticks + 1 : 0;
	playback->unmixed_ticks += unmixed;
	playback->is_held = playback->suspension || full
		|| (unseen && playback->unseen_ticks <= UNSEEN_TICKS_MAX)
		|| (unmixed && playback->unmixed_ticks <= UNMIXED_TICKS_MAX);
	if (playback->is_held) {
		playback->was_paused = *playback->driver.paused;
		*playback->driver.paused = 1;
	}
}

/*!
 * \brief At a tick, see whether ticks were missed before it at which media was to play
 *
 * Whoever has not opted in is served as by the stock driver.  How late a packet may be is
 * known of a peer that makes a packet of each frame.
 */
static void keep_pace(struct playback_channel *playback)
{
	const struct playback_peer *peer = &playback->peer;
	int64_t time_ns = playback_now_ns();
	unsigned int missed = playback_pace_tick(&playback->pace, time_ns);

	if (missed && playback->opted_in && !*playback->driver.paused) {
		playback_pace_missed(&playback->pace, missed, playback_queued(playback).ns,
			peer->rtp && peer->packet_ns <= playback->pace.tick_ns ? peer->skew_ns : 0,
			time_ns);
		ast_debug(3, "%s: %u ticks were missed, %u are caught up\n", playback->name,
			missed, playback->pace.catch_up);
	}
}

int playback_skip(struct playback_channel *playback, const struct ast_frame *first)
{
	const struct ast_frame *next = first ? AST_LIST_NEXT(first, frame_list) : NULL;
	struct playback_media media;
	int skips;

	/* At both ends a frame of each pause stays */
	if (!playback->pace.late_ns || !playback->was_silent || *playback->driver.paused
		|| !next || first->frametype != AST_FRAME_VOICE
		|| next->frametype != AST_FRAME_VOICE
		|| !playback_media_is_silent(first) || !playback_media_is_silent(next)) {
		return 0;
	}
	media = playback_media_frame(&playback->format, first);
	if (!playback_pace_may_skip(&playback->pace, media.ns, playback_queued(playback).ns)) {
		return 0;
	}
	ast_mutex_lock(&playback->lock);
	skips = playback_ledger_can_skip(playback->ledger, media.bytes);
	if (skips) {
		playback_ledger_skipped(playback->ledger, media, PLAYBACK_DROP_LATE,
			playback_now_ns());
		playback->pace.late_ns -= media.ns;
	}
	ast_mutex_unlock(&playback->lock);
	return skips;
}

unsigned int playback_catch_up(const struct playback_channel *playback)
{
	return playback->read_count ? playback->pace.catch_up : 0;
}

/*! \brief Hide that end of the partial frame from the driver which must not play now */
static void hide_partial(struct playback_channel *playback)
{
	size_t bytes = *playback->driver.partial_bytes;

	playback->hidden = *playback->driver.paused
		? bytes : playback_media_half_sample(&playback->format, bytes);
	playback->hidden_at = bytes - playback->hidden;
	*playback->driver.partial_bytes = playback->hidden_at;
}

/*! \brief Undo hide_partial(); what was before it may have been read by now */
static void restore_partial(struct playback_channel *playback)
{
	if (playback->hidden && *playback->driver.partial_bytes != playback->hidden_at) {
		memmove(playback->driver.partial, playback->driver.partial + playback->hidden_at,
			playback->hidden);
	}
	*playback->driver.partial_bytes += playback->hidden;
	playback->hidden = 0;
}

/*! \brief Whether a mark waits for what is visible of the partial frame */
static int wants_partial(struct playback_channel *playback)
{
	size_t bytes = *playback->driver.partial_bytes;
	int wants;

	if (!bytes) {
		return 0;
	}
	ast_mutex_lock(&playback->lock);
	wants = playback_ledger_wants_partial(playback->ledger, bytes);
	ast_mutex_unlock(&playback->lock);
	return wants;
}

/*! \brief Whether something waits for a look at the peer, and it is time */
static int look_is_due(struct playback_channel *playback)
{
	SCOPED_MUTEX(lock, &playback->lock);

	return look_due_ns(playback) <= playback_now_ns();
}

int playback_read_begin(struct playback_channel *playback, int tick)
{
	playback->is_returning = 0;
	playback->read_count = 0;
	playback->listener.sees_bridge = 0;
	frame_arrived(playback);
	if (tick || look_is_due(playback)) {
		playback_watch_peer(playback);
	}
	/* The driver sends events with the frame queue locked */
	playback_outbox_hold(&playback->outbox);
	if (!tick) {
		return 0;
	}
	suspend_unheard(playback);
	keep_pace(playback);
	hide_partial(playback);
	return wants_partial(playback);
}

/*!
 * \brief While media waits the driver has nothing for the core
 *
 * That of 20.18, 22.8 and 23.2 has silence instead.  Nobody hears it, but it would be taken
 * to fill the packet that the peer keeps the rest of.
 *
 * \return what it has to return
 */
static struct ast_frame *withhold_silence(const struct playback_channel *playback,
	struct ast_frame *frame)
{
	if (!frame || frame->frametype != AST_FRAME_VOICE || playback->read_count) {
		return frame;
	}
	ast_frfree(frame);
	return &ast_null_frame;
}

struct ast_frame *playback_read_end(struct playback_channel *playback,
	struct ast_websocket *websocket, struct ast_frame *frame, int tick)
{
	const struct ast_frame *given;
	int64_t due_ns;

	playback_outbox_release(&playback->outbox);
	restore_partial(playback);
	if (tick && playback->is_held) {
		*playback->driver.paused = playback->was_paused;
		frame = withhold_silence(playback, frame);
	}
	if (tick) {
		tell_suspension(playback, websocket);
	}
	if (frame && frame->frametype == AST_FRAME_VOICE) {
		if (!playback->read_count) {
			ast_mutex_lock(&playback->lock);
			miss_media(playback);
			ast_mutex_unlock(&playback->lock);
		}
		frame = deliver_frames(playback, frame);
	} else if (tick || !has_ticks(playback)) {
		frame = miss_frame(playback, frame, tick);
	} else {
		deliver_empty(playback);
	}
	playback->is_returning = frame && frame->frametype == AST_FRAME_VOICE;
	for (given = frame; playback->is_returning && given;
		given = AST_LIST_NEXT(given, frame_list)) {
		playback->peer.frames_given++;
	}
	check_balance(playback);
	if (frame && frame->frametype == AST_FRAME_VOICE && playback->timer.fd >= 0
		&& playback_outbox_is_empty(&playback->outbox)) {
		/* What is due waits for the timer: nothing is written before the frame */
		due_ns = next_due_ns(playback, playback->ledger_due_ns);
		if (playback_outbox_has_backpressure(&playback->outbox)) {
			/* Each frame comes as soon: it must not put off what is to be tried before */
			due_ns = MAX(due_ns, MIN(playback->timer.due_ns,
				playback_now_ns() + RETRY_NS));
		}
		playback_timer_arm(&playback->timer, due_ns);
		return frame;
	}
	send_due(playback, websocket);
	return frame;
}

/*! \brief Whether what is written to a channel is a generator's: then nothing else is */
static int is_generated(struct ast_channel *channel)
{
	return ast_channel_generator(channel)
		&& !ast_test_flag(ast_channel_flags(channel), AST_FLAG_WRITE_INT);
}

int playback_write(struct playback_channel *playback,
	struct ast_websocket *websocket, struct ast_frame *frame)
{
	struct playback_bridge_view view;
	int64_t interval_ns;
	int64_t time_ns;

	if (frame->frametype != AST_FRAME_VOICE) {
		return 1;
	}
	frame_arrived(playback);
	/* What waits comes first; a channel that hears only has no tick to send it */
	playback_outbox_send_waiting(&playback->outbox, websocket);
	if (playback->bridge.mixer && !is_generated(playback->driver.channel)) {
		interval_ns = playback_samples_ns(frame->subclass.format, frame->samples);
		view = playback_bridge_look(playback->driver.channel);
		time_ns = playback_now_ns();
		ast_mutex_lock(&playback->lock);
		playback_bridge_mixed(&playback->bridge, playback->ledger, &view, interval_ns,
			time_ns);
		ast_mutex_unlock(&playback->lock);
		if (!playback_outbox_has_backpressure(&playback->outbox)
			&& playback_outbox_is_empty(&playback->outbox)) {
			playback_timer_arm(&playback->timer, find_next_due_ns(playback));
		}
	}
	return playback_outbox_can_write(&playback->outbox, websocket);
}

void playback_moved(struct playback_channel *playback, struct ast_channel *channel)
{
	struct playback_bridge_view nowhere = { .held_ns = -1, };

	/* What is in transit went to the bridge of the channel that is left behind */
	frame_arrived(playback);
	leave_peer(playback);
	ast_mutex_lock(&playback->lock);
	playback_bridge_follow(&playback->bridge, playback->ledger, &nowhere,
		playback_now_ns());
	ast_mutex_unlock(&playback->lock);
	playback->driver.channel = channel;
	playback->timer.channel = channel;
	/* The id is the same, but the one that is pointed to goes with the old channel */
	playback->style.channel_id = ast_channel_uniqueid(channel);
}

void playback_hangup(struct playback_channel *playback,
	struct ast_websocket *websocket)
{
	struct playback_report_content content;

	ast_mutex_lock(&playback->lock);
	playback_bridge_leave(&playback->bridge, playback->ledger);
	ast_mutex_unlock(&playback->lock);
	if (playback->peer.rtp) {
		enter_sent(playback, 0);
	}
	playback_outbox_end(&playback->outbox, websocket);
	send_acks(playback, websocket, INT_MAX, 1);
	ast_mutex_lock(&playback->lock);
	playback_ledger_hangup(playback->ledger, playback_now_ns());
	ast_mutex_unlock(&playback->lock);
	send_acks(playback, websocket, INT_MAX, 1);
	if (playback->opted_in) {
		send_drops(playback, websocket, 1);
		content = playback_get_report(playback);
		write_report(playback, websocket, &content, 1);
	}
	playback_peer_leave(&playback->peer);
}
