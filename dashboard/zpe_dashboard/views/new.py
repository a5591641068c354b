"""A new job: drop or paste an input, see what it would take, choose the atoms that vibrate, submit."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import panel as pn
import panel_material_ui as pmui
from ase import Atoms

from zpe_dashboard.components import Paste
from zpe_dashboard.route import Route
from zpe_dashboard.state.new import NewJob
from zpe_dashboard.views.page import View, heading, row, warn, warning_box
from zpe_dashboard.views.structure import Drawing
from zpe_sdk.client.progress import duration
from zpe_sdk.client.prospect import Plan
from zpe_sdk.ranges import ranges
from zpe_sdk.wire import ParseReply


class NewJobView(View[NewJob]):
    """The input, and below it the plan."""

    def content(self) -> list[Any]:
        """Return the page."""
        w = self.words
        return [heading(w("New job"), 1), self.problem(), self._input(), self._look(), self._plan()]

    def _input(self) -> Any:
        w, state = self.words, self.state
        paste = Paste(
            label=w("A pw.x input"),
            hint=w("Drop a file here, or paste the text of a pw.x input."),
            choose_label=w("Choose a file …"),
        )

        def typed(event: Any) -> None:
            if event.new != state.content:
                state.content = event.new
                state.forget_plan()

        paste.param.watch(typed, "value")
        self.watch(lambda: setattr(paste, "value", state.content), "content")
        return paste

    def _look(self) -> Any:
        w, state = self.words, self.state
        relax = pmui.Checkbox(label=w("Relax the structure first"), value=False, margin=0)
        look = pmui.Button(label=w("Show what it would take"), variant="contained")

        async def looked(_: Any) -> None:
            await self.act(state.look(), w("Nothing is submitted yet."))

        async def changed(event: Any) -> None:
            state.relax = event.new
            if state.plan is not None:
                await self.act(state.choose(state.mobile), w("Nothing is submitted yet."))

        look.on_click(looked)
        relax.param.watch(changed, "value")
        self.watch(lambda: setattr(look, "disabled", not state.content.strip()), "content")
        return row(look, relax)

    def _plan(self) -> Any:
        w, state = self.words, self.state
        molecule = Drawing(
            w("The structure: a click on an atom has it vibrate, or not"),
            on_pick=lambda atom: pn.state.execute(partial(self._pick, atom)),
        )
        facts = self.facts()
        warnings = warning_box()
        mobile = pmui.TextInput(
            label=w("Atoms that vibrate, e.g. 0, 3-5 or H"), size="small", width=300, margin=0
        )
        name = pmui.TextInput(label=w("Name of the job"), size="small", width=240, margin=0)
        submit = pmui.Button(label=w("Submit"), variant="contained")
        box = pn.Column(
            heading(w("What it would take")),
            warnings,
            pn.FlexBox(
                pn.Column(molecule.component, styles={"flex": "1 1 320px"}, min_width=280),
                pn.Column(facts, styles={"flex": "1 1 420px"}, min_width=280),
                gap="12px",
                margin=(12, 0),
                sizing_mode="stretch_width",
            ),
            row(mobile, name, submit),
            sizing_mode="stretch_width",
            visible=False,
        )

        def draw() -> None:
            box.visible = state.plan is not None
            if state.plan is None or state.parsed is None:
                return
            molecule.show(_atoms(state.parsed), held=set(range(state.plan.atoms)) - set(state.mobile))
            facts.facts = self._facts(state.plan)
            warn(warnings, state.plan.warnings)
            mobile.value = ranges(state.mobile)

        async def chosen(event: Any) -> None:
            if state.plan is not None and event.new != ranges(state.mobile):
                await self.act(state.choose_text(event.new), w("Nothing is submitted yet."))
                mobile.value = ranges(state.mobile)

        async def submitted(_: Any) -> None:
            state.job_name = name.value_input or name.value
            new: list[str] = []

            async def carry_out() -> None:
                new.append(await state.submit())

            if await self.act(carry_out(), w("Submitted.")):
                name.value = ""
                self.desk.go(Route("job", new[0]))

        self.watch(draw, "plan", "mobile")
        mobile.param.watch(chosen, "value")
        submit.on_click(submitted)
        return box

    async def _pick(self, atom: int) -> None:
        await self.act(self.state.toggle(atom), self.words("Nothing is submitted yet."))

    def _facts(self, plan: Plan) -> list[dict[str, Any]]:
        w = self.words
        saved = plan.full - plan.scfs
        cutoffs = [f"{value:g}" for value in (plan.ecutwfc, plan.ecutrho) if value is not None]
        if plan.seconds is None:
            time, note = w("not known: nothing similar has been run"), None
        else:
            low, high = (duration(seconds) for seconds in plan.seconds)
            time = low if low == high else f"{low} – {high}"
            note = w("from {n} similar SCFs", n=plan.similar)
        facts: list[dict[str, Any]] = [
            {
                "label": w("SCFs"),
                "value": plan.scfs,
                "kind": "number",
                "note": w("{n} saved by symmetry", n=saved) if saved else None,
            },
            {"label": w("Time"), "value": time, "note": note},
            {
                "label": w("Symmetry"),
                "value": plan.space_group,
                "note": None if plan.operations is None else w("{n} operations", n=plan.operations),
            },
            {"label": w("Formula"), "value": plan.formula, "note": w("{n} atoms", n=plan.atoms)},
            {"label": w("Mobile atoms"), "value": ranges(plan.mobile_indices), "kind": "mono"},
            {
                "label": w("Machines that can begin"),
                "value": plan.machines,
                "kind": "number",
                "note": plan.detail,
            },
            {"label": w("Known from earlier jobs"), "value": plan.known or None, "kind": "number"},
            {"label": w("Cutoffs"), "value": f"{', '.join(cutoffs)} Ry" if cutoffs else None},
            {"label": w("k-points"), "value": None if 0 in plan.kpts else " × ".join(map(str, plan.kpts))},
            {"label": w("Pseudopotentials"), "value": plan.pseudopotentials, "kind": "list", "big": True},
        ]
        if plan.engine == "mock":
            facts.append(
                {"label": w("Options"), "value": w("MOCK: springs in place of pw.x, no physics"), "big": True}
            )
        return facts


def _atoms(parsed: ParseReply) -> Atoms:
    lattice = parsed.structure.lattice
    return Atoms(
        [atom.symbol for atom in parsed.structure.atoms],
        positions=[(atom.x, atom.y, atom.z) for atom in parsed.structure.atoms],
        cell=np.array([(point.x, point.y, point.z) for point in (lattice.a, lattice.b, lattice.c)]),
        pbc=True,
    )
