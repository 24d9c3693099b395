"""The Hugging Face hub, small, on loopback: enough for huggingface-hub to search, inspect and download.

with running_hub(folder) as hub:  # folder/<owner>/<name>/files
    Hub(cache, kinds, endpoint=hub.url).download("owner/name")
    assert hub.asked("model.bin") == 1
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.fakes import PATIENCE

BLOCK = 65536  # bytes of a file that are sent at once


@dataclass
class LoopbackHub:
    """Serves the repositories in `root`. What it is told to do wrong can be changed while it runs."""

    root: Path
    url: str = ""
    requests: list[str] = field(default_factory=list)
    """`METHOD /path` of every request, in order."""
    gated: set[str] = field(default_factory=set)
    """Repositories whose files need the token `accepted`."""
    private: set[str] = field(default_factory=set)
    """Repositories that are there only for who has a token."""
    failing: dict[str, int] = field(default_factory=dict)
    """End of a path -> status that a GET of it is answered with."""
    cuts: dict[str, int] = field(default_factory=dict)
    """End of a path -> bytes after which the connection is cut, once or `always_cut`."""
    always_cut: bool = False
    held: dict[str, threading.Event] = field(default_factory=dict)
    """End of a path -> what its first half waits for before the rest is sent."""
    holding: threading.Event = field(default_factory=threading.Event)
    """Set while one does."""
    nonsense: bool = False
    """Whether the list of models is no JSON."""
    extra: list[Any] = field(default_factory=list)
    """What else stands in the list of models."""
    more_files: list[str] = field(default_factory=list)
    """Files that every repository says it has."""
    ranges: list[str] = field(default_factory=list)
    """The `Range` headers of the requests that had one."""

    def asked(self, end: str) -> int:
        """How many GET requests there were for paths that end so."""
        return sum(request.startswith("GET") and request.endswith(end) for request in self.requests)

    def forget(self) -> None:
        """Be well again, with an empty record."""
        self.always_cut = self.nonsense = False
        for hold in self.held.values():
            hold.set()
        self.holding.clear()
        for table in (self.failing, self.cuts, self.held):
            table.clear()
        for names in (self.gated, self.private):
            names.clear()
        for items in (self.requests, self.extra, self.more_files, self.ranges):
            items.clear()

    # --- What it answers ---

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self._record])
        app.router.add_get("/api/models", self._search)
        app.router.add_get("/api/models/{owner}/{name}", self._info)
        app.router.add_get("/api/models/{owner}/{name}/revision/{revision}", self._info)
        app.router.add_get("/api/models/{owner}/{name}/tree/{revision}", self._tree)
        app.router.add_get("/{owner}/{name}/resolve/{revision}/{path:.+}", self._file)
        return app

    @web.middleware
    async def _record(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.requests.append(f"{request.method} {request.path}")
        if request.method == "GET" and (status := _of(self.failing, request.path)):
            return web.Response(status=status)
        response: web.StreamResponse = await handler(request)
        return response

    async def _search(self, request: web.Request) -> web.Response:
        if self.nonsense:
            return web.Response(text="<html>Welcome to our hotel's network</html>")
        wanted = set(request.query.getall("filter", []))
        found = [_info(folder) for folder in sorted(self.root.glob("*/*"))]
        return web.json_response([info for info in found if wanted <= set(info["tags"])] + self.extra)

    async def _info(self, request: web.Request) -> web.Response:
        folder = self._folder(request)
        if folder is None:
            return _no_repository()
        info = _info(folder)
        info["siblings"] += [{"rfilename": name, "size": 9} for name in self.more_files]
        return web.json_response(info)

    async def _tree(self, request: web.Request) -> web.Response:
        folder = self._folder(request)
        return web.json_response(_tree(folder)) if folder else _no_repository()

    async def _file(self, request: web.Request) -> web.StreamResponse:
        folder = self._folder(request)
        if folder is None:
            return _no_repository()
        if _name(folder) in self.gated and request.headers.get("Authorization") != "Bearer accepted":
            return web.Response(status=403, headers={"X-Error-Code": "GatedRepo"})
        path = folder / request.match_info["path"]
        if not path.is_file():
            return web.Response(status=404, headers={"X-Error-Code": "EntryNotFound"})
        return await self._send(request, path.read_bytes(), _commit(folder))

    async def _send(self, request: web.Request, body: bytes, commit: str) -> web.StreamResponse:
        if wanted := request.headers.get("Range"):
            self.ranges.append(wanted)
        start = int((wanted or "bytes=0-").removeprefix("bytes=").split("-")[0])
        headers = {
            "ETag": f'"{hashlib.sha1(body).hexdigest()}"',
            "X-Repo-Commit": commit,
            "Accept-Ranges": "bytes",
            "Content-Length": str(len(body) - start),
        }
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        response = web.StreamResponse(status=206 if start else 200, headers=headers)
        await response.prepare(request)
        if request.method == "GET":
            await self._send_body(request, response, body[start:])
        return response

    async def _send_body(self, request: web.Request, response: web.StreamResponse, body: bytes) -> None:
        limit = _of(self.cuts, request.path) if self.always_cut else _take(self.cuts, request.path)
        hold = _of(self.held, request.path)
        for at in range(0, len(body), BLOCK):
            if limit is not None and at >= limit:
                assert request.transport is not None
                request.transport.close()
                return
            if hold is not None and at >= len(body) // 2:
                self.holding.set()
                await asyncio.to_thread(hold.wait)
            await response.write(body[at : at + BLOCK])

    def _folder(self, request: web.Request) -> Path | None:
        folder = self.root / request.match_info["owner"] / request.match_info["name"]
        hidden = _name(folder) in self.private and "Authorization" not in request.headers
        return None if hidden or not folder.is_dir() else folder


@contextmanager
def running_hub(root: Path) -> Iterator[LoopbackHub]:
    """A hub on a free port, in a thread of its own, until the block ends."""
    hub = LoopbackHub(root)
    loop = asyncio.new_event_loop()
    runner = web.AppRunner(hub.app(), shutdown_timeout=0)

    async def start() -> None:
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        hub.url = f"http://127.0.0.1:{runner.addresses[0][1]}"

    loop.run_until_complete(start())
    thread = threading.Thread(target=loop.run_forever, name="hub")
    thread.start()
    try:
        yield hub
    finally:
        for hold in hub.held.values():
            hold.set()
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(PATIENCE)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE)
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


def _of(table: dict[str, Any], path: str) -> Any:
    return next((value for end, value in table.items() if path.endswith(end)), None)


def _take(table: dict[str, int], path: str) -> int | None:
    return next((table.pop(end) for end in list(table) if path.endswith(end)), None)


def _no_repository() -> web.Response:
    return web.json_response({"error": "Repository not found"}, status=404, headers={"X-Error-Code": "RepoNotFound"})


def _name(folder: Path) -> str:
    return f"{folder.parent.name}/{folder.name}"


def _files(folder: Path) -> list[Path]:
    return [file for file in sorted(folder.rglob("*")) if file.is_file()]


def _commit(folder: Path) -> str:
    """Another one whenever a file changes."""
    facts = [(str(file.relative_to(folder)), file.stat().st_size, file.stat().st_mtime_ns) for file in _files(folder)]
    return hashlib.sha1(repr(facts).encode()).hexdigest()


def _tree(folder: Path) -> list[dict[str, Any]]:
    return [
        {"type": "file", "path": str(file.relative_to(folder)), "size": file.stat().st_size, "oid": "0" * 40}
        for file in _files(folder)
    ]


def _info(folder: Path) -> dict[str, Any]:
    card = _card(folder)
    library, task = card.get("library_name"), card.get("pipeline_tag")
    return {
        "id": _name(folder),
        "sha": _commit(folder),
        "private": False,
        "gated": False,
        "createdAt": "2026-01-01T00:00:00.000Z",
        "downloads": 1,
        "likes": 0,
        "tags": [*card.get("tags", []), *([library] if library else []), *([task] if task else [])],
        "pipeline_tag": task,
        "cardData": card,
        "siblings": [{"rfilename": file["path"], "size": file["size"], "blobId": "0" * 40} for file in _tree(folder)],
    }


def _card(folder: Path) -> dict[str, Any]:
    """The front matter of its README: `key: value` and lists."""
    readme = folder / "README.md"
    if not readme.exists() or not readme.read_text().startswith("---"):
        return {}
    card: dict[str, Any] = {}
    key = ""
    for line in readme.read_text().split("---")[1].strip().splitlines():
        if line.startswith("- "):
            card[key].append(line.removeprefix("- "))
        else:
            key, _, value = line.partition(":")
            card[key] = value.strip() or []
    return card
