/*
 * Fuzzing the text: commands' arguments parsed, events formatted.
 *
 * The first byte chooses the event, its form and its buffer's size, the rest is text from
 * the application. What is written is read again with Asterisk's JSON library.
 */

#include <jansson.h>

#include "../playback_events.h"
#include "fuzz.h"

#define CHANNEL_ID "caller-\"1\\700000000.1"

/* id=<id>, or id=<id> offset=<n> */
static void check_mark(const char *text)
{
	const char *space = strchr(text, ' ');
	const char *digits = space && !strncmp(space, " offset=", 8) ? space + 8 : "";
	char *with_id = strdup(text);
	struct playback_id id, whole;
	int64_t offset = -7;
	int valid;

	CHECK(with_id);
	with_id[space ? (size_t) (space - text) : strlen(text)] = '\0';
	/* strtoull() saturates at more than is taken */
	valid = !playback_id_from_plain(&whole, with_id) && (!space || (*digits
		&& strspn(digits, "0123456789") == strlen(digits)
		&& strtoull(digits, NULL, 10) <= PLAYBACK_OFFSET_MAX));
	CHECK(playback_mark_from_plain(&id, &offset, text) == (valid ? 0 : -1));
	CHECK(!valid || offset == (space ? strtoll(digits, NULL, 10) : PLAYBACK_OFFSET_NONE));
	CHECK(!valid || (!id.is_integer && !strcmp(id.text, whole.text)));
	free(with_id);
}

/* What is parsed, by the words of the protocol */
static void parse(const char *text, size_t length)
{
	struct playback_id id;
	size_t digits, printable = 0;
	int interval_ms = -1, valid;
	enum playback_interval interval;
	long value;

	valid = !strncmp(text, "id=", 3) && length > 3 && length <= 3 + PLAYBACK_ID_MAX;
	for (; valid && printable < length; printable++) {
		valid = text[printable] > 0x20 && text[printable] < 0x7f;
	}
	CHECK(playback_id_from_plain(&id, text) == (valid ? 0 : -1));
	CHECK(!valid || (!id.is_integer && !strcmp(id.text, text + 3)));

	check_mark(text);

	interval = playback_interval_from_plain(&interval_ms, text);
	if (!length) {
		CHECK(interval == PLAYBACK_INTERVAL_NONE);
		return;
	}
	if (strncmp(text, "interval_ms=", 12)) {
		CHECK(interval == PLAYBACK_INTERVAL_INVALID);
		return;
	}
	digits = strspn(text + 12, "0123456789");
	/* Saturates at LONG_MAX */
	value = strtol(text + 12, NULL, 10);
	valid = digits && 12 + digits == length
		&& (!value || (value >= 20 && value <= 3600000));
	CHECK(interval == (valid ? PLAYBACK_INTERVAL_VALID : PLAYBACK_INTERVAL_INVALID));
	CHECK(interval_ms == (valid ? value : -1));
}

/* One of the events, everything in it made of \a number and \a id */
static size_t format_event(char *buffer, size_t size, int event,
	const struct playback_event_style *style, const struct playback_id *id,
	uint64_t number)
{
	const int64_t us = (int64_t) number;
	const struct playback_media media = { .bytes = number, .ns = us, };
	const struct playback_mark mark = {
		.offset = number,
		.dropped = number,
		.media_ns = us,
		.outcome = 1 + number % 5,
	};
	const struct playback_far_end far_end = { .rtt_us = us, .jitter_us = us / 2, };
	const struct playback_flush_result flush = {
		.played = media,
		.flushed = media,
		.last_mark = number & 1 ? id : NULL,
		.since_mark_ns = us,
		.far_end = far_end,
	};
	const struct playback_snapshot snapshot = {
		.received = number,
		.played = media,
		.queued = media,
		.flushed = number,
		.dropped = number,
		.marks = (unsigned int) number,
		.underruns = number,
	};
	const struct playback_drop drop = {
		.bytes = number,
		.offset = number,
		.reason = number % PLAYBACK_DROP_REASONS,
	};

	switch (event) {
	case 0:
		return playback_event_mark(buffer, size, style, id, &mark, us);
	case 1:
		return playback_event_error(buffer, size, style, number & 1 ? "MARK" : NULL,
			id->text);
	case 2:
		return playback_event_flushed(buffer, size, style, id, &flush);
	case 3:
		return playback_event_playback(buffer, size, style, &snapshot,
			&far_end, number & 1, number & 2, us);
	case 4:
		return playback_event_suspension(buffer, size, style,
			number % (PLAYBACK_MUTE + 1), &snapshot, number & 1, us);
	default:
		return playback_event_dropped(buffer, size, style, &drop);
	}
}

/* A JSON event is JSON and says the id and the channel as they were */
static void check_json(const char *text, const struct playback_id *id, int has_id)
{
	json_t *json = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	json_t *value;
	char digits[32];

	CHECK(json);
	value = json_object_get(json, "channel_id");
	CHECK(value && !strcmp(json_string_value(value), CHANNEL_ID));
	value = json_object_get(json, "id");
	CHECK(!has_id || value);
	if (value && id->is_integer) {
		snprintf(digits, sizeof(digits), "%" JSON_INTEGER_FORMAT,
			json_integer_value(value));
		CHECK(json_is_integer(value) && !strcmp(digits, id->text));
	} else if (value) {
		CHECK(!strcmp(json_string_value(value), id->text));
	}
	json_decref(json);
}

/* Into a buffer of exactly \a size bytes: whole, or 0 is returned */
static void check_size(const char *whole, size_t length, size_t size, int event,
	const struct playback_event_style *style, const struct playback_id *id,
	uint64_t number)
{
	char *buffer = malloc(size ? size : 1);
	size_t written;

	CHECK(buffer);
	written = format_event(buffer, size, event, style, id, number);
	CHECK(written == (length < size ? length : 0));
	CHECK(!written || !memcmp(buffer, whole, length + 1));
	free(buffer);
}

static void format(uint8_t choice, const char *text, uint64_t number)
{
	const struct playback_event_style style = {
		.json = choice & 8,
		.channel_id = CHANNEL_ID,
	};
	const int event = choice % 6;
	char whole[PLAYBACK_EVENT_MAX];
	struct playback_id id;
	json_t *string = json_string(text);
	size_t length;

	if (choice & 16) {
		playback_id_from_integer(&id,
			choice & 32 ? -(intmax_t) number - 1 : (intmax_t) number);
	} else if (playback_id_from_string(&id, text)) {
		id = (struct playback_id) { .text = "id", };
	}
	length = format_event(whole, sizeof(whole), event, &style, &id, number);
	/* PLAYBACK_EVENT_MAX is enough for every event */
	CHECK(length && length == strlen(whole));
	if (style.json && string) {
		/* The application's own JSON has been read by then: it is UTF-8 */
		check_json(whole, &id, event == 0 || event == 2);
	}
	check_size(whole, length, number % (length + 2), event, &style, &id, number);
	check_size(whole, length, length, event, &style, &id, number);
	check_size(whole, length, length + 1, event, &style, &id, number);
	json_decref(string);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t number = 0;
	char *text;
	size_t length;

	if (!size) {
		return 0;
	}
	length = size - 1;
	text = malloc(length + 1);
	CHECK(text);
	memcpy(text, data + 1, length);
	text[length] = '\0';
	memcpy(&number, text, length < sizeof(number) ? length : sizeof(number));
	/* No counter comes that far, and JSON libraries do not read it */
	number >>= 1;
	/* A NUL ends the text, as it would end a message */
	parse(text, strlen(text));
	format(data[0], text, number);
	free(text);
	return 0;
}
