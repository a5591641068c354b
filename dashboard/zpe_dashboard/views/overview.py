"""The service at a glance, and its two switches."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import panel as pn
import panel_material_ui as pmui

from zpe_dashboard.state.overview import Overview
from zpe_dashboard.views.page import View, heading, row
from zpe_dashboard.views.plots import HoursPlot, LivePlot


class OverviewView(View[Overview]):
    """Numbers, plots, switches."""

    def content(self) -> list[Any]:
        """Return the page."""
        w = self.words
        return [
            heading(w("Overview"), 1),
            self.problem(),
            self._differences(),
            self._tiles(),
            pn.FlexBox(
                self._card(self._live()),
                self._card(self._hours()),
                gap="12px",
                margin=(12, 0, 0, 0),
                sizing_mode="stretch_width",
            ),
            heading(w("Switches")),
            row(
                self._switch(
                    "submission_enabled",
                    w("New jobs are accepted"),
                    w("Stop the submission of jobs?"),
                    w("Researchers will be told to try later. Jobs that are there go on."),
                    w("Stop submission"),
                ),
                self._switch(
                    "dequeue_enabled",
                    w("Work is given to workers"),
                    w("Stop giving out work?"),
                    w("Workers finish what they hold and get nothing new. Jobs wait."),
                    w("Stop leasing"),
                ),
            ),
        ]

    def _differences(self) -> pn.viewable.Viewable:
        """Return a warning that is there while the replicas of the control plane differ."""
        w, state = self.words, self.state
        warning = pmui.Alert(
            title="", severity="warning", visible=False, sizing_mode="stretch_width", margin=0
        )

        def draw() -> None:
            told = w(
                "Replicas of the control plane have different settings: {text}",
                text="; ".join(state.differences),
            )
            warning.param.update(title=told, visible=bool(state.differences))

        self.watch(draw, "differences")
        return warning

    def _tiles(self) -> pn.viewable.Viewable:
        w, state, tiles = self.words, self.state, self.facts("tiles")

        def draw() -> None:
            idle = state.workers_alive == 0
            facts: list[dict[str, Any]] = [
                {"label": w("Waiting"), "value": state.queued, "kind": "number", "note": w("jobs")},
                {
                    "label": w("Running"),
                    "value": state.started,
                    "kind": "number",
                    "note": w("{n} SCFs at work", n=state.scfs_running),
                },
                {
                    "label": w("Finished in the last hour"),
                    "value": state.finished_last_hour,
                    "kind": "number",
                    "note": w("jobs"),
                    "tone": "good toned" if state.finished_last_hour else "",
                },
                {
                    "label": w("Dead letters"),
                    "value": state.dead,
                    "kind": "number",
                    "note": w("jobs that failed for good"),
                    "tone": "bad toned" if state.dead else "",
                },
                {
                    "label": w("Workers alive"),
                    "value": state.workers_alive,
                    "kind": "number",
                    "note": w("of {n}", n=state.workers),
                    "tone": "bad toned" if idle else "",
                },
            ]
            if oldest := state.oldest:
                facts.append(
                    {
                        "label": w("Waits the longest"),
                        "big": True,
                        "kind": "link",
                        "value": {
                            "href": f"#/job/{oldest.job_id}",
                            "text": oldest.name or oldest.formula or oldest.job_id,
                        },
                        "note": oldest.detail or w("Waits for a worker."),
                    }
                )
            tiles.facts = facts if state.loaded else [fact | {"value": "…", "note": ""} for fact in facts]

        self.watch(
            draw,
            "queued",
            "started",
            "dead",
            "scfs_running",
            "workers_alive",
            "workers",
            "oldest",
            "finished_last_hour",
        )
        return tiles

    def _live(self) -> Any:
        plot = LivePlot(
            self.words("Since this page was opened"),
            self.words("Waiting"),
            self.words("Running"),
            self.words("SCFs at work"),
        )
        self.watch(lambda: plot.show(self.state.samples, self.desk.zone), "samples")
        return plot.figure

    def _hours(self) -> Any:
        plot = HoursPlot(
            self.words("Jobs by the hour"),
            self.words("Finished"),
            self.words("Failed"),
            self.words("hours ago"),
        )
        self.watch(lambda: plot.show(self.state.by_hour), "by_hour")
        return plot.figure

    def _card(self, figure: Any) -> pn.viewable.Viewable:
        return pmui.Paper(
            pn.pane.Bokeh(figure, sizing_mode="stretch_width", margin=(8, 4)),
            elevation=0,
            variant="outlined",
            min_width=280,
            styles={"flex": "1 1 420px"},
            margin=0,
        )

    def _switch(
        self, flag: str, label: str, question: str, consequence: str, action: str
    ) -> pn.viewable.Viewable:
        switch = pmui.Switch(label=label, value=True, disabled=not self.desk.may_act, margin=(4, 16, 4, 0))
        drawing = False

        def draw() -> None:
            nonlocal drawing
            drawing = True
            switch.value = bool(getattr(self.state.flags, flag))
            drawing = False

        def wanted(event: Any) -> None:
            if drawing:
                return
            if event.new:
                pn.state.execute(partial(self._start, flag))
                return
            # It shows what is, not what is asked for.
            draw()
            self.confirm(question, consequence, action, self._stop(flag))

        self.watch(draw, "flags")
        switch.param.watch(wanted, "value")
        return switch

    def _stop(self, flag: str) -> Callable[[], Any]:
        return lambda: self.act(self.state.set_flag(flag, False), self.words("Switched off."))

    async def _start(self, flag: str) -> None:
        await self.act(self.state.set_flag(flag, True), self.words("Switched on."))
