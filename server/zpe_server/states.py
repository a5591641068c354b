"""What becomes of SCFs that did not end in the electronic state of the equilibrium.

Such an SCF is run again from the equilibrium's density, then from scratch. If it still ends elsewhere, the
job fails, unless the researcher has accepted that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from zpe_sdk.vibrations.plan import Plan
from zpe_sdk.vibrations.states import Moments, StateChange, state_changes
from zpe_sdk.wire import TaskReport
from zpe_server.transitions.jobs import Again

# The start of the next try, by that of the last one.
_NEXT = {"": "equilibrium", "equilibrium": "scratch"}
_NAMED = 5


@dataclass(frozen=True)
class States:
    """The electronic states of a job's SCFs.

    Attributes
    ----------
    changes
        SCFs in another state than the equilibrium.
    starts
        By task, the density that an SCF which was run again started from; under ``<task>:misfit``, how far
        off its energy was the first time, in eV.
    """

    changes: Sequence[StateChange]
    starts: Mapping[str, str]

    @classmethod
    def of(cls, plan: Plan, scfs: Mapping[int, TaskReport], starts: Mapping[str, str]) -> Self:
        """Compare the SCFs of a plan, given by task, with one another."""
        moments = {
            task: Moments(scf.total_magnetization, scf.absolute_magnetization)
            for task, scf in scfs.items()
            if scf.total_magnetization is not None and scf.absolute_magnetization is not None
        }
        changes = state_changes(
            plan,
            {task: scf.energy_ev for task, scf in scfs.items()},
            {task: scf.forces_ev_ang for task, scf in scfs.items()},
            moments,
        )
        return cls(changes, starts)

    def to_run_again(self) -> list[Again]:
        """Return what the transition ``rerun`` wants of each SCF for which there is another start."""
        again: list[Again] = []
        for change in self.changes:
            before = self.starts.get(str(change.task), "")
            if start := _NEXT.get(before):
                again.append(
                    {
                        "task": change.task,
                        "start": start,
                        "misfit": change.energy_ev - change.expected_ev,
                        "message": f"{change.sentence}; it is run again from "
                        + ("the equilibrium's density" if start == "equilibrium" else "scratch"),
                    }
                )
        return again

    def message(self) -> str:
        """Say why the job fails, and what to do."""
        return (
            f"{self._sentences()}. Starts from the equilibrium's density and from scratch both ended so. "
            "Forces of different electronic states make no Hessian: fix the state in the input "
            "(tot_magnetization, starting_magnetization, occupations, smearing), or submit with "
            "allow_state_changes=True"
        )

    def warnings(self) -> list[str]:
        """Return what a result has to say of its SCFs' states."""
        told = []
        if self.changes:
            told.append(
                f"{self._sentences()}. The Hessian mixes electronic states, which the job allows: do not "
                "trust the modes of these atoms"
            )
        lower = {
            int(task): float(self.starts[f"{task}:misfit"])
            for task in self.starts
            if f"{task}:misfit" in self.starts and float(self.starts[f"{task}:misfit"]) < 0
        }
        healed = sorted(set(lower) - {change.task for change in self.changes})
        if healed:
            deepest = 1000 * max(-lower[task] for task in healed)
            told.append(
                f"displacements {', '.join(map(str, healed))} first ended in an electronic state up to "
                f"{deepest:.1f} meV below that of the equilibrium: the equilibrium is not in its ground "
                "state. The result holds for the state that it is in"
            )
        return told

    def _sentences(self) -> str:
        shown = "; ".join(change.sentence for change in self.changes[:_NAMED])
        more = len(self.changes) - _NAMED
        return shown + (f"; and {more} more" if more > 0 else "")
