"""API keys: where a request may carry one, and which paths need none. Rules only."""

from __future__ import annotations

import secrets
from collections.abc import Iterable

from speaches.errors import Unauthorized

PUBLIC_PATHS = {"/health", "/healthz", "/readyz", "/ping", "/docs", "/docs/oauth2-redirect", "/redoc", "/openapi.json"}
PUBLIC_LISTS = {"/v1/audio/voices", "/v1/audio/models"}
"""Open WebUI asks for these without a key."""
KEY_HEADERS = {"x-api-key", "api-key"}


def is_public(method: str, path: str) -> bool:
    return path in PUBLIC_PATHS or (path in PUBLIC_LISTS and method in ("GET", "HEAD"))


def check_keys(headers: Iterable[tuple[str, str]], query: Iterable[tuple[str, str]], key: str) -> None:
    """Raise Unauthorized unless the request carries the key, in one of the places that clients put it.

    Two different keys are refused: one of them is wrong, and which one counts would be for an attacker to find out.

    Args:
        headers: names in lower case, and values. A name may come more than once, here and in `query`.
    """
    found = {_key_in(name, value) for name, value in headers}
    found |= {value for name, value in query if name == "api_key"}
    found -= {""}
    if not found:
        raise Unauthorized("You didn't provide an API key. Send it in a header: 'Authorization: Bearer YOUR_KEY'.")
    if len(found) > 1:
        raise Unauthorized("The request carries two different API keys; send one.")
    # Constant time, and of bytes: compare_digest refuses other characters in strings.
    if not secrets.compare_digest(found.pop().encode(), key.encode()):
        raise Unauthorized("Incorrect API key provided.")


def _key_in(name: str, value: str) -> str:
    """The key that a header carries; empty where it carries none."""
    if name in KEY_HEADERS:
        return value
    scheme, _, token = value.partition(" ")
    return token.strip() if name == "authorization" and scheme.lower() == "bearer" else ""
