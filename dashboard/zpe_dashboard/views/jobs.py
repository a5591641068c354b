"""The list of jobs."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Any

import panel_material_ui as pmui

from zpe_dashboard.look import TONES, progress, relaxing
from zpe_dashboard.route import Route
from zpe_dashboard.state.jobs import STATES, Jobs
from zpe_dashboard.views.page import View, heading, row
from zpe_sdk.wire import JobStatus


class JobsView(View[Jobs]):
    """Filters, a page of jobs, and the way to the other pages."""

    def content(self) -> list[Any]:
        """Return the page."""
        new = pmui.Button(label=self.words("New job"), variant="contained", size="small")
        new.on_click(lambda _: self.desk.go(Route("new")))
        return [
            heading(self.words("Jobs"), 1),
            self.problem(),
            self.deeds(new),
            self._filters(),
            self._table(),
            self._paging(),
        ]

    def _narrow(self, **filters: str) -> None:
        self.state.narrow(**filters)
        self._show()

    def _show(self) -> None:
        self.desk.go(Route("jobs", filters=self.state.filters))

    def _filters(self) -> Any:
        w, state = self.words, self.state
        search = pmui.TextInput(
            label=w("Search name, formula, owner or id"), size="small", width=300, margin=0
        )
        status = pmui.Select(
            label=w("Status"),
            options={w("All"): "", **{w(s): s for s in STATES}},
            size="small",
            width=160,
            margin=0,
        )
        owner = pmui.TextInput(label=w("Owner"), size="small", width=160, margin=0)
        widgets = {"search": search, "status": status, "owner": owner}

        def draw() -> None:
            for name, widget in widgets.items():
                if widget.value != getattr(state, name):
                    widget.value = getattr(state, name)

        self.watch(draw, *widgets)

        def changed(event: Any, name: str) -> None:
            if event.new != getattr(state, name):
                self._narrow(**{name: event.new})

        for name, widget in widgets.items():
            widget.param.watch(partial(changed, name=name), "value")
        return row(*widgets.values())

    def _table(self) -> Any:
        w, state = self.words, self.state
        table = self.table(
            [
                {"key": "name", "label": w("Job"), "kind": "link", "align": "name", "sort": True},
                {"key": "formula", "label": w("Formula"), "kind": "text", "sort": True},
                {"key": "status", "label": w("Status"), "kind": "chip", "sort": True},
                {"key": "progress", "label": w("SCFs"), "kind": "progress"},
                {"key": "owner", "label": w("Owner"), "kind": "text", "sort": True},
                {"key": "submitted", "label": w("Submitted"), "kind": "age", "align": "nowrap", "sort": True},
                {
                    "key": "duration",
                    "label": w("Duration"),
                    "kind": "duration",
                    "align": "right",
                    "sort": True,
                },
                {
                    "key": "zpe",
                    "label": w("ZPE / eV"),
                    "kind": "number",
                    "align": "right nowrap",
                    "sort": True,
                },
                {"key": "detail", "label": w("Detail"), "kind": "text", "align": "wide faint"},
            ],
            label=w("Jobs"),
            empty=w("No job matches."),
            margin=(12, 0),
            on_sort=lambda column, down: self._narrow(order=_order(column, down)),
        )

        def draw() -> None:
            table.param.update(rows=[self._row(job) for job in state.jobs], sort=_sort(state.order))

        self.watch(draw, "jobs", "order")
        return table

    def _row(self, job: JobStatus) -> dict[str, Any]:
        return {
            "id": job.job_id,
            "name": {"href": f"#/job/{job.job_id}", "text": job.name or job.job_id[:8], "title": job.job_id},
            "formula": job.formula,
            "status": {"text": self.words(job.status), "tone": TONES[job.status]},
            "progress": progress(job, self.words("SCFs done")),
            "owner": job.owner,
            "submitted": job.created_at,
            "duration": _seconds(job),
            "zpe": None if job.zpe_ev is None else f"{job.zpe_ev:.4f}",
            "detail": job.error.message if job.error else relaxing(job, self.words) or job.detail,
        }

    def _paging(self) -> Any:
        state = self.state
        total = pmui.Typography("", variant="body2", color="text.secondary", margin=0)
        cancel = pmui.Button(
            label=self.words("Cancel these jobs"), variant="outlined", color="error", size="small"
        )
        cancel.on_click(self._ask)

        def draw() -> None:
            total.object = self.words("{n} jobs", n=state.total) if state.loaded else ""
            cancel.visible = state.status in ("queued", "started") and state.total > 0

        self.watch(draw, "total", "status")
        return row(self.paging(self._show), total, self.deeds(cancel))

    def _ask(self, _: Any) -> None:
        w, state = self.words, self.state
        self.confirm(
            w("Cancel {n} jobs?", n=state.total),
            w("All that match, on all pages. Workers stop their SCFs."),
            w("Cancel these jobs"),
            lambda: self.act(state.cancel(), w("Cancelled.")),
        )


# By the time of submission, the latest is at the top of what goes down.
_BY_TIME = {"newest": ["submitted", "down"], "oldest": ["submitted", "up"]}


def _order(column: str, down: bool) -> str:
    """Return the order of jobs that a header stands for; the key of its column is the way up."""
    if column == "submitted":
        return "newest" if down else "oldest"
    return f"-{column}" if down else column


def _sort(order: str) -> list[str]:
    """Return the column that an order is shown at, and its direction."""
    return _BY_TIME.get(order) or [order.removeprefix("-"), "down" if order.startswith("-") else "up"]


def _seconds(job: JobStatus) -> float | None:
    """Return how long a job took, from its first lease to its end (s); None if it has not ended."""
    if not job.started_at or not job.finished_at:
        return None
    return (datetime.fromisoformat(job.finished_at) - datetime.fromisoformat(job.started_at)).total_seconds()
