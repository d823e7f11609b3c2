"""size: how much does an install put on the disk?"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.answer import Figure, Peer, Target

ASKS = "How much does a bare install, the edge, put on the disk, and how much one with `[server]`?"
_ROOT = Path(__file__).resolve().parents[1]
_PROBE = "rfc8785"  # small, and one of our own needs
_NOT_OURS = ("pip", "setuptools", "_distutils_hack", "distutils-precedence.pth")


class NotReachable(Exception):
    """pip cannot get the packages; the question is skipped."""


def measure(*, quick: bool) -> list[Figure]:
    """Install into fresh environments; quick leaves the server out.

    Raises:
        NotReachable: pip's index does not answer.
        RuntimeError: pip could not install for another reason.
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
    said = _pip(venv, "install", "-c", str(source / "constraints.txt"), f"{source}{extra}")
    if said is None:
        return _megabytes(venv, _NOT_OURS)
    if _pip(venv, "download", "--no-deps", "--no-cache-dir", "--dest", str(venv), _PROBE) is not None:
        raise NotReachable("pip's index is not reachable from here; measure size where it is")
    raise RuntimeError(f"pip install .{extra} failed: {said}")


def _pip(venv: Path, command: str, *arguments: str) -> str | None:
    """Run pip; returns its last words when it failed, None when it did what it should."""
    program = [str(venv / "bin" / "python"), "-m", "pip", command, "--quiet", "--disable-pip-version-check"]
    done = subprocess.run([*program, *arguments], check=False, capture_output=True, text=True)
    return None if done.returncode == 0 else (done.stderr.strip().splitlines() or ["nothing"])[-1]


def _megabytes(venv: Path, without: tuple[str, ...]) -> float:
    total = 0
    for packages in venv.glob("lib/python*/site-packages"):
        for entry in packages.iterdir():
            if entry.name in without or entry.name.startswith(tuple(f"{one}-" for one in without)):
                continue
            found = entry.rglob("*") if entry.is_dir() else [entry]
            total += sum(one.stat().st_size for one in found if one.is_file() and not one.is_symlink())
    return total / 1e6
