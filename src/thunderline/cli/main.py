"""The command tree: one import for each command, and only when that command is asked for."""

import sys
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from typing import Annotated

import click
import typer
from typer.core import TyperGroup
from typing_extensions import override

from thunderline.cli.output import say
from thunderline.errors import ThunderlineError

_ROOM = "thunderline.cli"


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a command lives."""

    file: str
    attribute: str  # a ``Typer`` is a group of commands, a function is one command
    help: str


_COMMANDS = {
    "up": _Place("platform", "up", "Start the platform on this machine."),
    "down": _Place("platform", "down", "Stop it."),
    "status": _Place("platform", "status", "Show what runs where."),
    "doctor": _Place("doctor", "doctor", "Check everything, and say what to do about what is wrong."),
    "config": _Place("platform", "config", "Show every setting and where its value comes from."),
    "demo": _Place("demo", "demo", "Run the main job from spec to rollback, on real input."),
    "artifact": _Place("artifacts", "app", "Push, pull, show and verify artifacts."),
    "model": _Place("models", "app", "Models, their versions, candidates, history and lineage."),
    "promote": _Place("promotions", "promote", "Move a model's reference to another artifact."),
    "rollback": _Place("promotions", "rollback", "Move a reference back to what it held before."),
    "events": _Place("events", "app", "Follow the news."),
    "consumer": _Place("consumers", "app", "Who serves what; serve something."),
    "federation": _Place("federations", "app", "Create, start, watch and stop federations."),
    "serve": _Place("serve", "app", "Run one part of the platform by itself."),
}


class _LazyGroup(TyperGroup):
    """Knows every command by name and loads the one that is asked for."""

    _only_names = False

    @override
    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order in which people need them."""
        return list(_COMMANDS)

    @override
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command; loaded, unless only its line in the help is wanted."""
        place = _COMMANDS.get(cmd_name)
        if place is None:
            return None
        return click.Command(cmd_name, help=place.help) if self._only_names else _load(cmd_name, place)

    @override
    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without loading any."""
        self._only_names = True
        try:
            super().format_commands(ctx, formatter)
        finally:
            self._only_names = False


def _load(name: str, place: _Place) -> click.Command:
    target: object = getattr(import_module(f"{_ROOM}.{place.file}"), place.attribute)
    if isinstance(target, typer.Typer):
        found: click.Command = typer.main.get_group(target)
    elif callable(target):
        holder = typer.Typer(add_completion=False, rich_markup_mode=None)
        holder.command()(target)
        found = typer.main.get_command(holder)
    else:
        raise TypeError(f"{place.file}.{place.attribute} is neither a Typer nor a function")
    found.name, found.help = name, found.help or place.help
    return found


app = typer.Typer(
    cls=_LazyGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: thunderline up --detach && thunderline status",
)


def _print_version(wanted: bool) -> None:  # noqa: FBT001  # the form of an option's callback
    if wanted:
        typer.echo(f"thunderline {version('thunderline')}")
        raise typer.Exit


@app.callback()
def root(
    *,
    show_version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """Take machine-learned models from training to production, with one verifiable chain."""
    del show_version  # its callback has done it


def main() -> None:
    """Run the command line: data on stdout; if something is wrong, a sentence on stderr and a code."""
    sys.exit(_exit_code())


def _exit_code() -> int:
    try:
        returned: object = app(prog_name="thunderline", standalone_mode=False)
    except ThunderlineError as error:
        say(f"error: {error}")
        return error.exit
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        say("stopped")
        return 130
    except PermissionError as error:
        say(f"error: {error.filename}: not permitted to this user; was it made by another one?")
        return 4
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "thunderline":
            raise
        say(f"error: {error.name} is not installed; pip install 'thunderline[server,federation]'")
        return 7
    return returned if isinstance(returned, int) else 0


if __name__ == "__main__":
    main()
