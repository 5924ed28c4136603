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
 *
 * Called with the channel locked.
 */

#ifndef PLAYBACK_MEDIA_H
#define PLAYBACK_MEDIA_H

#include "asterisk/format.h"
#include "asterisk/frame.h"
#include "asterisk/translate.h"

#include "playback_ledger.h"

/*! \brief The format of a channel's media, and how it is framed */
struct playback_media_format {
	/*! Asterisk's media format */
	struct ast_format *format;
	/*! Size of a full frame in bytes, 0 in passthrough mode */
	size_t frame_size;
	/*! What the durations of all messages so far left over, in ns / frame_size */
	int64_t remainder;
};

/*! \brief How long \a samples of a format last, in ns */
int64_t playback_samples_ns(const struct ast_format *format, int samples);

/*! \brief How long a full frame lasts, in ns */
int64_t playback_media_frame_ns(const struct playback_media_format *format);

/*! \brief Media of \a bytes; not in passthrough mode, where bytes have no duration */
struct playback_media playback_media_bytes(const struct playback_media_format *format,
	size_t bytes);

/*! \brief Media of the next message from the application */
struct playback_media playback_media_message(struct playback_media_format *format,
	char *payload, size_t bytes);

/*! \brief Media of a frame of the driver's; how long one of another format lasts */
struct playback_media playback_media_frame(const struct playback_media_format *format,
	const struct ast_frame *frame);

/*! \brief Bytes of a sample, 0 in passthrough mode; 1 where a sample is less than a byte */
unsigned int playback_media_sample_bytes(const struct playback_media_format *format);

/*!
 * \brief Bytes at the end of \a bytes of media that are half a sample, never played alone
 *
 * Of signed linear audio a sample has two bytes.  Were one of them played, all that comes
 * after it would be noise.
 */
size_t playback_media_half_sample(const struct playback_media_format *format,
	size_t bytes);

/*! \brief Whether there is silence in a format: a byte that is, or a codec that makes it */
int playback_media_has_silence(const struct ast_format *format);

/*!
 * \brief By how much the resamplers in a path of translators make sound later, in ns
 *
 * That is half of the filter of each: sound comes out of it so much later than the frame it
 * was in, and the last of it with the next frame (codec_resample, codecs/speex/resample.c).
 * 5 ms between 8000 and 16,000 Hz.
 *
 * \param path which belongs to a channel that is locked; may be NULL
 * \param ours the format of our frames: where there is no silence in it, with which the
 *        last of them could be had, it is 0
 */
int64_t playback_media_resampled_ns(const struct ast_trans_pvt *path,
	const struct ast_format *ours);

/*! \brief Whether a frame is a pause of speech, as far as its format shows that */
int playback_media_is_silent(const struct ast_frame *frame);

/*!
 * \brief Pad a short frame with silence
 *
 * A short frame would stay in a peer's smoother until more media comes, and shift all
 * that comes after it against the ticks: its marks would be acknowledged before it is on
 * the wire.
 *
 * \param format
 * \param frame freed if it is padded
 * \return a full frame, or \a frame itself where it cannot be padded
 */
struct ast_frame *playback_media_pad(const struct playback_media_format *format,
	struct ast_frame *frame);

/*!
 * \brief A frame of silence
 *
 * \param format
 * \param ns how long it is to last, in whole ms; where a codec makes it it lasts as long as a
 *        full frame, whatever is asked for
 * \return the frame, NULL where there is no silence in the format, none is asked for, or no
 *         memory
 */
struct ast_frame *playback_media_silence(const struct playback_media_format *format,
	int64_t ns);

#endif /* PLAYBACK_MEDIA_H */
