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
 * \brief The application's media in its format: how long it lasts, what is silence in it
 */

#include "asterisk.h"

#include "asterisk/alaw.h"
#include "asterisk/codec.h"
#include "asterisk/format_cache.h"
#include "asterisk/translate.h"
#include "asterisk/ulaw.h"
#include "asterisk/utils.h"

#include "playback_media.h"
#include "playback_timer.h"

/*!
 * \brief Below this mean of its samples a frame is a pause: 50 dB below the loudest
 *
 * Speech is not as quiet, and dsp.conf takes less than 256 for silence.
 */
#define PAUSE_LEVEL 100

/*! \brief Samples that codec_resample's filter lasts, of the lower of the two rates */
#define RESAMPLER_TAPS 80

int64_t playback_samples_ns(const struct ast_format *format, int samples)
{
	return samples * NS_PER_S / ast_format_get_sample_rate(format);
}

int64_t playback_media_frame_ns(const struct playback_media_format *format)
{
	return ast_format_get_default_ms(format->format) * NS_PER_MS;
}

struct playback_media playback_media_bytes(const struct playback_media_format *format,
	size_t bytes)
{
	struct playback_media media = {
		.bytes = bytes,
		.ns = bytes * playback_media_frame_ns(format) / format->frame_size,
	};

	return media;
}

struct playback_media playback_media_message(struct playback_media_format *format,
	char *payload, size_t bytes)
{
	struct ast_frame frame = { .frametype = AST_FRAME_VOICE, };
	struct playback_media media = { .bytes = bytes, };

	if (format->frame_size) {
		/*
		 * What all messages last together is not rounded for each of them: else frames
		 * would last longer than the messages they were made of.
		 */
		format->remainder += bytes * playback_media_frame_ns(format);
		media.ns = format->remainder / format->frame_size;
		format->remainder %= format->frame_size;
		return media;
	}
	/* In passthrough mode a message is a frame; only its codec knows how long it is */
	AST_FRAME_SET_BUFFER(&frame, payload, 0, bytes);
	frame.subclass.format = format->format;
	media.ns = playback_samples_ns(format->format, ast_codec_samples_count(&frame));
	return media;
}

struct playback_media playback_media_frame(const struct playback_media_format *format,
	const struct ast_frame *frame)
{
	struct playback_media media = { .bytes = frame->datalen, };

	if (format->frame_size && (frame->subclass.format == format->format
		|| ast_format_cmp(frame->subclass.format, format->format)
		== AST_FORMAT_CMP_EQUAL)) {
		return playback_media_bytes(format, frame->datalen);
	}
	media.ns = playback_samples_ns(frame->subclass.format, frame->samples);
	return media;
}

unsigned int playback_media_sample_bytes(const struct playback_media_format *format)
{
	if (!format->frame_size) {
		return 0;
	}
	return ast_format_cache_is_slinear(format->format) ? sizeof(int16_t) : 1;
}

size_t playback_media_half_sample(const struct playback_media_format *format,
	size_t bytes)
{
	/* Asked at each tick, where frames are whole */
	return bytes % sizeof(int16_t) && playback_media_sample_bytes(format) > 1;
}

/*!
 * \brief The byte that is silence in a format, -1 where no single byte is
 *
 * G.722 codes differences, so no byte is silence whatever came before; after the one
 * given here a decoder's sound dies away within some milliseconds.
 */
static int silence_byte(const struct ast_format *format)
{
	if (ast_format_cmp(format, ast_format_ulaw) == AST_FORMAT_CMP_EQUAL) {
		return 0xff;
	}
	if (ast_format_cmp(format, ast_format_alaw) == AST_FORMAT_CMP_EQUAL) {
		return 0xd5;
	}
	if (ast_format_cmp(format, ast_format_g722) == AST_FORMAT_CMP_EQUAL) {
		return 0xfd;
	}
	return ast_format_cache_is_slinear((struct ast_format *) format) ? 0 : -1;
}

/*! \brief Half of the filter with which a translator resamples, in ns; 0 if it does not */
static int64_t resampler_ns(const struct ast_translator *translator)
{
	int64_t from = translator->src_codec.sample_rate;
	int64_t to = translator->dst_codec.sample_rate;
	int64_t taps = RESAMPLER_TAPS;

	/* Others have the rate that they need, as codec_g722 */
	if (from == to || strcmp(translator->src_codec.name, "slin")
		|| strcmp(translator->dst_codec.name, "slin")) {
		return 0;
	}
	if (from > to) {
		taps = taps * from / to;
		taps = (taps + 7) / 8 * 8;
	}
	return taps / 2 * NS_PER_S / from;
}

int64_t playback_media_resampled_ns(const struct ast_trans_pvt *path,
	const struct ast_format *ours)
{
	int64_t ns = 0;

	for (; path && playback_media_has_silence(ours); path = path->next) {
		ns += resampler_ns(path->t);
	}
	return ns;
}

int playback_media_is_silent(const struct ast_frame *frame)
{
	struct ast_format *format = frame->subclass.format;
	const int16_t *linear = frame->data.ptr;
	const unsigned char *companded = frame->data.ptr;
	int is_linear = ast_format_cache_is_slinear(format);
	int is_ulaw = ast_format_cmp(format, ast_format_ulaw) == AST_FORMAT_CMP_EQUAL;
	int samples = is_linear ? frame->datalen / 2 : frame->datalen;
	int64_t sum = 0;
	int i;

	if (!is_linear && !is_ulaw
		&& ast_format_cmp(format, ast_format_alaw) != AST_FORMAT_CMP_EQUAL) {
		return 0;
	}
	for (i = 0; i < samples; i++) {
		sum += abs(is_linear ? linear[i]
			: is_ulaw ? AST_MULAW(companded[i]) : AST_ALAW(companded[i]));
	}
	return sum < (int64_t) PAUSE_LEVEL * samples;
}

/*! \brief The signed linear format of as many samples a second */
static struct ast_format *linear_format(const struct ast_format *format)
{
	return ast_format_cache_get_slin_by_rate(ast_format_get_sample_rate(format));
}

int playback_media_has_silence(const struct ast_format *format)
{
	/* The number of steps is unsigned, and -1 where there is no way */
	return silence_byte(format) >= 0 || (int) ast_translate_path_steps(
		(struct ast_format *) format, linear_format(format)) >= 0;
}

/*! \brief A frame of silence in a format that needs a codec for it, NULL without one */
static struct ast_frame *encode_silence(const struct playback_media_format *format)
{
	struct ast_format *linear = linear_format(format->format);
	struct ast_trans_pvt *path = ast_translator_build_path(format->format, linear);
	struct ast_frame frame = {
		.frametype = AST_FRAME_VOICE,
		.subclass.format = linear,
		.samples = ast_format_get_sample_rate(linear)
			* playback_media_frame_ns(format) / NS_PER_S,
		.src = "silence",
	};
	size_t size = frame.samples * sizeof(int16_t);
	char *data = ast_alloca(AST_FRIENDLY_OFFSET + size);
	struct ast_frame *encoded;
	struct ast_frame *silence = NULL;

	if (!path) {
		return NULL;
	}
	memset(data, 0, AST_FRIENDLY_OFFSET + size);
	AST_FRAME_SET_BUFFER(&frame, data, AST_FRIENDLY_OFFSET, size);
	encoded = ast_translate(path, &frame, 0);
	if (encoded) {
		silence = ast_frdup(encoded);
		ast_frfree(encoded);
	}
	ast_translator_free_path(path);
	return silence;
}

struct ast_frame *playback_media_pad(const struct playback_media_format *format,
	struct ast_frame *frame)
{
	size_t size = format->frame_size;
	int silence = silence_byte(format->format);
	struct ast_frame full = *frame;
	struct ast_frame *padded;
	char *data;

	if (silence < 0) {
		return frame;
	}
	data = ast_alloca(AST_FRIENDLY_OFFSET + size);
	memset(data, silence, AST_FRIENDLY_OFFSET + size);
	memcpy(data + AST_FRIENDLY_OFFSET, frame->data.ptr, frame->datalen); /* Safe */
	full.mallocd = 0;
	full.src = NULL;
	full.offset = AST_FRIENDLY_OFFSET;
	full.data.ptr = data + AST_FRIENDLY_OFFSET;
	full.datalen = size;
	full.samples = ast_codec_samples_count(&full);
	padded = ast_frdup(&full);
	if (!padded) {
		return frame;
	}
	ast_frfree(frame);
	return padded;
}

struct ast_frame *playback_media_silence(const struct playback_media_format *format,
	int64_t ns)
{
	struct ast_frame frame = { .frametype = AST_FRAME_VOICE, .src = "silence", };
	int64_t rate = ast_format_get_sample_rate(format->format);
	int64_t samples = (ns * rate + NS_PER_S - 1) / NS_PER_S;
	/* Not by the size of a frame: in passthrough mode there is none */
	size_t size = samples * ast_format_get_minimum_bytes(format->format)
		/ (rate * ast_format_get_minimum_ms(format->format) / 1000);
	int silence = silence_byte(format->format);
	char *data;

	if (ns <= 0) {
		return NULL;
	}
	if (silence < 0) {
		return encode_silence(format);
	}
	data = ast_alloca(AST_FRIENDLY_OFFSET + size);
	memset(data, silence, AST_FRIENDLY_OFFSET + size);
	AST_FRAME_SET_BUFFER(&frame, data, AST_FRIENDLY_OFFSET, size);
	frame.subclass.format = format->format;
	frame.samples = ast_codec_samples_count(&frame);
	return ast_frdup(&frame);
}
