"""Whatever clients send, users say and models answer, in whatever order: the rules hold, and nothing raises."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from speaches.engines.base import SpokenWord, Word
from speaches.errors import Unavailable
from speaches.realtime.dialects import Beta
from speaches.realtime.work import Listen, MeasureEnding, Respond, StopPlaying, StopResponding, Transcribe
from tests.realtime.talking import Talk

FAILURE = Unavailable("There is no model.")
ITEM_IDS = st.sampled_from([*(f"item_{number}" for number in range(1, 8)), "mine", "root", "", "nobody"])
RUBBISH = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
TURN_DETECTION = st.sampled_from(
    [
        None,
        {"type": "server_vad", "silence_duration_ms": 200},
        {"type": "server_vad", "interrupt_response": False},
        {"type": "server_vad", "create_response": False, "idle_timeout_ms": 500},
        {"type": "server_vad", "idle_timeout_ms": 300},
        {"type": "semantic_vad", "eagerness": "high"},
    ]
)
SESSIONS = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["realtime", "realtime", "realtime", "transcription"]),
        "output_modalities": st.sampled_from([["audio"], ["text"], ["text", "audio"], None]),
        "audio": st.fixed_dictionaries(
            {},
            optional={
                "input": st.fixed_dictionaries(
                    {},
                    optional={
                        "turn_detection": TURN_DETECTION,
                        "transcription": st.sampled_from([None, {"model": "whisper-1"}, {"language": "en"}]),
                    },
                )
            },
        ),
        "tools": st.just([{"type": "function", "name": "look"}]),
        "truncation": st.sampled_from(["auto", "disabled", {"type": "retention_ratio", "retention_ratio": 0.5}]),
    },
)
CONTENT = st.sampled_from(
    [
        {"type": "input_text", "text": "Hello."},
        {"type": "input_audio", "audio": "AAAA"},
        {"type": "input_audio", "transcript": "Hello."},
        {"type": "input_image", "image_url": "data:image/png;base64,AAAA"},
        {"type": "output_text", "text": "Hi."},
    ]
)
ITEMS = st.one_of(
    st.fixed_dictionaries(
        {
            "type": st.just("message"),
            "role": st.sampled_from(["user", "user", "user", "assistant", "system"]),
            "content": st.lists(CONTENT, max_size=2),
        },
        optional={"id": ITEM_IDS},
    ),
    st.just({"type": "function_call", "name": "look", "call_id": "call_1", "arguments": "{}"}),
    st.just({"type": "function_call_output", "call_id": "call_1", "output": "nothing"}),
    st.fixed_dictionaries({"type": st.just("item_reference"), "id": ITEM_IDS}),
    RUBBISH,
)
RESPONSES = st.one_of(
    st.none(),
    st.fixed_dictionaries(
        {},
        optional={
            "conversation": st.sampled_from(["auto", "none", None]),
            "input": st.none() | st.lists(ITEMS, max_size=2),
            "metadata": st.sampled_from([None, {"a": "b"}]),
            "output_modalities": st.sampled_from([None, ["text"], ["audio"]]),
            "instructions": st.sampled_from([None, "", "Be brief."]),
        },
    ),
    RUBBISH,
)
CLIENT_EVENTS = st.one_of(
    st.fixed_dictionaries({"type": st.just("session.update"), "session": SESSIONS}),
    st.fixed_dictionaries({"type": st.just("session.update"), "session": SESSIONS | RUBBISH}),
    st.sampled_from(
        [
            {"type": "input_audio_buffer.commit"},
            {"type": "input_audio_buffer.clear"},
            {"type": "output_audio_buffer.clear"},
            {"type": "response.cancel"},
            {"type": "response.create"},
            {"type": "nonsense"},
        ]
    ),
    st.fixed_dictionaries({"type": st.just("response.create"), "response": RESPONSES}),
    st.fixed_dictionaries(
        {"type": st.just("conversation.item.create"), "item": ITEMS}, optional={"previous_item_id": ITEM_IDS}
    ),
    st.fixed_dictionaries(
        {
            "type": st.sampled_from(["conversation.item.delete", "conversation.item.retrieve"]),
            "item_id": ITEM_IDS | RUBBISH,
        }
    ),
    st.fixed_dictionaries(
        {
            "type": st.just("conversation.item.truncate"),
            "item_id": ITEM_IDS,
            "content_index": st.sampled_from([0, 0, 0, 1, -1]) | RUBBISH,
            "audio_end_ms": st.sampled_from([0, 100, 250, 10_000]) | RUBBISH,
        }
    ),
    st.fixed_dictionaries(
        {"type": st.just("response.cancel"), "response_id": st.sampled_from(["resp_1", "resp_2", None])}
    ),
    RUBBISH,
)
COMMON = [
    *[("turn", text) for text in ("What is it?", "and then", "", "Stop.")],
    *[("speech", milliseconds) for milliseconds in (64, 320, 1000)],
    *[("quiet", milliseconds) for milliseconds in (64, 320, 1000, 2000)],
    *[("unjudged", milliseconds) for milliseconds in (1, 100, 700)],
    *[("heard", text) for text in ("Stop.", "and", "", "a\ud800b", "x" * 300, FAILURE)],
    *[("hypothesis", text) for text in ("", "one", "one two", "one two three", "two")],
    *[("ending", likelihood) for likelihood in (0.0, 0.5, 1.0)],
    *[("text", delta) for delta in ("Hello ", "", "\x00\ud83d", "y" * 70_000)],
    *[("speak", text) for text in ("Hello you. ", "", " And so on")],
    *[("audio", samples) for samples in (0, 240, 4800, 4800)],
    *[("call", key) for key in "01"],
    *[("finish", reason) for reason in ("stop", "length", "content_filter", None)],
    *[("fail", None), ("played", 0), ("played", 2400), ("played", 10**9)],
    *[("client", {"type": "response.create", "response": beside}) for beside in ({}, {}, {"conversation": "none"})],
    *[("client", {"type": f"response.{verb}"}) for verb in ("create", "cancel")],
    *[("client", {"type": f"input_audio_buffer.{verb}"}) for verb in ("commit", "clear")],
]
"""What happens most of the time."""
STEPS = st.one_of(*[st.sampled_from(COMMON)] * 4, st.tuples(st.just("client"), CLIENT_EVENTS))


class Run:
    """A session in a world that does things in any order, twice, and too late."""

    def __init__(self, *, webrtc: bool) -> None:
        self.talk = Talk(webrtc=webrtc, has_ending_model=True)
        self.started: dict[type, list[Any]] = {}
        self.stopped: set[str] = set()
        self.dialect = Beta("realtime")
        self.count = 0

    def step(self, name: str, value: Any) -> None:
        self.count += 1
        getattr(self, name)(value)
        self.collect()

    def collect(self) -> None:
        for event in self.talk.took():
            for told in self.dialect.to_client(event):  # whatever is sent can be said in the old words too
                assert told["event_id"] == event["event_id"]
        for work in self.talk.work:
            if isinstance(work, StopResponding):
                self.stopped.add(work.response_id)
            self.started.setdefault(type(work), []).append(work)
        self.talk.work = []

    def some(self, kind: type) -> Any:
        """Work of a kind, that was asked for at any time."""
        works = self.started.get(kind, [])
        return works[-1 - self.count % min(2, len(works))] if works else None

    def answer(self, method: str, *arguments: Any) -> None:
        if work := self.some(Respond):
            getattr(self.talk.session, method)(work.response_id, *arguments)

    def guesses(self, event: Any) -> bool:
        """Whether a client names an item as we shall name one later: it can't, outside of a test."""
        item = event.get("item") if isinstance(event, dict) else None
        name = str(item.get("id")) if isinstance(item, dict) else ""
        legality = self.talk.legality
        return name.startswith("item_") and name not in legality.items and name != legality.speaking

    # --- What may happen ---

    def client(self, event: Any) -> None:
        if self.guesses(event):
            return
        audio = {
            f"{at}.content[{place}].audio": np.zeros(1600, np.float32)
            for at in ("item", "response.input[0]")
            for place in (0, 1)
        }
        has_id = isinstance(event, dict) and "event_id" not in event
        self.talk.session.receive({**event, "event_id": f"mine_{self.count}"} if has_id else event, audio)
        for sent in self.talk.took():
            self.talk.events.append(sent)
            if sent["type"] == "error" and has_id:
                assert sent["error"]["event_id"] == f"mine_{self.count}", "an error names its event"
        events, self.talk.events = self.talk.events, []
        for sent in events:
            self.dialect.to_client(sent)

    def turn(self, text: str) -> None:
        self.speech(320)
        self.quiet(1000)
        self.collect()
        self.heard(text)

    def speech(self, milliseconds: int) -> None:
        self.talk.hears(milliseconds, 0.9)

    def quiet(self, milliseconds: int) -> None:
        self.talk.hears(milliseconds, 0.02)

    def unjudged(self, milliseconds: int) -> None:
        self.talk.session.heard(np.zeros(milliseconds * 16 + 7, np.float32))

    def heard(self, what: Any) -> None:
        if work := self.some(Transcribe):
            if isinstance(what, str):
                self.talk.session.transcribed(work.work_id, what, language="en")
            else:
                self.talk.session.transcription_failed(work.work_id, what)

    def hypothesis(self, text: str) -> None:
        if work := self.some(Listen):
            words = [Word(f" {word}", place / 4, place / 4 + 0.2, 0.9) for place, word in enumerate(text.split())]
            self.talk.session.hypothesis(work.work_id, words, 100)

    def ending(self, likelihood: float) -> None:
        if work := self.some(MeasureEnding):
            self.talk.session.ending(likelihood, work.heard_until_ms)

    def text(self, delta: str) -> None:
        self.answer("response_text", delta)

    def speak(self, text: str) -> None:
        self.answer("response_speech", text, 24_000, [SpokenWord("Hello", 0.1, 0.3)] if "Hello" in text else [])

    def audio(self, samples: int) -> None:
        self.answer("response_audio", "AAAA", samples)

    def call(self, key: str) -> None:
        self.answer("response_call", key, "look", '{"a":', "call_1" if key == "0" else None)

    def finish(self, reason: str | None) -> None:
        self.answer("response_finished", reason, {"prompt_tokens": 7, "completion_tokens": "?"} if reason else None)

    def fail(self, _: None) -> None:
        self.answer("response_failed", FAILURE)

    def played(self, samples: int) -> None:
        if work := self.some(StopPlaying) or self.some(Respond):
            self.talk.session.played(work.response_id, samples)


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(STEPS, min_size=30, max_size=60), st.booleans())
def test_any_sequence_of_events_keeps_the_rules(steps: list[tuple[str, Any]], webrtc: bool) -> None:
    run = Run(webrtc=webrtc)
    for name, value in steps:
        run.step(name, value)
    legality = run.talk.legality
    while under_way := set(legality.responses) - legality.done:
        # The next may follow: the user can have said something while this one could not be interrupted.
        run.step("client", {"type": "response.cancel", "response_id": min(under_way)})
    run.step("client", {"type": "session.update", "session": {"type": "transcription"}})
    before = len(run.talk.legality.responses)
    run.step("client", {"type": "response.create"})
    assert len(run.talk.legality.responses) == before


EVENT_TYPES = [
    "session.update",
    "input_audio_buffer.commit",
    "input_audio_buffer.clear",
    "output_audio_buffer.clear",
    "conversation.item.create",
    "conversation.item.retrieve",
    "conversation.item.truncate",
    "conversation.item.delete",
    "response.create",
    "response.cancel",
]
FIELDS = [
    "session",
    "item",
    "item_id",
    "response",
    "previous_item_id",
    "content_index",
    "audio_end_ms",
    "response_id",
    "event_id",
]


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.sampled_from(EVENT_TYPES), st.dictionaries(st.sampled_from(FIELDS), RUBBISH)), max_size=8))
def test_rubbish_in_any_field_is_answered_and_never_raises(events: list[tuple[str, dict[str, Any]]]) -> None:
    talk = Talk()
    for event_type, fields in events:
        talk.session.receive({"type": event_type, **fields})
        translated = Beta("realtime").from_client({"type": event_type, **fields})
        talk.session.receive(translated)
        assert talk.sent(), "every event has an answer"
