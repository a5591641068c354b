"""The input of a relaxation, from the job's own input."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from ase.units import Bohr, Rydberg
from numpy.typing import NDArray

from zpe_sdk.errors import InputError
from zpe_sdk.espresso import keys
from zpe_sdk.espresso.input import PwInput
from zpe_sdk.espresso.moved import moves
from zpe_sdk.espresso.namelist import apply
from zpe_sdk.espresso.patch import run_edits
from zpe_sdk.wire import RelaxOptions
from zpe_sdk.wire.relaxation import DEFAULT_STEPS, MAX_STEPS

RELAXATIONS = ("relax", "vc-relax")
FORC_CONV_THR = 1e-4  # Ry/bohr; what a Hessian wants
# The energy that a step still gains is about the square of the force (both in Rydberg units). An SCF must
# know it a hundred times better, or the optimiser takes noise for a way up.
_CONV_THR_OF_FORCE = 0.01
LOOSEST_CONV_THR, TIGHTEST_CONV_THR = 1e-9, 1e-12  # Ry


def check_relaxation(pw_input: PwInput) -> list[str]:
    """Refuse what cannot be relaxed as the input wants it; return what its author should know.

    Raises
    ------
    InputError
        ``not_supported``: another optimiser than BFGS, or constraints; ``unknown_key``: a key of ``&IONS``
        that no version of pw.x has; ``bad_input``: no atom is free to move.
    """
    if not pw_input.free.any():
        raise InputError(
            "no atom is free to move: there is nothing to relax", code="bad_input", field="ATOMIC_POSITIONS"
        )
    if "CONSTRAINTS" in pw_input.cards:
        raise InputError(
            "pw.x's BFGS keeps no constraints: fix atoms, or components, with flags behind their positions",
            code="not_supported",
            field="CONSTRAINTS",
        )
    ions = _own_ions(pw_input)
    dynamics = _text(ions.get("ion_dynamics", "bfgs"))
    if dynamics not in ("", "bfgs"):
        raise InputError(
            f"ion_dynamics = {dynamics[:40]!r} is not supported: only bfgs can go on on another worker",
            code="not_supported",
            field="ion_dynamics",
        )
    for key in ions:
        if keys.versions_of("ions", key.split("(")[0]) is None:
            near = keys.nearest("ions", key)
            hint = f"; {near}?" if near else ""
            raise InputError(f"&IONS of pw.x has no key {key}{hint}", code="unknown_key", field=key)
    if _calculation(pw_input) == "vc-relax":
        return ["calculation = 'vc-relax': the atoms are relaxed, the cell stays as it is"]
    return []


def relaxation_text(
    pw_input: PwInput,
    options: RelaxOptions,
    *,
    prefix: str,
    outdir: str,
    pseudo_dir: str,
    electrons: Mapping[str, object],
    steps: int,
    positions: NDArray[np.float64] | None = None,
    nosym: bool = False,
) -> str:
    """Return the input of a relaxation: the job's text with only what it needs changed.

    Flags and symmetry are those of the input; so are its keys of ``&IONS`` if it is one of a relaxation.

    Parameters
    ----------
    pw_input
        The job's input.
    options
        When the relaxation has ended well.
    prefix, outdir, pseudo_dir
        pw.x's keys of these names.
    electrons
        Keys of ``&ELECTRONS`` to set.
    steps
        How many ionic steps to take at most.
    positions
        Where to begin, in Å, shape (nat, 3); None: at the input's own positions.
    nosym
        See :func:`zpe_sdk.espresso.patch.task_text`.

    Raises
    ------
    InputError
        See :func:`check_relaxation` and :func:`zpe_sdk.espresso.patch.run_edits`.
    """
    check_relaxation(pw_input)
    threshold = force_threshold(pw_input, options)
    control = {
        "calculation": "relax",
        # From scratch, pw.x would remove the optimiser's history. Without one, and without a density, it
        # begins as from scratch.
        "restart_mode": "restart",
        "prefix": prefix,
        "outdir": outdir,
        "pseudo_dir": pseudo_dir,
        "nstep": steps,
        "forc_conv_thr": threshold,
        # The forces alone decide: this is more than any step gains.
        "etot_conv_thr": 1.0e3,
    }
    given = _own_ions(pw_input)
    ions: dict[str, object] = dict.fromkeys(pw_input.namelists.get("ions", {}).keys() - given.keys())
    ions["ion_positions"] = "from_input"
    if "upscale" not in given:
        ions["upscale"] = 1.0  # every SCF goes to conv_thr
    edits = run_edits(
        pw_input,
        control=control,
        electrons={"conv_thr": _conv_thr(pw_input, threshold), **electrons},
        ions=ions,
        nosym=nosym,
    )
    if positions is not None:
        edits += moves(pw_input, positions)
    return apply(pw_input.text, edits)


def force_threshold(pw_input: PwInput, options: RelaxOptions) -> float:
    """Return below what every component of a force has to be, in Ry/bohr: pw.x's ``forc_conv_thr``."""
    if options.fmax is not None:
        # pw.x looks at each component: then the length of the vector is below fmax too.
        return float(options.fmax / np.sqrt(3) / (Rydberg / Bohr))
    given = pw_input.namelists.get("control", {}).get("forc_conv_thr")
    return min(FORC_CONV_THR, float(given)) if isinstance(given, int | float) and given > 0 else FORC_CONV_THR


def steps_wanted(pw_input: PwInput, options: RelaxOptions) -> int:
    """Return how many ionic steps may be taken: as the options say, or else the input of a relaxation."""
    given = pw_input.namelists.get("control", {}).get("nstep")
    if options.steps is None and _calculation(pw_input) in RELAXATIONS and isinstance(given, int):
        return min(max(1, given), MAX_STEPS)
    return options.steps or DEFAULT_STEPS


def _conv_thr(pw_input: PwInput, threshold: float) -> float:
    """Return how well an SCF must know its energy (Ry) for forces of a threshold (Ry/bohr)."""
    given = pw_input.namelists.get("electrons", {}).get("conv_thr")
    needed = min(max(_CONV_THR_OF_FORCE * threshold**2, TIGHTEST_CONV_THR), LOOSEST_CONV_THR)
    return min(needed, float(given)) if isinstance(given, int | float) and given > 0 else needed


def _calculation(pw_input: PwInput) -> str:
    return str(pw_input.namelists.get("control", {}).get("calculation", "scf"))


def _own_ions(pw_input: PwInput) -> dict[str, Any]:
    """Return the input's keys of ``&IONS`` if pw.x would have used them."""
    return pw_input.namelists.get("ions", {}) if _calculation(pw_input) in RELAXATIONS else {}


def _text(value: object) -> str:
    """Return the text of a value of ``&IONS``, which is kept as it is written."""
    return str(value).strip("'\" ").lower()
