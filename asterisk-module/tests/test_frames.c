/* WebSocket frames: the same messages come out, however the bytes are cut. */

#include <stdlib.h>

#include "../websocket_frames.h"
#include "test.h"

static struct websocket_frames frames;
/* What was sent, and what came out: one line a piece, parts of a message joined */
static char sent[2 * WEBSOCKET_MESSAGE_MAX];
static size_t sent_length;
static char found[4096];
/* Bytes that are given to the decoder at once, 0 for all */
static size_t cut;

static const char *const kinds[] = {
	[WEBSOCKET_PIECE_TEXT] = "text",
	[WEBSOCKET_PIECE_BINARY] = "binary",
	[WEBSOCKET_PIECE_PING] = "ping",
	[WEBSOCKET_PIECE_PONG] = "pong",
	[WEBSOCKET_PIECE_CLOSE] = "close",
	[WEBSOCKET_PIECE_TOO_BIG] = "too big",
	[WEBSOCKET_PIECE_SKIPPED] = "skipped",
	[WEBSOCKET_PIECE_UNKNOWN] = "unknown",
	[WEBSOCKET_PIECE_INVALID] = "invalid",
};

static void begin(void)
{
	sent_length = 0;
}

static void put(const void *bytes, size_t length)
{
	memcpy(sent + sent_length, bytes, length);
	sent_length += length;
}

/* A frame; masked if there is a key; its length in as many bytes as it needs, or more */
static void frame_sized(unsigned int first, const char *payload, uint64_t length,
	const char *key, int size)
{
	unsigned char header[10] = { first, key ? 0x80 : 0, };
	size_t i;

	if (size == 0) {
		header[1] |= length;
	} else {
		header[1] |= size == 2 ? 126 : 127;
		for (i = 0; i < (size_t) size; i++) {
			header[1 + size - i] = length >> 8 * i;
		}
	}
	put(header, 2 + size);
	if (key) {
		put(key, 4);
	}
	for (i = 0; payload && i < length; i++) {
		sent[sent_length++] = payload[i] ^ (key ? key[i % 4] : 0);
	}
}

static void frame(unsigned int first, const char *payload, const char *key)
{
	size_t length = strlen(payload);

	frame_sized(first, payload, length, key, length < 126 ? 0 : length < 65536 ? 2 : 8);
}

static void note(const char *kind, const char *text, size_t length)
{
	size_t used = strlen(found);

	if (length > 20) {
		snprintf(found + used, sizeof(found) - used, "%s of %zu\n", kind, length);
	} else {
		snprintf(found + used, sizeof(found) - used, "%s '%.*s'\n", kind, (int) length,
			text);
	}
}

/* Give the decoder what was sent, in pieces of \a cut bytes, into memory of just that size */
static const char *decode(void)
{
	static char message[WEBSOCKET_MESSAGE_MAX];
	size_t length = 0;
	size_t at, size, used, done;
	struct websocket_piece piece;
	char *bytes;

	memset(&frames, 0, sizeof(frames));
	found[0] = '\0';
	for (at = 0; at < sent_length; at += size) {
		size = cut && cut < sent_length - at ? cut : sent_length - at;
		bytes = malloc(size);
		memcpy(bytes, sent + at, size);
		for (done = 0; done < size; done += used) {
			used = websocket_frames_next(&frames, bytes + done, size - done, &piece);
			EXPECT(used > 0 && used <= size - done, 1);
			EXPECT(frames.has_closed, piece.kind == WEBSOCKET_PIECE_CLOSE
				|| piece.kind == WEBSOCKET_PIECE_UNKNOWN
				|| piece.kind == WEBSOCKET_PIECE_INVALID);
			switch (piece.kind) {
			case WEBSOCKET_PIECE_NONE:
				continue;
			case WEBSOCKET_PIECE_TEXT:
			case WEBSOCKET_PIECE_BINARY:
				memcpy(message + length, piece.data, piece.length);
				length += piece.length;
				if (piece.is_last) {
					note(kinds[piece.kind], message, length);
					length = 0;
				}
				break;
			case WEBSOCKET_PIECE_TOO_BIG:
				length = 0;
				note(kinds[piece.kind], "", 0);
				break;
			case WEBSOCKET_PIECE_UNKNOWN:
			case WEBSOCKET_PIECE_INVALID:
				note(kinds[piece.kind], "", 0);
				free(bytes);
				return found;
			default:
				note(kinds[piece.kind], piece.data, piece.length);
				break;
			}
		}
		free(bytes);
	}
	return found;
}

/* The same must come out in whichever pieces the bytes come */
#define EXPECT_FOUND(expected) do { \
	for (cut = 0; cut < 20; cut++) { \
		EXPECT_TEXT(decode(), expected); \
	} \
} while (0)

#define FIN 0x80
#define CONTINUED 0
#define TEXT 1
#define BINARY 2
#define CLOSE 8
#define PING 9
#define PONG 10
#define KEY "\xa5\x01\xff\x3c"

static void a_message_in_one_frame(void)
{
	begin();
	frame(FIN | TEXT, "MARK id=m1", NULL);
	frame(FIN | BINARY, "media", NULL);
	frame(FIN | TEXT, "", NULL);
	EXPECT_FOUND("text 'MARK id=m1'\nbinary 'media'\ntext ''\n");
}

static void a_masked_message(void)
{
	begin();
	frame(FIN | BINARY, "some longer media", KEY);
	frame(FIN | TEXT, "a", "abcd");
	frame(FIN | TEXT, "b", NULL);
	EXPECT_FOUND("binary 'some longer media'\ntext 'a'\ntext 'b'\n");
}

static void a_message_in_fragments(void)
{
	begin();
	frame(BINARY, "me", KEY);
	frame(CONTINUED, "", KEY);
	frame(CONTINUED, "d", "1234");
	frame(FIN | CONTINUED, "ia", KEY);
	frame(TEXT, "", NULL);
	frame(FIN | CONTINUED, "", NULL);
	EXPECT_FOUND("binary 'media'\ntext ''\n");
}

static void control_frames_between_fragments(void)
{
	begin();
	frame(TEXT, "MA", KEY);
	frame(FIN | PING, "p", KEY);
	frame(CONTINUED, "R", KEY);
	frame(FIN | PONG, "", KEY);
	frame(FIN | CONTINUED, "K", KEY);
	frame(FIN | CLOSE, "\x03\xe8", KEY);
	EXPECT_FOUND("ping 'p'\npong ''\ntext 'MARK'\nclose '\x03\xe8'\n");
}

/* 125 bytes, the most that a control frame may have, and the shortest way to write more */
static void lengths(void)
{
	static char payload[70001];

	memset(payload, 'x', sizeof(payload) - 1);
	begin();
	frame_sized(FIN | PING, payload, 125, KEY, 0);
	frame_sized(FIN | BINARY, payload, 126, KEY, 2);
	frame_sized(FIN | BINARY, payload, 65535, KEY, 2);
	frame_sized(FIN | BINARY, payload, 65536, KEY, 8);
	frame_sized(FIN | BINARY, payload, 70000, NULL, 8);
	frame_sized(FIN | BINARY, "abc", 3, NULL, 8);
	EXPECT_FOUND("ping of 125\nbinary of 126\nbinary of 65535\nbinary of 65536\n"
		"binary of 70000\nbinary 'abc'\n");
}

static void as_big_as_it_may_be(void)
{
	static char payload[WEBSOCKET_MESSAGE_MAX];

	begin();
	frame_sized(FIN | BINARY, payload, WEBSOCKET_MESSAGE_MAX, KEY, 8);
	cut = 0;
	EXPECT_TEXT(decode(), "binary of 1048576\n");
	begin();
	frame_sized(BINARY, payload, WEBSOCKET_MESSAGE_MAX - 3, KEY, 8);
	frame_sized(FIN | CONTINUED, payload, 3, KEY, 0);
	EXPECT_TEXT(decode(), "binary of 1048576\n");
}

/* It is skipped, and what comes behind it is found */
static void too_big(void)
{
	static char payload[WEBSOCKET_MESSAGE_MAX + 1];

	begin();
	frame_sized(FIN | BINARY, payload, WEBSOCKET_MESSAGE_MAX + 1, KEY, 8);
	frame(FIN | TEXT, "a", KEY);
	cut = 0;
	EXPECT_TEXT(decode(), "too big ''\nskipped ''\ntext 'a'\n");
	cut = 4096;
	EXPECT_TEXT(decode(), "too big ''\nskipped ''\ntext 'a'\n");
	begin();
	frame_sized(TEXT, payload, WEBSOCKET_MESSAGE_MAX - 3, KEY, 8);
	frame_sized(CONTINUED, payload, 4, KEY, 0);
	frame(FIN | PING, "p", KEY);
	frame_sized(CONTINUED, payload, 100, KEY, 0);
	frame_sized(FIN | CONTINUED, payload, 0, KEY, 0);
	frame(FIN | TEXT, "a", KEY);
	EXPECT_TEXT(decode(), "too big ''\nping 'p'\nskipped ''\ntext 'a'\n");
}

static void as_big_as_can_be_said(void)
{
	begin();
	frame_sized(FIN | BINARY, NULL, UINT64_MAX, KEY, 8);
	EXPECT_FOUND("too big ''\n");
	begin();
	frame(BINARY, "a", KEY);
	frame_sized(CONTINUED, NULL, UINT64_MAX, KEY, 8);
	EXPECT_FOUND("too big ''\n");
}

static void what_must_not_be(void)
{
	begin();
	frame(FIN | CONTINUED, "there is no message", KEY);
	EXPECT_FOUND("invalid ''\n");
	begin();
	frame(TEXT, "a", KEY);
	frame(FIN | TEXT, "the other one has not ended", KEY);
	EXPECT_FOUND("invalid ''\n");
	begin();
	frame(PING, "a fragment", KEY);
	EXPECT_FOUND("invalid ''\n");
	begin();
	frame_sized(FIN | PING, NULL, 126, KEY, 2);
	EXPECT_FOUND("invalid ''\n");
	begin();
	frame(FIN | 3, "", KEY);
	EXPECT_FOUND("unknown ''\n");
	begin();
	frame(FIN | 0xb, "", KEY);
	EXPECT_FOUND("unknown ''\n");
}

int main(void)
{
	RUN(a_message_in_one_frame);
	RUN(a_masked_message);
	RUN(a_message_in_fragments);
	RUN(control_frames_between_fragments);
	RUN(lengths);
	RUN(as_big_as_it_may_be);
	RUN(too_big);
	RUN(as_big_as_can_be_said);
	RUN(what_must_not_be);
	return failures != 0;
}
