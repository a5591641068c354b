"""The dead-letter queue."""

from __future__ import annotations

from typing import Any

import panel as pn
import panel_material_ui as pmui

from zpe_dashboard.look import progress
from zpe_dashboard.route import Route
from zpe_dashboard.state.dead import DeadLetters
from zpe_dashboard.views.page import View, heading
from zpe_sdk.ranges import numbered
from zpe_sdk.wire import DeadJob, HistoryEvent


class DeadView(View[DeadLetters]):
    """Why jobs failed for good, by reason; another chance for one, some, or all of a reason."""

    def content(self) -> list[Any]:
        """Return the page."""
        w = self.words
        return [
            heading(w("Dead letters"), 1),
            pmui.Typography(
                w("Jobs that failed for good. Requeued, they keep the SCFs they have."),
                color="text.secondary",
                margin=(0, 0, 8, 0),
            ),
            self.problem(),
            self._reasons(),
            self._buttons(),
            self._table(),
            pn.Row(self.paging(self._show)),
        ]

    def _show(self) -> None:
        self.desk.go(Route("dlq", filters=self.state.filters))

    def _reasons(self) -> Any:
        w, state = self.words, self.state
        select = pmui.Select(label=w("Reason"), options={w("All"): ""}, size="small", width=300, margin=0)

        def draw() -> None:
            options = {w("All"): "", **{f"{r.side} / {r.code} ({r.count})": r.code for r in state.reasons}}
            if state.code and state.code not in options.values():
                options[state.code] = state.code
            select.param.update(options=options, value=state.code)

        def chosen(event: Any) -> None:
            if event.new is not None and event.new != state.code:
                state.param.update(code=event.new, page=1)
                self._show()

        self.watch(draw, "reasons", "code")
        select.param.watch(chosen, "value")
        return select

    def _buttons(self) -> Any:
        w, state = self.words, self.state
        requeue = pmui.Button(label=w("Requeue selected"), variant="contained", size="small")
        discard = pmui.Button(label=w("Discard selected"), variant="outlined", color="error", size="small")
        requeue_all = pmui.Button(label="", variant="outlined", size="small")
        discard_all = pmui.Button(label="", variant="outlined", color="error", size="small")

        def draw() -> None:
            requeue.disabled = discard.disabled = not state.chosen
            of_reason = bool(state.code) and state.total > 0
            requeue_all.param.update(
                label=w("Requeue all {n} of this reason", n=state.total), visible=of_reason
            )
            discard_all.param.update(
                label=w("Discard all {n} of this reason", n=state.total), visible=of_reason
            )

        async def requeue_chosen(_: Any) -> None:
            await self.act(state.requeue(list(state.chosen)), w("Requeued."))

        async def requeue_reason(_: Any) -> None:
            await self.act(state.requeue(code=state.code), w("Requeued."))

        def ask(count: int, **which: Any) -> None:
            self.confirm(
                w("Discard {n} jobs?", n=count),
                w("They stay failed and cannot be requeued any more."),
                w("Discard"),
                lambda: self.act(state.discard(**which), w("Discarded.")),
            )

        self.watch(draw, "chosen", "code", "total")
        requeue.on_click(requeue_chosen)
        requeue_all.on_click(requeue_reason)
        discard.on_click(lambda _: ask(len(state.chosen), job_ids=list(state.chosen)))
        discard_all.on_click(lambda _: ask(state.total, code=state.code))
        return self.deeds(requeue, discard, requeue_all, discard_all)

    def _table(self) -> Any:
        w, state = self.words, self.state
        table = self.table(
            [
                {"key": "job", "label": w("Job"), "kind": "link", "align": "name"},
                {"key": "reason", "label": w("Reason"), "kind": "chip", "sort": True},
                {"key": "message", "label": w("Message"), "kind": "text", "align": ""},
                {"key": "progress", "label": w("SCFs"), "kind": "progress"},
                {"key": "failed", "label": w("Failed"), "kind": "age", "align": "nowrap", "sort": True},
                {"key": "actions", "label": "", "kind": "actions"},
                {"key": "attempts", "label": w("Attempts"), "kind": "attempts", "below": True},
            ],
            label=w("Dead letters"),
            empty=w("No dead letters."),
            selectable=True,
            select_label=w("Select all"),
            on_action=self._act,
            margin=(12, 0),
        )
        self.watch(lambda: setattr(table, "rows", [self._row(job) for job in state.jobs]), "jobs")
        self.watch(lambda: setattr(table, "selected", list(state.chosen)), "chosen")
        table.param.watch(lambda event: setattr(state, "chosen", [str(i) for i in event.new]), "selected")
        return table

    def _row(self, dead: DeadJob) -> dict[str, Any]:
        w, job = self.words, dead.job
        return {
            "id": job.job_id,
            "name": job.name or job.job_id[:8],
            "job": {"href": f"#/job/{job.job_id}", "text": job.name or job.job_id[:8], "title": job.job_id},
            "reason": {"text": f"{dead.error.side} / {dead.error.code}", "tone": "bad"},
            "message": dead.error.message,
            "progress": progress(job, w("SCFs done")),
            "failed": dead.failed_at,
            "attempts": {
                "summary": w("{n} attempts", n=len(dead.attempts)),
                "attempts": [_attempt(event) for event in dead.attempts],
            },
            "actions": [
                {"id": "requeue", "text": w("Requeue")},
                {"id": "discard", "text": w("Discard"), "tone": "bad"},
            ],
            "sort": {"reason": dead.error.code},
        }

    async def _act(self, job_id: str, action: str) -> None:
        w, state = self.words, self.state
        if action == "requeue":
            await self.act(state.requeue([job_id]), w("Requeued."))
            return
        self.confirm(
            w("Discard this job?"),
            w("It stays failed and cannot be requeued any more."),
            w("Discard"),
            lambda: self.act(state.discard([job_id]), w("Discarded.")),
        )


def _attempt(event: HistoryEvent) -> dict[str, Any]:
    """Return an attempt: when, where, which SCFs, why, and the end of what the program said."""
    parts = [event.worker, f"SCF {numbered(event.tasks)}" if event.tasks else None, event.code, event.message]
    return {"at": event.at, "text": ", ".join(part for part in parts if part), "tail": event.traceback}
