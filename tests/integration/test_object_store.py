"""The whole API over an S3 server, what its outages look like, and directories pushed and pulled."""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.s3_server import S3Server, fresh_bucket, running
from tests.serving import RunningApi, wait_until
from thunderline.artifacts.blob_store import BlobStore, blob_key
from thunderline.artifacts.object_store import ObjectStore, open_object_store
from thunderline.artifacts.store import Store
from thunderline.canonical import sha256_hex
from thunderline.errors import ChecksumMismatch, InvalidInput, NotFound, Unavailable
from thunderline.settings import load_settings
from thunderline.wiring import open_store

PART = 8 << 20
CONTENT = bytes(range(256)) * 80_000  # twenty megabytes: three parts


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with running() as started:
        yield started


@pytest.fixture
def server(endpoint: str) -> S3Server:
    return fresh_bucket(endpoint)


@pytest.fixture
def store(server: S3Server) -> Store:
    """Return the store that a real deployment's settings open; every other fixture stands on it."""
    environment = {
        "MINIO_ENDPOINT": server.endpoint,
        "MINIO_ACCESS_KEY": "someone",
        "MINIO_SECRET_KEY": "something",
        "MINIO_BUCKET": server.bucket,
    }
    return open_store(load_settings(environment).settings)


def opened(endpoint: str, bucket: str = "b-1", key: str | None = "k") -> BlobStore:
    return open_object_store(url=None, endpoint=endpoint, bucket=bucket, access_key=key, secret_key=key)


def upload(blobs: BlobStore, content: bytes) -> str:
    receiver = blobs.receive()
    try:
        for at in range(0, len(content), PART // 3):
            receiver.write(content[at : at + PART // 3])
        return receiver.commit().digest
    finally:
        receiver.abort()


def test_uploaded_published_and_promoted_bytes_can_be_read_by_any_s3_client(
    api: RunningApi, server: S3Server
) -> None:
    """What it is for: latest.<ext> is a plain object whose sha256 is the recorded one."""
    digest = sha256_hex(CONTENT)
    metric = {"metric": "accuracy", "direction": "higher", "margin": 0.01, "floor": 0.5}
    model = {"name": "digits", "gates": {"metric": metric}}
    with api.client() as client:
        kept = client.post("/files", content=CONTENT).raise_for_status().json()
        assert kept["file_id"] == digest
        client.post("/api/models", json=model).raise_for_status()
        document = {
            "file_id": digest,
            "name": "m.safetensors",
            "model": "digits",
            "metrics": {"accuracy": 0.9},
        }
        pushed = client.post("/api/artifacts", json=document).raise_for_status().json()
        assert pushed["uri"] == f"s3://{server.bucket}/artifacts/{digest}/m.safetensors"
        order = {
            "federation_id": None,
            "artifact_uri": pushed["uri"],
            "target_ref": "digits:prod",
            "reason": "the first",
        }
        client.post("/api/promotions", json=order).raise_for_status()
        wait_until(lambda: "models/digits/latest.json" in server.keys())  # noqa: SIM118 -- no mapping
        assert client.get(f"/files/{digest}").raise_for_status().content == CONTENT
        part = client.get(f"/files/{digest}", headers={"Range": f"bytes={PART - 1}-{PART}"})
        assert (part.status_code, part.content) == (206, CONTENT[PART - 1 : PART + 1])
        verified = client.post(f"/api/artifacts/{pushed['id']}/verify").raise_for_status().json()
    assert verified["sha256"] == digest
    assert sha256_hex(server.get("models/digits/latest.safetensors")) == digest
    assert sha256_hex(server.get(f"artifacts/{digest}/m.safetensors")) == digest
    assert json.loads(server.get("models/digits/latest.json"))["sha256"] == digest
    assert [one for one in server.keys() if one.startswith("staging/")] == []  # noqa: SIM118 -- no mapping
    assert server.unfinished() == []


def test_an_upload_that_is_cut_short_leaves_no_object(api: RunningApi, server: S3Server) -> None:
    host, _, port = api.url.removeprefix("http://").partition(":")
    head = f"POST /files HTTP/1.1\r\nHost: {host}\r\nX-API-Key: {api.key}\r\nContent-Length: 50000000\r\n\r\n"
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(head.encode() + CONTENT)
        wait_until(lambda: server.unfinished() != [])
    wait_until(lambda: server.unfinished() == [])
    assert server.keys() == []


def test_a_digest_that_does_not_fit_leaves_no_object(api: RunningApi, server: S3Server) -> None:
    headers = {"Repr-Digest": f"sha-256=:{'A' * 43}=:"}
    with api.client() as client:
        assert client.post("/files", content=CONTENT, headers=headers).status_code == 400
    assert (server.keys(), server.unfinished()) == ([], [])


def test_a_damaged_object_is_found_when_it_is_read(store: Store) -> None:
    stored = store.put(b"right")
    store._blobs.write(blob_key(stored.digest), b"wrong")
    with pytest.raises(ChecksumMismatch):
        store.read(stored.digest)
    uri = store.publish("default", stored.digest, "artifacts/x/m.bin")
    assert store.digest_of("default", uri) == sha256_hex(b"wrong")


def test_the_url_of_a_bucket_with_a_prefix_keeps_everything_below_it(server: S3Server) -> None:
    blobs = open_object_store(
        url=f"s3://{server.bucket}/team/models",
        endpoint=server.endpoint,
        bucket="not-this-one",
        access_key="someone",
        secret_key="something",
    )
    blobs.check()
    blobs.write("latest.json", b"{}")
    assert server.keys() == ["team/models/latest.json"]


def test_uris_name_the_bucket_and_the_prefix_of_the_url(server: S3Server) -> None:
    environment = {
        "THUNDERLINE_STORE__URL": f"s3://{server.bucket}/team/models",
        "MINIO_ENDPOINT": server.endpoint,
        "MINIO_ACCESS_KEY": "someone",
        "MINIO_SECRET_KEY": "something",
    }
    store = open_store(load_settings(environment).settings)
    digest = store.put(b"weights").digest
    for tenant, key in (("default", "artifacts/m.bin"), ("other", "tenants/other/artifacts/m.bin")):
        uri = store.publish(tenant, digest, "artifacts/m.bin")
        assert uri == f"s3://{server.bucket}/team/models/{key}"
        assert server.get(f"team/models/{key}") == b"weights"
        assert store.digest_of(tenant, uri) == digest
    with pytest.raises(NotFound):
        store.digest_of("default", f"s3://{server.bucket}/team/models/tenants/other/artifacts/m.bin")


def test_a_cloud_s_own_address_is_reached_by_tls_only(
    server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "AWS_ENDPOINT_URL": server.endpoint,
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "someone",
        "AWS_SECRET_ACCESS_KEY": "something",
    }.items():
        monkeypatch.setenv(name, value)
    url = f"s3://{server.bucket}"
    blobs = open_object_store(url=url, endpoint=None, bucket="", access_key=None, secret_key=None)
    with pytest.raises(Unavailable, match=url):
        blobs.check()
    assert server.keys() == []


def test_a_session_token_of_the_environment_is_not_sent_to_the_endpoint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An operator's own cloud session must not reach, or spoil, another server."""
    monkeypatch.setenv("AWS_SESSION_TOKEN", "secret-session")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "another")
    listening = socket.create_server(("127.0.0.1", 0))
    blobs = opened(f"http://127.0.0.1:{listening.getsockname()[1]}", key="mine")
    asking = threading.Thread(target=lambda: blobs.size("x"), daemon=True)
    asking.start()
    connection, _ = listening.accept()
    with connection, listening:
        request = connection.recv(65_536)
        connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        asking.join(20)
    assert b"Credential=mine/" in request
    assert b"secret-session" not in request


def test_more_than_one_call_may_copy_goes_by_way_of_this_machine(server: S3Server, endpoint: str) -> None:
    whole = opened(endpoint, server.bucket)
    assert isinstance(whole, ObjectStore)
    limited = ObjectStore(whole.place.bucket, name="limited", copy_limit_bytes=PART)
    digest = upload(limited, CONTENT)
    limited.copy(digest, "models/m/latest.bin")
    assert server.get("models/m/latest.bin") == server.get(blob_key(digest)) == CONTENT


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"endpoint": "http://127.0.0.1:9", "secret_key": "s"}, "store.access_key"),
        ({"endpoint": "http://127.0.0.1:9", "access_key": "s"}, "store.secret_key"),
        ({"endpoint": "http://127.0.0.1:9", "access_key": "", "secret_key": ""}, "store.access_key"),
        ({"endpoint": "127.0.0.1:9000", "access_key": "a", "secret_key": "s"}, "store.endpoint"),
        ({"endpoint": "ftp://there", "access_key": "a", "secret_key": "s"}, "store.endpoint"),
        ({"endpoint": "", "access_key": "a", "secret_key": "s"}, "store.endpoint"),
        ({"url": "ftp://there/x"}, "store.url"),
        ({"url": "bucket"}, "store.url"),
        ({"url": "s3://"}, "store.url"),
        ({"url": "file:///tmp/x"}, "store.url"),
        ({"url": "memory:///"}, "store.url"),
        ({"url": "gs://b/c", "endpoint": "http://127.0.0.1:9"}, "store.endpoint"),
        ({"url": "s3://b/c", "endpoint": "http://127.0.0.1:9"}, "store.access_key"),
    ],
)
def test_settings_that_do_not_fit_are_named(settings: dict[str, str], field: str) -> None:
    given: dict[str, str | None] = {"url": None, "endpoint": None, "access_key": None, "secret_key": None}
    given.update(settings)
    with pytest.raises(InvalidInput) as caught:
        open_object_store(
            url=given["url"],
            endpoint=given["endpoint"],
            bucket="b-1",
            access_key=given["access_key"],
            secret_key=given["secret_key"],
        )
    assert caught.value.field == field


@pytest.mark.parametrize("content", [b"small", CONTENT], ids=["small", "parts"])
def test_a_missing_bucket_is_a_clear_answer(endpoint: str, content: bytes) -> None:
    blobs = opened(endpoint, "b-that-nobody-made")
    with pytest.raises(Unavailable, match="no such bucket; make it, or set store") as caught:
        upload(blobs, content)
    assert "b-that-nobody-made" in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(Unavailable, match="no such bucket"):
        blobs.open("x", 0, None)
    with pytest.raises(Unavailable, match="no such bucket"):
        blobs.check()


def closed_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return f"http://127.0.0.1:{listening.getsockname()[1]}"


@pytest.mark.slow
def test_every_call_says_so_when_nobody_answers() -> None:
    endpoint = closed_port()
    blobs = opened(endpoint)
    calls = [
        lambda: upload(blobs, b"small"),
        lambda: upload(blobs, CONTENT * 5),
        lambda: blobs.size("x"),
        lambda: blobs.open("x", 0, None),
        lambda: blobs.write("x", b"1"),
        lambda: blobs.copy("0" * 64, "x"),
        lambda: blobs.delete("x"),
        blobs.check,
    ]
    for call in calls:
        with pytest.raises(Unavailable, match=f"{endpoint}.*check that it is up") as caught:
            call()
        assert "\n" not in str(caught.value)


def test_keys_that_are_refused_are_named_as_the_cause() -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    blobs = opened(f"http://127.0.0.1:{listening.getsockname()[1]}")

    def refuse() -> None:
        connection, _ = listening.accept()
        with connection:
            connection.recv(65_536)
            connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    refusing = threading.Thread(target=refuse, daemon=True)
    refusing.start()
    with pytest.raises(Unavailable, match="check the keys"):
        blobs.write("x", b"1")
    refusing.join(20)
    listening.close()


def command(api: RunningApi, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as a process of its own."""
    environment = {
        **os.environ,
        "THUNDERLINE_URL": api.url,
        "THUNDERLINE_API_KEY": api.key,
        "THUNDERLINE_HOME": str(home / "home"),
    }
    return subprocess.run(
        [sys.executable, "-m", "thunderline.cli.main", *arguments],
        env=environment,
        cwd=home,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def folder(root: Path) -> Path:
    (root / "weights").mkdir(parents=True)
    (root / "config.json").write_bytes(b"{}")
    (root / "weights" / "w.bin").write_bytes(CONTENT)
    return root


def content_of(root: Path) -> dict[str, bytes]:
    return {one.relative_to(root).as_posix(): one.read_bytes() for one in root.rglob("*") if one.is_file()}


@pytest.mark.slow
def test_a_directory_goes_in_as_one_archive_and_comes_out_as_it_was(
    api: RunningApi, server: S3Server, tmp_path: Path
) -> None:
    digests = []
    for root in (folder(tmp_path / "first" / "classifier"), folder(tmp_path / "second" / "classifier")):
        pushed = command(
            api, tmp_path, "artifact", "push", str(root), "--metadata", '{"by": "ada"}', "--output", "json"
        )
        assert pushed.returncode == 0, pushed.stderr
        told = json.loads(pushed.stdout)
        assert told["uri"].endswith("/classifier.tar")
        assert (told["format"], told["metadata"]["by"]) == ("tar", "ada")
        digests.append((told["sha256"], told["metadata"]["manifest_sha256"]))
    assert len(set(digests)) == 1
    assert sha256_hex(server.get(f"artifacts/{digests[0][0]}/classifier.tar")) == digests[0][0]
    pulled = command(api, tmp_path, "artifact", "pull", digests[0][0], "--to", "out", "--extract")
    assert pulled.returncode == 0, pulled.stderr
    assert content_of(tmp_path / "out") == content_of(tmp_path / "first" / "classifier")
    assert sorted(one.name for one in tmp_path.iterdir() if one.name != "home") == ["first", "out", "second"]


@pytest.mark.slow
def test_a_file_is_pulled_beside_the_person_who_asks_and_is_no_archive(
    api: RunningApi, tmp_path: Path
) -> None:
    (tmp_path / "model.npz").write_bytes(CONTENT)
    told = json.loads(command(api, tmp_path, "artifact", "push", "model.npz", "--output", "json").stdout)
    (tmp_path / "model.npz").unlink()
    pulled = command(api, tmp_path, "artifact", "pull", told["sha256"])
    assert pulled.returncode == 0, pulled.stderr
    assert (tmp_path / "model.npz").read_bytes() == CONTENT
    refused = command(api, tmp_path, "artifact", "pull", told["sha256"], "--to", "out", "--extract")
    assert (refused.returncode, "no archive but npz" in refused.stderr) == (2, True)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (("artifact", "push", "m.bin", "--metric", "accuracy=nan"), "error: --metric: 'accuracy=nan'"),
        (("artifact", "push", "m.bin", "--metadata", "[1]"), "error: --metadata: expected a JSON object"),
        (("model", "show", ".."), "error: name: '..' is not a name"),
        (("model", "history", "m/../.."), "error: name: 'm/../..' is not a name"),
    ],
)
def test_a_wrong_word_is_named_as_it_was_typed(
    api: RunningApi, tmp_path: Path, wrong: tuple[str, ...], said: str
) -> None:
    (tmp_path / "m.bin").write_bytes(CONTENT)
    refused = command(api, tmp_path, *wrong)
    assert (refused.returncode, refused.stdout, refused.stderr.startswith(said)) == (2, "", True)


@pytest.mark.slow
def test_a_hostile_archive_is_stored_but_never_unpacked(api: RunningApi, tmp_path: Path) -> None:
    (tmp_path / "evil.tar").write_bytes(b"this is no archive" * 100)
    pushed = command(api, tmp_path, "artifact", "push", "evil.tar", "--output", "json")
    assert pushed.returncode == 0, pushed.stderr
    digest = json.loads(pushed.stdout)["sha256"]
    pulled = command(api, tmp_path, "artifact", "pull", digest, "--to", "out", "--extract")
    assert (pulled.returncode, "Traceback" in pulled.stderr) == (6, False)
    assert "only plain tar is read" in pulled.stderr
    assert sorted(one.name for one in tmp_path.iterdir() if one.name != "home") == ["evil.tar"]


@pytest.mark.slow
def test_a_list_of_files_that_does_not_fit_is_refused(api: RunningApi, tmp_path: Path) -> None:
    root = folder(tmp_path / "classifier")
    told = json.loads(command(api, tmp_path, "artifact", "push", str(root), "--output", "json").stdout)
    with api.client() as client:
        document = {"file_id": told["sha256"], "name": "again.tar", "metadata": {"manifest_sha256": "0" * 64}}
        uri = client.post("/api/artifacts", json=document).raise_for_status().json()["uri"]
    pulled = command(api, tmp_path, "artifact", "pull", uri, "--to", "out", "--extract")
    assert pulled.returncode == 6, pulled.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_what_cannot_be_pushed_or_unpacked_is_said_before_a_byte_is_sent(
    api: RunningApi, server: S3Server, tmp_path: Path
) -> None:
    root = folder(tmp_path / "classifier")
    (root / "link").symlink_to("config.json")
    refused = command(api, tmp_path, "artifact", "push", str(root))
    assert (refused.returncode, "link is a link" in refused.stderr) == (6, True)
    metadata = '{"manifest_sha256": "mine"}'
    refused = command(api, tmp_path, "artifact", "push", str(root), "--metadata", metadata)
    assert (refused.returncode, "--metadata" in refused.stderr) == (2, True)
    refused = command(api, tmp_path, "artifact", "pull", "0" * 64, "--to", "classifier", "--extract")
    assert (refused.returncode, "is there already" in refused.stderr) == (2, True)
    assert server.keys() == []
