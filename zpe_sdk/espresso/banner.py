"""What pw.x says of itself in its first lines."""

from __future__ import annotations

import re


def version_in(stdout: str) -> str | None:
    """Return the version of pw.x that its first lines tell, e.g. ``"6.7MaX"``."""
    found = re.search(r"Program PWSCF v\.\s*(\S+)", stdout)
    return found[1] if found else None


def ranks_in(stdout: str) -> int | None:
    """Return the number of MPI ranks that pw.x says it runs on; None if it is built without MPI."""
    # "Parallel version (MPI), running on 2 processors"; with OpenMP it counts cores, and the next line ranks.
    found = re.search(r"Number of MPI processes:\s*(\d+)", stdout) or re.search(
        r"Parallel version \(MPI\), running on\s*(\d+)", stdout
    )
    return int(found[1]) if found else None
