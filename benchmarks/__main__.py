"""``python -m benchmarks [question ...]``: measure, print a table, keep the figures."""

import argparse
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from benchmarks import events, federation, lookup, promote, size, startup, transfer
from benchmarks.answer import RESULTS, Answer, Figure
from benchmarks.machine import this_machine
from benchmarks.report import PAGE, page, read_results, rows_of
from thunderline.clock import to_wire


class _Question(Protocol):
    """A module that answers one question."""

    @property
    def ASKS(self) -> str:  # noqa: N802 -- a constant of the module
        """What it asks, in a sentence."""

    def measure(self, *, quick: bool) -> list[Figure]:
        """Measure, or only show that it works."""


QUESTIONS: dict[str, _Question] = {
    "transfer": transfer,
    "promote": promote,
    "lookup": lookup,
    "events": events,
    "startup": startup,
    "federation": federation,
    "size": size,
}


def main(arguments: Sequence[str]) -> int:
    """Answer the questions named, all by default.

    Returns:
        0 when every target is met, else 1; quick runs judge nothing.
    """
    given = _parser().parse_args(arguments)
    if given.report:
        PAGE.write_text(page(read_results(RESULTS)), encoding="utf-8")
        _say(f"wrote {PAGE.name}")
        return 0
    unknown = [one for one in given.questions if one not in QUESTIONS]
    if unknown:
        _say(f"error: no question {', '.join(unknown)}; known are {', '.join(QUESTIONS)}")
        return 2
    all_met = True
    for name in given.questions or list(QUESTIONS):
        found = _answer(name, quick=given.quick)
        file = found.save(given.into)
        _say(f"{name}: kept in {file.name}")
        print("\n".join(rows_of(found.document())), flush=True)
        all_met = all_met and all(one.is_met is not False for one in found.figures)
    return 0 if all_met or given.quick else 1


def _answer(name: str, *, quick: bool) -> Answer:
    question, began, skipped = QUESTIONS[name], os.getloadavg()[0], None
    figures: list[Figure] = []
    _say(f"{name}: measuring")
    try:
        figures = question.measure(quick=quick)
    except size.NotReachable as problem:
        skipped = str(problem)
        _say(f"{name}: skipped, {skipped}")
    return Answer(
        question=name,
        asks=question.ASKS,
        date=to_wire(datetime.now(UTC)),
        is_quick=quick,
        machine=this_machine(),
        loads=(began, os.getloadavg()[0]),
        figures=tuple(figures),
        skipped=skipped,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("questions", nargs="*", metavar="question", help=", ".join(QUESTIONS))
    parser.add_argument("--quick", action="store_true", help="small sizes: shows that it works, not how fast")
    parser.add_argument("--into", type=Path, default=RESULTS, help="folder of the result files")
    parser.add_argument(
        "--report", action="store_true", help="write the page from the result files, measure none"
    )
    return parser


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
