"""What Environ, pw.x's plug-in for media, is to read, and whether this machine has it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from zpe_sdk.errors import ConfigError, InputError, ZPEError
from zpe_sdk.espresso import environ
from zpe_sdk.espresso.fingerprint import sha256_of
from zpe_sdk.wire import JobPayload
from zpe_sdk.worker.engines.machine import Machine


@dataclass(frozen=True)
class Medium:
    """What Environ is to read, the hash by which its physics are known, and what symmetry it leaves."""

    text: str
    sha256: str
    keeps_symmetry: bool


class Media:
    """The media that this machine can compute.

    Parameters
    ----------
    path
        ``ZPE_ENVIRON_PATH``: the machine's own ``environ.in``, or its folder.
    machine
        Which runs pw.x.
    """

    def __init__(self, path: Path | None, machine: Machine) -> None:
        self._path = path
        self._machine = machine
        self._missing = False

    def of(self, payload: JobPayload) -> Medium | None:
        """Return what Environ is to read for a job: what came with it, or else this machine's own file."""
        if not payload.use_environ:
            return None
        if payload.environ is not None:
            given = environ.parse(payload.environ)
            return Medium(given.text, given.physics_hash(), given.keeps_symmetry)
        path = self.default()
        if path is None:
            raise ConfigError(
                "the job wants Environ and brings no input for it, and there is no environ.in at "
                f"ZPE_ENVIRON_PATH ({self._path or 'not set'})",
                code="environ_missing",
                field="ZPE_ENVIRON_PATH",
            )
        # Of such a file nothing was known when the job was planned: no symmetry was used there either.
        return Medium(path.read_text(errors="replace"), sha256_of(path), keeps_symmetry=False)

    def default(self) -> Path | None:
        """Return this machine's ``environ.in``, if it has one."""
        path = self._path
        if path is not None and path.is_dir():
            path = path / "environ.in"
        return path if path is not None and path.is_file() else None

    def has_plugin(self, pseudopotentials: Sequence[Path]) -> bool:
        """Tell whether pw.x has Environ; to ask takes a pseudopotential, and a small one is read soonest."""
        files = [path for path in pseudopotentials if path.suffix.lower() == ".upf"]
        smallest = min(files, key=lambda path: (path.stat().st_size, path.name), default=None)
        return bool(smallest and not self._missing and self._machine.has_environ(smallest))

    def learn(self, error: ConfigError) -> None:
        """Remember if pw.x was found to lack the plug-in."""
        self._missing |= error.code == "environ_missing"


def whose(error: InputError, payload: JobPayload) -> ZPEError:
    """Return an error with the side whose input it is about: Environ's may be this machine's own."""
    if error.field != "environ" or payload.environ is not None:
        return error
    return ConfigError(
        f"this machine's environ.in is of no use: {error.message}",
        code="environ_unusable",
        field="ZPE_ENVIRON_PATH",
    )
