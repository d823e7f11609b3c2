"""Write the reference pages that come from the code; with --check, fail when one has drifted."""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path

import click
import typer

from thunderline import errors
from thunderline.cli import main as cli
from thunderline.errors import ThunderlineError
from thunderline.events.catalog import CATALOG
from thunderline.settings import CONTRACT_NAMES, Settings
from thunderline.web.access import routes
from thunderline.web.app import describe_app

FOLDER = Path(__file__).parent / "reference"
HEAD = "<!-- Generated from the code by `make docs`; edit the code, not this page. -->\n\n"


def first_line(text: str | None) -> str:
    return (text or "").strip().partition("\n")[0]


def settings_page() -> str:
    """Every setting with its default, its environment variable and its contract name."""
    contract = {name: variable for variable, name in CONTRACT_NAMES.items()}
    lines = [
        "# Settings",
        "",
        "Defaults < `/etc/thunderline/thunderline.toml` < environment < flags. A secret may stand in a",
        "file: add `_FILE` to its variable. An unknown name is an error. `thunderline config show` prints",
        "each value and where it comes from.",
        "",
        "| setting | environment | default |",
        "|---|---|---|",
    ]
    for part in fields(Settings):
        section = getattr(Settings(), part.name)
        for one in fields(section):
            name = f"{part.name}.{one.name}"
            variable = f"THUNDERLINE_{part.name.upper()}__{one.name.upper()}"
            also = f" or `{contract[name]}`" if name in contract else ""
            value = getattr(section, one.name)
            lines.append(f"| `{name}` | `{variable}`{also} | {'' if value is None else f'`{value}`'} |")
    return "\n".join(lines)


def events_page() -> str:
    """Every event type with its payload."""
    lines = [
        "# Events",
        "",
        "CloudEvents 1.0; the envelope is described in [format.md](format.md), section 7.",
        "",
    ]
    for name, event in sorted(CATALOG.items()):
        lines += [f"## `{name}`", "", first_line(event.__doc__), "", "| field | type |", "|---|---|"]
        lines += [f"| `{one.name}` | `{type_name(one.type)}` |" for one in fields(event)]
        lines.append("")
    return "\n".join(lines)


def type_name(declared: object) -> str:
    return declared.__name__ if isinstance(declared, type) else str(declared).replace("collections.abc.", "")


def leaves(stem: type[ThunderlineError]) -> Iterator[type[ThunderlineError]]:
    for one in stem.__subclasses__():
        if one.__module__ == errors.__name__:
            yield one
            yield from leaves(one)


def errors_page() -> str:
    """Every stable code with its HTTP status and exit code."""
    lines = [
        "# Errors",
        "",
        "Over HTTP an error is a problem document (RFC 9457) that also carries `code`, `message` and",
        "`request_id`; on the command line it is one sentence on stderr and an exit code.",
        "",
        "| code | HTTP | exit | meaning |",
        "|---|---|---|---|",
    ]
    for one in leaves(ThunderlineError):
        lines.append(f"| `{one.code}` | {one.status} | {one.exit} | {first_line(one.__doc__)} |")
    lines.append("| `INTERNAL` | 500 | 1 | Our fault; the log has it under the request id. |")
    return "\n".join(lines)


def routes_page() -> str:
    """Every route with the right it needs."""
    lines = ["# Routes", "", "| method | path | right | does |", "|---|---|---|---|"]
    for one in sorted(routes(describe_app()), key=lambda found: (found.path, sorted(found.methods))):
        if one.is_documented:
            for method in sorted(one.methods):
                lines.append(f"| {method} | `{one.path}` | `{one.right}` | {one.summary} |")
    return "\n".join(lines)


def commands_page() -> str:
    """Every command with its options."""
    lines = [
        "# Commands",
        "",
        "stdout is data, stderr is talk. Exit codes: 0 done, 1 error or not found, 2 usage or bad input,",
        "3 refused by a gate, 4 not allowed, 5 conflict, 6 integrity, 7 outside part unavailable.",
        "",
    ]
    root = typer.main.get_group(cli.app)
    context = click.Context(root, info_name="thunderline")
    for name in root.list_commands(context):
        command = root.get_command(context, name)
        if command is not None:
            lines += list(command_lines(command, f"thunderline {name}"))
    return "\n".join(lines)


def command_lines(command: click.Command, path: str) -> Iterator[str]:
    if isinstance(command, click.Group):
        for name, child in command.commands.items():
            if not child.hidden:
                yield from command_lines(child, f"{path} {name}")
        return
    yield f"## `{path}`"
    yield ""
    yield from (line.strip() for line in (command.help or "").splitlines())
    yield ""
    shown = [one for one in command.params if not getattr(one, "hidden", False) and one.name != "help"]
    if shown:
        yield "| argument or option | what |"
        yield "|---|---|"
        for one in shown:
            names = (
                ", ".join(f"`{name}`" for name in one.opts)
                if one.opts and one.opts[0].startswith("-")
                else f"`{(one.name or '').upper()}`"
            )
            yield f"| {names} | {getattr(one, 'help', '') or ''} |"
        yield ""


PAGES: Mapping[str, object] = {
    "settings.md": settings_page,
    "events.md": events_page,
    "errors.md": errors_page,
    "routes.md": routes_page,
    "commands.md": commands_page,
}


def main(arguments: list[str]) -> int:
    """Write the pages, or compare them."""
    drifted = []
    for name, write in PAGES.items():
        assert callable(write)
        text = HEAD + str(write()).rstrip() + "\n"
        file = FOLDER / name
        if "--check" in arguments:
            if not file.is_file() or file.read_text(encoding="utf-8") != text:
                drifted.append(name)
        else:
            file.write_text(text, encoding="utf-8")
    if drifted:
        sys.stderr.write(f"these pages have drifted from the code: {', '.join(drifted)}; run `make docs`\n")
    return 1 if drifted else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
