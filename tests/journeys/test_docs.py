"""The pages do what they say: every command is run against a real platform, every link leads somewhere."""

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import pytest

from tests.serving import wait_until

BASH = shutil.which("bash") or "/bin/bash"
ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
FOLLOWED = sorted(page for room in ("tutorials", "how-to") for page in (ROOT / "docs" / room).glob("*.md"))
BLOCK = re.compile(
    r"(?P<notes>(?:<!--[^>]*-->\s*?\n+)*)^```(?P<kind>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True)
class Block:
    """One fenced block of a page, and the comments right above it."""

    kind: str
    text: str
    notes: tuple[str, ...]

    def note(self, name: str) -> str | None:
        """Return what a comment such as ``<!-- file: train.py -->`` says; None when it is absent."""
        for one in self.notes:
            word, _, rest = one.partition(":")
            if word == name:
                return rest.strip()
        return None

    def commands(self) -> list[tuple[str, list[str]]]:
        """Return each command and the lines of output that the page shows for it."""
        found: list[tuple[str, list[str]]] = []
        for line in self.text.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            elif line.strip() and found:
                found[-1][1].append(line)
        return found


def blocks(text: str) -> list[Block]:
    return [
        Block(one["kind"], one["text"], tuple(re.findall(r"<!--\s*(.*?)\s*-->", one["notes"])))
        for one in BLOCK.finditer(text)
    ]


def fits(documented: str, said: str) -> bool:
    """Tell whether a documented line begins some line that was said; … stands for anything."""
    parts = [re.escape(" ".join(part.split())) for part in documented.split("…")]
    pattern = re.compile(r".*?".join(parts) + r"(?:\s|$)")
    return any(pattern.match(" ".join(line.split())) for line in said.splitlines())


def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return str(free.getsockname()[1])


@dataclass
class Reader:
    """Somebody in an empty directory who does what a page says, in order."""

    folder: Path
    background: subprocess.Popen[str] | None = None
    heard: Path = field(init=False)

    def __post_init__(self) -> None:
        self.heard = self.folder.with_name("background.txt")
        kept = {name: os.environ[name] for name in ("HOME", "LANG") if name in os.environ}
        self.environment = {
            **kept,
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
            "PYTHONPATH": str(ROOT / "src"),
            "PYTHONUNBUFFERED": "1",
            "THUNDERLINE_WEB__PORT": "0",
        }

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [BASH, "-c", command],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )

    def follow(self, block: Block) -> None:
        if block.kind == "python" and (name := block.note("file")) is not None:
            (self.folder / name).write_text(block.text, encoding="utf-8")
        elif block.kind != "console":
            return
        elif block.note("in the background") is not None:
            self.listen(block.text.splitlines())
        elif block.note("background") is not None:
            ((command, shown),) = block.commands()
            self.begin(command, shown)
        else:
            self.obey(block)

    def obey(self, block: Block) -> None:
        commands = block.commands()
        for number, (command, shown) in enumerate(commands, start=1):
            expected = int(block.note("exit") or 0) if number == len(commands) else 0
            done = self.run(command)
            said = done.stdout + done.stderr
            assert done.returncode == expected, f"$ {command}\nexit {done.returncode}\n{said}"
            for line in shown:
                assert fits(line, said), f"$ {command}\nthe page shows\n{line}\nbut it said\n{said}"

    def begin(self, command: str, shown: list[str]) -> None:
        with self.heard.open("w") as heard:
            self.background = subprocess.Popen(
                [BASH, "-c", command],
                cwd=self.folder,
                env=self.environment,
                stdout=heard,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        self.listen(shown)

    def listen(self, shown: list[str]) -> None:
        for line in shown:
            wait_until(lambda line=line: fits(line, self.heard.read_text()), 30)

    def leave(self) -> None:
        if self.background is not None:
            os.killpg(self.background.pid, signal.SIGTERM)
            self.background.wait(30)
        self.run("thunderline down")


SETUPS: dict[str, tuple[str, ...]] = {
    "first-model.md": (),
    "external-parts.md": (),
    "run-a-federation.md": ("thunderline up --detach",),
    "serve-a-model.md": (
        "thunderline up --detach",
        "python train.py",
        "thunderline model register iris --metric accuracy --floor 0.9",
        "thunderline artifact push first.safetensors --model iris --metric accuracy=0.96",
        'thunderline promote iris@1 --to iris:prod --reason "first model"',
    ),
}


@pytest.fixture
def reader(short_path: Path) -> Iterator[Reader]:
    folder = short_path / "d"
    folder.mkdir()
    folder.chmod(0o711)
    made = Reader(folder)
    yield made
    made.leave()


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", FOLLOWED, ids=lambda page: page.name)
def test_every_command_of_a_page_does_what_the_page_says(reader: Reader, page: Path) -> None:
    train(reader, *SETUPS[page.name])
    text = page.read_text(encoding="utf-8").replace("8080", free_port())  # of the reader's own service
    for block in blocks(text):
        reader.follow(block)


def train(reader: Reader, *commands: str) -> None:
    """Let the reader have the tutorial's models and the example service, and a platform in a state."""
    tutorial = (ROOT / "docs" / "tutorials" / "first-model.md").read_text(encoding="utf-8")
    for block in blocks(tutorial):
        if block.note("file") == "train.py":
            reader.follow(block)
    shutil.copy(ROOT / "examples" / "serve.py", reader.folder)
    for command in commands:
        done = reader.run(command)
        assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_the_runbook_mends_a_damaged_object_in_the_embedded_store(reader: Reader) -> None:
    train(reader, *SETUPS["serve-a-model.md"], "cp first.safetensors kept.bin")
    digest = sha256((reader.folder / "kept.bin").read_bytes()).hexdigest()
    objects = reader.folder / ".thunderline" / "objects" / "thunderline-artifacts"
    latest = objects / "models" / "iris" / "latest.safetensors"
    latest.chmod(0o640)
    with latest.open("r+b") as damaged:
        damaged.seek(150)
        damaged.write(b"X")
    assert reader.run("thunderline artifact verify iris:prod").returncode == 6
    assert reader.run("thunderline promote iris@1 --to iris:staging --reason x").returncode == 6

    page = (ROOT / "docs" / "runbooks" / "checksum-mismatch.md").read_text(encoding="utf-8")
    (repair,) = [one.text for one in blocks(page) if one.note("repair") is not None]
    done = reader.run(f"set -e\n{repair.replace('DIGEST', digest).replace('FILE', 'first.safetensors')}")
    assert done.returncode == 0, done.stderr
    assert reader.run("thunderline artifact verify iris:prod").returncode == 0
    assert sha256(latest.read_bytes()).hexdigest() == digest
    assert (reader.folder / "damaged.bin").read_bytes() != latest.read_bytes()


def commands_in(text: str) -> list[list[str]]:
    """Return every ``thunderline`` command that stands in a page: in blocks and in running text."""
    lines = [line.removeprefix("$ ") for block in blocks(text) for line in block.text.splitlines()]
    lines += re.findall(r"`(thunderline [^`]+)`", BLOCK.sub("", text))
    found = []
    for line in lines:
        match = re.search(r"\bthunderline (?:up|down|status|doctor|[a-z]+ )[^;|&)#`]*", line)
        if match is not None and not line.startswith(("from ", "import ")):
            found.append(shlex.split(match[0].replace("…", "x"))[1:])
    return found


WRITTEN = sorted({tuple(one) for page in PAGES for one in commands_in(page.read_text(encoding="utf-8"))})


@pytest.mark.parametrize("command", WRITTEN, ids=" ".join)
def test_every_command_that_is_written_anywhere_exists_with_its_options(command: tuple[str, ...]) -> None:
    import click
    import typer

    from thunderline.cli.main import app

    found: click.Command = typer.main.get_command(app)
    context, left = click.Context(found, info_name="thunderline"), list(command)
    while isinstance(found, click.Group) and left and not left[0].startswith("-"):
        inner = found.get_command(context, left.pop(0))
        assert inner is not None, f"there is no such command: thunderline {' '.join(command)}"
        found = inner
        context = click.Context(found, parent=context)
    known = {name for one in found.params for name in (*one.opts, *one.secondary_opts)} | {"--help"}
    assert [one for one in left if one.startswith("-") and one.partition("=")[0] not in known] == []


def links(page: Path) -> list[str]:
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    return [one for one in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text) if "://" not in one]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    assert [one for one in links(page) if not (page.parent / one).exists()] == []


def test_the_index_names_every_page_that_people_write() -> None:
    reached, left = set[Path](), [ROOT / "docs" / "README.md"]
    while left:
        page = left.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        left += [(page.parent / one).resolve() for one in links(page) if (page.parent / one).is_file()]
    generated = ROOT / "docs" / "reference"  # linked as a directory
    written = [one for one in PAGES if one.is_relative_to(ROOT / "docs") and generated not in one.parents]
    assert [one for one in written if one not in reached] == []


@pytest.mark.parametrize(
    ("documented", "said", "expected"),
    [
        ("up: http://127.0.0.1:…", "up: http://127.0.0.1:4000\nkey: x", True),
        ("promoted iris:prod 1 1 …", "  status\n promoted   iris:prod    1   1   abc  now", True),
        ("promoted iris:prod 2 …", " promoted   iris:prod    1   1   abc", False),
        ("version 1", "version 12", False),
        ('{"seq": 1, "sha256": "…", "path": "…"}', '{"seq": 1, "sha256": "abc", "path": "x"}', True),
        ("chain: sound", "chain: broken", False),
    ],
)
def test_a_documented_line_is_compared_with_what_was_said(
    documented: str, said: str, *, expected: bool
) -> None:
    assert fits(documented, said) is expected


def test_a_page_that_promises_something_else_fails(reader: Reader) -> None:
    reader.follow(blocks("```console\n$ echo one\none\n```\n")[0])
    with pytest.raises(AssertionError, match="the page shows"):
        reader.follow(blocks("```console\n$ echo one\ntwo\n```\n")[0])
    with pytest.raises(AssertionError, match="exit 1"):
        reader.follow(blocks("```console\n$ false\n```\n")[0])
    reader.follow(blocks("<!-- exit: 1 -->\n```console\n$ false\n```\n")[0])
