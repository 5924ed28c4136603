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
 * \brief Unit tests of a channel's playback inside Asterisk
 *
 * They need a channel and a format, but no WebSocket: what would be written is not.
 */

#include "asterisk.h"

#include "asterisk/bridge.h"
#include "asterisk/bridge_channel.h"
#include "asterisk/bridge_features.h"
#include "asterisk/codec.h"
#include "asterisk/core_local.h"
#include "asterisk/format_cache.h"
#include "asterisk/frame.h"
#include "asterisk/framehook.h"
#include "asterisk/logger.h"
#include "asterisk/rtp_engine.h"
#include "asterisk/sched.h"
#include "asterisk/sem.h"
#include "asterisk/test.h"

#include "playback_channel.h"
#include "playback_commands.h"
#include "playback_flush.h"
#include "playback_test.h"

#ifdef TEST_FRAMEWORK

#define CATEGORY "/channels/chan_websocket/playback/"
#define FRAME_BYTES 160

/*! \brief Another party, made before the fixture locks its channel: names are looked up */
static struct ast_channel *other_new(void)
{
	struct ast_channel *other = ast_channel_alloc(0, AST_STATE_UP, "", "", "", "", "",
		NULL, NULL, 0, "Test/other");

	if (other) {
		ast_channel_unlock(other);
	}
	return other;
}

/*! \brief A channel with its playback and an empty frame queue */
struct fixture {
	struct ast_channel *channel;
	struct ast_frame *frames;
	char partial[FRAME_BYTES];
	size_t partial_bytes;
	int paused;
	struct playback_channel playback;
};

static struct fixture *fixture_new(struct ast_format *format, size_t frame_size,
	unsigned int marks_max)
{
	struct fixture *fixture = ast_calloc(1, sizeof(*fixture));
	struct playback_driver driver = {
		.format = format,
		.frame_size = frame_size,
		.marks_max = marks_max,
		.json = 1,
	};

	if (!fixture) {
		return NULL;
	}
	fixture->channel = ast_channel_alloc(0, AST_STATE_UP, "", "", "", "", "", NULL,
		NULL, 0, "WebSocket/unit-test");
	if (!fixture->channel) {
		ast_free(fixture);
		return NULL;
	}
	driver.channel = fixture->channel;
	driver.frames = &fixture->frames;
	driver.partial = fixture->partial;
	driver.partial_bytes = &fixture->partial_bytes;
	driver.paused = &fixture->paused;
	if (playback_init(&fixture->playback, &driver)) {
		ast_channel_unlock(fixture->channel);
		ast_channel_release(fixture->channel);
		ast_free(fixture);
		return NULL;
	}
	return fixture;
}

static void fixture_free(struct fixture *fixture)
{
	playback_destroy(&fixture->playback);
	ast_channel_unlock(fixture->channel);
	ast_channel_release(fixture->channel);
	ast_free(fixture);
}

/*! \brief A JSON command, as the driver passes it on */
static int command(struct fixture *fixture, const char *text)
{
	struct ast_json *json = ast_json_load_string(text, NULL);
	int ours = playback_command(&fixture->playback, NULL,
		ast_json_object_string_get(json, "command"), NULL, json, 1);

	ast_json_unref(json);
	return ours;
}

/*! \brief Number of pending marks */
static unsigned int pending(const struct fixture *fixture)
{
	return playback_ledger_marks(fixture->playback.ledger);
}

/*! \brief The driver's timer fires, and the driver has a frame of \a bytes */
static struct ast_frame *tick(struct fixture *fixture, char *data, size_t bytes)
{
	struct ast_frame frame = {
		.frametype = AST_FRAME_VOICE,
		.subclass.format = fixture->playback.driver.format,
	};

	AST_FRAME_SET_BUFFER(&frame, data, 0, bytes);
	frame.samples = ast_codec_samples_count(&frame);
	playback_read_begin(&fixture->playback, 1);
	playback_dequeued_media(&fixture->playback, &frame);
	return playback_read_end(&fixture->playback, NULL, ast_frisolate(&frame), 1);
}

AST_TEST_DEFINE(ids)
{
	static const char *const malformed[] = {
		"{\"command\":\"MARK\"}",
		"{\"command\":\"MARK\",\"id\":\"\"}",
		"{\"command\":\"MARK\",\"id\":1.5}",
		"{\"command\":\"MARK\",\"id\":null}",
		"{\"command\":\"MARK\",\"id\":[1]}",
	};
	struct fixture *fixture;
	enum ast_test_result_state result = AST_TEST_PASS;
	int i;

	switch (cmd) {
	case TEST_INIT:
		info->name = "ids";
		info->category = CATEGORY;
		info->summary = "Ids of JSON commands";
		info->description = "Strings and integers make a mark, anything else an ERROR";
		return AST_TEST_NOT_RUN;
	case TEST_EXECUTE:
		break;
	}
	fixture = fixture_new(ast_format_ulaw, FRAME_BYTES, PLAYBACK_MARKS_MAX);
	ast_test_validate(test, fixture != NULL);
	playback_received(&fixture->playback, NULL, 1);
	ast_test_validate_cleanup(test,
		command(fixture, "{\"command\":\"MARK\",\"id\":\"a\"}"), result, done);
	ast_test_validate_cleanup(test, command(fixture, "{\"command\":\"MARK\",\"id\":-7}"),
		result, done);
	ast_test_validate_cleanup(test, pending(fixture) == 2, result, done);
	for (i = 0; i < ARRAY_LEN(malformed); i++) {
		ast_test_validate_cleanup(test, command(fixture, malformed[i]), result, done);
	}
	ast_test_validate_cleanup(test, pending(fixture) == 2, result, done);
	ast_test_validate_cleanup(test,
		fixture->playback.outbox.length == ARRAY_LEN(malformed), result, done);
	ast_test_validate_cleanup(test, !command(fixture, "{\"command\":\"MARK_MEDIA\"}"),
		result, done);
done:
	fixture_free(fixture);
	return result;
}

AST_TEST_DEFINE(offsets)
{
	static const char *const malformed[] = {
		"{\"command\":\"MARK\",\"id\":1,\"offset\":-1}",
		"{\"command\":\"MARK\",\"id\":1,\"offset\":9007199254740992}",
		"{\"command\":\"MARK\",\"id\":1,\"offset\":1.0}",
		"{\"command\":\"MARK\",\"id\":1,\"offset\":\"1\"}",
		"{\"command\":\"MARK\",\"id\":1,\"offset\":null}",
		"{\"command\":\"MARK\",\"id\":1,\"offset\":true}",
		"{\"command\":\"MARK\",\"id\":1,\"offset\":[]}",
		"{\"command\":\"MARK\",\"offset\":1}",
	};
	static const struct {
		const char *id;
		uint64_t offset;
	} expected[] = { { "0", 0 }, { "1", 1 }, { "2", FRAME_BYTES }, { "3", 1000 }, };
	struct fixture *fixture;
	struct playback_ledger *ledger;
	struct playback_mark *mark = NULL;
	enum ast_test_result_state result = AST_TEST_PASS;
	int i;

	switch (cmd) {
	case TEST_INIT:
		info->name = "offsets";
		info->category = CATEGORY;
		info->summary = "Marks by position";
		info->description = "In the order of the stream; a bad offset sets nothing";
		return AST_TEST_NOT_RUN;
	case TEST_EXECUTE:
		break;
	}
	fixture = fixture_new(ast_format_ulaw, FRAME_BYTES, 4);
	ast_test_validate(test, fixture != NULL);
	ledger = fixture->playback.ledger;
	playback_received(&fixture->playback, NULL, FRAME_BYTES);
	command(fixture, "{\"command\":\"MARK\",\"id\":\"3\",\"offset\":1000}");
	command(fixture, "{\"command\":\"MARK\",\"id\":\"2\"}");
	command(fixture, "{\"command\":\"MARK\",\"id\":\"1\",\"offset\":1}");
	command(fixture, "{\"command\":\"MARK\",\"id\":\"0\",\"offset\":0}");
	ast_test_validate_cleanup(test, pending(fixture) == 4, result, done);
	/* They are bounded like any other, also those ahead */
	command(fixture, "{\"command\":\"MARK\",\"id\":\"4\",\"offset\":2000}");
	ast_test_validate_cleanup(test, pending(fixture) == 4, result, done);
	for (i = 0; i < ARRAY_LEN(malformed); i++) {
		command(fixture, malformed[i]);
	}
	ast_test_validate_cleanup(test,
		fixture->playback.outbox.length == ARRAY_LEN(malformed), result, done);
	playback_ledger_hangup(ledger, 0);
	for (i = 0; i < ARRAY_LEN(expected); i++) {
		mark = playback_ledger_pop(ledger, PLAYBACK_NEVER);
		ast_test_validate_cleanup(test, mark && mark->offset == expected[i].offset
			&& !strcmp(((struct playback_ack *) mark)->text, expected[i].id),
			result, done);
		ast_free(mark);
		mark = NULL;
	}
	ast_test_validate_cleanup(test, !pending(fixture), result, done);
done:
	ast_free(mark);
	fixture_free(fixture);
	return result;
}

AST_TEST_DEFINE(limit)
{
	struct fixture *fixture;
	struct ast_frame event = {
		.frametype = AST_FRAME_CONTROL,
		.data.ptr = "MEDIA_MARK_PROCESSED a",
	};
	enum ast_test_result_state result = AST_TEST_PASS;
	int i;

	switch (cmd) {
	case TEST_INIT:
		info->name = "limit";
		info->category = CATEGORY;
		info->summary = "Pending marks are bounded";
		info->description = "So are the events of the older commands";
		return AST_TEST_NOT_RUN;
	case TEST_EXECUTE:
		break;
	}
	fixture = fixture_new(ast_format_ulaw, FRAME_BYTES, 3);
	ast_test_validate(test, fixture != NULL);
	playback_received(&fixture->playback, NULL, FRAME_BYTES);
	for (i = 0; i < 5; i++) {
		command(fixture, "{\"command\":\"MARK\",\"id\":\"a\"}");
		ast_test_validate_cleanup(test,
			playback_queued_event(&fixture->playback, &event) == (i < 3 ? 0 : -1),
			result, done);
	}
	ast_test_validate_cleanup(test, pending(fixture) == 3, result, done);
	/* It is owed whatever the number of marks */
	event.data.ptr = "MEDIA_BUFFERING_COMPLETED";
	ast_test_validate_cleanup(test,
		playback_queued_event(&fixture->playback, &event) == 0, result, done);
done:
	fixture_free(fixture);
	return result;
}

AST_TEST_DEFINE(padding)
{
	static char data[FRAME_BYTES] = { 1, 2, 3, };
	struct fixture *fixture;
	struct ast_frame *frame = NULL;
	struct playback_media delivered;
	enum ast_test_result_state result = AST_TEST_PASS;

	switch (cmd) {
	case TEST_INIT:
		info->name = "padding";
		info->category = CATEGORY;
		info->summary = "Short frames are padded with silence";
		info->description = "On a channel that has used marks, and only there";
		return AST_TEST_NOT_RUN;
	case TEST_EXECUTE:
		break;
	}
	fixture = fixture_new(ast_format_ulaw, FRAME_BYTES, PLAYBACK_MARKS_MAX);
	ast_test_validate(test, fixture != NULL);
	playback_received(&fixture->playback, NULL, 6);
	/* What the driver still has after the tick: in developer mode that is compared */
	fixture->partial_bytes = 3;
	frame = tick(fixture, data, 3);
	ast_test_validate_cleanup(test, frame->datalen == 3, result, done);
	ast_frfree(frame);
	fixture->partial_bytes = 0;
	command(fixture, "{\"command\":\"MARK\",\"id\":\"a\"}");
	frame = tick(fixture, data, 3);
	ast_test_validate_cleanup(test, frame->datalen == FRAME_BYTES, result, done);
	ast_test_validate_cleanup(test, frame->samples == FRAME_BYTES, result, done);
	ast_test_validate_cleanup(test, !memcmp(frame->data.ptr, data, 3), result, done);
	ast_test_validate_cleanup(test, ((unsigned char *) frame->data.ptr)[3] == 0xff
		&& ((unsigned char *) frame->data.ptr)[FRAME_BYTES - 1] == 0xff, result, done);
	delivered = playback_ledger_delivered_media(fixture->playback.ledger);
	ast_test_validate_cleanup(test, delivered.bytes == 6, result, done);
	ast_test_validate_cleanup(test, delivered.ns == 750000, result, done);
done:
	ast_frfree(frame);
	fixture_free(fixture);
	return result;
}

AST_TEST_DEFINE(driver_silence)
{
	static char data[FRAME_BYTES];
	/* What the driver of 20.18, 22.8 and 23.2 plays between media, and makes of a short one */
	static char linear[2 * FRAME_BYTES];
	struct ast_frame padded = { .frametype = AST_FRAME_VOICE, .samples = FRAME_BYTES, };
	struct ast_frame media = { .frametype = AST_FRAME_VOICE, };
	struct fixture *fixture;
	struct ast_frame *frame = NULL;
	struct playback_media delivered;
	int i;
	enum ast_test_result_state result = AST_TEST_PASS;

	switch (cmd) {
	case TEST_INIT:
		info->name = "driver_silence";
		info->category = CATEGORY;
		info->summary = "Silence and padding of the driver are not the application's";
		info->description = "Only what was read from the frame queue is entered";
		return AST_TEST_NOT_RUN;
	case TEST_EXECUTE:
		break;
	}
	fixture = fixture_new(ast_format_ulaw, FRAME_BYTES, PLAYBACK_MARKS_MAX);
	ast_test_validate(test, fixture != NULL);
	padded.subclass.format = ast_format_slin;
	AST_FRAME_SET_BUFFER(&padded, linear, 0, sizeof(linear));
	media.subclass.format = ast_format_ulaw;
	AST_FRAME_SET_BUFFER(&media, data, 0, 6);
	playback_received(&fixture->playback, NULL, 6);
	command(fixture, "{\"command\":\"MARK\",\"id\":\"a\"}");
	fixture->partial_bytes = 6;
	for (i = 0; i < 2; i++) {
		playback_read_begin(&fixture->playback, 1);
		ast_test_validate_cleanup(test, !playback_catch_up(&fixture->playback), result,
			done);
		frame = playback_read_end(&fixture->playback, NULL, ast_frisolate(&padded), 1);
		ast_test_validate_cleanup(test, frame->datalen == sizeof(linear), result, done);
		ast_frfree(frame);
		frame = NULL;
	}
	delivered = playback_ledger_delivered_media(fixture->playback.ledger);
	ast_test_validate_cleanup(test, !delivered.bytes && !delivered.ns, result, done);
	ast_test_validate_cleanup(test, pending(fixture) == 1, result, done);
	playback_read_begin(&fixture->playback, 1);
	playback_dequeued_media(&fixture->playback, &media);
	fixture->partial_bytes = 0;
	frame = playback_read_end(&fixture->playback, NULL, ast_frisolate(&padded), 1);
	ast_test_validate_cleanup(test, frame->datalen == sizeof(linear), result, done);
	delivered = playback_ledger_delivered_media(fixture->playback.ledger);
	ast_test_validate_cleanup(test, delivered.bytes == 6, result, done);
	ast_test_validate_cleanup(test, delivered.ns == 750000, result, done);
	ast_frfree(frame);
	/* While nobody hears the channel there is none at all */
	fixture->playback.listener.waits = 1;
	ast_channel_appl_set(fixture->channel, "Stasis");
	playback_read_begin(&fixture->playback, 1);
	frame = playback_read_end(&fixture->playback, NULL, ast_frisolate(&padded), 1);
	ast_test_validate_cleanup(test, frame == &ast_null_frame, result, done);
done:
	ast_frfree(frame);
	fixture_free(fixture);
	return result;
}

AST_TEST_DEFINE(half_sample)
{
	struct fixture *fixture;
	struct playback_ledger *ledger;
	struct playback_mark *mark = NULL;
	enum ast_test_result_state result = AST_TEST_PASS;

	switch (cmd) {
	case TEST_INIT:
		info->name = "half_sample";
		info->category = CATEGORY;
		info->summary = "Half a sample is never played alone";
		info->description = "Nor anything of a partial frame while media is paused";
		return AST_TEST_NOT_RUN;
	case TEST_EXECUTE:
		break;
	}
	fixture = fixture_new(ast_format_slin, 2 * FRAME_BYTES, PLAYBACK_MARKS_MAX);
	ast_test_validate(test, fixture != NULL);
	ledger = fixture->playback.ledger;
	playback_received(&fixture->playback, NULL, 5);
	memcpy(fixture->partial, "abcde", 5);
	fixture->partial_bytes = 5;
	command(fixture, "{\"command\":\"MARK\",\"id\":\"a\"}");
	/* The driver reads nothing, then what there is, then there is nothing */
	ast_test_validate_cleanup(test, playback_read_begin(&fixture->playback, 1)
		&& fixture->partial_bytes == 4, result, done);
	playback_read_end(&fixture->playback, NULL, NULL, 1);
	ast_test_validate_cleanup(test, fixture->partial_bytes == 5
		&& !memcmp(fixture->partial, "abcde", 5), result, done);
	playback_read_begin(&fixture->playback, 1);
	fixture->partial_bytes = 0;
	playback_ledger_delivered(ledger,
		(struct playback_media) { .bytes = 4, .ns = 250000, }, 20000000, 0);
	playback_read_end(&fixture->playback, NULL, NULL, 1);
	ast_test_validate_cleanup(test, fixture->partial_bytes == 1
		&& fixture->partial[0] == 'e', result, done);
	ast_test_validate_cleanup(test, playback_ledger_next_due(ledger) < PLAYBACK_NEVER,
		result, done);
	mark = playback_ledger_pop(ledger, PLAYBACK_NEVER);
	ast_test_validate_cleanup(test, mark && mark->offset == 5, result, done);
	ast_test_validate_cleanup(test, !playback_read_begin(&fixture->playback, 1)
		&& !fixture->partial_bytes, result, done);
	playback_read_end(&fixture->playback, NULL, NULL, 1);
	fixture->partial_bytes = 4;
	playback_received(&fixture->playback, NULL, 3);
	fixture->paused = 1;
	playback_read_begin(&fixture->playback, 1);
	ast_test_validate_cleanup(test, !fixture->partial_bytes, result, done);
	playback_read_end(&fixture->playback, NULL, NULL, 1);
	ast_test_validate_cleanup(test, fixture->partial_bytes == 4, result, done);
done:
	ast_free(mark);
	fixture_free(fixture);
	return result;
}

/*! \brief A message arrives, and the driver drops all of it; the bytes dropped so far */
static uint64_t drop_all(struct fixture *fixture, char *payload,
	enum playback_drop_reason reason)
{
	playback_received(&fixture->playback, payload, strlen(payload));
	playback_dropped(&fixture->playback, strlen(payload), reason);
	return playback_get_counts(&fixture->playback).dropped;
}

AST_TEST_DEFINE(half_sample_dropped)
{
	struct fixture *fixture;
	struct playback_drop drop = { .bytes = 0, };
	enum ast_test_result_state result = AST_TEST_PASS;

	switch (cmd) {
	case TEST_INIT:
		info->name = "half_sample_dropped";
		info->category = CATEGORY;
		info->summary = "Nothing but whole samples is dropped, once it has opted in";
		info->description = "Whatever of a sample comes first or last waits for the rest";
		return AST_TEST_NOT_RUN;
	case TEST_EXECUTE:
		break;
	}
	fixture = fixture_new(ast_format_slin, 2 * FRAME_BYTES, PLAYBACK_MARKS_MAX);
	ast_test_validate(test, fixture != NULL);
	/* As the stock driver does */
	ast_test_validate_cleanup(test, drop_all(fixture, "abc", PLAYBACK_DROP_PARTIAL) == 3
		&& !fixture->partial_bytes, result, done);
	command(fixture, "{\"command\":\"MARK\",\"id\":\"a\"}");
	ast_test_validate_cleanup(test, drop_all(fixture, "defgh", PLAYBACK_DROP_PARTIAL) == 7
		&& fixture->partial_bytes == 1 && fixture->partial[0] == 'h', result, done);
	ast_test_validate_cleanup(test, playback_half_sample(&fixture->playback) == 1,
		result, done);
	/* What is dropped begins with the other half of it */
	ast_test_validate_cleanup(test, drop_all(fixture, "ijk", PLAYBACK_DROP_OVERFLOW) == 11
		&& !fixture->partial_bytes, result, done);
	ast_test_validate_cleanup(test, playback_ledger_pop_drop(fixture->playback.ledger,
		playback_now_ns(), &drop), result, done);
	ast_test_validate_cleanup(test, drop.reason == PLAYBACK_DROP_OVERFLOW
		&& drop.bytes == 4 && drop.offset == 7, result, done);
	/* A single byte waits, and another one takes its place */
	ast_test_validate_cleanup(test, drop_all(fixture, "l", PLAYBACK_DROP_DIRECTION) == 11
		&& fixture->partial_bytes == 1 && fixture->partial[0] == 'l', result, done);
	ast_test_validate_cleanup(test, drop_all(fixture, "mn", PLAYBACK_DROP_DIRECTION) == 13
		&& fixture->partial_bytes == 1 && fixture->partial[0] == 'n', result, done);
done:
	fixture_free(fixture);
	return result;
}

AST_TEST_DEFINE(message_times)
{
	struct fixture *fixture;
	enum ast_test_result_state result = AST_TEST_PASS;
	struct playback_ledger *ledger;
	int i;

	switch (cmd) {
	case TEST_INIT:
		info->name = "message_times";
		info->category = CATEGORY;
		info->summary = "Messages last as long together as the frames made of them";
		info->description = "Also where no byte lasts a whole number of nanoseconds";
		return AST_TEST_NOT_RUN;
	case TEST_EXECUTE:
		break;
	}
	fixture = fixture_new(ast_format_slin24, 6 * FRAME_BYTES, PLAYBACK_MARKS_MAX);
	ast_test_validate(test, fixture != NULL);
	ledger = fixture->playback.ledger;
	for (i = 0; i < 3 * FRAME_BYTES; i++) {
		playback_received(&fixture->playback, NULL, 2);
	}
	ast_test_validate_cleanup(test, playback_ledger_queued(ledger).ns == 20000000,
		result, done);
	playback_received(&fixture->playback, NULL, 1);
	ast_test_validate_cleanup(test, playback_ledger_queued(ledger).ns == 20020833,
		result, done);
done:
	fixture_free(fixture);
	return result;
}

AST_TEST_DEFINE(flush)
{
	struct fixture *fixture;
	struct ast_json *json = NULL;
	enum ast_test_result_state result = AST_TEST_PASS;

	switch (cmd) {
	case TEST_INIT:
		info->name = "flush";
		info->category = CATEGORY;
		info->summary = "FLUSH_MEDIA with and without id";
		info->description = "With an id it is acknowledged, behind the marks before it";
		return AST_TEST_NOT_RUN;
	case TEST_EXECUTE:
		break;
	}
	fixture = fixture_new(ast_format_ulaw, FRAME_BYTES, PLAYBACK_MARKS_MAX);
	ast_test_validate(test, fixture != NULL);
	json = ast_json_load_string("{\"command\":\"FLUSH_MEDIA\",\"id\":5}", NULL);
	ast_test_validate_cleanup(test,
		playback_flush(&fixture->playback, NULL, NULL) == PLAYBACK_FLUSH_PLAIN,
		result, done);
	ast_test_validate_cleanup(test,
		playback_flush(&fixture->playback, "now", NULL) == PLAYBACK_FLUSH_PLAIN,
		result, done);
	ast_test_validate_cleanup(test, !fixture->playback.opted_in, result, done);
	ast_test_validate_cleanup(test,
		playback_flush(&fixture->playback, "id=", NULL) == PLAYBACK_FLUSH_REFUSED,
		result, done);
	ast_test_validate_cleanup(test,
		playback_flush(&fixture->playback, NULL, json) == PLAYBACK_FLUSH_ACKNOWLEDGED,
		result, done);
	playback_received(&fixture->playback, NULL, FRAME_BYTES);
	playback_flush_ack(&fixture->playback, playback_flushed(&fixture->playback));
	ast_test_validate_cleanup(test,
		playback_ledger_ordered_events(fixture->playback.ledger) == 1, result, done);
	ast_test_validate_cleanup(test,
		playback_get_counts(&fixture->playback).flushed == FRAME_BYTES, result, done);
done:
	ast_json_unref(json);
	fixture_free(fixture);
	return result;
}

AST_TEST_DEFINE(silence)
{
	struct playback_media_format format = {
		.format = ast_format_ulaw,
		.frame_size = FRAME_BYTES,
	};
	enum ast_test_result_state result = AST_TEST_PASS;
	struct ast_frame *frame;

	switch (cmd) {
	case TEST_INIT:
		info->name = "silence";
		info->category = CATEGORY;
		info->summary = "Silence in any format";
		info->description = "Of any length where a byte is silence, else a frame of a codec";
		return AST_TEST_NOT_RUN;
	case TEST_EXECUTE:
		break;
	}
	frame = playback_media_silence(&format, 3 * 20000000LL);
	ast_test_validate_cleanup(test, playback_media_has_silence(format.format)
		&& frame && frame->datalen == 3 * FRAME_BYTES
		&& playback_media_frame(&format, frame).ns == 3 * 20000000LL, result, done);
	ast_frfree(frame);
	frame = playback_media_silence(&format, 0);
	ast_test_validate_cleanup(test, !frame, result, done);
	format.format = ast_format_gsm;
	format.frame_size = 33;
	frame = playback_media_silence(&format, 3 * 20000000LL);
	if (!playback_media_has_silence(format.format)) {
		/* codec_gsm is not loaded */
		ast_test_validate_cleanup(test, !frame, result, done);
	} else {
		ast_test_validate_cleanup(test, frame && frame->datalen == 33
			&& playback_media_frame(&format, frame).ns == 20000000LL, result, done);
	}
done:
	if (frame) {
		ast_frfree(frame);
	}
	return result;
}

/*! \brief Whether a path from one format to another is resampled by so much, or there is none */
static int is_resampled(struct ast_format *from, struct ast_format *to, int64_t ns)
{
	struct ast_trans_pvt *path = ast_translator_build_path(to, from);
	int64_t found_ns = playback_media_resampled_ns(path, from);

	if (path) {
		ast_translator_free_path(path);
	}
	/* codec_resample, or a codec, is not loaded */
	return !path || found_ns == ns;
}

AST_TEST_DEFINE(resampled)
{
	switch (cmd) {
	case TEST_INIT:
		info->name = "resampled";
		info->category = CATEGORY;
		info->summary = "By how much a path of translators makes sound later";
		info->description = "Half of the filter of each resampler, none where a codec has both rates";
		return AST_TEST_NOT_RUN;
	case TEST_EXECUTE:
		break;
	}
	ast_test_validate(test, is_resampled(ast_format_slin16, ast_format_slin, 5000000));
	ast_test_validate(test, is_resampled(ast_format_slin, ast_format_slin16, 5000000));
	ast_test_validate(test, is_resampled(ast_format_slin16, ast_format_ulaw, 5000000));
	ast_test_validate(test, is_resampled(ast_format_slin48, ast_format_slin, 5000000));
	ast_test_validate(test, is_resampled(ast_format_slin16, ast_format_slin48, 2500000));
	/* A filter of 448 samples: 441, and what makes it a multiple of 8 */
	ast_test_validate(test, is_resampled(ast_format_slin44, ast_format_slin, 5079365));
	ast_test_validate(test, is_resampled(ast_format_ulaw, ast_format_slin, 0));
	ast_test_validate(test, is_resampled(ast_format_slin16, ast_format_g722, 0));
	ast_test_validate(test, is_resampled(ast_format_slin, ast_format_slin, 0));
	return AST_TEST_PASS;
}

AST_TEST_DEFINE(timer_polled)
{
	struct fixture *fixture;
	struct playback_timer *timer;
	enum ast_test_result_state result = AST_TEST_PASS;

	switch (cmd) {
	case TEST_INIT:
		info->name = "timer_polled";
		info->category = CATEGORY;
		info->summary = "The timer's descriptor is polled while it is armed only";
		info->description = "And one that has fired meanwhile wakes nobody later";
		return AST_TEST_NOT_RUN;
	case TEST_EXECUTE:
		break;
	}
	fixture = fixture_new(ast_format_ulaw, FRAME_BYTES, PLAYBACK_MARKS_MAX);
	ast_test_validate(test, fixture != NULL);
	timer = &fixture->playback.timer;
	playback_timer_open(timer);
	ast_test_validate_cleanup(test,
		ast_channel_fd(fixture->channel, PLAYBACK_TIMER_FDNO) < 0, result, done);
	if (timer->fd < 0) {
		/* This system has none */
		goto done;
	}
	playback_timer_arm(timer, playback_now_ns());
	ast_test_validate_cleanup(test,
		ast_channel_fd(fixture->channel, PLAYBACK_TIMER_FDNO) == timer->fd, result, done);
	ast_test_validate_cleanup(test, ast_wait_for_input(timer->fd, -1) == 1, result, done);
	playback_timer_arm(timer, PLAYBACK_NEVER);
	ast_test_validate_cleanup(test,
		ast_channel_fd(fixture->channel, PLAYBACK_TIMER_FDNO) < 0, result, done);
	playback_timer_arm(timer, playback_now_ns() + 3600 * NS_PER_S);
	ast_test_validate_cleanup(test,
		ast_channel_fd(fixture->channel, PLAYBACK_TIMER_FDNO) == timer->fd, result, done);
	ast_test_validate_cleanup(test, !ast_wait_for_input(timer->fd, 0), result, done);
done:
	fixture_free(fixture);
	return result;
}

AST_TEST_DEFINE(memory)
{
	switch (cmd) {
	case TEST_INIT:
		info->name = "memory";
		info->category = CATEGORY;
		info->summary = "What a pending mark and a channel cost";
		info->description = "Printed, and held to what playback_ack.h says";
		return AST_TEST_NOT_RUN;
	case TEST_EXECUTE:
		break;
	}
	ast_test_status_update(test, "A pending mark takes %zu bytes, its id and a NUL; a "
		"channel takes %zu and %zu for its ledger\n", sizeof(struct playback_ack),
		sizeof(struct playback_channel), playback_ledger_size());
	return sizeof(struct playback_ack) <= PLAYBACK_ACK_BYTES
		? AST_TEST_PASS : AST_TEST_FAIL;
}

AST_TEST_DEFINE(softmix)
{
	switch (cmd) {
	case TEST_INIT:
		info->name = "softmix";
		info->category = CATEGORY;
		info->summary = "Releases whose bridge_softmix is looked into";
		info->description = "Those in the table, and no other";
		return AST_TEST_NOT_RUN;
	case TEST_EXECUTE:
		break;
	}
	ast_test_validate(test, playback_bridge_knows_softmix("22.10.1"));
	ast_test_validate(test, playback_bridge_knows_softmix("22.10.1~dfsg+~cs6.17"));
	ast_test_validate(test, playback_bridge_knows_softmix("22.11.0-rc1"));
	ast_test_validate(test, playback_bridge_knows_softmix("20.19"));
	ast_test_validate(test, playback_bridge_knows_softmix("certified-22.8-cert4"));
	ast_test_validate(test, !playback_bridge_knows_softmix("22.101.0"));
	ast_test_validate(test, !playback_bridge_knows_softmix("22.1.0"));
	ast_test_validate(test, !playback_bridge_knows_softmix("2.22.10"));
	ast_test_validate(test, !playback_bridge_knows_softmix("GIT-22-4f5b8d9"));
	ast_test_validate(test, !playback_bridge_knows_softmix(""));
	return AST_TEST_PASS;
}

/*! \brief Why a channel with this application, that has opted in, is not heard */
static enum playback_suspension seen_in(struct fixture *fixture, const char *application)
{
	struct playback_listener listener = { .waits = 1, };

	ast_channel_appl_set(fixture->channel, application);
	return playback_listener_look(&listener, fixture->channel, 1, 1);
}

AST_TEST_DEFINE(far_end)
{
	/* Of the RTP it only matters whether there is any */
	struct playback_peer peer = {
		.rtp = (struct ast_rtp_instance *) &peer,
		.reports = {
			.rtt = { .latest = 0.081234, },
			.jitter = { .latest = 0.000125, },
		},
		.reported_ns = 20 * NS_PER_S,
		.rtt_reported_ns = 10 * NS_PER_S,
	};
	struct playback_far_end seen;

	switch (cmd) {
	case TEST_INIT:
		info->name = "far_end";
		info->category = CATEGORY;
		info->summary = "What the far end has reported is told for 15 s";
		info->description = "But for a round trip time that its clock has made less than none";
		return AST_TEST_NOT_RUN;
	case TEST_EXECUTE:
		break;
	}
	seen = playback_peer_far_end(&peer, 25 * NS_PER_S);
	ast_test_validate(test, seen.rtt_us == 81234 && seen.jitter_us == 125);
	seen = playback_peer_far_end(&peer, 25 * NS_PER_S + 1);
	ast_test_validate(test, seen.rtt_us == -1 && seen.jitter_us == 125);
	seen = playback_peer_far_end(&peer, 35 * NS_PER_S + 1);
	ast_test_validate(test, seen.rtt_us == -1 && seen.jitter_us == -1);
	peer.reports.rtt.latest = 65535.9998;
	seen = playback_peer_far_end(&peer, 20 * NS_PER_S);
	ast_test_validate(test, seen.rtt_us == -1 && seen.jitter_us == 125);
	peer.rtp = NULL;
	seen = playback_peer_far_end(&peer, 20 * NS_PER_S);
	ast_test_validate(test, seen.rtt_us == -1 && seen.jitter_us == -1);
	return AST_TEST_PASS;
}

/*! \brief A framehook that does nothing */
static struct ast_frame *pass_on(struct ast_channel *channel, struct ast_frame *frame,
	enum ast_framehook_event event, void *data)
{
	return frame;
}

AST_TEST_DEFINE(listener_unbridged)
{
	struct ast_framehook_interface hook = {
		.version = AST_FRAMEHOOK_INTERFACE_VERSION,
		.event_cb = pass_on,
	};
	struct playback_listener early = { .waits = 1, .no_auto_answer = 1, };
	struct ast_generator generator = { .release = NULL, };
	struct fixture *fixture;
	struct ast_channel *caller;
	char hooks[1];
	enum ast_test_result_state result = AST_TEST_PASS;

	switch (cmd) {
	case TEST_INIT:
		info->name = "listener_unbridged";
		info->category = CATEGORY;
		info->summary = "Who hears a channel that is in no bridge";
		info->description = "Nobody while it is called, or waits for ARI";
		return AST_TEST_NOT_RUN;
	case TEST_EXECUTE:
		break;
	}
	caller = other_new();
	fixture = fixture_new(ast_format_ulaw, FRAME_BYTES, PLAYBACK_MARKS_MAX);
	ast_test_validate(test, caller && fixture);
	ast_test_validate_cleanup(test,
		seen_in(fixture, "Stasis") == PLAYBACK_UNBRIDGED, result, done);
	ast_test_validate_cleanup(test, seen_in(fixture, "AppDial") == PLAYBACK_DIAL,
		result, done);
	ast_test_validate_cleanup(test, seen_in(fixture, "AppDial2") == PLAYBACK_DIAL,
		result, done);
	ast_test_validate_cleanup(test, seen_in(fixture, "AppQueue") == PLAYBACK_DIAL,
		result, done);
	ast_test_validate_cleanup(test, seen_in(fixture, "Dial") == PLAYBACK_RINGING,
		result, done);
	/* What reads it may hear it */
	ast_test_validate_cleanup(test, !seen_in(fixture, "Echo"), result, done);
	ast_test_validate_cleanup(test, !seen_in(fixture, "Record"), result, done);
	ast_test_validate_cleanup(test, !seen_in(fixture, "Wait"), result, done);
	ast_test_validate_cleanup(test, !seen_in(fixture, NULL), result, done);
	/* In a subroutine of Dial's, but not in the dialplan's own */
	ast_set_flag(ast_channel_flags(fixture->channel), AST_FLAG_SUBROUTINE_EXEC);
	ast_test_validate_cleanup(test, seen_in(fixture, "Playback") == PLAYBACK_DIAL,
		result, done);
	ast_test_validate_cleanup(test, !seen_in(fixture, "Record"), result, done);
	ast_clear_flag(ast_channel_flags(fixture->channel), AST_FLAG_SUBROUTINE_EXEC);
	/* A spy hears it wherever it is */
	ast_channel_audiohooks_set(fixture->channel, (struct ast_audiohook_list *) hooks);
	ast_test_validate_cleanup(test, !seen_in(fixture, "Stasis"), result, done);
	ast_test_validate_cleanup(test, !seen_in(fixture, "Dial"), result, done);
	ast_channel_audiohooks_set(fixture->channel, NULL);
	/* A framehook may be anything, but one on a channel that calls is a SIP transfer's */
	ast_test_validate_cleanup(test,
		ast_framehook_attach(fixture->channel, &hook) >= 0, result, done);
	ast_test_validate_cleanup(test, !seen_in(fixture, "Stasis"), result, done);
	ast_test_validate_cleanup(test, seen_in(fixture, "Dial") == PLAYBACK_RINGING,
		result, done);
	ast_framehook_list_destroy(fixture->channel);
	/* Before it is answered, by itself or by its application */
	ast_channel_state_set(fixture->channel, AST_STATE_DOWN);
	ast_test_validate_cleanup(test, seen_in(fixture, "AppDial") == PLAYBACK_DIAL,
		result, done);
	ast_channel_appl_set(fixture->channel, "AppDial");
	ast_test_validate_cleanup(test, playback_listener_look(&early, fixture->channel, 1, 1)
		== PLAYBACK_UNANSWERED, result, done);
	early.caller = caller;
	ast_test_validate_cleanup(test,
		!playback_listener_look(&early, fixture->channel, 1, 1), result, done);
	ast_channel_generator_set(caller, &generator);
	ast_test_validate_cleanup(test, playback_listener_look(&early, fixture->channel, 1, 1)
		== PLAYBACK_AUDIO, result, done);
	ast_channel_generator_set(caller, NULL);
	ast_channel_appl_set(fixture->channel, "AppDial2");
	ast_test_validate_cleanup(test, playback_listener_look(&early, fixture->channel, 1, 1)
		== PLAYBACK_UNANSWERED, result, done);
done:
	ast_channel_generator_set(caller, NULL);
	ast_channel_audiohooks_set(fixture->channel, NULL);
	ast_channel_appl_set(fixture->channel, NULL);
	fixture_free(fixture);
	ast_channel_release(caller);
	return result;
}

/*! \brief Why a channel in the bridge it was given, that has opted in, is not heard */
static enum playback_suspension seen_bridged(struct fixture *fixture)
{
	struct playback_listener listener = { .waits = 1, };
	enum playback_suspension reason;

	reason = playback_listener_look(&listener, fixture->channel, 1, 1);
	playback_listener_destroy(&listener);
	return reason;
}

/*! \brief The RTP of a channel in a test */
static struct ast_rtp_instance *rtp_of_other;

static enum ast_rtp_glue_result get_rtp_of_other(struct ast_channel *channel,
	struct ast_rtp_instance **instance)
{
	*instance = ao2_bump(rtp_of_other);
	return AST_RTP_GLUE_RESULT_LOCAL;
}

AST_TEST_DEFINE(listener_rtp)
{
	struct ast_rtp_glue glue = { .type = "PlaybackTest", .get_rtp_info = get_rtp_of_other, };
	struct ast_channel_tech sends = { .type = "PlaybackTest", };
	struct ast_channel *channel;
	const struct ast_channel_tech *tech;
	struct playback_listener listener = { .waits = 1, .no_auto_answer = 1, };
	struct ast_sched_context *sched;
	struct ast_sockaddr address;
	struct fixture *fixture;
	int64_t now_ns = NS_PER_MS;
	enum ast_test_result_state result = AST_TEST_PASS;

	switch (cmd) {
	case TEST_INIT:
		info->name = "listener_rtp";
		info->category = CATEGORY;
		info->summary = "RTP without an address is not heard";
		info->description = "Looked for again ten times a second";
		return AST_TEST_NOT_RUN;
	case TEST_EXECUTE:
		break;
	}
	channel = other_new();
	fixture = fixture_new(ast_format_ulaw, FRAME_BYTES, PLAYBACK_MARKS_MAX);
	sched = ast_sched_context_create();
	ast_sockaddr_parse(&address, "127.0.0.1:0", 0);
	ast_test_validate(test, channel && fixture && sched);
	tech = ast_channel_tech(channel);
	ast_channel_tech_set(channel, &sends);
	ast_channel_tech_pvt_set(channel, fixture);
	ast_channel_state_set(channel, AST_STATE_RING);
	ast_channel_state_set(fixture->channel, AST_STATE_DOWN);
	ast_channel_appl_set(fixture->channel, "AppDial");
	ast_rtp_glue_register(&glue);
	listener.caller = ast_channel_ref(channel);
	/* Before the answer to the SDP there is none */
	ast_test_validate_cleanup(test,
		playback_listener_look(&listener, fixture->channel, 1, now_ns)
		== PLAYBACK_UNANSWERED, result, done);
	rtp_of_other = ast_rtp_instance_new("asterisk", sched, &address, NULL);
	ast_test_validate_cleanup(test, rtp_of_other != NULL, result, done);
	now_ns += 200 * NS_PER_MS;
	ast_test_validate_cleanup(test,
		playback_listener_look(&listener, fixture->channel, 1, now_ns)
		== PLAYBACK_UNANSWERED, result, done);
	ast_sockaddr_parse(&address, "127.0.0.1:4000", 0);
	ast_rtp_instance_set_remote_address(rtp_of_other, &address);
	ast_test_validate_cleanup(test,
		!playback_listener_look(&listener, fixture->channel, 1, now_ns), result, done);
	ast_sockaddr_setnull(&address);
	ast_rtp_instance_set_remote_address(rtp_of_other, &address);
	ast_test_validate_cleanup(test,
		playback_listener_look(&listener, fixture->channel, 1, now_ns)
		== PLAYBACK_UNANSWERED, result, done);
	/* Who has been answered is told to hold */
	ast_channel_state_set(channel, AST_STATE_UP);
	ast_test_validate_cleanup(test,
		!playback_listener_look(&listener, fixture->channel, 1, now_ns), result, done);
done:
	ast_rtp_glue_unregister(&glue);
	ast_channel_appl_set(fixture->channel, NULL);
	ast_channel_tech_set(channel, tech);
	ast_channel_tech_pvt_set(channel, NULL);
	playback_listener_destroy(&listener);
	if (rtp_of_other) {
		ast_rtp_instance_destroy(rtp_of_other);
		rtp_of_other = NULL;
	}
	ast_sched_context_destroy(sched);
	fixture_free(fixture);
	ast_channel_release(channel);
	return result;
}

static int may_have_t38(struct ast_channel *channel, int option, void *data, int *bytes)
{
	if (option != AST_OPTION_T38_STATE) {
		return -1;
	}
	*((enum ast_t38_state *) data) = T38_STATE_UNKNOWN;
	return 0;
}

/*! \brief Whether that is the RTP by which a channel is seen to send */
static int sends_by(struct ast_channel *channel, const struct ast_rtp_instance *rtp)
{
	struct ast_rtp_instance *seen;

	ast_channel_lock(channel);
	seen = playback_peer_rtp(channel);
	ast_channel_unlock(channel);
	ao2_cleanup(seen);
	return seen == rtp;
}

AST_TEST_DEFINE(hidden_rtp)
{
	struct ast_rtp_glue glue = { .type = "PlaybackTest", .get_rtp_info = get_rtp_of_other, };
	struct ast_channel_tech sends = { .type = "PlaybackTest", };
	struct ast_channel_tech faxes = { .type = "PlaybackTest",
		.queryoption = may_have_t38, };
	const struct ast_channel_tech *tech;
	struct ast_rtp_instance *rtp;
	struct ast_sched_context *sched;
	struct ast_sockaddr address;
	struct ast_channel *channel;
	enum ast_test_result_state result = AST_TEST_PASS;

	switch (cmd) {
	case TEST_INIT:
		info->name = "hidden_rtp";
		info->category = CATEGORY;
		info->summary = "RTP that is not shown any more because of T.38 is still known";
		info->description = "As long as the channel reads from its socket";
		return AST_TEST_NOT_RUN;
	case TEST_EXECUTE:
		break;
	}
	channel = other_new();
	sched = ast_sched_context_create();
	ast_sockaddr_parse(&address, "127.0.0.1:0", 0);
	ast_test_validate(test, channel && sched);
	rtp = ast_rtp_instance_new("asterisk", sched, &address, NULL);
	ast_test_validate(test, rtp != NULL);
	ast_rtp_glue_register(&glue);
	tech = ast_channel_tech(channel);
	ast_channel_tech_pvt_set(channel, rtp);
	ast_channel_set_fd(channel, AST_EXTENDED_FDS, ast_rtp_instance_fd(rtp, 0));
	/* Where there is no T.38 it has ceased to be */
	ast_channel_tech_set(channel, &sends);
	rtp_of_other = rtp;
	ast_test_validate_cleanup(test, sends_by(channel, rtp), result, done);
	rtp_of_other = NULL;
	ast_test_validate_cleanup(test, sends_by(channel, NULL), result, done);
	ast_channel_tech_set(channel, &faxes);
	ast_test_validate_cleanup(test, sends_by(channel, NULL), result, done);
	rtp_of_other = rtp;
	ast_test_validate_cleanup(test, sends_by(channel, rtp), result, done);
	rtp_of_other = NULL;
	ast_test_validate_cleanup(test, sends_by(channel, rtp), result, done);
	/* While T.38 is sent, and afterwards */
	ast_channel_set_fd(channel, AST_EXTENDED_FDS, -1);
	ast_test_validate_cleanup(test, sends_by(channel, NULL), result, done);
	ast_channel_set_fd(channel, AST_EXTENDED_FDS + 1, ast_rtp_instance_fd(rtp, 0));
	ast_test_validate_cleanup(test, sends_by(channel, rtp), result, done);
done:
	rtp_of_other = NULL;
	ast_rtp_glue_unregister(&glue);
	ast_channel_set_fd(channel, AST_EXTENDED_FDS, -1);
	ast_channel_set_fd(channel, AST_EXTENDED_FDS + 1, -1);
	ast_channel_tech_set(channel, tech);
	ast_channel_tech_pvt_set(channel, NULL);
	ast_channel_release(channel);
	ast_rtp_instance_stop(rtp);
	ast_rtp_instance_destroy(rtp);
	ast_sched_context_destroy(sched);
	return result;
}

/*! \brief A channel's lock, held by another thread */
struct busy {
	struct ast_channel *channel;
	struct ast_sem locked;
	struct ast_sem seen;
	pthread_t thread;
};

static void *hold_lock(void *data)
{
	struct busy *busy = data;

	ast_channel_lock(busy->channel);
	ast_sem_post(&busy->locked);
	ast_sem_wait(&busy->seen);
	ast_channel_unlock(busy->channel);
	return NULL;
}

/*! \brief Meet the peer while its channel's lock is held; -1 if there is no thread for it */
static int meet_busy(struct playback_peer *peer, struct ast_channel *channel,
	struct ast_channel *other)
{
	struct busy busy = { .channel = other, };
	int met;

	if (ast_sem_init(&busy.locked, 0, 0) || ast_sem_init(&busy.seen, 0, 0)
		|| ast_pthread_create(&busy.thread, NULL, hold_lock, &busy)) {
		return -1;
	}
	ast_sem_wait(&busy.locked);
	met = playback_peer_meet(peer, channel);
	ast_sem_post(&busy.seen);
	pthread_join(busy.thread, NULL);
	ast_sem_destroy(&busy.locked);
	ast_sem_destroy(&busy.seen);
	return met;
}

/*! \brief A channel that sends packets of 40 ms by rtp_of_other, and counts them */
struct sender {
	struct ast_channel *channel;
	/*! Its own, which does not send */
	const struct ast_channel_tech *tech;
	struct ast_sched_context *sched;
};

static struct ast_rtp_glue sender_glue = {
	.type = "PlaybackTest",
	.get_rtp_info = get_rtp_of_other,
};

static struct ast_channel_tech sender_tech = {
	.type = "PlaybackTest",
};

static void sender_end(struct sender *sender)
{
	if (rtp_of_other) {
		ast_rtp_instance_stop(rtp_of_other);
		ast_rtp_instance_destroy(rtp_of_other);
		rtp_of_other = NULL;
	}
	if (sender->sched) {
		ast_sched_context_destroy(sender->sched);
	}
	ast_rtp_glue_unregister(&sender_glue);
	if (sender->channel) {
		ast_channel_tech_set(sender->channel, sender->tech);
		ast_channel_tech_pvt_set(sender->channel, NULL);
		ast_channel_release(sender->channel);
	}
}

/*! \brief Make one; 0 if there is no memory */
static int sender_begin(struct sender *sender)
{
	struct ast_sockaddr address;

	sender->channel = other_new();
	sender->sched = ast_sched_context_create();
	ast_rtp_glue_register(&sender_glue);
	if (!sender->channel || !sender->sched) {
		return 0;
	}
	sender->tech = ast_channel_tech(sender->channel);
	ast_channel_tech_set(sender->channel, &sender_tech);
	/* What has none has been hung up */
	ast_channel_tech_pvt_set(sender->channel, sender);
	ast_channel_set_rawwriteformat(sender->channel, ast_format_ulaw);
	ast_sockaddr_parse(&address, "127.0.0.1:0", 0);
	rtp_of_other = ast_rtp_instance_new("asterisk", sender->sched, &address, NULL);
	if (!rtp_of_other) {
		return 0;
	}
	ast_rtp_instance_set_prop(rtp_of_other, AST_RTP_PROPERTY_RTCP, 1);
	ast_rtp_codecs_set_framing(ast_rtp_instance_get_codecs(rtp_of_other), 40);
	return 1;
}

/*! \brief Local channels in a row, and the bridges before, between and behind them */
struct row {
	unsigned int count;
	struct ast_channel *nears[PLAYBACK_LOCALS_MAX + 1];
	struct ast_channel *halves[PLAYBACK_LOCALS_MAX + 1];
	struct ast_bridge *bridges[PLAYBACK_LOCALS_MAX + 2];
	/*! In each bridge the one that frames come from, and the one that is given them */
	struct ast_bridge_channel *places[PLAYBACK_LOCALS_MAX + 2][2];
};

static void bridge_destroy(void *object)
{
	ast_string_field_free_memory((struct ast_bridge *) object);
}

static void row_free(struct row *row)
{
	unsigned int i;

	for (i = 0; i <= row->count; i++) {
		ao2_cleanup(row->places[i][0]);
		ao2_cleanup(row->places[i][1]);
		ao2_cleanup(row->bridges[i]);
	}
	for (i = 0; i < row->count; i++) {
		if (row->halves[i]) {
			ast_channel_internal_bridge_set(row->halves[i], NULL);
			ast_channel_unref(row->halves[i]);
		}
		if (row->nears[i]) {
			ast_hangup(row->nears[i]);
		}
	}
	ast_free(row);
}

/*! \brief Make a row of \a count Local channels, and no bridges yet */
static struct row *row_new(unsigned int count)
{
	struct row *row = ast_calloc(1, sizeof(*row));
	struct ast_format_cap *formats = ast_format_cap_alloc(AST_FORMAT_CAP_FLAG_DEFAULT);
	int is_made = row && formats && !ast_format_cap_append(formats, ast_format_ulaw, 0);
	int cause;

	while (is_made && row->count < count) {
		row->nears[row->count] = ast_request("Local", formats, NULL, NULL,
			"s@playback-test/n", &cause);
		is_made = row->nears[row->count] != NULL;
		if (is_made) {
			row->halves[row->count] = ast_local_get_peer(row->nears[row->count]);
			is_made = row->halves[row->count] != NULL;
		}
		row->count++;
	}
	ao2_cleanup(formats);
	if (row && !is_made) {
		row_free(row);
		row = NULL;
	}
	return row;
}

/*! \brief Bridge them between \a channel and \a listener; 0 if there is no memory */
static int row_bridge(struct row *row, struct ast_bridge_technology *technology,
	struct ast_channel *channel, struct ast_channel *listener)
{
	struct ast_bridge *bridge;
	struct ast_bridge_channel **places;
	unsigned int i;

	for (i = 0; i <= row->count; i++) {
		bridge = ao2_alloc(sizeof(*bridge), bridge_destroy);
		places = row->places[i];
		row->bridges[i] = bridge;
		places[0] = ao2_alloc(sizeof(**places), NULL);
		places[1] = ao2_alloc(sizeof(**places), NULL);
		if (!bridge || ast_string_field_init(bridge, 80) || !places[0] || !places[1]) {
			return 0;
		}
		bridge->technology = technology;
		bridge->num_channels = 2;
		places[0]->chan = i ? row->halves[i - 1] : channel;
		places[1]->chan = i < row->count ? row->nears[i] : listener;
		places[0]->bridge = bridge;
		places[1]->bridge = bridge;
		places[0]->state = BRIDGE_CHANNEL_STATE_WAIT;
		places[1]->state = BRIDGE_CHANNEL_STATE_WAIT;
		AST_LIST_INSERT_TAIL(&bridge->channels, places[i % 2], entry);
		AST_LIST_INSERT_TAIL(&bridge->channels, places[1 - i % 2], entry);
		ast_channel_internal_bridge_set(places[0]->chan, bridge);
	}
	return 1;
}

AST_TEST_DEFINE(rest)
{
	struct ast_bridge_technology technology = { .name = "simple_bridge",
		.capabilities = AST_BRIDGE_CAPABILITY_1TO1MIX, };
	struct sender sender = { .channel = NULL, };
	struct ast_channel *other;
	struct row *row;
	struct fixture *fixture;
	struct playback_peer peer;
	enum ast_test_result_state result = AST_TEST_PASS;

	switch (cmd) {
	case TEST_INIT:
		info->name = "rest";
		info->category = CATEGORY;
		info->summary = "A peer that is met again has the rest of a packet that was left";
		info->description = "But not if it was seen meanwhile with another smoother";
		return AST_TEST_NOT_RUN;
	case TEST_EXECUTE:
		break;
	}
	row = row_new(0);
	fixture = fixture_new(ast_format_ulaw, FRAME_BYTES, PLAYBACK_MARKS_MAX);
	ast_test_validate(test, row && fixture);
	playback_peer_init(&peer, ast_format_ulaw, 0);
	ast_test_validate_cleanup(test, sender_begin(&sender), result, done);
	other = sender.channel;
	ast_test_validate_cleanup(test, row_bridge(row, &technology, fixture->channel, other),
		result, done);
	ast_test_validate_cleanup(test,
		playback_peer_meet(&peer, fixture->channel) == 1, result, done);
	ast_test_validate_cleanup(test, peer.packet_ns == 40 * NS_PER_MS
		&& playback_peer_keeps_rest(&peer), result, done);
	/* It is the same, be it seen at once or not */
	playback_peer_leave_rest(&peer);
	ast_test_validate_cleanup(test,
		playback_peer_meet(&peer, fixture->channel) == 2, result, done);
	playback_peer_leave_rest(&peer);
	ast_test_validate_cleanup(test,
		meet_busy(&peer, fixture->channel, other) == 0 && !peer.is_known, result, done);
	ast_test_validate_cleanup(test, playback_peer_has_changed(&peer), result, done);
	playback_peer_leave_rest(&peer);
	ast_test_validate_cleanup(test,
		playback_peer_meet(&peer, fixture->channel) == 2, result, done);
	/* It has another codec by the time it is seen, or had it in between */
	playback_peer_leave_rest(&peer);
	ast_test_validate_cleanup(test,
		meet_busy(&peer, fixture->channel, other) == 0, result, done);
	ast_channel_set_rawwriteformat(other, ast_format_alaw);
	ast_test_validate_cleanup(test, playback_peer_has_changed(&peer), result, done);
	playback_peer_leave_rest(&peer);
	ast_test_validate_cleanup(test,
		playback_peer_meet(&peer, fixture->channel) == 1, result, done);
	playback_peer_forget_rest(&peer);
	playback_peer_leave_rest(&peer);
	ast_test_validate_cleanup(test,
		meet_busy(&peer, fixture->channel, other) == 0, result, done);
	ast_channel_set_rawwriteformat(other, ast_format_ulaw);
	ast_test_validate_cleanup(test, playback_peer_has_changed(&peer), result, done);
	ast_channel_set_rawwriteformat(other, ast_format_alaw);
	playback_peer_leave_rest(&peer);
	ast_test_validate_cleanup(test,
		playback_peer_meet(&peer, fixture->channel) == 1, result, done);
done:
	playback_peer_leave(&peer);
	ast_channel_internal_bridge_set(fixture->channel, NULL);
	fixture_free(fixture);
	row_free(row);
	sender_end(&sender);
	return result;
}

/*! \brief Whether a peer is busy while one place is, and has changed if that is left */
static int follows_place(struct playback_peer *peer, struct ast_bridge_channel *place,
	int is_given)
{
	int follows;

	place->activity = BRIDGE_CHANNEL_THREAD_SIMPLE;
	follows = !playback_peer_is_done(peer);
	place->activity = BRIDGE_CHANNEL_THREAD_IDLE;
	place->suspended = 1;
	follows = follows && playback_peer_is_done(peer)
		&& (playback_peer_unheard(peer) == PLAYBACK_UNHEARD_SUSPENDED) == is_given;
	place->suspended = 0;
	place->state = BRIDGE_CHANNEL_STATE_END;
	follows = follows && playback_peer_has_changed(peer);
	place->state = BRIDGE_CHANNEL_STATE_WAIT;
	return follows && playback_peer_is_done(peer) && !playback_peer_has_changed(peer);
}

/*! \brief Whether a peer at the beginning of a row is followed to its end */
static int follows_row(struct playback_peer *peer, struct row *row)
{
	unsigned int i;
	int follows = follows_place(peer, row->places[0][1], 1);

	for (i = 0; follows && i < row->count; i++) {
		follows = follows_place(peer, row->places[i + 1][0], 0)
			&& follows_place(peer, row->places[i + 1][1], 1);
		/* The half is in another bridge, or somebody else is in its bridge, too */
		row->places[i + 1][0]->bridge = row->bridges[i];
		follows = follows && playback_peer_has_changed(peer);
		row->places[i + 1][0]->bridge = row->bridges[i + 1];
		row->bridges[i + 1]->num_channels++;
		follows = follows && playback_peer_has_changed(peer);
		row->bridges[i + 1]->num_channels--;
		/* A frame has got to the half, and no further */
		follows = follows && !playback_peer_has_changed(peer)
			&& !ast_queue_frame(row->halves[i], &ast_null_frame)
			&& !playback_peer_is_done(peer);
		ast_frfree(ast_read(row->halves[i]));
	}
	return follows && playback_peer_is_done(peer);
}

/*!
 * \brief Whether it is seen how many frames got lost, once a Local channel of a row leads
 * elsewhere: those that were given and not written
 */
static int sees_lost(struct playback_peer *peer, struct row *row)
{
	struct ast_bridge_channel *place = row->places[row->count][0];
	struct ast_channel *listener = peer->listener->channel;
	int sees;

	/* While it is not optimised away some may only be on their way */
	peer->frames_given = 2;
	sees = !playback_peer_lost(peer);
	place->state = BRIDGE_CHANNEL_STATE_END;
	sees = sees && !playback_peer_lost(peer);
	peer->frames_given = 3;
	ast_channel_fout_set(listener, FRAMECOUNT_INC(ast_channel_fout(listener)));
	sees = sees && playback_peer_lost(peer) == 2 && !playback_peer_lost(peer);
	/* Others' frames were written to it, too */
	peer->frames_given = 1;
	ast_channel_fout_set(listener, ast_channel_fout(listener) + 2);
	sees = sees && !playback_peer_lost(peer);
	/* Its thread has left without what has come since */
	ast_queue_frame(row->halves[row->count - 1], &ast_null_frame);
	sees = sees && playback_peer_is_done(peer);
	place->state = BRIDGE_CHANNEL_STATE_WAIT;
	return sees && !playback_peer_is_done(peer);
}

AST_TEST_DEFINE(locals)
{
	static const unsigned int counts[] = { 1, 2, PLAYBACK_LOCALS_MAX, };
	struct ast_bridge_technology technology = { .name = "simple_bridge",
		.capabilities = AST_BRIDGE_CAPABILITY_1TO1MIX, };
	struct sender sender = { .channel = NULL, };
	struct row *rows[ARRAY_LEN(counts)];
	struct row *too_long;
	struct fixture *fixture;
	struct playback_peer peer;
	unsigned int i;
	enum ast_test_result_state result = AST_TEST_PASS;

	switch (cmd) {
	case TEST_INIT:
		info->name = "locals";
		info->category = CATEGORY;
		info->summary = "Local channels in a row are looked through";
		info->description = "What is given to any of them is followed, up to their limit";
		return AST_TEST_NOT_RUN;
	case TEST_EXECUTE:
		break;
	}
	for (i = 0; i < ARRAY_LEN(counts); i++) {
		rows[i] = row_new(counts[i]);
		ast_test_validate(test, rows[i] != NULL);
	}
	too_long = row_new(PLAYBACK_LOCALS_MAX + 1);
	fixture = fixture_new(ast_format_ulaw, FRAME_BYTES, PLAYBACK_MARKS_MAX);
	ast_test_validate(test, too_long && fixture);
	playback_peer_init(&peer, ast_format_ulaw, 0);
	ast_test_validate_cleanup(test, sender_begin(&sender), result, done);
	for (i = 0; i < ARRAY_LEN(counts); i++) {
		ast_test_validate_cleanup(test, row_bridge(rows[i], &technology,
			fixture->channel, sender.channel), result, done);
		ast_test_validate_cleanup(test,
			playback_peer_meet(&peer, fixture->channel) == 1, result, done);
		ast_test_validate_cleanup(test, peer.rtp == rtp_of_other
			&& peer.packet_ns == 40 * NS_PER_MS && follows_row(&peer, rows[i])
			&& sees_lost(&peer, rows[i]), result, done);
		playback_peer_leave(&peer);
	}
	ast_test_validate_cleanup(test, row_bridge(too_long, &technology,
		fixture->channel, sender.channel), result, done);
	ast_test_validate_cleanup(test,
		playback_peer_meet(&peer, fixture->channel) == 0 && !peer.is_known, result, done);
done:
	playback_peer_leave(&peer);
	ast_channel_internal_bridge_set(fixture->channel, NULL);
	fixture_free(fixture);
	for (i = 0; i < ARRAY_LEN(counts); i++) {
		row_free(rows[i]);
	}
	row_free(too_long);
	sender_end(&sender);
	return result;
}

AST_TEST_DEFINE(listener_bridged)
{
	struct ast_bridge_technology technology = { .name = "simple_bridge", };
	struct ast_channel_tech announcer = { .type = "Announcer", };
	struct ast_generator generator = { .release = NULL, };
	struct ast_rtp_glue glue = { .type = "PlaybackTest", .get_rtp_info = get_rtp_of_other, };
	struct ast_channel_tech sends = { .type = "PlaybackTest", };
	struct ast_sched_context *sched;
	struct ast_sockaddr address;
	const struct ast_channel_tech *tech;
	struct ast_bridge_features features = { .mute = 0, };
	struct ast_bridge_channel own = { .features = &features, };
	struct ast_bridge_channel party = { .features = &features, };
	struct ast_bridge *bridge;
	struct ast_channel *other;
	struct fixture *fixture;
	char data[1];
	int ticks;
	enum ast_test_result_state result = AST_TEST_PASS;

	switch (cmd) {
	case TEST_INIT:
		info->name = "listener_bridged";
		info->category = CATEGORY;
		info->summary = "Who hears a channel in a bridge";
		info->description = "Nobody if there is none, or none that hears anything";
		return AST_TEST_NOT_RUN;
	case TEST_EXECUTE:
		break;
	}
	other = other_new();
	fixture = fixture_new(ast_format_ulaw, FRAME_BYTES, PLAYBACK_MARKS_MAX);
	bridge = ao2_alloc(sizeof(*bridge), NULL);
	sched = ast_sched_context_create();
	ast_sockaddr_parse(&address, "127.0.0.1:4000", 0);
	ast_test_validate(test, other && fixture && bridge && sched
		&& !ast_string_field_init(bridge, 80));
	ast_rtp_glue_register(&glue);
	tech = ast_channel_tech(other);
	bridge->technology = &technology;
	own.chan = fixture->channel;
	party.chan = other;
	ast_channel_internal_bridge_set(fixture->channel, bridge);
	AST_LIST_INSERT_TAIL(&bridge->channels, &own, entry);
	ast_test_validate_cleanup(test, seen_bridged(fixture) == PLAYBACK_ALONE, result, done);
	AST_LIST_INSERT_HEAD(&bridge->channels, &party, entry);
	ast_test_validate_cleanup(test, !seen_bridged(fixture), result, done);
	/* The other party */
	ast_channel_hold_state_set(other, AST_CONTROL_HOLD);
	ast_test_validate_cleanup(test, seen_bridged(fixture) == PLAYBACK_HOLD, result, done);
	ast_channel_hold_state_set(other, AST_CONTROL_UNHOLD);
	ast_channel_generator_set(other, &generator);
	ast_test_validate_cleanup(test, seen_bridged(fixture) == PLAYBACK_AUDIO, result, done);
	ast_set_flag(ast_channel_flags(other), AST_FLAG_WRITE_INT);
	ast_test_validate_cleanup(test, !seen_bridged(fixture), result, done);
	ast_clear_flag(ast_channel_flags(other), AST_FLAG_WRITE_INT);
	ast_channel_generator_set(other, NULL);
	party.suspended = 1;
	ast_test_validate_cleanup(test, seen_bridged(fixture) == PLAYBACK_AUDIO, result, done);
	party.suspended = 0;
	ast_channel_sending_dtmf_digit_set(other, '5');
	ast_test_validate_cleanup(test, seen_bridged(fixture) == PLAYBACK_DIGIT, result, done);
	ast_channel_sending_dtmf_digit_set(other, 0);
	/* Where RTP cannot be seen, one that rings may hear early media */
	ast_channel_state_set(other, AST_STATE_RINGING);
	ast_test_validate_cleanup(test, !seen_bridged(fixture), result, done);
	ast_channel_state_set(other, AST_STATE_UP);
	ast_channel_suppress(other, AST_MUTE_DIRECTION_READ, AST_FRAME_VOICE);
	ast_test_validate_cleanup(test, !seen_bridged(fixture), result, done);
	ast_channel_suppress(other, AST_MUTE_DIRECTION_WRITE, AST_FRAME_VOICE);
	ast_test_validate_cleanup(test, seen_bridged(fixture) == PLAYBACK_MUTE, result, done);
	ast_channel_unsuppress(other, AST_MUTE_DIRECTION_READ | AST_MUTE_DIRECTION_WRITE,
		AST_FRAME_VOICE);
	ast_test_validate_cleanup(test, !seen_bridged(fixture), result, done);
	ast_channel_tech_set(other, &announcer);
	ast_test_validate_cleanup(test, seen_bridged(fixture) == PLAYBACK_ALONE, result, done);
	ast_channel_tech_set(other, tech);
	/* A mixer does not tell that it holds, but its RTP shows it */
	ast_channel_tech_set(other, &sends);
	ast_channel_tech_pvt_set(other, data);
	technology.capabilities = AST_BRIDGE_CAPABILITY_MULTIMIX;
	rtp_of_other = ast_rtp_instance_new("asterisk", sched, &address, NULL);
	ast_test_validate_cleanup(test, rtp_of_other != NULL, result, done);
	ast_test_validate_cleanup(test, seen_bridged(fixture) == PLAYBACK_HOLD, result, done);
	ast_rtp_instance_set_remote_address(rtp_of_other, &address);
	ast_test_validate_cleanup(test, !seen_bridged(fixture), result, done);
	technology.capabilities = 0;
	/* The channel itself */
	ast_channel_hold_state_set(fixture->channel, AST_CONTROL_HOLD);
	ast_test_validate_cleanup(test, seen_bridged(fixture) == PLAYBACK_HOLD, result, done);
	ast_channel_hold_state_set(fixture->channel, AST_CONTROL_UNHOLD);
	features.mute = 1;
	ast_test_validate_cleanup(test, seen_bridged(fixture) == PLAYBACK_MUTE, result, done);
	features.mute = 0;
	own.suspended = 1;
	ast_test_validate_cleanup(test, seen_bridged(fixture) == PLAYBACK_AUDIO, result, done);
	own.suspended = 0;
	ast_channel_suppress(fixture->channel, AST_MUTE_DIRECTION_WRITE, AST_FRAME_VOICE);
	ast_test_validate_cleanup(test, !seen_bridged(fixture), result, done);
	ast_channel_suppress(fixture->channel, AST_MUTE_DIRECTION_READ, AST_FRAME_VOICE);
	ast_test_validate_cleanup(test, seen_bridged(fixture) == PLAYBACK_MUTE, result, done);
	ast_channel_unsuppress(fixture->channel,
		AST_MUTE_DIRECTION_READ | AST_MUTE_DIRECTION_WRITE, AST_FRAME_VOICE);
	technology.capabilities = AST_BRIDGE_CAPABILITY_HOLDING;
	ast_test_validate_cleanup(test, seen_bridged(fixture) == PLAYBACK_HOLDING,
		result, done);
	ast_channel_audiohooks_set(fixture->channel, (struct ast_audiohook_list *) data);
	ast_test_validate_cleanup(test, !seen_bridged(fixture), result, done);
	/* One that is over takes nothing any more: media waits, but not for long */
	technology.capabilities = 0;
	bridge->dissolved = 1;
	AST_LIST_REMOVE(&bridge->channels, &party, entry);
	for (ticks = 0; ticks <= 4; ticks++) {
		/* Not at the first one: who has not opted in is served as by the stock driver */
		fixture->playback.opted_in = ticks > 0;
		playback_read_begin(&fixture->playback, 1);
		ast_test_validate_cleanup(test, fixture->paused == (ticks == 1 || ticks == 2),
			result, done);
		playback_read_end(&fixture->playback, NULL, NULL, 1);
		ast_test_validate_cleanup(test, !fixture->paused, result, done);
	}
done:
	ast_rtp_glue_unregister(&glue);
	ast_channel_audiohooks_set(fixture->channel, NULL);
	ast_channel_tech_set(other, tech);
	ast_channel_tech_pvt_set(other, NULL);
	ast_channel_generator_set(other, NULL);
	if (rtp_of_other) {
		ast_rtp_instance_destroy(rtp_of_other);
		rtp_of_other = NULL;
	}
	ast_sched_context_destroy(sched);
	ast_channel_internal_bridge_set(fixture->channel, NULL);
	/* As a hang-up does it; muting made them */
	ast_framehook_list_destroy(fixture->channel);
	ast_framehook_list_destroy(other);
	ast_string_field_free_memory(bridge);
	ao2_ref(bridge, -1);
	fixture_free(fixture);
	ast_channel_release(other);
	return result;
}

AST_TEST_DEFINE(listener_first_wait)
{
	const int64_t second_ns = 1000 * NS_PER_MS;
	struct playback_listener listener = { .waits = 1, };
	struct playback_listener runs_on = { .waits = 0, };
	struct fixture *fixture;
	struct ast_channel *channel;
	enum ast_test_result_state result = AST_TEST_PASS;

	switch (cmd) {
	case TEST_INIT:
		info->name = "listener_first_wait";
		info->category = CATEGORY;
		info->summary = "Media of a channel that has opted in waits for its first listener";
		info->description = "For half a second, or as long as need be; that of another does not";
		return AST_TEST_NOT_RUN;
	case TEST_EXECUTE:
		break;
	}
	fixture = fixture_new(ast_format_ulaw, FRAME_BYTES, PLAYBACK_MARKS_MAX);
	ast_test_validate(test, fixture != NULL);
	channel = fixture->channel;
	ast_channel_appl_set(channel, "Stasis");
	/* Who has not opted in is served as by the stock driver, and it is known for how long */
	ast_test_validate_cleanup(test, !playback_listener_look(&listener, channel, 0, 1)
		&& playback_listener_is_unheard(&listener), result, done);
	ast_test_validate_cleanup(test, playback_listener_look(&listener, channel, 1, 2)
		== PLAYBACK_UNBRIDGED, result, done);
	/* While the call is set up nothing is told */
	ast_test_validate_cleanup(test, !playback_listener_tells(&listener, 1), result, done);
	ast_test_validate_cleanup(test,
		!playback_listener_look(&listener, channel, 0, second_ns)
		&& !playback_listener_is_unheard(&listener), result, done);
	ast_test_validate_cleanup(test,
		playback_listener_look(&listener, channel, 1, second_ns) == PLAYBACK_UNBRIDGED,
		result, done);
	ast_test_validate_cleanup(test, playback_listener_tells(&listener, 1)
		&& !playback_listener_tells(&listener, 0), result, done);
	/* Who has been heard once does not wait any more, unless it has opted in */
	ast_test_validate_cleanup(test, playback_listener_look(&runs_on, channel, 1, 1)
		== PLAYBACK_UNBRIDGED, result, done);
	ast_channel_appl_set(channel, "Echo");
	ast_test_validate_cleanup(test, !playback_listener_look(&runs_on, channel, 1, 2),
		result, done);
	ast_channel_appl_set(channel, "Stasis");
	ast_test_validate_cleanup(test, !playback_listener_look(&runs_on, channel, 1, 3)
		&& !playback_listener_tells(&runs_on, 1), result, done);
done:
	ast_channel_appl_set(channel, NULL);
	fixture_free(fixture);
	return result;
}

#endif /* TEST_FRAMEWORK */

void playback_test_register(void)
{
	AST_TEST_REGISTER(ids);
	AST_TEST_REGISTER(offsets);
	AST_TEST_REGISTER(limit);
	AST_TEST_REGISTER(padding);
	AST_TEST_REGISTER(driver_silence);
	AST_TEST_REGISTER(flush);
	AST_TEST_REGISTER(half_sample);
	AST_TEST_REGISTER(half_sample_dropped);
	AST_TEST_REGISTER(message_times);
	AST_TEST_REGISTER(silence);
	AST_TEST_REGISTER(resampled);
	AST_TEST_REGISTER(timer_polled);
	AST_TEST_REGISTER(memory);
	AST_TEST_REGISTER(softmix);
	AST_TEST_REGISTER(far_end);
	AST_TEST_REGISTER(listener_unbridged);
	AST_TEST_REGISTER(listener_rtp);
	AST_TEST_REGISTER(hidden_rtp);
	AST_TEST_REGISTER(rest);
	AST_TEST_REGISTER(locals);
	AST_TEST_REGISTER(listener_bridged);
	AST_TEST_REGISTER(listener_first_wait);
}

void playback_test_unregister(void)
{
	AST_TEST_UNREGISTER(ids);
	AST_TEST_UNREGISTER(offsets);
	AST_TEST_UNREGISTER(limit);
	AST_TEST_UNREGISTER(padding);
	AST_TEST_UNREGISTER(driver_silence);
	AST_TEST_UNREGISTER(flush);
	AST_TEST_UNREGISTER(half_sample);
	AST_TEST_UNREGISTER(half_sample_dropped);
	AST_TEST_UNREGISTER(message_times);
	AST_TEST_UNREGISTER(silence);
	AST_TEST_UNREGISTER(resampled);
	AST_TEST_UNREGISTER(timer_polled);
	AST_TEST_UNREGISTER(memory);
	AST_TEST_UNREGISTER(softmix);
	AST_TEST_UNREGISTER(far_end);
	AST_TEST_UNREGISTER(listener_unbridged);
	AST_TEST_UNREGISTER(listener_rtp);
	AST_TEST_UNREGISTER(hidden_rtp);
	AST_TEST_UNREGISTER(rest);
	AST_TEST_UNREGISTER(locals);
	AST_TEST_UNREGISTER(listener_bridged);
	AST_TEST_UNREGISTER(listener_first_wait);
}
