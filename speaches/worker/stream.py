"""
Answers in parts, for WORKER_STREAM: the server's events as the few, larger pieces that Runpod's /stream can carry.

Each piece is one POST to Runpod, so that a piece per event would be slower than no streaming at all; and a piece over 1 MB is lost.
Pieces look like this, in order:

    {"seq": 0, "events": [{"type": "transcript.text.delta", "delta": "Hello"}, ...]}
    {"seq": 1, "audio_b64": "<base64>"}     the audio of several speech.audio.delta events, joined
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import codecs
import json
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from speaches.worker.results import clean, encode_base64

FLUSH_SECONDS = 0.15  # how long an event may wait for company
FLUSH_BYTES = 256_000  # from which a piece is sent at once
MAX_PIECE = 500_000  # bytes of a piece; Runpod's limit is documented as 1 MB, and refused below it
MAX_AUDIO = MAX_PIECE // 4 * 3 - 3_000  # bytes of audio in one piece, before base64
AUDIO_DELTA = "speech.audio.delta"
LINE_END = re.compile(r"\r\n|\n|\r")


class EventParser:
    """Server-sent events from bytes that are cut anywhere, also within a character. Rules of the HTML standard, 9.2.6."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._text = ""
        self._data: list[str] = []

    def feed(self, chunk: bytes, *, end: bool = False) -> list[Any]:
        """Take bytes; returns the events that are complete by now, as JSON values."""
        self._text += self._decoder.decode(chunk, end)
        # A final "\r" may be half of "\r\n".
        cut = len(self._text) - (1 if self._text.endswith("\r") and not end else 0)
        *lines, rest = LINE_END.split(self._text[:cut])
        self._text = rest + self._text[cut:]
        if end:
            lines, self._text = [*lines, self._text, ""], ""
        return [event for line in lines for event in self._line(line)]

    def _line(self, line: str) -> list[Any]:
        if line:
            name, _, value = line.partition(":")
            if name == "data":
                self._data.append(value.removeprefix(" "))
            return []
        data, self._data = "\n".join(self._data), []
        if not data or data == "[DONE]":  # OpenAI's end mark; the end of the output says the same
            return []
        try:
            return [json.loads(data)]
        except ValueError:
            return [{"type": "message", "data": data}]


@dataclass
class Gatherer:
    """Collects events until they are worth a piece. Time is passed in."""

    _events: list[Any] = field(default_factory=list)
    _audio: list[bytes] = field(default_factory=list)
    _size: int = 0
    _since: float | None = None
    _seq: int = 0

    def add(self, event: Any, now: float) -> None:
        audio = _audio_of(event)
        if audio is None:
            self._events.append(clean(event))
            self._size += len(json.dumps(event))
        else:
            self._audio.append(audio)
            self._size += len(audio) * 4 // 3
        if self._since is None:
            self._since = now

    def wait(self, now: float) -> float | None:
        """Seconds until the next piece is due; None while there is nothing to send."""
        if self._since is None:
            return None
        return 0.0 if self._size >= FLUSH_BYTES else max(0.0, self._since + FLUSH_SECONDS - now)

    def take(self) -> list[dict[str, Any]]:
        """All that was collected, as pieces that are small enough."""
        audio, events = b"".join(self._audio), self._events
        self._audio, self._events, self._size, self._since = [], [], 0, None
        contents: list[dict[str, Any]] = [
            {"audio_b64": encode_base64(audio[start : start + MAX_AUDIO])} for start in range(0, len(audio), MAX_AUDIO)
        ]
        contents += [{"events": group} for group in _grouped(events)]
        return [self._piece(content) for content in contents]

    def _piece(self, content: dict[str, Any]) -> dict[str, Any]:
        self._seq += 1
        return {"seq": self._seq - 1} | content


def _audio_of(event: Any) -> bytes | None:
    if not isinstance(event, dict) or event.get("type") != AUDIO_DELTA or not isinstance(event.get("audio"), str):
        return None
    try:
        return base64.b64decode(event["audio"], validate=True)
    except binascii.Error:
        return None


def _grouped(events: list[Any]) -> list[list[Any]]:
    """Events in groups of at most MAX_PIECE bytes; a larger one stands alone."""
    groups: list[list[Any]] = []
    size = MAX_PIECE
    for event in events:
        length = len(json.dumps(event)) + 2
        if size + length > MAX_PIECE - 100:
            groups.append([])
            size = 0
        groups[-1].append(event)
        size += length
    return groups


def error_in(event: Any) -> dict[str, Any] | None:
    """The error that an event reports, in the shape of OpenAI's API, if it reports one."""
    if isinstance(event, dict) and isinstance(event.get("error"), dict) and (event.get("type") in (None, "error")):
        return dict(event["error"])
    return None


async def pieces(chunks: AsyncIterator[bytes]) -> AsyncGenerator[dict[str, Any]]:
    """The answer's bytes as pieces for Runpod. An error that the server reports in mid-stream is the last piece, `{"error": {...}}`."""
    parser, gatherer = EventParser(), Gatherer()
    reader = asyncio.ensure_future(_next(chunks))
    try:
        while True:
            done, _ = await asyncio.wait({reader}, timeout=gatherer.wait(time.monotonic()))
            chunk = reader.result() if done else b""
            for event in parser.feed(chunk or b"", end=chunk is None):
                if error := error_in(event):
                    for piece in gatherer.take():
                        yield piece
                    yield {"error": error}
                    return
                gatherer.add(event, time.monotonic())
            if chunk is None or gatherer.wait(time.monotonic()) == 0.0:
                for piece in gatherer.take():
                    yield piece
            if chunk is None:
                return
            if done:
                reader = asyncio.ensure_future(_next(chunks))
    finally:
        # Not just dropped: it holds the connection, and httpx must be out of it before it is closed.
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)


async def _next(chunks: AsyncIterator[bytes]) -> bytes | None:
    return await anext(chunks, None)
