"""size: how much does an install put on the disk?"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.answer import Figure, Peer, Target

ASKS = "How much does a bare install, the edge, put on the disk, and how much one with `[server]`?"
_ROOT = Path(__file__).resolve().parents[1]
_NOT_OURS = ("pip", "setuptools", "_distutils_hack", "distutils-precedence.pth")


class NotReachable(Exception):
    """pip cannot get the packages; the question is skipped."""


def measure(*, quick: bool) -> list[Figure]:
    """Install into fresh environments; quick leaves the server out.

    Raises:
        NotReachable: pip's index does not answer.
    """
    with tempfile.TemporaryDirectory(prefix="tl") as name:
        folder = Path(name)
        source = _copy_of_source(folder / "source")
        empty = _empty_mb(folder / "empty")
        edge = tuple(_installed_mb(folder / f"edge-{one}", source, "") for one in range(2))
        figures = [Figure("bare edge", "MB", edge, Peer("an empty venv", (empty,) * 2), Target(80))]
        if not quick:
            server = tuple(_installed_mb(folder / f"server-{one}", source, "[server]") for one in range(2))
            figures.append(Figure("[server]", "MB", server, Peer("the bare edge", edge), Target(250)))
    return figures


def _copy_of_source(into: Path) -> Path:
    """Copy what a build reads, so that it leaves nothing in the repository."""
    into.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "constraints.txt"):
        shutil.copy(_ROOT / name, into)
    shutil.copytree(_ROOT / "src", into / "src", ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
    return into


def _make_venv(venv: Path) -> Path:
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    return venv


def _empty_mb(venv: Path) -> float:
    return _megabytes(_make_venv(venv), ())


def _installed_mb(venv: Path, source: Path, extra: str) -> float:
    _make_venv(venv)
    done = subprocess.run(
        [
            str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
            "-c", str(source / "constraints.txt"), f"{source}{extra}",
        ],
        check=False,
        capture_output=True,
        text=True,
    )  # fmt: skip
    if done.returncode:
        raise NotReachable(
            f"pip install .{extra} did not work: {(done.stderr.strip().splitlines() or ['?'])[-1]}"
        )
    return _megabytes(venv, _NOT_OURS)


def _megabytes(venv: Path, without: tuple[str, ...]) -> float:
    total = 0
    for packages in venv.glob("lib/python*/site-packages"):
        for entry in packages.iterdir():
            if entry.name in without or entry.name.startswith(tuple(f"{one}-" for one in without)):
                continue
            found = entry.rglob("*") if entry.is_dir() else [entry]
            total += sum(one.stat().st_size for one in found if one.is_file() and not one.is_symlink())
    return total / 1e6
