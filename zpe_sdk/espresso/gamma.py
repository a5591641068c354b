"""K-points that are Γ alone: when pw.x may take them as ``gamma``, and when it is wrong if it does."""

from __future__ import annotations

from typing import Any

from zpe_sdk.espresso.input import PwInput
from zpe_sdk.espresso.steering import STEERING
from zpe_sdk.espresso.surplus import unread_lines
from zpe_sdk.wire.versions import fits

# What may stand beside a mesh of one point for it to run as ``gamma``: keys with any value, and keys with
# some values (in lower case). docs/qe-input.md tells how far the forces of both forms differ for each.
_ANY_VALUE = {
    "control": {*STEERING["control"], "tefield", "dipfield"},
    "system": {
        *("ibrav", "celldm", "a", "b", "c", "cosab", "cosac", "cosbc", "nat", "ntyp"),
        *("ecutwfc", "ecutrho", "nr1", "nr2", "nr3", "nbnd", "degauss"),
        *("tot_charge", "tot_magnetization", "starting_magnetization"),
        *("nosym", "nosym_evc", "noinv", "edir", "emaxpos", "eopreg", "eamp", "london"),
    },
    "electrons": STEERING["electrons"] - {"diagonalization"},
}
_SOME_VALUES: dict[str, dict[str, set[Any]]] = {
    "control": {"gate": {False}, "lelfield": {False}},
    "system": {
        "nspin": {1, 2},
        "noncolin": {False},
        "lspinorb": {False},
        "lda_plus_u": {False},
        "occupations": {"fixed", "smearing", "from_input"},
        "smearing": {
            *("gaussian", "gauss", "methfessel-paxton", "m-p", "mp"),
            *("marzari-vanderbilt", "cold", "m-v", "mv", "fermi-dirac", "f-d", "fd"),
        },
        "assume_isolated": {"none", "makov-payne", "m-p", "mp", "martyna-tuckerman", "m-t", "mt"},
        "vdw_corr": {
            *("", "none", "grimme-d2", "dft-d", "grimme-d3", "dft-d3"),
            *("ts", "ts-vdw", "tkatchenko-scheffler", "xdm"),
        },
        "input_dft": {
            *("pz", "lda", "pbe", "pbesol", "revpbe", "blyp", "pw91"),
            *("pbe0", "b3lyp", "hse"),
        },
    },
    "electrons": {
        "diagonalization": {"david", "davidson", "cg", "ppcg"},
        "real_space": {False},
        "tqr": {False},
        "tq_smoothing": {False},
        "tbeta_smoothing": {False},
    },
}
_CARDS = {
    *("ATOMIC_SPECIES", "ATOMIC_POSITIONS", "K_POINTS", "CELL_PARAMETERS", "OCCUPATIONS"),
    *("CONSTRAINTS", "ATOMIC_VELOCITIES"),
}

# In these versions the forces (and with 2D all else) are wrong with Γ tricks: parts of the long-range
# potential are not completed by their complex conjugates.
_WRONG = {
    "2d": ("<7.3.1", "pw.x before 7.3.1"),
    "esm": (">=7.2,<7.3.1", "pw.x 7.2 and 7.3"),
}


def gamma_point(pw_input: PwInput) -> bool:
    """Tell whether ``K_POINTS automatic`` is Γ alone and pw.x may take it as ``gamma``.

    Both are the one point k = 0 with weight 1. There the Kohn-Sham operator of a system without spinors is
    real, so its eigenfunctions can be chosen real, c(-G) = c(G)*, and half of the plane waves hold all of
    them. pw.x then computes with these alone: the same equations with half the numbers, no approximation,
    in a program of its own for each term of the potential. So both are the same where that has been seen: if
    the input has only keys and cards of the list above. Any other leaves the k-points as they are written.
    """
    k = pw_input.kpoints
    return (
        (k.mesh, k.shift) == ((1, 1, 1), (0, 0, 0))
        and set(pw_input.cards) <= _CARDS
        and not unread_lines(pw_input)
        and all(
            _is_known(group, key, value)
            for group in _ANY_VALUE
            for key, value in pw_input.namelists.get(group, {}).items()
        )
    )


def is_gamma(pw_input: PwInput) -> bool:
    """Tell whether the SCFs of an input run with Γ tricks: at one k-point, whatever their symmetry."""
    return pw_input.kpoints.mode == "gamma" or gamma_point(pw_input)


def gamma_warning(pw_input: PwInput, version: str | None = None) -> str | None:
    """Return a warning if the input says ``gamma`` where versions of pw.x are wrong with it.

    Parameters
    ----------
    pw_input
        The input.
    version
        The version of pw.x that ran it; without one, all are meant.
    """
    isolated = _plain(pw_input.namelists["system"].get("assume_isolated"))
    if pw_input.kpoints.mode != "gamma" or isolated not in _WRONG:
        return None
    wrong, which = _WRONG[isolated]
    if not fits(version, wrong):
        return None
    return (
        f"{which} computes wrong forces for K_POINTS gamma with "
        f"assume_isolated = '{isolated.replace('d', 'D')}': "
        "write K_POINTS automatic and 1 1 1 0 0 0, which is the same point"
    )


def _is_known(group: str, key: str, value: object) -> bool:
    return key in _ANY_VALUE[group] or _plain(value) in _SOME_VALUES[group].get(key, ())


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(value)
    return value.strip().lower() if isinstance(value, str) else value
