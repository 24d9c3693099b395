from __future__ import annotations

from pathlib import Path

import pytest

from speaches.engines.base import Task
from speaches.engines.registry import KINDS
from speaches.models.catalogue import is_model_id
from speaches.models.hub import Hub
from speaches.models.registry import Entry, curated, search
from tests.conftest import NO_HUB
from tests.hub import LoopbackHub

WHISPER = Entry("speaches-test/whisper-synth", Task.STT, ("en", "es", "de", "fr"), created=1_767_225_600)


def test_the_hub_is_searched_by_what_cards_carry(hub: Hub) -> None:
    found = search(hub)
    assert found.source == "hub"
    assert [entry.id for entry in found.entries] == [
        "speaches-test/whisper-synth",
        "speaches-test/kokoro-synth",
        "speaches-test/piper-en_US-synth-medium",
        "speaches-test/piper-en_US-synth_pair-medium",
        "speaches/pocketsphinx-en-us",
        "speaches/espeak-ng",
        "silero_vad_v6",
    ]
    assert found.entries[0] == WHISPER
    assert WHISPER.owned_by == "speaches-test"


@pytest.mark.parametrize(
    ("task", "ids"),
    [
        (Task.STT, ["speaches-test/whisper-synth", "speaches/pocketsphinx-en-us"]),
        (Task.VAD, ["silero_vad_v6"]),
        (Task.EMBEDDING, []),
    ],
)
def test_one_task_may_be_asked_for(hub: Hub, task: Task, ids: list[str]) -> None:
    assert [entry.id for entry in search(hub, task).entries] == ids


def test_one_bad_entry_never_breaks_the_list(hub: Hub, loopback: LoopbackHub) -> None:
    loopback.extra += [
        None,
        7,
        {},
        {"id": 7},
        {"id": "odd/card", "cardData": "?"},
        {"id": "odd/languages", "cardData": {"language": {"a": 1}}, "createdAt": "yesterday"},
        {"id": "odd/mixture", "cardData": {"language": ["en", None, 3]}, "createdAt": 5},
        {"id": "fine/one", "cardData": {"language": "de"}},
    ]
    entries = {entry.id: entry.languages for entry in search(hub, Task.STT).entries}
    assert entries == {
        WHISPER.id: WHISPER.languages,
        "odd/card": (),
        "odd/languages": (),
        "odd/mixture": ("en",),
        "fine/one": ("de",),
        "speaches/pocketsphinx-en-us": ("en-US",),
    }


@pytest.mark.parametrize("status", [401, 404, 429, 500, 503])
def test_when_the_hub_fails_our_own_list_is_given(
    hub: Hub, loopback: LoopbackHub, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    loopback.failing["/api/models"] = status
    found = search(hub, Task.TTS)
    assert found.source == "curated"
    assert found.entries == curated(Task.TTS)
    assert loopback.asked("/api/models") == 1
    assert "listing the models we know" in caplog.text


def test_without_a_network_our_own_list_is_given(tmp_path: Path) -> None:
    found = search(Hub(tmp_path, KINDS, endpoint=NO_HUB))
    assert (found.source, found.entries) == ("curated", curated())


def test_a_hub_that_answers_nonsense_is_no_hub(hub: Hub, loopback: LoopbackHub) -> None:
    loopback.nonsense = True
    assert search(hub).source == "curated"


def test_our_own_list_is_sound() -> None:
    ids = [entry.id for entry in curated()]
    assert len(ids) == len(set(ids)) >= 25
    assert all(is_model_id(model_id) for model_id in ids)
    assert {entry.task for entry in curated()} == {Task.STT, Task.TTS, Task.VAD}
    built_in = {model_id for kind in KINDS for model_id in kind.BUILTIN}
    assert {entry.id for entry in curated() if entry.size_bytes == 0} == built_in
