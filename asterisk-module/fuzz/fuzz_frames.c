/*
 * Fuzzing the frames from an application's WebSocket.
 *
 * The same comes out whether the bytes come one by one or all at once, and nothing is read
 * or written beside them.
 */

#include "../websocket_frames.h"
#include "fuzz.h"

/* What has come out: a digest of kinds and payloads that does not depend on the cuts */
struct digest {
	uint64_t value;
	size_t message_length;
	int done;
};

static void add(struct digest *digest, const char *bytes, size_t length)
{
	size_t i;

	for (i = 0; i < length; i++) {
		digest->value = (digest->value ^ (unsigned char) bytes[i]) * 0x100000001b3;
	}
}

static void add_piece(struct digest *digest, const struct websocket_piece *piece)
{
	const char end[] = { 'e', piece->kind, };
	const int is_part = piece->kind == WEBSOCKET_PIECE_TEXT
		|| piece->kind == WEBSOCKET_PIECE_BINARY;

	CHECK(piece->data);
	CHECK(piece->length <= WEBSOCKET_CONTROL_MAX || is_part);
	CHECK(is_part || piece->kind == WEBSOCKET_PIECE_SKIPPED || !piece->is_last);
	add(digest, piece->data, piece->length);
	digest->message_length += is_part ? piece->length : 0;
	CHECK(digest->message_length <= WEBSOCKET_MESSAGE_MAX);
	if (piece->is_last) {
		digest->message_length = 0;
	}
	/* Parts of a message that turns out to be too big depend on the cuts no more */
	if (!is_part || piece->is_last) {
		add(digest, end, sizeof(end));
	}
	if (piece->kind == WEBSOCKET_PIECE_TOO_BIG) {
		digest->message_length = 0;
	}
	digest->done = piece->kind == WEBSOCKET_PIECE_CLOSE
		|| piece->kind == WEBSOCKET_PIECE_UNKNOWN
		|| piece->kind == WEBSOCKET_PIECE_INVALID;
}

static uint64_t decode(const uint8_t *data, size_t size, size_t cut)
{
	struct websocket_frames frames = { .in_payload = 0, };
	struct digest digest = { .value = 0xcbf29ce484222325, };
	struct websocket_piece piece;
	size_t at, length, done, used;
	char *bytes;

	for (at = 0; at < size && !digest.done; at += length) {
		length = cut < size - at ? cut : size - at;
		bytes = malloc(length);
		CHECK(bytes);
		memcpy(bytes, data + at, length);
		for (done = 0; done < length && !digest.done; done += used) {
			used = websocket_frames_next(&frames, bytes + done, length - done, &piece);
			CHECK(used && used <= length - done);
			if (piece.kind != WEBSOCKET_PIECE_NONE) {
				add_piece(&digest, &piece);
			}
		}
		free(bytes);
	}
	return digest.value;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t whole = decode(data, size, size ? size : 1);

	CHECK(decode(data, size, 1) == whole);
	CHECK(decode(data, size, 3) == whole);
	CHECK(decode(data, size, size ? 1 + data[0] : 1) == whole);
	return 0;
}
