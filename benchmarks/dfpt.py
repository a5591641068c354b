"""Run ph.x, which needs no displacements, on the molecules of tests/physics and print its frequencies.

    python -m benchmarks.dfpt h2o co2

By hand: `pw.x -in h2o.in`, then `ph.x -in ph.in` in the same folder. Its answers are committed in
tests/physics/dfpt.json; the tests hold the engine against them.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

INPUTS = Path(__file__).parent.parent / "tests" / "physics"


def ph_frequencies(name: str, folder: Path) -> list[float]:
    """Return the wavenumbers that ph.x finds at the gamma point, in cm⁻¹, ascending.

    Parameters
    ----------
    name
        The input: ``h2``, ``h2o`` or ``co2``.
    folder
        An empty folder to run in.
    """
    for program, text in (("pw.x", INPUTS / f"{name}.in"), ("ph.x", INPUTS / "ph.in")):
        with (folder / f"{program}.out").open("w") as output:
            subprocess.run([program, "-in", str(text)], cwd=folder, stdout=output, check=True)
    found = re.findall(
        r"freq \(\s*\d+\) =\s*\S+ \[THz\] =\s*(\S+) \[cm-1\]", (folder / "ph.x.out").read_text()
    )
    return sorted(float(value) for value in found)


def main() -> None:
    for name in sys.argv[1:]:
        with tempfile.TemporaryDirectory(prefix="zpe-dfpt-") as folder:
            print(json.dumps({name: ph_frequencies(name, Path(folder))}), flush=True)


if __name__ == "__main__":
    main()
