from __future__ import annotations

import re

import pytest

from speaches import errors
from speaches.errors import InvalidRequest, SpeachesError, TooBusy, UnknownModel, internal_error


def kinds() -> list[type[SpeachesError]]:
    found = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, SpeachesError)]
    assert len(found) > 10
    return found


@pytest.mark.parametrize("kind", kinds())
def test_every_error_prints_openais_envelope(kind: type[SpeachesError]) -> None:
    envelope = kind("Something is wrong.", param="model").as_openai()
    assert list(envelope) == ["error"]
    assert list(envelope["error"]) == ["message", "type", "param", "code"]
    assert envelope["error"]["message"] == "Something is wrong."
    assert envelope["error"]["param"] == "model"
    assert str(kind("Something is wrong.")) == "Something is wrong."


@pytest.mark.parametrize("kind", kinds())
def test_what_the_caller_did_wrong_is_a_4xx_and_what_we_did_a_5xx(kind: type[SpeachesError]) -> None:
    assert 400 <= kind.status < 500 if issubclass(kind, InvalidRequest | TooBusy) else kind.status >= 500


def test_the_tree_in_the_docstring_is_the_tree_in_the_code() -> None:
    documented = dict(re.findall(r"\* (\w+) +(\d{3})", errors.__doc__ or ""))
    assert documented == {kind.__name__: str(kind.status) for kind in kinds()}


def test_a_code_can_be_given_and_has_a_default() -> None:
    assert UnknownModel("x").code == "model_not_found"
    assert UnknownModel("x", code="other").code == "other"
    assert InvalidRequest("x").as_openai()["error"]["code"] is None


def test_too_busy_says_when_to_come_back() -> None:
    assert TooBusy("x", retry_after=2.5).retry_after == 2.5


def test_a_bug_tells_where_to_look_and_nothing_of_the_inside() -> None:
    answer = internal_error("req_123")["error"]
    assert "req_123" in answer["message"]
    assert answer["type"] == "server_error"
