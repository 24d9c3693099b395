"""A client that sends recordings, much faster than anybody speaks."""

from __future__ import annotations

from speaches.realtime import driver
from tests.api.conftest import MakeApp
from tests.api.realtime_client import talking
from tests.fakes import RECOGNISER_ID, FakeEngines

COMMITTED = "input_audio_buffer.committed"
COMPLETED = "conversation.item.input_audio_transcription.completed"


async def test_a_client_that_is_far_ahead_of_the_recogniser_waits_for_it(
    make_app: MakeApp, engines: FakeEngines
) -> None:
    most, more = driver.MOST_UNHEARD, 4
    async with talking(make_app) as place, place.client() as client:
        await client.update(audio={"input": {"turn_detection": None, "transcription": {"model": RECOGNISER_ID}}})
        engines.recogniser.gate.close()
        for _ in range(most + more):
            await client.speaks(0.2)
            await client.send("input_audio_buffer.commit")
        await client.until(COMMITTED, times=most)
        async with place.client() as other:  # the server has had the time to go on
            await other.is_alive()
        engines.recogniser.gate.open()
        await client.until(COMMITTED, times=more)
        while len(client.all(COMPLETED)) < most + more:
            await client.next()
    sent = [event for event in client.sent() if event in (COMMITTED, COMPLETED)]
    assert sent[: most + 1] == [COMMITTED] * most + [COMPLETED]
