"""The result of a worker of another make: what it sent, and what is missing."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any, NoReturn, Self

import numpy as np
from ase.units import invcm
from numpy.typing import NDArray

from zpe_sdk.result.document import validated
from zpe_sdk.vibrations.modes import wavenumber
from zpe_sdk.wire import BareDocument, ZPEResultDocument
from zpe_sdk.wire.results import input_of_before

Array = NDArray[np.float64]


class BareResult:
    """Frequencies and zero-point energy of a finished job, from a worker that sent no more.

    Such a worker settles a whole job and knows neither Hessian nor modes. All that a
    :class:`zpe_sdk.ZPEResult` derives from these is missing here.

    Attributes
    ----------
    document
        What the worker sent, as far as it is known here.
    missing
        The fields of a :class:`zpe_sdk.wire.ZPEResultDocument` that it did not send.
    """

    def __init__(self, document: BareDocument, missing: list[str]) -> None:
        self.document = document
        self.missing = missing

    @staticmethod
    def missing_in(result: Mapping[str, Any]) -> list[str]:
        """Return the fields that a whole result must have and this one has not."""
        given = input_of_before(dict(result))
        fields = ZPEResultDocument.model_fields
        return [name for name, field in fields.items() if field.is_required() and name not in given]

    @classmethod
    def from_dict(cls, result: Mapping[str, Any]) -> Self:
        """Read what such a worker sent.

        Raises
        ------
        ComputeError
            ``result_incomplete``: it lacks even frequencies, ZPE, entropy or the mobile atoms.
        """
        return cls(validated(BareDocument, result), cls.missing_in(result))

    def to_json(self, *, indent: int | None = 2) -> str:
        """Return the document as JSON."""
        return self.document.model_dump_json(indent=indent, exclude_none=True)

    @property
    def zpe_ev(self) -> float:
        """Zero-point energy in eV, as the worker summed it."""
        return self.document.zpe_ev

    @property
    def frequencies_cm(self) -> Array:
        """Wavenumbers in cm⁻¹, shape (3M,); imaginary modes may stand as 0."""
        return np.array(self.document.freqs_cm)

    @property
    def energies_ev(self) -> Array:
        """Quanta hν of the modes in eV, shape (3M,)."""
        return self.frequencies_cm * float(invcm)

    def summary(self) -> str:
        """Return the result as a text for people; the worker's own is that of the job."""
        d = self.document
        kelvin = "" if d.temperature is None else f"   (at {d.temperature:g} K)"
        lines = [
            f"# ZPE summary: {len(d.mobile_indices)} atoms mobile",
            "",
            f"ZPE    {d.zpe_ev:12.6f} eV",
            f"S_vib  {d.s_vib_jmol_k:12.4f} J/(mol K){kelvin}",
            "",
            "  mode  wavenumber/cm⁻¹",
            *(f"{k:6d}  {wavenumber(cm, 2):>15}" for k, cm in enumerate(d.freqs_cm)),
            "",
            self._told(),
        ]
        return "\n".join(lines) + "\n"

    def to_csv(self) -> str:
        """Return one line per mode, in cm⁻¹, as CSV with a header."""
        return "".join(["frequency_cm^-1\n", *(f"{cm:.6f}\n" for cm in self.document.freqs_cm)])

    def _told(self) -> str:
        return (
            f"The worker that computed this sent no {', '.join(self.missing)}. To have them, compute it "
            'anew on another worker: client.submit(…, calc_mode="new").'
        )

    def __getattr__(self, name: str) -> NoReturn:
        # Of what a whole result has: why it is not here.
        raise AttributeError(f"a BareResult has no {name!r}. {self._told()}" if name[:1] != "_" else name)

    def __repr__(self) -> str:
        modes, missing = len(self.document.freqs_cm), len(self.missing)
        return f"<BareResult: ZPE {self.zpe_ev:.6f} eV, {modes} modes; {missing} fields are missing>"

    def _repr_html_(self) -> str:
        return f'<pre style="white-space: pre-wrap; word-break: normal">{escape(self.summary())}</pre>'
