"""Compute nodes, and the leases they hold."""

from __future__ import annotations

from typing import Any

from zpe_dashboard.state.fleet import Leases, Workers
from zpe_dashboard.views.page import View, heading
from zpe_sdk.wire import LeaseStatus, WorkerStatus


class WorkersView(View[Workers]):
    """What each worker can do, what it does, and how it has done."""

    def content(self) -> list[Any]:
        """Return the page."""
        w = self.words
        table = self.table(
            [
                {"key": "name", "label": w("Worker"), "kind": "two", "sort": True},
                {"key": "state", "label": w("State"), "kind": "chips", "sort": True},
                {"key": "owner", "label": w("Owner"), "kind": "text", "sort": True},
                {"key": "accepts", "label": w("Accepts jobs of"), "kind": "text", "sort": True},
                {"key": "seen", "label": w("Last seen"), "kind": "age", "align": "nowrap", "sort": True},
                {"key": "engine", "label": w("Program"), "kind": "text", "sort": True},
                {"key": "slots", "label": w("Slots"), "kind": "number", "align": "right", "sort": True},
                {"key": "pseudo", "label": w("Pseudopotentials"), "kind": "list"},
                {"key": "leases", "label": w("Leases"), "kind": "chips"},
                {"key": "done", "label": w("Done"), "kind": "number", "align": "right", "sort": True},
                {"key": "failed", "label": w("Failed"), "kind": "number", "align": "right", "sort": True},
                {"key": "pace", "label": w("s per SCF"), "kind": "text", "align": "right", "sort": True},
                {"key": "actions", "label": "", "kind": "actions"},
            ],
            label=w("Workers"),
            empty=w("No worker has enrolled yet: make an enroll token on the page Tokens."),
            on_action=self._act,
        )
        self.watch(
            lambda: setattr(table, "rows", [self._row(worker) for worker in self.state.workers]),
            "workers",
            "leases",
        )
        return [heading(w("Workers"), 1), self.problem(), table]

    def _row(self, worker: WorkerStatus) -> dict[str, Any]:
        w, able = self.words, worker.capabilities
        host = str(worker.meta.get("hostname") or worker.meta.get("host") or "")
        chips = [
            {"text": w("alive"), "tone": "good"} if worker.alive else {"text": w("silent"), "tone": "bad"}
        ]
        if worker.draining:
            chips.append({"text": w("draining"), "tone": "warn"})
        if worker.revoked:
            chips = [{"text": w("revoked"), "tone": ""}]
        actions = (
            []
            if worker.revoked
            else [
                {"id": "resume", "text": w("Resume")}
                if worker.draining
                else {"id": "drain", "text": w("Drain"), "tone": "warn"},
                {"id": "revoke", "text": w("Revoke"), "tone": "bad"},
            ]
        )
        held: list[LeaseStatus] = self.state.leases.get(worker.server_id, [])
        pace = worker.scf_seconds / worker.scf_done if worker.scf_done else None
        accepts = {"own": w("the owner"), "group": w("the groups"), "all": w("everybody")}
        return {
            "id": worker.server_id,
            "name": {"text": worker.name, "note": host if host != worker.name else worker.server_id[-8:]},
            "state": chips,
            "owner": worker.owner,
            "accepts": accepts[worker.accepts],
            "seen": worker.last_seen_at,
            "engine": f"{able.engine} {able.engine_version or ''}" if able else None,
            "slots": able.slots if able else None,
            "pseudo": able.pseudopotentials if able else None,
            "leases": [{"text": w("{n} SCFs", n=len(lease.tasks)), "tone": "main"} for lease in held],
            "done": worker.scf_done,
            "failed": worker.scf_failed,
            "pace": None if pace is None else f"{pace:.2f}",
            "actions": actions,
            "sort": {"name": worker.name, "state": chips[0]["text"], "pace": pace},
        }

    async def _act(self, server_id: str, action: str) -> None:
        w, state = self.words, self.state
        if action == "resume":
            await self.act(state.drain(server_id, False), w("It gets work again."))
        elif action == "drain":
            await self.act(state.drain(server_id, True), w("It gets no new work."))
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


class LeasesView(View[Leases]):
    """Who holds what, and for how long."""

    def content(self) -> list[Any]:
        """Return the page."""
        w = self.words
        table = self.table(
            [
                {"key": "job", "label": w("Job"), "kind": "link"},
                {"key": "tasks", "label": w("SCFs"), "kind": "list"},
                {"key": "worker", "label": w("Worker"), "kind": "text", "sort": True},
                {"key": "issued", "label": w("Taken"), "kind": "age", "align": "nowrap", "sort": True},
                {"key": "left", "label": w("Time left"), "kind": "left", "align": "right mono", "sort": True},
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
                "text": lease.job_id[:8],
                "mono": True,
                "title": lease.job_id,
            },
            "tasks": [str(task) for task in lease.tasks],
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
