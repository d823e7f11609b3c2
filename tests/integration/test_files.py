"""The Data Bank over real HTTP: what goes in, what comes out, and what is refused (CONTRACTS 1.1)."""

import base64
import logging
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.integration.pushing import damage, done, push, refused, register, upload
from tests.serving import RunningApi, wait_until
from thunderline.wiring import Services

LIMIT = 3 << 20
TEN = b"0123456789"
ID = sha256(TEN).hexdigest()


@pytest.fixture
def services(services: Services) -> Services:
    """Let the server take 3 MiB at most, and wait a second for a silent sender."""
    web = replace(services.settings.web, max_upload_bytes=LIMIT, idle_timeout_s=1.0)
    return replace(services, settings=replace(services.settings, web=web))


def digest_field(content: bytes) -> str:
    return f"sha-256=:{base64.b64encode(sha256(content).digest()).decode()}:"


def multipart(
    *parts: tuple[bytes, bytes], boundary: bytes = b"edge", closing: bytes = b"--edge--\r\n"
) -> bytes:
    """A body of these (Content-Disposition's parameters, content), in this order."""
    return (
        b"".join(
            b"--%b\r\nContent-Disposition: form-data; %b\r\nContent-Type: text/plain\r\n\r\n%b\r\n"
            % (boundary, parameters, content)
            for parameters, content in parts
        )
        + closing
    )


def send_form(
    client: httpx.Client, body: bytes, content_type: str = "multipart/form-data; boundary=edge"
) -> httpx.Response:
    return client.post("/files", content=body, headers={"Content-Type": content_type})


def connect(api: RunningApi) -> socket.socket:
    address = urlsplit(api.url)
    connected = socket.create_connection((address.hostname, address.port or 0), timeout=20)
    connected.settimeout(20)
    return connected


def head(api: RunningApi, *lines: str, key: str | None = None) -> bytes:
    """The beginning of a POST /files, up to its body."""
    return "\r\n".join(
        ["POST /files HTTP/1.1", "Host: test", f"X-API-Key: {key or api.key}", *lines, "", ""]
    ).encode()


def answer(connected: socket.socket) -> bytes:
    """Everything until the server closes, or the whole head at least."""
    told = b""
    while b"\r\n\r\n" not in told:
        chunk = connected.recv(65536)
        if not chunk:
            break
        told += chunk
    return told


def unfinished(folder: Path) -> int:
    """How many uploads this process holds open: files in the store that have no name."""
    found = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            target = str(descriptor.readlink())
        except OSError:
            continue
        found += target.startswith(str(folder / "store" / ".tmp"))
    return found


def kept(folder: Path) -> list[str]:
    """Every blob in the store."""
    return sorted(file.name for file in (folder / "store").glob("cas/*/*"))


def rows(api: RunningApi) -> int:
    with api.services.database.system() as connection:
        found = connection.execute("select count(*) from tl.file").fetchone()
    assert found is not None
    return int(found[0])


# --- in ---------------------------------------------------------------------------------------------------


def test_a_raw_body_is_kept_under_its_digest(api: RunningApi) -> None:
    with api.client() as client:
        sent = client.post("/files", content=TEN, headers={"Content-Type": "text/plain; charset=utf-8"})
        told = done(sent, 201)
        assert list(told) == ["file_id", "size", "sha256", "content_type", "created_at"]
        assert (told["file_id"], told["sha256"], told["size"]) == (ID, ID, 10)
        assert told["content_type"] == "text/plain; charset=utf-8"
        assert str(told["created_at"]).endswith("Z")
        assert sent.headers["etag"] == f'"{ID}"'
        assert client.get(sent.headers["location"]).content == TEN
        assert done(client.get(f"/files/{ID}/info")) == told


def test_a_form_with_one_file_is_the_same_file(api: RunningApi, tmp_path: Path) -> None:
    with api.client() as client:
        raw = done(client.post("/files", content=TEN), 201)
        sent = client.post(
            "/files", files={"file": ("a.bin", TEN, "application/x-model")}, data={"note": "x" * 1000}
        )
        assert done(sent, 201)["file_id"] == raw["file_id"]
        assert kept(tmp_path) == [ID]


def test_a_form_of_many_pieces_is_put_together_again(api: RunningApi) -> None:
    content = os.urandom(1 << 20) + b"\r\n--edg" * 1000
    with api.client() as client:
        body = multipart((b'name="other"', b"no"), (b'name="file"; filename="a"', content))

        def pieces() -> object:
            yield from (body[start : start + 4097] for start in range(0, len(body), 4097))

        sent = client.post(
            "/files", content=pieces(), headers={"Content-Type": "multipart/form-data; boundary=edge"}
        )
        assert done(sent, 201)["file_id"] == sha256(content).hexdigest()
        assert done(client.get(f"/files/{sha256(content).hexdigest()}/info"))["content_type"] == "text/plain"


def test_nothing_at_all_is_a_file_too(api: RunningApi) -> None:
    with api.client() as client:
        empty = upload(client, b"")
        assert empty == sha256(b"").hexdigest()
        assert client.get(f"/files/{empty}").content == b""
        assert client.head(f"/files/{empty}").headers["content-length"] == "0"


def test_many_uploads_of_the_same_content_are_one_blob(api: RunningApi, tmp_path: Path) -> None:
    content = os.urandom(1 << 20)

    def send(number: int) -> object:
        with api.client(api.key if number % 2 else api.other_key) as client:
            return done(client.post("/files", content=content), 201)["file_id"]

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(send, range(16))) == {sha256(content).hexdigest()}
    assert kept(tmp_path) == [sha256(content).hexdigest()]
    assert rows(api) == 2  # one for each tenant


@pytest.mark.parametrize("name", ["Repr-Digest", "Content-Digest"])
def test_an_announced_digest_is_held_against_the_body(api: RunningApi, tmp_path: Path, name: str) -> None:
    with api.client() as client:
        for wrong in (digest_field(b"else"), f"sha-512=:AAAA:, {digest_field(b'else')}"):
            told = refused(client.post("/files", content=TEN, headers={name: wrong}), 400, "INVALID_INPUT")
            assert ID in str(told["message"])
            assert sha256(b"else").hexdigest() in str(told["message"])
        assert (kept(tmp_path), rows(api)) == ([], 0)
        for right in (digest_field(TEN), f"sha-512=:AAAA:, {digest_field(TEN)}", "md5=:AAAA:"):
            assert client.post("/files", content=TEN, headers={name: right}).status_code == 201


def test_a_malformed_digest_is_refused(api: RunningApi, tmp_path: Path) -> None:
    with api.client() as client:
        for malformed in (
            "sha-256=:%%%%:",
            "sha-256=:AAAA:",
            f"sha-256={ID}",
            "sha-256=:",
            "sha-256",
            f"sha-256=:{base64.b64encode(b'x' * 33).decode()}:",
            digest_field(TEN)[:-1],
        ):
            sent = client.post("/files", content=TEN, headers={"Repr-Digest": malformed})
            refused(sent, 400, "INVALID_INPUT")
        assert kept(tmp_path) == []


def test_a_digest_in_a_second_line_or_with_parameters_counts_too(api: RunningApi) -> None:
    wrong = digest_field(b"else")
    with api.client() as client:
        two_lines = httpx.Headers([("Repr-Digest", "sha-512=:AAAA:"), ("Repr-Digest", wrong)])
        refused(client.post("/files", content=TEN, headers=two_lines), 400, "INVALID_INPUT")
        refused(
            client.post("/files", content=TEN, headers={"Repr-Digest": f"{wrong};x=1"}), 400, "INVALID_INPUT"
        )


def test_two_digests_that_disagree_are_refused(api: RunningApi) -> None:
    with api.client() as client:
        sent = client.post(
            "/files",
            content=TEN,
            headers={"Repr-Digest": digest_field(TEN), "Content-Digest": digest_field(b"else")},
        )
        assert "different bytes" in str(refused(sent, 400, "INVALID_INPUT")["message"])


def test_the_digest_of_a_form_covers_the_form(api: RunningApi, tmp_path: Path) -> None:
    body = multipart((b'name="file"', TEN))
    form = {"Content-Type": "multipart/form-data; boundary=edge"}
    with api.client() as client:
        sent = client.post("/files", content=body, headers={**form, "Content-Digest": digest_field(TEN)})
        refused(sent, 400, "INVALID_INPUT")
        assert (kept(tmp_path), rows(api)) == ([], 0)
        sent = client.post("/files", content=body, headers={**form, "Content-Digest": digest_field(body)})
        assert done(sent, 201)["file_id"] == ID


def test_a_form_that_is_no_form_with_one_file_is_refused(api: RunningApi, tmp_path: Path) -> None:
    file = (b'name="file"; filename="a"', TEN)
    with api.client() as client:
        for body in (
            multipart((b'name="other"', TEN)),
            multipart(file, file),
            multipart(file, closing=b""),
            multipart(file, closing=b"--edge\r\n"),
            multipart(),
            b"",
            b"not a form",
            b"--edge\r\nContent-Disposition: form-data; name=" + b"x" * 40_000 + b"\r\n\r\nx\r\n--edge--\r\n",
        ):
            refused(send_form(client, body), 400, "INVALID_INPUT")
        for content_type in ("multipart/form-data", "multipart/form-data; boundary="):
            refused(send_form(client, multipart(file), content_type), 400, "INVALID_INPUT")
    assert (kept(tmp_path), rows(api)) == ([], 0)


def test_names_of_any_kind_never_become_paths(api: RunningApi, tmp_path: Path) -> None:
    with api.client() as client:
        for number, name in enumerate(
            (b"../../etc/passwd", b"a\0b", b"\xff\xfe", "ü".encode(), b"x" * 5000, b"")
        ):
            content = b"content %d" % number
            body = multipart((b'name="file"; filename="' + name + b'"', content))
            told = send_form(client, body)
            assert told.status_code in {201, 400}, told.text
    assert all(len(name) == 64 for name in kept(tmp_path))


def test_a_content_type_of_nonsense_is_kept_as_plain_bytes(api: RunningApi) -> None:
    with api.client() as client:
        for number, content_type in enumerate((b"a\0b", b"text/\xff", b"x" * 4000, b"<script>")):
            body = multipart((b'name="file"', b"content %d" % number)).replace(b"text/plain", content_type)
            told = done(send_form(client, body), 201)
            assert told["content_type"] == "application/octet-stream"
            assert (
                client.get(f"/files/{told['file_id']}").headers["content-type"] == "application/octet-stream"
            )


# --- what is refused before the body, and in the middle of it ---------------------------------------------


def test_who_may_not_upload_is_told_before_the_body(api: RunningApi) -> None:
    reader = api.add_key("files:read")
    for key, status in (("tl_wrong", b"401"), (reader, b"403")):
        with connect(api) as connected:
            connected.sendall(head(api, "Content-Length: 1000000", "Expect: 100-continue", key=key))
            told = answer(connected)
        assert told.startswith(b"HTTP/1.1 " + status), told
        assert b"100 Continue" not in told
        assert b"connection: close" in told.lower()


def test_too_large_is_refused_by_its_announcement_before_the_body(api: RunningApi) -> None:
    with connect(api) as connected:
        connected.sendall(head(api, f"Content-Length: {LIMIT + 1}", "Expect: 100-continue"))
        told = answer(connected)
    assert told.startswith(b"HTTP/1.1 413")
    assert b"100 Continue" not in told


def test_what_fits_exactly_is_taken_and_one_byte_more_is_not(api: RunningApi, tmp_path: Path) -> None:
    with api.client() as client:
        assert client.post("/files", content=bytes(LIMIT)).status_code == 201
        refused(client.post("/files", content=bytes(LIMIT + 1)), 413, "PAYLOAD_TOO_LARGE")
    assert kept(tmp_path) == [sha256(bytes(LIMIT)).hexdigest()]


def test_too_large_is_refused_in_mid_stream_when_nothing_was_announced(
    api: RunningApi, tmp_path: Path
) -> None:
    with api.client() as client:
        sent = client.post("/files", content=(bytes(1 << 16) for _ in range(64)))
        refused(sent, 413, "PAYLOAD_TOO_LARGE")
    wait_until(lambda: unfinished(tmp_path) == 0)
    assert (kept(tmp_path), rows(api)) == ([], 0)


def test_a_content_coding_is_not_taken(api: RunningApi) -> None:
    with api.client() as client:
        sent = client.post("/files", content=TEN, headers={"Content-Encoding": "gzip"})
        refused(sent, 415, "UNSUPPORTED_MEDIA_TYPE")
        assert client.post("/files", content=TEN, headers={"Content-Encoding": "identity"}).status_code == 201


def test_the_guard_on_free_space_refuses_and_readiness_says_so(api: RunningApi, tmp_path: Path) -> None:
    with api.client() as client:
        assert client.get("/readyz").status_code == 200
        api.services.store._keep_free_bytes = 1 << 62
        told = refused(client.post("/files", content=TEN), 507, "STORE_FULL")
        assert "must stay free" in str(told["message"])
        assert client.get("/readyz").status_code == 503
        assert kept(tmp_path) == []


def test_an_upload_that_stops_half_way_leaves_nothing(api: RunningApi, tmp_path: Path) -> None:
    form = "Content-Type: multipart/form-data; boundary=edge"
    half = os.urandom(1_500_000)
    for lines, body in (
        (("Content-Length: 3000000",), half),
        (("Transfer-Encoding: chunked",), b"%x\r\n%b\r\n" % (len(half), half)),
        (("Content-Length: 3000000", form), multipart((b'name="file"', half), closing=b"")),
    ):
        with connect(api) as connected:
            connected.sendall(head(api, *lines) + body)
            wait_until(lambda: unfinished(tmp_path) == 1)
        wait_until(lambda: unfinished(tmp_path) == 0)
    assert (kept(tmp_path), rows(api), list((tmp_path / "store/.tmp").iterdir())) == ([], 0, [])


def test_a_sender_who_falls_silent_is_told_so(api: RunningApi, tmp_path: Path) -> None:
    with connect(api) as connected:
        connected.sendall(head(api, "Content-Length: 1000") + b"half")
        told = answer(connected)
    assert told.startswith(b"HTTP/1.1 408")
    wait_until(lambda: unfinished(tmp_path) == 0)
    assert kept(tmp_path) == []


# --- out --------------------------------------------------------------------------------------------------


def test_a_file_comes_out_with_all_that_proves_it(api: RunningApi) -> None:
    with api.client() as client:
        client.post("/files", content=TEN, headers={"Content-Type": "text/csv"})
        got, asked = client.get(f"/files/{ID}"), client.head(f"/files/{ID}")
        assert (got.status_code, got.content) == (200, TEN)
        assert (asked.status_code, asked.content) == (200, b"")
        for one in (got, asked):
            assert one.headers["etag"] == f'"{ID}"'
            assert one.headers["repr-digest"] == digest_field(TEN)
            assert one.headers["accept-ranges"] == "bytes"
            assert one.headers["content-length"] == "10"
            assert one.headers["content-type"] == "text/csv"
            assert one.headers["x-content-type-options"] == "nosniff"


def test_a_large_file_comes_out_as_it_went_in(api: RunningApi) -> None:
    content = os.urandom(LIMIT)
    with api.client() as client:
        assert client.get(f"/files/{upload(client, content)}").content == content


RANGES: tuple[tuple[str, int, bytes], ...] = (
    ("bytes=0-0", 206, b"0"),
    ("bytes=2-4", 206, b"234"),
    ("bytes=-5", 206, b"56789"),
    ("bytes=-50", 206, TEN),
    ("bytes=9-", 206, b"9"),
    ("bytes=0-99999999999999999999", 206, TEN),
    ("bytes=5-2", 200, TEN),
    ("bytes=-", 200, TEN),
    ("bytes=0-1,4-5", 200, TEN),
    ("items=0-1", 200, TEN),
    ("bytes=\u0660-\u0661", 200, TEN),
    ("bytes=10-", 416, b""),
    ("bytes=-0", 416, b""),
)


def test_one_range_is_answered_as_asked(api: RunningApi) -> None:
    with api.client() as client:
        upload(client, TEN)
        for wanted, status, content in RANGES:
            got = client.get(f"/files/{ID}", headers={"Range": wanted.encode()})
            assert got.status_code == status, wanted
            if status == 416:
                refused(got, 416, "BAD_RANGE")
                assert got.headers["content-range"] == "bytes */10", wanted
                continue
            assert got.content == content, wanted
            assert got.headers["content-length"] == str(len(content)), wanted
            assert (got.headers["etag"], got.headers["repr-digest"]) == (f'"{ID}"', digest_field(TEN))
            first = TEN.index(content)
            span = f"bytes {first}-{first + len(content) - 1}/10" if status == 206 else None
            assert got.headers.get("content-range") == span, wanted


def test_of_nothing_there_is_no_range(api: RunningApi) -> None:
    with api.client() as client:
        empty = upload(client, b"")
        assert client.get(f"/files/{empty}", headers={"Range": "bytes=-5"}).status_code == 200
        got = client.get(f"/files/{empty}", headers={"Range": "bytes=0-0"})
        assert (got.status_code, got.headers["content-range"]) == (416, "bytes */0")


def test_what_the_caller_has_already_is_not_sent_again(api: RunningApi) -> None:
    with api.client() as client:
        upload(client, TEN)
        for match in (f'"{ID}"', f'W/"{ID}"', f'"x", "{ID}"', "*"):
            for method in ("GET", "HEAD"):
                got = client.request(
                    method, f"/files/{ID}", headers={"If-None-Match": match, "Range": "bytes=0-0"}
                )
                assert (got.status_code, got.content) == (304, b""), match
                assert got.headers["etag"] == f'"{ID}"'
        for other in ('"x"', ID, ""):
            assert client.get(f"/files/{ID}", headers={"If-None-Match": other}).status_code == 200, other


def test_a_range_of_something_else_is_the_whole(api: RunningApi) -> None:
    with api.client() as client:
        upload(client, TEN)
        for match, status in ((f'"{ID}"', 206), (f'W/"{ID}"', 200), ('"x"', 200)):
            got = client.get(f"/files/{ID}", headers={"Range": "bytes=0-4", "If-Range": match})
            assert got.status_code == status, match


def test_a_download_goes_on_where_it_broke_off(api: RunningApi) -> None:
    content = os.urandom(2 << 20)
    with api.client() as client:
        name = upload(client, content)
        taken = b""
        with client.stream("GET", f"/files/{name}") as response:
            for chunk in response.iter_bytes(1 << 16):
                taken += chunk
                if len(taken) > 1 << 20:
                    break
        rest = client.get(
            f"/files/{name}", headers={"Range": f"bytes={len(taken)}-", "If-Range": f'"{name}"'}
        )
        assert taken + rest.content == content


def test_a_flipped_byte_ends_the_download_short_and_is_logged(
    api: RunningApi, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content = os.urandom(LIMIT)
    with api.client() as client:
        name = upload(client, content)
        file = tmp_path / "store/cas" / name[:2] / name
        file.chmod(0o640)
        file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with caplog.at_level(logging.ERROR), pytest.raises(httpx.RemoteProtocolError):
            client.get(f"/files/{name}")
    told = [record for record in caplog.records if record.getMessage() == "file_damaged"]
    assert len(told) == 1
    assert told[0].tl_fields["file_id"] == name
    assert told[0].tl_fields["error_code"] == "CHECKSUM_MISMATCH"


def test_bytes_that_are_gone_are_told_before_the_answer_begins(api: RunningApi, tmp_path: Path) -> None:
    with api.client() as client:
        upload(client, TEN)
        (tmp_path / "store/cas" / ID[:2] / ID).unlink()
        refused(client.get(f"/files/{ID}"), 404, "NOT_FOUND")


# --- away -------------------------------------------------------------------------------------------------


def test_a_file_is_deleted_and_deleting_it_again_is_fine(api: RunningApi, tmp_path: Path) -> None:
    with api.client() as client:
        upload(client, TEN)
        for _ in range(2):
            gone = client.delete(f"/files/{ID}")
            assert (gone.status_code, gone.content) == (204, b"")
        refused(client.get(f"/files/{ID}"), 404, "NOT_FOUND")
        assert kept(tmp_path) == []
        assert upload(client, TEN) == ID


def test_what_an_artifact_is_made_of_stays(api: RunningApi) -> None:
    with api.client() as client:
        register(client)
        artifact = push(client, TEN)
        told = refused(client.delete(f"/files/{ID}"), 409, "STILL_REFERENCED")
        assert told["referrers"] == [{"kind": "artifact", "id": artifact.id}]
        assert artifact.id in str(told["message"])
        assert client.get(f"/files/{ID}").content == TEN


def test_the_verification_of_a_damaged_artifact_names_both_digests(api: RunningApi) -> None:
    with api.client() as client:
        register(client)
        artifact = push(client, TEN)
        assert done(client.post(f"/api/artifacts/{artifact.id}/verify"))["verified"] is True
        damage(api, artifact.uri, b"0123456788")
        told = refused(client.post(f"/api/artifacts/{artifact.id}/verify"), 422, "CHECKSUM_MISMATCH")
        assert (told["recorded"], told["read"]) == (ID, sha256(b"0123456788").hexdigest())


# --- whose ------------------------------------------------------------------------------------------------


def test_another_tenants_file_is_as_absent_as_one_that_never_was(api: RunningApi, tmp_path: Path) -> None:
    never = "0" * 64
    with api.client() as mine, api.client(api.other_key) as other:
        upload(mine, TEN)
        for method, path in (("GET", "/files/{}"), ("GET", "/files/{}/info")):
            there = refused(other.request(method, path.format(ID)), 404, "NOT_FOUND")
            nowhere = refused(other.request(method, path.format(never)), 404, "NOT_FOUND")
            assert str(there["message"]).replace(ID, never) == nowhere["message"]
        assert other.head(f"/files/{ID}").status_code == 404
        assert other.delete(f"/files/{ID}").status_code == 204
        assert mine.get(f"/files/{ID}").content == TEN
        assert upload(other, TEN) == ID  # the bytes are there once, the right to them twice
        assert kept(tmp_path) == [ID]
        assert mine.delete(f"/files/{ID}").status_code == 204
        assert other.get(f"/files/{ID}").content == TEN
        assert other.delete(f"/files/{ID}").status_code == 204
        assert kept(tmp_path) == []


def test_a_key_does_only_what_it_is_for(api: RunningApi) -> None:
    with api.client() as client:
        upload(client, TEN)
    calls = {
        "files:read": (("GET", f"/files/{ID}"), ("HEAD", f"/files/{ID}"), ("GET", f"/files/{ID}/info")),
        "files:write": (("POST", "/files"),),
        "files:delete": (("DELETE", f"/files/{ID}"),),
    }
    for right in calls:
        with api.client(api.add_key(right)) as client:
            for needed, wanted in calls.items():
                for method, path in wanted:
                    status = client.request(method, path).status_code
                    assert (status != 403) == (needed == right), (right, method, path, status)


def test_names_that_are_no_digest_are_not_there(api: RunningApi) -> None:
    with api.client() as client:
        for name in (
            "x",
            ID.upper(),
            f"{ID}0",
            "%00",
            f"{ID}%00",
            "..%2F..%2Fetc%2Fpasswd",
            "%FF",
            "a" * 5000,
        ):
            got = client.get(f"/files/{name}")
            assert got.status_code in {400, 404}, (name, got.text)
            assert got.headers["content-type"] == "application/problem+json"
            assert client.delete(f"/files/{name}").status_code in {400, 404}, name


# --- by which request -------------------------------------------------------------------------------------


def test_a_request_keeps_its_id_or_gets_one(api: RunningApi, caplog: pytest.LogCaptureFixture) -> None:
    with api.client() as client, caplog.at_level(logging.INFO):
        for sane in ("abc-1", "A.b:c_9", "x" * 128):
            assert client.get("/files/x", headers={"X-Request-ID": sane}).headers["x-request-id"] == sane
        for odd in ("", "a b", "x" * 129, "a/b", "ü"):
            made = client.get("/files/x", headers={"X-Request-ID": odd.encode()}).headers["x-request-id"]
            assert made not in {odd, ""}
            assert len(made) == 32
        first, second = (client.get("/healthz").headers["x-request-id"] for _ in range(2))
        assert first != second
    logged = [record.tl_fields for record in caplog.records if record.getMessage() == "request_answered"]
    assert {"request_id": "abc-1", "status": 404, "path": "/files/x"}.items() <= logged[0].items()
