"""What a job would take, for people."""

from __future__ import annotations

from html import escape

from zpe_sdk.client.progress import duration
from zpe_sdk.wire import JobPlan


class Plan(JobPlan):
    """What a job would take, and what seems to be wrong with it: see :class:`zpe_sdk.wire.JobPlan`."""

    def summary(self) -> str:
        """Return it as a text for people."""
        rows = [(name, value) for name, value in self._rows() if value]
        width = max(len(name) for name, _ in rows)
        lines = [f"{name:<{width}}  {value}" for name, value in rows]
        return "\n".join([*lines, *(f"! {warning}" for warning in self.warnings)])

    def _rows(self) -> list[tuple[str, str]]:
        moving = len(self.mobile_indices)
        without = f", {self.full} without symmetry" if self.full > self.scfs else ""
        operations = f", {self.operations} operations" if self.operations is not None else ""
        cutoffs = [f"{value:g}" for value in (self.ecutwfc, self.ecutrho) if value is not None]
        mesh = "list" if 0 in self.kpts else " x ".join(map(str, self.kpts))
        return [
            ("structure", f"{self.formula}, {self.atoms} atoms" + (f", {moving} vibrate" if moving else "")),
            ("symmetry", f"{self.space_group}{operations}" if self.space_group else ""),
            ("SCFs", f"{self.scfs}{without}" + (", after a relaxation" if self.relaxes else "")),
            ("known", f"{self.known} of them, from earlier jobs" if self.known else ""),
            ("cutoffs", " and ".join(cutoffs) + " Ry" if cutoffs else "those of the pseudopotentials"),
            ("k-points", mesh),
            ("files", ", ".join(self.pseudopotentials)),
            ("engine", "MOCK: springs in place of pw.x, no physics" if self.engine == "mock" else "pw.x"),
            ("machines", f"{self.machines} can begin" if self.machines else self.detail or ""),
            ("time", self._time()),
        ]

    def _time(self) -> str:
        if self.scf_seconds is None or self.seconds is None:
            return "not known: no similar SCF has been run"
        low, high = (duration(seconds) for seconds in self.seconds)
        whole = low if low == high else f"{low} to {high}"
        after = " after the relaxation" if self.relaxes else ""
        return f"{whole}{after}; {duration(self.scf_seconds)} an SCF, from {self.similar} similar ones"

    def __repr__(self) -> str:
        return self.summary()

    __str__ = __repr__

    def _repr_html_(self) -> str:
        return f'<pre style="white-space: pre-wrap; word-break: normal">{escape(self.summary())}</pre>'
