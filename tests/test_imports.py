"""What a start waits for. Each of these costs it 10 to 300 ms, and is not needed before there is audio, a conversation or a download."""

from __future__ import annotations

import subprocess
import sys

LATER = {
    "aiortc", "av", "ctranslate2", "espeakng_loader", "faster_whisper", "httpx", "huggingface_hub", "itsdangerous",
    "jinja2", "kokoro_onnx", "numpy", "onnxruntime", "openai", "piper", "pocketsphinx", "rich", "soxr", "typer", "yaml",
    "speaches.audio.encode", "speaches.cli", "speaches.engines.espeak_words", "speaches.realtime.driver", "speaches.realtime.session",
    "speaches.realtime.webrtc", "speaches.speech.speak", "speaches.text.sentences",
}  # fmt: skip


def imported_after(code: str) -> set[str]:
    """The modules in a fresh process that has run this."""
    printing = f"{code}\nimport sys; print(*sys.modules)"
    return set(
        subprocess.run([sys.executable, "-c", printing], capture_output=True, text=True, check=True).stdout.split()
    )


def test_an_application_is_made_without_what_only_its_requests_need() -> None:
    made = imported_after(
        "from speaches.app import create_app; from speaches.settings import Settings; create_app(Settings())"
    )
    assert {"fastapi", "speaches.api.speech"} < made
    assert made & LATER == set()


def test_the_server_reads_its_settings_before_anything_heavy_is_imported() -> None:
    assert imported_after("import speaches.serve") & (LATER | {"fastapi", "speaches.app"}) == set()
