"""What clients do with spoken answers, and what LLMs put into them: as it comes in practice."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import SecretStr

from tests.api.conftest import MakeApp
from tests.api.test_chat_streaming import (
    ANSWER,
    CHAT,
    FIRST,
    RECORDING,
    WORD,
    asking,
    audio,
    audio_of,
    chatting,
    deltas_of,
    heard,
)
from tests.chat.llm import DONE, finish, written
from tests.fakes import FakeEngines
from tests.recordings import tone, wav


async def test_an_answer_can_be_referred_to_while_it_is_still_spoken(make_app: MakeApp, engines: FakeEngines) -> None:
    engines.voice.gate.close()
    async with (
        chatting(make_app, f"{FIRST} And", asyncio.Event()) as chat,
        chat.deltas(**asking()) as deltas,
    ):
        audio_id = (await anext(deltas))["audio"]["id"]
        await engines.voice.gate.reached()
        request = asking(modalities=["text"])
        request["messages"].append({"role": "assistant", "audio": {"id": audio_id}})
        await chat.sdk.chat.completions.create(**request)
        engines.voice.gate.open()
    assert chat.llm.asked[1]["messages"][1]["content"] == f"{FIRST} And"


async def test_a_message_of_the_sdk_is_understood_by_another_server_too(make_app: MakeApp) -> None:
    async with chatting(make_app) as chat:
        first = await chat.sdk.chat.completions.create(**asking())
    async with chatting(make_app) as other:
        request: Any = asking(modalities=["text"])
        request["messages"].append(first.choices[0].message)
        await other.sdk.chat.completions.create(**request)
    sent = other.llm.asked[0]["messages"][1]
    assert sent["content"] == ANSWER and "audio" not in sent


async def test_thoughts_are_neither_spoken_nor_remembered(make_app: MakeApp, engines: FakeEngines) -> None:
    script = written(f"<think> Well, what could it be? </think> {FIRST}")
    async with chatting(make_app, *script, finish(), DONE) as chat:
        deltas = deltas_of(await chat.chunks(**asking()))
        chat.llm.says = f"<think>\nWell, what could it be?\n</think>\n\n{FIRST}"
        message: Any = (await chat.sdk.chat.completions.create(**asking())).choices[0].message
        chat.llm.says = "<think>\nWell, what"
        endless: Any = (await chat.sdk.chat.completions.create(**asking())).choices[0].message
        chat.llm.says = "<think></think>"
        empty: Any = (await chat.sdk.chat.completions.create(**asking())).choices[0].message
        assert list(chat.server.state.spoken.values()) == [f"{FIRST} ", FIRST]
    assert "".join(audio_of(deltas, "transcript")).strip() == FIRST
    assert "".join(delta.get("reasoning_content", "") for delta in deltas).strip() == "Well, what could it be?"
    assert len(heard(deltas)) == 5 * WORD
    assert (message.audio.transcript, message.reasoning_content) == (FIRST, "\nWell, what could it be?\n")
    assert (endless.audio, endless.content, endless.reasoning_content) == (None, "", "\nWell, what")
    assert (empty.audio, empty.content, hasattr(empty, "reasoning_content")) == (None, "", False)
    assert [piece.text.strip() for piece in engines.voice.pieces] == [FIRST, FIRST]


@pytest.mark.parametrize("coded", [base64.encodebytes, base64.urlsafe_b64encode])
async def test_base64_may_have_lines_and_the_alphabet_of_urls(
    make_app: MakeApp, engines: FakeEngines, coded: Callable[[bytes], bytes]
) -> None:
    recording = coded(wav(tone(440, 1))).decode()
    assert recording != RECORDING
    async with chatting(make_app) as chat:
        for data in (recording, f"data:audio/wav;base64,{recording}"):
            await chat.sdk.chat.completions.create(**asking(audio(data), modalities=["text"]))
        await chat.sdk.chat.completions.create(**asking(audio(), modalities=["text"]))
    assert len(engines.recogniser.heard) == 1, "all three are the same recording"


async def test_an_llm_that_waits_for_ever_to_be_asked_again_is_no_failure_of_ours(make_app: MakeApp) -> None:
    async with chatting(make_app) as chat, chat.server.client() as client:
        chat.llm.status, chat.llm.headers = 429, {"retry-after": "9" * 400}
        answer = await client.post(CHAT, json=asking())
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "86400")
        chat.llm.status = 999
        assert (await client.post(CHAT, json=asking())).status_code == 502
        assert chat.server.log.tracebacks() == []


async def test_what_is_the_users_is_not_told_to_the_llm(make_app: MakeApp) -> None:
    async with chatting(make_app, api_key="user-key", chat_completion_api_key=SecretStr("sk-llm")) as chat:
        secrets = {"x-api-key": "user-key", "cookie": "session=user", "openai-organization": "org", "x-own": "mine"}
        async with chat.server.client(headers=secrets) as client:
            for modalities in (["text"], ["text", "audio"]):
                assert (await client.post(CHAT, json=asking(modalities=modalities))).status_code == 200
    for told in chat.llm.told:
        assert told["authorization"] == "Bearer sk-llm"
        assert not set(secrets) & set(told)
