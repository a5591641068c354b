"""The results of jobs without vibrations: one SCF, or a relaxed structure."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import model_validator

from zpe_sdk.task import Vector
from zpe_sdk.wire.messages import Fingerprint, Line, Message, TaskRun
from zpe_sdk.wire.relaxation import RelaxationRecord
from zpe_sdk.wire.results import input_of_before


class StructureDocument(Message):
    """A structure with its energy and forces. Units and names are those of a ZPEResultDocument.

    ``forces_ev_ang`` (nat, 3) are those of ``positions``; ``free`` says which Cartesian components the input
    leaves free to move, (nat, 3), and ``max_force_ev_ang`` is the largest force of these. ``pw_input`` is the
    text of the pw.x input. Of a relaxation no dipole is known.
    """

    energy_ev: float
    forces_ev_ang: list[Vector]
    max_force_ev_ang: float
    free: list[tuple[bool, bool, bool]]
    symbols: list[Line]
    positions: list[Vector]
    cell: list[Vector]
    kpts: tuple[int, int, int]
    ecutwfc: float | None = None
    ecutrho: float | None = None
    total_magnetization: float | None = None
    absolute_magnetization: float | None = None
    dipole_e_ang: Vector | None = None
    pw_input: str
    use_environ: bool = False
    calc_start_time: Line
    calc_end_time: Line
    elapsed_seconds: float
    warnings: list[Line] = []
    fingerprint: Fingerprint
    tasks: list[TaskRun]

    @model_validator(mode="before")
    @classmethod
    def _of_before(cls, document: Any) -> Any:
        return input_of_before(document)

    @property
    def is_mock(self) -> bool:
        """Whether the forces are those of springs in place of pw.x: no physics."""
        return self.fingerprint.engine == "mock"


class EnergyDocument(StructureDocument):
    """The result of a job of the kind ``energy``: one SCF of the structure as given."""

    kind: Literal["energy"] = "energy"


class RelaxationDocument(StructureDocument):
    """The result of a job of the kind ``relax``: the relaxed structure.

    ``pw_input`` is the input with the relaxed positions in it.
    """

    kind: Literal["relax"] = "relax"
    relaxation: RelaxationRecord
