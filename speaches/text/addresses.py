"""Web and e-mail addresses as one reads them out: the name of the site, the first steps of the path, nothing after a question mark."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import unquote

LONGEST_PATH = 40  # characters; what follows are mostly numbers that nobody wants to hear

# What may stand inside an address, but not at its end: it belongs to the sentence.
_TRAILING = ".,;:!?'\"*_~]}…’”»"


class _Signs(NamedTuple):
    dot: str
    slash: str
    at: str


_SIGNS = {
    "en": _Signs("dot", "slash", "at"),
    "de": _Signs("Punkt", "Schrägstrich", "at"),
    "es": _Signs("punto", "barra", "arroba"),
    "fr": _Signs("point", "slash", "arobase"),
    "it": _Signs("punto", "barra", "chiocciola"),
    "nl": _Signs("punt", "slash", "apenstaartje"),
    "pt": _Signs("ponto", "barra", "arroba"),
}


def url_and_rest(found: str) -> tuple[str, str]:
    """Cut the marks of the sentence off the end of a web address."""
    url = found.rstrip(_TRAILING)
    while url.endswith(")") and url.count(")") > url.count("("):
        url = url[:-1].rstrip(_TRAILING)
    return url, found[len(url) :]


def spoken_url(url: str, language: str | None = None) -> str:
    """`https://www.example.com/a-b?x=1` -> `example dot com slash a-b`."""
    signs = _signs(language)
    _, scheme, rest = url.partition("://")
    address = (rest if scheme else url).partition("?")[0].partition("#")[0]
    host, *steps = (step for step in address.split("/") if step)
    host = host.rpartition("@")[2]  # not the password
    if host.lower().startswith("www."):
        host = host[4:]
    words, length = [host], 0
    for step in map(_readable, steps):
        length += len(step)
        if length > LONGEST_PATH:
            break
        words.append(step)
    return f" {signs.slash} ".join(_dotted(word, signs) for word in words)


def spoken_email(address: str, language: str | None = None) -> str:
    """`ann.lee@example.com` -> `ann dot lee at example dot com`."""
    signs = _signs(language)
    name, _, host = address.partition("@")
    return f"{_dotted(name, signs)} {signs.at} {_dotted(host, signs)}"


def _signs(language: str | None) -> _Signs:
    return _SIGNS.get((language or "en").lower().split("-")[0], _SIGNS["en"])


def _dotted(text: str, signs: _Signs) -> str:
    return f" {signs.dot} ".join(part for part in text.split(".") if part)


def _readable(step: str) -> str:
    decoded = unquote(step, errors="replace")
    return decoded if decoded.isprintable() else step
