"""What decides the forces, in one normal form whatever the layout, and its hash.

Left out are the positions and what only steers the run: paths, titles, the kind of calculation (every
task is an SCF), how the SCF is brought to convergence, the relaxation and the masses. The convergence
threshold belongs to the steering because a task's is never looser than the engine's own.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from zpe_sdk.espresso.cards import KPoints
from zpe_sdk.espresso.namelist import number
from zpe_sdk.espresso.patch import displaced, gamma_point
from zpe_sdk.wire import Task

if TYPE_CHECKING:
    from zpe_sdk.espresso.cards import Card
    from zpe_sdk.espresso.input import PwInput

POSITION_DIGITS = 9  # of Å

_STEERING = {
    "control": {
        "calculation",
        "title",
        "verbosity",
        "restart_mode",
        "wf_collect",
        "nstep",
        "iprint",
        "tstress",
        "tprnfor",
        "dt",
        "outdir",
        "wfcdir",
        "prefix",
        "lkpoint_dir",
        "max_seconds",
        "etot_conv_thr",
        "forc_conv_thr",
        "disk_io",
        "pseudo_dir",
        "max_xml_steps",
    },
    "system": set[str](),
    "electrons": {
        "conv_thr",
        "electron_maxstep",
        "scf_must_converge",
        "adaptive_thr",
        "conv_thr_init",
        "conv_thr_multi",
        "exx_maxstep",
        "mixing_mode",
        "mixing_beta",
        "mixing_ndim",
        "diagonalization",
        "diago_thr_init",
        "diago_cg_maxiter",
        "diago_ppcg_maxiter",
        "diago_david_ndim",
        "diago_rmm_ndim",
        "diago_rmm_conv",
        "diago_gs_nblock",
        "diago_full_acc",
        "startingpot",
        "startingwfc",
    },
}
_CARDS = ("CELL_PARAMETERS", "OCCUPATIONS", "HUBBARD", "ADDITIONAL_K_POINTS", "ATOMIC_FORCES")


def physics_hash(pw_input: PwInput) -> str:
    """Return the SHA-256 of an input's physics."""
    namelists = {
        name: {
            key: normal(value)
            for key, value in pw_input.namelists.get(name, {}).items()
            if key not in steering
        }
        for name, steering in _STEERING.items()
    }
    k = KPoints("gamma") if gamma_point(pw_input) else pw_input.kpoints
    return digest(
        {
            "namelists": namelists,
            "species": [(s.label, s.pseudopotential) for s in pw_input.species],
            "labels": pw_input.labels,
            "kpoints": (k.mode, k.mesh, k.shift, k.points, k.weights),
            "cards": {name: _card(pw_input.cards[name]) for name in _CARDS if name in pw_input.cards},
        }
    )


def scf_key(pw_input: PwInput, task: Task) -> str:
    """Return the SHA-256 of the physics and the exact structure of a task."""
    positions = displaced(pw_input, task).round(POSITION_DIGITS) + 0.0  # no -0.0
    cell = pw_input.cell.round(POSITION_DIGITS) + 0.0
    return digest([pw_input.physics_hash(), cell.tolist(), positions.tolist()])


def _card(card: Card) -> list[Any]:
    return [card.unit, *([normal(_word(word)) for word in row.words] for row in card.rows)]


def _word(word: str) -> str | float:
    value = number(word)
    return word if value is None else value


def normal(value: object) -> object:
    """Return a value in its one form: to pw.x, 1 is 1.0d0, 'PBE' is 'pbe' and x(1) = 5 is x = 5."""
    if isinstance(value, list):
        return normal(value[0]) if len(value) == 1 else [normal(element) for element in value]
    if isinstance(value, bool) or value is None:
        return value
    return float(value) + 0.0 if isinstance(value, int | float) else str(value).strip().lower()


def digest(document: object) -> str:
    """Return the SHA-256 of a document of plain values."""
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
