"""``artifact``: bytes in, bytes out, bytes checked."""

import math
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from thunderline.artifacts.archive import Archive
from thunderline.artifacts.download import download
from thunderline.artifacts.extract import extract
from thunderline.artifacts.manifest import parse_path, write_manifest
from thunderline.canonical import Json, sha256_hex
from thunderline.cli.client import Api, connected
from thunderline.cli.models import rows_of
from thunderline.cli.output import Output, OutputOption, emit, say
from thunderline.document import parse_json
from thunderline.errors import ChecksumMismatch, InvalidInput

_CHUNK = 1 << 20
_MANIFEST = "manifest_sha256"
_ARCHIVE = "tar"
app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)
Address = Annotated[str, typer.Argument(help="name@3, name#active, name:prod, s3://bucket/key or a sha256.")]


@app.command()
def push(
    path: Annotated[Path, typer.Argument(help="The file, or a directory: sent as one archive.")],
    *,
    model: Annotated[str | None, typer.Option(help="Make it a version of this model.")] = None,
    metric: Annotated[
        list[str] | None, typer.Option(help="NAME=NUMBER, as measured; may stand often.")
    ] = None,
    metadata: Annotated[str | None, typer.Option(help="Free JSON, kept with the artifact.")] = None,
    kind: Annotated[
        str, typer.Option(help="checkpoint, adapter, snapshot, tokenizer, run or other.")
    ] = "checkpoint",
    output: OutputOption = Output.TABLE,
) -> None:
    """Upload a file or a directory, hashed on the way, and record it as an artifact.

    A directory goes out as NAME.tar while it is read: nothing is written here. The same files give the same
    digest everywhere, and the digest of their list stands in the metadata as manifest_sha256.

    Example: thunderline artifact push model.safetensors --model digits --metric accuracy=0.93
    """
    measured = dict(_measured(one) for one in metric or [])
    free: Json = parse_json(metadata.encode(), field="--metadata") if metadata else {}
    if not isinstance(free, Mapping):
        raise InvalidInput("--metadata", 'expected a JSON object, such as {"dataset": "iris"}')
    with connected() as api:
        sent = _send_folder(api, path, free) if path.is_dir() else _Sent(api.upload(path), path.name, free)
        answer = api.post(
            "/api/artifacts",
            {
                "file_id": sent.file_id,
                "name": sent.name,
                "kind": kind,
                "model": model,
                "metrics": measured,
                "metadata": sent.metadata,
            },
        )
    emit(answer, output)


@dataclass(frozen=True, slots=True)
class _Sent:
    file_id: str
    name: str
    metadata: Json


def _send_folder(api: Api, folder: Path, metadata: Mapping[str, Json]) -> _Sent:
    if _MANIFEST in metadata:
        raise InvalidInput("--metadata", f"expected no {_MANIFEST!r}, which is written for you")
    name = parse_path(f"{folder.resolve().name}.tar", "path")
    archive = Archive(folder)
    file_id = api.upload_stream(archive, archive.length, kind="tar", subject=str(folder))
    return _Sent(file_id, name, {**metadata, _MANIFEST: sha256_hex(write_manifest(archive.entries))})


def _measured(text: str) -> tuple[str, float]:
    name, equals, number = text.partition("=")
    try:
        value = float(number)
    except ValueError:
        problem = f"{text!r} is not NAME=NUMBER, such as accuracy=0.93"
        raise InvalidInput("--metric", problem if equals else f"{problem}; the = is missing") from None
    if not math.isfinite(value):
        raise InvalidInput("--metric", f"{text!r} is no measure; give a finite number or leave it out")
    return name, value


@app.command()
def pull(
    address: Address,
    to: Annotated[Path, typer.Option(help="The file, or the directory to put it in.")] = Path(),
    *,
    unpack: Annotated[
        bool, typer.Option("--extract", help="Unpack an archive into --to, which must not exist yet.")
    ] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Download an artifact's bytes and verify them; resumes where an earlier try ended.

    With --extract, each file of the archive is hashed too, and compared with the list that was pushed; links,
    devices, unsafe paths and damaged archives are refused, and then nothing stays.

    Example: thunderline artifact pull digits:prod --to digits.safetensors
    """
    if unpack and os.path.lexists(to):
        raise InvalidInput("--to", f"{to} is there already; name a directory that does not exist yet")
    with connected() as api:
        found = api.get("/api/artifacts/resolve", address=address)
        fetched = _archive_beside(to, found) if unpack else _place(to, str(found["uri"]))
        written = download(
            api.url,
            str(found["sha256"]),
            fetched,
            headers=api.headers,
            size_bytes=int(str(found["size_bytes"])),
        )
    if unpack:
        written = _unpack(written, to, found.get("metadata"))
    emit({"path": str(written), "sha256": found["sha256"], "size_bytes": found["size_bytes"]}, output)


def _place(to: Path, uri: str) -> Path:
    return to / uri.rsplit("/", 1)[-1] if to.is_dir() else to


def _archive_beside(to: Path, found: Mapping[str, Json]) -> Path:
    if found["format"] != _ARCHIVE:
        raise InvalidInput(
            "--extract", f"{found['uri']} is no archive but {found['format']}; pull it without --extract"
        )
    return to.with_name(f"{to.name}.{found['sha256']}.tar")  # a name that nobody else's file has


def _unpack(archive: Path, to: Path, metadata: Json) -> Path:
    recorded = metadata.get(_MANIFEST) if isinstance(metadata, Mapping) else None
    try:
        with archive.open("rb") as file:
            entries = extract(iter(partial(file.read, _CHUNK), b""), to)
    finally:
        archive.unlink()
    read = sha256_hex(write_manifest(entries))
    if recorded is not None and read != recorded:
        shutil.rmtree(to)
        raise ChecksumMismatch(f"the list of files in {to}", recorded=str(recorded), read=read)
    return to


@app.command()
def show(address: Address, output: OutputOption = Output.TABLE) -> None:
    """Show what is recorded of an artifact.

    Example: thunderline artifact show digits@3
    """
    with connected() as api:
        emit(api.get("/api/artifacts/resolve", address=address), output)


@app.command("list")
def list_artifacts(
    federation: Annotated[str | None, typer.Option(help="Of this federation only (its id).")] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """List artifacts, newest first.

    Example: thunderline artifact list --output jsonl
    """
    with connected() as api:
        found = rows_of(api.get("/api/artifacts", federation_id=federation), "artifacts")
    if output is Output.TABLE:
        found = [
            {key: one.get(key) for key in ("uri", "sha256", "size_bytes", "format", "created_at")}
            for one in found
        ]
    emit(found, output)


@app.command()
def verify(address: Address, output: OutputOption = Output.TABLE) -> None:
    """Read every byte in the store again and compare it with what is recorded.

    Example: thunderline artifact verify digits:prod
    """
    with connected() as api:
        found: Mapping[str, Json] = api.get("/api/artifacts/resolve", address=address)
        emit(api.post(f"/api/artifacts/{found['id']}/verify"), output)
    say("verified: the bytes in the store are the bytes recorded")
