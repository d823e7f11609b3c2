"""``promote`` and ``rollback``."""

from collections.abc import Mapping
from typing import Annotated

import typer

from thunderline.canonical import Json
from thunderline.cli.client import connected
from thunderline.cli.output import Output, OutputOption, emit, say
from thunderline.document import parse_json
from thunderline.errors import InvalidInput
from thunderline.promotion.stage import ByVersion, Target, parse_address

REFUSED = 3

DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Show the plan and the gates' findings; change nothing.")
]
Reason = Annotated[str, typer.Option("--reason", help="Why; kept in the history for ever.")]


def promote(
    address: Annotated[
        str, typer.Argument(help="name@3, name#active, name:prod, s3://bucket/key or a sha256.")
    ],
    *,
    reason: Reason,
    to: Annotated[str | None, typer.Option("--to", help="The reference: name:label.")] = None,
    stage: Annotated[str | None, typer.Option(help="Instead of --to: shadow, staging or active.")] = None,
    metadata: Annotated[str | None, typer.Option(help="Free JSON, kept with the promotion.")] = None,
    expect: Annotated[
        int | None, typer.Option(help="Refuse unless the reference is still at this seq.")
    ] = None,
    dry_run: DryRun = False,
    output: OutputOption = Output.TABLE,
) -> int:
    """Move a reference to an artifact, if every gate agrees.

    Example: thunderline promote digits@3 --to digits:prod --reason "best accuracy so far"
    """
    given: Json = parse_json(metadata.encode(), field="--metadata") if metadata else {}
    if not isinstance(given, Mapping):
        raise InvalidInput("--metadata", 'expected a JSON object, such as {"ticket": "OPS-7"}')
    with connected() as api:
        answer = api.post(
            "/api/promotions",
            {
                "artifact": address,
                "target_ref": _target(address, to, stage),
                "reason": reason,
                "metadata": given,
                "expected_seq": expect,
                "dry_run": dry_run,
            },
        )
    return show(answer, output)


def rollback(
    reference: Annotated[str, typer.Argument(help="name:label or name#stage.")],
    *,
    reason: Reason = "rollback",
    again: Annotated[bool, typer.Option(help="Go one further back after a rollback.")] = False,
    dry_run: DryRun = False,
    output: OutputOption = Output.TABLE,
) -> int:
    """Move a reference back to what it held before; needs no id, and no gate but intact bytes.

    Example: thunderline rollback digits:prod --reason "error rate rose"
    """
    with connected() as api:
        answer = api.post(
            "/api/rollbacks", {"target_ref": reference, "reason": reason, "again": again, "dry_run": dry_run}
        )
    return show(answer, output)


def _target(address: str, to: str | None, stage: str | None) -> str:
    if (to is None) == (stage is None):
        raise InvalidInput("--to", "give either --to NAME:LABEL or --stage STAGE")
    if to is not None:
        return to
    parsed = parse_address(address)
    if not isinstance(parsed, ByVersion | Target):
        raise InvalidInput("--stage", f"{address} does not name a model; write --to NAME:LABEL")
    return f"{parsed.model}#{stage}"


def show(answer: Mapping[str, Json], output: Output) -> int:
    """Print what came of a promotion.

    Args:
        answer: of the API.
        output: a table for people, the whole answer for programs.

    Returns:
        The exit code: 0, or 3 for a plan that a gate refuses.
    """
    plan = answer.get("plan")
    planned = plan if isinstance(plan, Mapping) else None
    if output is not Output.TABLE:
        emit(answer, output)
    elif planned is not None:
        _show_plan(planned)
    else:
        _show_done(answer)
    return REFUSED if planned is not None and not planned.get("allowed") else 0


def _show_plan(plan: Mapping[str, Json]) -> None:
    before, after = plan.get("before"), plan.get("after")
    emit(
        [
            {"what": "reference", "value": plan.get("target_ref")},
            {"what": "before", "value": before},
            {"what": "after", "value": after},
            {"what": "changes anything", "value": plan.get("changes_anything")},
            {"what": "plan id", "value": plan.get("plan_id")},
        ],
        title="plan",
    )
    emit_gates(plan.get("gates"))
    say("nothing was changed" + ("" if plan.get("allowed") else "; a gate would refuse this"))


def emit_gates(gates: Json) -> None:
    """Print each gate's finding as a table row."""
    if isinstance(gates, list):
        emit(
            [
                {
                    "gate": one.get("gate"),
                    "ok": one.get("ok"),
                    "expected": one.get("expected"),
                    "observed": one.get("observed"),
                }
                for one in gates
                if isinstance(one, Mapping)
            ],
            title="gates",
        )


def _show_done(answer: Mapping[str, Json]) -> None:
    row = answer.get("promotion")
    told = row if isinstance(row, Mapping) else {}
    emit(
        [
            {
                "status": answer.get("status"),
                "reference": told.get("target_ref"),
                "version": told.get("version"),
                "seq": told.get("seq"),
                "sha256": told.get("sha256"),
                "actor": told.get("actor"),
                "at": told.get("at"),
            }
        ]
    )
    if answer.get("latest_published") is False:
        say("the store is away: latest is published as soon as it answers again")
