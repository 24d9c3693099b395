"""A client's audio without gaps, and answers in real time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from time import monotonic
from typing import Any

import av
import numpy as np
import pytest
from aiortc.mediastreams import MediaStreamError

from speaches.realtime import tracks
from speaches.realtime.playback import Playback
from speaches.realtime.tracks import FRAME, AnswerTrack, ClientAudio


def frame(second: float, rate: int = 48_000, channels: int = 2, level: int = 8000) -> av.AudioFrame:
    """20 ms that begin at this second."""
    count = rate // 50
    pcm = np.full((1, count * channels), level, np.int16)
    made = av.AudioFrame.from_ndarray(pcm, "s16", "stereo" if channels == 2 else "mono")
    made.sample_rate, made.time_base, made.pts = rate, Fraction(1, rate), round(second * rate)
    return made


@dataclass
class Track:
    """Gives these frames; then nothing, or its end."""

    frames: list[av.AudioFrame]
    ends: bool = False

    async def recv(self) -> av.AudioFrame:
        if self.frames:
            return self.frames.pop(0)
        if self.ends:
            raise MediaStreamError
        return await asyncio.Future()


async def heard(frames: Sequence[av.AudioFrame], times: int, ends: bool = False) -> np.ndarray:
    audio = ClientAudio()
    audio.attend(Track(list(frames), ends))
    return np.concatenate([await audio.listen() for _ in range(times)])


@pytest.mark.parametrize(("rate", "channels"), [(48_000, 2), (8_000, 1)])
async def test_a_client_is_heard_at_16_khz_as_loud_as_it_speaks(rate: int, channels: int) -> None:
    samples = await heard([frame(n / 50, rate, channels) for n in range(50)], 50)
    assert samples.dtype == np.float32
    assert len(samples) == pytest.approx(16_000, abs=320)
    assert samples[8000] == pytest.approx(8000 / 32768, rel=0.02)


async def test_silence_stands_in_for_packets_that_were_lost() -> None:
    samples = await heard([frame(0), frame(0.02), frame(0.52), frame(0.54)], 4)
    assert len(samples) == pytest.approx(0.56 * 16_000, abs=320)
    assert np.count_nonzero(np.abs(samples) < 0.01) == pytest.approx(0.48 * 16_000, abs=320)


@pytest.mark.parametrize("ends", [False, True])
async def test_a_client_that_sends_nothing_is_silent(monkeypatch: pytest.MonkeyPatch, ends: bool) -> None:
    monkeypatch.setattr(tracks, "PATIENCE", 0.01)
    samples = await heard([frame(0)], 4, ends)
    assert len(samples) == pytest.approx(0.05 * 16_000, abs=320)
    assert not samples[-160:].any()


async def test_what_silence_stood_in_for_is_not_missing_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracks, "PATIENCE", 0.01)
    audio, track = ClientAudio(), Track([frame(0)])
    audio.attend(track)
    parts = [await audio.listen() for _ in range(11)]
    track.frames = [frame(0.12)]
    parts.append(await audio.listen())
    assert len(np.concatenate(parts)) == pytest.approx(0.14 * 16_000, abs=320)


@pytest.mark.parametrize("jump", [3600.0, -20.0])
async def test_a_clock_that_jumps_is_another_clock(jump: float) -> None:
    samples = await heard([frame(30), frame(30.02), frame(30 + jump), frame(30.02 + jump)], 4)
    assert len(samples) == pytest.approx(0.08 * 16_000, abs=320)


async def test_a_codec_may_change_in_mid_call() -> None:
    samples = await heard([frame(0), frame(0.02), frame(0.04, 8_000, 1), frame(0.06, 8_000, 1)], 4)
    assert len(samples) == pytest.approx(0.08 * 16_000, abs=480)


async def test_audio_that_comes_faster_than_time_passes_ends_the_call() -> None:
    audio = ClientAudio()
    audio.attend(Track([frame(n / 50) for n in range(2000)]))
    with pytest.raises(ConnectionError, match="faster"):
        for _ in range(2000):
            await audio.listen()


async def test_an_answer_is_played_in_real_time() -> None:
    playback = Playback()
    playback.add("a", np.full(FRAME * 2, 0.5, np.float32))
    track = AnswerTrack(playback)
    started = monotonic()
    frames = [await track.recv() for _ in range(6)]
    assert monotonic() - started >= 0.099
    assert [(one.pts, one.sample_rate, one.samples) for one in frames] == [(n * FRAME, 24_000, FRAME) for n in range(6)]
    assert [bool(one.to_ndarray().any()) for one in frames] == [True, True, False, False, False, False]


async def test_a_track_that_is_late_does_not_send_what_it_missed_in_one_burst(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = 100.0
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(tracks, "monotonic", lambda: clock)
    monkeypatch.setattr(asyncio, "sleep", sleep)
    track = AnswerTrack(Playback())
    await track.recv()
    clock += 10.0
    await track.recv()
    await track.recv()
    assert waits == pytest.approx([0.0, 0.0, 0.02])


async def test_a_track_that_was_stopped_plays_no_more() -> None:
    track: Any = AnswerTrack(Playback())
    track.stop()
    with pytest.raises(MediaStreamError):
        await track.recv()
