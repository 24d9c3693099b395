"""Server-sent events, as an LLM sends them. Rules only."""

from __future__ import annotations

import re

from speaches.errors import BadGateway

MOST = 4 * 1024**2  # bytes of one event; an LLM's are of some hundred
_LINE_END = re.compile(rb"\r\n|\n|\r")


class EventParser:
    """The data of events, from bytes that are cut anywhere, by the rules of the HTML standard, 9.2.6.

    Comments and other fields are passed over.
    """

    def __init__(self) -> None:
        self._line = bytearray()
        """The line that has not ended yet."""
        self._data: list[bytes] = []
        self._size = 0
        """Bytes of the event so far."""
        self._after_return = False
        """Whether a "\\n" that comes now is the other half of "\\r\\n"."""

    def feed(self, chunk: bytes) -> list[str]:
        """Take bytes; returns the data of the events that are complete by now.

        Raises:
            BadGateway: If an event is larger than MOST.
        """
        if self._after_return:
            chunk = chunk.removeprefix(b"\n")
        self._after_return = chunk.endswith(b"\r")
        self._size += len(chunk)
        *lines, rest = _LINE_END.split(chunk)
        found = [event for line in lines if (event := self._ended(line)) is not None]
        self._line += rest
        if self._size > MOST:
            raise BadGateway(f"The LLM sent an event of more than {MOST} bytes.")
        return found

    def finish(self) -> list[str]:
        """The last event, where the blank line after it is missing."""
        return self.feed(b"\n\n")

    def _ended(self, end: bytes) -> str | None:
        """A line has ended with these bytes; the data of the event that it closes."""
        line, self._line = bytes(self._line) + end, bytearray()
        if line:
            name, _, value = line.partition(b":")
            if name == b"data":
                self._data.append(value.removeprefix(b" "))
            return None
        data, self._data, self._size = self._data, [], 0
        return b"\n".join(data).decode(errors="replace") if data else None
