"""The input of one SCF of a job: the job's own input, and in it only what the task needs changed."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from zpe_sdk.errors import InputError
from zpe_sdk.espresso.gamma import gamma_point
from zpe_sdk.espresso.input import PwInput
from zpe_sdk.espresso.namelist import SCF_GROUPS, Edit, apply, line_end, literal, set_keys
from zpe_sdk.espresso.structure import multiples, position_unit
from zpe_sdk.espresso.surplus import surplus_rows
from zpe_sdk.wire import Task

# What pw.x takes for the same place, in crystal coordinates (eqvect.f90). Below this it would find the
# symmetry of the undisplaced structure and make the forces symmetric.
PW_SAME_PLACE = 1e-5


def task_text(
    pw_input: PwInput,
    task: Task,
    *,
    prefix: str,
    outdir: str,
    pseudo_dir: str,
    electrons: Mapping[str, object],
    nosym: bool = False,
    rehearsal: bool = False,
) -> str:
    """Return the input of one displaced SCF: its text with only what the task needs changed.

    Parameters
    ----------
    pw_input
        The job's input.
    task
        Which atom is displaced, and by how much.
    prefix, outdir, pseudo_dir
        pw.x's keys of these names.
    electrons
        Keys of ``&ELECTRONS`` to set, e.g. ``conv_thr``.
    nosym
        Whether something that pw.x does not know of breaks the symmetry of the atoms, so that it must
        make nothing symmetric.
    rehearsal
        pw.x is to say what it would do, its k-points above all, and to stop there.

    Raises
    ------
    InputError
        ``bad_task``: the task moves an atom that is not there, or so little that pw.x overlooks it;
        ``not_supported``: ``nosym`` does not go with listed k-points.
    """
    control: dict[str, object] = {"prefix": prefix, "outdir": outdir, "pseudo_dir": pseudo_dir}
    ions: dict[str, object] | None = None
    if rehearsal:
        # A relaxation of no steps is what all versions take for one.
        control.update(calculation="relax", nstep=0, verbosity="high")
        ions = {}
    edits = [
        *run_edits(pw_input, control=control, electrons=electrons, ions=ions, nosym=nosym),
        *_positions(pw_input, task),
    ]
    return apply(pw_input.text, edits)


def run_edits(
    pw_input: PwInput,
    *,
    control: Mapping[str, object],
    electrons: Mapping[str, object],
    ions: Mapping[str, object] | None = None,
    nosym: bool = False,
) -> list[Edit]:
    """Return the edits that any run of a job needs, whatever the positions.

    Parameters
    ----------
    pw_input
        The job's input.
    control, electrons
        Keys of these namelists to set.
    ions
        Keys of ``&IONS`` to set, besides those that the input has; None: a run without this namelist.
    nosym
        See :func:`task_text`.

    Raises
    ------
    InputError
        ``not_supported``: ``nosym`` does not go with listed k-points.
    """
    ours_control: dict[str, object] = {
        "calculation": "scf",
        "restart_mode": "from_scratch",
        **control,
        "wfcdir": None,
        "tprnfor": True,
        "tstress": False,
        # Every version of pw.x knows it, and writes the density that the next SCF starts from.
        "disk_io": "low",
        # An SCF cut off by the clock is lost; the worker stops what has to stop.
        "max_seconds": None,
    }
    # Files to start from exist only where the engine has put them, and it says so in `electrons`. Without
    # convergence there are no forces to report.
    ours: dict[str, object] = {"startingpot": None, "scf_must_converge": None}
    given = pw_input.namelists.get("electrons", {})
    if str(given.get("startingwfc", "")).strip().lower() == "file":
        ours["startingwfc"] = None
    ours.update({name.lower(): value for name, value in electrons.items()})
    return [
        *_namelists(pw_input, ours_control, ours, ions),
        *(_without_symmetry(pw_input) if nosym else ()),
        *_gamma(pw_input),
        *_surplus(pw_input),
    ]


def displaced(pw_input: PwInput, task: Task) -> NDArray[np.float64]:
    """Return the positions of a task in Å, shape (nat, 3).

    Raises
    ------
    InputError
        ``bad_task``.
    """
    positions = pw_input.positions.copy()
    if task.atom is None or task.displacement is None:
        return positions
    if not 0 <= task.atom < len(positions):
        raise InputError(
            f"the task moves atom {task.atom} of {len(positions)}", code="bad_task", field="atom"
        )
    step = np.array(task.displacement) @ np.linalg.inv(pw_input.cell)
    # An operation of pw.x's may leave as little as half of it between the atom and its image.
    if np.any(step) and np.abs(step).max() <= 2 * PW_SAME_PLACE:
        raise InputError(
            f"a displacement of {np.linalg.norm(task.displacement):g} Å is too small: pw.x takes places "
            f"closer than {PW_SAME_PLACE:g} of the cell for the same",
            code="bad_task",
            field="delta",
        )
    positions[task.atom] += task.displacement
    return positions


def _namelists(
    pw_input: PwInput,
    control: Mapping[str, object],
    electrons: Mapping[str, object],
    ions: Mapping[str, object] | None,
) -> list[Edit]:
    text, groups = pw_input.text, pw_input.groups
    edits: list[Edit] = []
    # pw.x wants the namelists, be they empty, in this order.
    behind = _next_line(text, groups["system"].end)
    wanted = [("control", control, groups["system"].start), ("electrons", electrons, behind)]
    if ions is not None:
        last = groups.get("electrons", groups["system"])
        wanted.append(("ions", ions, _next_line(text, last.end)))
    for name, keys, place in wanted:
        if name in groups:
            edits += set_keys(text, groups[name], keys)
        else:
            edits.append((place, place, _written(name, keys, line_end(text))))
    # A run reads none of the others; pw.x would take their lines for cards and warn of each.
    for name, group in groups.items():
        if name not in SCF_GROUPS and (name != "ions" or ions is None):
            line = text.rfind("\n", 0, group.start) + 1
            start = group.start if text[line : group.start].strip() else line
            edits.append((start, _next_line(text, group.end), ""))
    return edits


def _without_symmetry(pw_input: PwInput) -> list[Edit]:
    """Have pw.x make nothing symmetric.

    Raises
    ------
    InputError
        ``not_supported``: listed k-points may be those of a symmetric structure, which pw.x would complete.
    """
    if len(pw_input.kpoints.points or ()) > 1 and not pw_input.namelists["system"].get("nosym"):
        raise InputError(
            "Environ may break the symmetry of the atoms here, and without symmetry pw.x takes listed "
            "k-points as they are: give a mesh, or all points and nosym = .true.",
            code="not_supported",
            field="K_POINTS",
        )
    return set_keys(pw_input.text, pw_input.groups["system"], {"nosym": True})


def _written(name: str, keys: Mapping[str, object], newline: str) -> str:
    lines = [f"  {key} = {literal(value)}" for key, value in keys.items() if value is not None]
    return newline.join([f"&{name.upper()}", *lines, "/", ""])


def _positions(pw_input: PwInput, task: Task) -> list[Edit]:
    card = pw_input.cards["ATOMIC_POSITIONS"]
    edits: list[Edit] = []
    for row in card.rows[: len(pw_input.labels)]:
        if any(int(flag) != 1 for flag in row.words[4:]):
            # pw.x multiplies the forces by these flags, and the Hessian is made of all forces.
            edits.append((row.spans[3][1], row.spans[6][1], ""))
    move = displaced(pw_input, task) - pw_input.positions
    if task.atom is None or not move.any():
        return edits
    row = card.rows[task.atom]
    unit = position_unit(card.unit, pw_input.alat, pw_input.cell)
    old = multiples(row)
    new = np.array(old) + np.array(task.displacement) @ np.linalg.inv(unit)
    edits += [
        (*span, f"{after:.16f}")
        for span, before, after in zip(row.spans[1:4], old, new, strict=True)
        if after != before
    ]
    return edits


def _gamma(pw_input: PwInput) -> list[Edit]:
    if not gamma_point(pw_input):
        return []
    text, card = pw_input.text, pw_input.cards["K_POINTS"]
    mesh = card.rows[0].spans[0][0]
    return [
        (card.start, card.end, "K_POINTS gamma"),
        (text.rindex("\n", 0, mesh) + 1, _next_line(text, mesh), ""),
    ]


def _surplus(pw_input: PwInput) -> list[Edit]:
    """Cut out what pw.x would take for cards and say that it ignored."""
    text = pw_input.text
    return [
        (text.rindex("\n", 0, row.spans[0][0]) + 1, _next_line(text, row.spans[0][0]), "")
        for row in surplus_rows(pw_input)
    ]


def _next_line(text: str, position: int) -> int:
    newline = text.find("\n", position)
    return len(text) if newline < 0 else newline + 1
