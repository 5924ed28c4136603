"""Does a scenario's steps in a call that is up.

What a step waits for and does not get is recorded and not raised: the call goes on, and the judge
has the last word on the marks. So is an end of the connection that no step has caused: then there
are no more steps, and the call until then is judged. The stock driver is taken through the same
steps with the commands it knows, MARK_MEDIA and FLUSH_MEDIA without an id.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, cast

from chan_websocket.protocol import (
    PATCHED_EVENTS,
    Event,
    Format,
    Id,
    command_mark_media,
    command_set_direction,
    parse_command,
)
from harness.application.client import ConnectionEnded
from harness.application.marks import ACK_EVENT
from harness.asterisk.ari import BridgedCall
from harness.bench import LiveCall
from harness.caller.rtp_sender import RtpSender
from harness.caller.sipp import Hold
from harness.errors import HarnessFault
from harness.media.codecs import codec_named
from harness.media.probe_signal import probe_signal
from harness.media.speech import interruption
from harness.scenarios import schema
from harness.scenarios.cpu_load import cpu_load
from harness.scenarios.schema import Range, Scenario, Step, choose

_CHUNK_MS = (6, 88)
"""random messages: in G.711 these are 50 to 700 bytes, what text-to-speech engines send"""
_ACK_TIMEOUT_S = 10.0


class _Media:
    """What the application plays in a call, and in pieces of which size."""

    def __init__(self, call: schema.Call, chance: random.Random) -> None:
        codec = codec_named(call.codec)
        self._call = call
        self._chance = chance
        self._bytes_per_ms = codec.bytes_per_second / 1000
        self._frame = codec.frame_bytes
        self._sample = codec.sample_bytes

    def chunks(self, play: schema.Play) -> Iterator[int]:
        """The sizes of the messages of a ``play`` step, in bytes."""
        rest = self.size(play)
        while rest > 0:
            size = rest
            if play.chunks == "aligned":
                size = self._frame
            elif play.chunks == "random":
                size = round(self._chance.uniform(*_CHUNK_MS) * self._bytes_per_ms)
            size = min(self._whole_samples(size), rest)
            yield size
            rest -= size

    def size(self, play: schema.Play) -> int:
        """How many bytes a ``play`` step sends."""
        if play.bytes is not None:
            return choose(play.bytes, self._chance)
        if play.frames is not None:
            return choose(play.frames, self._chance) * self._frame
        assert play.ms is not None
        return self._whole_samples(round(choose(play.ms, self._chance) * self._bytes_per_ms))

    def _whole_samples(self, size: int) -> int:
        return max(1, size // self._sample) * self._sample

    def next(self, offset: int, size: int) -> bytes:
        """``size`` bytes of the media from ``offset`` on."""
        call = self._call
        return probe_signal(
            call.codec,
            offset,
            size,
            caller_codec=call.caller_codec,
            mixed=call.extension().mixed,
        )


class _SentMarks:
    """The marks of a call that have been sent so far, of either kind, and which are pending."""

    def __init__(self, call: LiveCall) -> None:
        self._session = call.session
        self._where = call.where
        self._named = 0
        self.ids: list[Id] = []
        """in the order they were sent"""

    def note(self, mark_id: Id | None, where: str) -> Id:
        """A mark is about to be sent, by what stands at ``where``; its id as it comes back.

        None is for the next of m0, m1, ...
        """
        if mark_id is None:
            mark_id = f"m{self._named}"
            self._named += 1
        mark_id = self.as_acknowledged(mark_id)
        self.ids.append(mark_id)
        self._where.append(where)
        return mark_id

    def as_acknowledged(self, mark_id: Id) -> Id:
        """The id as it comes back: in plain text numbers are text."""
        return str(mark_id) if self._session.format is Format.PLAIN else mark_id

    @property
    def pending(self) -> int:
        """How many are not acknowledged."""
        return len(self.ids) - len(self._acknowledged())

    @property
    def oldest_pending(self) -> Id:
        """The first that is not acknowledged. There must be one."""
        return self.ids[len(self._acknowledged())]

    async def until_acknowledged(self, ids: Sequence[Id], within_s: float) -> bool:
        """Until each of these ids has come back as often as it was sent; False on time-out."""
        wanted = {one: self.ids.count(one) for one in ids}

        async def wait() -> None:
            missing = dict(wanted)
            async for event in self._session.iterate_events():
                acknowledged = _acknowledged_id(event)
                if acknowledged in missing:
                    missing[acknowledged] -= 1
                    if not missing[acknowledged]:
                        del missing[acknowledged]
                if not missing:
                    return

        try:
            await asyncio.wait_for(wait(), within_s)
        except asyncio.TimeoutError:
            return False
        return True

    def _acknowledged(self) -> list[Id]:
        events = self._session.events
        return [one for event in events if (one := _acknowledged_id(event)) is not None]


class StepRunner:
    """Does the steps of the application and of the caller in one call."""

    def __init__(self, call: LiveCall, scenario: Scenario, seed: int) -> None:
        self.call = call
        self.session = call.session
        self.scenario = scenario
        self.patched = self.session.media_start.playback_marks > 0
        self.chance = random.Random(f"{seed}/{scenario.full_name}")
        self.failures: list[str] = []
        """stages that were not reached, as text with file and line"""
        self._media = _Media(scenario.call, self.chance)
        self._marks = _SentMarks(call)
        self._caller: RtpSender | None = None
        self._acknowledging = True
        """whether acknowledgements come: where one never came, none is waited for again"""
        self._step: Step | None = None
        """that is being done, or was last"""
        self._to_end = False
        """whether a step so far ends the call, or waits for its end"""

    async def run(self) -> None:
        """All steps, one after the other, as long as the connection lasts.

        Raises ConnectionEnded where the scenario goes on to send behind an end that it wanted.
        """
        for text in self.scenario.call.with_handshake:
            self._note_raw(text, self.scenario.file.name)
        try:
            await self._steps(self.scenario.steps)
        except ConnectionEnded as ended:
            if self._to_end or self._step is None:
                raise
            self.failures.append(f"{self.scenario.where(self._step)}: {ended.what}")

    async def _steps(self, steps: Sequence[Step]) -> None:
        for step in steps:
            if step.repeat is not None:
                for _ in range(choose(step.repeat.times, self.chance)):
                    await self._steps(step.repeat.steps)
            elif step.load is not None:
                with cpu_load(step.load.cores):
                    await self._steps(step.load.steps)
            else:
                self._step = step
                does = cast(
                    Callable[[Any, Step], Awaitable[None]],
                    getattr(self, f"_{step.kind.rstrip('_')}"),
                )
                await does(getattr(step, step.kind), step)
                if self.session.closed and not self._to_end:
                    code = self.session.close_code
                    raise ConnectionEnded(
                        f"the connection ended (close code {code}), and no step had ended the call"
                    )

    # ---- media and marks ----

    async def _buffering(self, state: str, step: Step) -> None:
        if state == "start":
            await self.session.start_buffering()
        else:
            await self.session.stop_buffering()

    async def _play(self, play: schema.Play, step: Step) -> None:
        for _ in range(choose(play.times, self.chance)):
            chunks = list(self._media.chunks(play))
            for number, size in enumerate(chunks):
                await self._send_media(size, play)
                last = number == len(chunks) - 1
                if play.marks == "each" or (play.marks == "last" and last):
                    await self._set_mark(None, step)
                if self._acknowledging and self._marks.pending >= play.pending:
                    oldest = self._marks.oldest_pending
                    self._acknowledging = await self._marks.until_acknowledged(
                        [oldest], _ACK_TIMEOUT_S
                    )

    async def _opt_in(self) -> None:
        """Ahead of the first media, since that does not wait for a listener otherwise."""
        if self.patched and not self.session.sent_bytes and not self._marks.ids:
            await self.session.opt_in()

    async def _send_media(self, size: int, play: schema.Play) -> None:
        await self._opt_in()
        media = self._media.next(self.session.sent_bytes, size)
        if play.stall_ms:
            await self.session.send_media_stalled(media, play.stall_ms / 1000, play.pieces)
        elif play.fragments:
            await self.session.send_media_fragmented(media, play.fragments, play.pings)
        else:
            await self.session.send_media(media)

    async def _mark(self, mark: schema.Mark, step: Step) -> None:
        for mark_id in mark.ids:
            await self._set_mark(mark_id, step, self._offset(mark))
        if not mark.ids:
            for _ in range(choose(mark.count, self.chance)):
                await self._set_mark(mark.id, step, self._offset(mark))

    def _offset(self, mark: schema.Mark) -> int | None:
        """Where it is to stand; None for behind all that was sent."""
        if mark.offset is not None:
            return choose(mark.offset, self.chance)
        if mark.ahead is not None:
            return self.session.sent_bytes + choose(mark.ahead, self.chance)
        if mark.back is not None:
            return max(0, self.session.sent_bytes - choose(mark.back, self.chance))
        return None

    async def _set_mark(self, mark_id: Id | None, step: Step, offset: int | None = None) -> None:
        """The stock driver knows no offset: there it stands behind all that was sent."""
        mark_id = self._marks.note(mark_id, self.scenario.where(step))
        if self.patched:
            await self.session.mark(mark_id, offset)
        elif isinstance(mark_id, int) and self.session.format is Format.JSON:
            text = f'{{"command":"MARK_MEDIA","correlation_id":{mark_id}}}'
            await self.session.send_text(text)
        else:
            await self.session.mark_media(str(mark_id))
        # The loop has to read meanwhile: an application that does not gets no more than ten small
        # events in time, since its kernel acknowledges no more (TCP).
        await asyncio.sleep(0)

    def _note_raw(self, text: str, where: str) -> None:
        """Note the mark that a text message sets, or that it ends the call, if it does."""
        command = parse_command(text)
        self._to_end = self._to_end or command.name == "HANGUP"
        ids = {"MARK": command.id, "MARK_MEDIA": command.correlation_id}
        if (mark_id := ids.get(command.name)) is not None:
            self._marks.note(mark_id, where)

    async def _mark_in_one_write(self, play: schema.Play, step: Step) -> None:
        await self._opt_in()
        mark_id = str(self._marks.note(None, self.scenario.where(step)))
        command = (
            self.session.mark_text(mark_id)
            if self.patched
            else command_mark_media(self.session.format, mark_id)
        )
        media = self._media.next(self.session.sent_bytes, self._media.size(play))
        await self.session.send_in_one_write([media, command])

    # ---- commands ----

    async def _flush(self, flush: schema.Flush, step: Step) -> None:
        await self.session.flush(flush.id if self.patched else None)

    async def _pause(self, _: str, step: Step) -> None:
        await self.session.pause()

    async def _continue(self, _: str, step: Step) -> None:
        await self.session.continue_()

    async def _direction(self, direction: str, step: Step) -> None:
        await self.session.send_text(command_set_direction(direction))

    async def _report(self, report: schema.Report, step: Step) -> None:
        if self.patched:
            await self.session.report_playback(report.interval_ms)

    async def _send(self, text: str, step: Step) -> None:
        self._note_raw(text, self.scenario.where(step))
        await self.session.send_text(text)

    async def _hang_up(self, who: str, step: Step) -> None:
        if who == "caller":
            self._to_end = True
            await self.call.sip.hang_up()
        else:
            await self.session.hangup()
            self._to_end = True
        await self.session.wait_closed()

    # ---- disturbances ----

    async def _stop_reading(self, _: str, step: Step) -> None:
        self.session.stop_reading()

    async def _read_on(self, _: str, step: Step) -> None:
        self.session.go_on_reading()

    async def _close(self, _: str, step: Step) -> None:
        self._to_end = True
        await self.session.close()

    async def _abort(self, _: str, step: Step) -> None:
        self._to_end = True
        await self.session.abort()

    async def _speak(self, speech: schema.Speech, step: Step) -> None:
        ms = choose(speech.ms, self.chance)
        self._talking().speak(interruption(ms, self._caller_codec))

    @property
    def _caller_codec(self) -> str:
        return self.scenario.call.caller_codec or self.scenario.call.codec

    def _talking(self) -> RtpSender:
        """The caller's voice, which sends RTP from the first time on."""
        if self._caller is None:
            self._caller = self.call.rtp.talk(self.call.sip.media, self._caller_codec)
        return self._caller

    # ---- the caller's telephone ----

    async def _hold(self, how: Hold, step: Step) -> None:
        await self.call.sip.hold(how)

    async def _resume(self, _: str, step: Step) -> None:
        await self.call.sip.resume()

    async def _packets(self, ptime_ms: int, step: Step) -> None:
        await self.call.sip.ask_for_packets(ptime_ms)

    async def _handshake(self, _: str, step: Step) -> None:
        await self.call.agree_on_keys()

    async def _t38(self, _: str, step: Step) -> None:
        await self.call.sip.ask_for_t38()

    async def _end_gateway(self, _: str, step: Step) -> None:
        await self.call.end_gateway()

    async def _redirect(self, where: str, step: Step) -> None:
        await self.call.redirect(where)

    async def _mute(self, mute: schema.Mute, step: Step) -> None:
        await self.call.mute(mute.channel, mute.direction, choose(mute.ms, self.chance))

    async def _optimize(self, ms: Range, step: Step) -> None:
        await self.call.optimize(choose(ms, self.chance))

    async def _transfer(self, _: str, step: Step) -> None:
        await self.call.transfer()

    async def _move(self, _: str, step: Step) -> None:
        await self._bridged.move()

    async def _digit(self, digit: schema.Digit, step: Step) -> None:
        ms = choose(digit.ms, self.chance)
        if digit.from_:
            self._talking().press(digit.digit, ms)
        else:
            await self._bridged.send_digit(digit.digit, ms)

    async def _rtcp(self, rtcp: schema.Rtcp, step: Step) -> None:
        jitter_ms = choose(rtcp.jitter_ms, self.chance)
        jitter = jitter_ms * codec_named(self._caller_codec).rtp_clock_hz // 1000
        self.call.rtp.report(self.call.sip.media, rtcp.rtt_ms, jitter)

    # ---- the bridge ----

    async def _ari(self, action: schema.AriAction, step: Step) -> None:
        await self._bridged.apply(action.do, action.to, choose(action.ms, self.chance))

    @property
    def _bridged(self) -> BridgedCall:
        assert self.call.bridged is not None, "the schema asks for a bridge of ARI"
        return self.call.bridged

    # ---- time ----

    async def _elapse(self, ms: Range, step: Step) -> None:
        await asyncio.sleep(choose(ms, self.chance) / 1000)

    async def _wait(self, wait: schema.Wait, step: Step) -> None:
        within_s = wait.within_s
        if wait.acknowledged is not None:
            ids = self._marks.ids
            if wait.acknowledged != "all":
                ids = [self._marks.as_acknowledged(wait.acknowledged)]
            if unknown := set(ids) - set(self._marks.ids):
                where = self.scenario.where(step)
                self.failures.append(f"{where}: no mark {unknown.pop()!r} was set so far")
                return
            await self._marks.until_acknowledged(ids, within_s)
            return  # what is not acknowledged is the judge's to say
        try:
            if wait.event is not None:
                if self.patched or wait.event not in PATCHED_EVENTS:
                    await self.session.wait_event(wait.event, within_s)
            elif wait.packets is not None:
                count = choose(wait.packets, self.chance)
                wanted = len(self.call.rtp.packets) + count
                if not await asyncio.to_thread(self.call.rtp.wait_for_packets, wanted, within_s):
                    raise HarnessFault(f"{count} more RTP packets did not come in {within_s:g} s")
            elif wait.heard:
                await self.session.wait_heard(timeout_s=within_s)
            else:
                self._to_end = True
                await self.session.wait_closed(within_s)
        except HarnessFault as fault:
            self.failures.append(f"{self.scenario.where(step)}: {fault.what}")


def _acknowledged_id(event: Event) -> Id | None:
    """The id of the mark that an event acknowledges, of whichever kind; None for other events."""
    if event.name in ("MARK_PLAYED", "MARK_DISCARDED"):
        return event.fields.get("id")
    return event.fields.get("correlation_id") if event.name in ACK_EVENT.values() else None
