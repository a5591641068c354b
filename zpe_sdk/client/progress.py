"""How jobs are shown to people: a bar while they wait, a line, a table in a notebook."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape
from time import monotonic
from typing import TYPE_CHECKING

from zpe_sdk.plain import CELL
from zpe_sdk.wire import OVER

if TYPE_CHECKING:
    from IPython.display import DisplayHandle
    from tqdm import tqdm

    from zpe_sdk.wire import JobStatus

# Without a rate: most SCFs take minutes, and those that were there before the bar took no time.
_FORMAT = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} SCFs [{elapsed}{postfix}]"
_BEFORE = "{desc}: {n_fmt} SCFs [{elapsed}{postfix}]"  # it is known how many there are


SHOWN_SCFS = 3


class Bar:
    """A progress bar on standard error or in the notebook: SCFs done of all that some jobs need.

    Parameters
    ----------
    shown
        Whether there is one to see.
    jobs
        How many jobs it is of.
    """

    def __init__(self, *, shown: bool, jobs: int = 1) -> None:
        self._shown = shown
        self._jobs = jobs
        self._statuses: dict[str, JobStatus] = {}
        self._before: dict[str, int] = {}  # SCFs that were there at the first look
        self._begun = monotonic()
        self._bar: tqdm | None = None
        self._widget: DisplayHandle | None = None  # where a notebook shows it

    def show(self, status: JobStatus) -> None:
        """Show where a job stands."""
        self._statuses[status.job_id] = status
        self._before.setdefault(status.job_id, status.progress.done)
        known = self._statuses.values()
        done = sum(job.progress.done for job in known)
        total = sum(job.progress.total for job in known)
        if self._bar is None:
            from tqdm import TqdmWarning

            with warnings.catch_warnings():
                # Without ipywidgets it is a bar of text, which is nothing to complain of.
                warnings.simplefilter("ignore", TqdmWarning)
                from tqdm.auto import tqdm

            one = status.name or status.formula or status.job_id
            name = one if self._jobs == 1 else f"{self._jobs} jobs"
            widget = any(kind.__name__ == "tqdm_notebook" for kind in tqdm.__mro__)
            self._bar = tqdm(
                total=total or None,
                desc=name,
                bar_format=_FORMAT if total else _BEFORE,
                disable=not self._shown,
                **({"display": False} if widget else {}),
            )
            if widget and self._shown:
                from IPython.display import display

                self._widget = display(self._bar.container, display_id=True)  # type: ignore[no-untyped-call]
        self._bar.bar_format = _FORMAT if total else _BEFORE
        self._bar.total = total or None
        self._bar.n = done
        told = _doing(status) if self._jobs == 1 else _doing_all(known, self._jobs)
        over = sum(job.status in OVER for job in known) == self._jobs
        new, seconds = done - sum(self._before.values()), monotonic() - self._begun
        left = "" if over else time_left(new, total - done, seconds)
        self._bar.set_postfix_str(", ".join(filter(None, (left, told))))

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()
            if self._widget is not None:
                # A saved notebook has no widget to show, but the text of what was shown last.
                self._widget.update(self._bar.container)  # type: ignore[no-untyped-call]


def time_left(new: int, left: int, seconds: float) -> str:
    """Say how long what is left will take, from how long new ones took; nothing as long as none is new."""
    if new <= 0 or left <= 0:
        return ""
    return f"about {duration(left * seconds / new)} left"


def duration(seconds: float) -> str:
    """Return a duration in words, as exact as an estimate is."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 1):.0f} s"


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


def _doing_all(statuses: Iterable[JobStatus], jobs: int) -> str:
    """Say how many jobs are over, how the others fare, and if nothing runs, why."""
    known = list(statuses)
    counts = Counter(status.status for status in known)
    parts = [f"{sum(counts[state] for state in OVER)} of {jobs} jobs over"]
    parts += [f"{counts[state]} {state}" for state in ("failed", "cancelled") if counts[state]]
    if running := sum(status.progress.running for status in known):
        parts.append(f"{running} SCFs running")
    elif waiting := Counter(s.detail for s in known if s.status == "queued" and s.detail).most_common(1):
        parts.append(str(waiting[0][0]))
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


def html(job_id: str, url: str, status: JobStatus | None) -> str:
    """Return a table of what is known of a job, with a link to its page."""
    rows = {}
    if status is not None:
        progress = status.progress
        full = f" ({progress.full} without symmetry)" if (progress.full or 0) > progress.total else ""
        rows = {
            "name": status.name or "",
            "formula": status.formula or "",
            "status": status.status,
            "stage": relaxing(status),
            "SCFs": f"{progress.done} of {progress.total} done{full}",
            "running": iterations(status).strip(" ()"),
            "reused": f"{progress.reused} from earlier jobs" if progress.reused else "",
            "workers": ", ".join(status.workers),
            "project": status.project or "",
            "tags": ", ".join(status.tags),
            "note": status.note or "",
            "detail": status.detail or "",
        }
    link = f'<a href="{escape(url)}" target="_blank">{escape(job_id)}</a>'
    cells = [f"<tr>{_cell('th', 'job')}<td {CELL}>{link}</td></tr>"]
    cells += [f"<tr>{_cell('th', name)}{_cell('td', value)}</tr>" for name, value in rows.items() if value]
    return f"<table>{''.join(cells)}</table>"


def html_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of texts."""
    head = "".join(_cell("th", column) for column in columns)
    body = ("".join(_cell("td", text) for text in row) for row in rows)
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{row}</tr>' for row in body)}</table>"


def _cell(kind: str, text: str) -> str:
    return f"<{kind} {CELL}>{escape(text)}</{kind}>"
