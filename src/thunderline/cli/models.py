"""``model``: what there is, where it comes from, what is fit to be promoted."""

from collections.abc import Mapping
from typing import Annotated

import typer

from thunderline.canonical import Json
from thunderline.cli.client import connected
from thunderline.cli.output import Output, OutputOption, emit, say
from thunderline.registry.model import better_direction, parse_model_name

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)
Name = Annotated[str, typer.Argument(help="The model's name.")]


def rows_of(answer: Mapping[str, Json], field: str) -> list[Mapping[str, Json]]:
    """Return the rows that an answer holds under a field."""
    found = answer.get(field)
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []


def _named(name: str) -> str:
    """Return a name fit to stand in a path; '..' in one would ask for something else."""
    return parse_model_name(name, "name")


@app.command("list")
def list_models(output: OutputOption = Output.TABLE) -> None:
    """List models and what their references hold.

    Example: thunderline model list
    """
    with connected() as api:
        found = rows_of(api.get("/api/models"), "models")
    if output is Output.TABLE:
        found = [
            {
                "name": one.get("name"),
                "references": _held(one.get("references")),
                "promotions": one.get("head_seq"),
                "created at": one.get("created_at"),
            }
            for one in found
        ]
    emit(found, output)


def _held(references: Json) -> str:
    if not isinstance(references, Mapping):
        return ""
    return ", ".join(
        f"{label} -> @{one.get('version')}" for label, one in references.items() if isinstance(one, Mapping)
    )


@app.command()
def show(name: Name, output: OutputOption = Output.TABLE) -> None:
    """Show a model: its gates, references and versions.

    Example: thunderline model show digits
    """
    with connected() as api:
        answer = api.get(f"/api/models/{_named(name)}")
    if output is not Output.TABLE:
        emit(answer, output)
        return
    emit({key: answer.get(key) for key in ("name", "gates", "head_seq", "created_by", "created_at")})
    emit(
        [
            _only(one, "reference", "version", "seq", "sha256", "updated_at")
            for one in rows_of(answer, "references")
        ],
        title="references",
    )
    emit(
        [_only(one, "version", "sha256", "created_by", "created_at") for one in rows_of(answer, "versions")],
        title="versions",
    )


def _only(row: Mapping[str, Json], *fields: str) -> dict[str, Json]:
    return {field: row.get(field) for field in fields}


@app.command()
def register(
    name: Name,
    *,
    metric: Annotated[str | None, typer.Option(help="The metric that candidates are judged by.")] = None,
    direction: Annotated[
        str | None, typer.Option(help="Which is better: higher or lower; by default as the name says.")
    ] = None,
    margin: Annotated[
        float, typer.Option(help="By how much a candidate may be worse than the champion.")
    ] = 0.0,
    floor: Annotated[float | None, typer.Option(help="The worst value accepted at all.")] = None,
    require: Annotated[
        list[str] | None, typer.Option(help="A metadata key that active versions carry.")
    ] = None,
    ungated: Annotated[bool, typer.Option(help="Ask for no metric; said out loud and kept.")] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Register a model and what it asks of candidates for production; it may ask otherwise until promoted.

    Example: thunderline model register digits --metric accuracy --floor 0.8 --margin 0.01
    """
    rule: Json = None
    if metric is not None:
        better = direction or better_direction(metric)
        rule = {"metric": metric, "direction": better, "margin": margin, "floor": floor}
    document: dict[str, Json] = {"name": name}
    if rule is not None or ungated or require:
        document["gates"] = {"metric": rule, "ungated": ungated, "required": require or []}
    with connected() as api:
        answer = api.post("/api/models", document)
    emit(answer, output)
    gates = answer.get("gates")
    if isinstance(gates, Mapping) and not gates.get("metric") and not gates.get("ungated"):
        say("without --metric or --ungated this model can be promoted to shadow only")


@app.command()
def candidates(
    name: Name,
    by: Annotated[str, typer.Option(help="metric or recency.")] = "metric",
    output: OutputOption = Output.TABLE,
) -> None:
    """Rank a model's versions, each with the reasons for and against.

    Example: thunderline model candidates digits --by metric
    """
    with connected() as api:
        answer = api.get(f"/api/models/{_named(name)}/candidates", by=by)
    rows = rows_of(answer, "candidates")
    if output is Output.TABLE:
        rows = [candidate_row(name, one) for one in rows]
    emit(rows, output)


def candidate_row(model: str, one: Mapping[str, Json]) -> dict[str, Json]:
    """Return a candidate as a table shows it.

    Args:
        model: whose version it is.
        one: as the API tells it.
    """
    return {
        "rank": one.get("rank"),
        "version": f"{model}@{one.get('version')}",
        "round": one.get("round_num"),
        str(one.get("metric") or "metric"): one.get("value"),
        "eligible": one.get("eligible"),
        "reasons": "; ".join(map(str, _list(one.get("reasons")))),
        "held by": ", ".join(map(str, _list(one.get("held_by")))),
    }


def _list(value: Json) -> list[Json]:
    return list(value) if isinstance(value, list) else []


@app.command()
def history(
    name: Name,
    label: Annotated[str | None, typer.Option(help="Of this reference only.")] = None,
    output: OutputOption = Output.TABLE,
) -> int:
    """Show who moved what, when and why, and whether the chain is unbroken.

    Example: thunderline model history digits
    """
    with connected() as api:
        answer = api.get(f"/api/models/{_named(name)}/history", label=label)
    chain = answer.get("chain")
    sound = isinstance(chain, Mapping) and chain.get("sound") is True
    if output is Output.TABLE:
        fields = ("seq", "kind", "target_ref", "version", "sha256", "actor", "reason", "at")
        emit([_only(one, *fields) for one in rows_of(answer, "history")])
        say(f"chain: {'sound' if sound else chain}")
    else:
        emit(answer if output is not Output.JSONL else rows_of(answer, "history"), output)
    return 0 if sound else 6


@app.command()
def lineage(
    address: Annotated[str, typer.Argument(help="name@3, name:prod, s3://… or a sha256.")],
    output: OutputOption = Output.TABLE,
) -> None:
    """Show what an artifact came from.

    Example: thunderline model lineage digits:prod
    """
    with connected() as api:
        answer = api.get("/api/lineage", address=address)
    if output is not Output.TABLE:
        emit(answer, output)
        return
    start = {"from": "artifact", "relation": "", "id": answer.get("uri")}
    steps = [
        {
            "from": "  " * int(str(one.get("depth"))) + str(one.get("kind")),
            "relation": one.get("relation"),
            "id": one.get("id"),
        }
        for one in rows_of(answer, "ancestors")
    ]
    emit([start, *steps])
