"""Run SCFs for a control plane on this machine."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from zpe_sdk.cli.jobs import Json
from zpe_sdk.cli.output import as_json, table
from zpe_sdk.ranges import numbered
from zpe_sdk.worker.command import worker
from zpe_sdk.worker.held import Entry
from zpe_sdk.worker.settings import settings_from
from zpe_sdk.worker.status import FolderStatus, status_of

app = typer.Typer(
    pretty_exceptions_show_locals=False,  # they may hold tokens
    rich_markup_mode="markdown",
    invoke_without_command=True,
    add_completion=False,
)
app.callback()(worker)


@app.command()
def status(
    work_dir: Annotated[
        Path | None, typer.Option(help="The worker's folder; default: ZPE_WORK_DIR, then ~/.zpe/worker.")
    ] = None,
    json: Json = False,
) -> None:
    """Show how the worker of this machine is: whether it runs, what it runs, and what it has not delivered.

    Reads the worker's folder and asks nobody. Exit status 1 if no worker runs there.

    Example: `zpe worker status`
    """
    options = {} if work_dir is None else {"work_dir": work_dir}
    found = status_of(settings_from(options).work_dir.expanduser().absolute())
    as_json(found) if json else table(("", ""), _rows(found))
    if not found.running:
        raise typer.Exit(1)


def _rows(found: FolderStatus) -> list[tuple[str, str]]:
    process = found.process
    state = "runs" if found.running else "does not run"
    if process and found.running:
        state += f" as process {process.pid} on {process.host} since {_time(process.started_at)}"
    rows = [("worker", process.name if process else ""), ("id", found.server_id or ""), ("state", state)]
    rows += [("folder", str(found.work_dir)), ("control plane", found.control_url or "")]
    if found.last_contact_at:
        ago = (datetime.now(UTC) - found.last_contact_at).total_seconds()
        rows.append(("last contact", f"{_time(found.last_contact_at)}, {ago:.0f} s ago"))
    if process:
        engine = " ".join(filter(None, (process.engine, process.engine_version)))
        rows.append(("engine", f"{engine}, {process.slots} side by side, zpe {process.version}"))
    rows += [("holds" if found.running else "left behind", _held(entry)) for entry in found.leases]
    rows.append(("finished SCFs to deliver", str(found.results)))
    if found.messages:
        rows.append(("other messages to deliver", str(found.messages)))
    if found.later:
        rows.append(("kept for jobs that are not known", str(found.later)))
    if found.aside:
        rows.append(("set aside", f"{found.aside}, in {found.work_dir / 'outbox' / 'aside'}"))
    return rows


def _held(entry: Entry) -> str:
    name = entry.job or f"job {entry.job_id[:8]}"
    if entry.stage == "relax":
        return f"{name}: relaxation {'runs' if entry.running else 'waits'}"
    of = f" of {entry.scfs}" if entry.scfs else ""
    parts = [
        f"SCF {numbered(tasks)}{of} {verb}"
        for tasks, verb in (
            (entry.running, "runs" if len(entry.running) == 1 else "run"),
            (entry.waiting, "waits" if len(entry.waiting) == 1 else "wait"),
        )
        if tasks
    ]
    return f"{name}: {', '.join(parts)}"


def _time(when: datetime) -> str:
    return when.astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")
