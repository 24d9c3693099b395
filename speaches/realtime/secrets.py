"""Client secrets (`ek_...`): short-lived keys that a browser may hold, bound to the session that they open.

A secret carries all that it says, signed with a key that is derived from API_KEY. So any worker behind the same key accepts it, and none
has to remember it.
https://platform.openai.com/docs/api-reference/realtime-sessions/create-realtime-client-secret
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping
from typing import Any

from speaches.errors import InvalidRequest, Unauthorized

PREFIX = "ek_"
LIFETIMES = (10, 7200)  # seconds, as OpenAI allows
LIFETIME = 600  # seconds, where none is asked for
MOST_CHARS = 6000  # of a secret: it goes into a header, of which a WebSocket server takes 8 kB
_SALT = "speaches client secret"


class ClientSecrets:
    """Makes and reads client secrets.

    Args:
        key: API_KEY. Where there is none everybody is let in, and a secret only carries its session.
    """

    def __init__(self, key: str | None) -> None:
        self._key = hashlib.sha256((key or "").encode()).hexdigest()

    def mint(self, session: Mapping[str, Any], expires_at: int) -> str:
        """A secret that opens this session until `expires_at`, in seconds since 1970.

        Raises:
            InvalidRequest: If the session is too large to be carried.
        """
        secret: str = PREFIX + self._serializer().dumps({"session": session, "expires_at": expires_at})
        if len(secret) > MOST_CHARS:
            raise InvalidRequest(
                "The session is too large for a client secret, which carries it in a header; send its instructions and tools with"
                " session.update.",
                param="session",
                code="session_too_large",
            )
        return secret

    def read(self, secret: str, now: float) -> dict[str, Any]:
        """The session that a secret opens.

        Raises:
            Unauthorized: If we did not sign it, or it has expired.
        """
        from itsdangerous import BadData

        try:
            told = self._serializer().loads(secret.removeprefix(PREFIX))
            session, expires_at = dict(told["session"]), float(told["expires_at"])
        except (BadData, zlib.error, LookupError, TypeError, ValueError, RecursionError):
            # Where there is no API_KEY anybody can sign anything.
            raise Unauthorized("Incorrect client secret provided.") from None
        if expires_at <= now:
            raise Unauthorized("The client secret has expired; ask for a new one.")
        return session

    def _serializer(self) -> Any:
        from itsdangerous import URLSafeSerializer

        return URLSafeSerializer(self._key, salt=_SALT, signer_kwargs={"digest_method": hashlib.sha256})


def is_secret(key: str) -> bool:
    return key.startswith(PREFIX)
