"""The pw.x that tests run: ``ZPE_PW_PATH``, or the one on PATH."""

from __future__ import annotations

import os
import shutil

from zpe_sdk.espresso.run import pw_command, pw_version

PW_PATH = os.environ.get("ZPE_PW_PATH", "pw.x")
PW = pw_command(PW_PATH) if shutil.which(PW_PATH) else [PW_PATH]
PW_VERSION = pw_version(PW) if shutil.which(PW_PATH) else ""
