from __future__ import annotations

import pytest

from speaches.realtime.pace import Pace


def test_the_first_chunk_leaves_at_once() -> None:
    assert Pace().delay(now=100.0) == 0


def test_what_leaves_is_ahead_of_what_was_played_by_the_lead_at_most() -> None:
    pace, now, played = Pace(lead=1.0), 100.0, 0.0
    for chunk in range(50):
        now += pace.delay(now)
        played = now - 100.0
        assert chunk * 0.2 - played <= 1.0 + 1e-9
        pace.sent(0.2, now)
    assert played == pytest.approx(50 * 0.2 - 1.0 - 0.2)


def test_a_pause_of_the_llm_is_not_made_up_for() -> None:
    pace = Pace(lead=1.0)
    pace.sent(0.5, now=100.0)
    assert pace.delay(now=110.0) == 0
    pace.sent(3.0, now=110.0)
    assert pace.delay(now=110.0) == pytest.approx(2.0)
