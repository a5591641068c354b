"""Modes in words, against what every textbook calls them."""

from __future__ import annotations

import numpy as np
import pytest

from tests.springs import springs_result
from zpe_sdk.vibrations.assignment import assign_modes


def words(name: str) -> list[str]:
    result = springs_result(name)
    d = result.document
    told = assign_modes(
        d.symbols,
        np.array(d.positions),
        np.array(d.cell),
        d.mobile_indices,
        result.hessian,
        result.modes,
        d.mode_kinds,
    )
    return [text for text, kind in zip(told, d.mode_kinds, strict=True) if kind == "vibration"]


def test_water_bends_and_stretches_in_two_ways() -> None:
    bend, *stretches = words("H2O")
    assert bend.startswith("H–O–H bend")
    assert stretches[0] == "O–H stretch, antisymmetric, 100 %"
    assert stretches[1].startswith("O–H stretch, symmetric, 9")


def test_a_bond_that_stretches_alone_is_in_phase_with_nothing() -> None:
    mixed = springs_result("H2O").with_masses({1: "D"})
    for text in mixed.assignments[-2:]:
        assert text.startswith("O–H stretch")
        assert "symmetric" not in text


def test_a_linear_molecule_bends_in_two_planes() -> None:
    told = words("CO2")
    assert told[:2] == ["O–C–O bend, 100 %"] * 2
    assert told[2:] == ["C–O stretch, symmetric, 100 %", "C–O stretch, antisymmetric, 100 %"]


def test_ammonia_has_an_umbrella_and_degenerate_stretches() -> None:
    told = words("NH3")
    assert told[0].startswith("H–N–H bend")
    assert sum("N–H stretch, antisymmetric, 100 %" in text for text in told) == 2
    assert sum(text.startswith("N–H stretch, symmetric") for text in told) == 1


def test_methanol_has_its_groups() -> None:
    told = words("CH3OH")
    assert len(told) == 12
    assert told[0].startswith("torsion about C–O")
    for group, count in {"C–H stretch": 3, "O–H stretch": 1, "C–O stretch": 1}.items():
        assert sum(text.startswith(group) for text in told) == count
    assert any(text.startswith("C–O–H bend") for text in told)


def test_an_atom_without_bonds_is_named_itself() -> None:
    told = assign_modes(
        ["Ar", "Cu"],
        np.array([[0.0, 0.0, 4.5], [0.0, 0.0, 0.0]]),
        12 * np.eye(3),
        [0],
        np.eye(3),
        np.eye(3).reshape(3, 1, 3),
        ["vibration"] * 3,
    )
    assert told == ["motion of Ar 100 %"] * 3


@pytest.mark.parametrize("name", ["H2O", "NH3", "CH4", "CH3OH", "H2CO", "C2H4"])
def test_internal_coordinates_do_not_change_when_the_molecule_moves_as_a_whole(name: str) -> None:
    from ase.build import molecule

    from zpe_sdk.vibrations.assignment import _coordinates

    atoms = molecule(name)
    found = list(
        _coordinates(atoms.get_chemical_symbols(), atoms.positions, 12 * np.eye(3), set(range(len(atoms))))
    )
    for coordinate in found:
        for axis in np.eye(3):
            shift = sum(derivative @ axis for derivative in coordinate.row.values())
            turn = sum(
                derivative @ np.cross(axis, atoms.positions[atom])
                for atom, derivative in coordinate.row.items()
            )
            assert abs(shift) < 1e-9, coordinate.name
            assert abs(turn) < 1e-9, coordinate.name
    B = np.zeros((len(found), 3 * len(atoms)))
    for row, coordinate in zip(B, found, strict=True):
        for atom, derivative in coordinate.row.items():
            row[3 * atom : 3 * atom + 3] = derivative
    assert np.linalg.matrix_rank(B, tol=1e-6) == 3 * len(atoms) - 6
