from __future__ import annotations

import pytest

from speaches.speech.cache import OVERHEAD, Kept, SpeechCache, key_of

ONE = 10_000  # bytes of an answer


def answer(size: int = ONE) -> Kept:
    return Kept(bytes(size), 1.0)


def filled(capacity: int, *names: str) -> SpeechCache:
    cache = SpeechCache(capacity)
    for name in names:
        cache.put(name.encode(), answer())
    return cache


def kept(cache: SpeechCache, names: str) -> str:
    return "".join(name for name in names if cache.get(name.encode()))


def room_for(answers: int) -> int:
    return answers * (ONE + OVERHEAD)


def test_an_answer_is_found_by_its_key() -> None:
    cache = SpeechCache(room_for(10))
    cache.put(b"hello", Kept(b"audio", 1.5))
    assert cache.get(b"hello") == Kept(b"audio", 1.5)
    assert cache.get(b"good bye") is None


def test_the_least_recently_asked_for_goes_first() -> None:
    cache = filled(room_for(10), *"abcdefghij")
    cache.get(b"a")
    cache.put(b"k", answer())
    assert kept(cache, "abcdefghijk") == "acdefghijk"


def test_the_bytes_of_all_answers_are_bounded() -> None:
    cache = SpeechCache(room_for(10))
    for number in range(1000):
        cache.put(str(number).encode(), answer(number % ONE))
    held = [found for number in range(1000) if (found := cache.get(str(number).encode()))]
    assert sum(len(one.data) + OVERHEAD for one in held) <= room_for(10)
    assert len(held) > 10


def test_answers_of_no_size_are_not_free() -> None:
    cache = SpeechCache(room_for(1))
    for number in range(1000):
        cache.put(str(number).encode(), Kept(b"", 0.0))
    assert sum(cache.get(str(number).encode()) is not None for number in range(1000)) == room_for(1) // OVERHEAD


def test_an_answer_larger_than_an_eighth_is_not_kept() -> None:
    cache = filled(room_for(8), *"abcdefgh")
    cache.put(b"large", answer(ONE + 1))
    assert cache.get(b"large") is None
    assert kept(cache, "abcdefgh") == "abcdefgh"
    cache.put(b"fits", answer(ONE))
    assert cache.get(b"fits") is not None


def test_the_same_answer_twice_takes_its_room_once() -> None:
    cache = filled(room_for(10), *"aaaaaaaaaaaabcdefghij")
    assert kept(cache, "abcdefghij") == "abcdefghij"


@pytest.mark.parametrize("capacity", [0, 1, 4 * OVERHEAD])
def test_a_cache_without_room_is_off_and_keeps_nothing(capacity: int) -> None:
    cache = SpeechCache(capacity)
    cache.put(b"a", Kept(b"", 0.0))
    assert not cache.is_on
    assert cache.get(b"a") is None


def test_keys_differ_when_anything_does() -> None:
    assert key_of("a", 1.0) == key_of("a", 1.0)
    facts = [("a", 1.0), ("a", 1.5), ("a", None), ("a1.0",), ("a", "1.0"), ("a,1.0",), ("\ud800",), ()]
    assert len({key_of(*one) for one in facts}) == len(facts)
    assert len(key_of("x" * 1_000_000)) == 32
