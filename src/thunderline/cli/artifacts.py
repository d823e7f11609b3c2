"""``artifact``: bytes in, bytes out, bytes checked."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from thunderline.artifacts.download import download
from thunderline.canonical import Json
from thunderline.cli.client import connected
from thunderline.cli.models import rows_of
from thunderline.cli.output import Output, OutputOption, emit, say
from thunderline.document import parse_json
from thunderline.errors import InvalidInput

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)
Address = Annotated[str, typer.Argument(help="name@3, name#active, name:prod, s3://bucket/key or a sha256.")]


@app.command()
def push(
    path: Annotated[Path, typer.Argument(help="The file.")],
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
    """Upload a file, hashed on the way, and record it as an artifact.

    Example: thunderline artifact push model.safetensors --model digits --metric accuracy=0.93
    """
    measured = dict(_measured(one) for one in metric or [])
    free: Json = parse_json(metadata.encode(), field="--metadata") if metadata else {}
    with connected() as api:
        file_id = api.upload(path)
        answer = api.post(
            "/api/artifacts",
            {
                "file_id": file_id,
                "name": path.name,
                "kind": kind,
                "model": model,
                "metrics": measured,
                "metadata": free,
            },
        )
    emit(answer, output)


def _measured(text: str) -> tuple[str, float]:
    name, equals, number = text.partition("=")
    try:
        return name, float(number)
    except ValueError:
        problem = f"{text!r} is not NAME=NUMBER, such as accuracy=0.93"
        raise InvalidInput("--metric", problem if equals else f"{problem}; the = is missing") from None


@app.command()
def pull(
    address: Address,
    to: Annotated[Path, typer.Option(help="The file, or the directory to put it in.")] = Path(),
    output: OutputOption = Output.TABLE,
) -> None:
    """Download an artifact's bytes and verify them; resumes where an earlier try ended.

    Example: thunderline artifact pull digits:prod --to digits.safetensors
    """
    with connected() as api:
        found = api.get("/api/artifacts/resolve", address=address)
        target = to / str(found["uri"]).rsplit("/", 1)[-1] if to.is_dir() else to
        written = download(
            api.url,
            str(found["sha256"]),
            target,
            headers=api.headers,
            size_bytes=int(str(found["size_bytes"])),
        )
    emit({"path": str(written), "sha256": found["sha256"], "size_bytes": found["size_bytes"]}, output)


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
