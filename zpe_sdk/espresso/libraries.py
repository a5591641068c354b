"""Which libraries a program is linked with."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

REFERENCE = "reference BLAS"
# Looked for in the real path of a library, since Debian's OpenBLAS goes by the name of libblas.so.3 too.
_NAMES = {
    "openblas": "OpenBLAS",
    "mkl": "MKL",
    "blis": "BLIS",
    "atlas": "ATLAS",
    "armpl": "Arm Performance Libraries",
    "libsci": "Cray LibSci",
    "essl": "ESSL",
    "nvpl": "NVPL",
    "libblas": REFERENCE,
}


def blas_of(program: Path) -> str | None:
    """Return the name of the BLAS that a program is linked with, or None if that cannot be seen.

    ``"reference BLAS"`` is the one that takes several times as long. It cannot be seen in a script, nor where
    the library has been linked into the program.

    Parameters
    ----------
    program
        Path of the program.
    """
    paths = _linked(program)
    # A program may be linked with several, of which the optimized one is there for a reason: it comes first.
    return next((name for mark, name in _NAMES.items() if any(mark in path for path in paths)), None)


def links_hdf5(program: Path) -> bool:
    """Tell whether a program is linked with HDF5, as far as can be seen; pw.x then writes it."""
    return any("hdf5" in path for path in _linked(program))


def _linked(program: Path) -> list[str]:
    """Return the real paths of a program's shared libraries, in lower case."""
    try:
        listed = subprocess.run(
            ["ldd", str(program)], capture_output=True, text=True, timeout=30, check=False
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return [str(Path(path).resolve()).lower() for path in re.findall(r"=> (/\S+)", listed)]
