"""The house's rules that no import contract can hold; each rule is also shown to catch a planted break."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "thunderline"
MOST_LINES = 350
FORBIDDEN_NAMES = {
    "utils", "util", "common", "misc", "shared", "base", "manager", "service", "data", "info", "helpers",
}  # fmt: skip
FORBIDDEN_MODULES = {"pickle", "joblib", "dill", "cloudpickle", "marshal", "shelve"}
FORBIDDEN_CALLS = {"extractall", "yaml.load", "eval", "exec", "os.system"}
# Which files may import which outside library; a name ending in / is a room.
DOORS: dict[str, tuple[str, ...]] = {
    "psycopg": ("db/", "events/outbox.py", "events/relay.py", "events/stream.py", "RECORDS"),
    "psycopg_pool": ("db/pool.py",),
    "fastapi": ("web/",),
    "starlette": ("web/",),
    "sse_starlette": ("web/",),
    "python_multipart": ("web/",),
    "jinja2": ("web/console.py",),
    "anyio": ("web/app.py",),
    "uvicorn": ("cli/serve.py",),
    "uvloop": ("cli/serve.py",),
    "typer": ("cli/",),
    "click": ("cli/main.py",),
    "rich": ("cli/",),
    "flwr": ("federation/flower/",),
    "numpy": ("federation/", "consumer/arrays.py", "cli/demo_"),
    "safetensors": ("federation/", "consumer/arrays.py", "cli/demo_"),
    "sklearn": ("cli/demo_",),
    "obstore": ("artifacts/object_store.py",),
    "httpx": ("artifacts/download.py", "consumer/", "cli/"),
    "psutil": ("process.py", "cli/"),
    "yaml": ("document.py",),
    "rfc8785": ("canonical.py",),
    "cloudevents": ("events/envelope.py",),
    "pydantic": ("settings.py", "web/", "federation/", "cli/home.py"),
    "typing_extensions": ("",),
}
DATABASE_USERS = (
    "db/", "RECORDS", "events/", "identity/authenticate.py", "promotion/", "federation/", "monitor/",
    "artifacts/bank.py", "wiring.py", "cli/", "web/",
)  # fmt: skip


def files() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def inside(file: Path) -> str:
    return file.relative_to(SOURCE).as_posix()


def may(place: str, doors: tuple[str, ...]) -> bool:
    is_records = place.endswith("/records.py")
    return any(place.startswith(door) or (door == "RECORDS" and is_records) for door in doors)


def imported(tree: ast.AST) -> Iterator[str]:
    """Every module named by an import, lazy ones too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def breaks(place: str, text: str) -> list[str]:
    """Every rule that a file at this place would break."""
    tree = ast.parse(text)
    parts = Path(place).parts
    rules = {
        "no docstring": not ast.get_docstring(tree),
        f"more than {MOST_LINES} lines": text.count("\n") > MOST_LINES,
        "more than two folder levels": len(parts) > 3,
        "a name that says nothing": bool({Path(one).stem for one in parts} & FORBIDDEN_NAMES),
        "a doorway with more than a docstring": parts[-1] == "__init__.py" and len(tree.body) > 1,
        "type: ignore": re.search(r"#\s*type:\s*ignore", text) is not None,
    }
    found = [name for name, is_broken in rules.items() if is_broken]
    found += [problem for module in imported(tree) for problem in _import_breaks(place, module)]
    calls = [ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return found + [f"a call of {called}" for called in calls if _is_forbidden(called)]


def _is_forbidden(called: str) -> bool:
    return called in FORBIDDEN_CALLS or called.endswith(".extractall")


def _import_breaks(place: str, module: str) -> list[str]:
    top = module.partition(".")[0]
    found = []
    if top in FORBIDDEN_MODULES:
        found.append(f"{top} is banned")
    if top in {"grinder", "mlflow"}:
        found.append(f"nobody imports {top}")
    if top in DOORS and not may(place, DOORS[top]):
        found.append(f"{top} has another door")
    if module.startswith("thunderline.db") and not may(place, DATABASE_USERS):
        found.append("thunderline.db has other users")
    if top not in DOORS and top not in FORBIDDEN_MODULES and top != "thunderline" and not _is_standard(top):
        found.append(f"{top} has no door in the house")
    return found


def _is_standard(top: str) -> bool:
    return top in sys.stdlib_module_names


@pytest.mark.parametrize("file", files(), ids=inside)
def test_a_file_keeps_the_rules_of_the_house(file: Path) -> None:
    assert breaks(inside(file), file.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("place", "text", "expected"),
    [
        ("registry/utils.py", '"""Vague."""\n', "a name that says nothing"),
        ("registry/model.py", '"""Stray."""\nimport httpx\n', "httpx has another door"),
        ("registry/model.py", '"""Lazy."""\ndef f():\n    import obstore\n', "obstore has another door"),
        ("registry/model.py", '"""Unknown."""\nimport leftpad\n', "leftpad has no door in the house"),
        ("registry/model.py", "x = 1\n", "no docstring"),
        ("registry/model.py", '"""Long."""\n' + "x = 1\n" * 351, "more than 350 lines"),
        ("a/b/c/d.py", '"""Deep."""\n', "more than two folder levels"),
        ("registry/__init__.py", '"""Door."""\nfrom x import y\n', "a doorway with more than a docstring"),
        ("registry/model.py", '"""Ignore."""\nx = 1  # type: ignore\n', "type: ignore"),
        ("registry/model.py", '"""Pickle."""\nimport pickle\n', "pickle is banned"),
        ("artifacts/archive.py", '"""Tar."""\ntar.extractall()\n', "a call of tar.extractall"),
        ("document.py", '"""Yaml."""\nimport yaml\nyaml.load(x)\n', "a call of yaml.load"),
        ("consumer/watch.py", '"""Db."""\nimport thunderline.db.pool\n', "thunderline.db has other users"),
        ("web/app.py", '"""Alias."""\nimport grinder\n', "nobody imports grinder"),
    ],
)
def test_a_planted_break_is_found(place: str, text: str, expected: str) -> None:
    assert expected in breaks(place, text)


def test_every_statement_is_in_a_file_of_statements() -> None:
    """SQL in Python is only what opens a transaction, listens, or migrates."""
    allowed = {
        "db/pool.py", "db/migrate.py", "db/embedded.py", "events/relay.py", "events/stream.py",
        "web/health.py",
    }  # fmt: skip
    looks_like_sql = re.compile(r'\.execute\(\s*f?"')
    stray = [
        inside(file)
        for file in files()
        if looks_like_sql.search(file.read_text(encoding="utf-8")) and inside(file) not in allowed
    ]
    assert [one for one in stray if not one.startswith("cli/")] == []
