"""Results too large to return go into a bucket: a small S3 on loopback."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import urlsplit

import pytest
from aiohttp import web
from pydantic import SecretStr

from speaches.errors import InvalidRequest
from speaches.worker.bucket import bucket_of, store
from speaches.worker.proxy import Answer

from .helpers import run, serving, settings, worker_on_fake_server

KEYS = {"accessId": "id", "accessSecret": "secret"}
OURS: dict[str, Any] = {"bucket_access_key_id": "id", "bucket_secret_access_key": SecretStr("secret")}


class FakeS3:
    """Keeps what is put, and gives it back to who has a signed URL."""

    def __init__(self, status: int = 200) -> None:
        self.files: dict[str, tuple[str, bytes]] = {}
        self.status = status

    async def put(self, request: web.Request) -> web.Response:
        assert "Credential=id/" in request.headers["Authorization"]
        self.files[request.path] = (request.headers["Content-Type"], await request.read())
        return web.Response(status=self.status)

    def app(self) -> web.Application:
        application = web.Application(client_max_size=1024**3)
        application.router.add_put("/{path:.*}", self.put)
        return application


async def large_result(s3: FakeS3, path: str, job: dict[str, Any] | None = None, **changes: Any) -> Any:
    """The output of a job whose answer is too large; EP stands for the S3's address."""
    async with serving(s3.app()) as endpoint:
        filled = {
            key: value.replace("EP", endpoint) if isinstance(value, str) else value for key, value in changes.items()
        }
        more = json.loads(json.dumps(job or {}).replace("EP", endpoint))
        async with worker_on_fake_server(worker_max_result_bytes=100_000, **filled) as (worker, _):
            return await worker.handle({"id": "job/1", "input": {"path": path}} | more)


def test_a_jobs_own_bucket_takes_its_result() -> None:
    s3 = FakeS3()
    job = {"s3Config": {"endpointUrl": "EP", "bucketName": "mine", **KEYS}}
    output = run(large_result(s3, "/bytes?size=200000&type=audio/wav", job, allow_private_urls=True))
    assert s3.files == {"/mine/speaches/job_1.wav": ("audio/wav", bytes(200_000))}
    assert (output["status"], output["content_type"]) == ("success", "audio/wav")
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/mine/speaches/job_1\.wav\?X-Amz-.*X-Amz-Signature=.*", output["url"])


def test_the_workers_bucket_takes_the_others_also_json() -> None:
    s3 = FakeS3()
    output = run(
        large_result(s3, f"/text?type=application/json&hex={b'[1]'.hex()}", bucket_endpoint_url="EP/ours", **OURS)
    )
    assert (output, s3.files) == ([1], {})  # what fits is returned as ever
    output = run(large_result(s3, "/bytes?size=200000&type=text/plain", bucket_endpoint_url="EP/ours", **OURS))
    assert list(s3.files) == ["/ours/speaches/job_1.txt"]
    assert urlsplit(output["url"]).path == "/ours/speaches/job_1.txt"


def test_a_bucket_that_refuses_is_an_error_not_a_lost_result() -> None:
    output = run(
        large_result(FakeS3(status=403), "/bytes?size=200000&type=audio/wav", bucket_endpoint_url="EP/ours", **OURS)
    )
    assert (output["status_code"], "0.2 MB" in output["error"], "403" in output["error"]) == (502, True, True)


@pytest.mark.parametrize(
    "config",
    [
        "https://s3.example.com/b",
        {"endpointUrl": "https://s3.example.com"},
        {"endpointUrl": "https://s3.example.com", "bucketName": "", **KEYS},
        {"endpointUrl": "s3.example.com", "bucketName": "b", **KEYS},
        {"endpointUrl": "file:///etc", "bucketName": "b", **KEYS},
        {"endpointUrl": 5, "bucketName": "b", **KEYS},
    ],
)
def test_a_config_that_can_not_work_is_a_400_before_the_work(config: Any) -> None:
    with pytest.raises(InvalidRequest) as caught:
        bucket_of({"s3Config": config}, settings())
    assert caught.value.param == "s3Config"


def test_a_job_can_not_have_its_result_sent_inside() -> None:
    bucket = bucket_of({"s3Config": {"endpointUrl": "https://inside.example", "bucketName": "b", **KEYS}}, settings())
    assert bucket is not None

    async def inside(host: str, port: int) -> list[str]:
        assert (host, port) == ("inside.example", 443)
        return ["8.8.8.8", "10.0.0.1"]

    with pytest.raises(InvalidRequest, match="public internet"):
        run(store(bucket, Answer(200, "audio/wav", b"x"), "j", resolver=inside))


def test_without_keys_there_is_no_bucket() -> None:
    assert bucket_of({}, settings()) is None
    assert bucket_of({"s3Config": None}, settings(bucket_endpoint_url="https://s3.example.com/b")) is None
    named = bucket_of({}, settings(bucket_endpoint_url="https://s3.example.com/", bucket_name="b", **OURS))
    assert named is not None
    assert (named.endpoint, named.name, named.trusted) == ("https://s3.example.com", "b", True)
    assert "secret" not in repr(named).replace("secret_key", "")
