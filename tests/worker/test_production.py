"""handler.py as a worker of a control plane: the whole way, by Runpod's own SDK."""

from __future__ import annotations

import base64
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from .control_plane import ControlPlane
from .fake_server import WAV
from .helpers import eventually, is_alive
from .processes import Process, gone, worker

POOL_SIZE = min(32, (os.cpu_count() or 1) + 4)  # of `concurrent.futures`
SPEECH = {"path": "/v1/audio/speech", "body": {"model": "m", "input": "Hello", "voice": "v"}}


@pytest.fixture
def plane() -> Iterator[ControlPlane]:
    with ControlPlane() as running:
        yield running


def state_of(plane: ControlPlane) -> Any:
    """What the server works on, asked by a job."""
    return plane.run(f"state-{time.monotonic_ns()}", {"path": "/state"})["output"]


def left_behind(process: Process) -> tuple[int, int, int]:
    """Threads, descriptors that are files, and temporary files: none may become more with the jobs."""
    main = process.family()[0]
    return (
        main.num_threads(),
        len([one for one in main.open_files() if "deleted" in one.path]),
        len(list(process.output.parent.glob("tmp*/*"))),
    )


def test_jobs_of_every_kind_and_a_worker_that_ends_when_told(plane: ControlPlane, tmp_path: Path) -> None:
    with worker(tmp_path, plane.environment()) as process:
        # A result, an error as text, a result that is too large, one that is not JSON in Python's eyes only.
        output = plane.run("speech", SPEECH)["output"]
        assert base64.b64decode(output["audio_content"]) == WAV
        failed = plane.run("unknown", {"path": "/text?status=404&text=x"})
        assert failed["error"] == "The speech server answered 404 Not Found."
        assert (failed["output"]["status_code"], failed["output"]["detail"]["message"]) == (404, failed["error"])
        assert plane.run("nan", {"path": "/text", "query_params": {"type": "application/json", "text": "[NaN]"}}) == {
            "output": [None]
        }
        assert "mp3 or opus" in plane.run("huge", {"path": "/bytes?size=7200000&type=audio/wav"})["error"]
        assert (
            len(plane.run("large", {"path": "/bytes?size=7100000&type=audio/wav"})["output"]["audio_content"])
            > 9_400_000
        )
        assert plane.run("empty", {"path": "/text?status=204"}) == {"output": {"status": "success"}}
        assert "object" in plane.run("list", [1])["error"]

        # Jobs run side by side. A cancelled one closes its request; the other goes on; nobody posts a result for the first.
        for name in ("cancelled", "other"):
            plane.submit(name, {"path": f"/slow?name={name}"})
        eventually(lambda: state_of(plane) == {"running": 2, "left": []})
        plane.cancel("cancelled")
        eventually(lambda: state_of(plane) == {"running": 1, "left": ["cancelled"]})
        plane.cancel("other")
        eventually(lambda: state_of(plane) == {"running": 0, "left": ["cancelled", "other"]})
        assert "cancelled" not in plane.done
        assert plane.refused == []

        # Nothing grows with the jobs.
        before = left_behind(process)
        for number in range(5):
            encoded = base64.b64encode(bytes(3_000_000)).decode()
            assert "output" in plane.run(f"upload-{number}", {"path": "/x", "file_base64": encoded})
            assert (
                "public internet"
                in plane.run(f"url-{number}", {"path": "/x", "file_url": "http://127.0.0.1/"})["error"]
            )
        after = left_behind(process)
        assert after[1:] == before[1:] == (0, 0)
        assert after[0] <= before[0] + POOL_SIZE  # the loop's own pool fills up to its size

        # Payloads stay out of the log.
        assert "audio_content" not in process.log()

        # The heartbeat runs, and goes when the worker does.
        eventually(lambda: plane.pings)
        family = process.family()
        assert len(family) == 3  # worker, server, heartbeat
        process.popen.send_signal(signal.SIGTERM)
        assert process.ended() == 0  # the SDK alone would wait for its polls to end, some minutes here
        gone(family)


def test_a_job_in_progress_is_finished_before_the_worker_ends(plane: ControlPlane, tmp_path: Path) -> None:
    with worker(tmp_path, plane.environment()) as process:
        plane.submit("last", {"path": "/slow?seconds=1&name=last"})
        eventually(lambda: "Jobs in progress: 1" in process.log())
        process.popen.send_signal(signal.SIGTERM)
        assert process.ended() == 0
        assert plane.result("last") == {"output": {"done": "last"}}


def test_nothing_survives_a_worker_that_is_killed(plane: ControlPlane, tmp_path: Path) -> None:
    with worker(tmp_path, plane.environment()) as process:
        plane.run("one", SPEECH)
        eventually(lambda: len(process.family()) == 3)
        family = process.family()
        process.popen.kill()
        gone(family)  # also the SDK's heartbeat, which would tell Runpod that all is well
        assert not [one for one in family if is_alive(one.pid)]


def test_a_server_that_dies_is_an_error_for_its_job_and_the_next_one_works(plane: ControlPlane, tmp_path: Path) -> None:
    with worker(tmp_path, plane.environment()) as process:
        first = plane.run("deadly", {"path": "/die"})
        assert first["output"]["status_code"] == 502
        assert "died while it worked on this job (exit code 3)" in first["error"]
        assert plane.run("next", SPEECH)["output"]["status"] == "success"
        assert "the server dies in the middle of a request" in process.log()
        assert process.popen.poll() is None


def test_a_server_that_can_not_be_healed_ends_the_worker(plane: ControlPlane, tmp_path: Path) -> None:
    environment = plane.environment() | {"WORKER_RESTARTS": "1"}
    with worker(tmp_path, environment, behaviour=f"once:{tmp_path / 'started'}") as process:
        plane.run("one", SPEECH)
        family = process.family()
        process.server().send_signal(signal.SIGKILL)
        assert process.ended() == 1
        assert "gives itself up" in process.log()
        gone(family)


def test_a_server_that_does_not_boot_is_reported_to_runpod(plane: ControlPlane, tmp_path: Path) -> None:
    with worker(tmp_path, plane.environment(), behaviour="dies") as process:
        assert process.ended() == 1
        assert "this model does not exist" in process.log()
        assert plane.pings[0]["status"] == "unhealthy"
        assert "died while starting (exit code 1)" in plane.pings[0]["reason"]
        assert plane.polls == 0


def test_a_streaming_worker_posts_parts_and_the_whole(plane: ControlPlane, tmp_path: Path) -> None:
    events = [{"type": "transcript.text.delta", "delta": "ü" * 5_000}] * 50  # more than a part can hold
    with worker(tmp_path, plane.environment() | {"WORKER_STREAM": "true"}) as process:
        whole = plane.run("stream", {"path": "/events", "body": {"stream": True, "events": events}})
        parts = [part["output"] for part in plane.streamed["stream"]]
        assert [event for part in parts for event in part["events"]] == events
        assert 1 < len(parts) < len(events)
        assert whole == {"output": parts}
        assert plane.run("error", {"path": "/events", "body": {"stream": True, "events": events, "then": "die"}})[
            "error"
        ].startswith("The speech server died")
        assert plane.run("plain", SPEECH)["output"][0]["content_type"] == "audio/wav"
        assert psutil.Process(process.popen.pid).is_running()
