"""Files of plane waves as QE's HDF5 builds lay them out (Modules/io_base.f90), made of those without HDF5."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from zpe_sdk.espresso.fortran import records

COMPONENTS = ("rhotot_g", "rhodiff_g")
THREE = np.dtype(("<f8", (3,)))  # one value of a type that has three numbers
HEAD = np.dtype([("ik", "<i4"), ("xk", "<f8", 3), ("ispin", "<i4"), ("gamma", "<i4"), ("scale", "<f8")])


def convert(save: Path) -> None:
    """Turn all files of plane waves in a folder into HDF5."""
    for path in list(save.glob("*.dat")):
        parts = records(path.read_bytes())
        with h5py.File(path.with_suffix(".hdf5"), "w") as file:
            if path.name.startswith("wfc"):
                _states(file, parts)
            else:
                _density(file, parts)
        path.unlink()


def _density(file: h5py.File, parts: list[bytes]) -> None:
    gamma, waves, spins = np.frombuffer(parts[0], "<i4")
    _attributes(file, gamma_only=_logical(gamma), ngm_g=waves, nspin=spins)
    _waves(file, parts[1], parts[2])
    for name, row in zip(COMPONENTS, parts[3:], strict=False):
        file[name] = np.frombuffer(row, "<f8")


def _states(file: h5py.File, parts: list[bytes]) -> None:
    head = np.frombuffer(parts[0], HEAD)[0]
    ngw, igwx, npol, nbnd = np.frombuffer(parts[1], "<i4")
    file.attrs.create("xk", head["xk"], dtype=THREE)
    _attributes(file, ik=head["ik"], ispin=head["ispin"], scale_factor=head["scale"])
    _attributes(file, gamma_only=_logical(head["gamma"]), ngw=ngw, igwx=igwx, npol=npol, nbnd=nbnd)
    _waves(file, parts[2], parts[3])
    file["evc"] = np.array([np.frombuffer(row, "<f8") for row in parts[4:]])


def _waves(file: h5py.File, lattice: bytes, millers: bytes) -> None:
    file["MillerIndices"] = np.frombuffer(millers, "<i4").reshape(-1, 3)
    for number, row in enumerate(np.frombuffer(lattice, "<f8").reshape(3, 3), start=1):
        file["MillerIndices"].attrs.create(f"bg{number}", row, dtype=THREE)


def _attributes(file: h5py.File, **values: object) -> None:
    for name, value in values.items():
        file.attrs[name] = value


def _logical(value: int) -> np.bytes_:
    return np.bytes_(".TRUE." if value else ".FALSE.")
