"""SubRip (srt), WebVTT, and LRC, the format of lyrics. Rules only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Cue:
    start: float
    """Seconds."""
    end: float
    """Seconds."""
    text: str


def srt(cues: Iterable[Cue], *, first: int = 1) -> str:
    """https://en.wikipedia.org/wiki/SubRip, with the cues numbered from `first`."""
    return "".join(
        f"{number}\n{_time(cue.start, ',')} --> {_time(cue.end, ',')}\n{_line(cue.text)}\n\n"
        for number, cue in enumerate(cues, first)
    )


def vtt(cues: Iterable[Cue], *, header: bool = True) -> str:
    """https://www.w3.org/TR/webvtt1/, which begins with a header."""
    body = "".join(
        f"{_time(cue.start, '.')} --> {_time(cue.end, '.')}\n{_escaped(_line(cue.text))}\n\n" for cue in cues
    )
    return f"WEBVTT\n\n{body}" if header else body


LRC_PAUSE = (
    0.7  # seconds after which a line is taken off the screen; before a shorter pause it stays until the next one
)


def lrc(cues: Iterable[Cue]) -> str:
    """https://en.wikipedia.org/wiki/LRC_(file_format): a line for each cue. A blank one ends it where a pause follows, and at the end."""
    return "".join(f"{line}\n" for line in _lrc_lines(cues))


def _lrc_lines(cues: Iterable[Cue]) -> Iterator[str]:
    end: float | None = None
    for cue in cues:
        if end is not None and cue.start - end >= LRC_PAUSE:
            yield f"[{_lrc_time(end)}]"
        text = " ".join(cue.text.split())
        # A bracket right after the time would be read as another tag.
        yield f"[{_lrc_time(cue.start)}]{' ' if text.startswith('[') else ''}{text}"
        end = cue.end
    if end is not None:
        yield f"[{_lrc_time(end)}]"


def _lrc_time(seconds: float) -> str:
    """Minutes have as many digits as they need: players know no hours."""
    minutes, hundredths = divmod(round(max(0.0, seconds) * 100), 6000)
    return f"{minutes:02}:{hundredths // 100:02}.{hundredths % 100:02}"


def _time(seconds: float, comma: str) -> str:
    # Whole milliseconds first: cutting after a float multiplication puts 1.001 s at 1000 ms.
    milliseconds = round(max(0.0, seconds) * 1000)
    hours, milliseconds = divmod(milliseconds, 3_600_000)
    minutes, milliseconds = divmod(milliseconds, 60_000)
    whole, milliseconds = divmod(milliseconds, 1000)
    return f"{hours:02}:{minutes:02}:{whole:02}{comma}{milliseconds:03}"


def _line(text: str) -> str:
    """One cue's lines. A blank one would end the cue, and an arrow would look like its times."""
    lines = (" ".join(line.split()) for line in text.split("\n"))
    return "\n".join(line for line in lines if line).replace("-->", "->")


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
