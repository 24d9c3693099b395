"""One WebRTC call: a peer connection with an audio track in each direction and the data channel `oai-events`. Needs the extra `webrtc`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from aiortc import RTCConfiguration, RTCDataChannel, RTCIceServer, RTCPeerConnection, RTCSessionDescription
from aiortc.contrib.media import MediaBlackhole

from speaches.errors import InvalidRequest
from speaches.realtime.offers import has_data_channel, usable, wants_audio
from speaches.realtime.playback import Playback
from speaches.realtime.tracks import AnswerTrack, ClientAudio

logger = logging.getLogger(__name__)

LABEL = "oai-events"
MOST_UNREAD = 32 * 1024**2  # bytes of events that wait to be read; then the call ends
OVERHEAD = 128  # bytes that an event takes in memory, however short it is
MOST_BUFFERED = 256 * 1024  # bytes of events on their way to the client; then the next one waits
FAREWELL = 2.0  # seconds that the last events get to reach the client


class Events:
    """The data channel as the driver wants it. What is sent before the client has opened it waits."""

    def __init__(self) -> None:
        self.exists = True
        """False where the client has offered none: then nobody is told anything."""
        self._channel: RTCDataChannel | None = None
        self._messages: asyncio.Queue[str | bytes | None] = asyncio.Queue()
        self._unread = 0
        self._changed = asyncio.Event()

    def open(self, channel: RTCDataChannel) -> None:
        """The client has opened a channel."""
        if channel.label != LABEL or self._channel is not None:
            channel.close()
            return
        self._channel = channel
        channel.bufferedAmountLowThreshold = MOST_BUFFERED // 2
        channel.on("message", self._take)
        channel.on("close", self.end)
        channel.on("bufferedamountlow", self._changed.set)
        self._changed.set()

    def end(self) -> None:
        """The client has left, or is to leave."""
        self._messages.put_nowait(None)
        self._changed.set()

    async def receive(self) -> str | bytes | None:
        message = await self._messages.get()
        if message is not None:
            self._unread -= _size(message)
        return message

    async def send(self, text: str) -> None:
        if not self.exists:
            return
        while self._channel is None or (self._buffered > MOST_BUFFERED and self._channel.readyState == "open"):
            self._changed.clear()
            await self._changed.wait()
        if self._channel.readyState != "open":
            raise ConnectionError("the data channel is closed")
        try:
            self._channel.send(text)
        except ValueError as error:  # the client has told how long a message may be
            logger.warning("A client can't take an event: %s", error)
            raise ConnectionError(str(error)) from error

    async def sent(self) -> None:
        """Wait until nothing is on its way."""
        if self._channel is not None:
            self._channel.bufferedAmountLowThreshold = 0
            while self._buffered and self._channel.readyState == "open":
                self._changed.clear()
                await self._changed.wait()

    @property
    def _buffered(self) -> int:
        return self._channel.bufferedAmount if self._channel is not None else 0

    def _take(self, message: str | bytes) -> None:
        self._unread += _size(message)
        if self._unread > MOST_UNREAD:
            logger.warning("A client sends events faster than they can be read: its call ends.")
            self.end()
        else:
            self._messages.put_nowait(message)


def _size(message: str | bytes) -> int:
    return len(message) + OVERHEAD


class Call:
    """The connection with one client."""

    def __init__(self, ice_servers: Sequence[Mapping[str, Any]] = ()) -> None:
        self.events = Events()
        self.playback = Playback()
        self._client_audio = ClientAudio()
        self._unheard = MediaBlackhole()
        """Takes the answers in real time where the client does not want to hear them."""
        self._peer = RTCPeerConnection(RTCConfiguration([RTCIceServer(**server) for server in ice_servers]))
        self._peer.on("track", self._client_audio.attend)
        self._peer.on("datachannel", self.events.open)
        self._peer.on("connectionstatechange", self._follow)

    async def answer(self, offer: str) -> str:
        """The SDP answer to a client's offer, with all of our addresses.

        Raises:
            InvalidRequest: If the offer can't be taken.
        """
        offer = usable(offer)
        self.events.exists = has_data_channel(offer)
        track = AnswerTrack(self.playback)
        try:
            self._peer.addTrack(track)
            await self._peer.setRemoteDescription(RTCSessionDescription(offer, "offer"))
            await self._peer.setLocalDescription(await self._peer.createAnswer())
        except Exception as error:  # the library trips over what it can't read in many ways
            logger.info("An SDP offer can't be used.", exc_info=error)
            reason = str(error) or "it is not well-formed"
            raise InvalidRequest(f"The SDP offer can't be used: {reason}.", param="sdp", code="invalid_sdp") from error
        if not wants_audio(offer):
            self._unheard.addTrack(track)
            await self._unheard.start()
        answer: str = self._peer.localDescription.sdp
        return answer

    async def listen(self) -> Any:
        return await self._client_audio.listen()

    def hang_up(self) -> None:
        """Let the session end. The driver comes back, and then is the time to close."""
        self.events.end()

    async def close(self) -> None:
        try:
            async with asyncio.timeout(FAREWELL):
                await self.events.sent()
        except TimeoutError:
            logger.info("A client has not taken the last events of its call.")
        await self._unheard.stop()
        await self._peer.close()

    def _follow(self) -> None:
        # Whether the client is still there is asked every few seconds (RFC 7675).
        if self._peer.connectionState in ("failed", "closed"):
            self.events.end()
