"""One job through the worker's own translation, without Runpod: `speaches job FILE.json`."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from speaches.errors import InvalidRequest
from speaches.settings import Settings
from speaches.worker.handler import Worker
from speaches.worker.server import Server


def run_file(path: Path, settings: Settings, *, base_url: str | None = None) -> Any:
    """Work on the job in a file: `{"input": {...}}` as Runpod takes it, or the input alone.

    Args:
        path: a JSON file.
        settings: for the server and the worker.
        base_url: a server that runs already; without it one is started for this job.

    Returns:
        The job's output; a failure is `{"error", "status_code", "detail"}`, as in production.

    Raises:
        InvalidRequest: If the file is not JSON.
        OSError: If it can't be read.
        ServerFailed: If the server can't be started.
    """
    job = read_file(path)
    if base_url is not None:
        return asyncio.run(_run(job, Worker(settings, base_url)))
    server = Server(settings)
    try:
        server.start()
        server.wait_until_ready()
        return asyncio.run(_run(job, Worker(settings, server.base_url, explain=server.explain)))
    finally:
        server.stop()


def read_file(path: Path) -> dict[str, Any]:
    """A job from a JSON file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InvalidRequest(f"{path} is not valid JSON: {error}.") from None
    job = content if isinstance(content, dict) and "input" in content else {"input": content}
    return {"id": path.stem} | job


async def _run(job: dict[str, Any], worker: Worker) -> Any:
    try:
        return await worker.handle(job)
    finally:
        await worker.aclose()
