"""Dipoles of densities that are known: Gaussian clouds around points."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase.units import Bohr
from scipy.io import FortranFile

from tests import hdf5
from zpe_sdk.errors import ComputeError
from zpe_sdk.espresso.dipole import cell_dipole, read_density, read_valences

BOX = np.array([[8.0, 0.3, 0.0], [-0.5, 7.5, 0.2], [0.4, 0.0, 9.0]])
# Centres of clouds of two electrons each; the last two lie across the boundary of the cell.
CLOUDS = np.array([[0.1, 0.2, -0.3], [0.9, 0.1, 0.6], [-0.7, 0.8, 0.2]])
IONS = np.array([[0.0, 0.0, 0.0], [0.7, 0.2, 0.6]])
WIDTH = 0.35  # Å


def write(
    save: Path,
    clouds: np.ndarray,
    cell: np.ndarray,
    *,
    half: bool = False,
    spin: bool = False,
    as_hdf5: bool = False,
) -> Path:
    """Write two electrons at each place as pw.x does; with ``half``, of G and -G only one."""
    count = 40
    axes = np.vstack([np.outer(np.arange(-count, count + 1), unit) for unit in np.eye(3, dtype=int)])
    miller = np.unique(np.vstack([axes, [[1, 1, 0], [2, 0, -1]]]), axis=0).astype(np.int32)
    if half:
        # The halves that pw.x keeps begin with a positive index in one direction or another.
        miller = miller[[tuple(row) >= (0, 0, 0) for row in miller * [1, 1, -1]]]
    g = 2 * np.pi * miller @ np.linalg.inv(cell).T
    volume = abs(np.linalg.det(cell)) / Bohr**3
    waves = (
        2 * np.exp(-1j * g @ clouds.T).sum(axis=1) * np.exp(-((np.linalg.norm(g, axis=1) * WIDTH) ** 2) / 2)
    )
    rows = [waves / volume, *([0.3 * waves / volume] if spin else [])]
    save.mkdir()
    with FortranFile(save / "charge-density.dat", "w") as file:
        file.write_record(np.array([half, len(miller), len(rows)], dtype=np.int32))
        file.write_record(np.eye(3))
        file.write_record(miller)
        for row in rows:
            file.write_record(row)
    if as_hdf5:
        hdf5.convert(save)
    return save


@pytest.mark.parametrize("form", [{}, {"half": True}, {"spin": True}, {"as_hdf5": True}])
def test_the_dipole_of_a_molecule_is_charges_times_places(form: dict[str, bool], tmp_path: Path) -> None:
    density = read_density(write(tmp_path / "pw.save", CLOUDS, BOX, **form))
    found = cell_dipole(density, [4.0, 2.0], ["C", "O"], IONS, BOX, at_rest=IONS)
    np.testing.assert_allclose(found, [4.0, 2.0] @ IONS - 2 * CLOUDS.sum(axis=0), atol=1e-6)


def test_it_does_not_matter_in_which_cells_the_atoms_lie(tmp_path: Path) -> None:
    density = read_density(write(tmp_path / "pw.save", CLOUDS, BOX))
    elsewhere = IONS + np.array([[0, 0, 0], [1, -2, 1]]) @ BOX
    found = cell_dipole(density, [4.0, 2.0], ["C", "O"], elsewhere, BOX, at_rest=elsewhere)
    np.testing.assert_allclose(found, [4.0, 2.0] @ IONS - 2 * CLOUDS.sum(axis=0), atol=1e-6)


def test_the_dipole_of_an_ion_is_about_the_centre_of_mass_at_rest(tmp_path: Path) -> None:
    density = read_density(write(tmp_path / "pw.save", CLOUDS, BOX))
    centre = np.array([12.011, 15.999]) @ IONS / 28.010
    moved = IONS + np.array([[0.0, 0.0, 0.01], [0.0, 0.0, 0.0]])
    found = cell_dipole(density, [4.0, 3.0], ["C", "O"], moved, BOX, at_rest=IONS, charge=1.0)
    np.testing.assert_allclose(found, [4.0, 3.0] @ moved - 2 * CLOUDS.sum(axis=0) - centre, atol=1e-5)


def test_a_slab_has_the_dipole_of_its_normal_alone(tmp_path: Path) -> None:
    cell = np.array([[2.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.6, 0.4, 12.0]])
    clouds = np.array([[0.0, 0.0, 0.0], [1.0, 1.0, 2.1]])
    ions = np.array([[0.0, 0.0, 0.0], [1.0, 1.0, 2.0]])
    density = read_density(write(tmp_path / "pw.save", clouds, cell))
    found = cell_dipole(density, [2.0, 2.0], ["Al", "H"], ions, cell, at_rest=ions)
    np.testing.assert_allclose(found, [0.0, 0.0, -0.2], atol=1e-6)


def test_a_crystal_has_no_dipole(tmp_path: Path) -> None:
    cell = 1.5 * np.eye(3)
    density = read_density(write(tmp_path / "pw.save", np.zeros((1, 3)), cell))
    assert cell_dipole(density, [2.0], ["He"], np.zeros((1, 3)), cell, at_rest=np.zeros((1, 3))) is None


def test_ions_that_do_not_go_with_the_electrons_make_no_dipole(tmp_path: Path) -> None:
    density = read_density(write(tmp_path / "pw.save", CLOUDS, BOX))
    with pytest.raises(ComputeError, match=r"charge of 1\.0000, not 0") as caught:
        cell_dipole(density, [4.0, 3.0], ["C", "O"], IONS, BOX, at_rest=IONS)
    assert caught.value.code == "density_unreadable"


@pytest.mark.parametrize("content", [None, b"", b"not a density"])
def test_what_is_no_density_is_said_to_be_none(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "charge-density.dat").write_bytes(content)
    with pytest.raises(ComputeError) as caught:
        read_density(tmp_path)
    assert caught.value.code == "density_unreadable"


def test_valences_are_read_in_the_order_of_the_species() -> None:
    printed = """
     atomic species   valence    mass     pseudopotential
        H              1.00     1.00800     H ( 1.00)
        Fe1           16.00    55.84500     Fe( 1.00)

      4 Sym. Ops. (no inversion) found
"""
    assert read_valences(printed) == [1.0, 16.0]
    assert read_valences("something else") == []
