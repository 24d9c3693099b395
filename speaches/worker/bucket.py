"""Results that are too large to return go into an S3 bucket, and the job returns a signed URL."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from speaches.errors import BadGateway, InvalidRequest
from speaches.settings import Settings
from speaches.worker import media
from speaches.worker.addresses import is_public
from speaches.worker.fetch import Resolver, resolve
from speaches.worker.proxy import Answer

URL_SECONDS = 7 * 24 * 3600  # how long the URL works: the longest that S3 signs
CONNECT_TIMEOUT = 10  # seconds
READ_TIMEOUT = 60  # seconds
FIELDS = ("endpointUrl", "accessId", "accessSecret", "bucketName")


@dataclass(frozen=True)
class Bucket:
    """Where to put files, and with which keys."""

    endpoint: str
    """URL of the service, without the bucket."""
    name: str
    access_key: str
    secret_key: str = field(repr=False)
    trusted: bool
    """Whether the worker's owner named it, and not a job."""


def bucket_of(job: Mapping[str, Any], settings: Settings) -> Bucket | None:
    """The bucket that a job names in its `s3Config`, else the worker's own, else None.

    Raises:
        InvalidRequest: If the job's s3Config can't be used.
    """
    given = job.get("s3Config")
    if given:
        if not isinstance(given, dict) or not all(isinstance(given.get(name), str) and given[name] for name in FIELDS):
            raise InvalidRequest(f"s3Config must be an object with the texts {', '.join(FIELDS)}.", param="s3Config")
        return _bucket(
            given["endpointUrl"], given["bucketName"], given["accessId"], given["accessSecret"], trusted=False
        )
    if settings.bucket_endpoint_url and settings.bucket_access_key_id and settings.bucket_secret_access_key:
        secret = settings.bucket_secret_access_key.get_secret_value()
        return _bucket(
            settings.bucket_endpoint_url, settings.bucket_name, settings.bucket_access_key_id, secret, trusted=True
        )
    return None


def _bucket(url: str, name: str | None, access_key: str, secret_key: str, *, trusted: bool) -> Bucket:
    """`https://s3.example.com/my-bucket` names the bucket too, as Runpod's documentation has it."""
    parts = urlsplit(url)
    in_url = parts.path.strip("/")
    if parts.scheme not in ("http", "https") or not parts.hostname or not (name or in_url):
        raise InvalidRequest(
            "The bucket's endpoint must be a URL like https://s3.example.com/bucket-name.", param="s3Config"
        )
    return Bucket(
        f"{parts.scheme}://{parts.netloc}", name or in_url.rsplit("/", 1)[-1], access_key, secret_key, trusted
    )


async def store(
    bucket: Bucket, answer: Answer, job_id: str, *, allow_private: bool = False, resolver: Resolver = resolve
) -> dict[str, Any]:
    """Put an answer into the bucket. Returns the job's output, with a URL that works for a week.

    Raises:
        InvalidRequest: If a job names a bucket inside the worker's own network.
        BadGateway: If the bucket doesn't take it.
    """
    if not bucket.trusted and not allow_private:
        await _check_host(bucket.endpoint, resolver)
    key = f"speaches/{re.sub(r'[^A-Za-z0-9._-]', '_', job_id)[:128]}.{media.extension(answer.content_type)}"
    try:
        # Not waited for when the job is cancelled: it may take a minute, and nothing is closed under it.
        url = await asyncio.to_thread(_put, bucket, key, answer.body, answer.content_type)
    except Exception as error:  # boto3 raises from half a dozen trees; each means the same to the caller
        size = len(answer.body) / 1e6
        raise BadGateway(
            f"The result ({size:.1f} MB) is too large to return, and the bucket did not take it: {error}"
        ) from error
    return {"status": "success", "content_type": answer.content_type, "url": url}


async def _check_host(endpoint: str, resolver: Resolver) -> None:
    parts = urlsplit(endpoint)
    host = parts.hostname or ""
    try:
        addresses = await resolver(host, parts.port or 443)
    except OSError as error:
        raise InvalidRequest(f"Can't find the host of s3Config, {host}: {error}.", param="s3Config") from None
    if not addresses or not all(map(is_public, addresses)):
        raise InvalidRequest(
            f"s3Config leads to {host}, which is not an address of the public internet.", param="s3Config"
        )


def _put(bucket: Bucket, key: str, body: bytes, content_type: str) -> str:
    # Here and not above: boto3 takes 0.3 s to import, and most workers never need it.
    import boto3
    from botocore.config import Config  # type: ignore[import-untyped]

    config = Config(
        signature_version="s3v4",
        connect_timeout=CONNECT_TIMEOUT,
        read_timeout=READ_TIMEOUT,
        retries={"max_attempts": 3},
        s3={"addressing_style": "path"},
        proxies={},
        # botocore's default checksums are refused by many services that speak S3 but are not Amazon's.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    client = boto3.client(
        "s3",
        endpoint_url=bucket.endpoint,
        aws_access_key_id=bucket.access_key,
        aws_secret_access_key=bucket.secret_key,
        region_name=_region(bucket.endpoint),
        config=config,
    )
    try:
        client.put_object(
            Bucket=bucket.name, Key=key, Body=body, ContentType=content_type or "application/octet-stream"
        )
        url: str = client.generate_presigned_url(
            "get_object", Params={"Bucket": bucket.name, "Key": key}, ExpiresIn=URL_SECONDS
        )
        return url
    finally:
        client.close()


def _region(endpoint: str) -> str:
    """The region that Amazon's endpoints name (s3.eu-west-1.amazonaws.com); others take any."""
    found = re.search(r"s3[.-]([a-z]{2}-[a-z0-9-]+-\d)\.amazonaws\.com", endpoint)
    return found[1] if found else "us-east-1"
