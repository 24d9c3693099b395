from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from speaches.engines.registry import KINDS
from speaches.models.hub import Hub
from tests.hub import LoopbackHub, running_hub

TINY_MODELS = Path(__file__).parent


@pytest.fixture(scope="module")
def _one_hub() -> Iterator[LoopbackHub]:
    with running_hub(TINY_MODELS) as hub:
        yield hub


@pytest.fixture
def loopback(_one_hub: LoopbackHub) -> LoopbackHub:
    """A hub that has the tiny models, well and with an empty record."""
    _one_hub.forget()
    return _one_hub


@pytest.fixture
def hub(loopback: LoopbackHub, tmp_path: Path) -> Hub:
    """The client's side of it, with an empty cache."""
    return Hub(tmp_path / "cache", KINDS, endpoint=loopback.url)
