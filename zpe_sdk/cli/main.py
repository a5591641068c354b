"""The command ``zpe``: its own commands, and those that installed extras bring."""

from __future__ import annotations

import ast
import sys
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

import zpe_sdk
from zpe_sdk.cli.context import Connection
from zpe_sdk.cli.output import complain
from zpe_sdk.errors import ZPEError
from zpe_sdk.extras import is_installed, loaded

GROUP = "zpe.commands"
# Ours too are imported only when they run: by module, in the order in which `zpe --help` lists them.
OURS = {
    name: EntryPoint(name, f"zpe_sdk.{module}", GROUP)
    for name, module in {
        "login": "cli.login:login",
        "submit": "cli.jobs:submit",
        "relax": "cli.structures:relax",
        "energy": "cli.structures:energy",
        "plan": "cli.before:plan",
        "pseudopotentials": "cli.before:pseudopotentials",
        "status": "cli.jobs:status",
        "wait": "cli.jobs:wait",
        "result": "cli.jobs:result",
        "cancel": "cli.jobs:cancel",
        "jobs": "cli.listing:jobs",
        "update": "cli.listing:update",
        "whoami": "cli.people:whoami",
        "workers": "cli.workers:app",
        "admin": "cli.admin:app",
        "worker": "cli.worker:app",
        "demo": "cli.demo:demo",
        "embedded": "cli.embedded:embedded",
        "doctor": "cli.doctor:doctor",
    }.items()
}


class Commands(TyperGroup):
    """Commands of which some are imported only when they run: a function or an app of typer's."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of the commands that can run here, for ``--help``."""
        return [
            *super().list_commands(ctx),
            *(name for name, entry in _commands().items() if is_installed(entry.extras)),
        ]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command; a missing extra is named when it runs."""
        if found := super().get_command(ctx, cmd_name):
            return found
        entry = OURS.get(cmd_name) or _commands().get(cmd_name)
        return None if entry is None else Later(entry)

    def invoke(self, ctx: Any) -> Any:
        """Run a command; an interrupt that it leaves to us is told in one line."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            print("zpe: interrupted", file=sys.stderr)
            raise typer.Exit(130) from None


class Later(TyperCommand):
    """A command that is imported when it runs; for a list of commands, its source is enough.

    Importing the control plane for one line of ``zpe --help`` would take seconds.
    """

    def __init__(self, entry: EntryPoint) -> None:
        super().__init__(entry.name, help=_docstring(entry))
        self._entry = entry

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Return a context of the command itself, which then runs."""
        return _command(self._entry).make_context(info_name, args, parent=parent, **extra)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"zpe {zpe_sdk.__version__}")
        raise typer.Exit


EXIT_STATUS = """
Exit status: 0 if all went well; 1 for an error, or a job that failed or was cancelled; 2 for a wrong command
line; 3 if jobs go on after `--timeout`; 130 for Ctrl-C.
"""
app = typer.Typer(
    name="zpe",
    epilog=EXIT_STATUS,
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_show_locals=False,  # they may hold tokens
    help="Zero-point energies from Quantum ESPRESSO, computed on other people's computers.",
)


@app.callback()
def options(
    context: typer.Context,
    url: Annotated[
        str | None, typer.Option(help="The control plane; default: ZPE_CONTROL_API_URL, then `zpe login`.")
    ] = None,
    insecure: Annotated[
        bool,
        typer.Option(
            "--insecure", envvar="ZPE_INSECURE", help="Send the token over plain HTTP to another machine."
        ),
    ] = False,
    ca_bundle: Annotated[
        str | None,
        typer.Option(envvar="ZPE_CA_BUNDLE", help="PEM file of the certificate authorities to trust."),
    ] = None,
    retry_seconds: Annotated[
        float,
        typer.Option(
            envvar="ZPE_RETRY_SECONDS",
            min=0,
            help="How long to retry while the control plane is unreachable.",
        ),
    ] = 10.0,
    _version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version and exit."),
    ] = False,
) -> None:
    """Options of all commands that talk to a control plane; they come before the command's name."""
    context.obj = Connection(url, insecure, ca_bundle, retry_seconds)


def main() -> None:
    """Run ``zpe``. Exit status: see :data:`EXIT_STATUS`."""
    try:
        app()
    except ZPEError as error:
        complain(error)
        sys.exit(1)
    except TimeoutError as error:
        print(f"zpe: {error}", file=sys.stderr)
        sys.exit(3)


def _commands() -> dict[str, EntryPoint]:
    return OURS | {entry.name: entry for entry in entry_points(group=GROUP)}


def _docstring(entry: EntryPoint) -> str | None:
    """Return the docstring of the function or the typer app that an entry point names, by its source."""
    package, *inside = entry.module.split(".")
    found = find_spec(package)  # of a module inside, it would import all packages on the way there
    if found is None or not found.submodule_search_locations:
        return None
    path = Path(found.submodule_search_locations[0]).joinpath(*inside).with_suffix(".py")
    tree = ast.parse(path.read_text())
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == entry.attr:
            return ast.get_docstring(node)
    return ast.get_docstring(tree)


def _command(entry: EntryPoint) -> Any:
    found = loaded(entry, f"zpe {entry.name}")
    if not isinstance(found, typer.Typer):
        function, found = (
            found,
            typer.Typer(
                pretty_exceptions_show_locals=False, rich_markup_mode="markdown", add_completion=False
            ),
        )
        found.command(entry.name)(function)
    return typer.main.get_command(found)
