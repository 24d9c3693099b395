"""Events from bytes that are cut anywhere."""

import pytest

from speaches.chat.sse import MOST, EventParser
from speaches.errors import BadGateway


def events(*chunks: bytes) -> list[str]:
    parser = EventParser()
    return [event for chunk in chunks for event in parser.feed(chunk)] + parser.finish()


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_events_are_the_same_wherever_the_bytes_are_cut(end: bytes) -> None:
    stream = end.join(
        [b": keep-alive", b"", 'data: {"a": "ü"}'.encode(), b"event: x", b"", b"data:b", b"data: c", b"", b""]
    )
    assert events(stream) == ['{"a": "ü"}', "b\nc"]
    for cut in range(len(stream)):
        assert events(stream[:cut], stream[cut:]) == ['{"a": "ü"}', "b\nc"]
    assert events(*(bytes([one]) for one in stream)) == ['{"a": "ü"}', "b\nc"]


def test_an_event_is_there_as_soon_as_its_blank_line_is() -> None:
    parser = EventParser()
    assert parser.feed(b"data: a\r\n\r") == ["a"]
    assert parser.feed(b"\ndata: b\r\n\r\n") == ["b"]


def test_an_event_without_a_blank_line_after_it_is_not_lost() -> None:
    assert events(b"data: [DONE]") == ["[DONE]"]


def test_line_ends_of_unicode_end_no_line() -> None:
    assert events("data: a\u2028b\x85c\n\n".encode()) == ["a\u2028b\x85c"]


def test_an_endless_event_is_refused() -> None:
    parser = EventParser()
    with pytest.raises(BadGateway, match="more than"):
        for _ in range(MOST // 65536 + 1):
            parser.feed(b"x" * 65536)


def test_many_events_may_be_larger_than_one() -> None:
    parser = EventParser()
    for _ in range(MOST // 65536 + 1):
        assert parser.feed(b"data: " + b"x" * 65530 + b"\n\n") == ["x" * 65530]
