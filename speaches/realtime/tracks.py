"""The two audio tracks of a WebRTC call: what the client says, and what it hears. Needs the extra `webrtc`."""

from __future__ import annotations

import asyncio
from fractions import Fraction
from time import monotonic
from typing import TYPE_CHECKING, Any

import av
import numpy as np
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError

from speaches.audio.pcm import from_pcm16, to_pcm16
from speaches.engines.base import SAMPLE_RATE
from speaches.realtime.audio import WIRE_RATE

if TYPE_CHECKING:
    from speaches.engines.base import Samples
    from speaches.realtime.playback import Playback

FRAME = WIRE_RATE // 50  # samples that are sent at a time: 20 ms
LATE = 0.5  # seconds; a track that is later than this goes on from now, instead of sending what it missed in one burst
PATIENCE = 0.2  # seconds without audio from the client after which silence stands in for it
LONGEST_GAP = 10.0  # seconds of silence between two frames; what claims to be longer is another stream
MOST_AHEAD = 30.0  # seconds of audio that a client may send faster than time passes


class AnswerTrack(MediaStreamTrack):
    """Plays the answers, and silence between them, in real time."""

    kind = "audio"

    def __init__(self, playback: Playback) -> None:
        super().__init__()
        self._playback = playback
        self._sent = 0
        """Samples."""
        self._started: float | None = None

    async def recv(self) -> av.AudioFrame:
        """The next 20 ms, when it is time for them."""
        if self.readyState != "live":
            raise MediaStreamError
        now = monotonic()
        if self._started is None or now - self._due > LATE:
            self._started = now - self._sent / WIRE_RATE
        await asyncio.sleep(max(0.0, self._due - now))
        pcm = np.frombuffer(to_pcm16(self._playback.take(FRAME)), "<i2")
        frame = av.AudioFrame.from_ndarray(pcm.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate, frame.time_base, frame.pts = WIRE_RATE, Fraction(1, WIRE_RATE), self._sent
        self._sent += FRAME
        return frame

    @property
    def _due(self) -> float:
        assert self._started is not None
        return self._started + self._sent / WIRE_RATE


class ClientAudio:
    """What the client says, without gaps: turns are measured in samples, and a client that sends nothing is silent.

    Silence stands in for packets that were lost or never sent, such as those of a microphone that is switched off.
    """

    def __init__(self) -> None:
        self._track: Any = None
        self._offered = asyncio.Event()
        self._resampler: Any = None
        self._shape: object = None
        """What the resampler takes."""
        self._expected: Fraction | None = None
        """When the next frame begins if nothing is missing, in seconds of the client's clock; None before the first."""
        self._filled = Fraction(0)
        """Seconds of silence since the last frame."""
        self._heard = 0
        """Samples in all."""
        self._started = 0.0

    def attend(self, track: Any) -> None:
        """Listen to this track of aiortc's."""
        self._track = track
        self._offered.set()

    async def listen(self) -> Samples:
        """The next audio: shape (n,), float32, 16 kHz; nothing before the client's first.

        Raises:
            ConnectionError: If the client sends more than time can bring.
        """
        await self._offered.wait()
        samples = await self._next()
        now = monotonic()
        self._started = self._started or now
        self._heard += len(samples)
        if self._heard / SAMPLE_RATE > now - self._started + MOST_AHEAD:
            raise ConnectionError("the client sends audio faster than time passes")
        return samples

    async def _next(self) -> Samples:
        try:
            async with asyncio.timeout(None if self._expected is None else PATIENCE):
                frame = await self._track.recv()
        except TimeoutError:
            return self._silence()
        except MediaStreamError:  # the track has ended; the client may still type
            await asyncio.sleep(PATIENCE)
            return self._silence()
        return self._continued(frame)

    def _silence(self) -> Samples:
        self._filled += Fraction(PATIENCE)
        return np.zeros(round(PATIENCE * SAMPLE_RATE), np.float32)

    def _continued(self, frame: av.AudioFrame) -> Samples:
        """A frame's samples, after silence for what is missing before it."""
        begins = Fraction(frame.pts or 0, frame.sample_rate)
        missing = Fraction(0) if self._expected is None else begins - self._expected - self._filled
        self._expected, self._filled = begins + Fraction(frame.samples, frame.sample_rate), Fraction(0)
        samples = self._resampled(frame)
        if 0 < missing <= LONGEST_GAP:
            samples = np.concatenate((np.zeros(round(missing * SAMPLE_RATE), np.float32), samples))
        return samples

    def _resampled(self, frame: av.AudioFrame) -> Samples:
        shape = (frame.format.name, frame.layout.name, frame.sample_rate)
        if shape != self._shape:  # a client may change its codec at any time
            self._shape = shape
            self._resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)
        frame.pts = None  # gaps are our business
        # Not to floats: then two channels would add up to 1.4 times their level.
        return from_pcm16(b"".join(part.to_ndarray().tobytes() for part in self._resampler.resample(frame)))
