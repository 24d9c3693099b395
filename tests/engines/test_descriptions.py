"""What engines say of models by looking at files alone."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from speaches.engines import espeak, kokoro, piper, pocketsphinx, silero, whisper
from speaches.engines.registry import KINDS, EngineKind
from tests.worker.helpers import DEADLINE

HEAVY = (
    "av", "ctranslate2", "faster_whisper", "kokoro_onnx", "numpy", "onnxruntime", "phonemizer", "piper", "pocketsphinx", "soxr",
    "tokenizers", "huggingface_hub",
)  # fmt: skip

LISTING = """
import json, sys
from pathlib import Path
from speaches.engines.registry import KINDS

described = []
for kind in KINDS:
    for folder in sorted(Path(sys.argv[1]).iterdir()):
        if kind.recognises(folder):
            described.append([kind.NAME, folder.name, kind.describe(folder).sample_rate])
    for name in kind.BUILTIN:
        described.append([kind.NAME, name, kind.describe(None).sample_rate])
print(json.dumps([described, sorted(sys.modules)]))
"""


def test_models_are_recognised_and_described_without_their_libraries(folder: Path) -> None:
    command = [sys.executable, "-c", LISTING, str(folder)]
    output = subprocess.run(command, check=True, capture_output=True, text=True, timeout=DEADLINE).stdout
    described, modules = json.loads(output)
    assert described == [
        ["whisper", "whisper-synth", None],
        ["kokoro", "kokoro-synth", 24_000],
        ["piper", "piper-en_US-synth-medium", 22_050],
        ["piper", "piper-en_US-synth_pair-medium", 22_050],
        ["espeak-ng", "speaches/espeak-ng", 22_050],
        ["pocketsphinx", "speaches/pocketsphinx-en-us", None],
        ["silero", "silero_vad_v6", None],
    ]
    assert [name for name in HEAVY if name in modules] == []


def test_the_speaker_model_is_no_model_of_these_engines(folder: Path) -> None:
    assert not any(kind.recognises(folder / "wespeaker-synth") for kind in KINDS)


def test_an_empty_folder_is_no_model(tmp_path: Path) -> None:
    assert not any(kind.recognises(tmp_path) for kind in KINDS)


@pytest.mark.parametrize("kind", [espeak, pocketsphinx, silero])
def test_a_built_in_engine_takes_no_folder_for_its_own(kind: EngineKind, folder: Path) -> None:
    assert not any(kind.recognises(one) for one in folder.iterdir())


def test_whispers_languages_are_those_on_its_card(tmp_path: Path) -> None:
    card = tmp_path / "README.md"
    for text, languages in (
        ("---\nlicense: mit\nlanguage:\n- en\n- 'de'\ntags:\n- audio\n---\n# A model\n", ("en", "de")),
        ("---\nlanguage: en\n---\n", ("en",)),
        ("---\nlicense: mit\n---\n", ()),
        ("# A card without a head\n", ()),
        ("", ()),
    ):
        card.write_text(text)
        assert whisper.describe(tmp_path).languages == languages
    card.unlink()
    assert whisper.describe(tmp_path).languages == ()


def test_kokoros_voices_are_those_in_its_file(folder: Path) -> None:
    described = kokoro.describe(folder / "kokoro-synth")
    voices = {voice.id: voice for voice in described.voices}
    assert len(voices) == 7
    assert (voices["af_heart"].name, voices["af_heart"].language, voices["af_heart"].gender) == (
        "Heart",
        "en-US",
        "female",
    )
    assert (voices["bm_george"].language, voices["bm_george"].gender) == ("en-GB", "male")
    assert set(described.languages) == {voice.language for voice in described.voices}


def test_pipers_voices_are_its_speakers_or_its_data_set(folder: Path) -> None:
    one = piper.describe(folder / "piper-en_US-synth-medium")
    assert [voice.id for voice in one.voices] == ["synth"]
    assert one.languages == ("en-US",)
    two = piper.describe(folder / "piper-en_US-synth_pair-medium")
    assert [(voice.id, voice.gender) for voice in two.voices] == [("female", "female"), ("male", "male")]


def test_a_piper_model_with_its_own_name_for_the_config_is_recognised(tmp_path: Path, folder: Path) -> None:
    source = folder / "piper-en_US-synth-medium"
    (tmp_path / "amy.onnx").write_bytes(b"")
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "list.json").write_text("[]")
    assert not piper.recognises(tmp_path)
    (tmp_path / "amy.onnx.json").write_text((source / "config.json").read_text())
    assert piper.recognises(tmp_path)
    assert piper.describe(tmp_path) == piper.describe(source)


def test_espeaks_voices_are_the_languages_in_the_wheel() -> None:
    described = espeak.describe(None)
    assert len(described.voices) > 100
    assert {"en-us", "de", "es", "fr-fr", "ja", "cmn"} <= {voice.id for voice in described.voices}
    assert next(voice.language for voice in described.voices if voice.id == "en-us") == "en-US"
    assert {"en", "de", "ja"} <= set(described.languages)


def test_a_kind_without_a_folder_has_no_model_built_in() -> None:
    describe: Callable[[None], object]
    for describe in (whisper.describe, kokoro.describe, piper.describe):
        with pytest.raises(AssertionError, match="built in"):
            describe(None)
