"""Text as strangers send it -> text that a C library takes."""

from __future__ import annotations

import re

# NUL ends a C string, half a surrogate pair has no UTF-8 (JSON can carry both), and nobody wants to hear the others.
_UNSPEAKABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def plain(text: str) -> str:
    """A space for each control character and lone surrogate."""
    return _UNSPEAKABLE.sub(" ", text)
