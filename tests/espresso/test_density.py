"""Densities predicted for the next SCF."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.io import FortranFile

from tests import hdf5
from zpe_sdk.espresso import density

MILLER = np.array([[0, 0, 0], [1, 0, 0], [0, -1, 2]], dtype=np.int32)


def save(
    folder: Path, values: np.ndarray, occupations: str = "1.0 2.0\n 3.0", miller: np.ndarray = MILLER
) -> Path:
    """Write the files of a density as pw.x lays them out; one row of ``values`` per component."""
    folder.mkdir()
    with FortranFile(folder / "charge-density.dat", "w") as file:
        file.write_record(np.array([1, len(miller), len(values)], dtype=np.int32))
        file.write_record(np.eye(3))
        file.write_record(miller)
        for row in values:
            file.write_record(row.astype(complex))
    (folder / "paw.txt").write_text(occupations)
    (folder / "data-file-schema.xml").write_text("<xml/>")
    return folder


def test_plane_waves_and_occupations_are_extrapolated(tmp_path: Path) -> None:
    centre = save(tmp_path / "centre", np.array([[1 + 2j, 0, 3], [0, 1j, -1]]))
    displaced = save(tmp_path / "displaced", np.array([[1, 1, 1], [2, 2, 2]]), "1.5 2.0 2.0E+00")
    assert density.extrapolate(centre, displaced, tmp_path / "next")
    with FortranFile(tmp_path / "next" / "charge-density.dat") as file:
        assert file.read_ints(np.int32).tolist() == [1, 3, 2]
        file.read_reals()
        assert file.read_ints(np.int32).reshape(-1, 3).tolist() == MILLER.tolist()
        rows = np.array([file.read_record(complex) for _ in range(2)])
    np.testing.assert_array_equal(rows, [[1 + 4j, -1, 5], [-2, -2 + 2j, -4]])
    assert [float(x) for x in (tmp_path / "next" / "paw.txt").read_text().split()] == [0.5, 2.0, 4.0]
    assert (tmp_path / "next" / "data-file-schema.xml").read_text() == "<xml/>"


def test_a_density_in_hdf5_is_extrapolated_and_the_rest_of_the_file_stays(tmp_path: Path) -> None:
    for name, values, miller in (
        ("centre", [1 + 2j, 0, 3], MILLER),
        ("displaced", [1 + 1j, 1, 1 + 0.5j], MILLER),
        ("other grid", [1, 1, 1], MILLER[::-1]),
    ):
        hdf5.convert(save(tmp_path / name, np.array([values]), miller=miller))
    centre = tmp_path / "centre"
    assert density.extrapolate(centre, tmp_path / "displaced", tmp_path / "next")
    with (
        h5py.File(centre / "charge-density.hdf5") as own,
        h5py.File(tmp_path / "next" / "charge-density.hdf5") as file,
    ):
        assert file["rhotot_g"][...].tolist() == [1.0, 3.0, -1.0, 0.0, 5.0, -0.5]
        assert file["MillerIndices"][...].tolist() == MILLER.tolist()
        assert file["MillerIndices"].attrs["bg1"].tolist() == [1.0, 0.0, 0.0]
        assert dict(file.attrs) == dict(own.attrs)
    assert not density.extrapolate(centre, tmp_path / "other grid", tmp_path / "none")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("case", ["another grid", "fewer spins", "not there", "cut off", "another format"])
def test_what_does_not_match_is_left_alone(case: str, tmp_path: Path) -> None:
    values = np.ones((2, 3))
    centre = save(tmp_path / "centre", values)
    displaced = tmp_path / "displaced"
    if case != "not there":
        save(
            displaced,
            values[:1] if case == "fewer spins" else values,
            miller=MILLER[::-1] if case == "another grid" else MILLER,
        )
    if case == "cut off":
        file = displaced / "charge-density.dat"
        file.write_bytes(file.read_bytes()[:-9])
    if case == "another format":
        for folder in (centre, displaced):
            (folder / "charge-density.hdf5").write_bytes(b"\x89HDF")
    assert not density.extrapolate(centre, displaced, tmp_path / "next")
    assert not (tmp_path / "next").exists()


def test_only_what_a_start_needs_is_kept(tmp_path: Path) -> None:
    made = save(tmp_path / "pw.save", np.ones((1, 3)))
    (made / "wfc1.dat").write_bytes(b"large")
    (made / "H.UPF").write_text("known anyway")
    density.keep(made, tmp_path / "kept")
    assert {path.name for path in (tmp_path / "kept").iterdir()} == {
        "charge-density.dat",
        "data-file-schema.xml",
        "paw.txt",
    }
    # The first one stays.
    later = save(tmp_path / "pw.save", np.zeros((1, 3)))
    before = (tmp_path / "kept" / "charge-density.dat").read_bytes()
    density.keep(later, tmp_path / "kept")
    assert (tmp_path / "kept" / "charge-density.dat").read_bytes() == before
