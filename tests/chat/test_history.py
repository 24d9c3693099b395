"""Earlier spoken answers are remembered by their ids, for an hour and not without bound."""

import pytest

from speaches.chat import history
from speaches.chat.history import LIFETIME, SpokenHistory, new_id


def test_an_answer_is_remembered_until_it_expires() -> None:
    now = 1000.0
    said = SpokenHistory(clock=lambda: now)
    assert said.add("audio_1", "Hello.") == 1000 + LIFETIME
    assert said["audio_1"] == "Hello."
    now += LIFETIME
    assert "audio_1" not in said
    assert len(said) == 0


def test_the_oldest_answers_go_first() -> None:
    said = SpokenHistory(clock=lambda: 0.0)
    ids = [new_id() for _ in range(history.MOST + 1)]
    for number, audio_id in enumerate(ids):
        said.add(audio_id, str(number))
    assert ids[0] not in said
    assert said[ids[1]] == "1"
    assert len(said) == history.MOST


def test_long_answers_are_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MOST_CHARS", 10)
    said = SpokenHistory(clock=lambda: 0.0)
    for number in range(100):
        said.add(f"audio_{number}", "12345")
    assert list(said) == ["audio_98", "audio_99"]
    said.add("audio_long", "x" * 11)
    assert len(said) == 0


def test_an_answer_that_goes_on_is_one_and_expires_with_its_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MOST_CHARS", 10)
    now = 1000.0
    said = SpokenHistory(clock=lambda: now)
    assert said.add("audio_1", "Hel") == 1000 + LIFETIME
    assert said["audio_1"] == "Hel"
    now += 1
    assert said.add("audio_1", "lo.") == 1000 + LIFETIME
    assert (said["audio_1"], len(said)) == ("Hello.", 1)
    said.add("audio_2", "12345")
    assert list(said) == ["audio_2"], "and all of it counts"
