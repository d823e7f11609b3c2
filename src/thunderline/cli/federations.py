"""``federation``: create, start, watch, pause and stop federations."""

import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

import typer

from thunderline.canonical import Json
from thunderline.cli.client import Api, connected
from thunderline.cli.models import candidate_row, rows_of
from thunderline.cli.output import Output, OutputOption, emit, printable, say
from thunderline.errors import InvalidInput
from thunderline.registry.model import parse_model_name
from thunderline.settings import load_settings

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)
SpecFile = Annotated[Path, typer.Argument(help="A FederationSpec, YAML or JSON.")]


def _named(which: str) -> str:
    """Return a name or an id if it can be one: it becomes a part of the URL."""
    return parse_model_name(which, "federation")


Which = Annotated[str, typer.Argument(help="Its name or id.", callback=_named)]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only check; change nothing.")]
_POLL_S = 0.3
_FAILED = 1
_OVER = ("completed", "failed", "paused", "created")
_BAR = 40


@app.command()
def validate(spec: SpecFile, output: OutputOption = Output.TABLE) -> None:
    """Check a spec on this machine, without a server; unknown keys are named with the nearest known one.

    Example: thunderline federation validate coop.yaml
    """
    from thunderline.federation.spec import check_runnable
    from thunderline.federation.spec_document import parse_spec

    settings = load_settings().settings
    bucket, _ = settings.store.place
    found = parse_spec(_read(spec), bucket=bucket)
    check_runnable(found, tenant=found.tenant or settings.platform.tenant, bucket=bucket)
    emit(
        {
            "status": "valid",
            "name": found.name,
            "model": found.model,
            "strategy": found.strategy.name,
            "rounds": found.rounds,
            "clients": len(found.shards),
            "writes_to": f"s3://{found.bucket}/{found.prefix}/checkpoints/",
            "warnings": list(found.warnings),
        },
        output,
    )


@app.command()
def create(
    spec: SpecFile,
    *,
    start_now: Annotated[bool, typer.Option("--start", help="Start it at once.")] = False,
    dry_run: DryRun = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Give a spec to the platform, which checks it against what it holds and keeps it verbatim.

    Example: thunderline federation create coop.yaml --start
    """
    content = _read(spec)
    with connected() as api:
        params = {"dry_run": "true"} if dry_run else {}
        answer = api.post_content("/api/federations", content, "application/yaml", **params)
        if start_now and not dry_run:
            answer = {**answer, **api.post(f"/api/federations/{answer['id']}/start", {})}
    _warn(answer)
    emit(answer if output is not Output.TABLE else _short(answer), output)


def _read(spec: Path) -> bytes:
    try:
        return spec.read_bytes()
    except OSError as error:
        raise InvalidInput("SPEC", f"cannot read {spec}: {error.strerror}") from error


def _warn(answer: Mapping[str, Json]) -> None:
    warnings = answer.get("warnings")
    for one in warnings if isinstance(warnings, list) else []:
        say(f"warning: {one}")


def _short(one: Mapping[str, Json]) -> dict[str, Json]:
    shown = ("name", "id", "model", "status", "rounds_total", "rounds_completed", "message")
    return {key: one.get(key) for key in shown if key in one}


def _act(which: str, action: str, output: Output, *, dry_run: bool) -> None:
    with connected() as api:
        path = f"/api/federations/{which}/{action}" + ("?dry_run=true" if dry_run else "")
        answer = api.post(path, {})
    emit(answer if output is not Output.TABLE else _short(answer), output)
    if dry_run:
        say(f"{action} is possible; nothing was changed")


@app.command()
def start(which: Which, *, dry_run: DryRun = False, output: OutputOption = Output.TABLE) -> None:
    """Start a federation.

    Example: thunderline federation start coop
    """
    _act(which, "start", output, dry_run=dry_run)


@app.command()
def pause(which: Which, *, dry_run: DryRun = False, output: OutputOption = Output.TABLE) -> None:
    """Let a federation rest after the round in progress.

    Example: thunderline federation pause coop
    """
    _act(which, "pause", output, dry_run=dry_run)


@app.command()
def resume(which: Which, *, dry_run: DryRun = False, output: OutputOption = Output.TABLE) -> None:
    """Go on with a paused or failed federation, after its last completed round.

    Example: thunderline federation resume coop
    """
    _act(which, "resume", output, dry_run=dry_run)


@app.command()
def stop(which: Which, *, dry_run: DryRun = False, output: OutputOption = Output.TABLE) -> None:
    """End a federation at once; the round in progress counts no more, its artifacts stay.

    Example: thunderline federation stop coop
    """
    _act(which, "stop", output, dry_run=dry_run)


@app.command()
def show(which: Which, output: OutputOption = Output.TABLE) -> None:
    """Show a federation and its rounds.

    Example: thunderline federation show coop
    """
    with connected() as api:
        found = api.get(f"/api/federations/{which}")
        listed = rows_of(api.get(f"/api/federations/{which}/rounds"), "rounds")
        ranked = _candidates(api, found)
    if output is not Output.TABLE:
        emit({**found, "rounds": listed, "candidates": ranked}, output)
        return
    emit(_short(found))
    emit([_figures(one) for one in listed], title="rounds")
    if ranked:
        emit([candidate_row(str(found["model"]), one) for one in ranked], title="candidates")


@app.command("list")
def list_federations(output: OutputOption = Output.TABLE) -> None:
    """List federations, newest first.

    Example: thunderline federation list --output json
    """
    with connected() as api:
        found = rows_of(api.get("/api/federations"), "federations")
    emit([_short(one) for one in found] if output is Output.TABLE else found, output)


@app.command()
def watch(which: Which, output: OutputOption = Output.TABLE) -> int:
    """Print each round as it completes, until the federation rests or is over.

    Exit 0 when it completed, is paused or not started; 1 when it failed.

    Example: thunderline federation watch coop
    """
    with connected() as api:
        for one in follow(api, which):
            if output is Output.TABLE:
                sys.stdout.write(f"{printable(line_of(one))}\n")
                sys.stdout.flush()
            else:
                emit(one, Output.JSONL if output is Output.JSON else output)
        found = api.get(f"/api/federations/{which}")
        ranked = _candidates(api, found)
    told = f": {found['message']}" if found.get("message") else ""
    say(f"{found['name']} is {found['status']}{told}")
    if ranked:
        best = ranked[0]
        say(
            f"{len(ranked)} candidates, best {found['model']}@{best.get('version')} "
            f"(round {best.get('round_num')}): thunderline model candidates {found['model']}"
        )
    return _FAILED if found["status"] == "failed" else 0


def _candidates(api: Api, federation: Mapping[str, Json]) -> list[Mapping[str, Json]]:
    """Return what a federation has to offer for promotion, best first."""
    made = rows_of(api.get("/api/artifacts", federation_id=str(federation["id"]), limit=1000), "artifacts")
    uris = {one.get("uri") for one in made}
    ranked = rows_of(api.get(f"/api/models/{federation['model']}/candidates", limit=1000), "candidates")
    return [one for one in ranked if one.get("uri") in uris]


def follow(api: Api, which: str) -> Iterator[Mapping[str, Json]]:
    """Yield each completed round of a federation once, in order, until the federation rests or is over."""
    last = 0
    while True:
        answer = api.get(f"/api/federations/{which}/rounds", after=last)
        fresh = [one for one in rows_of(answer, "rounds") if one.get("status") == "completed"]
        for one in fresh:
            last = int(str(one["round_num"]))
            yield one
        if not fresh:  # else there may be another page
            if answer.get("status") in _OVER:
                return
            time.sleep(_POLL_S)


def _figures(one: Mapping[str, Json]) -> dict[str, Json]:
    metrics = one.get("metrics_json")
    told = metrics if isinstance(metrics, Mapping) else {}
    return {"round": one.get("round_num"), "status": one.get("status"), **told}


def line_of(one: Mapping[str, Json]) -> str:
    """Return a round as one line: its number, its figures, and a bar when it measured an accuracy."""
    told = _figures(one)
    accuracy = told.get("accuracy")
    names = [name for name in ("accuracy", "loss", "train_loss") if _is_number(told.get(name))]
    figures = "  ".join(f"{name} {told[name]:.3f}" for name in names)
    clients = f"{told.get('clients', 0):g} of {told.get('asked', 0):g} clients"
    bar = f"  {'#' * round(accuracy * _BAR)}" if isinstance(accuracy, float) else ""
    return f"round {told['round']:>3}  {figures}  {clients}{bar}"


def _is_number(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
