"""Which bytes of the application's stream each RTP payload holds, where Asterisk recodes them.

Both sides are decoded; a stretch of the caller's audio is found in the application's by
correlation, then followed for as long as the two agree. The result is in bytes of the application,
as that of `harness.judge.locate`: what is heard of a payload, so without what a resampler on the
way has kept of its frame, and with what it had kept of the one before. The filters of codecs delay
sound within the stream of samples, too, and the far end's decoder takes part in that: their delay,
below a millisecond and known for each path, is taken off.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from harness.capture.timeline import Codec
from harness.judge.locate import Location, Piece
from harness.media.pcm import Samples, decode

ERROR_NS = 1_000_000
"""how far the end of a piece may be from where it is found: what is nearer than this to the edge of
a frame, to the next piece or to the end of what was sent is taken to be there"""

_BLOCK_MS = 2
"""compared at a time"""
_WINDOWS_MS = (20, 8)
"""so much is searched for, first the longer one"""
_ALIKE = 0.8
"""correlation from which two blocks are the same sound; noises of a block stay below 0.8 but for
one in a thousand"""
_FOUND = (0.7, 0.85)
"""correlation from which a window is found, the longer one and a shorter one: chance does not reach
that, and G.722 after silence hardly more"""
_FOUND_SHORT = 0.95
"""of what is shorter than either, as the tail that a filter leaves is: in a minute of audio chance
reached 0.92 with 3 ms"""
_DOUBT = 0.9
"""of the best place's correlation: another place as good as this makes the best one uncertain"""
_THIN = 4
"""of so many samples one is enough to find the likely places"""
_LIKELY = 12
"""places that are looked at closely"""
_FAINT = 0.3
"""of our level: what comes back with less is what a filter has left"""
_FAINT_MS = 12
"""at the beginning of sound that may not be found"""
_SILENT = 0.05
"""of the application's level: less is silence"""
_STEP = 8
"""samples, a quarter of a millisecond, by which an edge beside the sound of others is looked for"""
_UNLIKE = 0.5
"""of our energy: by more than this a step differs if it is something else"""

RATE_HZ = 32000
"""at which sound is compared, whatever the codecs: some delays are half samples of 16000 Hz"""

# In samples at this rate.
_RESAMPLER = 160
"""delay of codec_resample (Speex, quality 5) between 8000 and 16000 Hz: half of its filter, which
has 80 taps at 8000 Hz: so much of a frame comes out with the next one"""
_SPLIT = 22
"""delay of either half of G.722's filter, which splits the band in two and joins it again"""
_JOIN_ALONE = 23
"""delay of the joining half alone: at 8000 Hz Asterisk takes the lower band as it is"""


@dataclass(frozen=True)
class Payload:
    """What is needed of an RTP packet to locate it."""

    data: bytes
    missing_before: int
    """packets"""
    sent: int
    """bytes the application had sent by then"""


def locate_audio(
    payloads: Sequence[Payload], stream: bytes, application: Codec, caller: Codec
) -> list[Location]:
    """The location of each of ``payloads``, which are in the order of their RTP sequence.

    Sound that stands alone for less than 3 ms, a block and a half, may not be located.
    """
    ours = _upsampled(decode(application.name, stream), application)
    if caller.sample_rate_hz < application.sample_rate_hz:
        ours = _low_pass(ours, caller.sample_rate_hz / RATE_HZ)
    theirs, frames = _heard(payloads, caller)
    limits = [payload.sent * RATE_HZ // application.bytes_per_second for payload in payloads]
    possible = delays(application.name, caller.name)
    faint = any(delay.coded for delay in possible)
    search = _Search(ours, theirs, frames, limits, faint=faint)
    spans = _Framed(frames, limits, possible).spans(search.spans())
    scale = application.bytes_per_second / RATE_HZ
    locations = []
    for frame in frames:
        within = [span for span in spans if span.begin < frame[1] and span.end > frame[0]]
        locations.append(_location(frame, within, search, scale))
    return locations


@dataclass(frozen=True)
class Delay:
    """By how much sound comes later than the frame it was in, in samples at `RATE_HZ`."""

    into: int
    """until where a mixing bridge works; less than 0 where our own decoder has a filter more"""
    out_of: int
    """from there on, to the end of our decoder"""
    resampled: int
    """what of both comes of resampling"""

    @property
    def whole(self) -> int:
        """Both."""
        return self.into + self.out_of

    @property
    def coded(self) -> int:
        """What of both comes of coding."""
        return self.whole - self.resampled


def delays(application: str, caller: str) -> tuple[Delay, ...]:
    """The possible delays of a path, given by codec names.

    Two of them where Asterisk may work at 8000 or at 16000 Hz in between: a mixing bridge changes
    from one to the other.
    """
    if not {application, caller} & {"g722", "slin16"}:
        return (Delay(0, 0, 0),)
    # At 8000 and at 16000 Hz in between.
    resampled = {"g722": (0, 0), "slin16": (_RESAMPLER, 0)}
    into_coded = {"g722": (-_JOIN_ALONE, 0)}.get(application, (0, 0))
    out_of_coded = {"g722": (_JOIN_ALONE, 2 * _SPLIT)}.get(caller, (0, 0))
    into_resampled = resampled.get(application, (0, _RESAMPLER))
    out_of_resampled = resampled.get(caller, (0, _RESAMPLER))
    found = (
        Delay(
            into_coded[rate] + into_resampled[rate],
            out_of_coded[rate] + out_of_resampled[rate],
            into_resampled[rate] + out_of_resampled[rate],
        )
        for rate in (0, 1)
    )
    return tuple(dict.fromkeys(found))


@dataclass(frozen=True)
class _Span:
    """Samples ``begin`` to ``end`` of the caller's audio that are ours, from ``ours`` on."""

    begin: int
    end: int
    ours: int
    doubt: bool

    @property
    def lag(self) -> int:
        return self.ours - self.begin

    @property
    def ours_end(self) -> int:
        return self.ours + self.end - self.begin

    def from_(self, begin: int) -> _Span:
        """The part of it from ``begin`` on, or more of it before."""
        return replace(self, begin=begin, ours=self.lag + begin)


Frame = tuple[int, int]
"""where in the caller's audio a payload begins and ends, in samples"""


# ---- what was heard ------------------------------------------------------------------------------


def _heard(payloads: Sequence[Payload], caller: Codec) -> tuple[Samples, list[Frame]]:
    """The caller's audio, silent where packets are missing, and where in it each payload is."""
    heard = _upsampled(decode(caller.name, b"".join(one.data for one in payloads)), caller)
    frame = RATE_HZ * caller.ptime_ms // 1000
    parts: list[Samples] = []
    frames: list[Frame] = []
    position = read = 0
    for payload in payloads:
        if payload.missing_before:
            parts.append(np.zeros(payload.missing_before * frame))
            position += payload.missing_before * frame
        count = len(payload.data) * RATE_HZ // caller.bytes_per_second
        parts.append(heard[read : read + count])
        frames.append((position, position + count))
        read += count
        position += count
    return np.concatenate([np.empty(0), *parts]), frames


def _upsampled(samples: Samples, codec: Codec) -> Samples:
    """Decoded audio at `RATE_HZ`, without delay."""
    rate_hz = codec.sample_rate_hz
    while rate_hz < RATE_HZ:
        spread = np.zeros(2 * len(samples))
        spread[::2] = 2 * samples
        samples, rate_hz = _low_pass(spread, 0.5), 2 * rate_hz
    return samples


def _low_pass(samples: Samples, band: float) -> Samples:
    """Without what is above ``band`` of half the sample rate, without delay."""
    if not samples.size:
        return samples
    reach = round(32 / band)
    taps = band * np.sinc(band * np.arange(-reach, reach + 1)) * np.blackman(2 * reach + 1)
    return np.convolve(samples, taps)[reach : reach + len(samples)]


# ---- the search ----------------------------------------------------------------------------------


class _Search:
    def __init__(
        self,
        ours: Samples,
        theirs: Samples,
        frames: Sequence[Frame],
        limits: Sequence[int],
        *,
        faint: bool,
    ) -> None:
        self._ours = ours
        self._theirs = theirs
        self._begins = [begin for begin, _ in frames]
        self._limits = limits
        self._faint = faint
        self._block = RATE_HZ * _BLOCK_MS // 1000
        self._windows = [RATE_HZ * window // 1000 for window in _WINDOWS_MS]
        block = self._block
        self._quiet = _SILENT**2 * float(np.sum(ours**2)) / max(1, len(ours)) * block
        energy = _sums(theirs**2)
        self._loud = energy[block:] - energy[:-block] > self._quiet

    def spans(self) -> list[_Span]:
        """Where ours is in theirs, edges found to the sample as well as they can be."""
        spans: list[_Span] = []
        at = expected = 0
        while (at := self._next_sound(at)) < len(self._loud):
            sound = self._sound(at)
            span = self._span_at(at, sound, expected)
            if span is None:
                at += sound
                continue
            before = spans[-1] if spans else None
            if before and self._is_same(before, span):
                longer = max(before, span, key=lambda one: one.end - one.begin)
                spans[-1] = replace(longer.from_(before.begin), end=span.end)
            else:
                # What goes on from a doubtful place is as doubtful.
                doubt = span.doubt or (
                    before is not None and before.doubt and span.ours == expected
                )
                spans.append(replace(span, doubt=doubt))
            at, expected = span.end, span.ours_end
        return self._edges(spans)

    def is_loud(self, begin: int, end: int) -> bool:
        """Whether there is sound in more than half of a part of theirs."""
        loud = self._loud[max(0, begin) : max(0, end)]
        return bool(loud.size and np.mean(loud) > 0.5)

    def _is_same(self, before: _Span, span: _Span) -> bool:
        """Whether a span goes on where the one before broke off, with something spoiled between.

        Media that was left out would have moved the rest. So what lies between did leave; but a
        codec that begins anew takes a while, and its first sound may seem to be moved. With nothing
        but a resampler on the way silence is what one has lost that began anew.
        """
        gap = span.begin - before.end
        heard = self._is_sound(before.end, span.begin)
        frame = self._windows[0]
        moved = abs(span.lag - before.lag)
        silence = frame if self._faint else 3 * self._block // 2
        return moved <= self._block // 8 and gap < (2 * frame if heard else silence)

    def _next_sound(self, at: int) -> int:
        """The first block that is not silent, from ``at`` on."""
        rest = self._loud[at:]
        return at + int(np.argmax(rest)) if rest.any() else len(self._loud)

    def _sound(self, at: int) -> int:
        """How long it is not silent from ``at`` on, as far as that is looked at."""
        quiet = ~self._loud[at : at + self._windows[0]]
        return self._block + int(np.argmax(quiet)) if quiet.any() else self._windows[0]

    def _span_at(self, at: int, sound: int, expected: int) -> _Span | None:
        """What is heard from ``at`` on; None if it is not ours.

        Looked for where ``expected``, then from there on in all that had been sent by then.
        """
        limit = self._limits[bisect_right(self._begins, at + sound) - 1]
        step = self._windows[1]
        # Later on too: what comes first may be distorted.
        places = [(at + ahead, expected + ahead) for ahead in range(0, sound, step)]
        tries = [(place, due, due + 2 * self._block) for place, due in places]
        for place, due, until in [*tries, (at, expected, limit)]:
            for window in self._windows:
                heard = self._theirs[place : min(place + window, at + sound)]
                end = min(until + len(heard), limit)
                found = self._find(heard, due - 2 * self._block, end)
                span = self._follow(place, found[0] - place, found[1]) if found else None
                if span is not None:
                    return self._exactly(span)
        return None

    def _exactly(self, span: _Span) -> _Span:
        """The span by the lag that all of it fits best: its beginning may have been distorted."""
        begin = max(span.begin, span.end - 10 * self._windows[0])
        theirs = self._theirs[begin : span.end]
        reach = self._block // 8
        near = self._part(begin + span.lag - reach, len(theirs) + 2 * reach)
        best = int(np.argmax(np.correlate(near, theirs, "valid"))) - reach
        if not best:
            return span
        return self._follow(span.begin, span.lag + best, span.doubt) or span

    def _find(self, heard: Samples, begin: int, end: int) -> tuple[int, bool] | None:
        """Where in ours, between two places, ``heard`` begins, and whether that is in doubt."""
        best: list[tuple[float, int]] = []
        for first, last in self._likely(heard, begin, end):
            alike = _alikeness(self._part(first, last - first), heard, self._quiet)
            if alike.size:
                place = int(np.argmax(alike))
                best.append((float(alike[place]), first + place))
        best.sort(reverse=True)
        least = _FOUND[len(heard) < self._windows[0]]
        if len(heard) < self._windows[1] and not _is_near(end - begin, heard):
            least = _FOUND_SHORT
        if not best or best[0][0] < least:
            return None
        alike_most, place = best[0]
        others = [one for one, other in best if abs(other - place) > self._block]
        return place, max(others, default=0.0) > _DOUBT * alike_most

    def _likely(self, heard: Samples, begin: int, end: int) -> list[tuple[int, int]]:
        """Parts of ours in which ``heard`` may be found; all of it, if that is not much."""
        if _is_near(end - begin, heard):
            return [(begin, end)]
        # By every fourth sample: sound in the telephone's band survives that.
        alike = _alikeness(self._part(begin, end - begin)[::_THIN], heard[::_THIN], self._quiet)
        likely: list[tuple[int, int]] = []
        for _ in range(min(_LIKELY, len(alike))):
            place = int(np.argmax(alike))
            first = begin + _THIN * place - self._block // 4
            likely.append((first, first + len(heard) + self._block // 2))
            alike[max(0, place - 2) : place + 3] = -1
        return likely

    def _follow(self, at: int, lag: int, doubt: bool) -> _Span | None:
        """As far as theirs goes on as ours does, from the first block that does so near ``at``."""
        block = self._block
        begin = end = max(at, -lag)
        most = self._windows[0] // block
        found = False
        while (
            count := min(len(self._theirs) - end, len(self._ours) - end - lag, most * block)
            // block
        ):
            theirs = self._theirs[end : end + count * block].reshape(count, block)
            ours = self._ours[end + lag : end + lag + count * block].reshape(count, block)
            same, silent = self._alike(theirs, ours)
            if not found:
                if not same.any():
                    return None
                found = True
                begin = end = end + int(np.argmax(same)) * block
                continue
            differ = np.flatnonzero(~(same | silent))
            if differ.size:
                end += int(differ[0]) * block
                break
            end += count * block
            most = 512
        return _Span(begin, end, begin + lag, doubt) if found else None

    def _alike(
        self, theirs: Samples, ours: Samples
    ) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Of pairs of blocks, one a row, which are the same sound, and which are both silent."""
        their_energy, our_energy = np.sum(theirs**2, axis=1), np.sum(ours**2, axis=1)
        product = np.sum(theirs * ours, axis=1)
        alike = product > _ALIKE * np.sqrt(their_energy * our_energy)
        alike &= their_energy > our_energy * _FAINT**2
        silent = (their_energy < self._quiet) & (our_energy < self._quiet)
        return alike & ~silent, silent

    def _edges(self, found: list[_Span]) -> list[_Span]:
        """The spans with each edge where it divides best what is theirs."""
        spans = list(found)
        for index, span in enumerate(spans):
            before = spans[index - 1] if index else None
            end, begin = self._edges_between(before, span)
            if before:
                spans[index - 1] = replace(before, end=self._not_beyond(before, end))
            if self._faint:
                begin = self._distorted(before, span, end, begin)
            else:
                begin = self._not_before(span, begin)
            spans[index] = span.from_(begin)
        if spans:
            end, _ = self._edges_between(spans[-1], None)
            spans[-1] = replace(spans[-1], end=self._not_beyond(spans[-1], end))
        return [span for span in map(self._within_ours, spans) if span.end > span.begin]

    def _not_before(self, span: _Span, begin: int) -> int:
        """``begin``, or where the span really begins if that is the sound of others.

        By chance that may fit better than silence does.
        """
        if not self._is_loud_at(begin - self._block):
            return begin
        at = span.begin + self._block // 2
        while at > begin and self._fits(span, at - _STEP):
            at -= _STEP
        return max(begin, at)

    def _not_beyond(self, span: _Span, end: int) -> int:
        """``end``, or where the span really ends if that is the sound of others."""
        if self._faint or not self._is_loud_at(end):
            return end
        at = span.end - self._block // 2
        while at < end and self._fits(span, at):
            at += _STEP
        return min(end, at)

    def _is_loud_at(self, at: int) -> bool:
        return 0 <= at < len(self._loud) and bool(self._loud[at])

    def _fits(self, span: _Span, at: int) -> bool:
        """Whether a step of theirs is, but for noise, what the span goes on with."""
        theirs = self._theirs[at : at + _STEP]
        ours = self._part(at + span.lag, len(theirs))
        most = max(float(np.sum(ours**2)), self._quiet * _STEP / self._block)
        return float(np.sum((theirs - ours) ** 2)) < _UNLIKE * most

    def _distorted(self, before: _Span | None, span: _Span, end: int, begin: int) -> int:
        """Where a span begins if what could not be found before it is how it does, in G.722.

        ``end`` is that of the span before it, ``begin`` where it was found.
        """
        if before and begin - end < 2 * self._windows[0] and self._is_sound(end, begin):
            return end
        if before is None or begin - end > 2 * self._block:
            due = before.ours_end if before else 0
            return min(begin, max(self._beginning(begin), due - span.lag))
        return begin

    def _within_ours(self, span: _Span) -> _Span:
        end = min(span.end, len(self._ours) - span.lag)
        return replace(span, end=end).from_(max(span.begin, -span.lag))

    def _is_sound(self, begin: int, end: int) -> bool:
        """Whether no block of a part of theirs, and not the part as a whole, is silent."""
        energy = float(np.sum(self._theirs[begin:end] ** 2))
        enough = self._quiet / self._block * (_FAINT / _SILENT) ** 2 * (end - begin)
        return energy > enough and bool(self._loud[begin:end].all())

    def _beginning(self, at: int) -> int:
        """Where the sound that is heard at ``at`` began, if that was a moment before.

        After silence G.722 distorts the first milliseconds too much to be found.
        """
        first = max(0, at - self._windows[0])
        quiet = np.flatnonzero(~self._loud[first:at])
        return min(at, first + int(quiet[-1]) + self._block) if quiet.size else at

    def _edges_between(self, before: _Span | None, after: _Span | None) -> tuple[int, int]:
        """Where one span ends and the next one begins, with silence between them or not.

        None stands for silence. The best fit, in the sense of least squares, of: the one as far as
        the first of the places, silence as far as the second, then the other.
        """
        reach = 2 * self._block
        known = [*([before.end] if before else []), *([after.begin] if after else [])]
        first, last = max(0, min(known) - reach), max(known) + reach
        theirs = self._theirs[first:last]
        silent = _sums(theirs**2)
        end_cost = _sums((theirs - self._model(before, first, len(theirs))) ** 2) - silent
        begin_cost = silent - _sums((theirs - self._model(after, first, len(theirs))) ** 2)
        begin = int(np.argmin(np.minimum.accumulate(end_cost) + begin_cost))
        end = int(np.argmin(end_cost[: begin + 1]))
        return first + end, first + begin

    def _model(self, span: _Span | None, first: int, count: int) -> Samples:
        return np.zeros(count) if span is None else self._part(first + span.lag, count)

    def _part(self, begin: int, count: int) -> Samples:
        """Ours, silent before its beginning and after its end."""
        part = np.zeros(max(0, count))
        first, last = max(0, begin), min(len(self._ours), begin + count)
        if first < last:
            part[first - begin : last - begin] = self._ours[first:last]
        return part


def _sums(values: Samples) -> Samples:
    """Sums of the first 0, 1, ... of the values."""
    return np.concatenate([[0.0], np.cumsum(values)])


def _is_near(count: int, heard: Samples) -> bool:
    """Whether so many samples in which ``heard`` is to be found are not much."""
    return count < 8 * len(heard)


def _alikeness(long: Samples, short: Samples, quiet: float) -> Samples:
    """The correlation of ``short`` with each place of ``long``, at most 1."""
    count = len(long) - len(short) + 1
    if count < 1 or not short.any():
        return np.empty(0)
    if count < 8 * len(short):
        products = np.correlate(long, short, "valid")
    else:
        size = 1 << (len(long) + len(short) - 1).bit_length()
        spectrum = np.fft.rfft(long, size) * np.conj(np.fft.rfft(short, size))
        products = np.fft.irfft(spectrum, size)[:count]
    energy = _sums(long**2)
    norms = np.sqrt(np.maximum(energy[len(short) :] - energy[:count], quiet))
    alikeness: Samples = products / (norms * np.linalg.norm(short))
    return alikeness


# ---- frames --------------------------------------------------------------------------------------


class _Framed:
    """Takes the delay of codecs off, and puts edges where they are by the frames."""

    def __init__(
        self,
        frames: Sequence[Frame],
        limits: Sequence[int],
        delays: Sequence[Delay],
    ) -> None:
        self._begins = [begin for begin, _ in frames]
        self._limits = limits
        self._delays = delays
        self._error = RATE_HZ * ERROR_NS // 1_000_000_000
        # Where nothing but a resampler is on the way silence is what one has lost.
        coded = any(delay.coded for delay in delays)
        self._faint = RATE_HZ * _FAINT_MS // 1000 if coded else 0
        self._edges = sorted({edge for frame in frames for edge in frame})
        followed = set(self._begins)
        self._stops = [end for _, end in frames if end not in followed]

    def spans(self, heard: Sequence[_Span]) -> list[_Span]:
        """The spans by frame, made of those by sound."""
        spans: list[_Span] = []
        latest = delay = self._delays[0]
        heard = self._from_their_beginnings(heard)
        for index, sound in enumerate(heard):
            before = spans[-1] if spans else None
            goes_on = index > 0 and self._follows(heard[index - 1], sound)
            lag = before.lag + latest.resampled if before else None
            delay = self._delay(sound, lag, delay, goes_on)
            span = replace(sound, begin=sound.begin - delay.coded, end=sound.end - delay.coded)
            span = span.from_(self._on_edge(span.begin, delay))
            if before and span.begin < before.end - self._error:
                span = span.from_(before.end)
            elif before:
                before = self._settled(before, span.ours, latest)
                spans[-1] = replace(before, end=min(before.end, span.begin))
            stop = next((one for one in self._stops if abs(one - sound.end) <= self._error), None)
            if stop is not None:
                span = replace(span, end=stop)
            if span.end > span.begin:
                spans.append(span)
                latest = delay
        if spans:
            spans[-1] = self._settled(spans[-1], self._sent(spans[-1]), latest)
        return [self._within_sent(span) for span in spans]

    def _from_their_beginnings(self, heard: Sequence[_Span]) -> list[_Span]:
        """The spans from where they go on after the span before them, if that may well be.

        After silence G.722 is faint and distorted for some milliseconds, which are not found.
        """
        whole: list[_Span] = []
        for sound in heard:
            due = whole[-1].ours_end if whole else 0
            begin = sound.begin + due - sound.ours
            late = sound.begin - begin
            places = {begin - one for delay in self._delays for one in (delay.whole, delay.out_of)}
            with_frame = any(self._edge_near(place) is not None for place in places)
            if -self._error <= late <= self._error or (with_frame and 0 < late <= self._faint):
                sound = sound.from_(begin)
            whole.append(sound)
        return whole

    def _follows(self, sound: _Span, following: _Span) -> bool:
        """Whether the one goes on with what the other ended with."""
        return abs(following.ours - sound.ours_end) <= self._error

    def _delay(self, sound: _Span, lag: int | None, last: Delay, goes_on: bool) -> Delay:
        """The one by which this goes on where the span before ended, or begins with a frame.

        ``lag`` is that of the frames of the span before.
        """
        if lag is not None and self._edge_near(sound.begin - last.whole) is not None:
            return last
        for delay in self._delays:
            if lag is not None and abs(sound.lag + delay.whole - lag) <= 1:
                return delay
        # Where the same sound goes on, only what fits very well shows that the path has changed.
        error = self._error // 8 if goes_on else self._error
        best, least = last, error + 1
        for delay in (last, *self._delays):
            # The latter when what comes first is missing behind the first of two filters.
            for begin in (sound.begin - delay.whole, sound.begin - delay.out_of):
                edge = self._edge_near(begin)
                if edge is not None and abs(edge - begin) < least:
                    best, least = delay, abs(edge - begin)
        return best

    def _edge_near(self, at: int) -> int | None:
        """The edge of a frame that ``at`` may well be."""
        index = bisect_left(self._edges, at)
        near = self._edges[max(0, index - 1) : index + 1]
        best = min(near, key=lambda edge: abs(edge - at), default=at + 2 * self._error)
        return best if abs(best - at) <= self._error else None

    def _on_edge(self, at: int, delay: Delay) -> int:
        """Where the edge of a frame is heard, if ``at`` may well be that."""
        edge = self._edge_near(at - delay.resampled)
        return at if edge is None else edge + delay.resampled

    def _settled(self, span: _Span, ours: int, delay: Delay) -> _Span:
        """The span up to ``ours``, where what follows begins, if that may well be; else to an edge
        of a frame that may well be its end."""
        if abs(span.ours_end - ours) <= self._error:
            return replace(span, end=span.end + ours - span.ours_end)
        return replace(span, end=self._on_edge(span.end, delay))

    def _sent(self, span: _Span) -> int:
        """Up to where ours had been sent when the last of a span was."""
        return self._limits[max(0, bisect_left(self._begins, span.end) - 1)]

    def _within_sent(self, span: _Span) -> _Span:
        beyond = max(0, span.ours_end - self._sent(span))
        return replace(span, end=span.end - beyond)


def _location(
    frame: Frame, spans: Sequence[_Span], search: _Search, bytes_a_sample: float
) -> Location:
    """The pieces of the spans in a frame, in bytes of the application."""
    begin, end = frame
    pieces: list[Piece] = []
    certain = True
    for span in spans:
        first, last = max(begin, span.begin), min(end, span.end)
        if first >= last:
            continue
        offset, stop = (round((at + span.lag) * bytes_a_sample) for at in (first, last))
        pieces.append(Piece(round((first - begin) * bytes_a_sample), offset, stop - offset))
        certain = certain and not span.doubt
    held = sum(piece.length for piece in pieces)
    rest = round((end - begin) * bytes_a_sample) - held
    foreign = rest if not pieces and search.is_loud(begin, end) else 0
    return Location(tuple(pieces), rest - foreign, foreign, certain)
