"""Researchers: who has and may have how much, and who is in which group."""

from __future__ import annotations

from typing import Any

import panel as pn
import panel_material_ui as pmui

from zpe_dashboard.state.researchers import MEGABYTE, Researchers, typed
from zpe_dashboard.views.page import View, heading
from zpe_sdk.wire import Owner


class ResearchersView(View[Researchers]):
    """A table of researchers, and a form for the groups and limits of one."""

    def content(self) -> list[Any]:
        """Return the page."""
        w = self.words
        table = self.table(
            [
                {"key": "name", "label": w("Name"), "kind": "text", "sort": True},
                {"key": "groups", "label": w("Groups"), "kind": "list"},
                {"key": "workers", "label": w("Workers"), "kind": "number", "align": "right", "sort": True},
                {"key": "jobs", "label": w("Jobs in line"), "kind": "chip", "align": "right", "sort": True},
                {"key": "scfs", "label": w("SCFs running"), "kind": "chip", "align": "right", "sort": True},
                {"key": "bytes", "label": w("MB kept"), "kind": "chip", "align": "right", "sort": True},
                {"key": "priority", "label": w("Priority up to"), "kind": "number", "align": "right"},
                {
                    "key": "hours",
                    "label": w("SCF hours this month"),
                    "kind": "text",
                    "align": "right",
                    "sort": True,
                },
                {"key": "actions", "label": "", "kind": "actions"},
            ],
            label=w("Researchers"),
            empty=w("No researcher has a job or a token."),
            on_action=lambda name, _: self.state.edit(name),
        )
        self.watch(
            lambda: setattr(table, "rows", [self._row(owner) for owner in self.state.owners]), "owners"
        )
        return [heading(w("Researchers"), 1), self.problem(), table, self._form()]

    def _row(self, owner: Owner) -> dict[str, Any]:
        w, has, may = self.words, owner.usage, owner.limits

        def of(count: float, most: float | None, unit: int = 1) -> dict[str, str]:
            def shown(number: float) -> str:
                return f"{round(number / unit, 1):,.15g}"

            if most is None:
                return {"text": shown(count), "tone": ""}
            tone = "warn" if count >= most else ""
            return {"text": w("{n} of {most}", n=shown(count), most=shown(most)), "tone": tone}

        return {
            "id": owner.name,
            "name": owner.name,
            "groups": owner.groups,
            "workers": owner.workers,
            "jobs": of(has.jobs, may.jobs),
            "scfs": of(has.scfs, may.scfs),
            "bytes": of(has.bytes, may.bytes, MEGABYTE),
            "priority": may.priority,
            "hours": f"{has.scf_hours:,.1f}",
            "actions": [{"id": "edit", "text": w("Change")}],
            "sort": {"jobs": has.jobs, "scfs": has.scfs, "bytes": has.bytes, "hours": has.scf_hours},
        }

    def _form(self) -> Any:
        w, state = self.words, self.state

        def text(label: str) -> pmui.TextInput:
            return pmui.TextInput(
                label=label, size="small", sizing_mode="stretch_width", margin=(0, 0, 12, 0)
            )

        groups = text(w("Groups, separated by commas"))
        limits = {
            "jobs": text(w("Jobs in line, at most")),
            "scfs": text(w("SCFs running at once on workers of others, at most")),
            "megabytes": text(w("MB kept, at most")),
            "priority": text(w("Highest priority among the jobs of all")),
        }
        back = pmui.Button(label=w("Back"), variant="text")
        save = pmui.Button(label=w("Save"), variant="contained")
        dialog = pmui.Dialog(
            pn.Column(
                pmui.Typography(w("What is left empty goes as for all."), margin=(0, 0, 16, 0)),
                groups,
                *limits.values(),
                pn.Row(pn.HSpacer(), back, save, sizing_mode="stretch_width"),
                sizing_mode="stretch_width",
            ),
            title="",
            title_variant="h6",
            width_option="sm",
        )

        def draw() -> None:
            owner = state.edited
            if owner is not None:
                for field, shown in [
                    (groups, ", ".join(owner.groups)),
                    *((limits[name], number) for name, number in typed(owner).items()),
                ]:
                    field.param.update(value=shown, value_input=shown)
            dialog.param.update(title=owner.name if owner else "", open=owner is not None)

        async def saved(_: Any) -> None:
            wanted = {name: field.value_input or "" for name, field in limits.items()}
            await self.act(state.change(groups.value_input or "", wanted), w("Saved."))

        state.param.watch(lambda _: draw(), "edited")
        back.on_click(lambda _: state.edit(None))
        save.on_click(saved)
        return dialog
