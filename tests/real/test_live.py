"""The words that are shown while the user speaks are those of the final transcript."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from websockets.asyncio.client import connect

from speaches.audio.resample import resample
from speaches.engines.base import SAMPLE_RATE
from tests.api.realtime_client import CHUNK, RATE, Client, microphone
from tests.real import weights
from tests.real.recordings import TWO_CITIES
from tests.real.scoring import score, words_of
from tests.realtime.legality import Legality

if TYPE_CHECKING:
    from speaches.engines.base import Samples

DELTA = "conversation.item.input_audio_transcription.delta"
COMPLETED = "conversation.item.input_audio_transcription.completed"
SENTENCES = TWO_CITIES.sentences[8:]
"""Sixteen seconds: longer than what is heard again and again, so that the audio is cut on the way."""


@dataclass(frozen=True)
class Shown:
    while_speaking: str
    in_all: str
    transcript: str


async def dictate(server_url: str, model: str, samples: Samples) -> Shown:
    """One turn of push-to-talk, as fast as it is spoken."""
    url = f"{server_url.replace('http:', 'ws:')}/v1/realtime?intent=transcription&language=en&model={model}"
    async with connect(url, max_size=2**18, compression=None) as socket:
        client = Client(socket, Legality())
        await client.next()
        await client.send(
            "session.update", session={"type": "transcription", "audio": {"input": {"turn_detection": None}}}
        )
        await client.until("session.updated")
        for audio in microphone(resample(samples, SAMPLE_RATE, RATE)):
            await client.send("input_audio_buffer.append", audio=audio)
            await asyncio.sleep(CHUNK / RATE)
        await client.send("input_audio_buffer.commit")
        await client.until("input_audio_buffer.committed")
        shown = "".join(event["delta"] for event in client.all(DELTA))
        transcript = (await client.until(COMPLETED))["transcript"]
        return Shown(shown, "".join(event["delta"] for event in client.all(DELTA)), transcript)


async def test_the_words_shown_while_somebody_speaks_are_those_of_the_transcript(server_url: str) -> None:
    samples = TWO_CITIES.samples[int(SENTENCES[0].start * SAMPLE_RATE) :]
    said = " ".join(sentence.text for sentence in SENTENCES)
    shares = []
    for heard in await asyncio.gather(
        *(dictate(server_url, model, samples) for model in (weights.BASE, weights.TINY_EN))
    ):
        # The aim is 3 points over many turns; of one turn of 34 words that is a single word, and which one depends on the steps.
        assert score(said, heard.in_all).rate <= score(said, heard.transcript).rate + 0.15, heard
        shown, words = words_of(heard.while_speaking), words_of(heard.transcript)
        shares.append(len(shown) / len(words))
        assert score(" ".join(words[: len(shown)]), heard.while_speaking).rate <= 0.15, heard
    assert max(shares) >= 0.5, (
        "a machine that is busy with other things listens more rarely, with the larger model first"
    )
