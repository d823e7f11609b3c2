"""A real HTTP server that speaks S3, on a port of its own, and what a plain client sees of it."""

import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from uuid import uuid4
from xml.etree import ElementTree as ET

import boto3
import httpx
from botocore.client import BaseClient
from moto.server import ThreadedMotoServer

_SPACE = "{http://s3.amazonaws.com/doc/2006-03-01/}"


@dataclass(frozen=True, slots=True)
class S3Server:
    """One bucket at one endpoint."""

    endpoint: str
    bucket: str

    def get(self, key: str) -> bytes:
        """Fetch an object by plain HTTP, from an address signed for it."""
        with closing(client(self.endpoint)) as opened:
            url = opened.generate_presigned_url("get_object", Params={"Bucket": self.bucket, "Key": key})
        answer = httpx.get(url, trust_env=False)
        answer.raise_for_status()
        return answer.content

    def keys(self) -> list[str]:
        """Return every key in the bucket."""
        return self._texts("list-type=2", "Contents", "Key")

    def unfinished(self) -> list[str]:
        """Return the keys of uploads in parts that were neither finished nor aborted."""
        return self._texts("uploads", "Upload", "Key")

    def _texts(self, query: str, outer: str, inner: str) -> list[str]:
        answer = httpx.get(f"{self.endpoint}/{self.bucket}?{query}", trust_env=False)
        answer.raise_for_status()
        found = ET.fromstring(answer.text).iterfind(f"{_SPACE}{outer}/{_SPACE}{inner}")  # noqa: S314 -- our own
        return [one.text or "" for one in found]


@contextmanager
def running() -> Iterator[str]:
    """Run a server; gives its endpoint."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def fresh_bucket(endpoint: str) -> S3Server:
    """Make a bucket of a new name."""
    name = f"b-{uuid4().hex}"
    with closing(client(endpoint)) as opened:
        opened.create_bucket(Bucket=name)
    return S3Server(endpoint, name)


def client(endpoint: str) -> BaseClient:
    """Return another client than the product's, as a stranger would use."""
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id="someone",
        aws_secret_access_key="something",
        region_name="us-east-1",
    )
