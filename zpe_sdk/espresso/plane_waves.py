"""pw.x's files of plane waves, densities and wave functions, as Fortran records or in HDF5.

QE's Modules/io_base.f90 lays them out (write_rhog, write_wfc): reciprocal lattice vectors, Miller indices of
the plane waves, then rows of coefficients, one for each component of a density or each state at a k-point. A
build with HDF5 writes the same into datasets. To read those takes the package h5py.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zpe_sdk.espresso.fortran import marked, records

HDF5, FORTRAN = ".hdf5", ".dat"
DENSITY = "charge-density"

# The record with the lattice is known by its length. It is the second of a density, the third of states.
_LATTICE_BYTES, _OF_DENSITY, _OF_STATES = 72, 1, 2
_EVC = "evc"
_STATES = np.dtype([("number", "<i4"), ("k", "<f8", 3), ("spin", "<i4"), ("gamma", "<i4"), ("scale", "<f8")])
# Datasets of a density in their order: total, and the difference of the spins or the magnetisation.
_COMPONENTS = ("rhotot_g", "rhodiff_g", "m_x", "m_y", "m_z")


def find(save: Path, stem: str = DENSITY) -> Path:
    """Return a file's path in a ``.save`` folder, in the format that this pw.x writes."""
    hdf5 = save / f"{stem}{HDF5}"
    return hdf5 if hdf5.exists() else save / f"{stem}{FORTRAN}"


def readable(save: Path) -> bool:
    """Tell whether what is in a folder can be read here: HDF5 only with h5py."""
    return find_spec("h5py") is not None or not any(save.glob(f"*{HDF5}"))


@dataclass(frozen=True)
class StatePoint:
    """Where in k-space states are.

    Attributes
    ----------
    number
        Of the k-point, from 1.
    k
        In 1/bohr, shape (3,).
    gamma
        Whether only half of the plane waves are there; the other half has complex conjugates (Γ).
    """

    number: int
    k: NDArray[np.float64]
    gamma: bool


@dataclass
class PlaneWaves:
    """The content of such a file.

    Attributes
    ----------
    content
        The file as it was read. What has no name here is written as it is there.
    hdf5
        Whether it is HDF5.
    lattice
        Reciprocal lattice vectors in 1/bohr, one per row.
    millers
        Miller indices of the plane waves, shape (n, 3).
    rows
        Coefficients, shape (components or states, n); (states, 2 n) for spinors.
    point
        The k-point of states; None for a density.
    """

    content: bytes
    hdf5: bool
    lattice: NDArray[np.float64]
    millers: NDArray[np.int32]
    rows: NDArray[np.complex128]
    point: StatePoint | None = None

    @classmethod
    def read(cls, path: Path) -> PlaneWaves:
        """Read a file.

        Raises
        ------
        OSError, ValueError, KeyError
            There is none, or it holds something else.
        ImportError
            It is HDF5, and h5py is not installed.
        """
        content = path.read_bytes()
        return _from_hdf5(content) if path.suffix == HDF5 else _from_fortran(content)

    def write(self, path: Path) -> None:
        """Write a file as pw.x reads it, in the format of the one that was read."""
        path.write_bytes(_as_hdf5(self) if self.hdf5 else _as_fortran(self))

    def same_waves(self, other: PlaneWaves) -> bool:
        """Tell whether both have coefficients of the same plane waves, and as many rows."""
        return self.rows.shape == other.rows.shape and np.array_equal(self.millers, other.millers)


def _from_fortran(content: bytes) -> PlaneWaves:
    parts = records(content)
    place = _lattice_place(parts)
    point = None
    if place == _OF_STATES:
        head = np.frombuffer(parts[0], _STATES)[0]
        point = StatePoint(int(head["number"]), head["k"], bool(head["gamma"]))
    return PlaneWaves(
        content,
        False,
        np.frombuffer(parts[place], "<f8").reshape(3, 3),
        np.frombuffer(parts[place + 1], "<i4").reshape(-1, 3),
        np.array([np.frombuffer(row, "<c16") for row in parts[place + 2 :]]),
        point,
    )


def _as_fortran(waves: PlaneWaves) -> bytes:
    parts = records(waves.content)
    head = parts[: _lattice_place(parts) + 1]
    if waves.point is not None:
        described = np.frombuffer(head[0], _STATES).copy()
        described["number"], described["k"] = waves.point.number, waves.point.k
        head[0] = described.tobytes()
    arrays = (np.ascontiguousarray(waves.millers, "<i4"), *np.ascontiguousarray(waves.rows, "<c16"))
    return b"".join(marked(part) for part in (*head, *(array.tobytes() for array in arrays)))


def _from_hdf5(content: bytes) -> PlaneWaves:
    import h5py

    with h5py.File(io.BytesIO(content)) as file:
        millers, point = file["MillerIndices"], None
        if _EVC in file:
            rows, gamma = file[_EVC][...], file.attrs["gamma_only"]
            gamma = gamma.decode() if isinstance(gamma, bytes) else gamma
            point = StatePoint(int(file.attrs["ik"]), file.attrs["xk"], gamma.strip().lower() == ".true.")
        else:
            rows = np.array([file[name] for name in _components(file)])
        return PlaneWaves(
            content,
            True,
            np.array([millers.attrs[f"bg{i}"] for i in (1, 2, 3)]),
            np.array(millers, np.int32).reshape(-1, 3),
            np.ascontiguousarray(rows, np.float64).view(np.complex128),
            point,
        )


def _as_hdf5(waves: PlaneWaves) -> bytes:
    import h5py

    written = io.BytesIO(waves.content)
    numbers = np.ascontiguousarray(waves.rows).view(np.float64)
    with h5py.File(written, "r+") as file:
        file["MillerIndices"][...] = waves.millers
        if waves.point is not None:
            file[_EVC][...] = numbers
            for name, value in (("ik", waves.point.number), ("xk", waves.point.k)):
                # QE's three numbers are one value of a type of its own, which has to stay.
                file.attrs.create(name, value, dtype=file.attrs.get_id(name).dtype)
        else:
            for name, row in zip(_components(file), numbers, strict=True):
                file[name][...] = row
    return written.getvalue()


def _lattice_place(parts: list[bytes]) -> int:
    for place in (_OF_DENSITY, _OF_STATES):
        if len(parts) > place + 2 and len(parts[place]) == _LATTICE_BYTES:
            return place
    raise ValueError("no file of plane waves")


def _components(file: Any) -> list[str]:
    found = [name for name in _COMPONENTS if name in file]
    if not found:
        raise ValueError("a file of plane waves without coefficients")
    return found
