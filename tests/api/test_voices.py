"""Voices that come with models, and those that users keep."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import openai
import pytest
import soundfile
from openai.types.audio import Voice, VoiceDeleted

from speaches.app import create_app
from speaches.settings import Settings
from speaches.speech.voices import OPENAI_VOICES
from tests.api.conftest import KOKORO, PIPER, MakeApp
from tests.api.serving import Serving, serving, threaded
from tests.fakes import VOICE_ID, FakeEngines

ESPEAK, PAIR = "speaches/espeak-ng", "speaches-test/piper-en_US-synth_pair-medium"
MIX = "af_heart(2)+af_sky(1)"
VOICES = "/v1/audio/voices"
NARRATOR = {"name": "Narrator", "voice": "max", "speed": 2.0, "language": "en-GB"}


def voices(http: httpx.Client, **filters: str) -> list[dict[str, Any]]:
    answer = http.get(VOICES, params=filters)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["voices"]
    return found


def problem(answer: httpx.Response) -> tuple[int, str | None, str]:
    """Status, param and message of an error."""
    error = answer.json()["error"]
    return answer.status_code, error["param"], error["message"]


# --- The list ---


def test_every_voice_says_what_it_is_and_how_it_sounds(http: httpx.Client) -> None:
    found = {(voice["model"], voice["id"]): voice for voice in voices(http)}
    assert found[KOKORO, "af_heart"] == {
        "id": "af_heart",
        "name": "Heart",
        "model": KOKORO,
        "language": "en-US",
        "gender": "female",
        "preview_url": "/v1/audio/voices/af_heart/preview?model=speaches-test%2Fkokoro-synth",
    }
    assert {model for model, _ in found} >= {KOKORO, PIPER, PAIR, ESPEAK}
    assert all(voice["name"] and voice["language"] and voice["preview_url"] for voice in found.values())
    assert (ESPEAK, "en-us+Mr serious") in found


def test_an_alias_of_a_model_lists_its_voices_once(http: httpx.Client) -> None:
    everything = voices(http)
    assert len({(voice["model"], voice["id"]) for voice in everything}) == len(everything)
    assert voices(http, model="tts-1") == voices(http, model=KOKORO) != []


def test_voices_of_a_language_or_gender(http: httpx.Client) -> None:
    german = voices(http, language="de-AT")
    assert [voice["id"] for voice in german] == ["de"]
    women = voices(http, model=KOKORO, gender="female", language="en")
    assert {voice["id"] for voice in women} == {"af_heart", "af_bella", "af_sky", "bf_emma"}
    assert {voice["gender"] for voice in voices(http, gender="male")} == {"male"}
    assert voices(http, language="xx") == []


def test_what_is_asked_wrongly_of_the_list(http: httpx.Client) -> None:
    assert problem(http.get(VOICES, params={"gender": "robot"}))[:2] == (400, "gender")
    assert problem(http.get(VOICES, params={"model": "no/such"}))[:2] == (404, "model")


@pytest.mark.parametrize(
    ("name", "model", "wanted"),
    [
        ("af_heart", None, (KOKORO, "af_heart", "en-US")),
        ("de", None, (ESPEAK, "de", "de")),
        ("de+f2", ESPEAK, (ESPEAK, "de+f2", "de")),
        (MIX, None, (KOKORO, MIX, "en-US")),
        ("nova", ESPEAK, (ESPEAK, "en-us+f3", "en-US")),
        ("male", PAIR, (PAIR, "male", "en-US")),
    ],
)
def test_one_voice(http: httpx.Client, name: str, model: str | None, wanted: tuple[str, str, str]) -> None:
    voice = http.get(f"{VOICES}/{quote(name)}", params={"model": model} if model else {}).json()
    assert (voice["model"], voice["id"], voice["language"]) == wanted


def test_a_voice_that_is_not_there_is_a_404_that_lists_those_that_are(http: httpx.Client) -> None:
    status, param, message = problem(http.get(f"{VOICES}/nobody", params={"model": KOKORO}))
    assert (status, param) == (404, "voice_id")
    assert "af_heart" in message
    assert problem(http.get(f"{VOICES}/nobody/preview"))[0] == 404
    assert problem(http.get(f"{VOICES}/af_heart", params={"model": "no/such"}))[:2] == (404, "model")


async def test_no_name_is_no_voice(make_app: MakeApp) -> None:
    async with serving(make_app()) as server, server.client() as client:
        for path in (f"{VOICES}/", f"{VOICES}//preview"):
            assert (await client.get(path)).status_code == 404


async def test_asking_for_a_voice_downloads_no_model(make_app: MakeApp) -> None:
    async with serving(make_app(default_tts_model="not/here")) as server, server.client() as client:
        status, param, message = problem(await client.get(f"{VOICES}/nobody"))
        assert (status, param) == (404, "voice_id")
        assert "?model=" in message
        assert (await client.get("/api/ps")).json() == {"models": [], "downloads": {}}


# --- Previews ---


@pytest.mark.parametrize(
    ("model", "name"), [(KOKORO, "af_heart"), (ESPEAK, "de"), (ESPEAK, "en-us+Mr serious"), (PAIR, "male")]
)
def test_a_preview_is_a_few_seconds_of_speech(http: httpx.Client, model: str, name: str) -> None:
    (voice,) = (voice for voice in voices(http, model=model) if voice["id"] == name)
    answer = http.get(voice["preview_url"])
    assert (answer.status_code, answer.headers["content-type"]) == (200, "audio/mpeg")
    assert answer.headers["cache-control"] == "private, max-age=86400"
    samples, rate = soundfile.read(io.BytesIO(answer.content))
    assert 1 < len(samples) / rate < 10


def test_a_preview_in_another_format(http: httpx.Client) -> None:
    url = voices(http, model=PIPER)[0]["preview_url"]
    assert http.get(url, params={"model": PIPER, "response_format": "wav"}).content[:4] == b"RIFF"
    assert problem(http.get(url, params={"model": PIPER, "response_format": "midi"}))[:2] == (400, "response_format")


async def test_a_preview_needs_the_key_and_the_list_does_not(make_app: MakeApp) -> None:
    async with serving(make_app(api_key="sk-mine")) as server, server.client() as client:
        listed = await client.get(VOICES)
        assert listed.status_code == 200
        url = listed.json()["voices"][0]["preview_url"]
        assert (await client.get(url)).status_code == 401
        assert (await client.post(VOICES, json=NARRATOR)).status_code == 401
        assert (await client.delete(f"{VOICES}/voice_{'0' * 24}")).status_code == 401
        assert (await client.get(url, headers={"authorization": "Bearer sk-mine"})).status_code == 200


async def test_a_preview_speaks_the_voices_language(make_app: MakeApp, engines: FakeEngines) -> None:
    async with serving(make_app()) as server, server.client() as client:
        assert (await client.get(f"{VOICES}/max/preview")).status_code == 200
        assert {piece.voice for piece in engines.voice.pieces} == {"max"}
        assert engines.voice.pieces[0].text.startswith("Hello")


# --- Keeping ---


async def kept(server: Serving, **changes: Any) -> dict[str, Any]:
    """A voice that was kept."""
    async with server.client() as client:
        answer = await client.post(VOICES, json=NARRATOR | changes)
        assert answer.status_code == 200, answer.text
        voice: dict[str, Any] = answer.json()
        return voice


async def test_a_voice_is_kept_listed_found_and_deleted(make_app: MakeApp) -> None:
    async with serving(make_app()) as server, server.client() as client:
        voice = await kept(server, instructions="Calm.")
        Voice.model_validate(voice)
        assert {name: voice[name] for name in (*NARRATOR, "model", "object", "type", "prompt", "gender")} == {
            **NARRATOR,
            "model": VOICE_ID,
            "object": "audio.voice",
            "type": "prompt",
            "prompt": "max",
            "gender": "male",
        }
        assert "instructions" not in voice  # lists need no key, and they may be private
        listed = (await client.get(VOICES, params={"model": VOICE_ID, "language": "en"})).json()["voices"]
        assert listed[-1] == voice
        for name in (voice["id"], "Narrator", "narrator"):
            assert (await client.get(f"{VOICES}/{name}")).json() == voice
        assert (await client.get(voice["preview_url"])).status_code == 200
        gone = (await client.delete(f"{VOICES}/{voice['id']}")).json()
        assert gone == {"id": voice["id"], "object": "audio.voice.deleted", "deleted": True}
        VoiceDeleted.model_validate(gone)
        assert voice not in (await client.get(VOICES)).json()["voices"]
        assert problem(await client.delete(f"{VOICES}/{voice['id']}"))[:2] == (404, "voice_id")
        assert problem(await client.get(voice["preview_url"]))[0] == 404


async def test_speech_takes_a_kept_voice_by_name_id_and_object(make_app: MakeApp, engines: FakeEngines) -> None:
    async with serving(make_app()) as server, server.client() as client:
        voice = await kept(server)
        for name in ("Narrator", voice["id"], {"id": voice["id"]}):
            engines.voice.pieces.clear()
            answer = await client.post("/v1/audio/speech", json={"input": "Hello.", "voice": name})
            assert answer.status_code == 200, answer.text
            (piece,) = engines.voice.pieces
            assert (piece.voice, piece.speed, piece.language) == ("max", 2.0, "en-GB")


async def test_what_the_request_says_wins_over_what_was_kept(make_app: MakeApp, engines: FakeEngines) -> None:
    async with serving(make_app()) as server, server.client() as client:
        await kept(server)
        await client.post("/v1/audio/speech", json={"input": "Hello.", "voice": "Narrator", "speed": 0.5})
        assert engines.voice.pieces[0].speed == 0.5


def test_openais_sdk_keeps_a_mix_and_speaks_with_it(settings: Settings, tmp_path: Path) -> None:
    app = create_app(settings.model_copy(update={"default_tts_model": KOKORO, "voices_dir": tmp_path / "voices"}))
    with threaded(app) as url, openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        voice = client.audio.voices.create(name="Storyteller", type="prompt", prompt=MIX, model="auto")
        assert (voice.object, voice.name, voice.type, voice.prompt) == ("audio.voice", "Storyteller", "prompt", MIX)
        assert json.loads((tmp_path / "voices" / f"{voice.id}.json").read_text())["model"] == KOKORO
        speech = client.audio.speech.create(
            model=KOKORO, voice={"id": voice.id}, input="Hello world.", response_format="wav"
        )
        assert speech.read()[:4] == b"RIFF"
        with pytest.raises(openai.BadRequestError, match="can't be cloned") as refused:
            client.audio.voices.create(name="Me", audio_sample=("me.wav", b"RIFF", "audio/wav"), consent="cons_1")
        assert refused.value.param == "audio_sample"
        with pytest.raises(openai.BadRequestError, match="none can be made from a description here") as refused:
            client.audio.voices.create(name="Old", type="prompt", prompt="An old man who whispers")
        assert refused.value.param == "prompt"
        assert client.audio.voices.delete(voice.id).deleted


async def test_a_form_is_as_good_as_json(make_app: MakeApp) -> None:
    async with serving(make_app()) as server, server.client() as client:
        fields = {"name": (None, "Narrator"), "voice": (None, "max"), "speed": (None, "1.5")}
        answer = await client.post(VOICES, files=fields)
        assert (answer.status_code, answer.json()["speed"]) == (200, 1.5)


REFUSED = [
    ({"name": ""}, 400, "name", "Missing"),
    ({"name": " \t"}, 400, "name", "1 to 64 printable"),
    ({"name": "x" * 65}, 400, "name", "1 to 64 printable"),
    ({"name": "a\nb"}, 400, "name", "1 to 64 printable"),
    ({"name": ["a"]}, 400, "name", "string"),
    ({"name": "Nova"}, 409, "name", "OpenAI"),
    ({"name": "BOSS"}, 409, "name", "VOICE_ALIASES"),
    ({"name": "max"}, 409, "name", "of its own"),
    ({"voice": None}, 400, "voice", "Missing"),
    ({"voice": "bob"}, 400, "voice", "ada, max"),
    ({"voice": 7}, 400, "voice", "string"),
    ({"voice": None, "prompt": "bob"}, 400, "prompt", "ada, max"),
    ({"model": "no/such"}, 404, "model", "no/such"),
    ({"model": "fake/recogniser"}, 400, "model", "automatic-speech-recognition"),
    ({"speed": 9}, 400, "speed", "4"),
    ({"speed": "fast"}, 400, "speed", "number"),
    ({"speed": True}, 400, "speed", "number"),
    ({"language": "de"}, 400, "language", "en-US"),
    ({"instructions": "x" * 5000}, 400, "instructions", "4096"),
    ({"type": "audio_sample"}, 400, "audio_sample", "can't be cloned"),
    ({"type": "magic"}, 400, "type", "prompt"),
    ({"consent": "cons_1"}, 400, "audio_sample", "can't be cloned"),
]


@pytest.mark.parametrize(("changes", "status", "param", "word"), REFUSED)
async def test_what_can_not_be_kept(
    make_app: MakeApp, tmp_path: Path, changes: dict[str, Any], status: int, param: str, word: str
) -> None:
    app = make_app(voices_dir=tmp_path / "voices", voice_aliases={"boss": ["max"]}, auto_download=False)
    async with serving(app) as server, server.client() as client:
        answer = await client.post(VOICES, json=NARRATOR | changes)
        assert problem(answer)[:2] == (status, param)
        assert word in problem(answer)[2]
        assert not (tmp_path / "voices").exists()


async def test_a_name_is_kept_once(make_app: MakeApp) -> None:
    async with serving(make_app()) as server, server.client() as client:
        await kept(server)
        status, param, message = problem(await client.post(VOICES, json=NARRATOR | {"name": " NARRATOR "}))
        assert (status, param) == (409, "name")
        assert "already" in message


async def test_a_voice_of_a_model_is_not_deleted(make_app: MakeApp) -> None:
    async with serving(make_app()) as server, server.client() as client:
        status, param, message = problem(await client.delete(f"{VOICES}/max"))
        assert (status, param) == (404, "voice_id")
        assert "can't be deleted" in message


async def test_a_body_that_is_none(make_app: MakeApp) -> None:
    async with serving(make_app()) as server, server.client() as client:
        for body in (b"", b"{", b"[]", b"\xff"):
            answer = await client.post(VOICES, content=body, headers={"content-type": "application/json"})
            assert answer.status_code == 400, body
        answer = await client.post(VOICES, content=b"--x", headers={"content-type": "multipart/form-data"})
        assert answer.status_code == 400


async def test_a_folder_that_can_not_be_written_lets_all_else_work(make_app: MakeApp, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    async with serving(make_app(voices_dir=tmp_path / "file" / "voices")) as server, server.client() as client:
        answer = await client.post(VOICES, json=NARRATOR)
        assert answer.status_code == 503
        assert "VOICES_DIR" in problem(answer)[2]
        assert (await client.get(VOICES)).status_code == 200
        assert (await client.post("/v1/audio/speech", json={"input": "Hello.", "voice": "max"})).status_code == 200


async def test_a_kept_voice_is_listed_only_while_its_model_is_there(make_app: MakeApp, tmp_path: Path) -> None:
    folder = tmp_path / "voices"
    async with serving(make_app(voices_dir=folder)) as server, server.client() as client:
        voice = await kept(server)
        file = folder / f"{voice['id']}.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"model": "gone/away"}))
    async with serving(make_app(voices_dir=folder)) as server, server.client() as client:
        assert {one["model"] for one in (await client.get(VOICES)).json()["voices"]} == {VOICE_ID}
        assert (await client.delete(f"{VOICES}/{voice['id']}")).status_code == 200


async def test_aliases_of_the_settings_are_voices(make_app: MakeApp, engines: FakeEngines) -> None:
    aliases = {"boss": ["af_heart", "max"], "nova": ["max"]}
    async with serving(make_app(voice_aliases=aliases)) as server, server.client() as client:
        for name in ("boss", "nova"):
            engines.voice.pieces.clear()
            answer = await client.post("/v1/audio/speech", json={"input": "Hello.", "voice": name})
            assert answer.status_code == 200, answer.text
            assert engines.voice.pieces[0].voice == "max"


def test_openais_voices_are_found_by_their_names(http: httpx.Client) -> None:
    for name in OPENAI_VOICES:
        assert http.get(f"{VOICES}/{name}", params={"model": KOKORO}).json()["model"] == KOKORO
