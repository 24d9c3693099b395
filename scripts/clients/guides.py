"""What users of speaches-ai/speaches copied from its guides to voice chat and to the Realtime API, in Python and in .NET.

.NET itself is not here: its wire behaviour is, by the `websockets` library.
"""

from __future__ import annotations

import asyncio
import base64
import json
import urllib.request
from typing import Any

import websockets
from checks import (
    GREETING,
    KEY,
    PATIENCE,
    RECORDINGS,
    SPOKEN,
    URL,
    WS_URL,
    checked,
    chunks,
    finish,
    quiet,
    recorded,
    same,
    understood,
)
from openai import OpenAI

openai_client = OpenAI(base_url=f"{URL}/v1", api_key=KEY)
RECORDING = base64.b64encode((RECORDINGS / "hello.wav").read_bytes()).decode()


def voice_chat_in_python() -> None:
    answer = openai_client.chat.completions.create(
        model="gpt-4o-mini",
        modalities=["text", "audio"],
        audio={"voice": "alloy", "format": "wav"},
        stream=False,
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is in this recording?"},
                    {"type": "input_audio", "input_audio": {"data": RECORDING, "format": "wav"}},
                ],
            },
        ],
        extra_body={"transcription_model": "Systran/faster-whisper-tiny.en", "speech_model": "hexgrad/Kokoro-82M"},
    )
    audio = answer.choices[0].message.audio
    assert audio is not None
    same(audio.transcript, GREETING)
    assert base64.b64decode(audio.data)[:4] == b"RIFF"


def voice_chat_by_a_plain_request() -> None:
    content = [
        {"type": "text", "text": "What is in this recording?"},
        {"type": "input_audio", "input_audio": {"data": RECORDING, "format": "wav"}},
    ]
    body = {
        "model": "gpt-4o-mini",
        "messages": [{"role": "user", "content": content}],
        "modalities": ["text", "audio"],
        "audio": {"voice": "alloy", "format": "mp3"},
    }
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    request = urllib.request.Request(f"{URL}/v1/chat/completions", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        (choice,) = json.load(answer)["choices"]
    message = choice["message"]
    assert (choice["index"], choice["finish_reason"]) == (0, "stop")
    assert (message["role"], message["content"], message["refusal"]) == ("assistant", None, None)
    assert message["audio"].keys() == {"id", "expires_at", "data", "transcript"}
    understood(base64.b64decode(message["audio"]["data"]), GREETING)


async def a_transcription_from_dotnet(**headers: str) -> list[str]:
    """`StartSessionAsync("your-transcription-model", "transcription")`, of which deltas are written out."""
    url = f"{WS_URL}/v1/realtime?model=Systran/faster-whisper-tiny.en&intent=transcription"
    headers = {"Authorization": f"Bearer {KEY}", "User-Agent": "OpenAI/2.2.0 (.NET 8.0)", **headers}
    types, text = [], ""
    async with websockets.connect(url, additional_headers=headers) as socket, asyncio.timeout(PATIENCE):

        async def say(*pcm: bytes) -> None:
            for chunk in chunks(b"".join(pcm)):
                event = {"type": "input_audio_buffer.append", "audio": base64.b64encode(chunk).decode()}
                await socket.send(json.dumps(event))
                await asyncio.sleep(0.1)

        speaking = asyncio.create_task(say(quiet(0.5), recorded("weather"), quiet(1.2)))
        async for message in socket:
            update: dict[str, Any] = json.loads(message)
            types.append(update["type"])
            assert update["type"] != "error", update
            if update["type"] == "conversation.item.input_audio_transcription.delta":
                text += update["delta"]
            elif update["type"] == "conversation.item.input_audio_transcription.completed":
                same(update["transcript"], SPOKEN["weather"])
                break
        await speaking
    same(text, SPOKEN["weather"])
    assert not [name for name in types if name.startswith("response.")], types
    return types


with checked("voice chat, the guide's Python"):
    voice_chat_in_python()
with checked("voice chat, the guide's JSON"):
    voice_chat_by_a_plain_request()
with checked(".NET's transcription, with the beta's header"):
    types = asyncio.run(a_transcription_from_dotnet(**{"OpenAI-Beta": "realtime=v1"}))
    assert types[0] == "transcription_session.created" and "conversation.item.created" in types, types
with checked(".NET's transcription, without"):
    types = asyncio.run(a_transcription_from_dotnet())
    assert types[0] == "session.created" and "conversation.item.added" in types, types
finish()
