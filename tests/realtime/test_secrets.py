from __future__ import annotations

import pytest

from speaches.errors import InvalidRequest, Unauthorized
from speaches.realtime.secrets import PREFIX, ClientSecrets, is_secret

SESSION = {"type": "realtime", "instructions": "Be brief.", "audio": {"output": {"voice": "nova"}}}


def test_a_secret_opens_its_session_on_any_worker_with_the_same_key() -> None:
    secret = ClientSecrets("key").mint(SESSION, expires_at=1000)
    assert is_secret(secret)
    assert ClientSecrets("key").read(secret, now=999) == SESSION


def test_a_secret_expires() -> None:
    secrets = ClientSecrets("key")
    secret = secrets.mint(SESSION, expires_at=1000)
    with pytest.raises(Unauthorized, match="expired"):
        secrets.read(secret, now=1000)


def test_a_secret_of_another_key_is_refused() -> None:
    secret = ClientSecrets("another").mint(SESSION, expires_at=1000)
    with pytest.raises(Unauthorized, match="Incorrect"):
        ClientSecrets("key").read(secret, now=0)


@pytest.mark.parametrize("wrong", ["", "x", ".", "e30", "e30.", ".eJyrVg.abc", "\0", "ü", "a" * 10_000, "sk-12345"])
def test_rubbish_is_refused(wrong: str) -> None:
    with pytest.raises(Unauthorized):
        ClientSecrets("key").read(PREFIX + wrong, now=0)


def test_a_secret_that_was_changed_is_refused() -> None:
    secrets = ClientSecrets("key")
    secret = secrets.mint(SESSION, expires_at=1000)
    for place in range(len(PREFIX), len(secret)):
        changed = secret[:place] + ("A" if secret[place] != "A" else "B") + secret[place + 1 :]
        # The last character of a signature has bits that carry nothing.
        if place < len(secret) - 1:
            with pytest.raises(Unauthorized):
                secrets.read(changed, now=0)


@pytest.mark.parametrize(
    "signed", [[], {}, {"session": {}}, {"session": 5, "expires_at": 9}, {"session": {}, "expires_at": "x"}]
)
def test_what_anybody_can_sign_where_there_is_no_key_is_refused_too(signed: object) -> None:
    secrets = ClientSecrets(None)
    with pytest.raises(Unauthorized, match="Incorrect"):
        secrets.read(PREFIX + secrets._serializer().dumps(signed), now=0)


def test_a_secret_fits_into_a_header_of_a_browser() -> None:
    secret = ClientSecrets("key").mint(SESSION | {"instructions": "é" * 2000}, expires_at=1000)
    assert set(secret) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")


def test_a_session_that_does_not_fit_is_refused() -> None:
    instructions = " ".join(map(str, range(10_000)))
    with pytest.raises(InvalidRequest, match=r"session\.update"):
        ClientSecrets("key").mint({"instructions": instructions}, expires_at=1000)


def test_without_a_key_secrets_still_carry_their_session() -> None:
    assert ClientSecrets(None).read(ClientSecrets(None).mint(SESSION, expires_at=1000), now=0) == SESSION
