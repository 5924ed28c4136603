/*
 * The ledger behind functions of plain numbers, for the model in tests/unit/ledger.py.
 *
 * What has several fields is written into an array, in the order of the names that
 * shim_*_fields give: no layout of a C struct is repeated in Python.
 */

#include <stdlib.h>

/* Its struct is opaque elsewhere */
#include "../playback_ledger.c"

/* A mark or a queued event and the number it was given */
struct numbered {
	struct playback_mark mark;
	uint64_t number;
};

extern const char shim_mark_fields[];
extern const char shim_state_fields[];
struct playback_ledger *shim_new(int64_t tick_ns, unsigned int sample_bytes);
void shim_free(struct playback_ledger *ledger);
void shim_received(struct playback_ledger *ledger, uint64_t bytes, int64_t ns,
	int64_t now_ns);
void shim_dropped(struct playback_ledger *ledger, uint64_t bytes, int64_t ns,
	uint64_t behind, int reason, int64_t now_ns);
void shim_delivered(struct playback_ledger *ledger, uint64_t bytes, int64_t ns,
	int64_t frame_ns, int64_t now_ns);
uint64_t shim_flush(struct playback_ledger *ledger, int64_t now_ns);
uint64_t shim_hangup(struct playback_ledger *ledger, int64_t now_ns);
void shim_half_sample(struct playback_ledger *ledger, uint64_t bytes, int64_t ns);
void shim_mark(struct playback_ledger *ledger, uint64_t number, int outcome,
	int64_t now_ns);
int shim_mark_at(struct playback_ledger *ledger, uint64_t number, uint64_t offset,
	int outcome, int64_t now_ns);
void shim_event_dequeued(struct playback_ledger *ledger, uint64_t number,
	uint64_t bytes_ahead, int64_t now_ns);
int shim_pop(struct playback_ledger *ledger, int64_t now_ns, uint64_t *fields);
int shim_pending(const struct playback_ledger *ledger, int which, unsigned int index,
	uint64_t *fields);
int shim_pop_drop(struct playback_ledger *ledger, int64_t now_ns, uint64_t *fields);
void shim_state(const struct playback_ledger *ledger, int64_t now_ns, uint64_t *fields);

const char shim_mark_fields[] = "number outcome offset dropped dropped_ns"
	" media_ns due_ns stage drop_reason";

static void write_mark(const struct playback_mark *mark, uint64_t *fields)
{
	*fields++ = ((const struct numbered *) mark)->number;
	*fields++ = mark->outcome;
	*fields++ = mark->offset;
	*fields++ = mark->dropped;
	*fields++ = (uint64_t) mark->dropped_ns;
	*fields++ = (uint64_t) mark->media_ns;
	*fields++ = (uint64_t) mark->due_ns;
	*fields++ = mark->stage;
	*fields++ = mark->drop_reason;
}

const char shim_state_fields[] = "received dropped flushed dropped_of_held held"
	" sent queued played played_ns snapshot_queued snapshot_queued_ns marks events"
	" underruns"
	" next_due_ns drop_due_ns look_due_ns mixer_took_ns mixer_result_ns held_frames_ns";

void shim_state(const struct playback_ledger *ledger, int64_t now_ns, uint64_t *fields)
{
	struct playback_snapshot snapshot = playback_ledger_snapshot(ledger, now_ns);

	*fields++ = snapshot.received;
	*fields++ = snapshot.dropped;
	*fields++ = snapshot.flushed;
	*fields++ = ledger->dropped_of_held.bytes;
	*fields++ = ledger->held.bytes;
	*fields++ = ledger->sent.bytes;
	*fields++ = playback_ledger_queued(ledger).bytes;
	*fields++ = snapshot.played.bytes;
	*fields++ = (uint64_t) snapshot.played.ns;
	*fields++ = snapshot.queued.bytes;
	*fields++ = (uint64_t) snapshot.queued.ns;
	*fields++ = snapshot.marks;
	*fields++ = ledger->events.count;
	*fields++ = snapshot.underruns;
	*fields++ = (uint64_t) playback_ledger_next_due(ledger);
	*fields++ = (uint64_t) playback_ledger_drop_due(ledger);
	*fields++ = (uint64_t) playback_ledger_look_due(ledger);
	*fields++ = (uint64_t) ledger->mixer_took_ns;
	*fields++ = (uint64_t) ledger->mixer_result_ns;
	*fields++ = (uint64_t) ledger->held_frames_ns;
}

struct playback_ledger *shim_new(int64_t tick_ns, unsigned int sample_bytes)
{
	struct playback_ledger *ledger = malloc(playback_ledger_size());

	if (ledger) {
		playback_ledger_init(ledger, tick_ns, sample_bytes);
	}
	return ledger;
}

void shim_free(struct playback_ledger *ledger)
{
	struct playback_mark *mark;

	playback_ledger_hangup(ledger, 0);
	while ((mark = playback_ledger_pop(ledger, PLAYBACK_NEVER))) {
		free(mark);
	}
	free(ledger);
}

void shim_received(struct playback_ledger *ledger, uint64_t bytes, int64_t ns,
	int64_t now_ns)
{
	playback_ledger_received(ledger, (struct playback_media) { bytes, ns }, now_ns);
}

void shim_dropped(struct playback_ledger *ledger, uint64_t bytes, int64_t ns,
	uint64_t behind, int reason, int64_t now_ns)
{
	playback_ledger_dropped(ledger, (struct playback_media) { bytes, ns }, behind,
		(enum playback_drop_reason) reason, now_ns);
}

void shim_delivered(struct playback_ledger *ledger, uint64_t bytes, int64_t ns,
	int64_t frame_ns, int64_t now_ns)
{
	playback_ledger_delivered(ledger, (struct playback_media) { bytes, ns }, frame_ns,
		now_ns);
}

uint64_t shim_flush(struct playback_ledger *ledger, int64_t now_ns)
{
	return playback_ledger_flush(ledger, now_ns).bytes;
}

uint64_t shim_hangup(struct playback_ledger *ledger, int64_t now_ns)
{
	return playback_ledger_hangup(ledger, now_ns).bytes;
}

void shim_half_sample(struct playback_ledger *ledger, uint64_t bytes, int64_t ns)
{
	playback_ledger_half_sample(ledger, (struct playback_media) { bytes, ns });
}

static struct playback_mark *new_mark(uint64_t number)
{
	struct numbered *numbered = calloc(1, sizeof(*numbered));

	if (!numbered) {
		abort();
	}
	numbered->number = number;
	return &numbered->mark;
}

void shim_mark(struct playback_ledger *ledger, uint64_t number, int outcome,
	int64_t now_ns)
{
	playback_ledger_mark(ledger, new_mark(number), (enum playback_outcome) outcome,
		now_ns);
}

int shim_mark_at(struct playback_ledger *ledger, uint64_t number, uint64_t offset,
	int outcome, int64_t now_ns)
{
	struct playback_mark *mark = new_mark(number);
	int refused = playback_ledger_mark_at(ledger, mark, offset,
		(enum playback_outcome) outcome, now_ns);

	if (refused) {
		free(mark);
	}
	return refused;
}

void shim_event_dequeued(struct playback_ledger *ledger, uint64_t number,
	uint64_t bytes_ahead, int64_t now_ns)
{
	playback_ledger_event_dequeued(ledger, new_mark(number), bytes_ahead, now_ns);
}

int shim_pop(struct playback_ledger *ledger, int64_t now_ns, uint64_t *fields)
{
	struct playback_mark *mark = playback_ledger_pop(ledger, now_ns);

	if (!mark) {
		return 0;
	}
	write_mark(mark, fields);
	free(mark);
	return 1;
}

/*
 * The pending mark, event or mark ahead number index, first in the stream first; 0 if
 * there are not so many
 */
int shim_pending(const struct playback_ledger *ledger, int which, unsigned int index,
	uint64_t *fields)
{
	const struct playback_queue *const queues[] = {
		&ledger->marks, &ledger->events, &ledger->ahead,
	};
	const struct playback_mark *mark = queues[which]->head;

	while (mark && index--) {
		mark = mark->next;
	}
	if (mark) {
		write_mark(mark, fields);
	}
	return !!mark;
}

/* Reason, bytes, offset */
int shim_pop_drop(struct playback_ledger *ledger, int64_t now_ns, uint64_t *fields)
{
	struct playback_drop drop;

	if (!playback_ledger_pop_drop(ledger, now_ns, &drop)) {
		return 0;
	}
	fields[0] = drop.reason;
	fields[1] = drop.bytes;
	fields[2] = drop.offset;
	return 1;
}
