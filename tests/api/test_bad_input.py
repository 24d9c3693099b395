"""What strangers send, one table for each edge: request -> status, code, param, and a word that the message must have.

Each table is sent twice: the second time nothing may be left that the first did not leave.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import pytest

from speaches.audio.encode import encode
from tests.api.conftest import MakeApp
from tests.api.serving import Footprint, Serving, form, serving
from tests.fakes import FakeEngines
from tests.recordings import noise, silence, tone, wav

SPEECH = "POST /v1/audio/speech"
TRANSCRIPTIONS = "POST /v1/audio/transcriptions"
CAPTIONS = "POST /v1/audio/speech/captions"
ACTIVITY = "POST /v1/audio/speech/timestamps"
CAPS = {"max_upload_bytes": 200_000, "max_audio_seconds": 5.0, "max_audio_channels": 2, "max_text_chars": 1000}
SECOND = wav(tone(440, 1))


@dataclass(frozen=True)
class Sent:
    head: str
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """A request and what its answer must be."""

    what: str
    sent: Sent
    status: int
    code: str | None
    param: str | None
    word: str


def get(path: str, **headers: str) -> Sent:
    return Sent(f"GET {path}", headers=headers)


def send_json(head: str, body: Any, content_type: str = "application/json") -> Sent:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Sent(head, data, {"content-type": content_type})


def say(**fields: Any) -> Sent:
    return send_json(SPEECH, {"input": "Hello.", "voice": "ada"} | fields)


def send_form(head: str, *parts: Any) -> Sent:
    body, content_type = form(*parts)
    return Sent(head, body, {"content-type": content_type})


def hear(audio: bytes = SECOND, head: str = TRANSCRIPTIONS, content_type: str = "audio/wav", **fields: str) -> Sent:
    values = [(name, value.encode()) for name, value in fields.items()]
    return send_form(head, *values, ("file", audio, "audio.wav", content_type))


def chunked(sent: Sent, size: int = 50_000) -> Sent:
    """The same without a Content-Length."""
    parts = [sent.body[at : at + size] for at in range(0, len(sent.body), size)]
    body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in [*parts, b""])
    return Sent(sent.head, body, sent.headers | {"transfer-encoding": "chunked"})


async def ask(server: Serving, sent: Sent) -> tuple[int, dict[str, str], bytes]:
    headers = {name.replace("-", "_"): value for name, value in sent.headers.items()}
    async with server.send(sent.head, sent.body, **headers) as connection:
        return await connection.answer()


async def mistakes(server: Serving, table: Sequence[Row]) -> list[str]:
    """The rows that were answered in another way, and how."""
    return [f"{row.what}: {why}" for row in table if (why := await _mistake(server, row))]


async def _mistake(server: Serving, row: Row) -> str:
    status, headers, body = await ask(server, row.sent)
    try:
        envelope = json.loads(body)
        error = envelope["error"]
        answered = (status, error["code"], error["param"])
        shape = (set(envelope), set(error))
    except (ValueError, LookupError, TypeError):
        return f"{status} {body[:300]!r}"
    if shape != ({"error"}, {"message", "type", "param", "code"}):
        return f"no envelope: {envelope}"
    if answered != (row.status, row.code, row.param) or row.word not in error["message"]:
        return f"{answered} {error['message']!r}"
    if "x-request-id" not in headers:
        return "no x-request-id"
    return "" if len(error["message"]) < 1000 else "the message is too long to read"


async def check(server: Serving, table: Sequence[Row]) -> None:
    """Send the table twice, and look at what is left."""
    assert "\n".join(await mistakes(server, table)) == ""
    before = await Footprint.before()
    assert "\n".join(await mistakes(server, table)) == ""
    assert (await ask(server, get("/health")))[0] == 200
    await before.is_all()
    assert server.users() == 0
    assert server.log.tracebacks() == []


def unspoken(what: str, param: str, word: str, **fields: Any) -> Row:
    """Speech with a parameter that is wrong."""
    return Row(what, say(**fields), 400, "invalid_value", param, word)


def no_json(what: str, body: Any, word: str) -> Row:
    return Row(what, send_json(SPEECH, body), 400, "invalid_json", None, word)


SPEECH_TABLE = [
    Row("no body", Sent(SPEECH), 400, "missing_required_parameter", None, "body"),
    Row("no input", send_json(SPEECH, {"voice": "ada"}), 400, "missing_required_parameter", "input", "input"),
    Row("null input", say(input=None), 400, "missing_required_parameter", "input", "input"),
    unspoken("empty text", "input", "empty", input=""),
    unspoken("blank text", "input", "empty", input=" \n\t"),
    unspoken("a number as text", "input", "string", input=5),
    Row("text over the cap", say(input="a" * 1001), 400, "string_above_max_length", "input", "1000"),
    Row("a body far over the cap", say(input="a" * 100_000), 413, "request_too_large", None, "77536"),
    Row("the same in chunks", chunked(say(input="a" * 100_000)), 413, "request_too_large", None, "77536"),
    Row("the same as text", Sent(SPEECH, bytes(100_000), {"content-type": "text/plain"}), 413, "request_too_large", None, "77536"),
    unspoken("speed 0", "speed", "0.25", speed=0),
    unspoken("speed 100", "speed", "4", speed=100),
    unspoken("speed fast", "speed", "number", speed="fast"),
    unspoken("speed true", "speed", "number", speed=True),
    unspoken("a list of speeds", "speed", "number", speed=[1.0]),
    unspoken("speed NaN", "speed", "nan", speed=float("nan")),
    unspoken("speed Infinity", "speed", "4", speed=float("inf")),
    unspoken("speed -Infinity", "speed", "0.25", speed=float("-inf")),
    Row("a huge speed", send_json(SPEECH, b'{"input": "a", "speed": 1' + b"0" * 400 + b"}"), 400, "invalid_value", "speed", "number"),
    no_json("a number of 5000 digits", b'{"input": "a", "speed": 1' + b"0" * 5000 + b"}", "JSON"),
    unspoken("unknown voice", "voice", "ada, max", voice="bob"),
    unspoken("unknown voice in an object", "voice", "ada, max", voice={"id": "bob"}),
    unspoken("a voice object without an id", "voice", "string", voice={"name": "ada"}),
    unspoken("a voice object with a number", "voice", "string", voice={"id": 1}),
    unspoken("a voice list", "voice", "string", voice=["ada"]),
    unspoken("a voice with a NUL", "voice", "ada, max", voice="a\0da"),
    unspoken("response_format docx", "response_format", "mp3", response_format="docx"),
    unspoken("stream_format video", "stream_format", "sse", stream_format="video"),
    unspoken("sample_rate 7999", "sample_rate", "8000", sample_rate=7999),
    unspoken("sample_rate 48001", "sample_rate", "48000", sample_rate=48001),
    unspoken("sample_rate 8k", "sample_rate", "integer", sample_rate="8k"),
    unspoken("sample_rate 0", "sample_rate", "8000", sample_rate=0),
    unspoken("sample_rate true", "sample_rate", "number", sample_rate=True),
    unspoken("half a sample", "sample_rate", "integer", sample_rate=24000.5),
    Row("sample_rate 1e400", send_json(SPEECH, b'{"input": "a", "sample_rate": 1e400}'), 400, "invalid_value", "sample_rate", "finite"),
    unspoken("opus at 44100 Hz", "sample_rate", "opus", sample_rate=44100, response_format="opus"),
    unspoken("unknown language", "language", "en-US", language="tlh"),
    unspoken("a language list", "language", "string", language=["en"]),
    unspoken("unknown speaker", "speaker", "ada, max", speaker="bob"),
    unspoken("a speaker too many", "speaker", "ada, max", speaker=99),
    unspoken("a negative speaker", "speaker", "ada, max", speaker=-1),
    unspoken("speaker true", "speaker", "number", speaker=True),
    unspoken("a speaker object", "speaker", "number", speaker={"id": 1}),
    unspoken("a pause of -1", "pause_seconds", "0", pause_seconds=-1),
    unspoken("a pause of 11", "pause_seconds", "10", pause_seconds=11),
    unspoken("a pause of NaN", "pause_seconds", "0", pause_seconds=float("nan")),
    unspoken("a pause in words", "pause_seconds", "number", pause_seconds="long"),
    unspoken("pause true", "pause_seconds", "number", pause_seconds=True),
    unspoken("normalize perhaps", "normalize", "boolean", normalize="perhaps"),
    unspoken("stream perhaps", "stream", "boolean", stream="perhaps"),
    unspoken("instructions that are a number", "instructions", "string", instructions=7),
    Row("unknown model", say(model="no/such"), 404, "model_not_found", "model", "speaches models pull no/such"),
    Row("what is here instead", say(model="no/such"), 404, "model_not_found", "model", "fake/voice"),
    Row("unknown name", say(model="gpt-9"), 404, "model_not_found", "model", "alias"),
    Row("a model that hears", say(model="fake/recogniser"), 400, "wrong_model", "model", "text-to-speech"),
    Row("a model that climbs", say(model="../../etc/passwd"), 404, "model_not_found", "model", "not on this server"),
    Row("an absolute model", say(model="/etc/passwd"), 404, "model_not_found", "model", "not on this server"),
    Row("a model with a NUL", say(model="a/b\0"), 404, "model_not_found", "model", "not on this server"),
    no_json("broken JSON", b'{"input": ', "JSON"),
    no_json("half a UTF-8 character", b'{"input": "\xff\xfe"}', "JSON"),
    Row("a lone surrogate as voice", send_json(SPEECH, b'{"input": "a", "voice": "\\udfff"}'), 400, "invalid_value", "voice", "ada, max"),
    no_json("JSON that is a list", [1], "object"),
    no_json("JSON that is a string", "hello", "object"),
    no_json("JSON that is null", None, "object"),
    *(
        Row(f"{depth} arrays", send_json(SPEECH, b"[" * depth), 400, "invalid_json", None, "JSON")
        for depth in (1000, 30_000)
    ),
    Row("a form", send_json(SPEECH, b"input=hello", "application/x-www-form-urlencoded"), 400, "invalid_json", None, "application/json"),
    Row("no content type", Sent(SPEECH, b'{"input": "hello"}'), 400, "invalid_json", None, "application/json"),
    Row("GET", get("/v1/audio/speech"), 405, "method_not_supported", None, "POST"),
]  # fmt: skip


async def test_bad_requests_for_speech(make_app: MakeApp) -> None:
    async with serving(make_app(**CAPS)) as server:
        await check(server, SPEECH_TABLE)


async def test_what_is_wrong_for_speech_is_wrong_for_captions(make_app: MakeApp) -> None:
    table = [
        replace(row, sent=replace(row.sent, head=CAPTIONS))
        for row in SPEECH_TABLE
        if row.sent.head == SPEECH and row.param != "stream_format"
    ]
    assert len(table) > 50
    async with serving(make_app(**CAPS)) as server:
        await check(server, table)


def uncaptioned(what: str, param: str, word: str, **fields: Any) -> Row:
    return Row(what, send_json(CAPTIONS, {"input": "Hello."} | fields), 400, "invalid_value", param, word)


CAPTIONS_TABLE = [
    uncaptioned("caption_format ass", "caption_format", "vtt", caption_format="ass"),
    uncaptioned("caption_format 1", "caption_format", "srt", caption_format=1),
    uncaptioned("granularity letter", "timestamp_granularities", "phoneme", timestamp_granularities=["letter"]),
    uncaptioned("a granularity in a word", "timestamp_granularities", "phoneme", timestamp_granularities="words"),
    uncaptioned("a granularity object", "timestamp_granularities", "list", timestamp_granularities={"word": True}),
    uncaptioned("no room for a word", "max_cue_chars", "8", max_cue_chars=1),
    uncaptioned("a cue of an hour", "max_cue_seconds", "60", max_cue_seconds=3600),
    uncaptioned("a cue of true seconds", "max_cue_seconds", "number", max_cue_seconds=True),
    Row("GET captions", get("/v1/audio/speech/captions"), 405, "method_not_supported", None, "POST"),
]


async def test_bad_requests_for_captions(make_app: MakeApp) -> None:
    async with serving(make_app(**CAPS)) as server:
        await check(server, CAPTIONS_TABLE)


@pytest.mark.parametrize(
    "voice",
    [
        "af_heart(2)+nobody(1)", "nobody+af_heart", "af_heart(-1)+am_adam", "af_heart(0)+am_adam(0)", "af_heart(x)+am_adam",
        "af_heart(1e400)+am_adam", "af_heart(nan)+am_adam", "af_heart(", "+", "af_heart+", "++af_heart", "af_heart(1", "(1)",
        "+".join(["af_heart"] * 101), "af_heart(1)" * 50_000, "../af_heart", "af_heart\r\n+x", "\u202eaf_heart",
    ],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/v1/audio/speech", "/v1/audio/speech/captions"])
def test_a_mix_that_can_not_be(http: httpx.Client, path: str, voice: str) -> None:
    answer = http.post(path, json={"input": "Hello.", "voice": voice})
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"]) == (400, "voice", "invalid_value"), error
    assert len(error["message"]) < 1000


async def test_arrays_of_any_depth_are_no_bug(make_app: MakeApp) -> None:
    """Python gives up on JSON at some depth, and on quoting it at another."""
    async with serving(make_app()) as server:
        for depth in [*range(100, 1100, 7), 100_000, 1_000_000]:
            nested = b"[" * depth + b"]" * depth
            for sent in (
                send_json(SPEECH, b'{"input": ' + nested + b"}"),
                send_json(SPEECH, b'{"input": "a", "voice": {"id": ' + nested + b"}}"),
                send_json(TRANSCRIPTIONS, b'{"file": "AAAA", "prompt": ' + nested + b"}"),
            ):
                status, _, body = await ask(server, sent)
                assert (status, json.loads(body)["error"]["type"]) == (400, "invalid_request_error"), depth
        assert server.log.tracebacks() == []


async def test_a_million_marks_are_no_work(make_app: MakeApp) -> None:
    """A regular expression that looks at a run of marks from each of them anew would take hours, on the event loop."""
    async with serving(make_app()) as server:
        for mark in (".", ",", "?!", '"', ". ", "\u3002", "[", "Mr. ", "a\n"):
            sent = say(input=mark * (900_000 // len(mark)))
            async with server.send(sent.head, sent.body, content_type="application/json") as connection:
                assert "200 OK" in await connection.head()
        assert (await ask(server, get("/health")))[0] == 200


async def test_half_an_emoji_is_spoken_as_a_mark(make_app: MakeApp, engines: FakeEngines) -> None:
    """JavaScript's strings can be cut within a character, and are then sent so."""
    async with serving(make_app()) as server:
        assert (await ask(server, send_json(SPEECH, b'{"input": "Hi \\ud83d"}')))[0] == 200
        assert [piece.text for piece in engines.voice.pieces] == ["Hi \ufffd"]
        sent = send_json(TRANSCRIPTIONS, {"file": BASE64, "prompt": "Hi \ud83d", "keywords": ["\udc00"]})
        assert (await ask(server, sent))[0] == 200
        assert [(options.prompt, options.hotwords) for options in engines.recogniser.asked] == [("Hi \ufffd", "\ufffd")]


PNG = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + bytes(100)
HLS = b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"
CONCAT = b"ffconcat version 1.0\nfile /etc/passwd\n"
DASH = b'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><Period></Period></MPD>'
RANDOM = (noise(1).tobytes() * 2)[:100_000]
MP3 = encode("mp3", 24_000, tone(440, 1, rate=24_000))
FLAC = encode("flac", 24_000, tone(440, 1, rate=24_000))
URLENCODED = "application/x-www-form-urlencoded"
BASE64 = base64.b64encode(SECOND).decode()


def one_part(disposition: bytes) -> bytes:
    return b"--x\r\nContent-Disposition: " + disposition + b"\r\n\r\na\r\n--x--\r\n"


def recordings_table(head: str) -> list[Row]:
    """What is wrong with a file is told in the same way wherever it is sent."""

    def missing(what: str, sent: Sent, word: str = "file") -> Row:
        return Row(what, sent, 400, "missing_required_parameter", "file", word)

    def file(what: str, audio: bytes, status: int, code: str, word: str) -> Row:
        return Row(what, hear(audio, head), status, code, "file", word)

    def bad_form(what: str, body: bytes, word: str, content_type: str = "multipart/form-data; boundary=x") -> Row:
        return Row(what, Sent(head, body, {"content-type": content_type}), 400, "invalid_form", None, word)

    def in_json(what: str, body: Any, code: str, word: str, param: str | None = "file") -> Row:
        return Row(what, send_json(head, body), 400, code, param, word)

    many_fields, _ = form(*[(f"f{n}", b"") for n in range(201)])
    many_files, multipart = form(*[(f"f{n}", b"", "a", "audio/wav") for n in range(9)])
    return [
        missing("no body", Sent(head), "multipart/form-data"),
        missing("no file", send_form(head, ("model", b"fake/recogniser"))),
        missing("a file that is a field", send_form(head, ("file", b"hello"))),
        missing("a file of another name", send_form(head, ("audio", SECOND, "a.wav", "audio/wav"))),
        missing("a form as curl -d sends it", send_json(head, b"file=hello", URLENCODED)),
        missing("odd signs in it", send_json(head, b"&&=%%&;%zz=\xff&", URLENCODED)),
        missing("half a form", Sent(head, hear().body[:200], hear().headers)),
        missing("wrong content type", Sent(head, SECOND, {"content-type": "audio/wav"}), "audio/wav"),
        file("an empty file", b"", 400, "empty_file", "empty"),
        file("0 seconds", wav(silence(0)), 400, "audio_too_short", "0.1"),
        file("half a header", SECOND[:20], 400, "unsupported_audio", "read"),
        file("half an MP3 frame", MP3[:60], 400, "unsupported_audio", ""),
        file("the head of a FLAC", FLAC[:60], 400, "unsupported_audio", ""),
        file("noise", RANDOM, 400, "unsupported_audio", "read"),
        file("text", b"hello " * 1000, 400, "unsupported_audio", "read"),
        file("a picture", PNG, 400, "unsupported_audio", "read"),
        file("a playlist", HLS, 400, "unsupported_audio", "read"),
        file("a list of files", CONCAT, 400, "unsupported_audio", "read"),
        file("a manifest", DASH, 400, "unsupported_audio", "read"),
        file("a name", b"/etc/passwd", 400, "unsupported_audio", "read"),
        file("8 channels", wav(tone(440, 0.5), channels=8), 413, "request_too_large", "8 channels"),
        file("6 seconds", wav(tone(440, 6, rate=8000), rate=8000), 413, "request_too_large", "5 seconds"),
        Row("too many bytes", hear(bytes(250_000), head), 413, "request_too_large", None, "200000"),
        Row("too many bytes in chunks", chunked(hear(bytes(250_000), head)), 413, "request_too_large", None, "200000"),
        Row("too many bytes in JSON", send_json(head, {"file": "A" * 250_000}), 413, "request_too_large", None, "200000"),
        bad_form("too many fields", many_fields, "fields", multipart),
        bad_form("too many files", many_files, "files", multipart),
        bad_form("too many fields of curl -d", b"a=&" * 300, "fields", URLENCODED),
        bad_form("no boundary", b"hello", "boundary", "multipart/form-data"),
        bad_form("another boundary", hear().body, ""),
        bad_form("a part without a name", one_part(b"form-data"), "name"),
        bad_form("an odd charset", one_part(b'form-data; name="a"'), "", "multipart/form-data; boundary=x; charset=undefined"),
        in_json("broken JSON", b'{"file": "', "invalid_json", "JSON", None),
        in_json("half a UTF-8 character", b'{"file": "\xff"}', "invalid_json", "JSON", None),
        in_json("a list", [], "invalid_json", "object", None),
        in_json("no file in JSON", {"model": "a"}, "missing_required_parameter", "input_audio"),
        in_json("an empty file in JSON", {"file": ""}, "missing_required_parameter", "input_audio"),
        in_json("a file that is a number", {"file": 7}, "missing_required_parameter", "input_audio"),
        in_json("input_audio without data", {"input_audio": {"format": "wav"}}, "missing_required_parameter", "input_audio"),
        in_json("no base64", {"file": "***"}, "invalid_base64", "base64"),
        in_json("no base64 in a data URL", {"file": "data:audio/wav;base64,***"}, "invalid_base64", "base64"),
        in_json("a lone surrogate as base64", b'{"file": "\\ud800"}', "invalid_base64", "base64"),
        in_json("base64 of nothing", {"file": "data:audio/wav;base64,"}, "empty_file", "empty"),
        Row("GET", get(head.split()[1]), 405, "method_not_supported", None, "POST"),
    ]  # fmt: skip


def unheard(what: str, param: str, word: str, *pairs: tuple[str, str], **fields: str) -> Row:
    """A transcription with a parameter that is wrong."""
    parts = [(name, value.encode()) for name, value in (*pairs, *fields.items())]
    sent = send_form(TRANSCRIPTIONS, *parts, ("file", SECOND, "a", "audio/wav"))
    return Row(what, sent, 400, "invalid_value", param, word)


TIMES = "timestamp_granularities"
TRANSCRIPTION_TABLE = [
    *recordings_table(TRANSCRIPTIONS),
    unheard("unknown language", "language", "xx", language="xx"),
    unheard("a language the model lacks", "language", "de, en, es, fr", language="ja"),
    unheard("two languages", "language", "string", ("language", "en"), ("language", "de")),
    unheard("a language and a list", "language", "string", ("language", "en"), ("language[]", "de")),
    unheard("a language and an object", "language", "string", ("language[a]", "en"), ("language[]", "de"), ("language", "a")),
    unheard("response_format docx", "response_format", "verbose_json", response_format="docx"),
    unheard("temperature 2", "temperature", "1", temperature="2"),
    unheard("temperature nan", "temperature", "nan", temperature="nan"),
    unheard("temperature warm", "temperature", "number", temperature="warm"),
    unheard("stream perhaps", "stream", "bool", stream="perhaps"),
    unheard("times of letters", TIMES, "word", response_format="verbose_json", timestamp_granularities="letter"),
    unheard("times without verbose_json", TIMES, "verbose_json", timestamp_granularities="word"),
    Row("unknown model", hear(model="no/such"), 404, "model_not_found", "model", "speaches models pull no/such"),
    Row("what is here instead", hear(model="no/such"), 404, "model_not_found", "model", "fake/recogniser"),
    Row("a model that speaks", hear(model="fake/voice"), 400, "wrong_model", "model", "automatic-speech-recognition"),
    Row("a model that climbs", hear(model="../../etc/passwd"), 404, "model_not_found", "model", "not on this server"),
    Row("a model with a NUL", hear(model="a/b\0c"), 404, "model_not_found", "model", "not on this server"),
    Row("streamed noise", hear(RANDOM, stream="true"), 400, "unsupported_audio", "file", "read"),
    Row("streamed 0 seconds", hear(wav(silence(0)), stream="true"), 400, "audio_too_short", "file", "0.1"),
]  # fmt: skip


async def test_bad_requests_for_transcription(make_app: MakeApp) -> None:
    async with serving(make_app(**CAPS)) as server:
        await check(server, TRANSCRIPTION_TABLE)


async def test_a_recogniser_that_can_not_translate_says_so(make_app: MakeApp, engines: FakeEngines) -> None:
    engines.recogniser.translates = False
    table = [Row("translate", hear(head="POST /v1/audio/translations"), 400, "unsupported_value", "model", "translate")]
    async with serving(make_app()) as server:
        await check(server, table)


async def test_what_can_be_decoded_is_heard_whatever_it_is_called(make_app: MakeApp, engines: FakeEngines) -> None:
    opus = encode("opus", 24_000, tone(440, 1, rate=24_000))
    flac = encode("flac", 24_000, np_noise())
    async with serving(make_app()) as server:
        for audio in (MP3, FLAC, opus, SECOND, SECOND[:20_000], MP3[: len(MP3) // 2], flac[: len(flac) // 2]):
            for content_type in ("audio/wav", "audio/mpeg", "application/octet-stream", "text/plain", "video/webm"):
                status, _, body = await ask(server, hear(audio, content_type=content_type))
                assert (status, json.loads(body)["text"]) == (200, "hello")


def np_noise() -> Any:
    return noise(2, rate=24_000)


def undetected(param: str, value: str, word: str) -> Row:
    """A detection with a parameter that is wrong."""
    parts = [(param, value.encode()), ("file", SECOND, "a", "audio/wav")]
    return Row(f"{param} {value}", send_form(ACTIVITY, *parts), 400, "invalid_value", param, word)


ACTIVITY_TABLE = [
    *recordings_table(ACTIVITY),
    undetected("threshold", "2", "1"),
    undetected("threshold", "-1", "0"),
    undetected("threshold", "high", "number"),
    undetected("threshold", "nan", "nan"),
    undetected("neg_threshold", "2", "1"),
    undetected("max_speech_duration_s", "0", "0"),
    undetected("max_speech_duration_s", "nan", "nan"),
    undetected("min_silence_duration_ms", "-1", "0"),
    undetected("min_speech_duration_ms", "-1", "0"),
    undetected("speech_pad_ms", "-1", "0"),
    Row("unknown model", hear(head=ACTIVITY, model="silero_vad_v9"), 404, "model_not_found", "model", "silero_vad_v6"),
    Row("a model that speaks", hear(head=ACTIVITY, model="fake/voice"), 400, "wrong_model", "model", "voice-activity"),
]  # fmt: skip


async def test_bad_requests_for_voice_activity(make_app: MakeApp) -> None:
    async with serving(make_app(**CAPS)) as server:
        await check(server, ACTIVITY_TABLE)


@pytest.mark.parametrize(
    "name", ["min_speech_duration_ms", "min_silence_duration_ms", "speech_pad_ms", "max_speech_duration_s"]
)
@pytest.mark.parametrize("value", ["inf", "1e300", "1e-300"])
async def test_extreme_parameters_of_voice_activity_are_no_bug(make_app: MakeApp, name: str, value: str) -> None:
    async with serving(make_app()) as server:
        sent = send_form(ACTIVITY, (name, value.encode()), ("file", SECOND, "a", "audio/wav"))
        status, _, body = await ask(server, sent)
        assert (status, isinstance(json.loads(body), list)) in ((200, True), (400, False))
        assert server.log.tracebacks() == []


CLIMBING = [
    "..", "../..", "../../etc/passwd", "%2e%2e", "%2e%2e/%2e%2e/etc/passwd", "a/..%2f..", "..%2F..%2Fetc%2Fpasswd", "%00", "a/b%00",
    "/etc/passwd", "//etc/passwd", "a/b/c", "a%5c..%5cb", ".", "%ff%fe", "a/" + "b" * 300, "models--a--b", "a/.b",
]  # fmt: skip

MODELS_TABLE = [
    Row("unknown path", get("/v1/audio/nothing"), 404, "unknown_url", None, "/v1/audio/nothing"),
    Row("the root", get("/"), 404, "unknown_url", None, "/docs"),
    *(
        Row(f"{method} with a line break", Sent(f"{method} /v1/models/a%0d%0ab"), 404, "unknown_url", None, "models")
        for method in ("GET", "POST", "DELETE")
    ),
    Row("PUT", Sent("PUT /v1/models"), 405, "method_not_supported", None, "GET"),
    Row("DELETE of all", Sent("DELETE /v1/models"), 405, "method_not_supported", None, "GET"),
    Row("PATCH", Sent("PATCH /api/ps/fake/voice"), 405, "method_not_supported", None, "DELETE"),
    Row("unknown task", get("/v1/models?task=dance"), 400, "invalid_value", "task", "text-to-speech"),
    Row("unknown task of the registry", get("/v1/registry?task=dance"), 400, "invalid_value", "task", "text-to-speech"),
    Row("voices of no model", get("/v1/audio/voices?model=no/such"), 404, "model_not_found", "model", "no/such"),
    Row("voices of a climbing model", get("/v1/audio/voices?model=../../etc"), 404, "model_not_found", "model", "etc"),
    Row("unload what is not loaded", Sent("DELETE /api/ps/fake/voice"), 404, None, "model", "fake/voice"),
    Row("delete a built-in model", Sent("DELETE /v1/models/fake/voice"), 403, None, "model", "built in"),
    *(
        Row(f"{method} {path}/{name[:40]}", Sent(f"{method} {path}/{name}"), 404, code, "model", "")
        for name in CLIMBING
        for method, path, code in (
            ("GET", "/v1/models", "model_not_found"),
            ("POST", "/v1/models", "model_not_found"),
            ("DELETE", "/v1/models", "model_not_found"),
            ("POST", "/api/ps", "model_not_found"),
            ("DELETE", "/api/ps", None),
        )
    ),
]


async def test_bad_requests_for_models(make_app: MakeApp) -> None:
    async with serving(make_app(**CAPS)) as server:
        await check(server, MODELS_TABLE)


def key(**headers: str) -> Sent:
    return get("/v1/models", **headers)


WRONG = (401, "invalid_api_key", None)
AUTH_TABLE = [
    Row("no key", key(), *WRONG, "Authorization: Bearer"),
    Row("wrong key", key(authorization="Bearer wrong"), *WRONG, "Incorrect"),
    Row("the start of the key", key(authorization="Bearer righ"), *WRONG, "Incorrect"),
    Row("the key and more", key(authorization="Bearer right1"), *WRONG, "Incorrect"),
    Row("another scheme", key(authorization="Basic right"), *WRONG, "Bearer"),
    Row("no scheme", key(authorization="right"), *WRONG, "Bearer"),
    Row("an empty key", key(authorization="Bearer "), *WRONG, "Bearer"),
    Row("a key of other letters", key(authorization="Bearer sch\xfcssel"), *WRONG, "Incorrect"),
    Row("wrong key in X-API-Key", key(**{"x-api-key": "wrong"}), *WRONG, "Incorrect"),
    Row("wrong key in the query", get("/v1/models?api_key=wrong"), *WRONG, "Incorrect"),
    Row("two keys", key(**{"authorization": "Bearer right", "x-api-key": "wrong"}), *WRONG, "two"),
    Row("two keys, one in the query", get("/v1/models?api_key=wrong", authorization="Bearer right"), *WRONG, "two"),
    Row("two keys in the query", get("/v1/models?api_key=wrong&api_key=right"), *WRONG, "two"),
    Row("two headers", key(authorization="Bearer wrong\r\nauthorization: Bearer right"), *WRONG, "two"),
    Row("two headers, the other way round", key(authorization="Bearer right\r\nauthorization: Bearer wrong"), *WRONG, "two"),
    Row("two X-API-Keys", key(**{"x-api-key": "right\r\nx-api-key: wrong"}), *WRONG, "two"),
    *(
        Row(f"no key for {head}", Sent(head), *WRONG, "API key")
        for head in (
            "GET /v1/models/fake/voice", "POST /v1/models/fake/voice", "DELETE /v1/models/fake/voice", "GET /api/ps",
            "POST /api/ps/fake/voice", "DELETE /api/ps/fake/voice", "GET /v1/registry", "GET /metrics",
            "GET /selftest", SPEECH, TRANSCRIPTIONS, ACTIVITY,
            "POST /v1/audio/translations", "GET /nothing", "POST /v1/audio/voices", "DELETE /v1/audio/models", "GET /health/",
            "GET //health", "GET /health%2f..%2fv1/models", "GET /v1/../health",
        )
    ),
]  # fmt: skip


async def test_requests_without_the_key(make_app: MakeApp) -> None:
    async with serving(make_app(api_key="right")) as server:
        await check(server, AUTH_TABLE)


async def test_where_the_key_may_be(make_app: MakeApp) -> None:
    async with serving(make_app(api_key="right")) as server:
        for sent in (
            key(authorization="Bearer right"),
            key(authorization="bearer  right "),
            key(**{"x-api-key": "right"}),
            key(**{"api-key": "right"}),
            get("/v1/models?api_key=right"),
            key(**{"authorization": "Bearer right", "x-api-key": "right"}),
            key(authorization="Bearer right\r\nauthorization: Bearer right"),
            key(**{"authorization": "Basic YTpi", "x-api-key": "right"}),
        ):
            assert (await ask(server, sent))[0] == 200, sent


async def test_what_needs_no_key(make_app: MakeApp) -> None:
    async with serving(make_app(api_key="right")) as server:
        public = [
            "/health",
            "/healthz",
            "/readyz",
            "/ping",
            "/docs",
            "/redoc",
            "/openapi.json",
            "/v1/audio/voices",
            "/v1/audio/models",
        ]
        assert [(await ask(server, get(path)))[0] for path in public] == [200] * len(public)


async def test_the_key_is_nowhere_in_the_log(make_app: MakeApp) -> None:
    async with serving(make_app(api_key="wellhidden")) as server:
        for sent in (
            get("/v1/models?api_key=wellhidden"),
            key(authorization="Bearer wellhidden"),
            get("/x?api_key=wellhidden2"),
        ):
            await ask(server, sent)
        assert [record.getMessage() for record in server.log.records if "wellhidden" in record.getMessage()] == []
