"""openai-agents: its realtime runner with text, a tool, speech and barge-in. Any `error` event is a failure."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from agents import function_tool, set_tracing_disabled
from agents.realtime import RealtimeAgent, RealtimeRunner, RealtimeSession
from checks import (
    FAREWELL,
    FORECAST,
    GREETING,
    KEY,
    PATIENCE,
    SPOKEN,
    STORY_BEGINS,
    WS_URL,
    audible,
    checked,
    chunks,
    finish,
    quiet,
    recorded,
    same,
    spoken,
    words,
)

set_tracing_disabled(True)


@function_tool
def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"nice in {city}"


class Conversation:
    """A session, and all that it tells."""

    def __init__(self, session: RealtimeSession) -> None:
        self.session = session
        self.events: list[Any] = []
        self.wire: list[dict[str, Any]] = []
        """The server's events as they came."""
        self.history: list[Any] = []
        self._changed = asyncio.Condition()

    async def listen(self) -> None:
        async for event in self.session:
            self.events.append(event)
            if event.type == "history_updated":
                self.history = event.history
            elif event.type == "history_added":
                self.history = [*self.history, event.item]
            elif event.type == "raw_model_event" and event.data.type == "raw_server_event":
                self.wire.append(event.data.data)
            async with self._changed:
                self._changed.notify_all()

    async def until(self, state: Callable[[], Any]) -> Any:
        async with asyncio.timeout(PATIENCE), self._changed:
            await self._changed.wait_for(lambda: state() or self.errors())
        assert not self.errors(), self.errors()
        return state()

    def errors(self) -> list[Any]:
        return [event.error for event in self.events if event.type == "error"]

    def told(self, event_type: str) -> list[Any]:
        return [event for event in self.events if event.type == event_type]

    def came(self, event_type: str) -> list[dict[str, Any]]:
        return [event for event in self.wire if event["type"] == event_type]

    def said(self, role: str) -> list[str]:
        """What the history has of one side."""
        messages = [item for item in self.history if item.type == "message" and item.role == role]
        parts = [part for message in messages for part in message.content]
        return [getattr(part, "transcript", None) or getattr(part, "text", None) or "" for part in parts]

    def speech(self) -> bytes:
        return b"".join(event.audio.data for event in self.told("audio"))

    async def say(self, *pcm: bytes) -> None:
        """In real time."""
        for chunk in chunks(b"".join(pcm)):
            await self.session.send_audio(chunk)
            await asyncio.sleep(0.1)

    async def answered(self, answer: str) -> None:
        await self.until(lambda: any(words(text) == words(answer) for text in self.said("assistant")))
        await self.until(lambda: len(self.told("agent_end")) == len(self.came("response.created")))


async def converse(talk: Any, **settings: Any) -> None:
    agent = RealtimeAgent(name="Attendant", instructions="Be brief.", tools=[get_weather])
    runner = RealtimeRunner(agent)
    config: Any = {
        "url": f"{WS_URL}/v1/realtime?model=gpt-realtime",
        "api_key": KEY,
        "initial_model_settings": settings,
    }
    async with await runner.run(model_config=config) as session:
        conversation = Conversation(session)
        listening = asyncio.create_task(conversation.listen())
        try:
            await talk(conversation)
            assert not conversation.errors(), conversation.errors()
        finally:
            listening.cancel()


async def types(conversation: Conversation) -> None:
    await conversation.session.send_message("Hello.")
    await conversation.answered(GREETING)
    spoken(conversation.speech(), GREETING)
    assert conversation.told("audio_end")


async def reads(conversation: Conversation) -> None:
    await conversation.session.send_message(SPOKEN["meeting"])
    await conversation.answered(FAREWELL)
    assert not conversation.speech()


async def uses_a_tool(conversation: Conversation) -> None:
    await conversation.session.send_message(SPOKEN["weather"])
    await conversation.answered(FORECAST)
    (tool,) = conversation.told("tool_end")
    assert tool.output == "nice in London"
    audible(conversation.speech(), FORECAST)


async def speaks(conversation: Conversation) -> None:
    await conversation.say(quiet(0.5), recorded("hello"), quiet(1.5))
    await conversation.answered(GREETING)
    await conversation.until(lambda: any(conversation.said("user")))
    same(conversation.said("user")[0], SPOKEN["hello"])
    spoken(conversation.speech(), GREETING)


async def asks_for_the_weather_aloud(conversation: Conversation) -> None:
    await conversation.say(quiet(0.5), recorded("weather"), quiet(1.5))
    await conversation.answered(FORECAST)
    same(conversation.said("user")[0], SPOKEN["weather"])


async def interrupts(conversation: Conversation) -> None:
    await conversation.say(quiet(0.5), recorded("story"), quiet(1.5))
    await conversation.until(lambda: conversation.told("audio"))
    await conversation.say(quiet(0.7), recorded("meeting"), quiet(1.5))
    await conversation.until(lambda: conversation.told("audio_interrupted"))
    await conversation.answered(FAREWELL)
    (cut,) = conversation.came("conversation.item.truncated")
    first, *_ = conversation.came("response.done")
    assert first["response"]["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
    assert 500 < cut["audio_end_ms"] < 3000, cut
    same(conversation.said("user")[-1], SPOKEN["meeting"])
    kept = [text for text in conversation.said("assistant") if text and words(text) != words(FAREWELL)]
    assert not kept or STORY_BEGINS.startswith(kept[0].strip()), kept


async def interrupts_by_hand(conversation: Conversation) -> None:
    """`session.interrupt()` leaves cancelling to the server where that may interrupt: it truncates, and that ends the response."""
    await conversation.session.send_message(SPOKEN["story"])
    await conversation.until(lambda: conversation.told("audio"))
    await asyncio.sleep(0.5)
    await conversation.session.interrupt()
    await conversation.until(lambda: conversation.came("conversation.item.truncated"))
    await conversation.until(lambda: conversation.came("response.done"))
    (done,) = conversation.came("response.done")
    assert done["response"]["status_details"] == {"type": "cancelled", "reason": "client_cancelled"}
    await conversation.session.send_message("Hello again.")
    await conversation.answered(GREETING)


for what, talk, settings in [
    ("text in, speech out", types, {}),
    ("text in, text out", reads, {"modalities": ["text"]}),
    ("a tool runs and is answered", uses_a_tool, {}),
    ("speech in, its own defaults (semantic VAD)", speaks, {}),
    ("speech in, server VAD", speaks, {"turn_detection": {"type": "server_vad", "silence_duration_ms": 500}}),
    ("speech in, a tool, speech out", asks_for_the_weather_aloud, {}),
    ("barge-in by speech, truncated", interrupts, {}),
    ("barge-in by hand", interrupts_by_hand, {}),
]:
    with checked(what):
        asyncio.run(converse(talk, **settings))
finish()
