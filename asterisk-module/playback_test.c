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

#include "asterisk/codec.h"
#include "asterisk/format_cache.h"
#include "asterisk/frame.h"
#include "asterisk/logger.h"
#include "asterisk/test.h"

#include "playback_channel.h"
#include "playback_commands.h"
#include "playback_flush.h"
#include "playback_test.h"

#ifdef TEST_FRAMEWORK

#define CATEGORY "/channels/chan_websocket/playback/"
#define FRAME_BYTES 160

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
		/* Nobody has to be waited for */
		.no_auto_answer = 1,
	};

	if (!fixture) {
		return NULL;
	}
	fixture->channel = ast_channel_alloc(0, AST_STATE_DOWN, "", "", "", "", "", NULL,
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
	ast_test_validate(test, !playback_bridge_knows_softmix("22.101.0"));
	ast_test_validate(test, !playback_bridge_knows_softmix("22.1.0"));
	ast_test_validate(test, !playback_bridge_knows_softmix("2.22.10"));
	ast_test_validate(test, !playback_bridge_knows_softmix("GIT-22-4f5b8d9"));
	ast_test_validate(test, !playback_bridge_knows_softmix(""));
	return AST_TEST_PASS;
}

#endif /* TEST_FRAMEWORK */

void playback_test_register(void)
{
	AST_TEST_REGISTER(ids);
	AST_TEST_REGISTER(offsets);
	AST_TEST_REGISTER(limit);
	AST_TEST_REGISTER(padding);
	AST_TEST_REGISTER(flush);
	AST_TEST_REGISTER(half_sample);
	AST_TEST_REGISTER(message_times);
	AST_TEST_REGISTER(memory);
	AST_TEST_REGISTER(softmix);
}

void playback_test_unregister(void)
{
	AST_TEST_UNREGISTER(ids);
	AST_TEST_UNREGISTER(offsets);
	AST_TEST_UNREGISTER(limit);
	AST_TEST_UNREGISTER(padding);
	AST_TEST_UNREGISTER(flush);
	AST_TEST_UNREGISTER(half_sample);
	AST_TEST_UNREGISTER(message_times);
	AST_TEST_UNREGISTER(memory);
	AST_TEST_UNREGISTER(softmix);
}
