"""Runpod's local harness (`python handler.py`): the result as a file, and a last word for the person at the terminal."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from speaches.worker import media
from speaches.worker.handler import Worker, job_id

OUT = Path("out")
MAX_SHOWN = 1_000  # characters of a result that is returned as it is; the SDK prints it
MAX_SUMMARY = 300  # characters of a result in the summary
# scripts/run finds the virtual environment; in an image there is neither.
COMMAND = "scripts/run" if (Path(__file__).parents[2] / "scripts" / "run").exists() else "python handler.py"
NEXT = f"""Next job: edit test_input.json, or
  {COMMAND} --test_input '{{"input": {{"path": "/v1/models"}}}}'"""


class Harness:
    """Works on the one job of a local run and tells how it went."""

    def __init__(self, worker: Worker, folder: Path = OUT) -> None:
        self._worker = worker
        self._folder = folder
        self._outcome = "No job ran; the lines above say why."

    async def handle(self, job: dict[str, Any]) -> Any:
        """The worker's handler, but what is long goes into a file: the SDK prints what it gets."""
        output = await self._worker.handle(job)
        await self._worker.aclose()
        if isinstance(output, dict) and "error" in output:
            self._outcome = f"The job failed ({output['status_code']}): {output['error']}"
            return output
        path, size = save(output, self._folder, job_id(job))
        self._outcome = f"Done: {_what(job)} gave {_result(output, size)}.\nThe result is in {path}"
        return (
            output if len(json.dumps(output)) <= MAX_SHOWN else {"status": "success", "file": str(path), "bytes": size}
        )

    def misread(self, error: ValueError) -> None:
        """The job's text is not JSON."""
        self._outcome = f"No job ran: its text is not valid JSON ({error})."

    def summary(self) -> str:
        return f"\n{self._outcome}\n{NEXT}"


def save(output: Any, folder: Path, name: str) -> tuple[Path, int]:
    """Write a job's output as the file that it stands for. Returns the path and its size in bytes."""
    content, extension = _as_file(output)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{re.sub(r'[^A-Za-z0-9._-]', '_', name)[:128]}.{extension}"
    path.write_bytes(content)
    return path, len(content)


def _as_file(output: Any) -> tuple[bytes, str]:
    if isinstance(output, dict):
        for key in ("audio_content", "data"):
            if isinstance(output.get(key), str) and isinstance(output.get("content_type"), str):
                return base64.b64decode(output[key]), media.extension(output["content_type"])
        if output.keys() == {"text"}:
            return output["text"].encode(), _text_extension(output["text"])
    return (json.dumps(output, indent=2, ensure_ascii=False) + "\n").encode(), "json"


def _text_extension(text: str) -> str:
    if text.startswith("WEBVTT"):
        return "vtt"
    if text.startswith("start\tend\ttext\n"):
        return "tsv"
    if re.match(r"\[\d\d+:\d\d\.\d\d\]", text):
        return "lrc"
    return "srt" if re.match(r"1\r?\n\d\d:\d\d:\d\d,\d{3} -->", text) else "txt"


def _what(job: Mapping[str, Any]) -> str:
    given = job["input"]
    return str(given.get("openai_route") or given.get("path") or given.get("route"))


def _result(output: Any, size: int) -> str:
    if isinstance(output, dict) and isinstance(output.get("content_type"), str):
        return f"{size:,} bytes of {media.bare(output['content_type'])}"
    text = json.dumps(output, ensure_ascii=False)
    return text if len(text) <= MAX_SUMMARY else f"{text[:MAX_SUMMARY]}..."
