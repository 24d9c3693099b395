"""How Kokoro's words are pronounced: by espeak-ng, and Japanese and Chinese by misaki where it is."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from speaches.engines import kokoro_phonemes
from speaches.engines.kokoro import Kokoro
from speaches.engines.kokoro_phonemes import by_espeak, misaki, pronounced


@pytest.fixture(autouse=True)
def fresh(tiny_kokoro: Kokoro) -> Iterator[None]:
    """With espeak-ng found, which the engine does, and nothing remembered of misaki."""
    misaki.cache_clear()
    yield
    misaki.cache_clear()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Hello, world!", "həlˈoʊ, wˈɜːld!"),
        ("It costs 3.5 dollars.", "ɪt kˈɔsts θɹˈiː pɔɪnt fˈaɪv dˈɑːlɚz."),
        ("At 12:30, or 1,000.", "æt twˈɛlv θˈɜːɾi, ɔːɹ wˈʌn θˈaʊzənd."),
        ('"So," (he) said — ok...', '"sˈoʊ," (hiː) sˈɛd — ˌoʊkˈeɪ...'),
        ("three\n\ntwo", "θɹˈiː tˈuː"),
        ("...", "..."),
        ("", ""),
    ],
)
def test_english(text: str, wanted: str) -> None:
    assert pronounced(text, "en-us") == wanted


def test_a_change_of_language_is_not_read_out(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        found = by_espeak("Das ist ein Computer und Привет", "de") + by_espeak("Bonjour le weekend", "fr-fr")
    assert "(" not in found
    assert caplog.text == ""


def test_threads_do_not_mix_their_languages_up() -> None:
    jobs = [(f"Number {n} of {n * 37}.", language) for n in range(60) for language in ("en-us", "fr-fr", "es", "de")]
    serial = [pronounced(*job) for job in jobs]
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda job: pronounced(*job), jobs)) == serial


def test_without_misaki_espeak_speaks_and_one_warning_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def missing() -> None:
        raise ModuleNotFoundError("No module named 'misaki'")

    monkeypatch.setattr(kokoro_phonemes, "_japanese", missing)
    monkeypatch.setattr(kokoro_phonemes, "_chinese", lambda bopomofo: missing())
    with caplog.at_level(logging.WARNING):
        found = [pronounced(text, "ja") for text in ("こんにちは", "さようなら", "こんにちは")]
    assert found[0] == found[2] == by_espeak("こんにちは", "ja")
    assert [record.getMessage() for record in caplog.records] == [
        "Kokoro's Japanese is pronounced by espeak-ng, which it was not trained with. Install `speaches[japanese]` for a better one"
        " (No module named 'misaki')."
    ]
    with caplog.at_level(logging.WARNING):
        assert pronounced("今天", "cmn") == by_espeak("今天", "cmn")
    assert "`speaches[chinese]`" in caplog.records[-1].getMessage()


def test_misaki_pronounces_what_is_not_latin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kokoro_phonemes, "_japanese", lambda: lambda text: f"<{text.strip()}>")
    assert (
        pronounced("Hello wonderful café と言った。ok", "ja")
        == f"{by_espeak('Hello wonderful café', 'en-us')} <と言った。> ˌoʊkˈeɪ"
    )


def test_misaki_gets_numbers_that_it_can_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kokoro_phonemes, "_chinese", lambda bopomofo: lambda text: text)
    assert pronounced("我" + "9" * 40, "cmn") == f"我{'9' * 16} {'9' * 16} {'9' * 8}"


def test_a_model_with_bopomofo_gets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kokoro_phonemes, "_chinese", lambda bopomofo: lambda text: "ㄅ" if bopomofo else "p")
    assert [pronounced("八", "cmn", bopomofo=which) for which in (True, False)] == ["ㄅ", "p"]


def test_where_misaki_fails_on_a_text_espeak_speaks_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(text: str) -> str:
        raise IndexError(text)

    monkeypatch.setattr(kokoro_phonemes, "_chinese", lambda bopomofo: fails)
    with caplog.at_level(logging.WARNING):
        assert pronounced("今天", "cmn") == by_espeak("今天", "cmn")
    assert "misaki failed on a text (IndexError)" in caplog.text
    assert "今天" not in caplog.text, "what people say stays out of the log"


def test_misakis_threads_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    held = []

    def watching(text: str) -> str:
        held.append(kokoro_phonemes._misaki_lock.locked())
        return text

    monkeypatch.setattr(kokoro_phonemes, "_japanese", lambda: watching)
    assert pronounced("日本", "ja") == "日本"
    assert held == [True]
