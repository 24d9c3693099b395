"""API keys: where a request may carry one, and which paths need none. Rules only."""

from __future__ import annotations

import secrets
from collections.abc import Iterable

from speaches.errors import Unauthorized

PUBLIC_PATHS = {"/health", "/healthz", "/readyz", "/ping", "/docs", "/docs/oauth2-redirect", "/redoc", "/openapi.json"}
PUBLIC_LISTS = {"/v1/audio/voices", "/v1/audio/models"}
"""Open WebUI asks for these without a key."""
KEY_HEADERS = {"x-api-key", "api-key"}
KEY_SUBPROTOCOL = "openai-insecure-api-key."
"""A browser can't set headers for a WebSocket: its key stands among the subprotocols."""
SECRET_PATHS = {"/v1/realtime", "/realtime", "/v1/realtime/calls"}
"""What a client secret (`ek_...`) opens. Everything else needs the key itself."""


def is_public(method: str, path: str) -> bool:
    return path in PUBLIC_PATHS or (path in PUBLIC_LISTS and method in ("GET", "HEAD"))


def takes_secrets(path: str) -> bool:
    return path in SECRET_PATHS


def key_of(headers: Iterable[tuple[str, str]], query: Iterable[tuple[str, str]]) -> str | None:
    """The key that a request carries in one of the places where clients put it.

    Two different keys are refused: one of them is wrong, and which one counts would be for an attacker to find out.

    Args:
        headers: names in lower case, and values. A name may come more than once, here and in `query`.
    """
    found = {_key_in(name, value) for name, value in headers}
    found |= {value for name, value in query if name == "api_key"}
    found -= {""}
    if len(found) > 1:
        raise Unauthorized("The request carries two different API keys; send one.")
    return found.pop() if found else None


def check_key(given: str | None, key: str) -> None:
    """Raise Unauthorized unless the key of a request is the right one."""
    if given is None:
        raise Unauthorized("You didn't provide an API key. Send it in a header: 'Authorization: Bearer YOUR_KEY'.")
    # Constant time, and of bytes: compare_digest refuses other characters in strings.
    if not secrets.compare_digest(given.encode(), key.encode()):
        raise Unauthorized("Incorrect API key provided.")


def _key_in(name: str, value: str) -> str:
    """The key that a header carries; empty where it carries none."""
    if name in KEY_HEADERS:
        return value
    if name == "sec-websocket-protocol":
        offered = (one.strip() for one in value.split(","))
        return next((one.removeprefix(KEY_SUBPROTOCOL) for one in offered if one.startswith(KEY_SUBPROTOCOL)), "")
    scheme, _, token = value.partition(" ")
    return token.strip() if name == "authorization" and scheme.lower() == "bearer" else ""
