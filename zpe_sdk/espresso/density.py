"""The density an SCF starts from, predicted from the densities of SCFs already done.

To first order in a displacement d the density changes by what it changes for -d with the opposite sign:

    ρ(-d) = 2 ρ(0) - ρ(d) + O(d²)

so the SCF of -d starts far nearer to its end than from ρ(0). The result does not depend on the
start: the SCF goes on to its threshold as ever.
"""

from __future__ import annotations

import io
import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from zpe_sdk.espresso.fortran import marked, records

# What pw.x keeps of a density besides its plane waves: PAW occupations, Hubbard occupations. Both are
# plain lists of numbers, and linear in the density.
_LISTS = ("paw.txt", "occup.txt")
_PLANE_WAVES = ("charge-density.dat", "ekin-density.dat")
_HDF5 = ".hdf5"
_DESCRIPTION = "data-file-schema.xml"
KEPT = ("charge-density", "ekin-density", *_LISTS, _DESCRIPTION)


def keep(save: Path, kept: Path, *, besides: str | None = None) -> None:
    """Turn pw.x's ``.save`` folder into one that holds what a start needs, and nothing else.

    It appears in one step, since other threads may look for it at any time; if it is there already,
    nothing happens.

    Parameters
    ----------
    save, kept
        The folder, and its new name.
    besides
        How the names of other files begin that stay too.
    """
    if kept.exists() or not save.is_dir():
        return
    stays = (*KEPT, besides) if besides else KEPT
    for path in save.iterdir():
        if not path.name.startswith(stays):
            path.unlink()
    try:
        save.rename(kept)
    except OSError:
        if not kept.exists():  # else another slot was first
            raise


def extrapolate(centre: Path, displaced: Path, save: Path) -> bool:
    """Write 2 ρ(centre) - ρ(displaced) into a new ``.save`` folder.

    Parameters
    ----------
    centre, displaced
        Folders made by :func:`keep`, of the equilibrium and of the opposite displacement.
    save
        The folder to make.

    Returns
    -------
    bool
        False, and nothing is made, if the files do not match, or are HDF5 and h5py is not installed.
    """
    try:
        files = {path.name: path.read_bytes() for path in centre.iterdir() if path.name.startswith(KEPT)}
        predicted = {_DESCRIPTION: files.pop(_DESCRIPTION)}
        if unreadable(centre):
            return False
        for name, content in files.items():
            other = (displaced / name).read_bytes()
            if name.endswith(_HDF5):
                predicted[name] = _hdf5(content, other)
            elif name in _PLANE_WAVES:
                predicted[name] = _plane_waves(content, other)
            elif name in _LISTS:
                predicted[name] = _list(content, other)
            else:
                return False
        save.mkdir(parents=True)
        for name, content in predicted.items():
            (save / name).write_bytes(content)
    except (OSError, KeyError, ValueError):
        shutil.rmtree(save, ignore_errors=True)
        return False
    return True


def unreadable(kept: Path) -> bool:
    """Tell whether a density cannot be read for want of h5py; pw.x itself can, so it still is a start."""
    return find_spec("h5py") is None and any(kept.glob(f"*{_HDF5}"))


def copy(kept: Path, save: Path) -> bool:
    """Copy the density of a folder made by :func:`keep`; False if it is gone."""
    try:
        shutil.copytree(kept, save, ignore=lambda _, names: [n for n in names if not n.startswith(KEPT)])
    except OSError:
        shutil.rmtree(save, ignore_errors=True)
        return False
    return True


def _plane_waves(centre: bytes, displaced: bytes) -> bytes:
    """Extrapolate a file of Fourier coefficients (QE's io_base.f90, write_rhog).

    Its records are: Γ alone or not, number of G vectors, number of components; reciprocal lattice; Miller
    indices of the G vectors; then for each component the coefficients, as complex numbers.
    """
    own, others = records(centre), records(displaced)
    if own[:3] != others[:3]:
        raise ValueError("the densities are on different grids")
    rows = [
        (2 * np.frombuffer(a, np.complex128) - np.frombuffer(b, np.complex128)).tobytes()
        for a, b in zip(own[3:], others[3:], strict=True)
    ]
    return b"".join(marked(record) for record in (*own[:3], *rows))


def _hdf5(centre: bytes, displaced: bytes) -> bytes:
    """Extrapolate a file as QE's HDF5 builds write it: datasets of Miller indices and of coefficients."""
    import h5py

    predicted = io.BytesIO(centre)
    with h5py.File(predicted, "r+") as file, h5py.File(io.BytesIO(displaced)) as other:
        if set(file) != set(other):
            raise ValueError("the densities have other components")
        for name, data in file.items():
            if data.dtype.kind == "f":
                data[...] = 2 * data[...] - other[name][...]
            elif not np.array_equal(data[...], other[name][...]):
                raise ValueError("the densities are on different grids")
    return predicted.getvalue()


def _list(centre: bytes, displaced: bytes) -> bytes:
    values = 2 * np.array(centre.split(), dtype=float) - np.array(displaced.split(), dtype=float)
    return "".join(f"{value:.17e}\n" for value in values.tolist()).encode()
