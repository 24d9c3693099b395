"""A WebRTC client over loopback: aiortc, with a microphone that says what a test wants and an ear that remembers.

async with calling(server) as caller:
    await caller.event("session.created")
    caller.say(tone(440, 0.6, RATE))
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av
import numpy as np
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError

from speaches.audio.pcm import from_pcm16, to_pcm16
from tests.fakes import PATIENCE

if TYPE_CHECKING:
    import httpx

    from speaches.engines.base import Samples
    from tests.api.serving import Serving

RATE = 48_000  # Hz of both tracks
FRAME = RATE // 50


class Microphone(MediaStreamTrack):
    """Says what it is given, in real time; silence otherwise."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self.rest = np.empty(0, np.float32)
        self._sent = 0
        self._started: float | None = None

    async def recv(self) -> av.AudioFrame:
        now = asyncio.get_running_loop().time()
        self._started = self._started or now
        await asyncio.sleep(self._started + self._sent / RATE - now)
        samples, self.rest = self.rest[:FRAME], self.rest[FRAME:]
        samples = np.pad(samples, (0, FRAME - len(samples)))
        frame = av.AudioFrame.from_ndarray(np.frombuffer(to_pcm16(samples), "<i2").reshape(1, -1), "s16", "mono")
        frame.sample_rate, frame.time_base, frame.pts = RATE, Fraction(1, RATE), self._sent
        self._sent += FRAME
        return frame


@dataclass
class Caller:
    """One client."""

    peer: RTCPeerConnection = field(default_factory=lambda: RTCPeerConnection(RTCConfiguration([])))
    microphone: Microphone = field(default_factory=Microphone)
    events: list[dict[str, Any]] = field(default_factory=list)
    """All that came over the data channel."""
    heard: list[Samples] = field(default_factory=list)
    """What came over the track, 48 kHz, 20 ms each."""
    has_channel: bool = True

    def __post_init__(self) -> None:
        self._read = 0
        self._changed = asyncio.Event()
        self._listening: asyncio.Task[None] | None = None
        if self.has_channel:
            self.channel = self.peer.createDataChannel("oai-events")
            self.channel.on("message", self._take)
        self.peer.addTrack(self.microphone)
        self.peer.on("track", self._listen)

    async def offer(self) -> str:
        await self.peer.setLocalDescription(await self.peer.createOffer())
        sdp: str = self.peer.localDescription.sdp
        return sdp

    async def connect(self, answer: str) -> None:
        await self.peer.setRemoteDescription(RTCSessionDescription(answer, "answer"))

    async def event(self, event_type: str) -> dict[str, Any]:
        """The next event of this type after those that were asked for before."""
        async with asyncio.timeout(PATIENCE):
            while True:
                for place in range(self._read, len(self.events)):
                    if self.events[place]["type"] == event_type:
                        self._read = place + 1
                        return self.events[place]
                self._changed.clear()
                await self._changed.wait()

    async def hears(self, loud: bool) -> None:
        """Wait for a frame that is loud, or one that is not."""
        async with asyncio.timeout(PATIENCE):
            start = len(self.heard)
            while not any((np.abs(frame).max() > 0.05) == loud for frame in self.heard[start:]):
                self._changed.clear()
                await self._changed.wait()

    def say(self, samples: Samples) -> None:
        self.microphone.rest = np.concatenate((self.microphone.rest, samples))

    def send(self, event_type: str, **fields: Any) -> None:
        self.channel.send(json.dumps({"type": event_type, **fields}))

    def send_when_open(self, event_type: str, **fields: Any) -> None:
        self.channel.on("open", lambda: self.send(event_type, **fields))

    def vanish(self) -> None:
        """As when a cable is pulled: nothing is said, nothing is answered."""
        for transceiver in self.peer.getTransceivers():
            for protocol in transceiver.sender.transport.transport._connection._protocols:
                protocol.transport.abort()

    async def close(self) -> None:
        await self.peer.close()
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.wait([self._listening])

    def _take(self, message: str) -> None:
        self.events.append(json.loads(message))
        self._changed.set()

    def _listen(self, track: Any) -> None:
        self._listening = asyncio.create_task(self._hear(track))

    async def _hear(self, track: Any) -> None:
        with contextlib.suppress(MediaStreamError):
            while True:
                frame = await track.recv()
                self.heard.append(from_pcm16(frame.to_ndarray().tobytes())[::2])
                self._changed.set()


async def posted(
    server: Serving,
    offer: str,
    session: Mapping[str, Any] | None = None,
    path: str = "/v1/realtime/calls",
    **headers: str,
) -> httpx.Response:
    """The answer to an offer."""
    async with server.client() as http:
        if session is None:
            return await http.post(path, content=offer, headers={"content-type": "application/sdp", **headers})
        parts = {
            "sdp": (None, offer, "application/sdp"),
            "session": (None, json.dumps(session), "application/json"),
        }
        return await http.post(path, files=parts, headers=headers)


@contextlib.asynccontextmanager
async def calling(
    server: Serving, session: Mapping[str, Any] | None = None, path: str = "/v1/realtime/calls", **headers: str
) -> AsyncIterator[Caller]:
    """A client in a call; it hangs up at the end."""
    caller = Caller()
    try:
        answer = await posted(server, await caller.offer(), session, path, **headers)
        assert answer.status_code == 201, answer.text
        await caller.connect(answer.text)
        yield caller
    finally:
        await caller.close()
