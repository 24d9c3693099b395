"""Clients that vanish in every phase, and that send too fast: afterwards nothing is left."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest

from tests.api.conftest import MakeApp
from tests.api.realtime_client import (
    TRANSCRIBED,
    UPGRADE,
    Client,
    Place,
    base64_of,
    talking,
)
from tests.api.serving import Footprint
from tests.chat.llm import DONE, finish
from tests.fakes import PATIENCE, VOICE_ID, FakeEngines

LONG = "This sentence is one of the many that it says. "  # a second of speech


@dataclass
class Scene:
    place: Place
    client: Client
    engines: FakeEngines

    async def asks(self) -> None:
        await self.client.types("Tell me a story.")
        await self.client.send("response.create")


async def at_once(scene: Scene) -> None:
    pass


async def in_the_middle_of_a_message(scene: Scene) -> None:
    await scene.client.socket.send(["{", '"type": '])


async def in_speech(scene: Scene) -> None:
    await scene.client.speaks()
    await scene.client.until("input_audio_buffer.speech_started")


async def while_it_listens(scene: Scene) -> None:
    await scene.client.update(**TRANSCRIBED)
    scene.engines.recogniser.gate.close()
    await scene.client.speaks(1.5)
    await scene.engines.recogniser.gate.reached()


async def while_it_transcribes(scene: Scene) -> None:
    scene.engines.recogniser.gate.close()
    await scene.client.speaks()
    await scene.client.is_quiet()
    await scene.engines.recogniser.gate.reached()
    await scene.client.until("input_audio_buffer.committed")


async def before_the_llm_answers(scene: Scene) -> None:
    scene.place.llm.script = [asyncio.Event()]
    await scene.asks()
    await asyncio.wait_for(scene.place.llm.reached.wait(), PATIENCE)


async def while_the_llm_writes(scene: Scene) -> None:
    scene.place.llm.script = ["Once ", "upon ", asyncio.Event()]
    await scene.client.update(output_modalities=["text"])
    await scene.asks()
    await scene.client.until("response.output_text.delta")


async def while_the_voice_speaks(scene: Scene) -> None:
    scene.engines.voice.gate.close()
    await scene.asks()
    await scene.engines.voice.gate.reached()


async def while_the_answer_is_paced(scene: Scene) -> None:
    await scene.asks()
    await scene.client.until("response.output_audio.delta")


async def while_a_model_loads(scene: Scene) -> None:
    pool = scene.place.server.state.models.pool
    if load := pool._loading.get(VOICE_ID):  # the one that the client before has asked for goes on
        await load
    if pool.is_loaded(VOICE_ID):
        pool.unload(VOICE_ID)
    scene.engines.voice_kind.gate.close()
    await scene.asks()
    await scene.engines.voice_kind.gate.reached()


async def with_megabytes_on_their_way(scene: Scene) -> None:
    await scene.client.send("input_audio_buffer.append", audio=base64_of(bytes(2**23)))


PHASES: list[Callable[[Scene], Awaitable[None]]] = [
    at_once,
    in_the_middle_of_a_message,
    in_speech,
    while_it_listens,
    while_it_transcribes,
    before_the_llm_answers,
    while_the_llm_writes,
    while_the_voice_speaks,
    while_the_answer_is_paced,
    while_a_model_loads,
    with_megabytes_on_their_way,
]


async def vanishes(place: Place, engines: FakeEngines, phase: Callable[[Scene], Awaitable[None]]) -> None:
    """A client comes to a phase and is gone, without a word."""
    place.llm.script, place.llm.reached, place.llm.left = [LONG * 3, asyncio.Event()], asyncio.Event(), asyncio.Event()
    gates = (engines.recogniser.gate, engines.voice.gate, engines.voice_kind.gate)
    for gate in gates:
        gate.forget()
    async with place.client() as client:
        await phase(Scene(place, client, engines))
        client.socket.transport.abort()
    for gate in gates:
        gate.open()
    if place.llm.reached.is_set():
        await asyncio.wait_for(place.llm.left.wait(), PATIENCE)
    await place.is_empty()


@pytest.mark.parametrize("phase", PHASES, ids=lambda phase: phase.__name__)
async def test_clients_that_vanish_leave_nothing(
    make_app: MakeApp, engines: FakeEngines, phase: Callable[[Scene], Awaitable[None]]
) -> None:
    async with talking(make_app, stt_model_ttl=-1, tts_model_ttl=-1) as place:
        await vanishes(place, engines, phase)
        before = await Footprint.before()
        for _ in range(10):
            await vanishes(place, engines, phase)
        await before.is_all(sockets=2)  # of the LLM's client, which keeps some
        place.llm.script = ["Still here.", finish(), DONE]
        async with place.client() as client:
            await Scene(place, client, engines).asks()
            assert (await client.until("response.done"))["response"]["status"] == "completed"
        assert place.server.log.problems() == []


async def test_clients_that_vanish_during_the_handshake(make_app: MakeApp) -> None:
    async with talking(make_app) as place:
        for number in range(20):
            async with place.server.connect() as raw:
                await raw.write(UPGRADE.format(number).encode())
                if number % 2:
                    assert "101" in await raw.head()  # and leave before session.created is read
            place.request_ids.append(str(number))
        await place.is_empty()
        assert place.server.log.problems() == []


async def test_all_vanish_at_once(make_app: MakeApp, engines: FakeEngines) -> None:
    engines.voice.gate.close()
    async with talking(make_app, LONG * 2, asyncio.Event()) as place:
        async with contextlib.AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(place.client()) for _ in range(30)]
            for client in clients:
                await client.send("response.create")
            await engines.voice.gate.reached()
            assert place.server.state.sessions == 30
            for client in clients:
                client.socket.transport.abort()
        engines.voice.gate.open()
        await place.is_empty()
        assert place.server.log.problems() == []


async def test_audio_that_comes_ten_times_too_fast_is_heard_in_order(make_app: MakeApp, engines: FakeEngines) -> None:
    """A recording of a minute, at once: thirty turns."""
    engines.recogniser.says = lambda window: f"{len(window.samples) / 16_000:.1f}"
    seconds = [0.5 + number / 20 for number in range(30)]
    async with talking(make_app) as place, place.client("/v1/realtime?intent=transcription") as client:
        for one in seconds:
            await client.speaks(one)
            await client.is_quiet(0.6)
        await client.until("conversation.item.input_audio_transcription.completed", times=30)
        starts = [event["audio_start_ms"] for event in client.all("input_audio_buffer.speech_started")]
        assert starts == sorted(starts) and len(starts) == 30
        committed = [event["item_id"] for event in client.all("input_audio_buffer.committed")]
        done = client.all("conversation.item.input_audio_transcription.completed")
        heard = {event["item_id"]: float(event["transcript"]) for event in done}
        lengths = [heard[item_id] for item_id in committed]
        assert lengths == sorted(lengths)
