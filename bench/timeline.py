"""A picture of one exchange, from its events."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.talking import RATE, Client

if TYPE_CHECKING:
    from bench.realtime import Turn

ROWS = ("user speaks", "shown while speaking", "transcript", "LLM", "audio received", "audio played")
BASE64_SAMPLE = 8 / 3  # characters of base64 for a sample of 16 bit


def plot(turns: Sequence[Turn], client: Client, path: Path) -> None:
    """The first turn: its speech, its answer, and how the second one interrupts it."""
    from matplotlib import pyplot

    turn, following = turns[:2]
    zero = turn.said.start
    figure, axes = pyplot.subplots(figsize=(10, 3.6), layout="constrained")
    for start, end, row, label in bars(turn, following, client):
        place = len(ROWS) - 1 - ROWS.index(row)
        axes.barh(place, end - start, left=start - zero, height=0.55, color=f"C{ROWS.index(row)}", alpha=0.8)
        axes.text(start - zero + 0.02, place, label, va="center", fontsize=7)
    for at, label in marks(turn, following):
        axes.axvline(at - zero, color="grey", linewidth=0.8)
        axes.annotate(label, (at - zero, len(ROWS) - 0.4), rotation=30, fontsize=7, annotation_clip=False)
    axes.set(xlabel="seconds since the user began to speak", yticks=range(len(ROWS)), yticklabels=ROWS[::-1])
    axes.set_xlim(-0.1, following.started.at - zero + 1)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.savefig(path, dpi=120)


def bars(turn: Turn, following: Turn, client: Client) -> list[tuple[float, float, str, str]]:
    """Start, end, row and label of each."""
    response = turn.audio.event["response_id"]
    found = [(said.start, said.end, "user speaks", f"“{said.sentence.text}”") for said in (turn.said, following.said)]
    found.append((turn.asked, turn.wrote, "LLM", "first sentence"))
    found.append((turn.stopped.at, turn.completed.at + 0.01, "transcript", ""))
    for delta in client.all("conversation.item.input_audio_transcription.delta", turn.started.at, turn.completed.at):
        found.append((delta.at, delta.at + 0.02, "shown while speaking", delta.event["delta"]))
    played = turn.audio.at
    for delta in client.all("response.output_audio.delta", turn.audio.at):
        if delta.event["response_id"] == response:
            found.append((delta.at, delta.at + 0.02, "audio received", ""))
            played = max(played, delta.at) + delta.event["delta"] / BASE64_SAMPLE / RATE
    found.append(
        (turn.audio.at, min(played, following.started.at), "audio played", "the answer, until it is interrupted")
    )
    return found


def marks(turn: Turn, following: Turn) -> list[tuple[float, Any]]:
    return [
        (turn.started.at, "speech_started"),
        (turn.stopped.at, "speech_stopped"),
        (turn.audio.at, "first audio"),
        (following.started.at, "speech_started: cancelled"),
    ]
