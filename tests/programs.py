"""The pw.x that tests run.

``ZPE_PW_PATH``, or the one on PATH; and a second version of it, which ``scripts/test`` installs where it can.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from zpe_sdk.espresso.run import pw_command, pw_version

PW_PATH = os.environ.get("ZPE_PW_PATH", "pw.x")
PW = pw_command(PW_PATH) if shutil.which(PW_PATH) else [PW_PATH]
PW_VERSION = pw_version(PW) if shutil.which(PW_PATH) else None

# A script, such as one around a Python package, has another name among the processes, and perhaps no MPI.
needs_binary = pytest.mark.skipif(
    not shutil.which(PW_PATH) or Path(PW[0]).read_bytes()[:4] != b"\x7fELF",
    reason="the pw.x that the tests run is a script",
)

SECOND = Path(__file__).parents[1] / ".venv-qe72" / "bin" / "pw.x"
needs_second = pytest.mark.skipif(
    not SECOND.exists(),
    reason="no second pw.x: scripts/test installs it from the package qepy, for Python 3.11 and 3.12",
)
