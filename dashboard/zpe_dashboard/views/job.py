"""One job from inside."""

from __future__ import annotations

from typing import Any

import panel as pn
import panel_material_ui as pmui

from zpe_dashboard.look import TONES, kind_of, progress, relaxing
from zpe_dashboard.route import Route
from zpe_dashboard.state.jobs import JobInside
from zpe_dashboard.views.outcome import Outcome
from zpe_dashboard.views.page import View, heading
from zpe_sdk.ranges import numbered
from zpe_sdk.wire import OVER, HistoryEvent, RunningScf, TaskStatus


class JobView(View[JobInside]):
    """What the job is, how it came out, who ran it, and what can be done with it."""

    def content(self) -> list[Any]:
        """Return the page."""
        known = pn.Column(
            self._actions(),
            self._card(),
            self._error(),
            *Outcome(self.desk, self.state, self.words, self.place, self.confirm).content(),
            heading(self.words("SCFs")),
            self._tasks(),
            heading(self.words("History")),
            self._history(),
            heading(self.words("Physics")),
            self._fingerprint(),
            heading(self.words("Input")),
            self._input(),
            sizing_mode="stretch_width",
        )
        # Of a job that there is not, nothing is shown but that.
        self.watch(lambda: setattr(known, "visible", self.state.detail is not None), "detail")
        return [self._title(), self.problem(), known]

    def _title(self) -> Any:
        title = self.facts("title")

        def draw() -> None:
            detail = self.state.detail
            job = detail.job if detail else None
            title.facts = [
                {
                    "label": self.words("Job"),
                    "big": True,
                    "kind": "two",
                    "value": {
                        "text": (job.name or job.formula or job.job_id) if job else "…",
                        "note": self.state.job_id,
                    },
                }
            ]

        self.watch(draw, "detail", "job_id")
        return title

    def _actions(self) -> Any:
        w = self.words
        cancel = pmui.Button(label=w("Cancel job"), variant="outlined", color="error", size="small")
        requeue = pmui.Button(label=w("Requeue"), variant="contained", size="small")
        again = pmui.Button(label=w("Submit again"), variant="outlined", size="small")

        def draw() -> None:
            job = self.state.detail.job if self.state.detail else None
            mine = job is not None and self.desk.decides_about(job.owner)
            cancel.visible = mine and job is not None and job.status not in OVER
            requeue.visible = mine and job is not None and job.in_dlq
            again.visible = job is not None

        async def resubmit(_: Any) -> None:
            new: list[str] = []

            async def submit() -> None:
                new.append(await self.state.resubmit())

            if await self.act(submit(), w("Submitted as a new job.")):
                self.desk.go(Route("job", new[0]))

        self.watch(draw, "detail")
        cancel.on_click(
            lambda _: self.confirm(
                w("Cancel this job?"),
                w("Workers stop its SCFs. It cannot be resumed."),
                w("Cancel job"),
                lambda: self.act(self.state.cancel(), w("Cancelled.")),
            )
        )

        async def revive(_: Any) -> None:
            await self.act(self.state.requeue(), w("Requeued."))

        requeue.on_click(revive)
        again.on_click(resubmit)
        return self.deeds(requeue, again, cancel)

    def _card(self) -> Any:
        w, facts = self.words, self.facts()

        def draw() -> None:
            if self.state.detail is None:
                facts.facts = []
                return
            detail = self.state.detail
            job = detail.job
            saved = job.progress.full and job.progress.full - job.progress.total
            vibrates = job.kind == "vibrations"
            facts.facts = [
                {
                    "label": w("Status"),
                    "kind": "chip",
                    "value": {"text": w(job.status), "tone": TONES[job.status]},
                    "note": relaxing(job, w) or job.detail,
                },
                {"label": w("Kind"), "value": kind_of(job, w)},
                {
                    "label": w("SCFs"),
                    "kind": "progress",
                    "value": progress(job, w("SCFs done")),
                    "note": w("{n} saved by symmetry", n=saved) if saved else None,
                },
                {"label": w("Running now"), "value": [_far(scf, w) for scf in job.running], "kind": "list"},
                {"label": w("Formula"), "value": job.formula},
                *(
                    [
                        {
                            "label": w("Mobile atoms"),
                            "value": ", ".join(map(str, detail.mobile_indices)),
                            "kind": "mono",
                        },
                        {"label": w("Displacement"), "value": f"{detail.delta:g} Å"},
                        {"label": w("Vibrations counted above"), "value": f"{detail.low_cut_cm:g} cm⁻¹"},
                        {"label": w("Temperature"), "value": f"{detail.temperature:g} K"},
                    ]
                    if vibrates
                    else []
                ),
                {"label": w("Priority"), "value": detail.priority, "kind": "number"},
                {
                    "label": w("Options"),
                    "kind": "list",
                    "value": [
                        text
                        for text, chosen in (
                            (w("without symmetry"), not detail.symmetry),
                            (w("takes over no SCFs"), detail.calc_mode == "new"),
                            ("Environ", detail.use_environ),
                            (w("MOCK: springs in place of pw.x, no physics"), detail.engine == "mock"),
                        )
                        if chosen
                    ]
                    + [w("tag {tag}", tag=tag) for tag in detail.requires.tags]
                    + ([w("at least {n} cores", n=cores)] if (cores := detail.requires.cores) else [])
                    + ([f"{memory:g} GB"] if (memory := detail.requires.memory_gb) else [])
                    + ([f"pw.x {pw}"] if (pw := detail.requires.pw) else []),
                },
                {"label": w("Owner"), "value": job.owner},
                {"label": w("Workers"), "value": job.workers, "kind": "list"},
                {"label": w("Submitted"), "value": job.created_at, "kind": "time"},
                {"label": w("Started"), "value": job.started_at, "kind": "time"},
                {"label": w("Ended"), "value": job.finished_at, "kind": "time"},
            ]

        self.watch(draw, "detail")
        return facts

    def _error(self) -> Any:
        w = self.words
        title = heading(w("Why it failed"))
        facts, tail = self.facts(), self.code(w("What the worker said"))
        box = pn.Column(title, facts, tail, sizing_mode="stretch_width", visible=False)

        def draw() -> None:
            error = self.state.detail.job.error if self.state.detail else None
            box.visible = error is not None
            if error:
                facts.facts = [
                    {
                        "label": w("Reason"),
                        "kind": "chip",
                        "value": {"text": f"{error.side} / {error.code}", "tone": "bad"},
                    },
                    {"label": w("Worker"), "value": error.worker},
                    {"label": w("Message"), "value": error.message, "big": True},
                ]
                tail.param.update(text=error.traceback or "", visible=bool(error.traceback))

        self.watch(draw, "detail")
        return box

    def _tasks(self) -> Any:
        w = self.words
        table = self.table(
            [
                {"key": "index", "label": w("SCF"), "kind": "number", "align": "right", "sort": True},
                {"key": "what", "label": w("Displacement"), "kind": "text"},
                {"key": "state", "label": w("State"), "kind": "chip", "sort": True},
                {"key": "worker", "label": w("Worker"), "kind": "text", "sort": True},
                {"key": "seconds", "label": w("Seconds"), "kind": "text", "align": "right", "sort": True},
                {
                    "key": "attempts",
                    "label": w("Failed attempts"),
                    "kind": "number",
                    "align": "right",
                    "sort": True,
                },
            ],
            label=w("SCFs"),
            empty="",
        )
        self.watch(
            lambda: setattr(
                table, "rows", [self._task(t) for t in self.state.detail.tasks] if self.state.detail else []
            ),
            "detail",
        )
        return table

    def _task(self, task: TaskStatus) -> dict[str, Any]:
        tone = {"open": "", "held": "main", "done": "good"}[task.state]
        relaxes = self.state.detail is not None and self.state.detail.job.stage == "relax"
        what = self.words("relaxation") if relaxes else self.words("equilibrium")
        if task.atom is not None and task.displacement is not None:
            vector = ", ".join(f"{x:+.3f}" for x in task.displacement)
            what = self.words("atom {n}", n=task.atom) + f"  ({vector}) Å"
        seconds = task.scf_seconds
        return {
            "id": str(task.index),
            "index": task.index + 1,
            "what": what,
            "state": {"text": self.words(task.state), "tone": tone},
            "worker": task.worker,
            "seconds": None if seconds is None else f"{seconds:.1f}",
            "attempts": task.attempts,
            "sort": {"state": task.state, "seconds": seconds},
        }

    def _history(self) -> Any:
        w = self.words
        table = self.table(
            history_columns(w), label=w("History"), empty=w("Nothing out of the ordinary happened.")
        )
        self.watch(
            lambda: setattr(
                table, "rows", history_rows(self.state.detail.history, w) if self.state.detail else []
            ),
            "detail",
        )
        return table

    def _fingerprint(self) -> Any:
        w, facts = self.words, self.facts()

        def draw() -> None:
            found = self.state.detail.fingerprint if self.state.detail else None
            if found is None:
                facts.facts = [
                    {
                        "label": w("Settings fingerprint"),
                        "value": w("Known when the first SCF is done."),
                        "big": True,
                    }
                ]
                return
            facts.facts = [
                {"label": w("Program"), "value": f"{found.engine} {found.engine_version}"},
                {"label": "Environ", "value": found.environ},
                {"label": w("Settings (SHA-256)"), "value": found.physics, "kind": "mono", "big": True},
                *(
                    {"label": name, "value": digest, "kind": "mono", "big": True}
                    for name, digest in found.pseudopotentials.items()
                ),
            ]

        self.watch(draw, "detail")
        return facts

    def _input(self) -> Any:
        code = self.code(self.words("Input"))
        self.watch(
            lambda: setattr(code, "text", self.state.detail.content if self.state.detail else ""), "detail"
        )
        return code


def history_columns(words: Any) -> list[dict[str, Any]]:
    """Return the columns of a table of events."""
    return [
        {"key": "at", "label": words("When"), "kind": "age", "align": "nowrap"},
        {"key": "what", "label": words("What"), "kind": "text"},
        {"key": "who", "label": words("Who"), "kind": "text"},
        {"key": "tasks", "label": words("SCFs"), "kind": "text"},
        {"key": "message", "label": words("Message"), "kind": "text", "align": "wide"},
        {"key": "traceback", "label": words("Output"), "kind": "more", "below": True},
    ]


def history_rows(events: list[HistoryEvent], words: Any) -> list[dict[str, Any]]:
    """Return the rows of a table of events."""
    return [
        {
            "id": f"{len(events) - n}",
            "at": event.at,
            "what": f"{event.what} ({event.code})" if event.code else event.what,
            "who": event.worker or event.by,
            "tasks": numbered(event.tasks),
            "message": event.message,
            "traceback": {"summary": words("Show"), "text": event.traceback} if event.traceback else None,
        }
        for n, event in enumerate(events)
    ]


def _far(scf: RunningScf, w: Any) -> str:
    """Say how far an SCF is that runs."""
    facts = {"n": scf.task + 1, "worker": scf.worker, "seconds": f"{scf.seconds:.0f}"}
    if scf.iteration is None or scf.accuracy_ry is None:
        return str(w("SCF {n} on {worker}: {seconds} s", **facts))
    return str(
        w(
            "SCF {n} on {worker}: iteration {iteration}, {accuracy} Ry, {seconds} s",
            **facts,
            iteration=scf.iteration,
            accuracy=f"{scf.accuracy_ry:.0e}",
        )
    )
