"""
Reading a Runpod job as one HTTP request: rules only, no I/O.

Every shape of `input` that is understood:

    {"method": "POST", "path": "/v1/audio/speech", "body": {"model": "...", "input": "Hello", "voice": "..."}}
    {"path": "/v1/models"}                                          no body and no file: GET
    {"path": "/v1/audio/transcriptions", "file_url": "https://...", "body": {"model": "..."}}
    {"path": "/v1/audio/transcriptions", "file_base64": "UklGR...", "file_name": "a.wav", "body": {...}}
    {"path": "/v1/images/edits", "image_base64": "...", "mask_base64": "..."}   any other form field that is a file
    {"path": "/v1/models", "query_params": {"task": "text-to-speech"}, "headers": {"X-Request-ID": "7"}}
    {"openai_route": "/v1/audio/speech", "openai_input": {...}}     what Runpod's /openai/* address makes; no input: GET
    {"route": "/v1/audio/speech", "body": {...}}                    as worker-vllm takes it

With a file, `body` becomes form fields in the way of OpenAI's SDKs: a list is the field `name[]` several times, an object is
`name[key]`, true and false are words, null is left out. `file_base64` may be a data URL (`data:audio/wav;base64,...`).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, unquote, urlencode, urlsplit

from speaches.errors import InvalidRequest
from speaches.worker.media import extension

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD")
BODILESS = ("GET", "HEAD")
MAX_TARGET = 8_000  # characters of path and query; more than any request needs, less than the server's parser refuses
MAX_HEADERS = 32_000  # characters of all headers together
MAX_NAME = 200  # characters of a file's name
EXAMPLE = '{"input": {"method": "POST", "path": "/v1/audio/speech", "body": {"input": "Hello"}}}'
REALTIME_PATHS = ("/v1/realtime", "/realtime")
KEY_HEADERS = frozenset({"authorization", "x-api-key", "api-key"})

# Left out of a job's headers: what is about one hop, which ends here (RFC 9110, 7.6.1), and what we set ourselves.
HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
    }
)
OURS = frozenset(
    {"host", "content-length", "content-type", "content-encoding", "accept-encoding", "expect", "forwarded"}
)
TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110, 5.6.2
CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclasses.dataclass(frozen=True)
class Upload:
    """A file that goes into the request: behind a `url`, or here as `base64`."""

    field: str
    name: str
    url: str | None = None
    base64: str | None = dataclasses.field(default=None, repr=False)


@dataclasses.dataclass(frozen=True)
class Request:
    """One request to the server. `target` begins with a single slash, so it can never name another host."""

    method: str
    target: str
    """Path and query, percent-encoded, as they go onto the wire."""
    headers: tuple[tuple[str, str], ...] = ()
    body: Mapping[str, Any] | None = dataclasses.field(default=None, repr=False)
    """JSON, or the form fields when there are uploads."""
    uploads: tuple[Upload, ...] = ()

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    def carries_key(self) -> bool:
        """Whether the job brings a key of its own."""
        names = {name.lower() for name, _ in self.headers}
        query = self.target.partition("?")[2].split("&")
        return bool(names & KEY_HEADERS) or any(part.partition("=")[0] == "api_key" for part in query)


def read_job(job_input: Any, *, streaming: bool = False) -> Request:
    """Read a job's `input` as one HTTP request.

    Args:
        job_input: what came under `input`, of any type.
        streaming: whether the answer may come in parts; if not, the job's wish to stream is dropped.

    Raises:
        InvalidRequest: If the input has no valid route, or a part of it can't be sent.
    """
    if not isinstance(job_input, dict):
        raise InvalidRequest(
            f"A job's input is an object, not {_kind(job_input)}. For example: {EXAMPLE}", param="input"
        )
    route, body, method = _route(job_input)
    uploads = tuple(_uploads(job_input))
    path, _, query = route.partition("?")
    path = _checked_path(path)
    method = _method(method, has_content=bool(body or uploads))
    return Request(
        method=method,
        target=_target(path, query, job_input.get("query_params")),
        headers=_headers(job_input.get("headers")),
        body=None if method in BODILESS else _adapted(path, body, streaming),
        uploads=uploads,
    )


def _route(job_input: dict[str, Any]) -> tuple[str, dict[str, Any] | None, Any]:
    """The three dialects as one: path with query, body, method."""
    if "openai_route" in job_input:
        route = _text(job_input["openai_route"], "openai_route")
        return _under_v1(route), _object(job_input.get("openai_input"), "openai_input") or None, job_input.get("method")
    name = "path" if job_input.get("path") is not None else "route"
    if job_input.get(name) is None:
        raise InvalidRequest(
            f"The input has no path, so there is nothing to call. For example: {EXAMPLE}", param="path"
        )
    return _text(job_input[name], name), _object(job_input.get("body"), "body"), job_input.get("method")


def _under_v1(route: str) -> str:
    """`/audio/speech`, `v1/audio/speech` and `/openai/v1/audio/speech` mean the same to Runpod's gateways and clients."""
    route = route if route.startswith("/") else f"/{route}"
    route = route.removeprefix("/openai")
    return route if re.match(r"/(/|v1(/|\?|$))", route) else f"/v1{route}"


def _checked_path(path: str) -> str:
    plain = unquote(path)
    if not path.startswith("/") or plain.startswith("//") or "\\" in plain:
        raise InvalidRequest(
            f"path must begin with a single '/', like /v1/audio/speech, and cannot name a host; got {path[:100]!r}.",
            param="path",
        )
    if CONTROL.search(plain):
        raise InvalidRequest("path contains a control character.", param="path")
    if any(segment in (".", "..") for segment in plain.split("/")):
        raise InvalidRequest(f"path must not contain '.' or '..' as a segment; got {path[:100]!r}.", param="path")
    if plain.rstrip("/") in REALTIME_PATHS:
        raise _needs_websocket(plain)
    return quote(path, safe="/%:@!$&'()*+,;=~-._")


def _needs_websocket(what: str) -> InvalidRequest:
    return InvalidRequest(
        f"{what} is a WebSocket, which a job cannot carry. Run the same image as a load-balancing endpoint (WORKER_MODE=http) "
        "and connect to wss://ENDPOINT_ID.api.runpod.ai/v1/realtime.",
        param="path",
        code="websocket_required",
    )


def _method(method: Any, *, has_content: bool) -> str:
    if method is None:
        return "POST" if has_content else "GET"
    if not isinstance(method, str) or method.upper() not in METHODS:
        raise InvalidRequest(f"method must be one of {', '.join(METHODS)}; got {str(method)[:50]!r}.", param="method")
    if has_content and method.upper() in BODILESS:
        raise InvalidRequest(
            f"A {method.upper()} carries no body and no file; use POST, or query_params.", param="method"
        )
    return method.upper()


def _target(path: str, query: str, params: Any) -> str:
    if CONTROL.search(unquote(query)):
        raise InvalidRequest("The query in path contains a control character.", param="path")
    parts = [quote(query, safe="/%:@!$&'()*+,;=~-._?[]")] if query else []
    parts += [urlencode(list(_query_params(params)), errors="replace")] if params else []
    target = "?".join(part for part in (path, "&".join(parts)) if part)
    if len(target) > MAX_TARGET:
        raise InvalidRequest(f"path and query_params are longer than {MAX_TARGET} characters together.", param="path")
    return target


def _query_params(params: Any) -> Iterator[tuple[str, str]]:
    for name, value in (_object(params, "query_params") or {}).items():
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, (dict, list)):
                raise InvalidRequest(
                    f"query_params.{name} must be a plain value or a list of such.", param="query_params"
                )
            if item is not None:
                yield name, _word(item)


def _headers(headers: Any) -> tuple[tuple[str, str], ...]:
    """Check the job's headers and leave out those that are not its business."""
    given = [(name, value) for name, value in (_object(headers, "headers") or {}).items() if value is not None]
    for name, value in given:
        if not TOKEN.fullmatch(name):
            raise InvalidRequest(f"{name[:50]!r} is not a valid header name.", param="headers")
        if isinstance(value, (dict, list)) or CONTROL.search(_word(value).replace("\t", " ")):
            raise InvalidRequest(f"The value of header {name[:50]!r} must be one line of text.", param="headers")
        if name.lower() == "upgrade":
            raise _needs_websocket("A request with an Upgrade header")
    if sum(len(name) + len(_word(value)) for name, value in given) > MAX_HEADERS:
        raise InvalidRequest(f"The headers are longer than {MAX_HEADERS} characters together.", param="headers")
    named = {
        part.strip().lower()
        for name, value in given
        if name.lower() == "connection"
        for part in _word(value).split(",")
    }
    return tuple(
        (name, _word(value).strip())
        for name, value in given
        if name.lower() not in HOP_BY_HOP | OURS | named and not name.lower().startswith("x-forwarded-")
    )


def _uploads(job_input: dict[str, Any]) -> Iterator[Upload]:
    if job_input.get("file_url") is not None and job_input.get("file_base64") is not None:
        raise InvalidRequest("The input has both file_url and file_base64; send one of them.", param="file_url")
    for key, value in job_input.items():
        if value is None:
            continue
        if key == "file_url":
            url = _text(value, key)
            yield Upload("file", _name(job_input.get("file_name")) or _name_in_url(url) or "audio", url=url)
        elif key.endswith("_base64") and key != "_base64":
            field_name = key.removesuffix("_base64")
            text, kind = _without_data_prefix(_text(value, key), key)
            yield Upload(field_name, _name(job_input.get(f"{field_name}_name")) or f"{field_name}{kind}", base64=text)


def _without_data_prefix(text: str, key: str) -> tuple[str, str]:
    """The base64 itself, and a file extension if a data URL tells the type."""
    if text[:5].lower() != "data:":
        return text, ""
    head, comma, rest = text.partition(",")
    if not comma or not head.lower().endswith(";base64"):
        raise InvalidRequest(
            f"{key} is a data URL that is not base64; it must look like data:audio/wav;base64,UklGR...", param=key
        )
    known = extension(head[5:])
    return rest, "" if known == "bin" else f".{known}"


def _name(value: Any) -> str:
    """A file name without folders and control characters; empty when none is given."""
    if value is None:
        return ""
    plain = CONTROL.sub("", _text(value, "file_name")).replace("\\", "/")
    return plain.rsplit("/", 1)[-1][-MAX_NAME:]


def _name_in_url(url: str) -> str:
    try:
        return _name(unquote(urlsplit(url).path))
    except ValueError:
        return ""  # what is wrong with the URL is said where it is fetched


def _adapted(path: str, body: dict[str, Any] | None, streaming: bool) -> dict[str, Any] | None:
    """What a job means differently from the same request over HTTP."""
    if body is None:
        return None
    body = dict(body)
    if not streaming:  # an answer in parts would arrive as one text of events, of use to nobody
        body = {key: value for key, value in body.items() if key not in ("stream", "stream_options")}
        if body.get("stream_format") == "sse":
            del body["stream_format"]
    if path.rstrip("/") == "/v1/audio/speech/captions":
        body.pop(
            "stream", None
        )  # it has lines of JSON, or of text: as a whole they are one answer that a job can carry
    if path.rstrip("/") == "/v1/audio/speech":
        if body.get("response_format") is None:
            # What users of the worker were promised; over HTTP the default stays OpenAI's mp3.
            body["response_format"] = "wav"
        if body.get("stream_format") != "sse":
            body["stream"] = False  # the job waits for the whole anyway, and then its header can tell its length
    return body


def form_fields(body: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A JSON object as form fields, in the way of OpenAI's SDKs."""
    return [pair for name, value in body.items() for pair in _fields(name, value)]


def _fields(name: str, value: Any) -> Iterator[tuple[str, str]]:
    match value:
        case None:
            return
        case dict():
            for key, item in value.items():
                yield from _fields(f"{name}[{key}]", item)
        case list():
            for item in value:
                yield from _fields(name if name.endswith("[]") else f"{name}[]", item)
        case _:
            yield name, _word(value)


def _word(value: Any) -> str:
    """A plain JSON value as it is written in a form, a query or a header."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise InvalidRequest(f"{name} must be a text that is not empty, not {_kind(value)}.", param=name)
    return value.strip()


def _object(value: Any, name: str) -> dict[str, Any] | None:
    if value is not None and not isinstance(value, dict):
        raise InvalidRequest(f"{name} must be an object, not {_kind(value)}.", param=name)
    return value


def _kind(value: Any) -> str:
    names = {
        bool: "true or false",
        int: "a number",
        float: "a number",
        str: "a text",
        list: "a list",
        dict: "an object",
    }
    return "an empty text" if value == "" else names.get(type(value), "null")
