"""
A server that can fail in every way that the worker must survive. In process as `app()`, or as the worker's child:

    python fake_server.py BEHAVIOUR FD PARENT

BEHAVIOUR: ok | dies (while booting) | hangs (never serves) | preloads (503 at first) | lacks (a model for
ever, after preloading) | once:FILE (dies from its second start on).
Imports nothing of ours but the lifeline, as a server must.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiohttp import BodyPartReader, web

from speaches.worker.lifeline import die_with

WAV = b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(range(256)) * 8
PRELOAD_QUESTIONS = 3  # how often a preloading server says 503
LACKS = -1000  # in place of a number of questions: preloading has failed

LEFT: web.AppKey[list[str]] = web.AppKey("left")
BUSY: web.AppKey[dict[str, int]] = web.AppKey("busy")
RUNNING: web.AppKey[list[int]] = web.AppKey("running")  # slow requests, and the most that there were at once
DONE: web.AppKey[asyncio.Event] = web.AppKey("done")
PRELOADING: web.AppKey[list[int]] = web.AppKey("preloading")


async def echo(request: web.Request) -> web.Response:
    """Tells what arrived."""
    seen: dict[str, Any] = {
        "method": request.method,
        "target": request.raw_path,
        "headers": [[name, value] for name, value in request.headers.items()],
    }
    if request.content_type == "multipart/form-data":
        seen["form"] = []
        async for part in await request.multipart():
            assert isinstance(part, BodyPartReader)
            content = await part.read()
            if part.filename:
                seen["form"].append(
                    [part.name, part.filename, part.headers["Content-Type"], len(content), content[:20].hex()]
                )
            else:
                seen["form"].append([part.name, content.decode()])
    else:
        body = await request.text()
        seen["body"] = json.loads(body) if body else None
    return web.json_response(seen)


async def slow(request: web.Request) -> web.Response:
    """Works until DONE, or for `seconds`, and remembers who left before it was done."""
    running = request.app[RUNNING]
    running[:] = running[0] + 1, max(running[0] + 1, running[1])
    try:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(request.app[DONE].wait(), float(request.query.get("seconds", "600")))
    except asyncio.CancelledError:
        request.app[LEFT].append(request.query.get("name", ""))
        raise
    finally:
        running[0] -= 1
    return web.json_response({"done": request.query.get("name", "")})


async def busy(request: web.Request) -> web.Response:
    """Refuses `times` times, then works; `after` is its Retry-After."""
    name = request.query.get("name", "")
    seen = request.app[BUSY][name] = request.app[BUSY].get(name, 0) + 1
    form = dict(await request.post())
    if seen > int(request.query.get("times", "1")):
        return web.json_response({"attempts": seen, "file": len(form["file"].file.read()) if "file" in form else None})  # type: ignore[union-attr]
    error = {
        "error": {
            "message": "Too many requests at once.",
            "type": "rate_limit_error",
            "param": None,
            "code": "rate_limit_exceeded",
        }
    }
    return web.json_response(error, status=429, headers={"Retry-After": request.query.get("after", "0.01")})


async def some_bytes(request: web.Request) -> web.Response:
    body = bytes(int(request.query.get("size", "16")))
    return web.Response(body=body, headers={"Content-Type": request.query.get("type", "application/octet-stream")})


async def some_text(request: web.Request) -> web.Response:
    """Whatever the query asks for, byte by byte."""
    body = bytes.fromhex(request.query["hex"]) if "hex" in request.query else request.query.get("text", "").encode()
    headers = {"Content-Type": request.query["type"]} if "type" in request.query else {}
    return web.Response(body=body, status=int(request.query.get("status", "200")), headers=headers)


async def half(request: web.Request) -> web.StreamResponse:
    """Promises a thousand bytes and breaks off after ten."""
    response = web.StreamResponse(headers={"Content-Length": "1000", "Content-Type": "audio/wav"})
    await response.prepare(request)
    await response.write(b"0123456789")
    assert request.transport is not None
    request.transport.abort()
    return response


async def endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": request.query.get("type", "audio/wav")})
    await response.prepare(request)
    try:
        while True:
            await response.write(bytes(100_000))
    except (ConnectionError, asyncio.CancelledError):
        request.app[LEFT].append(request.query.get("name", ""))
        raise


async def events(request: web.Request) -> web.StreamResponse:
    """Sends the events of the body's `events`, as server-sent events; `then` is what comes after them."""
    body = await request.json()
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
    await response.prepare(request)
    for event in body["events"]:
        await response.write(b"data: " + json.dumps(event, ensure_ascii=False).encode() + b"\n\n")
        await asyncio.sleep(body.get("pause", 0))
    match body.get("then"):
        case "die":
            os._exit(3)
        case "hang":
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                request.app[LEFT].append("events")
                raise
    await response.write(b"data: [DONE]\n\n")
    return response


async def die(request: web.Request) -> web.Response:
    print("the server dies in the middle of a request", flush=True)
    os._exit(3)


async def ready(request: web.Request) -> web.Response:
    questions = request.app[PRELOADING]
    if questions[0] == LACKS:
        error = {"message": "Model no/such of PRELOAD_MODELS is not ready: it is not on disk."}
        return web.json_response({"status": "failed", "error": error}, status=503)
    questions[0] -= 1
    return web.json_response({"ready": questions[0] < 0}, status=200 if questions[0] < 0 else 503)


async def speech(request: web.Request) -> web.Response:
    body = await request.json()
    return web.Response(body=WAV, content_type=f"audio/{body['response_format']}")


async def state(request: web.Request) -> web.Response:
    """How many slow requests run, and who left."""
    return web.json_response({"running": request.app[RUNNING][0], "left": request.app[LEFT]})


def app(preload_questions: int = 0) -> web.Application:
    server = web.Application(client_max_size=1024**3)
    server[LEFT], server[BUSY], server[RUNNING], server[PRELOADING] = [], {}, [0, 0], [preload_questions]
    server[DONE] = asyncio.Event()
    routes: list[tuple[str, Callable[..., Any]]] = [
        ("/readyz", ready),
        ("/v1/audio/speech", speech),
        ("/slow", slow),
        ("/busy", busy),
        ("/bytes", some_bytes),
        ("/text", some_text),
        ("/half", half),
        ("/endless", endless),
        ("/events", events),
        ("/die", die),
        ("/state", state),
        ("/{rest:.*}", echo),
    ]
    for path, answer in routes:
        server.router.add_route("*", path, answer)
    return server


async def serve(listener: socket.socket, preload_questions: int) -> None:
    # handler_cancellation: a handler is cancelled when its client leaves, which is what the tests look at.
    runner = web.AppRunner(app(preload_questions), handler_cancellation=True, shutdown_timeout=1)
    await runner.setup()
    await web.SockSite(runner, listener).start()
    await asyncio.Event().wait()


def command(behaviour: str) -> Callable[[int], list[str]]:
    """For `Server(command=...)`."""
    return lambda fd: [sys.executable, __file__, behaviour, str(fd), str(os.getpid())]


def main(behaviour: str, fd: int, parent: int) -> None:
    die_with(parent)
    print(f"fake server, {behaviour}", flush=True)
    name, _, file = behaviour.partition(":")
    if name == "hangs":
        threading.Event().wait()
    if name == "dies" or (name == "once" and Path(file).exists()):
        sys.exit("this model does not exist")
    if name == "once":
        Path(file).touch()
    questions = {"preloads": PRELOAD_QUESTIONS, "lacks": LACKS}.get(name, 0)
    asyncio.run(serve(socket.socket(fileno=fd), questions))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
