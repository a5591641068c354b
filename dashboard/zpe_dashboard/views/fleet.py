"""Compute nodes, and the leases they hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import panel as pn
import panel_material_ui as pmui

from zpe_dashboard.route import Route
from zpe_dashboard.state.fleet import STATES, Leases, Workers
from zpe_dashboard.views.page import View, heading, row
from zpe_sdk.ranges import numbered
from zpe_sdk.wire import LeaseStatus, WorkerScf, WorkerState, WorkerStatus

_TONES: Mapping[WorkerState, str] = {"alive": "good", "ended": "", "silent": "bad"}


class WorkersView(View[Workers]):
    """What each worker can do, what it does, and how it has done."""

    def content(self) -> list[Any]:
        """Return the page."""
        w = self.words
        table = self.table(
            [
                {"key": "worker", "label": w("Worker"), "kind": "two", "align": "name", "sort": True},
                {"key": "state", "label": w("State"), "kind": "chips", "sort": True},
                {"key": "owner", "label": w("Owner"), "kind": "text", "sort": True},
                {"key": "accepts", "label": w("Accepts jobs of"), "kind": "text", "sort": True},
                {"key": "seen", "label": w("Last seen"), "kind": "age", "align": "nowrap", "sort": True},
                {"key": "engine", "label": w("Program"), "kind": "text", "sort": True},
                {"key": "done", "label": w("Done"), "kind": "number", "align": "right", "sort": True},
                {"key": "failed", "label": w("Failed"), "kind": "number", "align": "right", "sort": True},
                {"key": "pace", "label": w("s per SCF"), "kind": "text", "align": "right", "sort": True},
                {"key": "actions", "label": "", "kind": "actions"},
                {"key": "running", "label": w("Runs now"), "kind": "links", "below": True},
                {"key": "about", "label": w("About this machine"), "kind": "more", "below": True},
            ],
            label=w("Workers"),
            empty="",
            selectable=True,
            select_label=w("Select all"),
            on_action=self._act,
            margin=(12, 0),
        )
        state = self.state

        def draw() -> None:
            table.rows = [self._row(worker) for worker in state.workers]
            table.empty = (
                w("No worker matches.")
                if state.search or state.status
                else w("No worker has enrolled yet: make an enroll token on the page Tokens.")
            )

        self.watch(draw, "workers", "search", "status")
        self.watch(lambda: setattr(table, "selected", list(state.chosen)), "chosen")
        table.param.watch(lambda event: setattr(state, "chosen", [str(i) for i in event.new]), "selected")
        return [
            heading(w("Workers"), 1),
            self.problem(),
            self._tools(),
            table,
            pn.Row(self.paging(self._show)),
        ]

    def _show(self) -> None:
        self.desk.go(Route("workers", filters=self.state.filters))

    def _tools(self) -> Any:
        """Return the search, and what can be done with several workers at once."""
        w, state = self.words, self.state
        search = pmui.TextInput(
            label=w("Search name, host, owner, tags or versions"), size="small", width=340, margin=0
        )
        status = pmui.Select(
            label=w("State"),
            options={w("All"): "", **{w(state): state for state in STATES}},
            size="small",
            width=150,
            margin=0,
        )
        drain = pmui.Button(label=w("Drain selected"), variant="outlined", size="small")
        resume = pmui.Button(label=w("Resume selected"), variant="outlined", size="small")

        def draw() -> None:
            drain.disabled = resume.disabled = not state.chosen
            if search.value != state.search:
                search.value = state.search
            if status.value != state.status:
                status.value = state.status

        def narrowed(_: Any) -> None:
            if (search.value, status.value) != (state.search, state.status):
                state.narrow(search=search.value, status=status.value)
                self._show()

        async def drain_chosen(_: Any) -> None:
            await self.act(state.drain(*state.chosen, drain=True), w("They get no new work."))

        async def resume_chosen(_: Any) -> None:
            await self.act(state.drain(*state.chosen, drain=False), w("They get work again."))

        self.watch(draw, "chosen", "search", "status")
        search.param.watch(narrowed, "value")
        status.param.watch(narrowed, "value")
        drain.on_click(drain_chosen)
        resume.on_click(resume_chosen)
        return row(search, status, *([drain, resume] if self.desk.may_act else []))

    def _row(self, worker: WorkerStatus) -> dict[str, Any]:
        w, able = self.words, worker.capabilities
        host = str(worker.meta.get("hostname") or worker.meta.get("host") or "")
        chips = [{"text": w(worker.state), "tone": _TONES[worker.state]}]
        if worker.draining:
            chips.append({"text": w("draining"), "tone": "warn"})
        actions = [
            {"id": "resume", "text": w("Resume")}
            if worker.draining
            else {"id": "drain", "text": w("Drain"), "tone": "warn"},
            {"id": "revoke", "text": w("Revoke"), "tone": "bad"},
        ]
        pace = worker.scf_seconds / worker.scf_done if worker.scf_done else None
        accepts = {"own": w("the owner"), "group": w("the groups"), "all": w("everybody")}
        return {
            "id": worker.server_id,
            "name": worker.name,
            "worker": {"text": worker.name, "note": host if host != worker.name else worker.server_id[-8:]},
            "state": chips,
            "owner": worker.owner,
            "accepts": accepts[worker.accepts],
            "seen": worker.last_seen_at,
            "engine": f"{able.engine} {able.engine_version or ''}" if able else None,
            "done": worker.scf_done,
            "failed": worker.scf_failed,
            "pace": None if pace is None else f"{pace:.2f}",
            "actions": actions,
            "running": [self._scf(scf) for scf in worker.running],
            "about": {"summary": self._in_short(worker), "text": _about(worker)},
            "sort": {"worker": worker.name, "state": chips[0]["text"], "pace": pace},
        }

    def _scf(self, scf: WorkerScf) -> dict[str, Any]:
        """Return a link to the job of an SCF that runs, with how far it is."""
        w = self.words
        parts = [w("SCF {n}", n=scf.task + 1), w("{n} s", n=round(scf.seconds))]
        if scf.iteration is not None:
            parts.insert(1, w("iteration {n}", n=scf.iteration))
        if scf.job_owner:
            parts.append(scf.job_owner)
        name = scf.job_name or scf.job_id[:8]
        return {"href": f"#/job/{scf.job_id}", "text": f"{name}: {', '.join(parts)}", "title": scf.job_id}

    def _in_short(self, worker: WorkerStatus) -> str:
        """Return versions, size, free memory and tags of a machine in a line."""
        w, able, free = self.words, worker.capabilities, worker.memory_free_gb
        if able is None:
            return worker.server_id[:8]
        parts = [
            able.zpe_version and f"zpe {able.zpe_version}",
            able.cores and w("{n} cores", n=able.cores),
            able.memory_gb and f"{able.memory_gb:.0f} GB",
            free is not None and w("{n} GB free", n=f"{free:.1f}"),
            w("{n} slots", n=able.slots),
            *able.tags,
        ]
        return ", ".join(part for part in parts if part)

    async def _act(self, server_id: str, action: str) -> None:
        w, state = self.words, self.state
        if action == "resume":
            await self.act(state.drain(server_id, drain=False), w("It gets work again."))
        elif action == "drain":
            await self.act(state.drain(server_id, drain=True), w("It gets no new work."))
        else:
            name = next(worker.name for worker in state.workers if worker.server_id == server_id)
            self.confirm(
                w("Revoke {name}?", name=name),
                w("It is shut out at once, its SCFs go to others. To come back it needs a new token."),
                w("Revoke"),
                lambda: self.act(state.revoke(server_id), w("Revoked.")),
                (
                    w("Take back what it has computed: finished jobs are marked, others compute it anew."),
                    lambda: self.act(state.revoke(server_id, and_its_results=True), w("Revoked.")),
                ),
            )


def _about(worker: WorkerStatus) -> str:
    """Return what is known of a machine: its id, when it was enrolled, what it has told of itself."""
    lines = {"id": worker.server_id, "enrolled": worker.registered_at, **worker.meta}
    if worker.capabilities and worker.capabilities.pseudopotentials is not None:
        lines["pseudopotentials"] = ", ".join(worker.capabilities.pseudopotentials)
    return "\n".join(f"{name}: {value}" for name, value in lines.items())


class LeasesView(View[Leases]):
    """Who holds what, and for how long."""

    def content(self) -> list[Any]:
        """Return the page."""
        w = self.words
        table = self.table(
            [
                {"key": "job", "label": w("Job"), "kind": "link"},
                {"key": "tasks", "label": w("SCFs"), "kind": "text"},
                {"key": "worker", "label": w("Worker"), "kind": "text", "sort": True},
                {"key": "issued", "label": w("Taken"), "kind": "age", "align": "nowrap", "sort": True},
                {"key": "left", "label": w("Time left"), "kind": "left", "align": "right", "sort": True},
                {"key": "renewals", "label": w("Renewals"), "kind": "number", "align": "right", "sort": True},
                {"key": "actions", "label": "", "kind": "actions"},
            ],
            label=w("Leases"),
            empty=w("Nobody holds any work."),
            on_action=self._act,
        )
        self.watch(
            lambda: setattr(table, "rows", [self._row(lease) for lease in self.state.leases]), "leases"
        )
        return [heading(w("Leases"), 1), self.problem(), table]

    def _row(self, lease: LeaseStatus) -> dict[str, Any]:
        return {
            "id": lease.lease_id,
            "name": lease.worker,
            "job": {
                "href": f"#/job/{lease.job_id}",
                "text": lease.job_name or lease.job_id[:8],
                "title": lease.job_id,
            },
            "tasks": numbered(lease.tasks),
            "worker": lease.worker,
            "issued": lease.issued_at,
            "left": round(lease.expires_in_seconds, 1),
            "renewals": lease.renewals,
            "actions": [{"id": "release", "text": self.words("Release"), "tone": "warn"}],
        }

    def _act(self, lease_id: str, _: str) -> None:
        w = self.words
        self.confirm(
            w("Release this lease?"),
            w("Its unfinished SCFs go to others; no attempt is counted."),
            w("Release"),
            lambda: self.act(self.state.release(lease_id), w("Released.")),
        )
