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
 * \brief Events formatted, in both control message formats: plain text and JSON
 *
 * Standard C only, without asterisk.h: it is built, tested and fuzzed alone too.
 */

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "playback_events.h"

/*! \brief An event while it is written */
struct text {
	/*! Where it is written to */
	char *buffer;
	/*! Size of the buffer in bytes */
	size_t size;
	/*! Bytes the text needs, which may be more than fit */
	size_t length;
	/*! Non-zero for JSON, 0 for plain text */
	int json;
};

static void __attribute__((format(printf, 2, 3))) put(struct text *text,
	const char *format, ...)
{
	size_t room = text->length < text->size ? text->size - text->length : 0;
	va_list args;
	int written;

	va_start(args, format);
	written = vsnprintf(room ? text->buffer + text->length : NULL, room, format, args);
	va_end(args);
	text->length += written > 0 ? (size_t) written : 0;
}

/*! \brief A JSON string (RFC 8259); bytes from 0x80 on are UTF-8 already and stay */
static void put_string(struct text *text, const char *string)
{
	const unsigned char *byte;

	put(text, "\"");
	for (byte = (const unsigned char *) string; *byte; byte++) {
		if (*byte == '"' || *byte == '\\') {
			put(text, "\\%c", *byte);
		} else if (*byte < 0x20) {
			put(text, "\\u%04x", *byte);
		} else {
			put(text, "%c", *byte);
		}
	}
	put(text, "\"");
}

static void begin(struct text *text, char *buffer, size_t size,
	const struct playback_event_style *style, const char *event)
{
	text->buffer = buffer;
	text->size = size;
	text->length = 0;
	text->json = style->json;
	if (style->json) {
		put(text, "{\"event\":\"%s\",\"channel_id\":", event);
		put_string(text, style->channel_id);
	} else {
		put(text, "%s", event);
	}
}

static size_t end(struct text *text)
{
	if (text->json) {
		put(text, "}");
	}
	return text->length < text->size ? text->length : 0;
}

static void put_name(struct text *text, const char *name)
{
	put(text, text->json ? ",\"%s\":" : " %s=", name);
}

static void put_id(struct text *text, const char *name, const struct playback_id *id)
{
	put_name(text, name);
	if (text->json && !id->is_integer) {
		put_string(text, id->text);
	} else {
		put(text, "%s", id->text);
	}
}

static void put_word(struct text *text, const char *name, const char *word)
{
	put_name(text, name);
	put(text, text->json ? "\"%s\"" : "%s", word);
}

static void put_flag(struct text *text, const char *name, int flag)
{
	put_name(text, name);
	if (text->json) {
		put(text, "%s", flag ? "true" : "false");
	} else {
		put(text, "%d", !!flag);
	}
}

static void put_number(struct text *text, const char *name, uint64_t number)
{
	put_name(text, name);
	put(text, "%" PRIu64, number);
}

/*! \brief Microseconds, written as milliseconds with three decimals */
static void put_ms(struct text *text, const char *name, int64_t us)
{
	put_name(text, name);
	put(text, "%" PRId64 ".%03d", us / 1000, (int) (us % 1000));
}

static const char *drop_reason(enum playback_drop_reason reason)
{
	static const char *const reasons[PLAYBACK_DROP_REASONS] = {
		[PLAYBACK_DROP_OVERFLOW] = "overflow",
		[PLAYBACK_DROP_PARTIAL] = "partial",
		[PLAYBACK_DROP_DIRECTION] = "direction",
		[PLAYBACK_DROP_BRIDGE] = "bridge",
		[PLAYBACK_DROP_UNSENT] = "unsent",
		[PLAYBACK_DROP_LATE] = "late",
	};

	return reasons[reason];
}

static void put_stage(struct text *text, enum playback_stage stage)
{
	static const char *const stages[] = {
		[PLAYBACK_STAGE_DELIVERED] = "delivered",
		[PLAYBACK_STAGE_MIXED] = "mixed",
		[PLAYBACK_STAGE_SENT] = "sent",
	};

	put_word(text, "stage", stages[stage]);
}

const char *playback_discard_reason(const struct playback_mark *mark)
{
	switch (mark->outcome) {
	case PLAYBACK_FLUSHED:
		return "flush";
	case PLAYBACK_HUNGUP:
		return "hangup";
	case PLAYBACK_LIMIT:
		return "limit";
	case PLAYBACK_DIRECTION:
		return "direction";
	case PLAYBACK_DROPPED:
		return drop_reason(mark->drop_reason);
	case PLAYBACK_WAITING:
	case PLAYBACK_PLAYED:
	case PLAYBACK_ORDERED_EVENT:
		break;
	}
	return NULL;
}

size_t playback_event_mark(char *buffer, size_t size,
	const struct playback_event_style *style, const struct playback_id *id,
	const struct playback_mark *mark, int64_t at_us)
{
	const char *reason = playback_discard_reason(mark);
	struct text text;

	begin(&text, buffer, size, style, reason ? "MARK_DISCARDED" : "MARK_PLAYED");
	put_id(&text, "id", id);
	if (reason) {
		put_word(&text, "reason", reason);
	}
	if (style->json) {
		put_id(&text, "correlation_id", id);
		put_number(&text, "offset", mark->offset);
		if (!reason) {
			put_ms(&text, "played_ms", mark->media_ns / 1000);
		}
		put_number(&text, "dropped", mark->dropped);
		put_ms(&text, "dropped_ms", mark->dropped_ns / 1000);
		put_stage(&text, mark->stage);
		put_ms(&text, "at", at_us);
	}
	return end(&text);
}

size_t playback_event_error(char *buffer, size_t size,
	const struct playback_event_style *style, const char *command, const char *error)
{
	struct text text;

	begin(&text, buffer, size, style, "ERROR");
	if (style->json) {
		put_name(&text, "error_text");
		put_string(&text, error);
		if (command) {
			put_name(&text, "command");
			put_string(&text, command);
		}
	} else {
		/* Written as the driver writes it: colons, and the free text at the end */
		put(&text, " channel_id:%s", style->channel_id);
		if (command) {
			put(&text, " command:%s", command);
		}
		put(&text, " error_text:%s", error);
	}
	return end(&text);
}

/*! \brief What is known of it, in JSON alone */
static void put_far_end(struct text *text, const struct playback_far_end *far_end)
{
	if (!text->json) {
		return;
	}
	if (far_end->rtt_us >= 0) {
		put_ms(text, "rtt_ms", far_end->rtt_us);
	}
	if (far_end->jitter_us >= 0) {
		put_ms(text, "jitter_ms", far_end->jitter_us);
	}
}

size_t playback_event_flushed(char *buffer, size_t size,
	const struct playback_event_style *style, const struct playback_id *id,
	const struct playback_flush_result *flush)
{
	struct text text;

	begin(&text, buffer, size, style, "MEDIA_FLUSHED");
	put_id(&text, "id", id);
	if (style->json) {
		put_id(&text, "correlation_id", id);
	}
	put_number(&text, "played", flush->played.bytes);
	put_number(&text, "flushed", flush->flushed.bytes);
	put_ms(&text, "played_ms", flush->played.ns / 1000);
	put_ms(&text, "flushed_ms", flush->flushed.ns / 1000);
	if (flush->last_mark) {
		put_id(&text, "last_mark", flush->last_mark);
		put_ms(&text, "since_mark_ms", flush->since_mark_ns / 1000);
	}
	put_far_end(&text, &flush->far_end);
	return end(&text);
}

/*! \brief The playback counters, and when they were read */
static void put_counters(struct text *text, const struct playback_snapshot *snapshot,
	int paused, int64_t at_us)
{
	put_number(text, "received", snapshot->received);
	put_number(text, "played", snapshot->played.bytes);
	put_number(text, "queued", snapshot->queued.bytes);
	put_number(text, "flushed", snapshot->flushed);
	put_number(text, "dropped", snapshot->dropped);
	put_ms(text, "played_ms", snapshot->played.ns / 1000);
	put_ms(text, "queued_ms", snapshot->queued.ns / 1000);
	put_number(text, "marks", snapshot->marks);
	put_number(text, "underruns", snapshot->underruns);
	put_flag(text, "paused", paused);
	put_stage(text, snapshot->stage);
	put_ms(text, "at", at_us);
}

size_t playback_event_playback(char *buffer, size_t size,
	const struct playback_event_style *style, const struct playback_snapshot *snapshot,
	const struct playback_far_end *far_end, int paused, int final, int64_t at_us)
{
	struct text text;

	begin(&text, buffer, size, style, "PLAYBACK");
	put_counters(&text, snapshot, paused, at_us);
	put_far_end(&text, far_end);
	if (final) {
		put_flag(&text, "final", 1);
	}
	return end(&text);
}

/*! \brief Why media waits, as the protocol says it; NULL if it does not */
static const char *suspension_reason(enum playback_suspension suspension)
{
	switch (suspension) {
	case PLAYBACK_NOT_SUSPENDED:
		break;
	case PLAYBACK_UNBRIDGED:
		return "unbridged";
	case PLAYBACK_ALONE:
		return "alone";
	case PLAYBACK_DIAL:
		return "dial";
	case PLAYBACK_RINGING:
		return "ringing";
	case PLAYBACK_UNANSWERED:
		return "unanswered";
	case PLAYBACK_HOLDING:
		return "holding";
	case PLAYBACK_HOLD:
		return "hold";
	case PLAYBACK_AUDIO:
		return "audio";
	case PLAYBACK_DIGIT:
		return "digit";
	case PLAYBACK_MUTE:
		return "mute";
	}
	return NULL;
}

size_t playback_event_suspension(char *buffer, size_t size,
	const struct playback_event_style *style, enum playback_suspension suspension,
	const struct playback_snapshot *snapshot, int paused, int64_t at_us)
{
	const char *reason = suspension_reason(suspension);
	struct text text;

	begin(&text, buffer, size, style, reason ? "PLAYBACK_SUSPENDED" : "PLAYBACK_RESUMED");
	if (reason) {
		put_word(&text, "reason", reason);
	}
	if (style->json) {
		put_counters(&text, snapshot, paused, at_us);
	}
	return end(&text);
}

size_t playback_event_dropped(char *buffer, size_t size,
	const struct playback_event_style *style, const struct playback_drop *drop)
{
	struct text text;

	begin(&text, buffer, size, style, "MEDIA_DROPPED");
	put_number(&text, "bytes", drop->bytes);
	put_word(&text, "reason", drop_reason(drop->reason));
	put_number(&text, "offset", drop->offset);
	return end(&text);
}

size_t playback_event_item(char *buffer, size_t size, const char *item,
	const struct playback_snapshot *snapshot, enum playback_suspension suspension,
	int paused, int64_t at_us)
{
	const char *reason = suspension_reason(suspension);
	struct text text = { .buffer = buffer, .size = size, };
	size_t name_length = strlen(item);
	char *found = buffer;
	size_t length;
	int i;

	for (i = 0; i < PLAYBACK_DROP_REASONS; i++) {
		put(&text, " dropped_%s=%" PRIu64, drop_reason(i), snapshot->dropped_by[i]);
	}
	put_word(&text, "suspended", reason ? reason : "no");
	put_counters(&text, snapshot, paused, at_us);
	if (!end(&text)) {
		return 0;
	}
	if (!strcmp(item, "all")) {
		length = text.length - 1;
		memmove(buffer, buffer + 1, length + 1);
		return length;
	}
	while ((found = strchr(found, ' '))) {
		found++;
		if (!strncmp(found, item, name_length) && found[name_length] == '=') {
			found += name_length + 1;
			length = strcspn(found, " ");
			memmove(buffer, found, length);
			buffer[length] = '\0';
			return length;
		}
	}
	return 0;
}
