"""The page and the tables, from the result files alone."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from thunderline.canonical import Json
from thunderline.document import parse_json

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "benchmarks.md"
_HEAD = """\
<!-- Generated from benchmarks/results by `make bench ARGS=--report`; measure anew, do not edit. -->

# Benchmarks

```console
$ make bench                                # every question, about ten minutes
$ make bench ARGS="transfer promote"        # these two
$ make bench ARGS="--quick --into build/b"  # small sizes: shows that it works, not how fast
$ make bench ARGS=--report                  # write this page from the result files
```

Each question about the platform starts the real one (`thunderline up --detach --port 0`) in a scratch home:
real Postgres, real store, real HTTP. CPU seconds and memory are the kernel's own count of each process. Every
figure is measured twice at least; the tables show medians, `benchmarks/results/` holds every run. A peer is
measured in the same run, so a ratio holds on a loaded machine too; MB/s, milliseconds and wall times alone do
not. A result is `noisy` when, as its measurement began, more processes wanted the processor than it has
cores. The command ends with 1 when a target is missed.
"""
_TABLE = ("| figure | median | unit | peer | ratio | target | met |", "|---|---|---|---|---|---|---|")


def read_results(folder: Path) -> list[Mapping[str, Json]]:
    """Return every result document of a folder, by name."""
    found = [parse_json(one.read_bytes(), field=one.name) for one in sorted(folder.glob("*.json"))]
    return [one for one in found if isinstance(one, Mapping)]


def page(results: Sequence[Mapping[str, Json]]) -> str:
    """Return the reference page."""
    lines = [_HEAD]
    for one in results:
        lines += [*_section(one), ""]
    return "\n".join(lines).rstrip() + "\n"


def rows_of(result: Mapping[str, Json]) -> list[str]:
    """Return one result as a table in Markdown, readable in a terminal too."""
    figures = result["figures"]
    rows = [_row(one) for one in figures if isinstance(one, Mapping)] if isinstance(figures, Sequence) else []
    return [*_TABLE, *rows] if rows else [f"Skipped: {result['skipped']}"]


def _section(result: Mapping[str, Json]) -> Iterator[str]:
    machine = result["machine"]
    where = machine if isinstance(machine, Mapping) else {}
    yield f"## `{result['question']}`"
    yield ""
    yield str(result["asks"])
    yield ""
    noise = ", noisy" if result["noisy"] else ""
    yield (
        f"Measured {str(result['date'])[:10]} on {where.get('cpus')} cores of {where.get('model')}, Python"
        f" {where.get('python')}{noise}."
    )
    yield ""
    yield from rows_of(result)


def _row(figure: Mapping[str, Json]) -> str:
    peer = f"{figure['peer']}: {_number(figure['peer_median'])}" if figure["peer"] else ""
    met = {"True": "yes", "False": "**no**"}.get(str(figure["met"]), "")
    cells = (
        figure["name"], _number(figure["median"]), figure["unit"], peer, _number(figure["ratio"]),
        figure["target"] or "", met,
    )  # fmt: skip
    return f"| {' | '.join(map(str, cells))} |"


def _number(value: Json) -> str:
    if not isinstance(value, int | float):
        return ""
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
