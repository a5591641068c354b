"""What in an input looks like an oversight: it can be run, and its result may not be what was wanted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, covalent_radii
from ase.data.g2 import data as g2

from zpe_sdk.espresso.input import PwInput
from zpe_sdk.espresso.pseudopotentials import Pseudopotential
from zpe_sdk.espresso.vacuum import BOND, emptiness, repeating

# Å between a molecule or a slab and its image: less, and they feel each other's tails. The densities of
# molecules have fallen to 1e-4 of their height some 3 Å from the outer atoms.
ENOUGH_VACUUM = 7.0
# Å: k-points along a vector times its length. Half of what is chosen (2π times 3.5 per Å⁻¹).
FEWEST_KPOINTS = 11.0
_MOMENTS = {"starting_magnetization", "tot_magnetization", "b_field", "fixed_magnetization"}
# Ferro- or antiferromagnetic as solids: Kittel, Introduction to Solid State Physics, ch. 12.
MAGNETIC = frozenset({"Cr", "Mn", "Fe", "Co", "Ni", "Gd", "Tb", "Dy", "Ho", "Er", "Tm"})


def concerns(pw_input: PwInput, files: Mapping[str, Pseudopotential]) -> list[str]:
    """Return what looks like an oversight, one sentence each, the gravest first.

    Parameters
    ----------
    pw_input
        The input.
    files
        By file name, what pseudopotentials say of themselves; those not in it are not known.
    """
    atoms = Atoms(pw_input.symbols, pw_input.positions, cell=pw_input.cell, pbc=True)
    repeats = repeating(atoms)
    return [
        *_spin(pw_input, is_molecule=not repeats.any()),
        *_cutoffs(pw_input, files),
        *_kpoints(pw_input, repeats.tolist()),
        *_vacuum(atoms, repeats.tolist()),
        *_charge(pw_input, is_molecule=not repeats.any()),
    ]


def _spin(pw_input: PwInput, *, is_molecule: bool) -> Iterator[str]:
    system = pw_input.namelists["system"]
    if system.get("nspin") in (2, 4) or system.get("noncolin"):
        if system.get("nspin") == 2 and not any(_some(system[key]) for key in system if key in _MOMENTS):
            yield (
                "there is spin (nspin = 2) and no magnetic moment to start from: without "
                "starting_magnetization or tot_magnetization the SCF stays nonmagnetic"
            )
        return
    charge = system.get("tot_charge", 0)
    electrons = sum(atomic_numbers[symbol] for symbol in pw_input.symbols)
    whole = isinstance(charge, int | float) and float(charge).is_integer()
    if is_molecule and whole and (electrons - int(charge)) % 2:
        yield (
            f"{pw_input.formula} has an odd number of electrons, and the input no spin: give the Atoms "
            "initial magnetic moments, or set nspin = 2"
        )
    elif is_molecule and not charge and pw_input.formula in _open_shells():
        yield (
            f"the ground state of {pw_input.formula} has unpaired electrons, and the input no spin: give the "
            "Atoms initial magnetic moments, or set nspin = 2 and tot_magnetization"
        )
    elif magnetic := sorted(MAGNETIC & set(pw_input.symbols)):
        yield (
            f"{', '.join(magnetic)} is often magnetic, and the input has no spin: give the Atoms initial "
            "magnetic moments, or set nspin = 2 and starting_magnetization"
        )


def _some(value: object) -> bool:
    """Tell whether a key, or one of its list, is not zero."""
    return any(map(_some, value)) if isinstance(value, list) else value not in (None, 0)


def _cutoffs(pw_input: PwInput, files: Mapping[str, Pseudopotential]) -> Iterator[str]:
    ecutwfc, ecutrho = pw_input.cutoffs
    known = [files[name] for name in pw_input.pseudopotentials if name in files]
    if ecutwfc is None or ecutrho is None or not known:
        return
    highest = max(known, key=lambda file: file.ecutwfc)
    if ecutwfc < highest.ecutwfc:
        yield f"ecutwfc is {ecutwfc:g} Ry; {highest.file} suggests {highest.ecutwfc:g} Ry"
    highest = max(known, key=lambda file: file.ecutrho)
    soft = [file for file in known if file.kind != "NC"]
    if ecutrho < highest.ecutrho:
        yield f"ecutrho is {ecutrho:g} Ry; {highest.file} suggests {highest.ecutrho:g} Ry"
    elif soft and ecutrho < 6 * ecutwfc:
        yield (
            f"ecutrho is {ecutrho / ecutwfc:g} times ecutwfc; {soft[0].file} ({soft[0].kind}) needs 8 times "
            "or more for its augmentation charges"
        )


def _kpoints(pw_input: PwInput, repeats: list[bool]) -> Iterator[str]:
    mesh = pw_input.mesh
    if 0 in mesh:  # a list: nobody knows what for
        return
    heights = 1 / np.linalg.norm(np.linalg.inv(pw_input.cell), axis=0)
    for axis, (count, height, repeated) in enumerate(zip(mesh, heights.tolist(), repeats, strict=True)):
        direction = "abc"[axis]
        if repeated and count * height < FEWEST_KPOINTS:
            yield (
                f"{count} k-point{'s' if count > 1 else ''} along {direction}, where the structure repeats "
                f"every {height:.3g} Å: {np.ceil(2 * FEWEST_KPOINTS / height):.0f} are usual"
            )
        if not repeated and count > 1:
            yield f"{count} k-points along {direction}, where nothing repeats: 1 says the same sooner"


def _vacuum(atoms: Atoms, repeats: list[bool]) -> Iterator[str]:
    bonded = max(4.0, 2 * BOND * float(covalent_radii[atoms.numbers].max()))
    for axis in range(3):
        gap = emptiness(atoms.positions, atoms.cell.array, axis)
        # One that repeats may well have a gap without a bond, as between layers.
        if not repeats[axis] and bonded <= gap < ENOUGH_VACUUM:
            yield (
                f"{gap:.1f} Å of vacuum along {'abc'[axis]}: images feel each other; {ENOUGH_VACUUM:g} Å or "
                "more are usual"
            )


def _charge(pw_input: PwInput, *, is_molecule: bool) -> Iterator[str]:
    system = pw_input.namelists["system"]
    charge = system.get("tot_charge", 0)
    if is_molecule and isinstance(charge, int | float) and charge and "assume_isolated" not in system:
        yield (
            f"the molecule has a charge of {charge:+g}, and its images too: assume_isolated = 'mt' (or 'mp') "
            "takes their field away"
        )


@cache
def _open_shells() -> frozenset[str]:
    """Return the formulas (Hill) all of whose molecules in the G2 set, as in ASE, have unpaired electrons."""
    moments: dict[str, list[bool]] = {}
    for molecule in g2.values():
        formula = Atoms(molecule["symbols"]).get_chemical_formula()
        moments.setdefault(formula, []).append(bool(np.any(molecule.get("magmoms") or 0)))
    return frozenset(formula for formula, open_ in moments.items() if all(open_))
