"""What the worker adds to a request: direct to the server, through the handler in this process, and through Runpod's harness.

    python -m bench.overhead [--rounds 200]

The harness is the SDK's own simulator (`handler.py --rp_serve_api`), asked over HTTP as Runpod's /runsync is; it has a server of its own.
Rounds alternate between the ways, and medians count, because the machine is shared.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import io
import math
import os
import socket
import statistics
import struct
import subprocess
import sys
import time
import wave
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from speaches.settings import Settings
from speaches.worker.handler import Worker
from speaches.worker.server import Server

ROOT = Path(__file__).resolve().parents[1]
UPLOAD_BYTES = 10_000_000
SAMPLE_RATE = 16_000
AIM_MS = 3.0  # that the handler may add to a small request
AIM_RATIO = 1.15  # of an upload through the handler to the same one direct


@dataclass(frozen=True)
class Case:
    """The same request, as a client of the server and as a job writes it."""

    name: str
    rounds: int
    job: dict[str, Any]
    direct: Callable[[httpx.AsyncClient], Awaitable[httpx.Response]]
    aim: str
    status: int = 200


def tone(size: int) -> bytes:
    """A WAV file of `size` bytes."""
    count = (size - 44) // 2
    second = b"".join(
        struct.pack("<h", round(8_000 * math.sin(2 * math.pi * 440 * n / SAMPLE_RATE))) for n in range(SAMPLE_RATE)
    )
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(SAMPLE_RATE)
        writer.writeframes((second * (count // SAMPLE_RATE + 1))[: count * 2])
    return file.getvalue()


def cases(rounds: int) -> list[Case]:
    audio, noise = tone(UPLOAD_BYTES), bytes(UPLOAD_BYTES)
    path = "/v1/audio/speech/timestamps"

    def upload(content: bytes) -> Callable[[httpx.AsyncClient], Awaitable[httpx.Response]]:
        return lambda client: client.post(path, files={"file": ("a.wav", content, "audio/wav")})

    def job(content: bytes) -> dict[str, Any]:
        return {"path": path, "file_base64": base64.b64encode(content).decode(), "file_name": "a.wav"}

    speech = {"model": "speaches/espeak-ng", "input": "Hello.", "voice": "en-us", "response_format": "wav"}
    return [
        Case(
            "small JSON (GET /api/ps)",
            rounds,
            {"path": "/api/ps"},
            lambda client: client.get("/api/ps"),
            f"+{AIM_MS:g} ms",
        ),
        Case(
            "a word of speech (WAV)",
            rounds,
            {"path": "/v1/audio/speech", "body": speech},
            lambda client: client.post("/v1/audio/speech", json=speech),
            f"+{AIM_MS:g} ms",
        ),
        Case("10 MB WAV, voice activity", max(3, rounds // 40), job(audio), upload(audio), f"{AIM_RATIO:g}"),
        # Nothing but the way: what it adds here is mostly the base64, which a job has and a direct upload has not.
        Case("10 MB of zeros, refused", max(5, rounds // 10), job(noise), upload(noise), "-", status=415),
    ]


async def timed(work: Awaitable[object]) -> float:
    began = time.perf_counter()
    await work
    return time.perf_counter() - began


async def measure(case: Case, direct: httpx.AsyncClient, worker: Worker, harness: httpx.AsyncClient) -> list[float]:
    """Median seconds of the three ways."""

    async def ask() -> None:
        answer = await case.direct(direct)
        assert answer.status_code == case.status, answer.text[:500]

    async def handle() -> None:
        output = await worker.handle({"id": "bench", "input": case.job})
        failed = output.get("status_code", 200) if isinstance(output, dict) else 200
        assert failed == case.status, output

    async def runsync() -> None:
        answer = (await harness.post("/runsync", json={"input": case.job})).json()
        assert (answer["status"] == "COMPLETED") == (case.status == 200), str(answer)[:500]

    ways: list[Callable[[], Awaitable[None]]] = [ask, handle, runsync]
    for way in ways:
        await way()  # the first time does not count
    times: list[list[float]] = [[], [], []]
    for _ in range(case.rounds):
        for way, found in zip(ways, times, strict=True):
            found.append(await timed(way()))
    return [statistics.median(found) for found in times]


async def compare(server: Server, harness_url: str, rounds: int) -> None:
    worker = Worker(Settings(), server.base_url, explain=server.explain)
    async with (
        httpx.AsyncClient(base_url=server.base_url, trust_env=False, timeout=60) as direct,
        httpx.AsyncClient(base_url=harness_url, trust_env=False, timeout=60) as harness,
    ):
        await until_it_answers(harness)
        print(
            "| request | direct | handler | added | ratio | aim | harness (/runsync) |\n|---|---|---|---|---|---|---|"
        )
        for case in cases(rounds):
            alone, handled, simulated = (1000 * seconds for seconds in await measure(case, direct, worker, harness))
            print(
                f"| {case.name} | {alone:.1f} ms | {handled:.1f} ms | {handled - alone:+.1f} ms | {handled / alone:.2f} | {case.aim} "
                f"| {simulated:.1f} ms |",
                flush=True,
            )
    await worker.aclose()


async def until_it_answers(client: httpx.AsyncClient) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            await client.get("/openapi.json")
            return
        except httpx.TransportError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.05)


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200)
    rounds: int = parser.parse_args().rounds
    os.environ["LOG_LEVEL"] = "warning"
    port = free_port()
    command = [sys.executable, "handler.py", "--rp_serve_api", "--rp_api_port", str(port), "--rp_api_host", "127.0.0.1"]
    quiet = os.environ | {"RUNPOD_LOG_LEVEL": "ERROR"}
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=quiet
    ) as simulator:
        server = Server(Settings())
        try:
            server.start()
            server.wait_until_ready()
            asyncio.run(compare(server, f"http://127.0.0.1:{port}", rounds))
        finally:
            server.stop()
            simulator.terminate()


if __name__ == "__main__":
    main()
