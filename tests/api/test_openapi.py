"""/openapi.json: what FastAPI can't read from a signature."""

from __future__ import annotations

from typing import Any

import pytest

from speaches.app import create_app
from speaches.settings import Settings


@pytest.mark.parametrize(
    ("path", "parameters"),
    [
        ("/v1/audio/transcriptions", {"file", "model", "language", "timestamp_granularities"}),
        ("/v1/audio/translations", {"file", "model", "prompt"}),
        ("/v1/audio/speech/timestamps", {"file", "model", "threshold"}),
        ("/v1/audio/voices", {"name", "voice", "speed"}),
    ],
)
def test_forms_are_described_by_their_parameters(path: str, parameters: set[str]) -> None:
    body: dict[str, Any] = create_app(Settings()).openapi()["paths"][path]["post"]["requestBody"]
    assert body["required"] and set(body["content"]) == {"application/json", "multipart/form-data"}
    for kind in body["content"].values():
        assert parameters <= set(kind["schema"]["properties"])
