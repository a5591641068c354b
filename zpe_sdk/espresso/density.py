"""The density an SCF starts from, predicted from the densities of SCFs already done.

To first order in a displacement d the density changes by what it changes for -d with the opposite sign:

    ρ(-d) = 2 ρ(0) - ρ(d) + O(d²)

so the SCF of -d starts far nearer to its end than from ρ(0). The result does not depend on the
start: the SCF goes on to its threshold as ever.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from zpe_sdk.espresso.plane_waves import DENSITY, FORTRAN, HDF5, PlaneWaves, readable

# What pw.x keeps of a density besides its plane waves: PAW occupations, Hubbard occupations. Both are
# plain lists of numbers, and linear in the density.
_LISTS = ("paw.txt", "occup.txt")
_PLANE_WAVES = (DENSITY, "ekin-density")
_DESCRIPTION = "data-file-schema.xml"
KEPT = (*_PLANE_WAVES, *_LISTS, _DESCRIPTION)


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
    if not readable(centre):
        return False
    try:
        names = [path.name for path in centre.iterdir() if path.name.startswith(KEPT)]
        names.remove(_DESCRIPTION)
        description = (centre / _DESCRIPTION).read_bytes()
        waves, lists = {}, {}
        for name in names:
            if Path(name).stem in _PLANE_WAVES and Path(name).suffix in (HDF5, FORTRAN):
                waves[name] = _plane_waves(centre / name, displaced / name)
            elif name in _LISTS:
                lists[name] = _list((centre / name).read_bytes(), (displaced / name).read_bytes())
            else:
                return False
        save.mkdir(parents=True)
        (save / _DESCRIPTION).write_bytes(description)
        for name, predicted in waves.items():
            predicted.write(save / name)
        for name, content in lists.items():
            (save / name).write_bytes(content)
    except (OSError, KeyError, ValueError):
        shutil.rmtree(save, ignore_errors=True)
        return False
    return True


def copy(kept: Path, save: Path) -> bool:
    """Copy the density of a folder made by :func:`keep`; False if it is gone."""
    try:
        shutil.copytree(kept, save, ignore=lambda _, names: [n for n in names if not n.startswith(KEPT)])
    except OSError:
        shutil.rmtree(save, ignore_errors=True)
        return False
    return True


def _plane_waves(centre: Path, displaced: Path) -> PlaneWaves:
    own, other = PlaneWaves.read(centre), PlaneWaves.read(displaced)
    if not own.same_waves(other) or not np.array_equal(own.lattice, other.lattice):
        raise ValueError("the densities are on different grids")
    own.rows = 2 * own.rows - other.rows
    return own


def _list(centre: bytes, displaced: bytes) -> bytes:
    values = 2 * np.array(centre.split(), dtype=float) - np.array(displaced.split(), dtype=float)
    return "".join(f"{value:.17e}\n" for value in values.tolist()).encode()
