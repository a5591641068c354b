"""How a job is shown to people: a bar while they wait, a line, a table in a notebook."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from zpe_sdk.wire import OVER

if TYPE_CHECKING:
    from tqdm import tqdm

    from zpe_sdk.wire import JobStatus


SHOWN_SCFS = 3


class Bar:
    """A progress bar on standard error or in the notebook: SCFs done of all that the job needs."""

    def __init__(self, *, shown: bool) -> None:
        self._shown = shown
        self._bar: tqdm | None = None

    def show(self, status: JobStatus) -> None:
        """Show where the job stands."""
        progress = status.progress
        if self._bar is None:
            from tqdm.auto import tqdm

            # Not earlier: where a saved notebook cannot show the bar, its first look is what stands there.
            name = status.name or status.formula or status.job_id
            self._bar = tqdm(total=progress.total or None, desc=name, unit="SCF", disable=not self._shown)
        self._bar.total = progress.total or None
        self._bar.n = progress.done
        self._bar.set_postfix_str(_doing(status))

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()


def _doing(status: JobStatus) -> str:
    """Say what goes on: SCFs taken over, SCFs that run and on which workers, or why none does."""
    progress = status.progress
    parts = [f"{progress.reused} reused"] if progress.reused else []
    if status.status in OVER:
        parts.append(status.status)
    elif told := relaxing(status):
        parts.append(told + iterations(status))
    elif progress.running:
        workers = f" on {', '.join(status.workers)}" if status.workers else ""
        parts.append(f"{progress.running} running{workers}{iterations(status)}")
    else:
        parts.append(status.detail or status.status)
    return ", ".join(parts)


def relaxing(status: JobStatus) -> str:
    """Say how far a relaxation that goes on is; nothing if the job is not at that."""
    if status.stage != "relax" or status.status in OVER or status.ionic_step is None:
        return ""
    force = status.max_force_ev_ang
    largest = "" if force is None else f", largest force {force:.2g} eV/Å"
    return f"relaxing: step {status.ionic_step}{largest}"


def iterations(status: JobStatus) -> str:
    """Say how far the SCFs that run are, to follow what runs; nothing if no worker has told."""
    told = [
        f"SCF {scf.task + 1}: iteration {scf.iteration}, {scf.accuracy_ry:.0e} Ry"
        for scf in status.running
        if scf.iteration is not None and scf.accuracy_ry is not None
    ]
    more = [f"{len(told) - SHOWN_SCFS} more"] if len(told) > SHOWN_SCFS else []
    return f" ({'; '.join(told[:SHOWN_SCFS] + more)})" if told else ""


def in_words(status: JobStatus | None) -> str:
    """Say where a job stands, to follow its id; nothing if that is not known."""
    if status is None:
        return ""
    how_far = relaxing(status) or f"{status.progress.done}/{status.progress.total} SCFs"
    return f" {status.status} {how_far}"


def html(job_id: str, status: JobStatus | None) -> str:
    """Return a table of what is known of a job."""
    rows = {"job": job_id}
    if status is not None:
        progress = status.progress
        full = f" ({progress.full} without symmetry)" if (progress.full or 0) > progress.total else ""
        rows |= {
            "name": status.name or "",
            "formula": status.formula or "",
            "status": status.status,
            "stage": relaxing(status),
            "SCFs": f"{progress.done} of {progress.total} done{full}",
            "running": iterations(status).strip(" ()"),
            "reused": f"{progress.reused} from earlier jobs" if progress.reused else "",
            "workers": ", ".join(status.workers),
            "detail": status.detail or "",
        }
    cells = (f"<tr>{_cell('th', name)}{_cell('td', value)}</tr>" for name, value in rows.items() if value)
    return f"<table>{''.join(cells)}</table>"


def _cell(kind: str, text: str) -> str:
    return f'<{kind} style="text-align:left">{escape(text)}</{kind}>'
