"""One SCF of a job: the type that planning, workers and assembly share, free of HTTP and of pw.x."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

Vector = tuple[float, float, float]


@dataclass(frozen=True)
class Task:
    """One SCF. Task 0 is the equilibrium; the others displace ``atom`` by ``displacement`` (Å).

    ``start`` is set where an SCF is run again because it ended in another electronic state than the
    equilibrium: it says which density to start from. Null: the worker chooses. With ``copy_of`` it is that
    task's SCF once more, for another worker, to be compared.
    """

    index: int
    atom: int | None = None
    displacement: Vector | None = None
    start: Literal["equilibrium", "scratch"] | None = None
    copy_of: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the task as what JSON can hold; :meth:`from_json` gives back an equal task."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Task:
        """Return the task that :meth:`to_json` wrote, also after a passage through JSON text."""
        # Plans of earlier versions call the displacement a vector.
        step = document.get("displacement", document.get("vector"))
        return cls(
            index=document["index"],
            atom=document.get("atom"),
            displacement=None if step is None else tuple(step),
            start=document.get("start"),
            copy_of=document.get("copy_of"),
        )
