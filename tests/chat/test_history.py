"""Earlier spoken answers are remembered by their ids, for an hour and not without bound."""

from speaches.chat import history
from speaches.chat.history import LIFETIME, SpokenHistory


def test_an_answer_is_remembered_until_it_expires() -> None:
    now = 1000.0
    said = SpokenHistory(clock=lambda: now)
    audio_id, expires_at = said.add("Hello.")
    assert (said[audio_id], expires_at) == ("Hello.", 1000 + LIFETIME)
    now += LIFETIME
    assert audio_id not in said
    assert len(said) == 0


def test_the_oldest_answers_go_first() -> None:
    said = SpokenHistory(clock=lambda: 0.0)
    ids = [said.add(str(number))[0] for number in range(history.MOST + 1)]
    assert ids[0] not in said
    assert said[ids[1]] == "1"
    assert len(said) == history.MOST
