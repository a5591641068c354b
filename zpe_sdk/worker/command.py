"""The command that runs a worker: ``zpe worker``, or ``python -m zpe_sdk.worker``."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from threading import Event
from types import FrameType
from typing import Annotated, Any

import structlog
import typer

from zpe_sdk.errors import ZPEError
from zpe_sdk.logging import configure_logging
from zpe_sdk.worker.control import ControlPlane
from zpe_sdk.worker.engines import Engine, make_engine
from zpe_sdk.worker.files import own_folder
from zpe_sdk.worker.identity import Credentials
from zpe_sdk.worker.lines import Lines
from zpe_sdk.worker.loop import Worker
from zpe_sdk.worker.settings import WorkerSettings, settings_from
from zpe_sdk.worker.status import note_process

log = structlog.get_logger(__name__)

_WHERE, _HOW, _WHEN = "Control plane", "This machine", "When to end"


def worker(
    context: typer.Context,
    url: Annotated[
        str | None,
        typer.Option(
            help="Base URL of the control plane, e.g. https://zpe.example.org", rich_help_panel=_WHERE
        ),
    ] = None,
    enroll_file: Annotated[
        Path | None,
        typer.Option(
            help="File that holds the one-time enroll token; - asks for it, or reads standard input.",
            rich_help_panel=_WHERE,
        ),
    ] = None,
    enroll: Annotated[
        str | None,
        typer.Option(
            metavar="TOKEN",
            help="The enroll token itself. Everybody on this machine can read it in the list of processes, "
            "and it stays in the history of the shell: --enroll-file keeps it to yourself.",
            rich_help_panel=_WHERE,
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name shown to others; default: the host's.", rich_help_panel=_WHERE)
    ] = None,
    insecure: Annotated[
        bool | None,
        typer.Option(
            "--insecure",
            help="Send the token over plain HTTP to another machine, on a network you trust.",
            rich_help_panel=_WHERE,
        ),
    ] = None,
    ca_bundle: Annotated[
        Path | None,
        typer.Option(help="PEM file of a private certificate authority to trust.", rich_help_panel=_WHERE),
    ] = None,
    mode: Annotated[
        str | None,
        typer.Option(
            metavar="qe|mock",
            help="qe (default) runs pw.x; mock puts springs in its place, to learn and to test.",
            rich_help_panel=_HOW,
        ),
    ] = None,
    slots: Annotated[
        str | None,
        typer.Option(
            metavar="auto|N", help="SCFs side by side; auto (default): one per core.", rich_help_panel=_HOW
        ),
    ] = None,
    tags: Annotated[
        str | None,
        typer.Option(
            metavar="TAG,TAG",
            help="Labels of this machine, for jobs that ask for them.",
            rich_help_panel=_HOW,
        ),
    ] = None,
    accepts: Annotated[
        str | None,
        typer.Option(
            metavar="own|group|all",
            help="Whose jobs this machine runs at most: its owner's, also those of the owner's groups, or "
            "all that its owner lets it (default).",
            rich_help_panel=_HOW,
        ),
    ] = None,
    executor: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Run the SCFs on a Dask cluster, e.g. dask://scheduler:8786, and not on this machine. "
            "pw.x, the pseudopotentials and zpe must be there. Needs the extra 'dask'.",
            rich_help_panel=_HOW,
        ),
    ] = None,
    pseudo_dir: Annotated[
        Path | None, typer.Option(help="Folder of the pseudopotential files.", rich_help_panel=_HOW)
    ] = None,
    pw: Annotated[
        str | None,
        typer.Option(
            metavar="PATH",
            help="The pw.x program; default: pw.x on PATH. ZPE_PW_COMMAND takes a whole command.",
            rich_help_panel=_HOW,
        ),
    ] = None,
    work_dir: Annotated[
        Path | None,
        typer.Option(
            help="Folder of this worker alone; default: ~/.zpe/worker. Results that are not delivered yet "
            "survive in it.",
            rich_help_panel=_HOW,
        ),
    ] = None,
    max_seconds: Annotated[
        float | None,
        typer.Option(
            help="Wall time in a batch queue: no SCF is begun that would not end in time.",
            rich_help_panel=_WHEN,
        ),
    ] = None,
    ends_at: Annotated[
        float | None,
        typer.Option(
            help="Unix time at which that wall time ends, e.g. $SLURM_JOB_END_TIME.", rich_help_panel=_WHEN
        ),
    ] = None,
    drain: Annotated[
        bool | None, typer.Option("--drain", help="End when there is no work left.", rich_help_panel=_WHEN)
    ] = None,
    log_level: Annotated[str | None, typer.Option(help="DEBUG, INFO, WARNING or ERROR.")] = None,
) -> None:
    """Run SCFs for a control plane on this machine.

    The worker only reaches out, over HTTPS: it needs no open port. The
    first start enrols it with a one-time token, from the administrator or
    for a worker of your own (`zpe workers enroll-token`); later starts need the
    URL only. Start it again whenever it ended, for
    whatever reason: nothing that was computed is lost.

    Ctrl-C or SIGTERM stops what runs, reports what is finished and hands
    the rest back; a second one ends at once. Each option has an environment
    variable that starts with ZPE_; options win.

    \b
    First start:
      zpe worker --url https://zpe.example.org --enroll-file - \\
                 --pseudo-dir ~/pseudo
    Afterwards:
      zpe worker --url https://zpe.example.org --pseudo-dir ~/pseudo
    In a batch job:
      zpe worker --drain --max-seconds 86000
    For a whole Dask cluster:
      zpe worker --url https://zpe.example.org --pseudo-dir ~/pseudo \\
                 --executor dask://scheduler:8786
    """  # noqa: D301
    options: dict[str, Any] = {
        "control_api_url": url,
        "enroll_token": enroll,
        "enroll_file": enroll_file,
        "worker_name": name,
        "insecure": insecure,
        "ca_bundle": ca_bundle,
        "worker_mode": mode,
        "slots": slots,
        "accepts": accepts,
        "tags": tags,
        "executor": executor,
        "pseudo_dir": pseudo_dir,
        "pw_path": pw,
        "work_dir": work_dir,
        "max_seconds": max_seconds,
        "ends_at": ends_at,
        "drain": drain,
        "log_level": log_level,
    }
    options = {option: value for option, value in options.items() if value is not None}
    if context.invoked_subcommand:
        if options:
            raise typer.BadParameter(f"options of '{context.invoked_subcommand}' come after it")
        return
    try:
        code = run(settings_from(options))
    except ZPEError as error:
        typer.echo(f"zpe worker: {error}", err=True)
        raise typer.Exit(1) from None
    raise typer.Exit(code)


def run(settings: WorkerSettings, engine: Engine | None = None) -> int:
    """Run a worker until it is told to stop, or has no work or no time left; return the exit status.

    Parameters
    ----------
    settings
        How to work.
    engine
        What to compute with; default: what the settings say.

    Raises
    ------
    ConfigError
        This machine or the worker's settings are not fit for the work.
    AuthError
        The control plane does not know this worker (any more). Results stay in the outbox.
    """
    colours = sys.stderr.isatty() and "NO_COLOR" not in os.environ
    configure_logging(settings.log_level, settings.log_json, for_people=Lines(colours=colours))
    settings = settings.model_copy(update={"work_dir": settings.work_dir.expanduser().absolute()})
    stopping = Event()
    _stop_on_signals(stopping)
    control = ControlPlane(settings, stopping)
    with own_folder(settings.work_dir):
        engine = engine or make_engine(settings)
        capabilities = engine.capabilities()  # a machine that cannot work shall not use up an enroll token
        credentials = Credentials(settings, control)
        try:
            credentials.establish(capabilities)
        except ZPEError:
            if stopping.is_set():
                return 0
            raise
        note_process(settings.work_dir, settings.worker_name, str(control.url), capabilities)
        log.info(
            "worker starts",
            name=settings.worker_name,
            url=str(control.url),
            engine=capabilities.engine,
            engine_version=capabilities.engine_version,
            slots=capabilities.slots,
        )
        Worker(settings, engine, capabilities, control, credentials, stopping).run()
        log.info("worker ends")
    return 0


def _stop_on_signals(stopping: Event) -> None:
    def stop(number: int, _frame: FrameType | None) -> None:
        if stopping.is_set():
            os._exit(128 + number)
        stopping.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
