"""What is shown of real speech while it is spoken, through a session that hears it at its pace."""

from __future__ import annotations

import asyncio
from websockets.asyncio.client import connect

from speaches.audio.resample import resample
from speaches.engines.base import SAMPLE_RATE
from tests.api.realtime_client import PUSH_TO_TALK, RATE, Client, microphone
from tests.conftest import LONGEST_TEST
from tests.real.recordings import JFK, TWO_CITIES
from tests.real.scoring import score, words_of
from tests.realtime.legality import Legality

TRANSCRIPTION = "conversation.item.input_audio_transcription"
PACE = 1.5  # times as fast as it was spoken, to save time
SENTENCE = TWO_CITIES.sentences[-1]
TURNS = [
    (TWO_CITIES.samples[round(SENTENCE.start * SAMPLE_RATE) :], SENTENCE.text),
    (JFK.samples, JFK.text),
]


async def speak(client: Client) -> None:
    """Say the turns one after the other, as a microphone does, and commit each."""
    for samples, _ in TURNS:
        for audio in microphone(resample(samples, SAMPLE_RATE, RATE)):
            await client.send("input_audio_buffer.append", audio=audio)
            await asyncio.sleep(0.1 / PACE)
        await client.send("input_audio_buffer.commit")


async def converse(url: str) -> Client:
    address = url.replace("http:", "ws:") + "/v1/realtime?intent=transcription&language=en"
    async with connect(address, max_queue=None) as socket:
        client = Client(socket, Legality())
        await client.next()
        await client.send("session.update", session={"type": "transcription", **PUSH_TO_TALK})
        speaking = asyncio.create_task(speak(client))
        async with asyncio.timeout(LONGEST_TEST):
            while len(client.all(f"{TRANSCRIPTION}.completed")) < len(TURNS):
                await client.next()
        await speaking
    return client


def test_words_are_shown_while_they_are_spoken_and_are_those_of_the_transcript(server_url: str) -> None:
    client = asyncio.run(converse(server_url))
    committed = [event["item_id"] for event in client.all("input_audio_buffer.committed")]
    completed = client.all(f"{TRANSCRIPTION}.completed")
    assert [event["item_id"] for event in completed] == committed, "in the order of their items"
    for (_, said), final in zip(TURNS, completed, strict=True):
        of_turn = [event for event in client.events if event.get("item_id") == final["item_id"]]
        deltas = [event for event in of_turn if event["type"] == f"{TRANSCRIPTION}.delta"]
        shown = "".join(event["delta"] for event in deltas)
        assert score(said, shown).rate <= score(said, final["transcript"]).rate + 0.03, shown
        over = next(place for place, event in enumerate(of_turn) if event["type"] == "input_audio_buffer.committed")
        early = "".join(event["delta"] for event in of_turn[:over] if event["type"] == f"{TRANSCRIPTION}.delta")
        assert len(words_of(early)) >= len(words_of(said)) / 2, "most is shown before the end"
