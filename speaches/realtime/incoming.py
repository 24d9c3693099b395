"""What a client sends: JSON -> events, and the base64 in them -> samples. What is large is read in a thread."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from speaches.errors import InvalidRequest
from speaches.realtime.audio import WireDecoder
from speaches.realtime.items import embedded_audio

if TYPE_CHECKING:
    from speaches.concurrency import Threads
    from speaches.engines.base import Samples

INLINE = 64 * 1024  # characters of an event that is read on the event loop, in a millisecond
LARGE = 256 * 1024  # characters; what is larger is audio or a picture
MOST_COMMAS = 20_000  # between values: a hundred thousand of them would hold up all sessions for a tenth of a second
MOST_RECORDINGS = 64  # within the items of one event

_STRING = re.compile(r'"(?:[^"\\]|\\.)*+"', re.DOTALL)


class Incoming:
    """One client's messages. All methods raise InvalidRequest for what can't be read."""

    def __init__(self, threads: Threads) -> None:
        self._threads = threads
        self._stream: WireDecoder | None = None
        """The decoder of the audio that is appended, once there was some."""
        self._stream_format = ""

    async def event(self, message: str | bytes) -> object:
        """A message's JSON: any object at all."""
        return _parsed(message) if len(message) <= INLINE else await self._threads.run(_parsed, message)

    async def appended(self, audio: object, audio_format: str) -> Samples:
        """More of the audio stream, which goes on from event to event: shape (n,), float32, 16 kHz.

        Args:
            audio: Base64, as the client wrote it.
            audio_format: `audio/pcm`, `audio/pcmu` or `audio/pcma`; may change with each event.
        """
        if self._stream is None or self._stream_format != audio_format:
            self._stream, self._stream_format = WireDecoder(audio_format), audio_format
        return await self._decoded(audio, self._stream, "audio")

    async def embedded(self, event: object, audio_format: str) -> Mapping[str, Samples]:
        """The audio of items within an event, by its path."""
        found, given = {}, embedded_audio(event)
        if len(given) > MOST_RECORDINGS:
            raise InvalidRequest(
                f"An event can bring {MOST_RECORDINGS} recordings; it has {len(given)}.", code="event_too_large"
            )
        for path, audio in given.items():
            decoder = WireDecoder(audio_format)
            samples = await self._decoded(audio, decoder, path)
            found[path] = np.concatenate((samples, decoder.finish()))
        return found

    async def _decoded(self, audio: object, decoder: WireDecoder, param: str) -> Samples:
        if audio is None:
            raise InvalidRequest(
                f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter"
            )
        if not isinstance(audio, str):
            raise InvalidRequest("Audio must be a string of base64.", param=param, code="invalid_type")
        if len(audio) <= INLINE:
            return _samples(audio, decoder, param)
        return await self._threads.run(_samples, audio, decoder, param)


def _parsed(message: str | bytes) -> object:
    if len(message) > INLINE and _has_many_values(message):
        raise InvalidRequest(f"The event has more than {MOST_COMMAS} values.", code="event_too_large")
    try:
        parsed: object = json.loads(message)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"The event is not valid JSON: {error}.", code="invalid_json") from None
    return parsed


def _has_many_values(message: str | bytes) -> bool:
    text = message if isinstance(message, str) else message.decode("latin-1")
    if text.count(",") <= MOST_COMMAS:
        return False
    return len(text) > LARGE or _STRING.sub("", text).count(",") > MOST_COMMAS


def _samples(audio: str, decoder: WireDecoder, param: str) -> Samples:
    try:
        data = base64.b64decode(audio, validate=True)
    except ValueError:  # binascii.Error, or characters that are not ASCII
        raise InvalidRequest("The audio is not valid base64.", param=param, code="invalid_base64") from None
    return decoder.push(data)
