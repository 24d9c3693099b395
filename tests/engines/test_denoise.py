from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from speaches.engines import denoise
from speaches.engines.denoise import HOP, Gtcrn
from speaches.engines.registry import KINDS
from speaches.settings import Settings
from tests.recordings import level, noise, say, silence, tone

TINY = Path(__file__).parent / "tiny" / "gtcrn"
FADE = 5 * HOP  # the tiny model is silent at first, and gets louder over four frames


@pytest.fixture(scope="module")
def denoiser() -> Gtcrn:
    return denoise.load(TINY, Settings())


def whole_hops(count: int) -> int:
    return count // HOP * HOP


def test_what_is_no_noise_comes_through_one_hop_late(denoiser: Gtcrn) -> None:
    heard = tone(440, 2)[: whole_hops(32_000)]
    clean = denoiser.stream().denoise(heard)
    assert clean.shape == heard.shape
    assert clean.dtype == np.float32
    assert clean[FADE + HOP :] == pytest.approx(heard[FADE:-HOP], abs=1e-3)


def test_what_the_model_calls_noise_is_gone(denoiser: Gtcrn) -> None:
    low, high = tone(440, 1)[:15_872], tone(6000, 1)[:15_872]
    clean = denoiser.stream().denoise(low + high)
    assert level(clean[FADE + HOP :] - low[FADE:-HOP]) < 0.01 * level(high)


def test_a_stream_in_parts_is_the_same_as_the_whole(denoiser: Gtcrn) -> None:
    heard = say("Hello world.") + noise(10)[: len(say("Hello world."))]
    heard = heard[: whole_hops(len(heard))]
    whole = denoiser.stream().denoise(heard)
    for size in (HOP, 2 * HOP, 7 * HOP):
        stream = denoiser.stream()
        parts = [stream.denoise(heard[start : start + size]) for start in range(0, len(heard), size)]
        assert np.concatenate(parts) == pytest.approx(whole, abs=1e-6)


def test_each_stream_is_remembered_by_itself(denoiser: Gtcrn) -> None:
    first, second = denoiser.stream(), denoiser.stream()
    heard = tone(440, 1)[:15_872]
    first.denoise(heard)
    assert level(second.denoise(heard)[:HOP]) == 0, "the second stream begins where a stream begins"
    assert level(first.denoise(heard)[:HOP]) > 0.3


def test_silence_stays_silent_and_nothing_is_nothing(denoiser: Gtcrn) -> None:
    stream = denoiser.stream()
    assert stream.denoise(np.zeros(0, np.float32)).shape == (0,)
    assert level(stream.denoise(silence(1)[:15_872])) == 0


def test_the_files_tell_which_engine_a_model_is_for(tmp_path: Path) -> None:
    assert [kind.NAME for kind in KINDS if kind.recognises(TINY)] == ["gtcrn"]
    (tmp_path / "gtcrn_simple.onnx").touch()  # of the hub, not fetched yet
    assert [kind.NAME for kind in KINDS if kind.recognises(tmp_path)] == ["gtcrn"]
