"""What decides the forces besides the positions: program, pseudopotentials, Environ, input."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from zpe_sdk.errors import ConfigError
from zpe_sdk.espresso.input import PwInput
from zpe_sdk.wire import Fingerprint


def fingerprint(
    pw_input: PwInput,
    pseudo_dir: Path,
    *,
    version: str,
    environ_version: str | None = None,
    environ_in: Path | None = None,
) -> Fingerprint:
    """Return the fingerprint of an SCF with this input on this machine.

    Parameters
    ----------
    pw_input
        The job's input.
    pseudo_dir
        Folder of the pseudopotential files.
    version
        Version of pw.x, as the run itself printed it.
    environ_version, environ_in
        Version of Environ and its input file, if it takes part: both change the forces.

    Raises
    ------
    ConfigError
        ``pseudopotential_missing``, naming file and folder.
    """
    names = {species.pseudopotential for species in pw_input.species}
    environ = None
    if environ_in is not None:
        environ = f"{environ_version or 'unknown'} environ.in sha256:{sha256_of(environ_in)}"
    return Fingerprint(
        engine="espresso",
        engine_version=version,
        pseudopotentials={name: sha256_of(find_pseudopotential(name, pseudo_dir)) for name in sorted(names)},
        environ=environ,
        physics=pw_input.physics_hash(),
    )


def find_pseudopotential(name: str, pseudo_dir: Path) -> Path:
    """Return the path of a pseudopotential file in ``pseudo_dir``.

    Raises
    ------
    ConfigError
        ``pseudopotential_missing``, naming file and folder.
    """
    path = pseudo_dir / name
    if Path(name).name != name or not path.is_file():
        raise ConfigError(
            f"the pseudopotential {name} is not in {pseudo_dir} (ZPE_PSEUDO_DIR)",
            code="pseudopotential_missing",
            field="ATOMIC_SPECIES",
        )
    return path


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes; read again only if its time or size changed."""
    stat = path.stat()
    return _sha256(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=1024)
def _sha256(path: Path, mtime_ns: int, size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
