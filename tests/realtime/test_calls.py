"""Sessions over WebRTC, with aiortc as the client, over loopback."""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
import threading
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import aioice.ice
import numpy as np
import pytest
from pydantic import SecretStr

from speaches.app import create_app
from speaches.realtime import tracks
from speaches.realtime.webrtc import MOST_BUFFERED, MOST_UNREAD, OVERHEAD, Events
from speaches.settings import Settings
from tests.api.serving import Footprint, Serving, serving
from tests.chat import llm
from tests.chat.llm import SmallLlm
from tests.fakes import PATIENCE, FakeEngines
from tests.realtime.caller import RATE, Caller, calling, posted
from tests.recordings import tone
from tests.worker.helpers import eventually_async

if TYPE_CHECKING:
    from speaches.engines.base import Samples

SHORT, SHORT_SECONDS = "Hello there my friend.", 0.4  # FakeVoice takes a tenth of a second for a word
LONG = " ".join(["This sentence has eight words that are spoken."] * 20)
QUICK = {"type": "realtime", "audio": {"input": {"turn_detection": {"type": "server_vad", "silence_duration_ms": 200}}}}
ORDER = [
    "session.created",
    "input_audio_buffer.speech_started",
    "input_audio_buffer.speech_stopped",
    "input_audio_buffer.committed",
    "response.created",
    "output_audio_buffer.started",
    "response.done",
    "output_audio_buffer.stopped",
]


@pytest.fixture(autouse=True)
def _no_silence_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where this process stalls, silence would stand in for what the client says in the middle of a word, and end its turn."""
    monkeypatch.setattr(tracks, "PATIENCE", PATIENCE)


@contextlib.asynccontextmanager
async def talking(settings: Settings, says: str = SHORT, **changes: Any) -> AsyncIterator[Serving]:
    """A server whose LLM says this."""
    script: list[llm.Step] = [*llm.written(says, 8), llm.finish(), llm.usage(), llm.DONE]
    engines = FakeEngines()
    async with llm.listening(SmallLlm(script=script)) as url:
        changes = {"chat_completion_base_url": url, **changes}
        async with serving(create_app(engines.settings(settings, **changes), kinds=engines.kinds)) as server:
            yield server
            # aioice may ask for consent, and aiortc send, in the moment in which its connection is closed.
            theirs = re.compile("query_consent|aiortc.*ConnectionError", re.DOTALL)
            assert [problem for problem in server.log.problems() if not theirs.search(problem)] == []


async def ended() -> None:
    """Wait until no call is under way."""
    if calls := [task for task in asyncio.all_tasks() if task.get_name().startswith("rtc_")]:
        await asyncio.wait_for(asyncio.wait(calls), PATIENCE)


def types(caller: Caller) -> list[str]:
    return [event["type"] for event in caller.events]


def pitch(samples: Samples) -> float:
    """Hz of the strongest tone."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * RATE / len(samples))


# --- Conversations ---


async def test_a_conversation_is_heard_and_answered_over_tracks(settings: Settings) -> None:
    async with talking(settings) as server, calling(server, QUICK) as caller:
        caller.say(tone(300, 0.4, RATE))
        await caller.event("output_audio_buffer.stopped")
        await caller.hears(loud=False)

    assert types(caller)[0] == "session.created"
    assert [name for name in types(caller) if name in ORDER] == ORDER
    assert "response.output_audio.delta" not in types(caller)
    stopped = next(event for event in caller.events if event["type"] == "input_audio_buffer.speech_stopped")
    assert 300 <= stopped["audio_end_ms"] <= 900
    loud = np.concatenate([frame for frame in caller.heard if np.abs(frame).max() > 0.05])
    assert len(loud) / RATE == pytest.approx(SHORT_SECONDS, abs=0.06)
    assert pitch(loud[RATE // 10 : RATE * 3 // 10]) == pytest.approx(440, abs=5)


async def test_speech_silences_the_answer_and_forgets_what_was_not_heard(settings: Settings) -> None:
    async with talking(settings, LONG) as server, calling(server, QUICK) as caller:
        caller.say(tone(300, 0.3, RATE))
        await caller.hears(loud=True)
        caller.say(tone(300, 5.0, RATE))  # so long that no other answer follows
        await caller.event("output_audio_buffer.cleared")
        cleared = len(caller.heard)
        truncated = await caller.event("conversation.item.truncated")
        await caller.hears(loud=False)
        silent = len(caller.heard)

        caller.send("conversation.item.retrieve", item_id=truncated["item_id"])
        item = (await caller.event("conversation.item.retrieved"))["item"]

    assert silent - cleared < 100, "frames on the way and in the jitter buffer, not the five seconds that were queued"
    assert 0 < truncated["audio_end_ms"] < len(LONG.split()) * 100
    text = item["content"][0]["transcript"]
    assert LONG.startswith(text)
    assert len(text.split()) <= truncated["audio_end_ms"] / 100 + 1


async def test_a_client_can_cut_an_answer_off(settings: Settings) -> None:
    async with talking(settings, LONG) as server, calling(server, QUICK) as caller:
        caller.send_when_open("response.create")
        started = await caller.event("output_audio_buffer.started")
        caller.send("output_audio_buffer.clear")
        cleared = await caller.event("output_audio_buffer.cleared")
        assert cleared["response_id"] == started["response_id"]
        await caller.event("response.done")
        assert "output_audio_buffer.stopped" not in types(caller)


async def test_a_cancelled_answer_is_still_played_as_far_as_it_came(settings: Settings) -> None:
    async with talking(settings, LONG) as server, calling(server, QUICK) as caller:
        caller.send_when_open("response.create")
        await caller.hears(loud=True)
        caller.send("response.cancel")
        done = await caller.event("response.done")
        assert done["response"]["status"] == "cancelled"
        assert "output_audio_buffer.cleared" not in types(caller)
        caller.send("output_audio_buffer.clear")
        await caller.event("output_audio_buffer.cleared")
        await caller.hears(loud=False)


async def test_a_client_that_only_sends_is_answered_in_events(settings: Settings) -> None:
    async with talking(settings) as server:
        caller = Caller()
        caller.peer.getTransceivers()[0].direction = "sendonly"
        await caller.connect((await posted(server, await caller.offer(), QUICK)).text)
        caller.say(tone(300, 0.3, RATE))
        await caller.event("output_audio_buffer.stopped")
        assert caller.heard == []
        await caller.close()
        await ended()


async def test_a_client_without_a_data_channel_is_heard_and_answered(settings: Settings) -> None:
    async with talking(settings) as server:
        caller = Caller(has_channel=False)
        await caller.connect((await posted(server, await caller.offer(), QUICK)).text)
        caller.say(tone(300, 0.3, RATE))
        await caller.hears(loud=True)
        await caller.close()
        await ended()


async def test_clients_of_the_beta_are_answered_in_its_words(settings: Settings) -> None:
    async with talking(settings) as server, calling(server, path="/v1/realtime?model=gpt-4o-realtime") as caller:
        created = await caller.event("session.created")
        assert set(created["session"]["modalities"]) == {"text", "audio"}
        caller.send("response.create")
        await caller.event("response.audio_transcript.done")


# --- The end ---


async def test_when_a_client_vanishes_nothing_of_it_is_left(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aioice.ice, "CONSENT_INTERVAL", 0.1)
    # Each is half a second without an answer, in which a busy machine may well stall.
    monkeypatch.setattr(aioice.ice, "CONSENT_FAILURES", 4)
    async with talking(settings, LONG) as server:
        async with calling(server, QUICK) as caller:  # so that there are threads, models and connections
            caller.say(tone(300, 0.3, RATE))
            await caller.hears(loud=True)
        await ended()
        tasks, before = asyncio.all_tasks(), Footprint.now()

        async with calling(server, QUICK) as caller:
            caller.say(tone(300, 0.3, RATE))
            await caller.hears(loud=True)
            assert server.state.sessions == 1
            assert server.users() > 0
            caller.vanish()
            await ended()
        assert server.state.sessions == 0
        assert server.users() == 0

        def left() -> list[object]:
            # Connections with the LLM and of the client's own request come and go.
            found: list[object] = [t for t in asyncio.all_tasks() - tasks if not re.search("aiohttp|uvicorn", repr(t))]
            return found + [thread for thread in threading.enumerate() if "decoder" in thread.name]

        await eventually_async(lambda: left() == [], "nothing to be left")
        await eventually_async(lambda: Footprint.now().sockets <= before.sockets, "its sockets to be closed")
        assert Footprint.now().files <= before.files


async def test_a_client_that_closes_its_data_channel_has_left(settings: Settings) -> None:
    async with talking(settings) as server, calling(server) as caller:
        await caller.event("session.created")
        caller.channel.close()
        await ended()
        assert server.state.sessions == 0


async def test_a_call_can_be_hung_up(settings: Settings) -> None:
    async with talking(settings) as server, server.client() as http:
        caller = Caller()
        answer = await posted(server, await caller.offer())
        place = answer.headers["location"]
        assert re.fullmatch(r"/v1/realtime/calls/rtc_[0-9a-f]{24}", place)
        assert answer.headers["content-type"] == "application/sdp"
        await caller.connect(answer.text)
        await caller.event("session.created")

        left = asyncio.Event()
        caller.channel.on("close", left.set)
        assert (await http.post(f"{place}/hangup")).status_code == 200
        await asyncio.wait_for(left.wait(), PATIENCE)
        await ended()
        assert server.state.sessions == 0
        again = await http.post(f"{place}/hangup")
        assert (again.status_code, again.json()["error"]["code"]) == (404, "call_not_found")
        await caller.close()


async def test_a_call_that_never_connects_can_be_hung_up(settings: Settings) -> None:
    async with talking(settings) as server, server.client() as http:
        caller = Caller()
        offer = await caller.offer()
        await caller.close()
        await http.get("/health")
        before = Footprint.now()
        answer = await posted(server, offer)
        await http.post(f"{answer.headers['location']}/hangup")
        await ended()
        assert server.state.sessions == 0
        await eventually_async(lambda: Footprint.now().sockets <= before.sockets, "its sockets to be closed")


async def test_the_longest_session_is_said_to_be_over(settings: Settings) -> None:
    async with talking(settings, realtime_session_seconds=0.5) as server, calling(server) as caller:
        error = await caller.event("error")
        assert error["error"]["code"] == "session_expired"
        await ended()
        assert server.state.sessions == 0


async def test_a_server_that_stops_ends_its_calls(settings: Settings) -> None:
    async with talking(settings) as server, calling(server) as caller:
        await caller.event("session.created")
        await server.state.calls.close()
        assert server.state.sessions == 0


# --- Who is let in, and with what ---


async def test_a_session_is_made_of_url_form_and_secret(settings: Settings) -> None:
    async with (
        talking(settings, api_key=SecretStr("master")) as server,
        server.client(headers={"authorization": "Bearer master"}) as http,
    ):
        body = {"session": {"type": "realtime", "instructions": "Speak like a pirate."}}
        secret = (await http.post("/v1/realtime/client_secrets", json=body)).json()["value"]
        session = {"type": "realtime", "audio": {"output": {"voice": "max"}}}
        path = "/v1/realtime/calls?model=gpt-realtime"
        async with calling(server, session, path, authorization=f"Bearer {secret}") as caller:
            created = (await caller.event("session.created"))["session"]
        assert created["instructions"] == "Speak like a pirate."
        assert created["audio"]["output"]["voice"] == "max"
        assert created["model"] == "gpt-realtime"

        refused = await posted(server, "v=0\r\n", authorization="Bearer ek_false")
        assert refused.status_code == 401
        await ended()


async def test_there_are_no_more_sessions_than_allowed(settings: Settings) -> None:
    async with talking(settings, realtime_max_sessions=1) as server, calling(server) as caller:
        await caller.event("session.created")
        second = Caller()
        refused = await posted(server, await second.offer())
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "5")
        await second.close()


async def test_an_offer_that_cannot_be_taken_leaves_nothing(settings: Settings) -> None:
    async with talking(settings) as server:
        caller = Caller()
        offer = await caller.offer()
        await caller.close()
        tasks = asyncio.all_tasks()
        for bad in [
            "",
            "hello",
            "v=0\r\n",
            "v=0\r\nm=audio\r\na=fingerprint:\r\n",
            "v=0\r\nm=audio x y z\r\na=rtpmap:oops\r\na=fingerprint:\r\n",
            offer + "m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\n",
            offer[offer.index("m=application") :],
            re.sub("a=ice-(ufrag|pwd).*\r\n", "", offer),
            re.sub("a=fingerprint.*\r\n", "", offer),
            re.sub("a=rtpmap.*\r\n", "", re.sub("SAVPF.*\r\n", "SAVPF 96\r\n", offer)),
            offer + "a=x\r\n" * 20_000,
        ]:
            answer = await posted(server, bad)
            assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_sdp"), bad[-200:]
        assert (await posted(server, "v=0\r\n" + "a=x\r\n" * 400_000)).status_code == 413
        async with server.client() as http:
            for content_type in ("application/json", "multipart/form-data", "multipart/form-data; boundary=x"):
                wrong = await http.post("/v1/realtime/calls", content=offer, headers={"content-type": content_type})
                assert wrong.status_code == 400, content_type
            no_sdp = await http.post("/v1/realtime/calls", files={"session": (None, "{}")})
            assert no_sdp.json()["error"]["param"] == "sdp"
        assert (await posted(server, offer, {"type": "realtime", "tools": "none"})).status_code == 400
        assert server.state.sessions == 0
        assert not [task for task in asyncio.all_tasks() - tasks if "aiortc" in repr(task) or "aioice" in repr(task)]


async def test_a_server_without_aiortc_says_what_to_install(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "speaches.realtime.webrtc", None)
    engines = FakeEngines()
    async with serving(create_app(engines.settings(settings), kinds=engines.kinds)) as server:
        answer = await posted(server, "v=0\r\n")
    assert answer.status_code == 503
    assert "pip install 'speaches[webrtc]'" in answer.json()["error"]["message"]


# --- The data channel ---


@dataclass
class Channel:
    """A data channel that keeps what it is to send until the test lets it."""

    label: str = "oai-events"
    readyState: str = "open"
    bufferedAmount: int = 0
    bufferedAmountLowThreshold: int = 0
    listeners: dict[str, Any] = field(default_factory=dict)
    sent: list[str] = field(default_factory=list)

    def on(self, event: str, listener: Any) -> None:
        self.listeners[event] = listener

    def send(self, text: str) -> None:
        self.sent.append(text)
        self.bufferedAmount += len(text)

    def drain(self) -> None:
        self.bufferedAmount = 0
        self.listeners["bufferedamountlow"]()

    def close(self) -> None:
        self.readyState = "closed"


async def waits(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """The work, which can't be done yet."""
    task = asyncio.create_task(work)
    for _ in range(3):
        await asyncio.sleep(0)
    assert not task.done()
    return task


async def test_events_wait_for_the_channel_and_for_one_another() -> None:
    events, channel = Events(), Channel()
    first = await waits(events.send("a" * (MOST_BUFFERED + 1)))
    events.open(cast(Any, channel))
    await first
    second = await waits(events.send("b"))
    channel.drain()
    await second
    last = await waits(events.sent())
    channel.drain()
    await last
    assert channel.sent[1:] == ["b"]


async def test_an_event_does_not_wait_for_a_client_that_has_closed_its_channel() -> None:
    events, channel = Events(), Channel()
    events.open(cast(Any, channel))
    await events.send("a" * (MOST_BUFFERED + 1))
    second = await waits(events.send("b"))
    channel.close()
    channel.listeners["close"]()
    with pytest.raises(ConnectionError):
        await asyncio.wait_for(second, PATIENCE)
    assert await events.receive() is None


async def test_only_the_first_channel_of_the_right_name_counts() -> None:
    events, other, mine, second = Events(), Channel("chat"), Channel(), Channel()
    for channel in (other, mine, second):
        events.open(cast(Any, channel))
    await events.send("a")
    assert (other.sent, mine.sent, second.sent) == ([], ["a"], [])
    assert (other.readyState, second.readyState) == ("closed", "closed")


async def test_who_sends_more_than_can_be_read_is_hung_up() -> None:
    events, channel = Events(), Channel()
    events.open(cast(Any, channel))
    half = MOST_UNREAD // 2 - OVERHEAD
    for _ in range(3):
        channel.listeners["message"]("x" * half)
    assert [len(await events.receive() or "") for _ in range(3)] == [half, half, 0]
    for _ in range(MOST_UNREAD // OVERHEAD + 1):  # none of them has a byte
        channel.listeners["message"]("")
    while await events.receive() is not None:
        pass


async def test_an_event_that_is_too_long_for_the_client_ends_the_call() -> None:
    class Short(Channel):
        def send(self, text: str) -> None:
            raise ValueError("the remote party only supports messages up to 65536 bytes")

    events = Events()
    events.open(cast(Any, Short()))
    with pytest.raises(ConnectionError, match="65536"):
        await events.send("x")
