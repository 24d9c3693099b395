"""Runpod's control plane, small: what a queue worker talks to, on loopback. Runs in a thread, so that tests can be plain functions."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import defaultdict
from typing import Any

from aiohttp import web

from .helpers import DEADLINE, eventually, port_of

LIMIT = 10_000_000  # bytes of a result; more is refused with 400, as the platform does
POLL_SECONDS = 3 * DEADLINE  # how long a poll for jobs is held open; longer than a test waits for a worker to end


class ControlPlane:
    """Gives out jobs and takes in results. `done[id]` and `streamed[id]` are what was posted, parsed."""

    def __init__(self) -> None:
        self.done: dict[str, list[Any]] = defaultdict(list)
        self.streamed: dict[str, list[Any]] = defaultdict(list)
        self.refused: list[str] = []
        self.pings: list[dict[str, str]] = []
        self.polls = 0
        self._loop = asyncio.new_event_loop()
        self._jobs: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._stops: asyncio.Queue[str] = asyncio.Queue()
        self._runner = web.AppRunner(self._app(), handler_cancellation=True, shutdown_timeout=0.1)
        self._thread = threading.Thread(target=self._run, name="control-plane")
        self._started = threading.Event()
        self._over = asyncio.Event()

    def __enter__(self) -> ControlPlane:
        self._thread.start()
        assert self._started.wait(DEADLINE)
        return self

    def __exit__(self, *error: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()
        self._loop.close()

    def environment(self) -> dict[str, str]:
        """What makes `runpod.serverless.start` a production worker of this control plane."""
        root = f"http://127.0.0.1:{port_of(self._runner)}/v2/ep"
        return {
            "RUNPOD_POD_ID": "w1",
            "RUNPOD_ENDPOINT_ID": "ep",
            "RUNPOD_AI_API_KEY": "k",
            "RUNPOD_PING_INTERVAL": "1000",
            "RUNPOD_WEBHOOK_GET_JOB": f"{root}/job-take/$ID?gpu=X",
            "RUNPOD_WEBHOOK_POST_OUTPUT": f"{root}/job-done/$RUNPOD_POD_ID/$ID?gpu=X",
            "RUNPOD_WEBHOOK_POST_STREAM": f"{root}/job-stream/$RUNPOD_POD_ID/$ID?gpu=X",
            "RUNPOD_WEBHOOK_PING": f"{root}/ping/$RUNPOD_POD_ID",
            "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "true",  # one of them asks 8.8.8.8
        }

    def submit(self, job_id: str, job_input: Any, **more: Any) -> None:
        self._loop.call_soon_threadsafe(self._jobs.put_nowait, {"id": job_id, "input": job_input} | more)

    def cancel(self, job_id: str) -> None:
        self._loop.call_soon_threadsafe(self._stops.put_nowait, job_id)

    def result(self, job_id: str) -> Any:
        """Wait for a job's result."""
        return eventually(lambda: self.done.get(job_id), f"the result of {job_id}")[0]

    def run(self, job_id: str, job_input: Any) -> Any:
        self.submit(job_id, job_input)
        return self.result(job_id)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self._started.set()
        await self._over.wait()
        await self._runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        self.polls += 1
        try:
            jobs = [await asyncio.wait_for(self._jobs.get(), POLL_SECONDS)]
        except TimeoutError:
            return web.Response(status=204)
        while len(jobs) < int(request.query.get("batch_size", "1")) and not self._jobs.empty():
            jobs.append(self._jobs.get_nowait())
        return web.json_response(jobs if "batch" in request.path else jobs[0])

    async def _stop(self, request: web.Request) -> web.Response:
        try:
            return web.json_response({"jobsToStop": [await asyncio.wait_for(self._stops.get(), POLL_SECONDS)]})
        except TimeoutError:
            return web.Response(status=204)

    async def _keep(self, request: web.Request) -> web.Response:
        body, job_id = await request.read(), request.match_info["id"]
        if len(body) > LIMIT:
            self.refused.append(job_id)
            return web.Response(status=400)
        (self.streamed if "job-stream" in request.path else self.done)[job_id].append(
            json.loads(body, parse_constant=_never)
        )
        return web.Response(text="ok")

    async def _ping(self, request: web.Request) -> web.Response:
        self.pings.append(dict(request.query))
        return web.Response(text="ok")

    def _app(self) -> web.Application:
        app = web.Application(client_max_size=256 * 1024 * 1024)
        app.router.add_get("/v2/ep/job-take/{w}", self._take)
        app.router.add_get("/v2/ep/job-take-batch/{w}", self._take)
        app.router.add_get("/v2/ep/job-stop/{w}", self._stop)
        app.router.add_post("/v2/ep/job-done/{w}/{id}", self._keep)
        app.router.add_post("/v2/ep/job-stream/{w}/{id}", self._keep)
        app.router.add_get("/v2/ep/ping/{w}", self._ping)
        return app


def _never(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")
